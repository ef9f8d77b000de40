"""Draw how training runs compare."""

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from convnets import drawing


@drawing.styled()
def comparison_chart(table):
    """Draw what was published and what was measured, a panel for each dataset.

    table: pandas.DataFrame, what comparison.compare returns.
    """
    groups = [group for _, group in table.groupby("dataset")]
    heights = [len(group) + 1.6 for group in groups]
    figure = Figure(figsize=(10, 0.4 * sum(heights) + 1.2), layout="constrained")
    drawing.heading(figure, "Test accuracy after the last epoch, published and measured")
    for axes, group in zip(
        figure.subplots(len(groups), 1, height_ratios=heights, squeeze=False)[:, 0], groups, strict=True
    ):
        places = np.arange(len(group))[::-1]  # the best one on top
        published = group["low"].notna().to_numpy()
        axes.hlines(places[published], group["low"][published], group["high"][published], color="#F6DDA6", linewidth=9)
        exact = (group["low"] == group["high"]).to_numpy()
        axes.plot(group["low"][exact], places[exact], "D", color=drawing.PUBLISHED, markersize=8)
        axes.hlines(places, group["lowest"], group["highest"], color=drawing.MEASURED, linewidth=1)
        axes.plot(group["measured"], places, "o", color=drawing.MEASURED)
        names = [f"{row.network}\n{row.published or 'no number printed'}" for row in group.itertuples()]
        axes.set_yticks(places, names, fontsize=9)
        axes.set(xlabel="test accuracy (%)", title=group["dataset"].iloc[0], ylim=(-0.8, len(group) - 0.2))
        axes.grid()
    figure.legend(
        handles=[
            Line2D(
                [], [], color=drawing.MEASURED, marker="o", linewidth=1, label="measured: mean, lowest and highest seed"
            ),
            Line2D([], [], color=drawing.PUBLISHED, marker="D", linestyle="", label="published"),
            Line2D([], [], color="#F6DDA6", linewidth=9, label="published as a range"),
        ],
        loc="outside lower center",
        ncols=3,
    )
    return figure


LABELS = {"accuracy": "accuracy (%)", "loss": "loss (categorical cross-entropy)"}


@drawing.styled()
def learning_curves(histories, quantity, *, lowest=None):
    """Draw how several networks learned, beside each other.

    histories: {title: [pandas.DataFrame, a row an epoch, for each seed]}. quantity: "accuracy" or "loss".
    lowest: where the axis of accuracies begins, in percent.
    """
    columns = min(3, len(histories))
    rows = math.ceil(len(histories) / columns)
    figure = Figure(figsize=(max(10 / 3 * columns, 5), 2.7 * rows + 1.1), layout="constrained")
    drawing.heading(figure, f"{quantity.capitalize()} by epoch\none line for each seed")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    scale = 100 if quantity == "accuracy" else 1
    curves = [
        (quantity, "training images, during the epoch", drawing.TRAINING),
        (f"held_out_{quantity}", "held-out training images", drawing.HELD_OUT),
        (f"val_{quantity}", "test images", drawing.TEST),
    ]
    present = {column for seeds in histories.values() for history in seeds for column in history}
    curves = [curve for curve in curves if curve[0] in present]
    for axes, (title, seeds) in zip(grid, histories.items(), strict=False):
        for history in seeds:
            for column, _, colour in curves:
                if column in history:
                    axes.plot(history["epoch"], scale * history[column], color=colour, linewidth=1, alpha=0.8)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("epoch")
        if quantity == "loss":
            axes.set_ylim(bottom=0)
        elif lowest is not None:
            axes.set_ylim(lowest, 100)
        axes.grid()
        axes.xaxis.get_major_locator().set_params(integer=True)
    for axes in grid[len(histories) :]:
        axes.set_axis_off()
    for axes in grid[::columns]:
        axes.set_ylabel(LABELS[quantity])
    handles = [Line2D([], [], color=colour, label=label) for _, label, colour in curves]
    figure.legend(handles=handles, loc="outside lower center", ncols=3 if columns > 2 else 1)
    return figure
