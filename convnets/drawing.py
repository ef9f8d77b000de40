"""Figures as PNG files, drawn without a display, and what all figures share."""

import contextlib
import tempfile

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from convnets.errors import UserError

matplotlib.rcParams["text.parse_math"] = False  # a dollar sign in a file's name is one


@contextlib.contextmanager
def writing(path):
    """For the block that writes a file: makes its folder, and turns what the system refuses into one clear line."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise UserError(f"can't write {path} ({error.strerror}): name another folder with --output-dir") from error


def save(figure, path, *, show=False):
    """Saves a figure as PNG, says where, and opens it in a window when asked to."""
    with writing(path):
        figure.savefig(path, dpi=100, pil_kwargs={"compress_level": 1})  # half the time for a seventh more bytes
    print(f"Picture: {path}")
    if show:
        import matplotlib.pyplot as plt

        if plt.get_backend().lower() == "agg":
            raise UserError(f"no display to show a window on; the picture is in {path}")
        plt.figure(figsize=figure.get_size_inches(), num=path.name)
        plt.imshow(plt.imread(path))
        plt.axis("off")
        plt.show()


def make_folder(path):
    """Makes a folder for pictures, so that it is known before hours of work whether it can be written to."""
    with writing(path / "picture"):
        tempfile.TemporaryFile(dir=path).close()


def save_table(table, path):
    """Saves a pandas table as CSV, and says where."""
    with writing(path):
        table.to_csv(path)
    print(f"Table: {path}")


def without_single_channel(image):
    return image[..., 0] if image.shape[-1] == 1 else image


def draw_image(axes, image, **options):
    """Draws one image, (h, w, channels) uint8, or float in [0, 1], without ticks."""
    limit = 255 if image.dtype == np.uint8 else 1
    axes.imshow(without_single_channel(image), cmap="gray", vmin=0, vmax=limit, **options)
    axes.set_xticks([])
    axes.set_yticks([])


def mosaic(cells, columns, empty=1.0):
    """Lays out cells (n, h, w, ...) in rows of so many columns, as one image (rows h, columns w, ...)."""
    n, height, width = cells.shape[:3]
    rows = -(-n // columns)
    cells = np.concatenate([cells, np.full((rows * columns - n, *cells.shape[1:]), empty, cells.dtype)])
    grid = cells.reshape(rows, columns, *cells.shape[1:]).swapaxes(1, 2)
    return grid.reshape(rows * height, columns * width, *cells.shape[3:])


def mosaic_figure(mosaic, title, inches):
    """A figure that a mosaic fills, each pixel so many inches wide, in whose pixels its axes count.

    (One axes for all images: an axes for each takes ten times as long.)
    """
    heading = 0.22 * (title.count("\n") + 2)
    width, height = mosaic.shape[1] * inches, mosaic.shape[0] * inches
    figure = Figure(figsize=(width + 0.2, height + heading + 0.1))
    figure.suptitle(title, y=1 - 0.12 / figure.get_figheight(), fontsize=11)
    axes = figure.add_axes(np.array([0.1, 0.1, width, height]) / np.tile(figure.get_size_inches(), 2))
    draw_image(axes, mosaic, interpolation="bicubic")
    axes.set_axis_off()
    return figure, axes


def save_animation(frames, path, *, enlarged=3):
    """Saves frames (steps, n, h, w, c) of n images beside each other, float32 in [0, 1], as a GIF that starts again.

    enlarged: how many pixels wide and high each pixel becomes.
    """
    frames = np.pad(frames, [(0, 0), (0, 0), (1, 1), (1, 1), (0, 0)], constant_values=1)
    mosaics = [
        mosaic(images, min(8, len(images))).repeat(enlarged, axis=0).repeat(enlarged, axis=1) for images in frames
    ]
    pictures = [Image.fromarray(without_single_channel((255 * mosaic).round().astype("uint8"))) for mosaic in mosaics]
    durations = [80] * (len(pictures) - 1) + [2000]  # milliseconds
    with writing(path):
        pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=durations, loop=0)
    print(f"Animation: {path}")
