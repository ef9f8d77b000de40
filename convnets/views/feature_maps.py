"""Compute what each layer makes of an image, and how much of the image each of its pixels sees."""

import dataclasses

import keras
import numpy as np
from keras import layers

from convnets.errors import UserError
from convnets.views import introspection

CONVOLUTIONS_AND_POOLINGS = (*introspection.CONVOLUTIONS, layers.MaxPooling2D, layers.AveragePooling2D)
POINTWISE = (  # each pixel of the output depends on the same pixel of the input
    *introspection.ACTIVATIONS,
    *introspection.TRAINING_ONLY,
    layers.Identity,
    layers.Add,
    layers.Subtract,
    layers.Multiply,
    layers.Average,
    layers.Maximum,
    layers.Minimum,
    layers.Concatenate,
    layers.BatchNormalization,
    layers.Dense,
    layers.Normalization,
    layers.Rescaling,
)
POINTWISE_OPERATIONS = introspection.ACTIVATION_OPERATIONS | {  # the classes of keras.ops.add, + and the like
    "abs", "absolute", "add", "cast", "clip", "concatenate", "divide", "exp", "log", "maximum", "minimum", "multiply",
    "negative", "power", "sqrt", "square", "subtract", "truedivide", "where",
}  # fmt: skip


def layer_outputs(model, images, layers=None):
    """Run images through a network and return what its layers make of them.

    images: (n, h, w, c), uint8 or float32 in [0, 1]. layers: their names. Default: every convolution.
    Returns {layer name: outputs (n, ...) float32}, in order of computation. Raises UserError when there is no such
    layer.
    """
    graph = introspection.graph(model)
    steps = introspection.convolutions(model) if layers is None else [graph.find(name) for name in layers]
    if not steps:
        raise UserError("the network has no convolution layer, so there are no feature maps to see")
    return introspection.predict(graph.model({step.name: graph.layer_output(step) for step in steps}), images)


def map_layers(model):
    """Return the names of all layers that return feature maps: convolutions, activations, poolings and the like."""
    graph = introspection.graph(model)
    ignored = introspection.TRAINING_ONLY
    steps = graph.first_steps(lambda layer: isinstance(layer, layers.Layer) and not isinstance(layer, ignored))
    return [step.name for step in steps if len(step.output.shape) == 4]


def dead_channels(model, images):
    """Find the channels that no image activates.

    images: (n, h, w, c), uint8 or float32 in [0, 1].
    Returns {convolution's name: list of the channels whose output, after the activation function that follows it, is
    zero at every pixel of every image}.
    """
    graph = introspection.graph(model)
    alive = {}
    for step in introspection.convolutions(model):
        after = graph.around_activation(step)[1]
        alive[step.name] = _IsActive(name=f"activity_of_{step.name}")(after)
    if not alive:
        return {}
    is_alive = introspection.predict(graph.model(alive), images)
    return {name: np.flatnonzero(~each.any(axis=0)).tolist() for name, each in is_alive.items()}


class _IsActive(layers.Layer):
    """Whether each channel of feature maps (n, h, w, c) is anything but zero anywhere, (n, c) bool."""

    def call(self, maps):
        return keras.ops.any(keras.ops.not_equal(maps, 0), axis=(1, 2))


@dataclasses.dataclass(frozen=True)
class Field:
    """Which pixels of the image the places of a layer's output depend on.

    size: (height, width), how many. step: (down, right), by how many it moves from one place to the next. start: (top,
    left) of the first place's; negative where it begins in the padding. image: (height, width). shared: (down, right),
    by how much earlier than that a place's may begin, behind layers that enlarge. All in pixels.
    """

    size: np.ndarray
    step: np.ndarray
    start: np.ndarray
    image: np.ndarray
    shared: np.ndarray

    @property
    def most(self):
        """(height, width): on how many pixels a place depends at most, without the padding around the image."""
        return tuple(map(int, np.minimum(np.ceil(self.size), self.image)))

    def box(self, row, column):
        """Return (top, left, height, width) of what a place sees, without the padding around the image."""
        first = np.array([row, column]) * self.step + self.start
        top_left = np.clip(np.floor(first - self.shared), 0, self.image)
        height_width = np.clip(np.ceil(first + self.size), 0, self.image) - top_left
        return (*map(int, top_left), *map(int, height_width))


