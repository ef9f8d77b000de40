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


def deletion_insertion(
    model, image, class_index, importance, *, baseline="blur", steps=16, score=None, batch_size=None
):
    """Remove an image's pixels in the order of a map, the most important first, and insert them in the same order.

    importance: (h, w), or (maps, h, w) for several maps at once. steps: into how many equal parts the pixels are
    divided. baseline: see occlusion.background. score: a function of the model's outputs (n, outputs) that returns the
    scores, of the same shape (default: the outputs are the scores). batch_size: see introspection.predict.
    Returns a DeletionInsertion of the score `class_index`.
    """
    maps = importance.reshape(-1, importance.shape[-2] * importance.shape[-1])
    ranks = np.argsort(np.argsort(-maps, axis=1, kind="stable"), axis=1).reshape(-1, *importance.shape[-2:], 1)
    shares = np.linspace(0, 1, min(steps, maps.shape[1]) + 1)
    images = _MixedImages(image, occlusion.background(image, baseline), ranks, np.rint(shares * maps.shape[1]))
    outputs = introspection.predict(model, images, batch_size)
    scores = (score(outputs) if score else outputs)[:, class_index]
    return DeletionInsertion(shares, *scores.reshape(2, *importance.shape[:-2], len(shares)))


@dataclass(frozen=True)
class _MixedImages:
    """The images of deletion, those with the first pixels hidden, and then of insertion, those with all others hidden.

    A slice of them is an array (n, h, w, c). They are made when they are needed: those of a large image take gigabytes.
    ranks: (maps, h, w, 1) the place of each pixel in the order of a map. counts: (steps + 1,) how many are the first.
    """

    image: np.ndarray
    hidden: np.ndarray
    ranks: np.ndarray
    counts: np.ndarray

    def __len__(self):
        return 2 * len(self.ranks) * len(self.counts)

    @property
    def shape(self):
        return len(self), *self.image.shape

    def __getitem__(self, part):
        half, rest = np.divmod(np.arange(len(self))[part], len(self) // 2)
        number, step = np.divmod(rest, len(self.counts))
        is_first = self.ranks[number] < self.counts[step].reshape(-1, 1, 1, 1)
        return np.where(is_first == (half == 0).reshape(-1, 1, 1, 1), self.hidden, self.image)


@dataclass(frozen=True)
class Comparison:
    """How well a map does in deletion and insertion, compared with maps that know nothing of the network.

    this_map: its DeletionInsertion. chance: that of smooth random maps and of the map itself, moved elsewhere.
    pixels: that of single random pixels, which spoil an image like noise and are no fair comparison for a smooth map.
    middle: that of a blob in the middle, where most objects are: a map that is no better may know nothing, either.
    is_constant: whether the map is the same everywhere, so that it names no pixels first.
    """

    this_map: DeletionInsertion
    chance: DeletionInsertion
    pixels: DeletionInsertion
    middle: DeletionInsertion
    is_constant: bool = False

    @property
    def above_chance(self):
        """By how many standard deviations the map's gain exceeds the chance maps' mean; NaN if that means nothing."""
        return float("nan") if self.is_constant else self._above_chance(self.this_map)

    def _above_chance(self, scored):
        spread = self.chance.gain.std(ddof=1)
        return float((scored.gain - self.chance.gain.mean()) / spread) if spread > 0 else float("nan")

    @property
    def verdict(self):
        """How the map compares with chance, in a few words."""
        return _in_words(self.above_chance)

    @property
    def verdict_on_middle(self):
        """The same for the blob in the middle."""
        return _in_words(self._above_chance(self.middle))

    def __str__(self):
        gains = self.chance.gain
        chance = f"{gains.mean():.2f} ± {gains.std(ddof=1):.2f}"
        return f"insertion minus deletion {self.this_map.gain:.2f}; by chance {chance}: {self.verdict}"


def _in_words(above_chance):
    return "no better than chance" if np.isnan(above_chance) else f"{above_chance:+.1f} std. dev. from chance"


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
    from_middle = (np.indices(extent) - (extent[:, None, None] - 1) / 2) / extent[:, None, None]
    blob = -(from_middle**2).sum(axis=0)  # only the order of its pixels counts
    maps = np.stack([importance, blob, *random_maps, *moved_maps, *rng.random((pixels, *extent))])
    curves = deletion_insertion(model, image, class_index, maps, **options)
    chance, single_pixels = curves[2 : 2 + smooth + moved], curves[2 + smooth + moved :]
    return Comparison(curves[0], chance, single_pixels, curves[1], bool(np.ptp(importance) == 0))


def smoothness(importance):
    """Return the sigma, in pixels, of the Gaussian filter that makes white noise as smooth as a map (h, w).

    Filtered noise of variance v has gradients of mean square v / sigma ** 2.
    """
    steepness = sum(np.mean(np.diff(importance, axis=axis) ** 2) for axis in (0, 1))
    return float(np.sqrt(np.var(importance) / steepness)) if steepness > 0 else 1.0
