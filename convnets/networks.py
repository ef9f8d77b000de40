"""A network's inside: its layers by type and order, the outputs before an activation, and gradients."""

import keras
import numpy as np

from convnets.datasets import scale_pixels
from convnets.errors import UserError


def predict(model, images, batch_size=256):
    """Runs a network on uint8 images, or on float32 pixels in [0, 1], a batch at a time, without compiling it first.

    images: (n, height, width, channels). Returns its outputs, (n, ...) float32.
    """
    outputs = []
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        outputs.append(keras.ops.convert_to_numpy(model(as_pixels(batch), training=False)))
    return np.concatenate(outputs)


def as_pixels(images):
    """What a network takes, float32 in [0, 1], of uint8 images or of what is in [0, 1] already."""
    return scale_pixels(images) if images.dtype == np.uint8 else images.astype("float32")


def logits(model):
    """The same network without the softmax at its end: a model that returns logits, (n, classes).

    Raises UserError when there is no softmax at its end.
    """
    last = model.layers[-1]
    activation = getattr(last, "activation", None)
    if not isinstance(last, keras.layers.Softmax) and activation is not keras.activations.softmax:
        raise UserError(f"the network ends in {last.name}, not in a softmax, so its logits are not known")
    return keras.Model(model.inputs[0], before_activation(last))


def before_activation(layer):
    """What a layer computes before its activation function, as a symbolic output of the network that it is in."""
    if isinstance(layer, (keras.layers.Activation, keras.layers.Softmax, keras.layers.ReLU, keras.layers.LeakyReLU)):
        return layer.input
    if getattr(layer, "activation", keras.activations.linear) is keras.activations.linear:
        return layer.output
    linear = type(layer).from_config({**layer.get_config(), "activation": "linear"})
    output = linear(layer.input)
    linear.set_weights(layer.get_weights())
    return output


def tail(model, first):
    """The part of a Sequential network from the layer `first` on, as a network of its own with the same weights."""
    position = model.layers.index(first)
    outputs = inputs = keras.Input(first.input.shape[1:])
    for layer in model.layers[position:]:
        outputs = layer(outputs)
    return keras.Model(inputs, outputs)


def next_layer(model, layer):
    return model.layers[model.layers.index(layer) + 1]


def with_its_activation(model, layer):
    """The activation layer right after a layer, or else the layer itself."""
    activations = (keras.layers.Activation, keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.ELU)
    following = next_layer(model, layer)
    return following if isinstance(following, activations) else layer


def is_convolution(layer):
    return isinstance(layer, (keras.layers.Conv2D, keras.layers.SeparableConv2D, keras.layers.DepthwiseConv2D))


def convolutions(model):
    """The convolution layers, in order."""
    return [layer for layer in model.layers if is_convolution(layer)]


def find_layer(model, name):
    """A layer by its name. Raises UserError that lists the names when there is none of this name."""
    layers = {layer.name: layer for layer in model.layers}
    if name not in layers:
        raise UserError(f"the network has no layer {name!r}: it has {', '.join(layers)}")
    return layers[name]


def with_gradient(function):
    """Makes of `function` another one that returns its gradient, too. The one place where backends differ.

    function: takes a batch of arrays (n, ...), and perhaps constants; returns (n,): a score for each of the batch.
    Returns a function of the same float32 numpy arrays that returns (scores (n,), gradients by the first array
    (n, ...)), both numpy; it is compiled at its first call for each shape, where the backend compiles.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        @tf.function
        def scores_and_gradients(x, *constants):
            with tf.GradientTape() as tape:
                tape.watch(x)
                scores = function(x, *constants)
            return scores, tape.gradient(scores, x)

        def call(*arrays):
            scores, gradients = scores_and_gradients(*map(tf.constant, arrays))
            return scores.numpy(), gradients.numpy()

    elif backend == "jax":
        import jax

        def total(x, *constants):
            scores = function(x, *constants)
            return scores.sum(), scores

        compiled = jax.jit(jax.grad(total, has_aux=True))

        def call(*arrays):
            gradients, scores = compiled(*arrays)
            return np.asarray(scores), np.asarray(gradients)

    elif backend == "torch":
        import torch

        def call(*arrays):
            x, *constants = map(keras.ops.convert_to_tensor, arrays)
            x = x.clone().requires_grad_()
            scores = function(x, *constants)
            (gradients,) = torch.autograd.grad(scores.sum(), x)
            return keras.ops.convert_to_numpy(scores), keras.ops.convert_to_numpy(gradients)

    else:
        raise UserError(f"there are no gradients on Keras's {backend} backend: set KERAS_BACKEND=tensorflow")
    return call