def receptive_fields(model):
    """Return {layer name: (height, width)}: on how many pixels of the image one pixel of a layer's output depends.

    See `fields`. Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016.
    """
    return {name: field.most for name, field in fields(model).items()}


def fields(model):
    """Return {layer name: Field}, for the layers that return feature maps.

    A field is the whole image where a layer mixes all places, as global pooling does, or where what it mixes is not
    known.
    """
    graph = introspection.graph(model)
    whole = np.array(graph.image.shape[1:3], dtype=float)
    of_image = np.ones(2), np.ones(2), np.zeros(2), np.zeros(2)  # size, step, start, shared
    of_tensor = {id(graph.image): of_image}
    found = {}
    for step in graph.steps:
        inputs = [of_tensor[id(each)] for each in step.inputs] or [of_image]
        sizes, steps, starts, shared = map(np.array, zip(*inputs, strict=True))
        start, stride = starts.min(axis=0), steps.max(axis=0)
        seen = _seen(step, (starts + sizes).max(axis=0) - start, stride, start, whole)
        shared = shared.max(axis=0) + _shared(step.layer, stride)
        of_tensor[id(step.output)] = *seen, shared
        if len(step.output.shape) == 4:
            found.setdefault(step.name, Field(*seen, whole, shared))
    return found


def _seen(step, size, stride, start, whole):
    layer = step.layer
    if isinstance(layer, layers.Conv2DTranspose):
        kernel, strides = np.array(layer.kernel_size), np.array(layer.strides)
        cut = np.maximum(kernel - strides, 0) // 2 if layer.padding == "same" else 0
        first = np.ceil((cut - kernel + 1) / strides)
        return size + (np.ceil(kernel / strides) - 1) * stride, stride / strides, start + first * stride
    if isinstance(layer, CONVOLUTIONS_AND_POOLINGS):
        kernel = np.array(getattr(layer, "kernel_size", None) or layer.pool_size)
        extent = (kernel - 1) * np.array(getattr(layer, "dilation_rate", 1))
        before = introspection.padding_before(layer, step.inputs[0].shape[1:3])
        return size + extent * stride, stride * np.array(layer.strides), start - before * stride
    if isinstance(layer, layers.UpSampling2D) and layer.interpolation == "nearest":
        return size, stride / layer.size, start
    if isinstance(layer, (layers.ZeroPadding2D, layers.Cropping2D)):
        rows, columns = layer.padding if isinstance(layer, layers.ZeroPadding2D) else layer.cropping
        moved = np.array([rows[0], columns[0]]) * stride
        return size, stride, start - moved if isinstance(layer, layers.ZeroPadding2D) else start + moved
    if isinstance(layer, POINTWISE) or _is_pointwise_operation(step):
        return size, stride, start
    if isinstance(layer, (layers.LayerNormalization, layers.RMSNormalization)) and layer.axis in (-1, [-1], 3, [3]):
        return size, stride, start
    return 2 * whole, stride, -whole  # wherever a place is, it sees all of the image


def _shared(layer, stride):
    """Return by how much earlier than its step says a place of enlarged maps may begin: neighbours share pixels."""
    if isinstance(layer, layers.UpSampling2D):
        return stride - stride / layer.size
    return stride - stride / np.array(layer.strides) if isinstance(layer, layers.Conv2DTranspose) else np.zeros(2)


def _is_pointwise_operation(step):
    operation = type(step.layer).__name__.lower()
    if operation in POINTWISE_OPERATIONS:
        return True
    keeps_places = all(each.shape[1:3] == step.output.shape[1:3] for each in step.inputs if len(each.shape) == 4)
    along_channels = getattr(step.layer, "axis", None) in (-1, 3, [-1], [3], (-1,), (3,))
    is_operation = not isinstance(step.layer, layers.Layer)
    return is_operation and keeps_places and (along_channels or operation == "getitem")
