"""Bring any image classifier that Keras saves into one form: pixels in [0, 1] in, class probabilities out."""

import math

import keras
import numpy as np
from keras import layers, ops

from convnets.data.datasets import at_once
from convnets.errors import UserError
from convnets.views import introspection

PIXEL_RANGES = {"0..1": (1, 0), "-1..1": (2, -1), "0..255": (255, 0)}  # scale and offset, from [0, 1]
FLEXIBLE_SIZE = 96  # pixels, the size of an image for a network that takes any, unless a dataset or the reader says so
LARGEST_MAPS = 2**29  # values in one layer's output for the images that are computed at once: 2 GiB
SCALINGS = ("Divide", "TrueDivide", "Subtract")  # operations with which some of keras.applications scale pixels
KEEP_PIXELS = (  # layers that keep the range of the pixels
    layers.InputLayer,
    layers.Identity,
    layers.ZeroPadding2D,
    layers.Cropping2D,
    layers.CenterCrop,
    layers.RandomCrop,
    layers.Resizing,
    *introspection.TRAINING_ONLY,
)


def as_classifier(model, path, *, pixels=None, image_size=None):
    """Return a network as a keras.Model of images (n, h, w, 1 or 3), float32 in [0, 1], to class probabilities.

    A softmax is added behind logits, and a single sigmoid output becomes the probabilities of two classes. A network
    that returns probabilities otherwise, such as the mean of two softmaxes, keeps them. Layers and weights are shared
    with `model`.

    path: where the network comes from, for messages. pixels: the range that the network takes, "0..1", "-1..1" or
    "0..255". Default: what its first layers suggest, else 0..1. image_size: height and width, for a network that takes
    any size.
    Raises UserError if the network has several inputs or outputs, or is no image classifier.
    """
    height, width, channels = _image_shape(model, path)
    if image_size and {height, width} - {None, image_size}:
        raise UserError(f"the network in {path} takes images of {height} x {width} pixels: leave out --image-size")
    shape = (height or image_size or FLEXIBLE_SIZE, width or image_size or FLEXIBLE_SIZE, channels)
    if pixels is None:
        guess = guess_pixels(model)
        pixels, reason = (guess, "as its first layers suggest") if guess else ("0..1", "an assumption")
        print(f"Pixels: the network takes {pixels}, {reason}; --pixels names another range.")
    scale, offset = PIXEL_RANGES[pixels]
    image = keras.Input(shape)
    scaled = image if (scale, offset) == (1, 0) else layers.Rescaling(scale, offset, name="pixels_in_range")(image)
    adapted = keras.Model(image, keras.tree.flatten(model.call(scaled))[0], name=model.name)
    graph = introspection.graph(adapted)
    for step in graph.steps:
        if math.prod(size or 1 for size in step.shape) * at_once(introspection.MOST_AT_ONCE, shape) > LARGEST_MAPS:
            raise UserError(f"the network in {path} is too large: {step.name} returns {_text(step.shape)} values")
    if len(graph.output.shape) != 2:
        raise UserError(
            f"the network in {path} is not supported: it returns {_text(graph.output.shape[1:])} values for an image, "
            "where a classifier returns one for each class"
        )
    probabilities = _probabilities(adapted, graph, path)
    return adapted if probabilities is graph.output else keras.Model(graph.image, probabilities)


def _probabilities(model, graph, path):
    """Return the symbolic class probabilities of a network: its output, or what is added behind it."""
    last, classes = graph.steps[-1], graph.output.shape[-1]
    returns_logits = not introspection.is_activation(last.layer) or introspection.is_linear(last.layer)
    logits = graph.output if returns_logits else last.inputs[0]
    if returns_logits and not introspection.has_units(last.layer) and _returns_probabilities(model, graph):
        print("The network returns probabilities, though it does not end in a softmax or sigmoid.")
        logits = _LogitsOf(name="logits_of_probabilities")(graph.output)
    elif returns_logits and classes > 1:
        print("The network returns logits: a softmax is added.")
    if classes == 1 and (returns_logits or introspection.is_sigmoid(last.layer)):
        print("The network has one output: it is read as the probability of the second of two classes.")
        return _two_classes(logits)
    if returns_logits:
        return layers.Softmax(name="probabilities")(logits)
    if introspection.is_softmax(last.layer):
        return graph.output
    raise UserError(
        f"the network in {path} is not supported: it ends in {last.name}, but it must end in a softmax, in logits, or "
        "in a sigmoid with one output"
    )


