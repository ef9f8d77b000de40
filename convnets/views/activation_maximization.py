"""Find images that maximise the output of units of a network, by gradient ascent.

Erhan et al., "Visualizing Higher-Layer Features of a Deep Network", 2009 (the idea).
Olah, Mordvintsev and Schubert, "Feature Visualization", Distill 2017 (Fourier basis, decorrelated colours, jitter).
"""

import functools
import math

import numpy as np
import pandas as pd
from keras import ops

from convnets import backend
from convnets.errors import UserError
from convnets.views import introspection

PATH = 24  # twice the length of all steps of a Fourier ascent, over all channels: a longer one exaggerates the contrast

# The covariance of the colours of CIFAR-10's training images, see `colour_covariance`.
PHOTOGRAPHS = np.array([[0.0610, 0.0548, 0.0507], [0.0548, 0.0593, 0.0578], [0.0507, 0.0578, 0.0684]])


def maximize(model, layer, units=None, **options):
    """Find images that maximise units of one layer; see `maximize_units`, also for the options.

    layer: the name of a convolution or dense layer. units: their indices. Default: all.
    """
    count = introspection.graph(model).find(layer).shape[-1]
    return maximize_units(model, [(layer, int(unit)) for unit in (range(count) if units is None else units)], **options)


def maximize_units(
    model, units, *, steps=40, method="fourier", colour_covariance=None, seed=0, batch_size=64, on_step=None
):
    """Find images that maximise units: the mean over the feature map of their output before the activation function.

    units: pairs of the name of a convolution or dense layer and an index. steps: of the gradient ascent.
    method: "plain", the article's: from grey noise, each step adds the gradient divided by its root mean square.
    "fourier": the image is a sum of waves, to which long waves contribute more than short ones, in colours with the
    covariance `colour_covariance` (c, c), by default that of photographs. Each step shifts the image at random, so that
    no unit can rely on single pixels. Negative outputs count for a tenth: otherwise a filter for edges would gain
    nothing from an edge, since the negative response on one side of it cancels the positive one on the other.
    seed: of the noise. batch_size: the most images at once. on_step: called after each step of each batch with the
    number of the step, from 1, and the images of the batch so far.
    Returns (images (n, h, w, c) float32 in [0, 1], the maximised quantity for exactly these images (n,)).
    Raises UserError when there is no such layer or unit.
    """
    graph = introspection.graph(model)
    _check(graph, units)
    ascend = {"plain": _ascend_pixels, "fourier": _ascend_waves}[method]
    shape = tuple(graph.image.shape[1:])
    batches = math.ceil(len(units) / batch_size)
    size = math.ceil(len(units) / batches)  # the same for all, since each shape is compiled anew
    found = []
    for start in range(0, len(units), size):
        batch = units[start : start + size]
        count = len(batch)
        batch = batch + batch[:1] * (size - count)
        names = tuple(dict.fromkeys(name for name, _ in batch))
        # All random numbers come from the seed and the unit, so a unit's image does not depend on the others.
        noise = [np.random.default_rng((seed, unit)) for _, unit in batch]
        movable = np.array([introspection.is_convolution(graph.find(name).layer) for name, _ in batch])
        found.append(
            ascend(
                _objective(graph, names, method), _selection(graph, names, batch), noise, shape, steps,
                on_step and (lambda step, images, count=count: on_step(step, images[:count])),
                rng=np.random.default_rng(seed), movable=movable, covariance=colour_covariance,
            )
        )  # fmt: skip
    return tuple(np.concatenate(arrays)[: len(units)] for arrays in zip(*found, strict=True))


def _check(graph, units):
    if not units:
        raise UserError("there are no units to look at: name at least one")
    for name, unit in units:
        step = graph.find(name)
        if not introspection.has_units(step.layer):
            raise UserError(f"the layer {name!r} has no units: name a convolution or dense layer")
        if not 0 <= unit < step.shape[-1]:
            raise UserError(f"the layer {name!r} has the units 0 to {step.shape[-1] - 1}, not {unit}")


