"""The networks of "Learning AI if You Suck at Math, part 5".

CIFAR-10. The layers are in the order of the article, with the shapes of their outputs for its images.
compare_models.py trains them, and docs/jeffries.md has the results.
"""

from keras import Input, Sequential
from keras.layers import Activation, Conv2D, Dense, Dropout, Flatten, LeakyReLU, MaxPooling2D

from convnets.architectures.network import recipe

NETWORKS = {}


@recipe(
    NETWORKS, section="Training Our Neural Net and Optimizing It", dataset="cifar10", epochs=100, batch_size=128,
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


@recipe(
    NETWORKS, section="Training Our Neural Net and Optimizing It", dataset="cifar10", batch_size=256,
    epochs=50, article_epochs=75,
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
