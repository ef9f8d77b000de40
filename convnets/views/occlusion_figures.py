"""Draw which pixels an answer depends on."""

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from convnets import drawing


def _draw_map(figure, axes, image, values, title, unit):
    """Draws a map over a grey version of its image: red raises the score, blue lowers it, zero leaves it grey."""
    axes.imshow(image.mean(axis=-1), cmap="gray", vmin=0, vmax=1)
    limit = np.abs(values).max() or 1
    picture = axes.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, alpha=0.75)
    axes.set(title=title, xticks=[], yticks=[])
    figure.colorbar(picture, ax=axes, shrink=0.8, label=unit)


def _draw_removal(axes, removals, kind):
    """Draws a class's probability while pixels go, or come, in each of several orders."""
    for (label, curves), style in zip(removals.items(), ("-", ":", "--"), strict=True):
        area = getattr(curves, f"{kind}_area")
        axes.plot(100 * curves.shares, 100 * getattr(curves, kind), style, label=f"{label}: area {area:.2f}")
    good = {"deletion": "low", "insertion": "high"}[kind]
    done = {"deletion": "removed", "insertion": "inserted"}[kind]
    axes.set(title=f"{kind.capitalize()} (good: {good})", ylim=(0, 100), xlim=(0, 100))
    axes.set(xlabel=f"pixels {done} (%)", ylabel="probability (%)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.15))  # below: the curves may go anywhere


def importance_figure(image, probability_drop, logit_drop, predictions, class_names, removals, title, original=None):
    """Draws what hiding parts of an image does to a network's answer, and how far to trust the map.

    image: (h, w, c) float32. probability_drop, logit_drop: (h, w). predictions: (rows, columns) of patches, the class
    that each hidden patch turns the answer into. removals: {order: occlusion.Removal}, the map's first.
    original: a reader's own picture, to be drawn beside what the network sees of it.
    """
    figure = Figure(figsize=(13, 8), layout="constrained")
    figure.suptitle(title)
    upper, lower = figure.subplots(2, 3)
    drawing.draw_image(upper[0], image)
    upper[0].set_title("what the network sees")
    if original is not None:
        drawing.draw_image(upper[0].inset_axes((-0.45, 0.6, 0.4, 0.4)), original)
    _draw_map(figure, upper[1], image, 100 * probability_drop, "what the probability loses", "percentage points")
    _draw_map(figure, upper[2], image, logit_drop, "what the logit loses", "logit")
    _draw_classes(lower[0], predictions, class_names)
    _draw_removal(lower[1], removals, "deletion")
    _draw_removal(lower[2], removals, "insertion")
    return figure


def _draw_classes(axes, predictions, class_names):
    colours = colormaps["tab10" if len(class_names) <= 10 else "tab20"]
    axes.imshow(predictions, cmap=colours, vmin=0, vmax=colours.N - 1, interpolation="nearest")
    present, counts = np.unique(predictions, return_counts=True)
    handles = [
        Patch(color=colours(index), label=f"{class_names[index]} {count / predictions.size:.1%}")
        for index, count in sorted(zip(present, counts, strict=True), key=lambda pair: -pair[1])
    ]
    axes.legend(handles=handles, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    changes = len(present) > 1
    title = "the answer with each patch hidden" if changes else "no hidden patch changes the answer"
    axes.set(title=title, xlabel="patch, from the left", ylabel="patch, from the top")


def comparison_figure(image, maps, removals, title):
    """Draws several explanations of one answer under each other, with the same scores.

    maps: {name: (map (h, w), unit)}. removals: {name: {order: occlusion.Removal}}.
    """
    figure = Figure(figsize=(12, 3.6 * len(maps) + 0.6), layout="constrained")
    figure.suptitle(title)
    for axes, (name, (values, unit)) in zip(figure.subplots(len(maps), 3, squeeze=False), maps.items(), strict=True):
        _draw_map(figure, axes[0], image, values, name, unit)
        _draw_removal(axes[1], removals[name], "deletion")
        _draw_removal(axes[2], removals[name], "insertion")
    return figure
