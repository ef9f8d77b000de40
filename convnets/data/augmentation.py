"""Augment batches of images with NumPy: flip, shift and zoom them at random, cut squares out."""

from dataclasses import dataclass

import numpy as np

from convnets.data.datasets import scale_pixels


@dataclass(frozen=True)
class Augmentation:
    """Random zoom, shift and horizontal flip (article: "Use image augmentation").

    zoom: factors drawn from [1 - zoom, 1 + zoom], one for the height and one for the width of the part that is shown.
    shift: the image is shifted by up to this fraction of its height and width, in each direction.
    horizontal_flip: whether each image is flipped with probability 1/2.

    Pixels from outside the image repeat the nearest edge pixel. Values between pixels are interpolated cubically
    (Keys, "Cubic convolution interpolation for digital image processing", 1981): linear interpolation blurs, and a
    network trained on blurred images is less accurate on sharp ones.
    """

    zoom: float = 0.1
    shift: float = 0.05
    horizontal_flip: bool = True

    def __call__(self, images, rng):
        """Augment `images`, (n, height, width, channels) float32 in [0, 1]. rng: a numpy.random.Generator.

        Returns a new array of the same shape and dtype.
        """
        n, height, width, channels = images.shape
        rows = self._resampling_matrices(n, height, rng)
        columns = self._resampling_matrices(n, width, rng)
        if self.horizontal_flip:
            flipped = rng.random(n) < 0.5
            columns[flipped] = columns[flipped, ::-1]
        # Zoom and shift are separable: two small matrix products, rows @ image @ columns.T, resample an image, and two
        # stacks of them a batch.
        resampled = rows @ images.reshape(n, height, width * channels)
        sideways = resampled.reshape(n, height, width, channels).transpose(0, 2, 1, 3).reshape(n, width, -1)
        resampled = (columns @ sideways).reshape(n, width, height, channels)
        resampled = np.ascontiguousarray(resampled.transpose(0, 2, 1, 3))
        return np.clip(resampled, 0, 1, out=resampled)  # cubic interpolation can overshoot

    def _resampling_matrices(self, n, size, rng):
        """Draw n matrices (size, size) whose row i holds the weights of the old pixels in the new pixel i."""
        zoom = rng.uniform(1 - self.zoom, 1 + self.zoom, (n, 1)).astype("float32")
        shift = rng.uniform(-self.shift, self.shift, (n, 1)).astype("float32") * size
        pixels = np.arange(size, dtype="float32")
        middle = (size - 1) / 2
        source = np.clip(middle + (pixels - middle) * zoom + shift, 0, size - 1)
        near = np.floor(source)[:, :, None] + np.arange(-1, 3, dtype="float32")  # the four nearest pixels
        weights = np.zeros((n, size, size + 3), dtype="float32")
        np.put_along_axis(weights, near.astype("int64") + 1, _keys_kernel(source[:, :, None] - near), axis=2)
        weights[:, :, 1] += weights[:, :, 0]  # a pixel beyond an edge repeats the edge
        weights[:, :, -3] += weights[:, :, -2]
        return weights[:, :, 1:-2]


def _keys_kernel(distance, a=-0.75):
    """Return the weight of a pixel at a distance, in pixels, from the point to interpolate.

    a: Keys's parameter; his own, -0.5, is less sharp.
    """
    x = np.abs(distance)
    near = ((2 + a) * x - (3 + a)) * x * x + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return np.where(x < 1, near, np.where(x < 2, far, 0))


@dataclass(frozen=True)
class ShiftAndCutOut:
    """Shift each image by a few whole pixels, and hide a square of it (cutout).

    shift: the most pixels in each direction; beyond the edges the image is reflected.
    cutout: the side, in pixels, of a grey square around a random pixel; 0 for none.

    Source: DeVries and Taylor, "Improved regularization of convolutional neural networks with cutout", 2017.
    """

    shift: int = 2
    cutout: int = 0

    def __call__(self, images, rng):
        """Augment `images`, (n, height, width, channels) float32, with the `numpy.random.Generator` rng.

        Returns a new array of the same shape and dtype.
        """
        n, height, width, _ = images.shape
        padded = np.pad(images, ((0, 0), (self.shift, self.shift), (self.shift, self.shift), (0, 0)), "reflect")
        moves = rng.integers(0, 2 * self.shift + 1, (2, n))
        moved = np.empty_like(images)
        for down, right in np.ndindex(2 * self.shift + 1, 2 * self.shift + 1):  # all images with the same move at once
            same = np.flatnonzero((moves[0] == down) & (moves[1] == right))
            moved[same] = padded[same, down : down + height, right : right + width]
        if self.cutout:
            tops, lefts = (rng.integers(0, size, n) - self.cutout // 2 for size in (height, width))
            rows, columns = (
                (np.arange(size) >= first[:, None]) & (np.arange(size) < first[:, None] + self.cutout)
                for size, first in ((height, tops), (width, lefts))
            )
            moved[rows[:, :, None] & columns[:, None, :]] = 0.5
        return moved


def preview(dataset, augment, *, seed, images=8, versions=5):
    """Pick random training images and augment each of them several times.

    Returns (originals (images, h, w, c), augmented (images, versions, h, w, c)), float32 in [0, 1].
    """
    rng = np.random.default_rng(seed)
    chosen = dataset.x_train[rng.choice(len(dataset.x_train), min(images, len(dataset.x_train)), replace=False)]
    originals = scale_pixels(chosen)
    return originals, np.stack([augment(originals, rng) for _ in range(versions)], axis=1)
