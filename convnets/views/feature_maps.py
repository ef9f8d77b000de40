"""Compute what each layer makes of an image, and how much of the image each of its pixels sees."""

import dataclasses
import functools

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
    """Which pixels of the image each place of a layer's output depends on, without the padding around the image.

    rows: two arrays (height of the output,), the first row of the image that each row of the output sees, and the one
    after the last. columns: the same for columns.
    """

    rows: tuple
    columns: tuple

    @property
    def most(self):
        """(height, width): on how many pixels a place depends at most."""
        return tuple(int((ends - starts).max()) for starts, ends in (self.rows, self.columns))

    def box(self, row, column):
        """Return (top, left, height, width) of what a place sees."""
        (tops, bottoms), (lefts, rights) = self.rows, self.columns
        top, left = int(tops[row]), int(lefts[column])
        return top, left, int(bottoms[row]) - top, int(rights[column]) - left


def receptive_fields(model):
    """Return {layer name: (height, width)}: on how many pixels of the image one pixel of a layer's output depends.

    See `fields`. Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016.
    """
    return {name: field.most for name, field in fields(model).items()}


def fields(model):
    """Return {layer name: Field}, for the layers that return feature maps.

    A field is the whole image where a layer mixes all places, as global pooling does, or where what it mixes is not
    known, as behind operations on maps without channels.
    """
    graph = introspection.graph(model)
    image = graph.image.shape[1:3]
    seen = {id(graph.image): [(np.arange(size), np.arange(size) + 1) for size in image]}
    found = {}
    for step in graph.steps:
        inputs = [seen[id(each)] for each in step.inputs]
        seen[id(step.output)] = [_seen(step, axis, [each[axis] for each in inputs], image[axis]) for axis in (0, 1)]
        if len(step.output.shape) == 4:
            found.setdefault(step.name, Field(*seen[id(step.output)]))
    return found


def _seen(step, axis, inputs, image):
    """Return (starts, ends) of what the rows (axis 0) or columns (1) of a layer's output see, as in Field.

    inputs: the same for each of its inputs. image: the height or width of the image.
    """
    if _is_pointwise(step):
        starts, ends = zip(*inputs, strict=True)
        return functools.reduce(np.minimum, starts), functools.reduce(np.maximum, ends)
    size = step.output.shape[1 + axis] if len(step.output.shape) == 4 else 1
    taken = _taken(step, axis, np.arange(size))
    if taken is None:  # wherever a place is, it sees all of the image
        return np.zeros(size, int), np.full(size, image)
    (starts, ends), (first, end) = inputs[0], taken
    starts = np.append(starts, ends[-1])[np.clip(first, 0, len(starts))]  # what is beyond the edges is padding
    ends = np.insert(ends, 0, starts[0])[np.clip(end, 0, len(ends))]
    return starts, np.maximum(starts, ends)


def _taken(step, axis, places):
    """Return which rows (axis 0) or columns (1) of its input a layer computes places from: the first, and the end.

    places: numbers of rows or columns of its output. None if the layer mixes all, or is not known.
    """
    layer = step.layer
    if isinstance(layer, CONVOLUTIONS_AND_POOLINGS):
        kernel = getattr(layer, "kernel_size", None) or layer.pool_size
        extent = (kernel[axis] - 1) * np.broadcast_to(getattr(layer, "dilation_rate", 1), 2)[axis] + 1
        stride = layer.strides[axis]
        if isinstance(layer, layers.Conv2DTranspose):
            beyond = (step.inputs[0].shape[1 + axis] - 1) * stride + extent - step.output.shape[1 + axis]
            cut = max(beyond, 0) // 2 if layer.padding == "same" else 0
            return -((extent - 1 - cut - places) // stride), (places + cut) // stride + 1
        first = places * stride - introspection.padding_before(layer, step.inputs[0].shape[1:3])[axis]
        return first, first + extent
    if isinstance(layer, layers.UpSampling2D) and layer.interpolation == "nearest":
        first = places // layer.size[axis]
    elif isinstance(layer, layers.ZeroPadding2D):
        first = places - layer.padding[axis][0]
    elif isinstance(layer, layers.Cropping2D):
        first = places + layer.cropping[axis][0]
    else:
        return None
    return first, first + 1


def _is_pointwise(step):
    """Whether each pixel of the output depends on the same pixel of the inputs, or on one that counts for all.

    (Of slices with as many pixels, that is assumed: a flipped image would be taken for the image.)
    """
    layer, output = step.layer, step.output.shape
    maps = [each.shape for each in step.inputs if len(each.shape) == 4]
    if not maps or not all(each[1:3] in (output[1:3], (1, 1)) for each in maps):
        return False
    along_channels = getattr(layer, "axis", None) in (-1, 3, [-1], [3], (-1,), (3,))
    if introspection.is_softmax(layer) and hasattr(layer, "axis") and not along_channels:
        return False
    if isinstance(layer, layers.Layer):
        by_channels = isinstance(layer, (layers.LayerNormalization, layers.RMSNormalization)) and along_channels
        return isinstance(layer, POINTWISE) or by_channels
    operation = type(layer).__name__.lower()
    return operation in POINTWISE_OPERATIONS or along_channels or operation == "getitem"
