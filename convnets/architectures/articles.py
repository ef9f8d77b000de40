"""The networks that the articles print, each with the recipe by which its article trains it.

The layers stand in the order in which the article adds them; shapes are those of the article's own images.
compare_models.py trains them; docs/ has a page for each article. wang's two networks are in basic_model.py and
improved_model.py.

Articles, by author (the course's initials, for scadamale):
    jeffries    "Learning AI if You Suck at Math, part 5: Deep Learning and Convolutional Neural Nets in Plain English"
    scadamale   the convolutional networks lab of the Scalable Data Science and Distributed Machine Learning course
    bernet      "Handwritten digits with deep learning"
    wang        "Convolution neural networks made easy with keras"
"""

import dataclasses
from collections.abc import Callable

from keras import Input, Sequential
from keras.layers import (
    Activation,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    LeakyReLU,
    MaxPooling2D,
    Rescaling,
)

import basic_model
import improved_model
from convnets.errors import UserError

DEFAULT_SEED = 1337  # jeffries'


@dataclasses.dataclass(frozen=True)
class Network:
    """A network of an article, and how it is trained there.

    name: "bernet-best"; its first word is the article.
    build_model: a function (input_shape, num_classes) -> keras.Sequential.
    dataset: "cifar10" or "mnist".
    epochs, batch_size: as in the article, but for fewer epochs where a comment says so.
    optimizer: a name that Keras knows, with the article's settings, which are still Keras's defaults.
    validation_split: the share of the training images that the article holds out to watch the training.
    published: what the article says of the test accuracy, "" where it gives no number.
    low, high: that as numbers, in percent; None where there is none.
    section: where in the article.
    script: the script that trains it instead, where it has one of its own.
    """

    name: str
    build_model: Callable
    dataset: str
    epochs: int
    batch_size: int
    section: str
    optimizer: str = "adam"
    validation_split: float = 0.0
    published: str = ""
    low: float | None = None
    high: float | None = None
    script: Callable | None = None

    @property
    def article(self):
        return self.name.split("-")[0]

    def run_name(self, dataset, seed=DEFAULT_SEED):
        """The name of its run in models/; a network with a script of its own shares that script's run."""
        name = self.script.__module__ if self.script else self.name
        return f"{name}-{dataset}" + ("" if seed == DEFAULT_SEED else f"-seed{seed}")

    def with_optimizer(self, optimizer):
        """The same network with another optimizer, with Keras's settings for it; an article's where one has it."""
        if optimizer in (None, self.optimizer):
            return self
        experiment = dataclasses.replace(
            self, name=f"{self.name}-{optimizer}", optimizer=optimizer, published="", low=None, high=None
        )
        same = (network for network in NETWORKS.values() if network.recipe == experiment.recipe)
        return next(same, experiment)

    @property
    def recipe(self):
        """All that decides what is trained."""
        return self.build_model, self.dataset, self.epochs, self.batch_size, self.optimizer, self.validation_split


NETWORKS = {}


def _recipe(**recipe):
    """Enters the function below it into NETWORKS, under its own name with hyphens."""

    def enter(build_model):
        name = build_model.__name__.replace("_", "-")
        NETWORKS[name] = Network(name=name, build_model=build_model, **recipe)
        return build_model

    return enter


# ---------------------------------------------------------------- jeffries, CIFAR-10


