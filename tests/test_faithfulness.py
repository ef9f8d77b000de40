"""Deletion and insertion, against numbers worked out on paper."""

import keras
import numpy as np
import pytest
from keras import layers
from scipy.ndimage import gaussian_filter

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
    options = {"baseline": 0, "steps": 16, "score": lambda outputs: outputs / 4}
    scored = faithfulness.deletion_insertion(sums_pixels, image, 0, image[..., 0], **options)
    assert scored.deletion.tolist() == [0.25] + [0] * 16
    worst = faithfulness.deletion_insertion(sums_pixels, image, 0, -image[..., 0], baseline=0, steps=16)
    assert (worst.deletion_area, worst.insertion_area) == (15 / 16, 1 / 16)


def test_chance_maps_place_a_pixel_anywhere_in_the_order(sums_pixels):
    """Ranks of 0 to 15 are equally likely. The gain, 1 - rank / 8, has a mean of 1/16 and a deviation of 0.576."""
    image = np.zeros((4, 4, 1), dtype="float32")
    image[1, 2] = 1
    scores = faithfulness.compare_with_chance(
        sums_pixels, image, 0, image[..., 0], smooth=400, moved=0, pixels=400, baseline=0, steps=16
    )
    assert scores.this_map.gain == 1
    for curves in (scores.chance, scores.pixels):
        assert curves.gain.mean() == pytest.approx(1 / 16, abs=0.1)
        assert curves.gain.std() == pytest.approx(0.576, abs=0.05)
    assert scores.above_chance == pytest.approx((1 - 1 / 16) / 0.576, abs=0.25)
    assert "insertion minus deletion 1.00; by chance" in str(scores)
    assert scores.middle.gain == 1 - 1 / 8  # of the four pixels in the middle, it is the second
    assert float(scores.verdict_on_middle.split()[0]) == pytest.approx((7 / 8 - 1 / 16) / 0.576, abs=0.3)


def test_a_map_moved_elsewhere_is_no_longer_perfect(sums_pixels):
    image = np.zeros((4, 4, 1), dtype="float32")
    image[1, 2] = 1
    moved = faithfulness.compare_with_chance(sums_pixels, image, 0, image[..., 0], smooth=0, baseline=0, steps=16)
    assert moved.chance.deletion.shape == (6, 17)
    assert (moved.chance.gain < 1).all()  # rows move by 1 to 3 of 4


def test_a_map_that_names_no_pixel_is_no_better_than_chance(sums_pixels):
    image = np.random.default_rng(0).random((4, 4, 1), dtype="float32")
    blank = faithfulness.compare_with_chance(sums_pixels, image, 0, np.zeros((4, 4)), baseline=0, steps=16)
    assert np.isnan(blank.above_chance)
    assert blank.verdict == "no better than chance"
    right = faithfulness.compare_with_chance(sums_pixels, image, 0, image[..., 0], baseline=0, steps=16)
    assert right.verdict == f"{right.above_chance:+.1f} std. dev. from chance"


def test_images_are_made_when_they_are_needed(sums_pixels, monkeypatch):
    """Those of a large image would take gigabytes."""
    seen = []
    predict = sums_pixels.predict_on_batch
    monkeypatch.setattr(sums_pixels, "predict_on_batch", lambda batch: seen.append(len(batch)) or predict(batch))
    image, maps = np.random.default_rng(0).random((2, 4, 4, 1), dtype="float32"), np.arange(48.0).reshape(3, 4, 4)
    small = faithfulness.deletion_insertion(sums_pixels, image[0], 0, maps, baseline=0, batch_size=7)
    assert max(seen) <= 7
    large = faithfulness.deletion_insertion(sums_pixels, image[0], 0, maps, baseline=0, batch_size=1000)
    assert large.deletion.shape == (3, 17)
    np.testing.assert_allclose(small.deletion, large.deletion, rtol=1e-6)
    np.testing.assert_allclose(small.insertion, large.insertion, rtol=1e-6)
    np.testing.assert_allclose(large.deletion + large.insertion, np.full((3, 17), image[0].sum()), rtol=1e-5)


@pytest.mark.parametrize("sigma", [1, 2, 4])
def test_smoothness_of_filtered_noise(sigma):
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(256, 256)), sigma, mode="wrap")
    assert faithfulness.smoothness(noise) == pytest.approx(sigma, rel=0.1)