@functools.lru_cache(maxsize=16)
def _objective(graph, names, method):
    """Compile what an ascent maximises, with its gradients, all units of some layers in one pass.

    Returns a function of pixels (n, h, w, c), or for "fourier" of amplitudes of the same shape, of `_selection` and,
    for "fourier", of the matrices of Waves. It returns n scores and the gradients by its first argument.
    """
    outputs = graph.model({name: graph.around_activation(graph.find(name))[0] for name in names})
    slope_below_zero = {"plain": 1, "fourier": 0.1}[method]

    def scores(images, selection):
        values, total, start = outputs(images, training=False), 0, 0
        for name in names:
            count = values[name].shape[-1]
            chosen = selection[:, start : start + count, None]  # (n, count, 1), one unit for each image
            output = ops.matmul(ops.reshape(values[name], (selection.shape[0], -1, count)), chosen)
            total += ops.mean(ops.leaky_relu(output, slope_below_zero), axis=(1, 2))
            start += count
        return total

    def scores_of_waves(amplitudes, selection, *matrices):
        return scores(add_up(amplitudes, *matrices), selection)

    return backend.with_gradient(scores if method == "plain" else scores_of_waves)


def _selection(graph, names, units):
    """Return (n, all units of the layers `names`) float32: 1 for the unit that each image is made for, else 0."""
    counts = [graph.find(name).shape[-1] for name in names]
    first = dict(zip(names, np.cumsum([0, *counts]), strict=False))
    selection = np.zeros((len(units), sum(counts)), "float32")
    selection[range(len(units)), [first[name] + unit for name, unit in units]] = 1
    return selection


def unit_outputs(model, layers, images):
    """Compute how strongly images activate units: their output after the activation function, averaged over the map.

    A softmax does not count as an activation function here.
    layers: names of convolutions or dense layers. images: (n, h, w, c), uint8 or float32 in [0, 1].
    Returns {layer name: (n, units) float32}.
    """
    graph = introspection.graph(model)
    tensors = {name: graph.around_activation(graph.find(name))[1] for name in layers}
    return introspection.predict(graph.model(graph.means(tensors)), images)


def compare_activations(model, units, made, real=None, most=3):
    """Compare what activates units: an image made for each, and the best of many real images.

    units: n pairs of a layer's name and an index. made: (n, h, w, c). real: (m, h, w, c), or None for no comparison.
    most: how many of the real images to name.
    Returns a pandas.DataFrame, a row a unit: layer, unit; made, real: its outputs, see `unit_outputs`, real for the
    best image; ratio: made / real, where real is above zero; best: the indices of the real images, the best one first;
    dead: whether nothing activates it at all.
    """
    layers = list(dict.fromkeys(layer for layer, _ in units))
    images = made if real is None else np.concatenate([introspection.as_pixels(each) for each in (made, real)])
    outputs = unit_outputs(model, layers, images)
    rows = []
    for place, (layer, unit) in enumerate(units):
        row = {"layer": layer, "unit": unit, "made": outputs[layer][place, unit], "real": np.nan, "best": []}
        if real is not None:
            by_real = outputs[layer][len(made) :, unit]
            row["best"] = np.argsort(-by_real, kind="stable")[:most].tolist()
            row["real"] = by_real[row["best"][0]]
        rows.append(row)
    table = pd.DataFrame(rows)
    table["ratio"] = (table["made"] / table["real"]).where(table["real"] > 0)
    table["dead"] = (table["made"] == 0) & (table["real"].fillna(0) == 0)
    return table


def colour_covariance(images):
    """Return the covariance of the colours of all pixels, (c, c) float.

    images: (n, h, w, c) uint8.
    """
    channels = np.ascontiguousarray(images.reshape(-1, images.shape[-1]).T)  # NumPy is four times as fast on rows
    return np.atleast_2d(np.cov(channels)) / 255**2


def _uniform(generators, shape):
    return np.stack([generator.uniform(-1, 1, shape) for generator in generators]).astype("float32")


def _ascend_pixels(objective, selection, noise, shape, steps, on_step, **_):
    images = 0.5 + 0.05 * _uniform(noise, shape)
    for step in range(1, steps + 1):
        _, gradients = objective(images, selection)
        images = images + gradients / _root_mean_square(gradients)
        if on_step:
            on_step(step, _displayable(images))
    images = _displayable(images)
    return images, objective(images, selection)[0]


def _displayable(images):
    """Rescale images that have left the range of pixels to a mean of 0.5 and the contrast of a photograph."""
    centred = images - images.mean(axis=(1, 2, 3), keepdims=True)
    return (0.5 + 0.2 * centred / _root_mean_square(centred)).clip(0, 1)


