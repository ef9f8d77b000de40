"""Batches of images, in an order and with an augmentation that depend on seed and epoch alone."""

import dataclasses
import functools
import math

import keras
import numpy as np

from convnets.data.datasets import at_once, scale_pixels

FLIPS = 2**32 - 1  # in the place of an epoch's number: the flips have random numbers of their own


@dataclasses.dataclass(frozen=True)
class Rows:
    """Some rows of an array, taken when they are needed: those of a folder of pictures may not fit into memory.

    array: (n, ...). places: the numbers of the rows.
    """

    array: np.ndarray
    places: np.ndarray

    def __len__(self):
        return len(self.places)

    @property
    def shape(self):
        return len(self), *self.array.shape[1:]

    def __getitem__(self, chosen):
        return self.array[self.places[chosen]]


class TrainingBatches(keras.utils.PyDataset):
    """The batches of all epochs from `first_epoch` on, as one endless stream.

    Batch i depends only on (seed, first_epoch, passes, i), not on earlier random numbers. So a resumed training sees
    the same images as one that was never interrupted.

    images: (n, height, width, channels) uint8, or Rows of them. labels: (n, classes) float32, one-hot.
    Each item is (float32 pixels in [0, 1], labels), shuffled, and augmented if `augment` is given.
    passes: how many times an epoch goes through all images, each time in another order.
    alternate_flips: half of the images, chosen once, are flipped horizontally in odd passes, the others in even ones.
    threads: how many prepare batches. More than one pays where a batch takes longer to prepare than to train on.
    """

    num_batches = None

    def __init__(
        self, images, labels, *, batch_size, seed, first_epoch, passes=1, augment=None, alternate_flips=False,
        threads=1,
    ):  # fmt: skip
        super().__init__(workers=threads)
        self.images, self.labels = images, labels
        self.batch_size, self.seed, self.augment = batch_size, seed, augment
        self._flip_coins = None
        if alternate_flips:
            self._flip_coins = np.random.default_rng((seed, FLIPS)).integers(0, 2, len(images))
        self.batches_per_pass = math.ceil(len(images) / batch_size)
        self.batches_per_epoch = passes * self.batches_per_pass
        self._first_pass = passes * first_epoch
        self._order = functools.lru_cache(maxsize=2)(self._shuffled)  # at an epoch's end, threads need two orders

    def __getitem__(self, index):
        passed, batch = divmod(index, self.batches_per_pass)
        passed += self._first_pass
        chosen = self._order(passed)[batch * self.batch_size : (batch + 1) * self.batch_size]
        pixels = scale_pixels(self.images[chosen])
        if self._flip_coins is not None:
            flipped = (self._flip_coins[chosen] + passed) % 2 == 1
            pixels[flipped] = pixels[flipped, :, ::-1]
        if self.augment is not None:
            pixels = self.augment(pixels, np.random.default_rng((self.seed, passed, 1 + batch)))
        return pixels, self.labels[chosen]

    def _shuffled(self, passed):
        return np.random.default_rng((self.seed, passed, 0)).permutation(len(self.images))


class TestBatches(keras.utils.PyDataset):
    """Images in their order, converted to float32 batch by batch; arguments as for TrainingBatches.

    batch_size: default 500, or fewer images if they are larger than 32x32, which take more memory.
    """

    def __init__(self, images, labels, *, batch_size=None):
        super().__init__()
        self.images, self.labels = images, labels
        self.batch_size = batch_size or at_once(500, images.shape[1:])

    @property
    def num_batches(self):
        return math.ceil(len(self.images) / self.batch_size)

    def __getitem__(self, index):
        batch = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return scale_pixels(self.images[batch]), self.labels[batch]
