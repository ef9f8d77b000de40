"""Find images that maximise the output of units of a network, by gradient ascent.

Erhan et al., "Visualizing Higher-Layer Features of a Deep Network", 2009 (the idea).
Olah, Mordvintsev and Schubert, "Feature Visualization", Distill 2017 (Fourier basis, decorrelated colours, jitter).
"""

import keras
import numpy as np
import pandas as pd

from convnets import backend
from convnets.errors import UserError
from convnets.views import introspection

PATH = 24  # total length of the steps of a Fourier ascent, over all channels: a longer path exaggerates the contrast

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
    ascend, slope_below_zero = {"plain": (_ascend_pixels, 1), "fourier": (_ascend_waves, 0.1)}[method]
    shape = tuple(graph.image.shape[1:])
    batches = -(-len(units) // batch_size)
    size = -(-len(units) // batches)  # the same for all, since each shape is compiled anew
    objectives, found = {}, []
    for start in range(0, len(units), size):
        batch = units[start : start + size]
        batch = batch + batch[:1] * (size - len(batch))
        names = tuple(dict.fromkeys(name for name, _ in batch))
        if names not in objectives:
            objectives[names] = _Objective(graph, names, slope_below_zero)
        objective = objectives[names].of(batch)
        # All random numbers come from the seed and the unit, so a unit's image does not depend on the others.
        noise = [np.random.default_rng((seed, unit)) for _, unit in batch]
        movable = np.array([introspection.is_convolution(graph.find(name).layer) for name, _ in batch])
        for step, images in enumerate(
            ascend(objective, noise, shape, steps, np.random.default_rng(seed), movable, colour_covariance), start=1
        ):
            if on_step:
                on_step(step, images[: len(units) - start])
        found.append((images, objective(images)[0]))
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


class _Objective:
    """The outputs of all units of some layers, averaged over the feature map, and their gradients, in one pass."""

    def __init__(self, graph, names, slope_below_zero):
        steps = [graph.find(name) for name in names]
        counts = [step.shape[-1] for step in steps]
        starts = np.cumsum([0, *counts])[:-1].tolist()
        self.first_unit = dict(zip(names, starts, strict=True))
        self.count = sum(counts)
        outputs = graph.model({step.name: graph.around_activation(step)[0] for step in steps})

        def scores(images, selection):
            values = outputs(images, training=False)
            total = 0  # by matrix products, since TensorFlow's gradient of a mean over each channel is slow
            for name, first, count in zip(names, starts, counts, strict=True):
                chosen = selection[:, first : first + count, None]  # (n, count, 1), one unit for each image
                score = keras.ops.matmul(keras.ops.reshape(values[name], (selection.shape[0], -1, count)), chosen)
                total += keras.ops.mean(keras.ops.leaky_relu(score, slope_below_zero), axis=(1, 2))
            return total

        self.scores_and_gradients = backend.with_gradient(scores)

    def of(self, units):
        """Return a function of images (n, h, w, c): the output of n units, each for its own image, and gradients."""
        selection = np.zeros((len(units), self.count), "float32")
        selection[range(len(units)), [self.first_unit[name] + unit for name, unit in units]] = 1
        return lambda images: self.scores_and_gradients(images, selection)


def unit_outputs(model, layers, images):
    """Compute how strongly images activate units: their output after the activation function, averaged over the map.

    A softmax does not count as an activation function here.
    layers: names of convolutions or dense layers. images: (n, h, w, c), uint8 or float32 in [0, 1].
    Returns {layer name: (n, units) float32}.
    """
    graph = introspection.graph(model)
    tensors = {name: graph.around_activation(graph.find(name))[1] for name in layers}
    means = {
        name: keras.ops.mean(each, axis=(1, 2)) if len(each.shape) == 4 else each for name, each in tensors.items()
    }
    return introspection.predict(graph.model(means), images)


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


def _ascend_pixels(objective, noise, shape, steps, *_):
    images = 0.5 + 0.05 * _uniform(noise, shape)
    for _ in range(steps):
        _, gradients = objective(images)
        images = images + gradients / _root_mean_square(gradients)
        # The ascent leaves the range of pixels. For display, rescale to a mean of 0.5 and the contrast of a photograph.
        centred = images - images.mean(axis=(1, 2, 3), keepdims=True)
        yield (0.5 + 0.2 * centred / _root_mean_square(centred)).clip(0, 1)


def _ascend_waves(objective, noise, shape, steps, rng, movable, covariance):
    """Run Adam on the amplitudes of the waves; Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015.

    movable: (n,) bool, the units of convolutions, which look for the same thing everywhere. Their images are shifted by
    any distance, so that no place differs from another, as it would at the edges; the others by up to two pixels.
    """
    waves = Waves(shape, covariance)
    amplitudes = 0.2 * _uniform(noise, shape)
    mean, square = np.zeros_like(amplitudes), np.zeros_like(amplitudes)
    images = waves.images(amplitudes)
    for step in range(1, steps + 1):
        far, near = rng.integers(0, shape[:2]), rng.integers(-2, 3, 2)
        _, gradients = objective(_moved(images, far, near, movable))
        gradients = _moved(gradients, -far, -near, movable)
        stuck = np.flatnonzero(~gradients.any(axis=(1, 2, 3)))  # no path to the unit is active: start again elsewhere
        if len(stuck):
            amplitudes[stuck] = _uniform([noise[index] for index in stuck], shape)
        gradients = waves.gradients(gradients, images)
        gradients = gradients / _root_mean_square(gradients)
        mean = 0.9 * mean + 0.1 * gradients
        square = 0.99 * square + 0.01 * gradients**2
        # Few steps go as far as many, and the last ones are small.
        length = PATH / shape[-1] / steps * (1 - (step - 0.5) / steps)
        # The 1, where Adam has almost 0, slows down waves that hardly matter: purer colours, less noise.
        amplitudes += length * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.99**step)) + 1)
        images = waves.images(amplitudes)
        yield images