def _ascend_waves(objective, selection, noise, shape, steps, on_step, *, rng, movable, covariance):
    """Run Adam on the amplitudes of the waves; Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015.

    movable: (n,) bool, the units of convolutions, which look for the same thing everywhere. Their images are shifted by
    any distance, so that no place differs from another, as it would at the edges; the others by up to two pixels.
    """
    waves = Waves(shape, covariance)
    amplitudes = 0.2 * _uniform(noise, shape)
    mean, square = np.zeros_like(amplitudes), np.zeros_like(amplitudes)
    for step in range(1, steps + 1):
        far, near = rng.integers(0, shape[:2]), rng.integers(-2, 3, 2)
        shifts = np.where(movable[:, None], far, near)
        _, gradients = objective(amplitudes, selection, *waves.matrices(shifts))
        stuck = np.flatnonzero(~gradients.any(axis=(1, 2, 3)))  # no path to the unit is active: start again elsewhere
        if len(stuck):
            amplitudes[stuck] = _uniform([noise[index] for index in stuck], shape)
        gradients = gradients / _root_mean_square(gradients)
        mean = 0.9 * mean + 0.1 * gradients
        square = 0.99 * square + 0.01 * gradients**2
        # Few steps go as far as many, and the last ones are small.
        length = PATH / shape[-1] / steps * (1 - (step - 0.5) / steps)
        # The 1, where Adam has almost 0, slows down waves that hardly matter: purer colours, less noise.
        amplitudes += length * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.99**step)) + 1)
        if on_step:
            on_step(step, waves.images(amplitudes))
    unshifted = waves.matrices(np.zeros((len(amplitudes), 2), int))
    return waves.images(amplitudes), objective(amplitudes, selection, *unshifted)[0]


def _root_mean_square(arrays):
    return np.sqrt((arrays**2).mean(axis=(1, 2, 3), keepdims=True)) + 1e-8


class Waves:
    """Images as sums of waves: long waves are stronger than short ones, as in photographs, and colours are correlated.

    shape: (h, w, c) of an image. covariance: (c, c), of its colours. Default: that of photographs. The waves are those
    of the Hartley transform, a real-valued Fourier transform that is its own inverse (Hartley, 1942).
    """

    def __init__(self, shape, covariance=None):
        height, width, channels = shape
        if covariance is None:
            covariance = PHOTOGRAPHS if channels == 3 else np.eye(channels)
        self.rows, self.columns = _hartley(height), _hartley(width)
        frequencies = np.hypot(*np.meshgrid(_frequencies(height), _frequencies(width), indexing="ij"))
        strengths = 1 / np.maximum(frequencies, 1 / max(height, width))
        self.strengths = (strengths / np.sqrt((strengths**2).mean()))[:, :, None]
        values, vectors = np.linalg.eigh(covariance)
        colours = vectors * np.sqrt(np.maximum(values, 0))
        self.colours = colours / np.linalg.norm(colours, axis=1).max()

    def matrices(self, shifts):
        """Return the matrices that `add_up` takes, float32, for images that are shifted by shifts, (n, 2) int."""
        rows = np.stack([np.roll(self.rows, down, axis=0) for down, _ in shifts])
        columns = np.stack([np.roll(self.columns, right, axis=0) for _, right in shifts])
        return tuple(array.astype("float32") for array in (rows, columns, self.strengths, self.colours))

    def images(self, amplitudes):
        """Turn amplitudes (n, h, w, c) into images of the same shape, in (0, 1)."""
        matrices = self.matrices(np.zeros((len(amplitudes), 2), int))
        return ops.convert_to_numpy(add_up(amplitudes.astype("float32"), *matrices))


def add_up(amplitudes, rows, columns, strengths, colours):
    """Add up waves to images, on any backend; the matrices are those of Waves.

    amplitudes: (n, h, w, c). rows: (n, h, h). columns: (n, w, w). strengths: (h, w, 1). colours: (c, c).
    Returns (n, h, w, c), in (0, 1).
    """
    waves = ops.einsum("nhi,niwc->nhwc", rows, amplitudes * strengths)
    return ops.sigmoid(ops.matmul(ops.einsum("nwj,nhjc->nhwc", columns, waves), ops.transpose(colours)))


def _hartley(n):
    """Return the n waves of length n, one a column: an orthonormal matrix (n, n) that is its own inverse."""
    angles = 2 * np.pi * np.outer(np.arange(n), np.arange(n)) / n
    return (np.cos(angles) + np.sin(angles)) / np.sqrt(n)


def _frequencies(n):
    """Return the frequencies of these waves, in cycles per pixel."""
    return np.abs(np.fft.fftfreq(n))
