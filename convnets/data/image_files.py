"""Read the reader's own pictures, and fit them to a network's input."""

import concurrent.futures
import dataclasses
import os
import warnings
from pathlib import Path

import joblib
import numpy as np
from PIL import Image, ImageOps

from convnets.errors import UserError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")  # no others: PostScript would start Ghostscript
# Endings of the formats that Pillow reads on every system; whatever has another one is no picture.
ENDINGS = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"}

AT_LEAST = 512  # pixels, a side from which on a photograph is decoded at a reduced scale
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # `open_upright` refuses such pictures
IGNORED = {  # what systems leave in folders, and in the root of a drive; hidden files are ignored, too
    "thumbs.db", "desktop.ini", "system volume information", "$recycle.bin", "lost+found",
}  # fmt: skip


class Unreadable(UserError):
    """A file can't be read as a picture.

    reason: why, without the file's name. may_pass: whether the reason lies outside the file, such as permissions.
    """

    def __init__(self, path, reason, *, may_pass=False):
        super().__init__(f"can't read the picture {path}: {reason}")
        self.reason, self.may_pass = reason, may_pass


def files_below(folder, seen=()):
    """Return all files in a folder and its subfolders, as a list of Path, in the order of their names.

    Hidden files, and what is no file, are left out. A folder is entered once, however many links lead to it. seen: the
    real paths of folders that are not entered at all. Raises OSError if a folder can't be read.
    """
    found, seen, waiting = [], set(seen), [folder]
    while waiting:
        path = waiting.pop()
        if path == folder or path.is_dir():
            if (here := os.path.realpath(path)) not in seen:
                seen.add(here)
                waiting += sorted((each for each in path.iterdir() if not is_hidden(each)), reverse=True)
        elif path.is_file() or not path.exists():  # a link to nowhere is named later, when it can't be read
            found.append(path)
    return found


def is_hidden(path):
    """Return whether a file or folder is none of the reader's, by its name."""
    return path.name.startswith(".") or path.name.lower() in IGNORED


def is_picture(path):
    """Return whether a file's name ends like that of a picture."""
    return path.suffix.lower() in ENDINGS


def open_any(path):
    """Open a picture of one of the FORMATS as a PIL.Image; the pixels are not read yet."""
    return Image.open(path, formats=FORMATS)


