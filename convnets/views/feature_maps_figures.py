"""Draw the feature maps of a layer."""

import numpy as np
from matplotlib.figure import Figure

from convnets import drawing


def feature_map_figure(output, image, title, *, scale="layer", original=None):
    """Draws all channels of a layer's output for an image: red above zero, blue below, white at zero.

    output: (h, w, channels). scale: "layer", one for all channels, or "channel", each its own.
    """
    height, _, channels = output.shape
    columns = 2 ** int(np.ceil(np.log2(np.sqrt(2 * channels))))  # twice as wide as high, or square
    rows = -(-channels // columns)
    if scale == "channel":
        output = output / np.maximum(np.abs(output).max(axis=(0, 1)), 1e-12)
    gap = [(0, 0), (0, 1), (0, 1)]  # a pixel wide, between two channels
    mosaic = drawing.mosaic(np.pad(output.transpose(2, 0, 1), gap, constant_values=np.nan), columns, empty=np.nan)

    # All places in inches: the mosaic's shape decides how high the page is, but the left column must fit.
    pictures = [("what the network sees", image)] + ([] if original is None else [("your picture", original)])
    mosaic_height = 9.4 * mosaic.shape[0] / mosaic.shape[1]
    figure = Figure(figsize=(13, max(mosaic_height, 2 * len(pictures)) + 0.9))
    figure.suptitle(title, y=1 - 0.15 / figure.get_figheight())

    def axes_at(left, top, width, height):
        bottom = figure.get_figheight() - top - height
        inches = np.array([left, bottom, width, height])
        return figure.add_axes(inches / np.tile(figure.get_size_inches(), 2))

    for place, (name, shown) in enumerate(pictures):
        axes = axes_at(0.2, 1 + 2 * place, 1.5, 1.6)
        drawing.draw_image(axes, shown)
        axes.set_title(name, fontsize=9)
    limit = np.nanquantile(np.abs(mosaic), 0.995) or 1  # a few extreme pixels would pale all others
    axes = axes_at(2.5, 0.8, 9.4, mosaic_height)
    colours = axes.imshow(mosaic, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    axes.set_facecolor("lightgray")
    axes.set_xticks([])
    axes.set_yticks(np.arange(rows) * (height + 1) + height / 2, np.arange(rows) * columns)
    axes.set_ylabel("first channel in the row")
    label = "output" if scale == "layer" else "output, as a share of the channel's largest"
    figure.colorbar(colours, cax=axes_at(12.1, 0.8, 0.15, mosaic_height), label=label, extend="both")
    return figure
