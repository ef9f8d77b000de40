"""The networks of "Handwritten digits with deep learning".

MNIST. The layers are in the order of the article, with the shapes of their outputs for its images.
compare_models.py trains them, and docs/bernet.md has the results.
"""

from keras import Input, Sequential
from keras.layers import Conv2D, Dense, Dropout, Flatten, MaxPooling2D

from convnets.architectures.network import recipe

NETWORKS = {}


@recipe(
    NETWORKS, section="a first network", dataset="mnist", epochs=10, batch_size=50, optimizer="rmsprop",
    published="larger than 98 %", low=98, high=100,
)  # fmt: skip
def bernet_dense_100(input_shape, num_classes):
    """The article's starting point: one convolution, no pooling, a hidden dense layer."""
    return Sequential(
        [
            Input(input_shape),  #                                            28 x 28 x 1
            Conv2D(10, (4, 4), activation="relu", name="conv1"),  #           25 x 25 x 10
            Flatten(),  #                                                     6250
            Dense(100, activation="relu", name="fc1"),  #                     100
            Dense(num_classes, activation="softmax", name="fc2"),  #          10
        ]
    )


@recipe(NETWORKS, section="dropout", dataset="mnist", epochs=10, batch_size=50, optimizer="rmsprop")
def bernet_dropout(input_shape, num_classes):
    """The same with dropout before the dense layers."""
    return Sequential(
        [
            Input(input_shape),  #                                            28 x 28 x 1
            Conv2D(10, (4, 4), activation="relu", name="conv1"),  #           25 x 25 x 10
            Flatten(),  #                                                     6250
            Dropout(0.5),
            Dense(100, activation="relu", name="fc1"),  #                     100
            Dense(num_classes, activation="softmax", name="fc2"),  #          10
        ]
    )


@recipe(NETWORKS, section="tuning the dense layers", dataset="mnist", epochs=10, batch_size=50, optimizer="rmsprop")
def bernet_dense_200(input_shape, num_classes):
    """With dropout, and twice the hidden neurons."""
    return Sequential(
        [
            Input(input_shape),  #                                            28 x 28 x 1
            Conv2D(10, (4, 4), activation="relu", name="conv1"),  #           25 x 25 x 10
            Flatten(),  #                                                     6250
            Dropout(0.5),
            Dense(200, activation="relu", name="fc1"),  #                     200
            Dense(num_classes, activation="softmax", name="fc2"),  #          10
        ]
    )


@recipe(NETWORKS, section="tuning the dense layers", dataset="mnist", epochs=10, batch_size=50, optimizer="rmsprop")
def bernet_dense_50(input_shape, num_classes):
    """With dropout, and half the hidden neurons."""
    return Sequential(
        [
            Input(input_shape),  #                                            28 x 28 x 1
            Conv2D(10, (4, 4), activation="relu", name="conv1"),  #           25 x 25 x 10
            Flatten(),  #                                                     6250
            Dropout(0.5),
            Dense(50, activation="relu", name="fc1"),  #                      50
            Dense(num_classes, activation="softmax", name="fc2"),  #          10
        ]
    )


@recipe(
    NETWORKS,
    section="tuning the dense layers, exercise",
    dataset="mnist",
    epochs=10,
    batch_size=50,
    optimizer="rmsprop",
)
def bernet_dense_50_50(input_shape, num_classes):
    """The exercise: a second hidden layer, with 50 neurons in both."""
    return Sequential(
        [
            Input(input_shape),  #                                            28 x 28 x 1
            Conv2D(10, (4, 4), activation="relu", name="conv1"),  #           25 x 25 x 10
            Flatten(),  #                                                     6250
            Dropout(0.5),
            Dense(50, activation="relu", name="fc1"),  #                      50
            Dense(50, activation="relu", name="fc2"),  #                      50
            Dense(num_classes, activation="softmax", name="fc3"),  #          10
        ]
    )


@recipe(
    NETWORKS, section="stacked convolutions", dataset="mnist", epochs=10, batch_size=50, optimizer="rmsprop",
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


@recipe(
    NETWORKS, section="stacked convolutions", dataset="mnist", epochs=40, batch_size=200, optimizer="rmsprop",
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
