"""How the filters of a network's first convolution slide over an image: arrays only."""

import dataclasses

import keras
import numpy as np

from convnets import networks
from convnets.errors import UserError


@dataclasses.dataclass(frozen=True)
class Filtered:
    """One filter of the first convolution on an image.

    image: what the convolution gets, (h, w, c) float32. unit: which filter.
    kernel: (kh, kw, c). bias: a number. strides, padding: (down, right), padding as rows of zeros at top and left.
    response: (rows, columns), the convolution's output before any activation.
    """

    image: np.ndarray
    unit: int
    kernel: np.ndarray
    bias: float
    strides: tuple
    padding: tuple
    response: np.ndarray

    @property
    def place(self):
        """(row, column) of the largest response with the whole window on the image, none of it on the padding."""
        on_image = np.full(self.response.shape, -np.inf)
        inside = [
            [0 <= self.corner((p, p))[axis] <= self.image.shape[axis] - self.kernel.shape[axis] for p in range(extent)]
            for axis, extent in enumerate(self.response.shape)
        ]
        on_image[np.ix_(*inside)] = self.response[np.ix_(*inside)]
        return tuple(map(int, np.unravel_index(on_image.argmax(), on_image.shape)))

    def corner(self, place):
        """(row, column) of the image's pixel at which the window begins; negative where that is in the padding."""
        return tuple(int(p * s - before) for p, s, before in zip(place, self.strides, self.padding, strict=True))

    def window(self, place):
        """The pixels under the window, (kh, kw, c). (window * kernel).sum() + bias is the response at this place."""
        margin = np.pad(self.image, [(size, size) for size in self.kernel.shape[:2]] + [(0, 0)])
        rows, columns = (
            slice(start + size, start + 2 * size)
            for start, size in zip(self.corner(place), self.kernel.shape[:2], strict=True)
        )
        return margin[rows, columns]


def strongest(model, image, count):
    """The filters of the first convolution that respond most to an image, as a list of Filtered, the strongest first.

    image: (h, w, c) float32 in [0, 1]. Raises UserError when the network has no convolution of the simple kind.
    """
    layers = networks.unfused(model)
    position = next((number for number, layer in enumerate(layers) if networks.is_convolution(layer)), None)
    layer = None if position is None else layers[position]
    if type(layer) is not keras.layers.Conv2D or layer.groups > 1 or max(layer.dilation_rate) > 1:
        raise UserError("the network has no convolution to begin with whose filters slide over all channels")
    x = networks.run(layers[:position], image[None])
    image = keras.ops.convert_to_numpy(x)[0]
    responses = keras.ops.convert_to_numpy(layer(x))[0]
    kernels = keras.ops.convert_to_numpy(layer.kernel)
    biases = keras.ops.convert_to_numpy(layer.bias) if layer.use_bias else np.zeros(layer.filters)
    padding = (0, 0)
    if layer.padding == "same":  # as little as is needed, and where that is odd, less at top and left
        padding = tuple(
            max((rows - 1) * stride + size - extent, 0) // 2
            for rows, stride, size, extent in zip(
                responses.shape, layer.strides, layer.kernel_size, image.shape, strict=False
            )
        )
    filters = [
        Filtered(image, unit, kernels[..., unit], float(biases[unit]), layer.strides, padding, responses[..., unit])
        for unit in range(layer.filters)
    ]
    return sorted(filters, key=lambda filtered: -filtered.response[filtered.place])[:count]


def sliding(filtered, steps=60):
    """A film of the window on its way over the image, and of the response that grows behind it.

    Returns (steps, 2, h, w, 3) float32 in [0, 1]: the image with the window's frame on it, and the response in the
    middle of as many pixels, grey where it is 0 or not there yet.
    """
    rows, columns = filtered.response.shape
    height, width, _ = filtered.image.shape
    limit = np.quantile(np.abs(filtered.response), 0.99) or 1  # a padded edge would pale all else
    brightness = np.clip(0.5 + filtered.response / (2 * limit), 0, 1)
    order = np.arange(rows * columns).reshape(rows, columns)
    top, left = (height - rows) // 2, (width - columns) // 2
    film = np.full((min(steps, rows * columns), 2, height, width, 3), 0.5, dtype="float32")
    for frame, last in zip(film, np.linspace(0, rows * columns - 1, len(film)).astype(int), strict=True):
        frame[0] = filtered.image
        (row, column), (kernel_height, kernel_width) = filtered.corner(divmod(last, columns)), filtered.kernel.shape[:2]
        rows_seen = np.arange(max(row, 0), min(row + kernel_height, height))
        columns_seen = np.arange(max(column, 0), min(column + kernel_width, width))
        yellow = 0.5 * np.array([1, 0.8, 0])
        frame[0][np.ix_(rows_seen, columns_seen)] = 0.5 * frame[0][np.ix_(rows_seen, columns_seen)] + yellow
        known = np.where(order <= last, brightness, 0.5)
        frame[1, top : top + rows, left : left + columns] = known[..., None]
    return film
