"""Which parts of an image a network's answer depends on: hide them, one patch after the other.

Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2014.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.special import softmax

from convnets.errors import UserError
from convnets.views import introspection


@dataclass(frozen=True)
class Occlusion:
    """What a network returned while an image was hidden patch by patch.

    original: (outputs,), for the whole image. outputs: (n, outputs), with each of the patches hidden.
    corners: (n, 2) int, the top and left of each patch, row by row. patch: its height and width. image_size: (h, w).
    """

    original: np.ndarray
    outputs: np.ndarray
    corners: np.ndarray
    patch: tuple[int, int]
    image_size: tuple[int, int]

    def mean_over_patches(self, values):
        """Spread a value for each patch, (n,), over the image, (h, w): at a pixel, the mean of all patches over it."""
        total, count = np.zeros(self.image_size), np.zeros(self.image_size)
        for (top, left), value in zip(self.corners, values, strict=True):
            covered = np.s_[top : top + self.patch[0], left : left + self.patch[1]]
            total[covered] += value
            count[covered] += 1
        return (total / count).astype("float32")

    def drop_map(self, index):
        """(h, w) float32: by how much hiding a pixel lowers the output `index`, on average over its patches."""
        return self.mean_over_patches(self.original[index] - self.outputs[:, index])

    def predictions(self):
        """(rows of patches, columns of patches) int: the most probable class with each of the patches hidden."""
        rows = len(np.unique(self.corners[:, 0]))
        return self.outputs.argmax(axis=1).reshape(rows, -1)

    def probabilities(self, of_logits=None):
        """The same occlusion with the probabilities of its outputs, which must be logits.

        of_logits: a function that returns the probabilities (..., outputs) of logits. Default: their softmax.
        """
        of_logits = of_logits or partial(softmax, axis=-1)
        return replace(self, original=of_logits(self.original), outputs=of_logits(self.outputs))


def occlusion_map(
    model, image, class_index, *, patch=(4, 4), stride=(1, 1), baseline=0.5, score="probability", batch_size=None
):
    """Measure how much a network's score for a class depends on each pixel of an image.

    image: (h, w, c) float32 in [0, 1]. patch, stride: (height, width) in pixels. baseline: see `background`.
    score: "probability"; "logit", before the softmax; or "output", whatever the model returns. batch_size: see
    introspection.predict.
    Returns (h, w) float32: at each pixel the mean of score(image) - score(occluded image) over all patches that
    cover it. Raises UserError when patches don't fit the image or would leave out pixels.
    """
    if score not in ("probability", "logit", "output"):
        raise UserError(f"no score is called {score!r}: use probability, logit or output")
    scored = model if score == "output" else introspection.logits(model)
    occlusion = occlude(scored, image, patch=patch, stride=stride, baseline=baseline, batch_size=batch_size)
    return (occlusion.probabilities() if score == "probability" else occlusion).drop_map(class_index)


def occlude(model, image, *, patch=(4, 4), stride=(1, 1), baseline=0.5, batch_size=None):
    """Run a network on an image with each patch hidden in turn; arguments as for occlusion_map. Return an Occlusion.

    The last row and the last column of patches end at the image's edge, whatever the stride.
    """
    height, width, _ = image.shape
    tops, lefts = _starts(height, patch[0], stride[0]), _starts(width, patch[1], stride[1])
    corners = np.stack(np.meshgrid(tops, lefts, indexing="ij"), axis=-1).reshape(-1, 2)
    images = OccludedImages(image, background(image, baseline), patch, corners)
    outputs = introspection.predict(model, images, batch_size)
    return Occlusion(outputs[-1], outputs[:-1], corners, tuple(patch), (height, width))


def default_patch(image):
    """Return (height, width) of a patch: 4 pixels on an image of 32, and as large a share of larger images."""
    return tuple(max(4, size // 8) for size in image.shape[:2])


def default_stride(image, patch):
    """Return (down, right): 1 pixel on an image of 32, and more on larger ones, so that the patches stay as many."""
    return tuple(min(max(1, size // 32), length) for size, length in zip(image.shape[:2], patch, strict=False))


@dataclass(frozen=True)
class OccludedImages:
    """An image with each patch hidden in turn, and last the whole image. A slice of it is an array (n, h, w, c)."""

    image: np.ndarray
    hidden: np.ndarray
    patch: tuple[int, int]
    corners: np.ndarray

    def __len__(self):
        return len(self.corners) + 1

    @property
    def shape(self):
        return len(self), *self.image.shape

    def __getitem__(self, part):
        numbers = range(len(self))[part]
        images = np.repeat(self.image[None], len(numbers), axis=0)
        for image, (top, left) in zip(images, self.corners[part].tolist(), strict=False):
            covered = np.s_[top : top + self.patch[0], left : left + self.patch[1]]
            image[covered] = self.hidden[covered]
        return images


def background(image, baseline):
    """Return what replaces hidden pixels, as an image (h, w, c).

    baseline: a grey level in [0, 1]; a colour (c values); "mean", the image's mean colour; "blur", the image
    itself, blurred beyond recognition; or an image (h, w, c).
    """
    if isinstance(baseline, str):
        if baseline not in ("mean", "blur"):
            raise UserError(f"no baseline is called {baseline!r}: use mean, blur, or a value from 0 to 1")
        baseline = image.mean(axis=(0, 1)) if baseline == "mean" else _blur(image, sigma=image.shape[0] / 6)
    return np.broadcast_to(np.asarray(baseline, dtype="float32"), image.shape)


def _blur(image, sigma):
    """A Gaussian blur, sigma in pixels; at the edges the weights that lie in the image are scaled up to 1."""
    for _ in range(2):  # rows, then columns
        positions = np.arange(len(image))
        weights = np.exp(-((positions[:, None] - positions) ** 2) / (2 * sigma**2))
        image = np.tensordot(weights / weights.sum(axis=1, keepdims=True), image, axes=1).swapaxes(0, 1)
    return image.astype("float32")


def _starts(size, patch, stride):
    if not 1 <= patch <= size:
        raise UserError(f"a patch of {patch} pixels does not fit into {size}: take one from 1 to {size}")
    if not 1 <= stride <= patch:
        raise UserError(f"a stride of {stride} leaves pixels between patches of {patch}: take one from 1 to {patch}")
    starts = list(range(0, size - patch + 1, stride))
    return starts if starts[-1] == size - patch else [*starts, size - patch]
