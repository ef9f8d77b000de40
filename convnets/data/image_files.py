"""Read the reader's own pictures, and fit them to a network's input."""

import warnings

import numpy as np
from PIL import Image, ImageOps

from convnets.errors import UserError


def read(path, input_shape, *, light_on_dark=False):
    """Read a picture and fit it to a network's input.

    The picture is rotated upright as its EXIF data says, transparent areas become white, and its central square is
    cropped and resized. It is converted to greyscale if the network has one channel.

    input_shape: the network's (height, width, channels). light_on_dark: whether the network was trained on light
    strokes on a dark background; a picture with light borders is then inverted.
    Returns (the whole upright picture, (h, w, 3) uint8; the network's input, `input_shape` float32 in [0, 1]).
    Raises UserError if the file is not an image, damaged, or too large.
    """
    height, width, channels = input_shape
    try:
        with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
            picture = ImageOps.exif_transpose(Image.open(path))
            if picture.mode.startswith("I"):  # 16-bit greyscale, which Pillow's own conversion clips at 255
                picture = Image.fromarray((np.asarray(picture) / 257).clip(0, 255).astype("uint8"))
            picture = picture.convert("RGBA")
    except FileNotFoundError as error:
        raise UserError(f"can't read the picture {path}: no such file") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise UserError(
            f"the picture {path} is too large: scale it down to less than {Image.MAX_IMAGE_PIXELS:,} pixels"
        ) from error
    except Exception as error:  # a damaged file can make Pillow fail in any way
        raise UserError(f"can't read the picture {path}: not an image (JPEG, PNG, WebP ...), or damaged") from error
    background = Image.new("RGBA", picture.size, "white")
    picture = Image.alpha_composite(background, picture).convert("RGB")
    side = min(picture.size)
    resized = ImageOps.fit(picture, (side, side)).resize((width, height), Image.Resampling.LANCZOS)
    resized = np.asarray(resized.convert("L" if channels == 1 else "RGB"), dtype="float32").reshape(input_shape) / 255
    if light_on_dark and border_pixels(resized[None]).mean() > 0.5:
        resized = 1 - resized
    return np.asarray(picture), resized


def border_pixels(images):
    """Return the outermost pixels of images (n, height, width, channels), as (n, values)."""
    inner = np.zeros(images.shape[1:], dtype=bool)
    inner[1:-1, 1:-1] = True
    return images[:, ~inner]
