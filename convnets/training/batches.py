"""Batches of images, in an order and with an augmentation that depend on seed and epoch alone."""

import math

import keras
import numpy as np

from convnets.data.datasets import scale_pixels

FLIPS = 2**32 - 1  # in the place of an epoch's number: the flips have random numbers of their own


class TrainingBatches(keras.utils.PyDataset):
    """The batches of all epochs from `first_epoch` on, as one endless stream.

    Batch i depends only on (seed, first_epoch, i), not on earlier random numbers. So a resumed training sees the same
    images as one that was never interrupted.

    images: (n, height, width, channels) uint8. labels: (n, classes) float32, one-hot.
    Each item is (float32 pixels in [0, 1], labels), shuffled, and augmented if `augment` is given.
    alternate_flips: half of the images, chosen once, are flipped horizontally in odd epochs, the others in even ones.
    """

    num_batches = None

    def __init__(self, images, labels, *, batch_size, seed, first_epoch, augment=None, alternate_flips=False):
        super().__init__()
        self.images, self.labels = images, labels
        self.batch_size, self.seed, self.first_epoch, self.augment = batch_size, seed, first_epoch, augment
        self._flip_coins = None
        if alternate_flips:
            self._flip_coins = np.random.default_rng((seed, FLIPS)).integers(0, 2, len(images))
        self.batches_per_epoch = math.ceil(len(images) / batch_size)
        self._epoch_in_order = None

    def __getitem__(self, index):
        epoch, batch = divmod(index, self.batches_per_epoch)
        epoch += self.first_epoch
        if epoch != self._epoch_in_order:
            self._order = np.random.default_rng((self.seed, epoch, 0)).permutation(len(self.images))
            self._epoch_in_order = epoch
        chosen = self._order[batch * self.batch_size : (batch + 1) * self.batch_size]
        pixels = scale_pixels(self.images[chosen])
        if self._flip_coins is not None:
            flipped = (self._flip_coins[chosen] + epoch) % 2 == 1
            pixels[flipped] = pixels[flipped, :, ::-1]
        if self.augment is not None:
            pixels = self.augment(pixels, np.random.default_rng((self.seed, epoch, 1 + batch)))
        return pixels, self.labels[chosen]


class TestBatches(keras.utils.PyDataset):
    """Images in their order, converted to float32 batch by batch; arguments as for TrainingBatches."""

    def __init__(self, images, labels, *, batch_size=500):
        super().__init__()
        self.images, self.labels, self.batch_size = images, labels, batch_size

    @property
    def num_batches(self):
        return math.ceil(len(self.images) / self.batch_size)

    def __getitem__(self, index):
        batch = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return scale_pixels(self.images[batch]), self.labels[batch]
