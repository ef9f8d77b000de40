"""Draw how well a network does."""

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from convnets import drawing

MOST_CLASSES = 20  # that a chart has room for


@drawing.styled()
def predictions_figure(images, results, chosen, title):
    """Draw images, each above its three most probable classes as bars; the true class is blue, a wrong one orange.

    images: (n, h, w, c) uint8. results: an evaluation.Evaluation of them. chosen: up to 12 indices.
    """
    title = f"{title}\nbars: the three most probable classes; blue: the true one, orange: another"
    if len(chosen) == 0:
        figure = Figure(figsize=(11, 2))
        drawing.heading(figure, title)
        figure.text(0.5, 0.4, "none", ha="center")
        return figure
    columns = min(3, len(chosen))
    height, width = images.shape[1:3]
    beside, gap = int(np.ceil(1.55 * width)), max(1, height // 6)  # room for the text, in pixels
    cells = np.pad(images[chosen], [(0, 0), (0, gap), (0, beside), (0, 0)], constant_values=255)
    mosaic = drawing.mosaic(cells, columns, empty=255)
    figure, axes = drawing.mosaic_figure(mosaic, title, inches=9.76 / (3 * cells.shape[2]))
    names = [drawing.short(name, 16) for name in results.class_names]
    for number, index in enumerate(chosen):
        row, column = divmod(number, columns)
        top = row * cells.shape[1] - 0.5
        left = column * cells.shape[2] - 0.5 + 1.08 * width
        truth, predicted = results.labels[index], results.predictions[index]
        colour = drawing.RIGHT if truth == predicted else drawing.WRONG
        for place, text, options in (
            (0.08, f"test image {index}", {"color": drawing.NOTE, "fontsize": 9}),
            (0.24, f"true: {names[truth]}", {"fontsize": 10}),
            (0.41, f"predicted: {names[predicted]}", {"fontsize": 10, "color": colour, "weight": "bold"}),
        ):
            axes.text(left, top + place * height, text, va="center", **options)
        best = np.argsort(results.probabilities[index])[:-4:-1]
        share = results.probabilities[index][best]
        middle = top + height * (0.59 + 0.165 * np.arange(len(best)))
        colours = [drawing.RIGHT if guess == truth else drawing.WRONG for guess in best]
        axes.barh(middle, 1.35 * width, 0.14 * height, left, color="#f2f2f2")
        axes.barh(middle, 1.35 * width * share, 0.14 * height, left, color=colours, alpha=0.45)
        for place, guess, part in zip(middle, best, share, strict=True):
            caption = f"{names[guess]} {100 * part:.1f} %"
            axes.text(left + 0.04 * width, place, caption, va="center_baseline", fontsize=9)
    axes.set(xlim=(-0.5, mosaic.shape[1] - 0.5), ylim=(mosaic.shape[0] - 0.5, -0.5))
    return figure


@drawing.styled()
def confusion_matrix_figure(breakdown):
    """Draw the table of mistakes twice: as counts, and as shares of each true class.

    breakdown: pandas.DataFrame (classes, classes) of counts, true classes in rows. With more than 20 classes, colours
    alone are drawn.
    """
    counts = breakdown.to_numpy()
    share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    drawing.heading(figure, "Confusion matrix (colour scale excludes the diagonal)")
    for axes, values, title in zip(
        figure.subplots(1, 2), (counts, share), ("images", "% of the images of the true class"), strict=True
    ):
        mistakes = np.where(np.eye(len(counts), dtype=bool), np.nan, values)
        picture = axes.imshow(mistakes, cmap="Blues", vmin=0)
        brightest = np.nanmax(mistakes) if len(counts) > 1 else 0
        for (row, column), value in np.ndenumerate(values) if len(counts) <= MOST_CLASSES else ():
            dark = row != column and value > 0.6 * brightest
            axes.text(
                column, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color="white" if dark else "black",
                weight="bold" if row == column else "normal",
            )  # fmt: skip
        places = range(len(counts)) if len(counts) <= MOST_CLASSES else []
        labels = [drawing.short(breakdown.index[place], 14) for place in places]
        axes.set_xticks(places, labels, rotation=45, ha="right")
        axes.set_yticks(places, labels if values is counts else [""] * len(places))
        axes.set(xlabel="predicted class", ylabel="true class" if values is counts else None, title=title)
        figure.colorbar(picture, ax=axes, shrink=0.7)
    return figure


@drawing.styled()
def labels_figure(images, table, part):
    """Draw images whose labels look wrong, the most suspicious first.

    images: (n, h, w, c) uint8. table: the rows of labels.rank to draw. part: "test" or "training", for the captions.
    """
    columns = 6
    rows = math.ceil(len(table) / columns)
    figure = Figure(figsize=(10, 2.05 * rows + 0.8), layout="constrained")
    note = "label, and in orange what the networks see; the most suspicious first"
    drawing.heading(figure, f"{part.capitalize()} images whose labels look wrong\n{note}")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, row in zip(grid, table.to_dict("records"), strict=False):
        drawing.draw_image(axes, images[row["index"]])
        axes.set_title(f"{part} image {row['index']}", fontsize=8, loc="left", color=drawing.NOTE)
        caption = {"transform": axes.transAxes, "va": "top", "fontsize": 9}
        label, seen = drawing.short(row["label"], 16), drawing.short(row["suggested"], 16)
        axes.text(0, -0.03, f"label: {label}", **caption)
        axes.text(0, -0.14, f"seen: {seen}", color=drawing.WRONG, weight="bold", **caption)
    for axes in grid[len(table) :]:
        axes.set_axis_off()
    return figure


@drawing.styled()
def accuracy_per_class_figure(accuracy_per_class, accuracy):
    """Draw the share of each class's images that is classified correctly, best first.

    accuracy_per_class: pandas.Series by class name, in [0, 1]; of more than 40 classes, the 20 best and the 20 worst
    are drawn. accuracy: over all images.
    """
    shares = 100 * accuracy_per_class.dropna().sort_values()
    if len(shares) > 2 * MOST_CLASSES:
        shares = pd.concat([shares[:MOST_CLASSES], shares[-MOST_CLASSES:]])
    figure = Figure(figsize=(7, 0.35 * len(shares) + 1.4), layout="constrained")
    axes = figure.subplots()
    axes.barh(range(len(shares)), shares, color=drawing.MEASURED)
    axes.set_yticks(range(len(shares)), [drawing.short(name) for name in shares.index])
    for place, share in enumerate(shares):
        axes.text(share - 1, place, f"{share:.1f}", ha="right", va="center", color="white", fontsize=9)
    axes.axvline(100 * accuracy, color="black", linestyle="--", linewidth=1)
    axes.set_title(f"Accuracy by class (dashed: all classes, {100 * accuracy:.1f} %)")
    axes.set(xlabel="test images classified correctly (%)", xlim=(0, 100))
    return figure


@drawing.styled()
def reliability_figure(reliability, calibration_error):
    """Draw accuracy against confidence, and how many images each bin has.

    reliability, calibration_error: what evaluation.Evaluation.reliability returns.
    """
    figure = Figure(figsize=(6, 6.5), layout="constrained")
    drawing.heading(
        figure, f"Reliability diagram\nexpected calibration error {100 * calibration_error:.1f} percentage points"
    )
    upper, lower = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    width = 100 * (reliability["to"] - reliability["from"])
    bars = {"x": 100 * reliability["from"], "width": width, "align": "edge", "edgecolor": "white"}
    upper.bar(height=100 * reliability["accuracy"], color=drawing.MEASURED, label="accuracy", **bars)
    upper.plot([0, 100], [0, 100], "--", color="black", linewidth=1, label="perfect calibration")
    upper.set(ylabel="images classified correctly (%)", xlim=(0, 100), ylim=(0, 100))
    upper.legend(loc="upper left")
    lower.bar(height=reliability["images"], color=drawing.NOTE, **bars)
    lower.set(xlabel="probability of the predicted class (%)", ylabel="images")
    return figure
