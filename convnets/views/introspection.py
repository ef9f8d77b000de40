"""Look inside a network: its layers, the tensors between them, its logits and its predictions."""

import dataclasses
import functools
import math

import keras
import numpy as np
from keras import layers

from convnets.data.datasets import at_once, scale_pixels
from convnets.errors import UserError
from convnets.training import model_files

MOST_AT_ONCE = 128  # images
CONVOLUTIONS = (layers.Conv2D, layers.SeparableConv2D, layers.DepthwiseConv2D, layers.Conv2DTranspose)
TRAINING_ONLY = (  # layers that pass an image on as it is, outside of training: dropout, noise, augmentation
    layers.Dropout,
    layers.SpatialDropout2D,
    layers.AlphaDropout,
    layers.GaussianNoise,
    layers.GaussianDropout,
    layers.AugMix,
    layers.CutMix,
    layers.MixUp,
    *(getattr(layers, name) for name in dir(layers) if name.startswith("Rand") and name != "RandomCrop"),
)
ACTIVATIONS = (layers.Activation, layers.ReLU, layers.LeakyReLU, layers.PReLU, layers.ELU, layers.Softmax)
ACTIVATION_OPERATIONS = {  # the classes of keras.ops.relu and the like, in lower case
    "celu", "elu", "gelu", "hardshrink", "hardsigmoid", "hardsilu", "hardtanh", "leakyrelu", "logsigmoid", "relu",
    "relu6", "selu", "sigmoid", "silu", "softmax", "softplus", "softshrink", "softsign", "sparseplus", "squareplus",
    "tanh", "tanhshrink", "threshold",
}  # fmt: skip
NORMALIZATIONS = (
    layers.BatchNormalization,
    layers.LayerNormalization,
    layers.GroupNormalization,
    layers.RMSNormalization,
)


def predict(model, images, batch_size=None):
    """Compute a network's outputs for many images.

    It runs compiled, in batches of one size: the last one is filled up, so that nothing is compiled twice.
    model: a keras.Model with one output, or a dict of them. images: (n, height, width, channels), uint8 or float32 in
    [0, 1]. batch_size: default 128, or fewer images if they are larger than 32x32, which take more memory.
    Returns float32 (n, ...), or a dict of such arrays.
    """
    batch_size = batch_size or at_once(MOST_AT_ONCE, images.shape[1:])
    batches = math.ceil(len(images) / batch_size)
    size = math.ceil(len(images) / batches)
    outputs = []
    for start in range(0, len(images), size):
        batch = as_pixels(images[start : start + size])
        fill = np.repeat(batch[-1:], size - len(batch), axis=0)
        outputs.append(model.predict_on_batch(np.concatenate([batch, fill]) if len(fill) else batch))
    return keras.tree.map_structure(lambda *parts: np.concatenate(parts)[: len(images)].astype("float32"), *outputs)


def as_pixels(images):
    """Return images as a network takes them, float32 in [0, 1]: uint8 images are scaled, others only converted."""
    return scale_pixels(images) if images.dtype == np.uint8 else images.astype("float32")


def is_activation(layer):
    """Whether it only applies an activation function, as a layer or as an operation such as keras.ops.softmax."""
    is_operation = not isinstance(layer, keras.Layer) and type(layer).__name__.lower() in ACTIVATION_OPERATIONS
    return is_operation or isinstance(layer, ACTIVATIONS)


def is_softmax(layer):
    return _computes(layer, "softmax") or isinstance(layer, layers.Softmax)


def is_sigmoid(layer):
    return _computes(layer, "sigmoid")


def is_linear(layer):
    """Whether it is a layer with the activation function "linear", as one at the end of a network in float16 is."""
    return isinstance(layer, keras.Layer) and _computes(layer, "linear")


def _computes(layer, name):
    if isinstance(layer, keras.Layer):
        return getattr(layer, "activation", None) is getattr(keras.activations, name)
    return type(layer).__name__.lower() == name  # an operation


def is_convolution(layer):
    return isinstance(layer, CONVOLUTIONS)


