"""Draw what a convolutional network is made of: pixels, filters, pooling."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from convnets import drawing


@drawing.styled()
def pixels_figure(image, title):
    """Draw an image, and how often its pixels have each value, as bytes and as the network gets them.

    image: (h, w, c) uint8.
    """
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    drawing.heading(figure, title)
    left, *histograms = figure.subplots(1, 3, width_ratios=[1, 1.6, 1.6])
    drawing.draw_image(left, image)
    channels = [("pixels", "black")] if image.shape[-1] == 1 else list(zip(CHANNELS, CHANNEL_COLOURS, strict=True))
    for axes, values, most, name in (
        (histograms[0], image, 255, "as bytes"),
        (histograms[1], image / 255, 1, "divided by 255: the network's input"),
    ):
        for channel, (label, colour) in enumerate(channels):
            axes.hist(
                values[..., channel].ravel(), bins=32, range=(0, most), histtype="step", color=colour, label=label
            )
        axes.set(title=name, xlabel="value of a pixel", ylabel="pixels", xlim=(-0.02 * most, 1.02 * most))
        if len(channels) > 1:
            axes.set_ylim(top=1.3 * axes.get_ylim()[1])  # room for the legend
            axes.legend(loc="upper right", ncols=3, fontsize=9, handlelength=1)
    return figure


CHANNELS = ("red", "green", "blue")
CHANNEL_COLOURS = ("#D55E00", "#009E73", "#0072B2")


@drawing.styled()
def window_positions_figure(height, width, window):
    """Draw all positions of a square window on an image: as many as the output of a convolution has pixels."""
    rows, columns = height - window + 1, width - window + 1
    figure = Figure(figsize=(1.4 * columns, 1.4 * rows * height / width + 1.1), layout="constrained")
    drawing.heading(
        figure,
        f"Positions of a {window} x {window} window on {width} x {height} pixels\n"
        f"{width} - {window} + 1 = {columns} across, {height} - {window} + 1 = {rows} down",
    )
    for (row, column), axes in np.ndenumerate(figure.subplots(rows, columns, squeeze=False)):
        pixels = np.zeros((height, width))
        pixels[row : row + window, column : column + window] = 1
        axes.pcolormesh(pixels, cmap="Blues", vmin=0, vmax=1.6, edgecolors="gray", linewidth=0.5)
        axes.invert_yaxis()
        axes.set_aspect("equal")
        axes.set_axis_off()
        axes.set_title(f"row {row}, column {column}", fontsize=8)
    return figure


@drawing.styled()
def pooling_figure(values, pooled, title):
    """Draw a small image with its numbers, and what poolings make of it.

    values: (h, w). pooled: {name: (h / 2, w / 2)}.
    """
    figure = Figure(figsize=(10, 10 / (1 + len(pooled)) + 0.7), layout="constrained")
    drawing.heading(figure, title)
    grids = {"pixels": values, **pooled}
    for axes, (name, grid) in zip(figure.subplots(1, len(grids)), grids.items(), strict=True):
        _draw_numbers(axes, grid, vmin=0, vmax=values.max())
        axes.set_title(name)
    for edge in np.arange(2, values.shape[0], 2) - 0.5:
        figure.axes[0].axhline(edge, color="#404040", linewidth=2)
        figure.axes[0].axvline(edge, color="#404040", linewidth=2)
    return figure


def _draw_numbers(axes, grid, fontsize=9, **colours):
    """Draw a small array as coloured fields with their numbers."""
    picture = axes.imshow(grid, **colours)
    for (row, column), value in np.ndenumerate(grid):
        red, green, blue, _ = picture.to_rgba(value)
        dark = 0.3 * red + 0.6 * green + 0.1 * blue < 0.5
        text = f"{round(value, 3) + 0.0:.3f}".rstrip("0").rstrip(".")  # adding 0 turns -0 into 0
        axes.text(column, row, text, ha="center", va="center", fontsize=fontsize, color="white" if dark else "black")
    drawing.without_ticks(axes)


@drawing.styled()
def arithmetic_figure(filtered, title):
    """Draw how a filter turns one window of an image into one number, channel by channel.

    filtered: a sliding_filter.SlidingFilter.
    """
    place = filtered.place
    window, corner = filtered.window(place), filtered.corner(place)
    channels = window.shape[-1]
    figure = Figure(figsize=(10, 1.75 * channels + 1.2), layout="constrained")
    drawing.heading(figure, title)
    left, middle, right = figure.subfigures(1, 3, width_ratios=[1, 2.6, 1])
    axes = left.subplots()
    drawing.draw_image(axes, filtered.picture)
    axes.add_patch(_box(corner, window.shape[:2]))
    axes.set_title("the window on the image")

    pixels, limit = filtered.image, np.abs(filtered.kernel).max() or 1
    products = window * filtered.kernel
    most = np.abs(products).max() or 1
    grid = middle.subplots(channels, 3, squeeze=False)
    small = {"fontsize": 9 if window.shape[1] <= 3 else 7}
    for channel, row in enumerate(grid):
        name = "pixels" if channels == 1 else CHANNELS[channel]
        _draw_numbers(
            row[0], window[..., channel], cmap="gray", vmin=min(pixels.min(), 0), vmax=max(pixels.max(), 1), **small
        )
        _draw_numbers(row[1], filtered.kernel[..., channel], cmap=drawing.DIVERGING, vmin=-limit, vmax=limit, **small)
        _draw_numbers(row[2], products[..., channel], cmap=drawing.DIVERGING, vmin=-most, vmax=most, **small)
        row[0].set_ylabel(name)
        row[2].set_xlabel(f"sum {products[..., channel].sum():+.3f}")
    for axes, heading in zip(grid[0], ("pixels", "x filter", "= products"), strict=True):
        axes.set_title(heading)

    axes = right.subplots()
    _draw_response(axes, filtered)
    axes.add_patch(_box(place, (1, 1)))
    axes.set_title("response everywhere")
    axes.set_xlabel(
        f"sums {products.sum():+.3f}, bias {filtered.bias:+.3f}:\n{filtered.response[place]:.3f} in the box"
    )
    return figure


def _box(corner, size):
    return Rectangle((corner[1] - 0.5, corner[0] - 0.5), size[1], size[0], fill=False, color="gold", linewidth=2)


def _draw_response(axes, filtered):
    limit = filtered.limit
    axes.imshow(filtered.response, cmap=drawing.DIVERGING, vmin=-limit, vmax=limit)
    drawing.without_ticks(axes)


@drawing.styled()
def filters_figure(filters, title):
    """Draw some filters of a first convolution, and where in an image each finds what it looks for: red, or blue, the
    opposite.

    filters: list of sliding_filter.SlidingFilter of one image.
    """
    figure = Figure(figsize=(10, 30 / (len(filters) + 1) + 0.9), layout="constrained")
    drawing.heading(figure, title)
    grid = figure.subplots(3, len(filters) + 1)
    drawing.draw_image(grid[1, 0], filters[0].picture)
    grid[1, 0].set_title("image", fontsize=9)
    for axes in grid[[0, 2], 0]:
        axes.set_axis_off()
    for column, filtered in zip(grid[:, 1:].T, filters, strict=True):
        limit = np.abs(filtered.kernel).max() or 1
        drawing.draw_image(column[0], 0.5 + filtered.kernel / (2 * limit))  # grey is zero
        _draw_response(column[1], filtered)
        column[2].imshow(np.maximum(filtered.response, 0), cmap="gray", vmin=0, vmax=filtered.limit)
        drawing.without_ticks(column[2])
        column[0].set_title(f"filter {filtered.unit}", fontsize=9)
    for axes, name in zip(grid[:, 1], ("filter", "response", "after ReLU"), strict=True):
        axes.set_ylabel(name)
    return figure
