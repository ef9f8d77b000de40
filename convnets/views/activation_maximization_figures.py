"""Draw the images that activate a unit most."""

import numpy as np

from convnets import drawing


@drawing.styled()
def unit_figure(made, real, titles, title):
    """Draw the image generated for each unit, and beside it the real images that activate it most.

    made: (n, h, w, c) float32 in [0, 1]. real: (n, m, h, w, c) uint8, or None. titles: n short texts.
    """
    n, height, width, channels = made.shape
    if real is not None:
        title += "\nfirst in each group: the generated image"
    tiles = made[:, None] if real is None else np.concatenate([made[:, None], real / 255], axis=1)
    columns = min(n, max(1, 12 // tiles.shape[1]))
    text = height // 3  # room for it, in pixels
    cells = np.pad(tiles, [(0, 0), (0, 0), (text, 0), (0, 1), (0, 0)], constant_values=1)
    cells = cells.swapaxes(1, 2).reshape(n, text + height, -1, channels)
    cells = np.pad(cells, [(0, 0), (0, 0), (0, width // 8), (0, 0)], constant_values=1)
    figure, axes = drawing.mosaic_figure(
        drawing.mosaic(cells, columns), title, inches=9.76 / max(columns * cells.shape[2], 8 * width)
    )
    for number, caption in enumerate(titles):
        row, column = divmod(number, columns)
        left, bottom = column * cells.shape[2], row * cells.shape[1] + text - 2
        axes.text(left, bottom, caption, fontsize=9, va="bottom")
    return figure