@_recipe(
    section="Training Our Neural Net and Optimizing It", dataset="cifar10", epochs=100, batch_size=128,
    published="79.35 %", low=79.35, high=79.35,
)  # fmt: skip
def jeffries_simple(input_shape, num_classes):
    """Twice two convolutions and a pooling: the article's "few lines of code"."""
    return Sequential(
        [
            Input(input_shape),  #                                    32 x 32 x 3
            Conv2D(32, (3, 3), name="conv1"),  #                      30 x 30 x 32
            Activation("relu"),
            Conv2D(32, (3, 3), name="conv2"),  #                      28 x 28 x 32
            Activation("relu"),
            MaxPooling2D((2, 2), name="pool1"),  #                    14 x 14 x 32
            Dropout(0.25),
            Conv2D(32, (3, 3), name="conv3"),  #                      12 x 12 x 32
            Activation("relu"),
            Conv2D(32, (3, 3), name="conv4"),  #                      10 x 10 x 32
            Activation("relu"),
            MaxPooling2D((2, 2), name="pool2"),  #                    5 x 5 x 32
            Dropout(0.25),
            Flatten(),  #                                             800
            Dense(256, name="fc1"),  #                                256
            Activation("relu"),
            Dropout(0.5),
            Dense(num_classes, name="fc2"),  #                        10
            Activation("softmax"),
        ]
    )


@_recipe(
    section="Training Our Neural Net and Optimizing It", dataset="cifar10", batch_size=256,
    epochs=50,  # the article: 75
    published="81.40 %", low=81.40, high=81.40,
)  # fmt: skip
def jeffries_dilated(input_shape, num_classes):
    """The article's "weird architecture", from its published script: seven convolutions with leaky ReLUs.

    Two of them came from a layer for dilated convolutions, but with its default rate of 1, which dilates nothing.
    """
    return Sequential(
        [
            Input(input_shape),  #                                    32 x 32 x 3
            Conv2D(32, (3, 3), name="conv1"),  #                      30 x 30 x 32
            LeakyReLU(0.003),
            Conv2D(64, (3, 3), padding="same", dilation_rate=1, name="conv2"),  # 30 x 30 x 64
            LeakyReLU(0.003),
            Conv2D(32, (3, 3), name="conv3"),  #                      28 x 28 x 32
            LeakyReLU(0.003),
            Conv2D(32, (3, 3), name="conv4"),  #                      26 x 26 x 32
            LeakyReLU(0.003),
            MaxPooling2D((2, 2), name="pool1"),  #                    13 x 13 x 32
            Dropout(0.35),
            Conv2D(32, (3, 3), name="conv5"),  #                      11 x 11 x 32
            LeakyReLU(0.003),
            Conv2D(64, (3, 3), padding="same", dilation_rate=1, name="conv6"),  # 11 x 11 x 64
            LeakyReLU(0.003),
            Conv2D(32, (3, 3), name="conv7"),  #                      9 x 9 x 32
            LeakyReLU(0.003),
            MaxPooling2D((2, 2), name="pool2"),  #                    4 x 4 x 32
            Dropout(0.25),
            Flatten(),  #                                             512
            Dense(256, activation="relu", name="fc1"),  #             256
            Dropout(0.35),
            Dense(256, activation="relu", name="fc2"),  #             256
            Dropout(0.25),
            Dense(num_classes, activation="softmax", name="fc3"),  #  10
        ]
    )


# ---------------------------------------------------------------- scadamale, MNIST


@_recipe(
    section="the lab's baseline", dataset="mnist", epochs=40, batch_size=100, validation_split=0.1,
    published="95.49 %", low=95.49, high=95.49,
)  # fmt: skip
def scadamale_dense(input_shape, num_classes):
    """No convolution yet; pixels from 0 to 255, as the article feeds them to this one network."""
    return Sequential(
        [
            Input(input_shape),  #                                    28 x 28 x 1
            Rescaling(255),  # from our [0, 1] back to bytes          28 x 28 x 1
            Flatten(),  #                                             784
            Dense(20, kernel_initializer="random_normal", activation="relu", name="fc1"),
            Dense(15, kernel_initializer="random_normal", activation="relu", name="fc2"),
            Dense(num_classes, kernel_initializer="random_normal", activation="softmax", name="fc3"),
        ]
    )


