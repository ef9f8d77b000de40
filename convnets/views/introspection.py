"""A network's inside: its layers by type and order, the outputs before an activation, and gradients."""

import functools

import keras
import numpy as np

from convnets.data.datasets import scale_pixels
from convnets.errors import UserError


def predict(model, images, batch_size=250):
    """Runs a network on uint8 images, or on float32 pixels in [0, 1], a batch at a time.

    images: (n, height, width, channels). Returns its outputs, (n, ...) float32.
    """
    pays_to_compile = len(images) > 1000
    run = model.predict_on_batch if pays_to_compile else functools.partial(model, training=False)
    return np.concatenate(
        [
            keras.ops.convert_to_numpy(run(as_pixels(images[start : start + batch_size])))
            for start in range(0, len(images), batch_size)
        ]
    )


def as_pixels(images):
    """What a network takes, float32 in [0, 1], of uint8 images or of what is in [0, 1] already."""
    return scale_pixels(images) if images.dtype == np.uint8 else images.astype("float32")


ACTIVATIONS = (
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ELU,
    keras.layers.Softmax,
)


def is_softmax(layer):
    return isinstance(layer, keras.layers.Softmax) or getattr(layer, "activation", None) is keras.activations.softmax


def logits(model):
    """The same network without the softmax at its end: a model that returns logits, (n, classes).

    Raises UserError when there is no softmax at its end.
    """
    last = model.layers[-1]
    if not is_softmax(last):
        raise UserError(f"the network ends in {last.name}, not in a softmax, so its logits are not known")
    output = last.input if isinstance(last, ACTIVATIONS) else _without_activation(last)(last.input)
    return keras.Model(model.inputs[0], output)


def unfused(model):
    """A network's layers behind the input, in order, each activation function as a layer of its own."""
    layers = []
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        if isinstance(layer, ACTIVATIONS) or is_linear(layer):
            layers.append(layer)
        else:
            layers += [_without_activation(layer), keras.layers.Activation(layer.activation)]
    return layers


def is_linear(layer):
    """Whether it has no activation function of its own, and is none."""
    return (
        not isinstance(layer, ACTIVATIONS)
        and getattr(layer, "activation", keras.activations.linear) is keras.activations.linear
    )


def _without_activation(layer):
    linear = type(layer).from_config({**layer.get_config(), "activation": "linear"})
    linear.build(layer.input.shape)
    linear.set_weights(layer.get_weights())
    return linear


def around_activation(layers, name):
    """Finds a layer's activation function, perhaps behind a normalisation, in the layers of `unfused`.

    Returns two positions: of the last output before it, and of the output after it. Both are the same where there
    is no such function, or a softmax, which mixes the units.
    """
    before = [layer.name for layer in layers].index(name)
    following = before + 1
    while following < len(layers) and isinstance(layers[following], keras.layers.BatchNormalization):
        following += 1
    if following == len(layers) or not isinstance(layers[following], ACTIVATIONS):
        return before, before
    return following - 1, following - 1 if is_softmax(layers[following]) else following


def run(layers, x):
    """Runs a batch through layers, one after the other."""
    for layer in layers:
        x = layer(x, training=False)
    return x


def outputs_at(layers, x, positions):
    """Runs a batch through layers as far as needed, and yields (position, output) for each of these positions.

    (A `keras.Model` of several layers' `output` would run a network several times: the layers of a Sequential
    that Keras has loaded keep the graphs of all the shorter networks that it was while it grew.)
    """
    for position, layer in enumerate(layers[: max(positions) + 1]):
        x = layer(x, training=False)
        if position in positions:
            yield position, x


def is_convolution(layer):
    return isinstance(layer, (keras.layers.Conv2D, keras.layers.SeparableConv2D, keras.layers.DepthwiseConv2D))


def has_units(layer):
    """Whether it is a convolution or a dense layer."""
    return is_convolution(layer) or isinstance(layer, keras.layers.Dense)


def convolutions(model):
    """The convolution layers, in order."""
    return [layer for layer in model.layers if is_convolution(layer)]


def find_layer(model, name):
    """A layer by its name. Raises UserError that lists the names when there is none of this name."""
    layers = {layer.name: layer for layer in model.layers}
    if name not in layers:
        raise UserError(f"the network has no layer {name!r}: it has {', '.join(layers)}")
    return layers[name]
