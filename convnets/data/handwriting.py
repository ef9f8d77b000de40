"""Do with a picture of a digit what was done with those of MNIST, so that a network trained there can read it.

LeCun et al. fitted each digit into a box of 20x20 pixels, light on dark, and centred it by its mass in 28x28.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

SIZE, BOX = 28, 20  # pixels: of an image of MNIST, and of the box that its digit fills
SMALLEST, LARGEST = 64, 256  # pixels: pictures are enlarged or reduced to between these sides, to be analysed
INK = 0.3  # of the darkest ink: what counts as part of a stroke
LINE_GAP = 0.2  # of a line's height: at least so much is between lines of writing
FAINT = 0.15  # of the darkest ink: less is the paper's grain
LEAST_CONTRAST = 0.1  # with the paper, in brightness from 0 to 1: less is no ink
LEAST_SIDE = 0.03  # of the picture's longer side: the least height or width of a digit
SPECK = 0.25  # of the largest part's height or width: what is smaller is dirt


@dataclass(frozen=True)
class Digit:
    """A picture of a digit as MNIST would show it. image: (28, 28, 1) float32 in [0, 1].

    found: how many digits seem to be in the picture; 0 if it is blank.
    """

    image: np.ndarray
    found: int


def as_in_mnist(picture):
    """Return a picture, a PIL.Image, as a Digit.

    The paper may be uneven, a plane of brightness is fitted to its borders; the ink may be dark or light.
    """
    grey = picture.convert("L")
    enlarged = max(SMALLEST / max(grey.size), 1) if max(grey.size) < LARGEST else LARGEST / max(grey.size)
    size = [max(1, round(side * enlarged)) for side in grey.size]
    grey = grey.resize(size, Image.Resampling.BICUBIC if enlarged > 1 else Image.Resampling.BOX)
    ink = _ink(np.asarray(grey, dtype="float32") / 255)
    rows, columns = (np.flatnonzero((ink > INK).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return Digit(np.zeros((SIZE, SIZE, 1), "float32"), 0)
    found = _count_digits(ink > INK)
    ink = np.where(ink < FAINT, 0, ink)[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = BOX / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    resampling = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    fitted = np.asarray(Image.fromarray(ink.astype("float32")).resize((width, height), resampling)).clip(0, 1)
    wide = np.zeros((2 * SIZE, 2 * SIZE), "float32")
    wide[BOX : BOX + height, BOX : BOX + width] = fitted
    top, left = (round(middle - (SIZE - 1) / 2) for middle in ndimage.center_of_mass(wide))
    return Digit(wide[top : top + SIZE, left : left + SIZE, None], found)


def _ink(grey):
    """Return how much ink there is at each pixel, in [0, 1], for brightnesses (h, w) of dark or light ink on paper."""
    rows, columns = np.indices(grey.shape) / np.array(grey.shape)[:, None, None]
    plane = np.stack([np.ones_like(rows), rows, columns], axis=-1)
    border = np.ones(grey.shape, dtype=bool)
    border[1:-1, 1:-1] = False
    weights = np.ones((border.sum(), 1))
    for _ in range(10):  # weights of 1 / distance make it the least sum of distances, which a stroke hardly moves
        solution = np.linalg.lstsq(plane[border] * weights, grey[border] * weights[:, 0], rcond=None)[0]
        weights = 1 / np.sqrt(np.maximum(np.abs(grey[border] - plane[border] @ solution), 0.02))[:, None]
    return _scaled(plane @ solution - grey)


def _scaled(contrast):
    """Return how much ink there is at each pixel, in [0, 1], without specks, which would make the digit's box larger.

    contrast: (h, w) by how much each pixel is darker than the paper, or brighter (negative). Dark and light parts of a
    digit's size are compared, and the stronger ones are the ink: a spot of glare, or of dirt, is smaller.
    """
    found = []
    for ink in (contrast, -contrast):
        parts, _ = ndimage.label(ink > max(LEAST_CONTRAST, INK * np.percentile(ink, 99.5)), np.ones((3, 3)))
        boxes = ndimage.find_objects(parts)
        sides = np.array([0, *(max(end.stop - end.start for end in box) for box in boxes)])
        found.append((ink, parts, sides))
    largest = max(sides.max() for _, _, sides in found)
    scaled, strongest = np.zeros_like(contrast), 0
    if largest >= LEAST_SIDE * max(contrast.shape):
        for ink, parts, sides in found:
            of_a_digit = (sides >= SPECK * largest)[parts]
            strength = np.percentile(ink[of_a_digit], 95) if of_a_digit.any() else 0
            if strength > strongest:
                with_edges = ndimage.binary_dilation(of_a_digit, iterations=4)  # soft ones are below the threshold
                strongest, scaled = strength, np.where(with_edges, np.clip(ink / strength, 0, 1), 0)
    return scaled


def _count_digits(ink):
    """Count the digits in a picture: line by line, the strokes with a gap between them.

    ink: (h, w) bool. Strokes less than half as high as the highest, such as a dot, don't count.
    """
    lines = _parts(ink.any(axis=1))
    highest = max(end - start for start, end in lines)
    joined = [lines[0]]
    for start, end in lines[1:]:  # what is closer than lines of writing is one digit, such as a 5 with its bar apart
        if start - joined[-1][1] < LINE_GAP * highest:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    strokes = [
        ink[top:bottom, left:right] for top, bottom in joined for left, right in _parts(ink[top:bottom].any(axis=0))
    ]
    heights = [np.ptp(np.flatnonzero(stroke.any(axis=1))) + 1 for stroke in strokes]
    return sum(height >= max(heights) / 2 for height in heights)


def _parts(line):
    """Return where the stretches of True start and end in a line of booleans, as a list of pairs."""
    changes = np.flatnonzero(np.diff(line.astype(int), prepend=0, append=0))
    return list(zip(changes[::2].tolist(), changes[1::2].tolist(), strict=True))