@_recipe(section="Try two more experiments", dataset="mnist", epochs=40, batch_size=100, validation_split=0.1)
def scadamale_dense_deeper(input_shape, num_classes):
    """The experiment "add a third hidden layer"."""
    return Sequential(
        [
            Input(input_shape),  #                                    28 x 28 x 1
            Rescaling(255),  # from our [0, 1] back to bytes          28 x 28 x 1
            Flatten(),  #                                             784
            Dense(20, kernel_initializer="random_normal", activation="relu", name="fc1"),
            Dense(15, kernel_initializer="random_normal", activation="relu", name="fc2"),
            Dense(15, kernel_initializer="random_normal", activation="relu", name="fc3"),
            Dense(num_classes, kernel_initializer="random_normal", activation="softmax", name="fc4"),
        ]
    )


@_recipe(section="Try two more experiments", dataset="mnist", epochs=100, batch_size=100, validation_split=0.1)
def scadamale_dense_wider(input_shape, num_classes):
    """The experiment "increase the size of the hidden layers", here ten times."""
    return Sequential(
        [
            Input(input_shape),  #                                    28 x 28 x 1
            Rescaling(255),  # from our [0, 1] back to bytes          28 x 28 x 1
            Flatten(),  #                                             784
            Dense(200, kernel_initializer="random_normal", activation="relu", name="fc1"),
            Dense(150, kernel_initializer="random_normal", activation="relu", name="fc2"),
            Dense(num_classes, kernel_initializer="random_normal", activation="softmax", name="fc3"),
        ]
    )


@_recipe(
    section="Convolution", dataset="mnist", epochs=8, batch_size=128, validation_split=0.1,
    published="98.64 %", low=98.64, high=98.64,
)  # fmt: skip
def scadamale_one_conv(input_shape, num_classes):
    """The lab's first convolutional network."""
    return Sequential(
        [
            Input(input_shape),  #                                    28 x 28 x 1
            Conv2D(8, (4, 4), name="conv1"),  #                       25 x 25 x 8
            Activation("relu"),
            MaxPooling2D((2, 2), name="pool1"),  #                    12 x 12 x 8
            Flatten(),  #                                             1152
            Dense(128, name="fc1"),  #                                128
            Activation("relu"),
            Dense(num_classes, name="fc2"),  #                        10
            Activation("softmax"),
        ]
    )


@_recipe(
    section="Our MNIST ConvNet", dataset="mnist", epochs=15, batch_size=128, validation_split=0.1,
    published="99.07 %", low=99.07, high=99.07,
)  # fmt: skip
def scadamale_two_convs(input_shape, num_classes):
    """A second convolution before the pooling."""
    return Sequential(
        [
            Input(input_shape),  #                                    28 x 28 x 1
            Conv2D(8, (4, 4), name="conv1"),  #                       25 x 25 x 8
            Activation("relu"),
            Conv2D(8, (4, 4), name="conv2"),  #                       22 x 22 x 8
            Activation("relu"),
            MaxPooling2D((2, 2), name="pool1"),  #                    11 x 11 x 8
            Flatten(),  #                                             968
            Dense(128, name="fc1"),  #                                128
            Activation("relu"),
            Dense(num_classes, name="fc2"),  #                        10
            Activation("softmax"),
        ]
    )


@_recipe(
    section="Back to our Labs: Still Overfitting", dataset="mnist", epochs=15, batch_size=128,
    published="99.13 %", low=99.13, high=99.13,
)  # fmt: skip
def scadamale_dropout(input_shape, num_classes):
    """More and smaller kernels, and dropout against overfitting.

    The article writes the rates as 1 - 0.25 and 1 - 0.5. A rate is the share that is dropped, so it drops 75 %
    where it means to drop 25 %.
    """
    return Sequential(
        [
            Input(input_shape),  #                                    28 x 28 x 1
            Conv2D(32, (3, 3), name="conv1"),  #                      26 x 26 x 32
            Activation("relu"),
            Conv2D(32, (3, 3), name="conv2"),  #                      24 x 24 x 32
            Activation("relu"),
            MaxPooling2D((2, 2), name="pool1"),  #                    12 x 12 x 32
            Dropout(0.75),
            Flatten(),  #                                             4608
            Dense(128, name="fc1"),  #                                128
            Activation("relu"),
            Dropout(0.5),
            Dense(num_classes, name="fc2"),  #                        10
            Activation("softmax"),
        ]
    )


