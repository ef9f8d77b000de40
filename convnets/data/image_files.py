"""Read the reader's own pictures, and fit them to a network's input."""

import concurrent.futures
import dataclasses
import warnings
from pathlib import Path

import joblib
import numpy as np
from PIL import Image, ImageOps

from convnets.errors import UserError

# Endings of the formats that Pillow reads on every system; whatever has another one is no picture.
ENDINGS = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"}

AT_LEAST = 512  # pixels, a side from which on a photograph is decoded at a reduced scale


def open_upright(path, at_least=None):
    """Open a picture, upright as its EXIF data says, as an RGB PIL.Image; transparent areas become white.

    Of an animation or a document of several pages, it is the first picture.
    at_least: a side in pixels. A larger JPEG file may be decoded at a reduced scale, which is several times as fast,
    but no smaller than this.
    Raises UserError if the file is not an image, damaged, or too large.
    """
    try:
        with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
            picture = Image.open(path)
            if at_least:
                picture.draft("RGB", (at_least, at_least))
            picture = ImageOps.exif_transpose(picture)
            if picture.mode.startswith("I"):  # 16-bit greyscale, which Pillow's own conversion clips at 255
                picture = Image.fromarray((np.asarray(picture) / 257).clip(0, 255).astype("uint8"))
            if not picture.has_transparency_data:
                return picture.convert("RGB")
            picture = picture.convert("RGBA")
            return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    except FileNotFoundError as error:
        raise UserError(f"can't read the picture {path}: no such file") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise UserError(
            f"the picture {path} is too large: scale it down to less than {Image.MAX_IMAGE_PIXELS:,} pixels"
        ) from error
    except Exception as error:  # a damaged file can make Pillow fail in any way
        raise UserError(f"can't read the picture {path}: not an image (JPEG, PNG, WebP ...), or damaged") from error


def middle_square(picture, height, width):
    """Crop a PIL.Image to its central square and resize it, antialiased. Returns a PIL.Image."""
    side = min(picture.size)
    return ImageOps.fit(picture, (side, side)).resize((width, height), Image.Resampling.LANCZOS)


def read(path, input_shape, *, light_on_dark=False):
    """Read a picture and fit it to a network's input. Options as for `fit`, errors as of `open_upright`.

    Returns (the whole upright picture, (h, w, 3) uint8; the network's input, `input_shape` float32 in [0, 1]).
    """
    picture = open_upright(path)
    return np.asarray(picture), fit(picture, input_shape, light_on_dark=light_on_dark)


def fit(picture, input_shape, *, light_on_dark=False):
    """Fit an RGB PIL.Image to a network's input: crop the central square, and resize it.

    input_shape: the network's (height, width, channels); for one channel, the picture is converted to greyscale.
    light_on_dark: whether the network was trained on light strokes on a dark background; a picture with light borders
    is then inverted. Returns float32 in [0, 1].
    """
    height, width, channels = input_shape
    resized = middle_square(picture, height, width).convert("L" if channels == 1 else "RGB")
    resized = np.asarray(resized, dtype="float32").reshape(input_shape) / 255
    if light_on_dark and border_pixels(resized[None]).mean() > 0.5:
        resized = 1 - resized
    return resized


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture of the reader's own, fitted to a network.

    path: its file. image: the network's input, (h, w, c) float32 in [0, 1]. note: what to know about it, or "".
    """

    path: Path
    image: np.ndarray
    note: str = ""


def read_all(paths, prepare):
    """Read pictures, in parallel.

    paths: files, and folders whose pictures are all read, also those in subfolders. prepare: a function that turns an
    upright RGB PIL.Image into (a network's input, a note).
    Returns (list of Picture, {path: reason} of those that can't be read). Raises UserError if there is no picture.
    """
    found = []
    for path in paths:
        if path.is_dir():
            inside = (each for each in path.rglob("*") if each.suffix.lower() in ENDINGS and each.name[0] != ".")
            found += sorted(inside)
        else:
            found.append(path)

    def read_one(path):
        try:
            return Picture(path, *prepare(open_upright(path, at_least=AT_LEAST)))
        except UserError as error:
            return error

    with concurrent.futures.ThreadPoolExecutor(joblib.cpu_count()) as pool:  # Pillow decodes without Python's lock
        results = dict(zip(found, pool.map(read_one, found), strict=True))
    pictures = [result for result in results.values() if isinstance(result, Picture)]
    broken = {path: str(result) for path, result in results.items() if isinstance(result, UserError)}
    if len(broken) == 1 and not pictures:
        raise UserError(next(iter(broken.values())))
    if not pictures:
        raise UserError(f"no picture could be read of the {len(found)} in {', '.join(map(str, paths))}")
    return pictures, broken


def border_pixels(images):
    """Return the outermost pixels of images (n, height, width, channels), as (n, values)."""
    inner = np.zeros(images.shape[1:], dtype=bool)
    inner[1:-1, 1:-1] = True
    return images[:, ~inner]
