"""Draw how well a network does."""

import numpy as np
from matplotlib.figure import Figure

from convnets import drawing


def predictions_figure(images, results, chosen, title):
    """Draws images, each above its three most probable classes as bars; the true class is blue, a wrong one orange.

    images: (n, h, w, c) uint8. results: an evaluation.Evaluation of them. chosen: up to 12 indices.
    """
    title = f"{title}\nbars: probability in %; blue: the true class, orange: another one"
    if len(chosen) == 0:
        figure = Figure(figsize=(11, 2))
        figure.suptitle(title)
        figure.text(0.5, 0.4, "none", ha="center")
        return figure
    columns = min(6, len(chosen))
    height, width = images.shape[1:3]
    text, bar, gap = 0.55 * height, 0.22 * height, 0.2 * width  # room for them, in pixels
    above, below, right = (int(np.ceil(pixels)) for pixels in (text, 3.6 * bar, gap))
    cells = np.pad(images[chosen], [(0, 0), (above, below), (0, right), (0, 0)], constant_values=255)
    mosaic = drawing.mosaic(cells, columns, empty=255)
    figure, axes = drawing.mosaic_figure(mosaic, title, inches=1.8 / cells.shape[2])
    for number, index in enumerate(chosen):
        row, column = divmod(number, columns)
        left, top = column * cells.shape[2] - 0.5, row * cells.shape[1] + above - 0.5
        truth = results.labels[index]
        axes.text(left, top - 1, f"{results.class_names[truth]}\ntest image {index}", fontsize=9, va="bottom")
        best = np.argsort(results.probabilities[index])[:-4:-1]
        share = results.probabilities[index][best]
        middle = top + height + bar * (np.arange(len(best)) + 0.8)
        colours = ["tab:blue" if guess == truth else "tab:orange" for guess in best]
        axes.barh(middle, width, 0.8 * bar, left, color="whitesmoke")
        axes.barh(middle, width * share, 0.8 * bar, left, color=colours)
        for place, guess, part in zip(middle, best, share, strict=True):
            caption = f"{results.class_names[guess]} {100 * part:.1f}"
            axes.text(left + 0.03 * width, place, caption, va="center_baseline", fontsize=8)
    axes.set(xlim=(-0.5, mosaic.shape[1] - 0.5), ylim=(mosaic.shape[0] - 0.5, -0.5))
    return figure


def confusion_matrix_figure(breakdown):
    """Draws the table of mistakes twice: as counts, and as shares of each true class.

    breakdown: pandas.DataFrame (classes, classes) of counts, true classes in rows.
    """
    counts = breakdown.to_numpy()
    share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(13, 6.2), layout="constrained")
    figure.suptitle("Which class is taken for which (the colours leave out the diagonal, what is right)")
    for axes, values, title in zip(
        figure.subplots(1, 2), (counts, share), ("images", "% of the images of the true class"), strict=True
    ):
        mistakes = np.where(np.eye(len(counts), dtype=bool), np.nan, values)
        picture = axes.imshow(mistakes, cmap="viridis", vmin=0)
        brightest = np.nanmax(mistakes) if len(counts) > 1 else 0
        for (row, column), value in np.ndenumerate(values):
            dark = row != column and value < brightest / 2
            axes.text(
                column, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color="white" if dark else "black",
                weight="bold" if row == column else "normal",
            )  # fmt: skip
        names = range(len(counts))
        axes.set_xticks(names, breakdown.columns, rotation=45, ha="right")
        axes.set_yticks(names, breakdown.index)
        axes.set(xlabel="predicted class", ylabel="true class", title=title)
        figure.colorbar(picture, ax=axes, shrink=0.7, label=title)
    return figure


def accuracy_per_class_figure(accuracy_per_class, accuracy):
    """Draws the share of each class's images that is predicted right, best first.

    accuracy_per_class: pandas.Series by class name, in [0, 1]. accuracy: over all images.
    """
    shares = 100 * accuracy_per_class.dropna().sort_values()
    figure = Figure(figsize=(7, 0.35 * len(shares) + 1.4), layout="constrained")
    axes = figure.subplots()
    axes.barh(shares.index, shares, color="tab:blue")
    for place, share in enumerate(shares):
        axes.text(share - 1, place, f"{share:.1f}", ha="right", va="center", color="white", fontsize=9)
    axes.axvline(100 * accuracy, color="black", linestyle="--", label=f"all classes: {accuracy:.1%}")
    axes.set(title="Accuracy by class", xlabel="test images predicted right (%)", xlim=(0, 100))
    axes.legend(loc="lower left")
    return figure


def reliability_figure(reliability, calibration_error):
    """Draws how often the network is right against how sure it is, and how many images each bin has.

    reliability, calibration_error: what evaluation.Evaluation.reliability returns.
    """
    figure = Figure(figsize=(6, 6.5), layout="constrained")
    figure.suptitle(
        f"Is it right as often as it is sure?\nexpected calibration error {100 * calibration_error:.1f} points"
    )
    upper, lower = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    width = 100 * (reliability["to"] - reliability["from"])
    bars = {"x": 100 * reliability["from"], "width": width, "align": "edge", "edgecolor": "white"}
    upper.bar(height=100 * reliability["accuracy"], color="tab:blue", label="right", **bars)
    upper.plot(100 * reliability["confidence"], 100 * reliability["confidence"], "o", color="tab:orange", label="sure")
    upper.plot([0, 100], [0, 100], "--", color="black", linewidth=1)
    upper.set(ylabel="images predicted right (%)", xlim=(0, 100), ylim=(0, 100))
    upper.legend(loc="upper left")
    lower.bar(height=reliability["images"], color="tab:gray", **bars)
    lower.set(xlabel="probability of the predicted class (%)", ylabel="images")
    return figure
