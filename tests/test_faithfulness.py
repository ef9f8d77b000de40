"""Deletion and insertion, against numbers worked out on paper."""

import keras
import numpy as np
import pytest
from keras import layers

from convnets.views import faithfulness


@pytest.fixture
def sums_pixels():
    """A model whose only output is the sum of all pixels."""
    return keras.Sequential([keras.Input((4, 4, 1)), layers.Flatten(), layers.Dense(1, kernel_initializer="ones")])


def test_perfect_deletion_and_insertion(sums_pixels):
    """All that counts is in one pixel. A map that knows it takes or brings everything at the first step."""
    image = np.zeros((4, 4, 1), dtype="float32")
    image[1, 2] = 1
    perfect = faithfulness.deletion_insertion(sums_pixels, image, 0, image[..., 0], baseline=0, steps=16)
    assert perfect.deletion.tolist() == [1] + [0] * 16
    assert perfect.insertion.tolist() == [0] + [1] * 16
    assert (perfect.deletion_area, perfect.insertion_area) == (0, 1)
    worst = faithfulness.deletion_insertion(sums_pixels, image, 0, -image[..., 0], baseline=0, steps=16)
    assert (worst.deletion_area, worst.insertion_area) == (15 / 16, 1 / 16)


def test_by_chance_a_pixel_goes_in_the_middle_of_the_order(sums_pixels):
    """Its rank is 0 to 15, on average 7.5, of 16, both in random orders and in a map that is moved around."""
    image = np.zeros((4, 4, 1), dtype="float32")
    image[1, 2] = 1
    importance = np.random.default_rng(7).random((4, 4))
    by_chance = faithfulness.chance_curves(sums_pixels, image, 0, importance, repeats=400, baseline=0, steps=16)
    assert list(by_chance) == ["random order", "same map elsewhere"]
    for curves in by_chance.values():
        assert curves.deletion_area == pytest.approx(7.5 / 16, abs=0.05)
        assert curves.insertion_area == pytest.approx(8.5 / 16, abs=0.05)
