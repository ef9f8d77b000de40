"""The networks of the convolutional networks lab of the Scalable Data Science and Distributed Machine Learning course.

MNIST. The layers are in the order of the article, with the shapes of their outputs for its images.
compare_models.py trains them, and docs/scadamale.md has the results.
"""

import dataclasses

from keras import Input, Sequential
from keras.layers import Activation, Conv2D, Dense, Dropout, Flatten, MaxPooling2D, Rescaling

from convnets.architectures.network import recipe

NETWORKS = {}


@recipe(
    NETWORKS, section="the lab's baseline", dataset="mnist", epochs=40, batch_size=100, validation_split=0.1,
    published="95.49 %", low=95.49, high=95.49,
)  # fmt: skip
def scadamale_dense(input_shape, num_classes):
    """No convolution yet; pixels from 0 to 255, as the article feeds them to this one network."""
    return Sequential(
        [
            Input(input_shape),  #                                    28 x 28 x 1
            Rescaling(255),  # from our [0, 1] back to bytes          28 x 28 x 1
            Flatten(),  #                                             784
            Dense(20, kernel_initializer="random_normal", activation="relu", name="fc1"),  #  20
            Dense(15, kernel_initializer="random_normal", activation="relu", name="fc2"),  #  15
            Dense(num_classes, kernel_initializer="random_normal", activation="softmax", name="fc3"),  #  10
        ]
    )


@recipe(NETWORKS, section="Try two more experiments", dataset="mnist", epochs=40, batch_size=100, validation_split=0.1)
def scadamale_dense_deeper(input_shape, num_classes):
    """The experiment "add a third hidden layer"."""
    return Sequential(
        [
            Input(input_shape),  #                                    28 x 28 x 1
            Rescaling(255),  # from our [0, 1] back to bytes          28 x 28 x 1
            Flatten(),  #                                             784
            Dense(20, kernel_initializer="random_normal", activation="relu", name="fc1"),  #  20
            Dense(15, kernel_initializer="random_normal", activation="relu", name="fc2"),  #  15
            Dense(15, kernel_initializer="random_normal", activation="relu", name="fc3"),  #  15
            Dense(num_classes, kernel_initializer="random_normal", activation="softmax", name="fc4"),  #  10
        ]
    )


@recipe(NETWORKS, section="Try two more experiments", dataset="mnist", epochs=100, batch_size=100, validation_split=0.1)
def scadamale_dense_wider(input_shape, num_classes):
    """The experiment "increase the size of the hidden layers", here ten times."""
    return Sequential(
        [
            Input(input_shape),  #                                    28 x 28 x 1
            Rescaling(255),  # from our [0, 1] back to bytes          28 x 28 x 1
            Flatten(),  #                                             784
            Dense(200, kernel_initializer="random_normal", activation="relu", name="fc1"),  #  200
            Dense(150, kernel_initializer="random_normal", activation="relu", name="fc2"),  #  150
            Dense(num_classes, kernel_initializer="random_normal", activation="softmax", name="fc3"),  #  10
        ]
    )


@recipe(
    NETWORKS, section="Convolution", dataset="mnist", epochs=8, batch_size=128, validation_split=0.1,
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


@recipe(
    NETWORKS, section="Our MNIST ConvNet", dataset="mnist", epochs=15, batch_size=128, validation_split=0.1,
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


@recipe(
    NETWORKS, section="Back to our Labs: Still Overfitting", dataset="mnist", epochs=15, batch_size=128,
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
