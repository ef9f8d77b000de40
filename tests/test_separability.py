"""Which layer tells two classes apart: networks for which the answer is known."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers

from convnets.data.datasets import Dataset
from convnets.errors import UserError
from convnets.views import separability


@pytest.fixture
def dataset():
    """Classes 0 and 1 have the same mean brightness; 1 has vertical stripes. Class 2 is white."""
    rng = np.random.default_rng(0)
    images = np.full((90, 8, 8, 1), 100.0) + rng.normal(0, 5, (90, 8, 8, 1))
    labels = np.arange(90) % 3
    images[labels == 1] += 50 * np.where(np.arange(8) % 2, 1, -1)[None, None, :, None]
    images[labels == 2] = 250
    images = images.clip(0, 255).astype("uint8")
    return Dataset("stripes", ("plain", "striped", "white"), images, labels, images, labels, "here")


def test_the_first_layer_that_tells_two_classes_apart(dataset):
    """The mean of the image does not; the absolute difference of neighbours does."""
    network = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(1, 1, name="copy"),
            layers.Conv2D(1, (1, 2), name="difference"),
            layers.ReLU(name="relu"),
            layers.Flatten(name="flat"),
            layers.Dense(3, activation="softmax", name="out"),
        ]
    )
    network.get_layer("copy").set_weights([np.ones((1, 1, 1, 1)), np.zeros(1)])
    network.get_layer("difference").set_weights([np.array([1.0, -1.0]).reshape(1, 2, 1, 1), np.zeros(1)])
    shares = separability.by_layer(network, dataset, (0, 1), ["copy", "relu"])
    assert list(shares) == ["copy", "relu"]
    assert shares["copy"] < 0.75
    assert shares["relu"] == 1
    assert separability.by_layer(network, dataset, (0, 2), ["copy"]) == {"copy": 1}
    brighter = np.where(dataset.y_test[:, None, None, None] == 0, dataset.x_test + 90, dataset.x_test).astype("uint8")
    moved = dataclasses.replace(dataset, x_test=brighter)  # its plain images are nearer to the white training images
    assert separability.by_layer(network, moved, (0, 2), ["copy"]) == {"copy": 0.5}
    without = dataclasses.replace(dataset, x_test=dataset.x_test[2::3], y_test=dataset.y_test[2::3])
    with pytest.raises(UserError, match="no test images of one of these two classes"):
        separability.by_layer(network, without, (0, 1), ["copy"])


def test_chance_is_one_half_also_if_one_class_has_most_images(dataset):
    """A layer that returns nothing takes all images for the first class."""
    network = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(3, name="out")])
    network.get_layer("out").set_weights([np.zeros((64, 3)), np.zeros(3)])
    kept = np.flatnonzero((dataset.y_test == 0) | (np.arange(90) < 6))
    few = dataclasses.replace(dataset, x_test=dataset.x_test[kept], y_test=dataset.y_test[kept])
    assert np.bincount(few.y_test).tolist() == [30, 2, 2]
    assert separability.by_layer(network, few, (0, 1), ["out"]) == {"out": 0.5}
