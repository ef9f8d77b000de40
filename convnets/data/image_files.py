"""A reader's own picture, made into what a network takes."""

import warnings

import numpy as np
from PIL import Image, ImageOps

from convnets.errors import UserError


def read(path, input_shape, *, light_on_dark=False):
    """Reads a picture file and fits it to a network's input.

    The picture is turned upright as its camera noted, put on white where it is transparent, cropped to its
    middle square, scaled, and made grey when the network has one channel.

    input_shape: (height, width, channels) of the network. light_on_dark: the network was trained on light
    strokes on a dark ground; a picture with a light rim is then inverted.
    Returns (the whole picture, upright, (h, w, 3) uint8; what the network sees, `input_shape` float32 in [0, 1]).
    Raises UserError when the file is no picture, damaged, or enormous.
    """
    height, width, channels = input_shape
    try:
        with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
            picture = ImageOps.exif_transpose(Image.open(path))
            if picture.mode.startswith("I"):  # 16 bits of grey, of which Pillow would cut off what is above 255
                picture = Image.fromarray((np.asarray(picture) / 257).clip(0, 255).astype("uint8"))
            picture = picture.convert("RGBA")
    except FileNotFoundError as error:
        raise UserError(f"can't read the picture {path}: there is no such file") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise UserError(
            f"the picture {path} is enormous: make it smaller than {Image.MAX_IMAGE_PIXELS:,} pixels"
        ) from error
    except Exception as error:  # a damaged file may break Pillow's readers in any way
        raise UserError(f"can't read the picture {path}: it is damaged, or no JPEG, PNG, WebP, ... at all") from error
    ground = Image.new("RGBA", picture.size, "white")
    picture = Image.alpha_composite(ground, picture).convert("RGB")
    side = min(picture.size)
    seen = ImageOps.fit(picture, (side, side)).resize((width, height), Image.Resampling.LANCZOS)
    seen = np.asarray(seen.convert("L" if channels == 1 else "RGB"), dtype="float32").reshape(input_shape) / 255
    if light_on_dark and rim(seen[None]).mean() > 0.5:
        seen = 1 - seen
    return np.asarray(picture), seen


def rim(images):
    """The outermost pixels of images (n, height, width, channels), as (n, pixels)."""
    inner = np.zeros(images.shape[1:], dtype=bool)
    inner[1:-1, 1:-1] = True
    return images[:, ~inner]
