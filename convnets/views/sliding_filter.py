"""Compute how the filters of a network's first convolution slide over an image."""

import dataclasses
import math

import keras
import numpy as np

from convnets.errors import UserError
from convnets.views import introspection

MOST_FRAMES, LARGEST_FILM = 150, 2**26  # of an animation; the latter in pixels, of 12 bytes


@dataclasses.dataclass(frozen=True)
class SlidingFilter:
    """One filter of the first convolution on an image.

    picture: the image, (h, w, c) float32 in [0, 1]. image: the input of the convolution, which may be scaled otherwise.
    unit: the index of the filter. kernel: (kh, kw, c). bias: a number. strides, padding: (down, right); padding counts
    the zeros at the top and at the left. response: (rows, columns), the output before any activation function.
    """

    picture: np.ndarray
    image: np.ndarray
    unit: int
    kernel: np.ndarray
    bias: float
    strides: tuple
    padding: tuple
    response: np.ndarray

    @property
    def on_image(self):
        """The response where the whole window lies on the image; elsewhere NaN."""
        inside = []
        for axis, extent in enumerate(self.response.shape):
            corners = np.arange(extent) * self.strides[axis] - self.padding[axis]
            inside.append((corners >= 0) & (corners + self.kernel.shape[axis] <= self.image.shape[axis]))
        return np.where(np.logical_and.outer(*inside), self.response, np.nan)

    @property
    def place(self):
        """(row, column) of the largest response with the whole window on the image."""
        return tuple(map(int, np.unravel_index(np.nanargmax(self.on_image), self.response.shape)))

    @property
    def limit(self):
        """The end of a colour scale: the largest absolute response on the image, or 1 where all are 0."""
        return np.nanmax(np.abs(self.on_image)) or 1

    def corner(self, place):
        """Return (row, column) of the pixel at which the window begins; negative in the padding."""
        return tuple(int(p * s - before) for p, s, before in zip(place, self.strides, self.padding, strict=True))

    def window(self, place):
        """Return the pixels under the window, (kh, kw, c). (window * kernel).sum() + bias is the response there."""
        margin = np.pad(self.image, [(size, size) for size in self.kernel.shape[:2]] + [(0, 0)])
        rows, columns = (
            slice(start + size, start + 2 * size)
            for start, size in zip(self.corner(place), self.kernel.shape[:2], strict=True)
        )
        return margin[rows, columns]


def strongest(model, image, count):
    """Return the filters of the first convolution that respond most to an image: SlidingFilters, the strongest first.

    image: (h, w, c) float32 in [0, 1]. Raises UserError when the first convolution is not an ordinary one, when its
    filters are larger than the image or never wholly inside it, or when its input is no longer an image.
    """
    graph = introspection.graph(model)
    convolutions = introspection.convolutions(model)
    layer = convolutions[0].layer if convolutions else None
    if not isinstance(layer, keras.layers.Conv2D) or layer.groups > 1 or max(layer.dilation_rate) > 1:
        raise UserError(
            "these pictures need an ordinary convolution (not dilated, grouped, depthwise or transposed), "
            "and the network does not begin with one"
        )
    if any(size > extent for size, extent in zip(layer.kernel_size, image.shape, strict=False)):
        raise UserError(f"the filters of {layer.name} are larger than the image, so they can't slide over it")
    (source,) = convolutions[0].inputs
    picture = image
    for step in graph.steps[: graph.steps.index(convolutions[0])]:
        if isinstance(step.layer, keras.layers.ZeroPadding2D):
            picture = np.pad(picture, [*step.layer.padding, (0, 0)])
    if source.shape[1:] != picture.shape:
        raise UserError(f"the input of the first convolution, {layer.name}, is no longer an image: {source.shape[1:]}")
    tensors = introspection.predict(graph.model({"image": source, "response": convolutions[0].output}), image[None])
    image, responses = tensors["image"][0], tensors["response"][0]
    kernels = keras.ops.convert_to_numpy(layer.kernel)
    biases = keras.ops.convert_to_numpy(layer.bias) if layer.use_bias else np.zeros(layer.filters)
    padding = tuple(introspection.padding_before(layer, image.shape[:2]))
    filters = [
        SlidingFilter(
            picture, image, unit, kernels[..., unit], float(biases[unit]), layer.strides, padding, responses[..., unit]
        )
        for unit in range(layer.filters)
    ]
    if np.isnan(filters[0].on_image).all():
        sizes = [" x ".join(map(str, each.shape[:2])) for each in (kernels, image)]
        raise UserError(f"the {sizes[0]} filters of {layer.name} are never wholly inside the {sizes[1]} image")
    return sorted(filters, key=lambda filtered: -filtered.response[filtered.place])[:count]


def sliding(filtered):
    """Return the frames of an animation: the window moves over the image, and the response grows behind it.

    The window moves place by place in the first two rows, then row by row; on large images it leaves out places.
    Returns (steps, 2, h, w, 3) float32 in [0, 1]: the image with the window on it, and the response, centred in as many
    pixels: grey where it is 0, and white where it is not computed yet.
    """
    rows, columns = filtered.response.shape
    height, width, _ = filtered.image.shape
    brightness = np.clip(0.5 + filtered.response / (2 * filtered.limit), 0, 1)
    order = np.arange(rows * columns).reshape(rows, columns)
    top, left = (height - rows) // 2, (width - columns) // 2
    place_by_place, row_by_row = order[:2].ravel(), order[2:, -1]
    last_places = [*place_by_place, *row_by_row]
    most = max(2, min(MOST_FRAMES, LARGEST_FILM // (2 * height * width)))
    last_places = last_places[:: -math.ceil(len(last_places) / most)][::-1]  # the last one is among them
    film = np.ones((len(last_places), 2, height, width, 3), dtype="float32")
    for frame, last in zip(film, last_places, strict=True):
        frame[0] = filtered.picture
        (row, column), (kernel_height, kernel_width) = filtered.corner(divmod(last, columns)), filtered.kernel.shape[:2]
        rows_seen = np.arange(max(row, 0), min(row + kernel_height, height))
        columns_seen = np.arange(max(column, 0), min(column + kernel_width, width))
        yellow = 0.5 * np.array([1, 0.8, 0])
        frame[0][np.ix_(rows_seen, columns_seen)] = 0.5 * frame[0][np.ix_(rows_seen, columns_seen)] + yellow
        known = np.where(order <= last, brightness, 1)
        frame[1, top : top + rows, left : left + columns] = known[..., None]
    return film