# The lab's last activity: the same network, but with the optimizer of old.
NETWORKS["scadamale-dropout-sgd"] = dataclasses.replace(
    NETWORKS["scadamale-dropout"], name="scadamale-dropout-sgd", optimizer="sgd",
    section="Lab Wrapup", published="about 96-97 %", low=96, high=97,
)  # fmt: skip


# ---------------------------------------------------------------- bernet, MNIST


@_recipe(
    section="a first network", dataset="mnist", epochs=10, batch_size=50, optimizer="rmsprop",
    published="larger than 98 %", low=98, high=100,
)  # fmt: skip
def bernet_dense_100(input_shape, num_classes):
    """The article's starting point: one convolution, no pooling, a hidden dense layer."""
    return Sequential(
        [
            Input(input_shape),  #                                            28 x 28 x 1
            Conv2D(10, (4, 4), activation="relu", name="conv1"),  #           25 x 25 x 10
            Flatten(),  #                                                     6250
            Dense(100, activation="relu", name="fc1"),  #              100
            Dense(num_classes, activation="softmax", name="fc2"),  #          10
        ]
    )


@_recipe(section="dropout", dataset="mnist", epochs=10, batch_size=50, optimizer="rmsprop")
def bernet_dropout(input_shape, num_classes):
    """The same with dropout before the dense layers."""
    return Sequential(
        [
            Input(input_shape),  #                                            28 x 28 x 1
            Conv2D(10, (4, 4), activation="relu", name="conv1"),  #           25 x 25 x 10
            Flatten(),  #                                                     6250
            Dropout(0.5),
            Dense(100, activation="relu", name="fc1"),  #              100
            Dense(num_classes, activation="softmax", name="fc2"),  #          10
        ]
    )


@_recipe(section="tuning the dense layers", dataset="mnist", epochs=10, batch_size=50, optimizer="rmsprop")
def bernet_dense_200(input_shape, num_classes):
    """With dropout, and twice the hidden neurons."""
    return Sequential(
        [
            Input(input_shape),  #                                            28 x 28 x 1
            Conv2D(10, (4, 4), activation="relu", name="conv1"),  #           25 x 25 x 10
            Flatten(),  #                                                     6250
            Dropout(0.5),
            Dense(200, activation="relu", name="fc1"),  #              200
            Dense(num_classes, activation="softmax", name="fc2"),  #          10
        ]
    )


@_recipe(section="tuning the dense layers", dataset="mnist", epochs=10, batch_size=50, optimizer="rmsprop")
def bernet_dense_50(input_shape, num_classes):
    """With dropout, and half the hidden neurons."""
    return Sequential(
        [
            Input(input_shape),  #                                            28 x 28 x 1
            Conv2D(10, (4, 4), activation="relu", name="conv1"),  #           25 x 25 x 10
            Flatten(),  #                                                     6250
            Dropout(0.5),
            Dense(50, activation="relu", name="fc1"),  #              50
            Dense(num_classes, activation="softmax", name="fc2"),  #          10
        ]
    )


@_recipe(section="tuning the dense layers, exercise", dataset="mnist", epochs=10, batch_size=50, optimizer="rmsprop")
def bernet_dense_50_50(input_shape, num_classes):
    """The exercise: a second hidden layer, with 50 neurons in both."""
    return Sequential(
        [
            Input(input_shape),  #                                            28 x 28 x 1
            Conv2D(10, (4, 4), activation="relu", name="conv1"),  #           25 x 25 x 10
            Flatten(),  #                                                     6250
            Dropout(0.5),
            Dense(50, activation="relu", name="fc1"),  #              50
            Dense(50, activation="relu", name="fc2"),  #              50
            Dense(num_classes, activation="softmax", name="fc3"),  #          10
        ]
    )


