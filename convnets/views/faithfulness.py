"""How far to trust a heat map: remove the pixels that it calls important, and watch the score.

Deletion and insertion: Petsiuk, Das and Saenko, "RISE", 2018.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from convnets.views import introspection, occlusion


@dataclass(frozen=True)
class DeletionInsertion:
    """A class's score while an image's pixels are removed, or inserted, in the order of one or more maps.

    shares: (steps + 1,) the share of pixels, from 0 to 1. deletion, insertion: ([maps,] steps + 1) scores.
    """

    shares: np.ndarray
    deletion: np.ndarray
    insertion: np.ndarray

    @property
    def deletion_area(self):
        """Mean score over the steps of deletion: small when the first pixels to go were the important ones."""
        return self.deletion[..., 1:].mean(axis=-1)

    @property
    def insertion_area(self):
        """Mean score over the steps of insertion: large when the first pixels to come were the important ones."""
        return self.insertion[..., 1:].mean(axis=-1)

    @property
    def gain(self):
        """Insertion area minus deletion area, from -1 to 1 for probabilities: the larger, the better the map."""
        return self.insertion_area - self.deletion_area

    def __getitem__(self, maps):
        return DeletionInsertion(self.shares, self.deletion[maps], self.insertion[maps])


def deletion_insertion(model, image, class_index, importance, *, baseline="blur", steps=16, batch_size=128):
    """Remove an image's pixels in the order of a map, the most important first, and insert them in the same order.

    importance: (h, w), or (maps, h, w) for several maps at once. steps: into how many equal parts the pixels are
    divided. baseline: see occlusion.background. Returns a DeletionInsertion of the model's output `class_index`.
    """
    maps = importance.reshape(-1, importance.shape[-2] * importance.shape[-1])
    rank = np.argsort(np.argsort(-maps, axis=1, kind="stable"), axis=1).reshape(-1, 1, *importance.shape[-2:], 1)
    shares = np.linspace(0, 1, min(steps, maps.shape[1]) + 1)
    gone = rank < np.rint(shares * maps.shape[1]).reshape(-1, 1, 1, 1)
    hidden = occlusion.background(image, baseline)
    images = np.stack([np.where(gone, hidden, image), np.where(gone, image, hidden)]).astype("float32")
    scores = introspection.predict(model, images.reshape(-1, *image.shape), batch_size)[:, class_index]
    return DeletionInsertion(shares, *scores.reshape(2, *importance.shape[:-2], len(shares)))


@dataclass(frozen=True)
class Comparison:
    """How well a map does in deletion and insertion, compared with maps that know nothing of the network.

    this_map: its DeletionInsertion. chance: that of smooth random maps and of the map itself, moved elsewhere.
    pixels: that of single random pixels, which spoil an image like noise and are no fair comparison for a smooth map.
    """

    this_map: DeletionInsertion
    chance: DeletionInsertion
    pixels: DeletionInsertion

    @property
    def above_chance(self):
        """By how many standard deviations the map's gain exceeds the mean gain of the chance maps."""
        spread = self.chance.gain.std(ddof=1)
        return float((self.this_map.gain - self.chance.gain.mean()) / spread) if spread > 0 else float("nan")

    def __str__(self):
        gains = self.chance.gain
        return (
            f"insertion minus deletion {self.this_map.gain:.2f}; by chance {gains.mean():.2f} ± {gains.std(ddof=1):.2f}"
            + ("" if np.isnan(self.above_chance) else f": {self.above_chance:+.1f} standard deviations")
        )


def compare_with_chance(model, image, class_index, importance, *, smooth=8, moved=6, pixels=2, seed=0, **options):
    """Score a map by deletion and insertion, beside chance maps. Return a Comparison.

    importance: (h, w). smooth: how many maps of Gaussian-filtered noise, as smooth as the map. moved: how often the map
    itself is moved, by at least a quarter of the image, and mirrored at random. pixels: how many random orders of
    single pixels. options: see `deletion_insertion`.
    """
    rng = np.random.default_rng(seed)
    sigma = smoothness(importance)
    extent = np.array(importance.shape)
    random_maps = [gaussian_filter(rng.normal(size=extent), sigma, mode="wrap") for _ in range(smooth)]
    moved_maps = [
        np.roll(importance[:, :: rng.choice([-1, 1])], rng.integers(extent // 4, extent - extent // 4 + 1), (0, 1))
        for _ in range(moved)
    ]
    maps = np.stack([importance, *random_maps, *moved_maps, *rng.random((pixels, *extent))])
    curves = deletion_insertion(model, image, class_index, maps, **options)
    return Comparison(curves[0], curves[1 : 1 + smooth + moved], curves[1 + smooth + moved :])


def smoothness(importance):
    """Return the sigma, in pixels, of the Gaussian filter that makes white noise as smooth as a map (h, w).

    Filtered noise of variance v has gradients of mean square v / sigma ** 2.
    """
    steepness = sum(np.mean(np.diff(importance, axis=axis) ** 2) for axis in (0, 1))
    return float(np.sqrt(np.var(importance) / steepness)) if steepness > 0 else 1.0
