"""Draw which pixels an answer depends on, and how far to trust that."""

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from convnets import drawing


@drawing.styled()
def importance_figure(image, probability_drop, logit_drop, predictions, class_names, comparison, title, original=None):
    """Draw how hiding parts of an image changes a network's answer, and how far to trust the map.

    image: (h, w, c) float32. probability_drop, logit_drop: (h, w). predictions: (rows, columns) of patches, the class
    that is predicted with each patch hidden. comparison: faithfulness.Comparison of the map.
    original: a reader's own picture, drawn beside the network's input.
    """
    figure = Figure(figsize=(10, 7), layout="constrained")
    drawing.heading(figure, f"{title}\nThe map is {comparison.verdict}")
    upper, lower = figure.subplots(2, 3)
    drawing.draw_image(upper[0], image)
    upper[0].set_title("network's input")
    if original is not None:
        drawing.draw_image(upper[0].inset_axes((0.68, 0.68, 0.32, 0.32)), original)
    _draw_map(figure, upper[1], image, 100 * probability_drop, "drop in probability", "percentage points")
    _draw_map(figure, upper[2], image, logit_drop, "drop in logit", "logit")
    _draw_classes(lower[0], predictions, class_names)
    _draw_curves(lower[1], comparison, "deletion")
    _draw_curves(lower[2], comparison, "insertion")
    figure.legend(*_in_order(lower[1]), loc="outside lower right", ncols=2)
    return figure


@drawing.styled()
def comparison_figure(image, maps, comparisons, title):
    """Draw several explanations of one answer, a row each, with the same test of how far to trust them.

    maps: {name: (map (h, w), unit)}. comparisons: {name: faithfulness.Comparison}.
    """
    figure = Figure(figsize=(10, 3.2 * len(maps) + 0.7), layout="constrained")
    drawing.heading(figure, title)
    rows = figure.subplots(len(maps), 3, squeeze=False)
    for axes, (name, (values, unit)) in zip(rows, maps.items(), strict=True):
        _draw_map(figure, axes[0], image, values, f"{name}\n{comparisons[name].verdict}", unit)
        _draw_curves(axes[1], comparisons[name], "deletion")
        _draw_curves(axes[2], comparisons[name], "insertion")
    figure.legend(*_in_order(rows[0][1]), loc="outside lower right", ncols=2)
    return figure


def _in_order(axes):
    """Return the legend's handles and labels, the map's first."""
    handles, labels = axes.get_legend_handles_labels()
    return handles[::-1], labels[::-1]


def _draw_map(figure, axes, image, values, title, unit):
    """Draw a map over a grey version of its image: red raises the score, blue lowers it, zero leaves it grey."""
    axes.imshow(image.mean(axis=-1), cmap="gray", vmin=0, vmax=1)
    limit = np.abs(values).max() or 1
    picture = axes.imshow(values, cmap=drawing.DIVERGING, vmin=-limit, vmax=limit, alpha=0.75)
    axes.set_title(title)
    drawing.without_ticks(axes)
    figure.colorbar(picture, ax=axes, shrink=0.8, label=unit)


def _draw_curves(axes, comparison, kind):
    """Draw a class's probability while pixels are removed, or inserted, in the order of the map and of chance maps."""
    shares, chance = 100 * comparison.this_map.shares, 100 * getattr(comparison.chance, kind)
    mean, spread = chance.mean(axis=0), chance.std(axis=0, ddof=1)
    axes.fill_between(shares, mean - spread, mean + spread, color=drawing.CHANCE, alpha=0.25, linewidth=0)
    axes.plot(shares, mean, color=drawing.CHANCE, label="chance: smooth random maps, and this map moved elsewhere")
    axes.plot(shares, 100 * getattr(comparison.this_map, kind), color=drawing.MAP, label="this map")
    done, good = {"deletion": ("removed", "lower"), "insertion": ("inserted", "higher")}[kind]
    axes.set(title=f"{kind}: {good} is better", ylim=(0, 100), xlim=(0, 100))
    axes.set(xlabel=f"pixels {done} (%)", ylabel="probability (%)")
    axes.grid()


def _draw_classes(axes, predictions, class_names):
    present, counts = np.unique(predictions, return_counts=True)
    if len(present) == 1:
        axes.set_axis_off()
        axes.text(0, 0.6, f"No patch changes the answer:\nit is {class_names[present[0]]} each time.", va="center")
        return
    colours = colormaps["tab10" if len(class_names) <= 10 else "tab20"]
    axes.imshow(predictions % colours.N, cmap=colours, vmin=0, vmax=colours.N - 1)
    handles = [
        Patch(color=colours(index % colours.N), label=f"{class_names[index]} {100 * count / predictions.size:.1f} %")
        for index, count in sorted(zip(present, counts, strict=True), key=lambda pair: -pair[1])[:6]
    ]
    axes.legend(handles=handles, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    axes.set(title="answer with each patch hidden", xlabel="patch, from the left", ylabel="patch, from the top")
