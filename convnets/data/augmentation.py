"""Random flips, shifts and zooms of a whole batch at once: NumPy in, NumPy out."""

from dataclasses import dataclass

import numpy as np

from convnets.data.datasets import scale_pixels


@dataclass(frozen=True)
class Augmentation:
    """Makes a new, slightly different batch from a batch of images (article: "Use image augmentation").

    zoom: height and width are each scaled by a factor drawn from [1 - zoom, 1 + zoom].
    shift: the image moves by up to this share of its height and width, in each direction.
    horizontal_flip: every other image, on average, is mirrored.

    Pixels that come from outside the image repeat its nearest edge pixel. Between pixels the value is
    interpolated cubically (Keys, "Cubic convolution interpolation for digital image processing", 1981): linear
    interpolation blurs, and a network that is trained on blurred images does less well on sharp ones.
    """

    zoom: float = 0.1
    shift: float = 0.05
    horizontal_flip: bool = True

    def __call__(self, images, rng):
        """Augments `images`, (n, height, width, channels) float32, with the `numpy.random.Generator` rng.

        Returns a new array of the same shape and dtype.
        """
        n, height, width, channels = images.shape
        rows = self._resampling_matrices(n, height, rng)
        columns = self._resampling_matrices(n, width, rng)
        if self.horizontal_flip:
            flipped = rng.random(n) < 0.5
            columns[flipped] = columns[flipped, ::-1]
        # Zoom and shift act on each axis by itself, so an image is resampled by two small matrix
        # products, rows @ image @ columns.T, and a batch by two stacks of them.
        resampled = rows @ images.reshape(n, height, width * channels)
        sideways = resampled.reshape(n, height, width, channels).transpose(0, 2, 1, 3).reshape(n, width, -1)
        resampled = (columns @ sideways).reshape(n, width, height, channels)
        resampled = np.ascontiguousarray(resampled.transpose(0, 2, 1, 3))
        return np.clip(resampled, 0, 1, out=resampled)  # cubics can overshoot

    def _resampling_matrices(self, n, size, rng):
        """Draws n matrices of (size, size): row i holds the weights with which old pixels make up new pixel i."""
        zoom = rng.uniform(1 - self.zoom, 1 + self.zoom, (n, 1)).astype("float32")
        shift = rng.uniform(-self.shift, self.shift, (n, 1)).astype("float32") * size
        pixels = np.arange(size, dtype="float32")
        middle = (size - 1) / 2
        source = np.clip(middle + (pixels - middle) * zoom + shift, 0, size - 1)
        near = np.floor(source)[:, :, None] + np.arange(-1, 3, dtype="float32")  # the four pixels that count
        weights = np.zeros((n, size, size + 3), dtype="float32")
        np.put_along_axis(weights, near.astype("int64") + 1, _cubic(source[:, :, None] - near), axis=2)
        weights[:, :, 1] += weights[:, :, 0]  # one pixel beyond each edge repeats the edge
        weights[:, :, -3] += weights[:, :, -2]
        return weights[:, :, 1:-2]


def _cubic(distance, sharpness=0.75):
    """Keys's kernel: the weight of a pixel at a distance from where a value is wanted, in pixels."""
    x = np.abs(distance)
    near = ((2 - sharpness) * x - (3 - sharpness)) * x * x + 1
    far = -sharpness * (((x - 5) * x + 8) * x - 4)
    return np.where(x < 1, near, np.where(x < 2, far, 0))


@dataclass(frozen=True)
class ShiftAndCutOut:
    """Moves each image by a few whole pixels, and hides a part of it.

    shift: how many pixels at most, in each direction; what was beyond an edge is mirrored at it.
    hole: the side, in pixels, of a square around a random pixel that becomes grey; 0 for none.

    Source: DeVries and Taylor, "Improved regularization of convolutional neural networks with cutout", 2017.
    """

    shift: int = 2
    hole: int = 0

    def __call__(self, images, rng):
        """Augments `images`, (n, height, width, channels) float32, with the `numpy.random.Generator` rng.

        Returns a new array of the same shape and dtype.
        """
        n, height, width, _ = images.shape
        padded = np.pad(images, ((0, 0), (self.shift, self.shift), (self.shift, self.shift), (0, 0)), "reflect")
        moves = rng.integers(0, 2 * self.shift + 1, (2, n))
        moved = np.empty_like(images)
        for down, right in np.ndindex(2 * self.shift + 1, 2 * self.shift + 1):  # all images with the same move at once
            same = np.flatnonzero((moves[0] == down) & (moves[1] == right))
            moved[same] = padded[same, down : down + height, right : right + width]
        if self.hole:
            tops, lefts = (rng.integers(0, size, n) - self.hole // 2 for size in (height, width))
            rows, columns = (
                (np.arange(size) >= first[:, None]) & (np.arange(size) < first[:, None] + self.hole)
                for size, first in ((height, tops), (width, lefts))
            )
            moved[rows[:, :, None] & columns[:, None, :]] = 0.5
        return moved


def preview(dataset, augment, *, seed, images=8, versions=5):
    """Picks random training images and augments each of them several times.

    Returns (originals (images, h, w, c), augmented (images, versions, h, w, c)), float32 in [0, 1].
    """
    rng = np.random.default_rng(seed)
    chosen = dataset.x_train[rng.choice(len(dataset.x_train), images, replace=False)]
    originals = scale_pixels(chosen)
    return originals, np.stack([augment(originals, rng) for _ in range(versions)], axis=1)
