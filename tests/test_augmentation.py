import numpy as np
import pytest

from convnets.data.augmentation import Augmentation, preview

NOTHING = {"zoom": 0, "shift": 0, "horizontal_flip": False}


@pytest.fixture
def images():
    return np.random.default_rng(0).random((6, 8, 10, 3), dtype="float32")


class Draws:
    """Stands in for a random generator and returns chosen numbers: zoom and shift of rows, then of columns."""

    def __init__(self, *numbers, flip=()):
        self.numbers, self.flip = list(numbers), np.asarray(flip)

    def uniform(self, low, high, shape):
        number = self.numbers.pop(0)
        assert low <= number <= high
        return np.full(shape, number)

    def random(self, n):
        return np.where(self.flip, 0.0, 0.9)


def test_nothing_to_do_returns_the_images(images):
    np.testing.assert_array_equal(Augmentation(**NOTHING)(images, np.random.default_rng(1)), images)


def test_a_flip_mirrors_left_and_right(images):
    flip = [True, False, True, False, False, True]
    augmented = Augmentation(zoom=0, shift=0)(images, Draws(1, 0, 1, 0, flip=flip))
    expected = np.where(np.reshape(flip, (6, 1, 1, 1)), images[:, :, ::-1], images)
    np.testing.assert_array_equal(augmented, expected)


def test_a_shift_by_whole_pixels_moves_them_and_repeats_the_edge(images):
    augment = Augmentation(zoom=0, shift=0.5, horizontal_flip=False)
    augmented = augment(images, Draws(1, 2 / 8, 1, -1 / 10))  # 2 rows up, 1 column to the right
    expected = np.concatenate([images[:, 2:], images[:, -1:], images[:, -1:]], axis=1)
    expected = np.concatenate([expected[:, :, :1], expected[:, :, :-1]], axis=2)
    np.testing.assert_allclose(augmented, expected, atol=1e-6)


def test_a_shift_by_half_a_pixel_weighs_four_pixels():
    row = np.array([0.4, 0.5, 0.3, 0.6, 0.5, 0.2], dtype="float32")
    images = np.broadcast_to(row[None, None, :, None], (1, 6, 6, 1))
    augmented = Augmentation(zoom=0, shift=0.5, horizontal_flip=False)(images, Draws(1, 0, 1, 0.5 / 6))[0, 0, :, 0]
    # Keys's kernel with a = -0.75 at the distances 1.5, 0.5, 0.5 and 1.5
    far, near = -0.09375, 0.59375
    assert augmented[1] == pytest.approx(far * 0.4 + near * 0.5 + near * 0.3 + far * 0.6, abs=1e-6)
    assert augmented[0] == pytest.approx(far * 0.4 + near * 0.4 + near * 0.5 + far * 0.3, abs=1e-6)  # 0.4 is repeated
    assert augmented[4] == pytest.approx(far * 0.6 + near * 0.5 + near * 0.2 + far * 0.2, abs=1e-6)
    assert augmented[5] == pytest.approx(0.2, abs=1e-6)


def test_zoom_keeps_the_centre_and_takes_every_other_pixel():
    row = np.random.default_rng(1).random(9, dtype="float32")
    images = np.broadcast_to(row[None, :, None, None], (1, 9, 9, 1))
    augmented = Augmentation(zoom=1, shift=0, horizontal_flip=False)(images, Draws(2, 0, 1, 0))
    np.testing.assert_allclose(augmented[0, :, 0, 0], row[[0, 0, 0, 2, 4, 6, 8, 8, 8]], atol=1e-6)


def test_a_plain_image_stays_plain_at_any_zoom_and_shift():
    images = np.full((50, 7, 7, 1), 0.3, dtype="float32")
    np.testing.assert_allclose(Augmentation(0.3, 0.3)(images, np.random.default_rng(2)), images, atol=1e-6)


def test_hard_edges_stay_within_black_and_white():
    images = np.zeros((50, 8, 8, 1), dtype="float32")
    images[:, 2:6, 2:6] = 1
    augmented = Augmentation()(images, np.random.default_rng(2))
    assert augmented.min() == 0
    assert augmented.max() == 1


def test_the_generator_alone_decides(images):
    first, again, other = (Augmentation()(images, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1
    assert first.dtype == "float32"
    assert first.min() >= 0
    assert first.max() <= 1


def test_about_half_of_the_images_are_flipped():
    images = np.zeros((2000, 2, 2, 1), dtype="float32")
    images[:, :, 0] = 1
    augmented = Augmentation(zoom=0, shift=0)(images, np.random.default_rng(3))
    assert 900 < augmented[:, 0, 1, 0].sum() < 1100


def test_preview_shows_versions_of_real_training_images(tiny_dataset):
    originals, augmented = preview(tiny_dataset, Augmentation(**NOTHING), seed=5, images=4, versions=3)
    assert augmented.shape == (4, 3, 8, 8, 1)
    for version in range(3):
        np.testing.assert_array_equal(augmented[:, version], originals)
    trained_on = {image.tobytes() for image in tiny_dataset.x_train}
    assert all(np.rint(original * 255).astype("uint8").tobytes() in trained_on for original in originals)
