"""Figures as PNG files, drawn without a display, and what all figures share."""

import contextlib
import functools
import math
import tempfile
import warnings
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from convnets.errors import UserError

STYLE = matplotlib.rc_params_from_file(Path(__file__).with_name("companion.mplstyle"), use_default_template=False)

# Colours with one meaning in all figures, from the palette of Okabe and Ito, which colour-blind people can tell apart
RIGHT, WRONG = "#0072B2", "#D55E00"
MEASURED, PUBLISHED = "#0072B2", "#E69F00"
TRAINING, HELD_OUT, TEST = "#8C8C8C", "#009E73", "#0072B2"
MAP, CHANCE = "#0072B2", "#8C8C8C"
DIVERGING = "RdBu_r"  # a colour scale: red for positive values, blue for negative ones, white at zero
NOTE = "#6B6B6B"


def styled():
    """Return a context, or a decorator, in which figures get the look of this project; a notebook's own stays."""
    return matplotlib.rc_context(STYLE)


def heading(figure, title):
    """Write a figure's title at its left edge: the first line in bold, the others below it as a note."""
    first, _, rest = title.partition("\n")
    width, height = figure.get_size_inches()
    figure.suptitle(first, x=0.12 / width, y=1 - 0.1 / height, ha="left", va="top")
    if rest:
        figure.text(0.12 / width, 1 - 0.36 / height, rest, ha="left", va="top", color=NOTE, fontsize=10.5)
    if figure.get_layout_engine():  # it would draw over a title whose place is given
        room = 0.38 + 0.2 * title.count("\n")
        figure.get_layout_engine().set(rect=(0, 0, 1, 1 - room / height))


@contextlib.contextmanager
def writing(path, remedy="name another folder with --output-dir"):
    """Make the folder of a file that the block writes, and turn a refusal of the system into a UserError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise UserError(f"can't write {path} ({error.strerror}): {remedy}") from error


def save(figure, path, *, show=False):
    """Save a figure as PNG, print its path, and open it in a window if asked to; see `show_window`."""
    with writing(path), styled(), warnings.catch_warnings(record=True) as caught:
        figure.savefig(path, dpi=100, pil_kwargs={"compress_level": 1})  # half the time for a seventh more bytes
    print(f"Picture: {path}")
    if any("missing from font" in str(warning.message) for warning in caught):
        _say_once("Some characters of the names are not in the font of the pictures; boxes stand for them.")
    if show:
        show_window(figure.get_size_inches(), path)


def show_window(inches, path):
    """Show a picture in a window, (width, height) in inches, until it is closed. Without a display, say so once."""
    import matplotlib.pyplot as plt

    if plt.get_backend().lower() == "agg":
        _say_once("Note: there is no display to show windows on, so the pictures are only saved.")
    else:
        plt.figure(figsize=inches, num=path.name)
        plt.imshow(plt.imread(path))
        plt.axis("off")
        plt.show()


@functools.cache
def _say_once(text):
    print(text)


def check_folder(path):
    """Make a folder for pictures. Raise UserError if it can't be written to, before hours of work rather than after."""
    with writing(path / "picture"):
        tempfile.TemporaryFile(dir=path).close()


def save_table(table, path, **remedy):
    """Save a pandas table as CSV, and print its path."""
    with writing(path, **remedy):
        table.to_csv(path, errors="surrogateescape")  # a file's name need not be UTF-8
    print(f"Table: {path}")


def short(name, most=20):
    """Return a name of a class or file for a figure: cut to so many characters, and without bytes that are no text."""
    name = str(name).encode(errors="replace").decode()
    return name if len(name) <= most else f"{name[: most - 3]}..."


def without_single_channel(image):
    return image[..., 0] if image.shape[-1] == 1 else image


def draw_image(axes, image, **options):
    """Draw one image, (h, w, channels) uint8, or float in [0, 1], without ticks."""
    limit = 255 if image.dtype == np.uint8 else 1
    axes.imshow(without_single_channel(image), cmap="gray", vmin=0, vmax=limit, **options)
    without_ticks(axes)


def without_ticks(axes):
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def mosaic(cells, columns, empty=1.0):
    """Lay out cells (n, h, w, ...) in rows of so many columns, as one image (rows h, columns w, ...)."""
    n, height, width = cells.shape[:3]
    rows = math.ceil(n / columns)
    cells = np.concatenate([cells, np.full((rows * columns - n, *cells.shape[1:]), empty, cells.dtype)])
    grid = cells.reshape(rows, columns, *cells.shape[1:]).swapaxes(1, 2)
    return grid.reshape(rows * height, columns * width, *cells.shape[3:])


def mosaic_figure(mosaic, title, inches):
    """Return a figure that a mosaic fills, each pixel so many inches wide, and its axes, which count in pixels.

    (One axes for all images: an axes for each takes ten times as long.)
    """
    top = 0.22 * title.count("\n") + 0.5
    width, height = mosaic.shape[1] * inches, mosaic.shape[0] * inches
    figure = Figure(figsize=(width + 0.24, height + top + 0.12))
    heading(figure, title)
    axes = figure.add_axes(np.array([0.12, 0.12, width, height]) / np.tile(figure.get_size_inches(), 2))
    draw_image(axes, mosaic)
    axes.set_axis_off()
    return figure, axes


def save_animation(frames, path, *, enlarged=3):
    """Save frames (steps, n, h, w, c) of n images side by side, float32 in [0, 1], as a GIF that repeats.

    enlarged: how many pixels wide and high each pixel becomes at most; large images are enlarged less, or not at all.
    """
    enlarged = min(enlarged, max(1, 192 // max(frames.shape[2:4])))

    def picture(images):
        cells = np.pad((255 * images).round().astype("uint8"), [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=255)
        grid = mosaic(cells, min(8, len(cells)), empty=255)
        return Image.fromarray(without_single_channel(grid.repeat(enlarged, axis=0).repeat(enlarged, axis=1)))

    pictures = [picture(images) for images in frames]
    durations = [80] * (len(pictures) - 1) + [2000]  # milliseconds
    with writing(path):
        pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=durations, loop=0)
    print(f"Animation: {path}")