def padding_before(layer, height_width):
    """Return how many rows and columns of padding a layer adds at the top and at the left of its input, as (2,) int.

    layer: a convolution, but no transposed one, or a pooling. height_width: of its input.
    """
    if layer.padding != "same":
        return np.zeros(2, dtype=int)
    kernel = np.array(getattr(layer, "kernel_size", None) or layer.pool_size)
    extent = (kernel - 1) * np.array(getattr(layer, "dilation_rate", 1)) + 1
    height_width, strides = np.array(height_width), np.array(layer.strides)
    both_sides = np.maximum((-(-height_width // strides) - 1) * strides + extent - height_width, 0)
    return both_sides // 2  # where they are odd in number, one more goes to the bottom and the right


def has_units(layer):
    """Whether it is a convolution or a dense layer."""
    return is_convolution(layer) or isinstance(layer, layers.Dense)


@dataclasses.dataclass(frozen=True)
class Step:
    """One call of a layer. inputs: the symbolic tensors that it takes. output: the one that it returns.

    If it returns several, each has a step of its own.
    name: the layer's, or NAME_activation for the activation function built into the layer NAME.
    """

    layer: keras.Operation
    name: str
    inputs: tuple
    output: keras.KerasTensor
    call: object  # a function: {id of a tensor: its replacement} -> output
    constants: tuple = ()  # the numbers that it takes besides tensors; of an array, the largest

    @property
    def shape(self):
        """The output's shape for one image, without the batch."""
        return self.output.shape[1:]


class Graph:
    """A network as a list of steps in the order of computation.

    Models inside the model are taken apart, and an activation function that is built into a layer is a step of its own.
    Layers and weights are shared with the network.

    image: the symbolic input, (height, width, channels) for one image. output: the symbolic output. steps: see Step.
    """

    def __init__(self, model):
        self.steps = []
        self._split, self._models = {}, {}
        model_files.make_names_usable(model)
        self.image = keras.Input(model.input_shape[1:])
        flat = keras.Model(self.image, model.call(self.image))
        while any(map(_is_graph, flat.layers)):  # each round takes the outermost models apart
            flat = _rebuild(flat, lambda layer, *args, **options: _inside(layer)(*args, **options))
        flat = _rebuild(flat, self._call)
        self.image, self.output = flat.inputs[0], flat.outputs[0]

    def _call(self, layer, *args, **options):
        if type(layer).__name__ == "ConvertToTensor":  # what Keras puts before a model inside a model; changes nothing
            return args[0]
        if isinstance(layer, WithoutActivation):  # the model was made of another graph's tensors
            return self._record(layer.layer, layer, *args, **options)
        if not has_units(layer) or layer.activation in (None, keras.activations.linear):
            return self._record(layer, layer, *args, **options)
        if id(layer) not in self._split:
            activation = BuiltInActivation(layer.activation, name=f"{layer.name}_activation")
            self._split[id(layer)] = WithoutActivation(layer), activation
        linear, activation = self._split[id(layer)]
        return self._record(activation, activation, self._record(layer, linear, *args, **options))

    def _record(self, layer, operation, *args, **options):
        def call(replacements):
            arguments = keras.tree.map_structure(lambda each: replacements.get(id(each), each), (args, options))
            return operation(*arguments[0], **arguments[1])

        taken = keras.tree.flatten((args, options))
        inputs = tuple(each for each in taken if isinstance(each, keras.KerasTensor))
        numbers = (each for each in taken if isinstance(each, (int, float, np.number, np.ndarray)))
        constants = tuple(np.max(each) for each in numbers if np.size(each))
        output = call({})
        for number, each in enumerate(keras.tree.flatten(output)):

            def one(replacements, number=number):
                return keras.tree.flatten(call(replacements))[number]

            self.steps.append(Step(layer, operation.name, inputs, each, one, constants))
        return output

    def find(self, name):
        """Return the first step of a layer. Raises UserError that lists the layers when there is none of this name."""
        for step in self.steps:
            if step.name == name:
                return step
        names = ", ".join(step.name for step in self.first_steps(lambda layer: True))
        raise UserError(f"the network has no layer {name!r}: it has {names}")

    def first_steps(self, wanted):
        """Return the steps of the layers that satisfy `wanted`. Of several calls of a layer, the first one counts."""
        steps = (step for step in self.steps if not isinstance(step.layer, BuiltInActivation) and wanted(step.layer))
        return list({step.name: step for step in reversed(list(steps))}.values())[::-1]

    def layer_output(self, step):
        """Return the tensor that a step's layer returns, after the activation function that is built into it."""
        following = self.following(step)
        return following.output if following and isinstance(following.layer, BuiltInActivation) else step.output

    def following(self, step):
        """Return the step that takes a step's output; None where there is none, or several."""
        steps = [other for other in self.steps if any(each is step.output for each in other.inputs)]
        return steps[0] if len(steps) == 1 else None

    def around_activation(self, step):
        """Return the tensors before and after a layer's activation function, which may follow a normalization.

        Both are the layer's output where no activation function follows. A softmax does not count: it mixes the units.
        """
        before, following = step, self.following(step)
        while following and isinstance(following.layer, NORMALIZATIONS):
            before, following = following, self.following(following)
        if not following or not is_activation(following.layer):
            return step.output, step.output
        return before.output, before.output if is_softmax(following.layer) else following.output

    @property
    def logits(self):
        """The symbolic logits. Raises UserError when the network does not end in a softmax."""
        last = self.steps[-1]  # a softmax is a step of its own, unless it was taken off already
        if not (is_activation(last.layer) and is_softmax(last.layer)):
            raise UserError(f"the network ends in {last.name}, not in a softmax, so its logits are not known")
        return last.inputs[0]

    def means(self, tensors):
        """Return {name: symbolic tensor (n, values)} for such a dict: feature maps and tokens by their means.

        (By layers, whose names no network has. Operations, such as keras.ops.mean, would be named like its own.)
        """
        pooling = {3: layers.GlobalAveragePooling1D, 4: layers.GlobalAveragePooling2D}
        return {
            name: pooling[len(each.shape)](name=f"mean_of_{name}")(each) if len(each.shape) in pooling else each
            for name, each in tensors.items()
        }

    def model(self, outputs):
        """Return a keras.Model from the image to symbolic tensors, one or a dict of them.

        For the graph's own tensors it is made once, since its first prediction takes long.
        """
        tensors = keras.tree.flatten(outputs)
        if not {id(each) for each in tensors} <= {id(step.output) for step in self.steps}:
            return keras.Model(self.image, outputs)
        key = tuple(outputs) if isinstance(outputs, dict) else None, *map(id, tensors)
        if key not in self._models:
            self._models[key] = keras.Model(self.image, outputs)
        return self._models[key]

    def model_with_offset(self, tensor):
        """Return a keras.Model of an image and an offset that is added to `tensor` on the way to the output.

        The gradient by the offset, at zero, is the gradient by the tensor.
        """
        offset = keras.Input(tensor.shape[1:])
        changed = {id(tensor): layers.Add(name="with_offset")([tensor, offset])}  # a name that no network has
        for step in self.steps:
            if any(id(each) in changed for each in step.inputs):
                changed[id(step.output)] = step.call(changed)
        return keras.Model([self.image, offset], changed.get(id(self.output), self.output))


class BuiltInActivation(layers.Activation):
    """The activation function that was built into a layer, as a layer of its own."""


class WithoutActivation(layers.Wrapper):
    """A layer without its built-in activation function. It shares the layer's weights."""

    def __init__(self, layer):
        super().__init__(layer, name=layer.name, dtype=layer.dtype_policy)

    def call(self, inputs):
        linear = object.__new__(type(self.layer))  # Keras has no shallow copy; other threads may use the layer itself
        linear.__dict__.update(self.layer.__dict__, activation=keras.activations.linear)
        return linear(inputs)

    def compute_output_shape(self, input_shape):
        return self.layer.compute_output_shape(input_shape)


def _is_graph(layer):
    return isinstance(layer, (keras.Sequential, keras.Function))


def _inside(layer):
    return layer.call if _is_graph(layer) else layer


def _rebuild(model, call):
    return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)


@functools.lru_cache(maxsize=8)
def graph(model):
    """Return a network's Graph. It is made once for a network."""
    return Graph(model)


@functools.lru_cache(maxsize=8)
def logits(model):
    """Return the network without the softmax at its end: a keras.Model that returns logits, (n, classes).

    Raises UserError when there is no softmax at its end.
    """
    return graph(model).model(graph(model).logits)


@functools.lru_cache(maxsize=8)
def logits_and_features(model):
    """Return a keras.Model of the logits and of what the last convolution or dense layer takes as its input.

    It returns {"logits": (n, classes), "features": (n, features)}. Feature maps and tokens count by their means.
    Without such a layer, the features are the logits. Raises UserError when there is no softmax at the network's end.
    """
    units = graph(model).first_steps(has_units)
    features = graph(model).means({"features": units[-1].inputs[0] if units else graph(model).logits})
    return graph(model).model({"logits": graph(model).logits, **features})


def convolutions(model):
    """Return the steps of the convolution layers, in order."""
    return graph(model).first_steps(is_convolution)