def open_upright(path, at_least=None):
    """Open a picture, upright as its EXIF data says, as an RGB PIL.Image; transparent areas become white.

    Of an animation or a document of several pages, it is the first picture.
    at_least: a side in pixels. A larger JPEG file may be decoded at a reduced scale, which is several times as fast,
    but no smaller than this.
    Raises Unreadable if the file is not an image, damaged, or too large.
    """
    try:
        if isinstance(path, os.PathLike) and path.exists() and not path.is_file():  # to open a pipe would wait forever
            raise Unreadable(path, "not a file")
        picture = open_any(path)
        if picture.width * picture.height > Image.MAX_IMAGE_PIXELS:
            raise Image.DecompressionBombError
        if at_least:
            picture.draft("RGB", (at_least, at_least))
        picture = ImageOps.exif_transpose(picture)
        if picture.mode == "F" or (picture.mode == "I" and np.asarray(picture).max() > 0xFFFF):
            raise Unreadable(path, "it has 32 bits a channel, whose range is unknown; save it with 8 or 16")
        if picture.mode.startswith("I"):  # 16-bit greyscale, which Pillow's own conversion clips at 255
            picture = Image.fromarray((np.asarray(picture) // 257).clip(0, 255).astype("uint8"))
        if not picture.has_transparency_data:
            return picture.convert("RGB")
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    except Unreadable:
        raise
    except FileNotFoundError as error:
        raise Unreadable(path, "no such file") from error
    except Image.DecompressionBombError as error:
        raise Unreadable(path, f"too large; scale it down to less than {Image.MAX_IMAGE_PIXELS:,} pixels") from error
    except MemoryError as error:
        raise Unreadable(path, "there is too little memory for it", may_pass=True) from error
    except Exception as error:  # a damaged file can make Pillow fail in any way
        by_the_system = isinstance(error, OSError) and error.errno and error.strerror
        reason = by_the_system or "not an image of a known format (JPEG, PNG, WebP, AVIF ...), or damaged"
        raise Unreadable(path, reason, may_pass=bool(by_the_system)) from error


def middle(picture, height, width):
    """Crop a PIL.Image to its middle part of this shape and resize it, antialiased. Returns a PIL.Image."""
    scale = min(picture.width / width, picture.height / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return ImageOps.fit(picture, size).resize((width, height), Image.Resampling.LANCZOS)


def fit(picture, input_shape, *, light_on_dark=False):
    """Fit an RGB PIL.Image to a network's input: crop its middle part, usually a square, and resize it.

    input_shape: the network's (height, width, channels); for one channel, the picture is converted to greyscale.
    light_on_dark: whether the network was trained on light strokes on a dark background; a picture with light borders
    is then inverted. Returns float32 in [0, 1].
    """
    height, width, channels = input_shape
    cropped = middle(picture, height, width)
    resized = (grey(cropped) if channels == 1 else np.asarray(cropped.convert("RGB"))).astype("float32") / 255
    if light_on_dark and border_pixels(resized[None]).mean() > 0.5:
        resized = 1 - resized
    return resized


def grey(picture):
    """Return a PIL.Image as greyscale, (h, w, 1) uint8."""
    return np.asarray(picture.convert("L"))[..., None]


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture of the reader's own, fitted to a network.

    path: its file. image: the network's input, (h, w, c) float32 in [0, 1]. note: what to know about it, or "".
    """

    path: Path
    image: np.ndarray
    note: str = ""


def read_all(paths, prepare, *, at_least=AT_LEAST):
    """Read pictures, in parallel.

    paths: files, patterns such as *.jpg (on Windows, no shell expands them), and folders, whose pictures are all read,
    also those in subfolders. prepare: a function that turns an
    upright RGB PIL.Image into (a network's input, a note). at_least: see open_upright.
    Returns (list of Picture, {path: reason} of those that can't be read). Raises UserError if there is no picture.
    """
    found = []
    for path in (each for pattern in paths for each in _expanded(pattern)):
        try:
            found += filter(is_picture, files_below(path)) if os.path.isdir(path) else [path]
        except OSError as error:
            raise UserError(f"can't read {error.filename} ({error.strerror}): check its permissions") from error

    def read_one(path):
        try:
            return Picture(path, *prepare(open_upright(path, at_least=at_least)))
        except Unreadable as error:
            return error

    with concurrent.futures.ThreadPoolExecutor(joblib.cpu_count()) as pool:  # Pillow decodes without Python's lock
        results = dict(zip(found, pool.map(read_one, found), strict=True))
    pictures = [result for result in results.values() if isinstance(result, Picture)]
    broken = {path: result for path, result in results.items() if isinstance(result, Unreadable)}
    named = ", ".join(map(str, paths))
    if not found:
        raise UserError(f"there are no pictures in {named}")
    if not pictures:
        first = next(iter(broken.values()))
        raise first if len(broken) == 1 else UserError(f"none of {len(found)} pictures in {named} can be read: {first}")
    return pictures, {path: error.reason for path, error in broken.items()}


def _expanded(path):
    """Return what a pattern such as *.jpg matches, as a list; [path] if it is none, or matches nothing."""
    if os.path.lexists(path) or not {"*", "?"} & set(path.name) or "**" in path.name:
        return [path]
    return sorted(each for each in path.parent.glob(path.name) if not is_hidden(each)) or [path]


def border_pixels(images):
    """Return the outermost pixels of images (n, height, width, channels), as (n, values)."""
    inner = np.zeros(images.shape[1:], dtype=bool)
    inner[1:-1, 1:-1] = True
    return images[:, ~inner]
