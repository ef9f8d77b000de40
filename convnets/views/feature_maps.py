"""Compute what each layer makes of an image, and how much of the image each of its pixels sees."""

import keras
import numpy as np
from keras import layers

from convnets.errors import UserError
from convnets.views import introspection

CONVOLUTIONS_AND_POOLINGS = (*introspection.CONVOLUTIONS, layers.MaxPooling2D, layers.AveragePooling2D)
POINTWISE = (  # each pixel of the output depends on the same pixel of the input
    *introspection.ACTIVATIONS,
    layers.Add,
    layers.Subtract,
    layers.Multiply,
    layers.Average,
    layers.Maximum,
    layers.Minimum,
    layers.Concatenate,
    layers.BatchNormalization,
    layers.Dense,
    layers.Dropout,
    layers.SpatialDropout2D,
    layers.GaussianNoise,
    layers.GaussianDropout,
    layers.Normalization,
    layers.Rescaling,
    layers.ZeroPadding2D,
    layers.Cropping2D,
)


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
    dropout = (layers.Dropout, layers.SpatialDropout2D)  # it does nothing outside of training
    steps = graph.first_steps(lambda layer: isinstance(layer, layers.Layer) and not isinstance(layer, dropout))
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
        alive[step.name] = keras.ops.any(keras.ops.not_equal(after, 0), axis=tuple(range(1, len(after.shape) - 1)))
    if not alive:
        return {}
    is_alive = introspection.predict(graph.model(alive), images)
    return {name: np.flatnonzero(~each.any(axis=0)).tolist() for name, each in is_alive.items()}


def receptive_fields(model):
    """Return {layer name: (height, width)}: on how many pixels of the image one pixel of a layer's output depends.

    It covers the layers that return feature maps. A field is the image's size where a layer mixes all places, as global
    pooling does. Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016.
    """
    graph = introspection.graph(model)
    whole = np.array(graph.image.shape[1:3], dtype=float)
    one = np.ones(2)
    of_tensor = {id(graph.image): (one, one)}  # (pixels seen, pixels from one place to the next)
    fields = {}
    for step in graph.steps:
        inputs = [of_tensor[id(each)] for each in step.inputs]
        field, stride = (np.max(values, axis=0) for values in zip(*inputs, strict=True)) if inputs else (one, one)
        of_tensor[id(step.output)] = field, stride = _seen(step, field, stride, whole)
        if len(step.output.shape) == 4:
            fields.setdefault(step.name, tuple(map(int, np.minimum(np.ceil(field), whole))))
    return fields


def _seen(step, field, stride, whole):
    layer = step.layer
    if isinstance(layer, layers.Conv2DTranspose):
        stride = stride / layer.strides
        return field + (np.ceil(np.divide(layer.kernel_size, layer.strides)) - 1) * stride * layer.strides, stride
    if isinstance(layer, CONVOLUTIONS_AND_POOLINGS):
        extent = np.array(getattr(layer, "kernel_size", None) or layer.pool_size) - 1
        return field + extent * getattr(layer, "dilation_rate", 1) * stride, stride * layer.strides
    if isinstance(layer, layers.UpSampling2D):
        return field, stride / layer.size
    is_operation = not isinstance(layer, layers.Layer)  # +, * and the like
    if isinstance(layer, POINTWISE) or (is_operation and len(step.output.shape) == 4):
        return field, stride
    if isinstance(layer, layers.LayerNormalization) and layer.axis in (-1, [-1], 3, [3]):
        return field, stride
    return whole, stride