@_recipe(
    section="stacked convolutions", dataset="mnist", epochs=10, batch_size=50, optimizer="rmsprop",
    published="over 99 %", low=99, high=100,
)  # fmt: skip
def bernet_two_convs(input_shape, num_classes):
    """A second convolution, which sees further since a pooling lies between the two."""
    return Sequential(
        [
            Input(input_shape),  #                                            28 x 28 x 1
            Conv2D(10, (4, 4), activation="relu", name="conv1"),  #           25 x 25 x 10
            MaxPooling2D((2, 2), name="pool1"),  #                            12 x 12 x 10
            Conv2D(20, (4, 4), activation="relu", name="conv2"),  #           9 x 9 x 20
            Flatten(),  #                                                     1620
            Dropout(0.5),
            Dense(100, activation="relu", name="fc1"),  #                     100
            Dense(num_classes, activation="softmax", name="fc2"),  #          10
        ]
    )


@_recipe(
    section="stacked convolutions", dataset="mnist", epochs=40, batch_size=200, optimizer="rmsprop",
    published="around 99.4 %", low=99.4, high=99.4,
)  # fmt: skip
def bernet_best(input_shape, num_classes):
    """The network after the article's "one hour of optimization"."""
    return Sequential(
        [
            Input(input_shape),  #                                            28 x 28 x 1
            Conv2D(16, (4, 4), activation="relu", name="conv1"),  #           25 x 25 x 16
            MaxPooling2D((2, 2), name="pool1"),  #                            12 x 12 x 16
            Conv2D(32, (4, 4), activation="relu", name="conv2"),  #           9 x 9 x 32
            MaxPooling2D((2, 2), name="pool2"),  #                            4 x 4 x 32
            Flatten(),  #                                                     512
            Dropout(0.4),
            Dense(100, activation="relu", name="fc1"),  #                     100
            Dense(num_classes, activation="softmax", name="fc2"),  #          10
        ]
    )


# ---------------------------------------------------------------- wang, CIFAR-10

NETWORKS["wang-basic"] = Network(
    name="wang-basic", build_model=basic_model.build_model, script=basic_model.main,
    section="Building your first model", dataset="cifar10", epochs=basic_model.EPOCHS,
    batch_size=basic_model.BATCH_SIZE, published="about 80 %", low=80, high=80,
)  # fmt: skip
NETWORKS["wang-improved"] = Network(
    name="wang-improved", build_model=improved_model.build_model, script=improved_model.main,
    section="Improving your model", dataset="cifar10", epochs=improved_model.EPOCHS,
    batch_size=improved_model.BATCH_SIZE, optimizer="adamw", published="about 85 %", low=85, high=85,
)  # fmt: skip


def choose(names, article=None, *, everything=False, optimizer=None):
    """The networks of these names, of an article, or all; each with another optimizer, where one is given.

    Raises UserError when there is no such network, or when one that is named comes with the optimizer of its script. Of
    an article such a network is only left out.
    """
    for name in names:
        if name not in NETWORKS:
            raise UserError(f"there is no network {name}: python compare_models.py --list shows them all")
    chosen = []
    for network in NETWORKS.values():
        if not (everything or network.article == article or network.name in names):
            continue
        if network.script and optimizer not in (None, network.optimizer):
            reason = f"{network.name} is trained by {network.script.__module__}.py, with the optimizer written there"
            if network.name in names:
                raise UserError(f"{reason}: change it there, or name other networks")
            print(f"Left out: {reason}.")
        else:
            chosen.append(network.with_optimizer(optimizer))
    if not chosen:
        raise UserError("no network is left to train: name others, or leave out --optimizer")
    return list(dict.fromkeys(chosen))
