"""Draw the feature maps of a layer."""

import math

import numpy as np
from matplotlib.figure import Figure

from convnets import drawing


@drawing.styled()
def feature_map_figure(output, image, title, *, scale="channel", sort=False, original=None):
    """Draw all channels of a layer's output for an image: red above zero, blue below, white at zero.

    output: (h, w, channels). scale: "channel", where each channel has its own colour scale and its strength (its
    largest absolute value) stands below it, or "layer", one scale for all. sort: the strongest channels first.
    """
    height, width, channels = output.shape
    strengths = np.abs(output).max(axis=(0, 1))
    order = np.argsort(-strengths, kind="stable") if sort else np.arange(channels)
    output, strengths = output[..., order], strengths[order]
    columns = 2 ** int(np.ceil(np.log2(np.sqrt(1.5 * channels))))  # wider than high, or square
    rows = math.ceil(channels / columns)
    numbered = columns <= 16  # more captions would overlap
    if scale == "channel":
        output = output / np.maximum(strengths, 1e-12)
        limit = 1
    else:
        limit = np.quantile(np.abs(output), 0.995) or 1  # a few extreme pixels would pale all others

    # All positions are in inches: the mosaic's shape decides how high the figure is, but the left column must fit.
    pictures = [("network's input", image)] + ([] if original is None else [("your picture", original)])
    left, across = 1.85, 7.45
    cell = across / columns
    text = 0 if not numbered else 0.22 if columns <= 8 or scale == "layer" else 0.36  # below each channel
    across_pixels, gap = width / (width + 1), cell / (width + 1)
    down = cell * across_pixels * height / width
    top = 0.78 + 0.22 * title.count("\n")
    mosaic_height = rows * (down + gap + text)
    figure = Figure(figsize=(10, max(mosaic_height, 1.9 * len(pictures)) + top + 0.1))
    drawing.heading(figure, title)

    def axes_at(left, top, width, height):
        bottom = figure.get_figheight() - top - height
        inches = np.array([left, bottom, width, height])
        return figure.add_axes(inches / np.tile(figure.get_size_inches(), 2))

    for place, (name, shown) in enumerate(pictures):
        axes = axes_at(0.12, top + 1.9 * place, 1.5, 1.5)
        drawing.draw_image(axes, shown)
        axes.set_title(name, fontsize=10)

    # One axes for all channels, with empty pixels where the captions go: an axes for each takes ten times as long
    pixel = cell * across_pixels / width
    margin = max(1, round((gap + text) / pixel))
    cells = np.pad(output.transpose(2, 0, 1), [(0, 0), (0, margin), (0, 1)], constant_values=np.nan)
    mosaic = drawing.mosaic(cells, columns, empty=np.nan)
    axes = axes_at(left, top, across, mosaic.shape[0] * pixel)
    colours = axes.imshow(mosaic, cmap=drawing.DIVERGING, vmin=-limit, vmax=limit)
    drawing.without_ticks(axes)
    axes.set_title(
        f"channel number{' and strength (largest absolute value)' if scale == 'channel' else ''}"
        if numbered
        else f"{columns} channels in each row",
        fontsize=10,
        color=drawing.NOTE,
    )
    if numbered:
        for place, (channel, strength) in enumerate(zip(order, strengths, strict=True)):
            row, column = divmod(place, columns)
            between = ": " if columns <= 8 else "\n"
            caption = f"{channel}{between}{strength:.2g}" if scale == "channel" else f"{channel}"
            axes.text(
                column * (width + 1) - 0.5, row * (height + margin) + height - 0.2, caption,
                fontsize=9 if columns <= 8 else 8, color=drawing.NOTE, va="top",
            )  # fmt: skip
    label = "output" if scale == "layer" else "output / strength of the channel"
    bar = axes_at(9.42, top, 0.13, min(mosaic.shape[0] * pixel, 3))
    if scale == "channel":
        figure.colorbar(colours, cax=bar, ticks=[-1, 0, 1])
    else:
        figure.colorbar(colours, cax=bar, extend="both")
    bar.set_ylabel(label, fontsize=9, labelpad=0)
    bar.tick_params(labelsize=8)
    return figure
