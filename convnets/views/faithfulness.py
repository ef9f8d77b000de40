"""How far to trust a heat map: remove the pixels that it calls important, and watch the answer.

Deletion and insertion: Petsiuk, Das and Saenko, "RISE", 2018.
"""

from dataclasses import dataclass

import numpy as np

from convnets.views import introspection, occlusion


@dataclass(frozen=True)
class DeletionInsertion:
    """What becomes of a class's score while an image's pixels are removed, or inserted, in an order.

    shares: (steps + 1,) the share of pixels, from 0 to 1. deletion, insertion: (steps + 1,) scores.
    """

    shares: np.ndarray
    deletion: np.ndarray
    insertion: np.ndarray

    @property
    def deletion_area(self):
        """Mean score after each step of deletion: small when the first pixels to go were the important ones."""
        return float(self.deletion[1:].mean())

    @property
    def insertion_area(self):
        """Mean score after each step of insertion: large when the first pixels to come were the important ones."""
        return float(self.insertion[1:].mean())


def deletion_insertion(model, image, class_index, importance, *, baseline="blur", steps=32, batch_size=256):
    """Removes an image's pixels in the order of a map, the most important first, and inserts them in the same order.

    importance: (h, w). steps: into how many equal parts the pixels are divided. baseline: see `background`.
    Returns a DeletionInsertion with the model's output `class_index` as score.
    """
    order = np.argsort(-importance, axis=None, kind="stable")
    rank = np.empty(order.size, dtype=int)
    rank[order] = np.arange(order.size)
    shares = np.linspace(0, 1, min(steps, order.size) + 1)
    gone = rank.reshape(1, *importance.shape, 1) < np.rint(shares * order.size).reshape(-1, 1, 1, 1)
    hidden = occlusion.background(image, baseline)
    images = np.concatenate([np.where(gone, hidden, image), np.where(gone, image, hidden)]).astype("float32")
    deletion, insertion = np.split(introspection.predict(model, images, batch_size)[:, class_index], 2)
    return DeletionInsertion(shares, deletion, insertion)


def chance_curves(model, image, class_index, importance, *, repeats=4, seed=0, **options):
    """What `deletion_insertion` gives for orders that know nothing: the mean of some random ones, of two kinds.

    Returns {"random order": pixel by pixel, "same map elsewhere": the map itself, mirrored and moved at random}. Single
    random pixels spoil an image like noise, whatever they show; a map moved elsewhere spoils it as gently as the map.
    """
    rng = np.random.default_rng(seed)
    shuffled = [rng.random(importance.shape) for _ in range(repeats)]
    moved = [
        np.roll(importance[:, :: rng.choice([-1, 1])], rng.integers(importance.shape), (0, 1)) for _ in range(repeats)
    ]
    return {
        kind: _mean([deletion_insertion(model, image, class_index, order, **options) for order in orders])
        for kind, orders in {"random order": shuffled, "same map elsewhere": moved}.items()
    }


def _mean(removals):
    deletion, insertion = (
        np.mean([getattr(each, kind) for each in removals], axis=0) for kind in ("deletion", "insertion")
    )
    return DeletionInsertion(removals[0].shares, deletion, insertion)