def _returns_probabilities(model, graph):
    """Whether a network that does not end in a softmax or sigmoid returns probabilities all the same, as their mean.

    What it returns for random images must lie in [0, 1] and, for several classes, add up to 1, as no logits do. A
    single logit may lie there: it must be computed of softmaxes or sigmoids, by nothing that has weights.
    """
    images = np.random.default_rng(0).random((8, *model.input_shape[1:]), dtype="float32")
    outputs = introspection.predict(model, images)
    if not ((outputs >= 0).all() and (outputs <= 1).all()):
        return False
    return np.allclose(outputs.sum(axis=1), 1, atol=1e-2) if outputs.shape[1] > 1 else _is_of_probabilities(graph)


def _is_of_probabilities(graph):
    by_output, waiting = {id(step.output): step for step in graph.steps}, [graph.output]
    for tensor in waiting:
        step = by_output.get(id(tensor))
        if step is None:  # the image
            return False
        if introspection.is_activation(step.layer) and not introspection.is_linear(step.layer):
            if not (introspection.is_softmax(step.layer) or introspection.is_sigmoid(step.layer)):
                return False
        elif getattr(step.layer, "weights", ()):
            return False
        else:
            waiting += step.inputs
    return True


class _LogitsOf(layers.Layer):
    """The logits of probabilities (n, classes), or of a probability (n, 1)."""

    def call(self, probabilities):
        sure = ops.clip(probabilities, 1e-7, 1 - 1e-7)
        return ops.log(sure) if sure.shape[-1] > 1 else ops.log(sure) - ops.log(1 - sure)


def takes_any_size(model):
    """Whether a network takes images of any height and width."""
    inputs = getattr(model, "inputs", None) or ()  # a Sequential that was never built has none
    return len(inputs) == 1 and None in inputs[0].shape[1:]


def guess_pixels(model):
    """Return the range of pixels that a network's first layers suggest, "0..255", or None."""
    shape = [size or FLEXIBLE_SIZE for size in model.input_shape[1:]]
    image = keras.Input(shape)
    for step in introspection.graph(keras.Model(image, model.call(image))).steps:
        match step.layer:
            case layers.Rescaling(scale=scale):
                return "0..255" if np.max(scale) < 1 / 64 else None
            case layers.Normalization(mean=mean):
                return "0..255" if np.max(keras.ops.convert_to_numpy(mean)) > 2 else None
            case layer if isinstance(layer, KEEP_PIXELS):
                continue
            case layer if type(layer).__name__ in SCALINGS:
                return "0..255" if max(step.constants, default=0) > 64 else None
            case layer if type(layer).__name__ == "Multiply":
                return "0..255" if 0 < max(step.constants, default=0) < 1 / 64 else None
            case _:
                return None
    return None


def _two_classes(logit):
    """Return symbolic probabilities (1 - p, p) for the logit of p."""
    both = layers.Dense(2, use_bias=False, name="two_classes")  # softmax(-z/2, z/2) is (1 - sigmoid(z), sigmoid(z))
    logits = both(logit)
    both.set_weights([np.array([[-0.5, 0.5]])])
    return layers.Softmax(name="probabilities")(logits)


def _image_shape(model, path):
    """Return (height, width, channels); height and width are None where any size will do."""
    if not hasattr(model, "inputs") or not model.inputs:
        raise UserError(f"the network in {path} is not supported: expected a Sequential or Functional model")
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise UserError(
            f"the network in {path} has {len(model.inputs)} inputs and {len(model.outputs)} outputs: "
            "expected one image and one vector of probabilities"
        )
    shape = tuple(model.inputs[0].shape[1:])
    if len(shape) != 3 or shape[-1] not in (1, 3):
        raise UserError(
            f"the network in {path} is not supported: it takes {_text(shape)} values, "
            "not an image (height, width, 1 or 3 channels)"
        )
    return shape


def _text(shape):
    return " x ".join("any" if size is None else str(size) for size in shape)