def _moved(images, far, near, movable):
    moved = np.empty_like(images)
    moved[movable] = np.roll(images[movable], far, axis=(1, 2))
    moved[~movable] = np.roll(images[~movable], near, axis=(1, 2))
    return moved


def _root_mean_square(arrays):
    return np.sqrt((arrays**2).mean(axis=(1, 2, 3), keepdims=True)) + 1e-8


class Waves:
    """Images as sums of waves: long waves are stronger than short ones, as in photographs, and colours are correlated.

    shape: (h, w, c) of an image. covariance: (c, c), of its colours. Default: that of photographs. dtype: of all
    arrays. The waves are those of the Hartley transform, a real-valued Fourier transform that is its own inverse
    (Hartley, 1942).
    """

    def __init__(self, shape, covariance=None, dtype="float32"):
        height, width, channels = shape
        if covariance is None:
            covariance = PHOTOGRAPHS if channels == 3 else np.eye(channels)
        self.rows, self.columns = _hartley(height).astype(dtype), _hartley(width).astype(dtype)
        frequencies = np.hypot(*np.meshgrid(_frequencies(height), _frequencies(width), indexing="ij"))
        strengths = 1 / np.maximum(frequencies, 1 / max(height, width))
        self.strengths = (strengths / np.sqrt((strengths**2).mean()))[:, :, None].astype(dtype)
        values, vectors = np.linalg.eigh(covariance)
        colours = vectors * np.sqrt(np.maximum(values, 0))
        self.colours = (colours / np.linalg.norm(colours, axis=1).max()).astype(dtype)

    def images(self, amplitudes):
        """Turn amplitudes (n, h, w, c) into images of the same shape, in (0, 1)."""
        pixels = self._transform(amplitudes * self.strengths) @ self.colours.T
        return 1 / (1 + np.exp(-pixels))

    def gradients(self, gradients, images):
        """Turn gradients by the images into gradients by their amplitudes."""
        return self._transform(gradients * images * (1 - images) @ self.colours) * self.strengths

    def _transform(self, arrays):
        columns_done = np.tensordot(arrays, self.columns, axes=(2, 0))  # (n, h, c, w)
        return np.tensordot(columns_done, self.rows, axes=(1, 0)).transpose(0, 3, 2, 1)


def _hartley(n):
    """Return the n waves of length n, one a column: an orthonormal matrix (n, n) that is its own inverse."""
    angles = 2 * np.pi * np.outer(np.arange(n), np.arange(n)) / n
    return (np.cos(angles) + np.sin(angles)) / np.sqrt(n)


def _frequencies(n):
    """Return the frequencies of these waves, in cycles per pixel."""
    return np.abs(np.fft.fftfreq(n))
