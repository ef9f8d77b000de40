"""What the layers of a network make of an image, and what of the image a pixel of theirs can see: arrays only."""

import keras
import numpy as np

from convnets.errors import UserError
from convnets.views import introspection


def layer_outputs(model, images, layers=None):
    """Runs images through a network and keeps what comes out of its layers.

    images: (n, h, w, c), uint8 or float32 in [0, 1]. layers: their names; None means every convolution.
    Returns {layer name: outputs (n, ...) float32}, in their order. Raises UserError when there is no such layer.
    """
    if layers is None:
        layers = [layer.name for layer in introspection.convolutions(model)]
    if not layers:
        raise UserError("the network has no convolution layer, so there are no feature maps to see")
    position = {name: model.layers.index(introspection.find_layer(model, name)) for name in layers}
    parts = []
    for start in range(0, len(images), 100):
        batch = introspection.as_pixels(images[start : start + 100])
        parts.append(dict(introspection.outputs_at(model.layers, batch, position.values())))
    return {
        name: np.concatenate([keras.ops.convert_to_numpy(part[place]) for part in parts])
        for name, place in position.items()
    }


def steps(model):
    """The names of all layers that change the image on its way: convolutions, activations, poolings and the like."""
    unchanging = (keras.layers.InputLayer, keras.layers.Dropout, keras.layers.SpatialDropout2D)
    return [layer.name for layer in model.layers if len(layer.output.shape) == 4 and not isinstance(layer, unchanging)]


def dead_channels(model, images, batch_size=100):
    """Finds the channels that no image activates.

    Returns {convolution's name: list of the channels whose output, after the activation that follows it, is zero
    at every pixel of every image}.
    """
    layers = introspection.unfused(model)
    names = [layer.name for layer in introspection.convolutions(model)]
    name_at = {introspection.around_activation(layers, name)[1]: name for name in names}
    alive = dict.fromkeys(names, False)
    for start in range(0, len(images), batch_size):
        batch = introspection.as_pixels(images[start : start + batch_size])
        for position, output in introspection.outputs_at(layers, batch, name_at):
            alive[name_at[position]] |= keras.ops.convert_to_numpy(keras.ops.any(output != 0, axis=(0, 1, 2)))
    return {name: np.flatnonzero(~channels).tolist() for name, channels in alive.items()}


def receptive_fields(model):
    """Returns {layer name: (height, width)}: how many pixels of the image one pixel of a layer's output depends on.

    Layers after the first one that is not two-dimensional (Flatten, say) are left out. Dumoulin and Visin, "A guide
    to convolution arithmetic for deep learning", 2016.
    """
    fields, field, step = {}, np.array([1, 1]), np.array([1, 1])
    for layer in model.layers:
        if len(layer.output.shape) != 4:
            break
        extent = np.array(getattr(layer, "kernel_size", getattr(layer, "pool_size", (1, 1))))
        extent = (extent - 1) * np.array(getattr(layer, "dilation_rate", (1, 1)))
        field = field + extent * step
        step = step * np.array(getattr(layer, "strides", (1, 1)))
        fields[layer.name] = tuple(map(int, np.minimum(field, model.input_shape[1:3])))
    return fields
