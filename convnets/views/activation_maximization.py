"""Images that excite units of a network as much as they can, found by gradient ascent: arrays only.

Erhan et al., "Visualizing Higher-Layer Features of a Deep Network", 2009 (the idea).
Olah, Mordvintsev and Schubert, "Feature Visualization", Distill 2017 (Fourier basis, decorrelated colours, jitter).
"""

import keras
import numpy as np
import pandas as pd

from convnets import backend
from convnets.errors import UserError
from convnets.views import introspection

PATH = 24  # how far an ascent in waves goes, all channels together: further, and the contrasts get louder

# How colours go together in the training images of CIFAR-10, see `colour_covariance`.
PHOTOGRAPHS = np.array([[0.0610, 0.0548, 0.0507], [0.0548, 0.0593, 0.0578], [0.0507, 0.0578, 0.0684]])


def maximize(model, layer, units=None, **options):
    """Looks for images that maximise units of one layer; see `maximize_units`, also for the options.

    layer: a convolution's or dense layer's name. units: their indices; None means all.
    """
    count = introspection.find_layer(model, layer).output.shape[-1]
    return maximize_units(model, [(layer, int(unit)) for unit in (range(count) if units is None else units)], **options)


def maximize_units(
    model, units, *, steps=40, method="fourier", colour_covariance=None, seed=0, batch_size=64, on_step=None
):
    """Looks for images that maximise units: the mean over the map of their output before the activation.

    units: pairs of a convolution's or dense layer's name and an index. steps: of the ascent.
    method: "plain", the article's: from grey noise, each step adds the gradient divided by its root mean square.
    "fourier": the image is built from waves, the long ones first, in colours that go together in
    `colour_covariance` (c, c), by default as in photographs; each step moves it, so that no unit can rely on
    single pixels. What is below zero counts for a tenth: otherwise a filter that finds edges would gain as little
    from one as from none, since the other side of each edge takes away what the one side gives.
    seed: of the noise. batch_size: images at once, at most. on_step: called after each step of each batch with the
    step's number, from 1, and the batch's images so far.
    Returns (images (n, h, w, c) float32 in [0, 1], what was maximised, for exactly these images (n,)).
    Raises UserError when there is no such layer or unit.
    """
    _check(model, units)
    ascend, slope_below_zero = {"plain": (_ascend_plainly, 1), "fourier": (_ascend_in_waves, 0.1)}[method]
    shape = model.input_shape[1:]
    batches = -(-len(units) // batch_size)
    size = -(-len(units) // batches)  # the same for all, since each shape is compiled anew
    climbs, found = {}, []
    for start in range(0, len(units), size):
        batch = units[start : start + size]
        batch = batch + batch[:1] * (size - len(batch))
        names = tuple(dict.fromkeys(name for name, _ in batch))
        if names not in climbs:
            climbs[names] = _Climb(model, names, slope_below_zero)
        climb = climbs[names].of(batch)
        # What is random comes from the seed and the unit alone, so its image is the same in any company.
        noise = [np.random.default_rng((seed, unit)) for _, unit in batch]
        movable = np.array([introspection.is_convolution(model.get_layer(name)) for name, _ in batch])
        for step, images in enumerate(
            ascend(climb, noise, shape, steps, np.random.default_rng(seed), movable, colour_covariance), start=1
        ):
            if on_step:
                on_step(step, images[: len(units) - start])
        found.append((images, climb(images)[0]))
    return tuple(np.concatenate(arrays)[: len(units)] for arrays in zip(*found, strict=True))


def _check(model, units):
    if not units:
        raise UserError("there are no units to look at: name at least one")
    for name, unit in units:
        layer = introspection.find_layer(model, name)
        if not introspection.has_units(layer):
            raise UserError(
                f"the layer {name!r} is neither a convolution nor a dense layer: it has no units of its own"
            )
        count = layer.output.shape[-1]
        if not 0 <= unit < count:
            raise UserError(f"the layer {name!r} has the units 0 to {count - 1}, and no others")


class _Climb:
    """The outputs of all units of some layers, averaged over the map, and their gradients, in one pass."""

    def __init__(self, model, names, slope_below_zero):
        layers = introspection.unfused(model)
        positions = [introspection.around_activation(layers, name)[0] for name in names]
        counts = [model.get_layer(name).output.shape[-1] for name in names]
        starts = np.cumsum([0, *counts])[:-1].tolist()
        self.first_unit = dict(zip(names, starts, strict=True))
        self.count = sum(counts)

        def scores(images, selection):
            outputs = dict(introspection.outputs_at(layers, images, positions))
            total = 0  # by matrix products, since TensorFlow's gradient of a mean over each channel is slow
            for position, first, count in zip(positions, starts, counts, strict=True):
                chosen = selection[:, first : first + count, None]  # (n, count, 1), one unit for each image
                values = keras.ops.matmul(keras.ops.reshape(outputs[position], (selection.shape[0], -1, count)), chosen)
                total += keras.ops.mean(keras.ops.leaky_relu(values, slope_below_zero), axis=(1, 2))
            return total

        self.scores_and_gradients = backend.with_gradient(scores)

    def of(self, units):
        """A function of images (n, h, w, c) that returns n units' outputs, each for its own image, and gradients."""
        selection = np.zeros((len(units), self.count), "float32")
        selection[range(len(units)), [self.first_unit[name] + unit for name, unit in units]] = 1
        return lambda images: self.scores_and_gradients(images, selection)


def unit_outputs(model, layers, images, batch_size=250):
    """How strongly images excite units: their outputs after the activation (but for a softmax), averaged over the map.

    layers: names of convolutions or dense layers. images: (n, h, w, c), uint8 or float32 in [0, 1].
    Returns {layer name: (n, units) float32}.
    """
    unfused = introspection.unfused(model)
    name_at = {introspection.around_activation(unfused, name)[1]: name for name in layers}
    parts = {name: [] for name in layers}
    for start in range(0, len(images), batch_size):
        batch = introspection.as_pixels(images[start : start + batch_size])
        for position, output in introspection.outputs_at(unfused, batch, name_at):
            parts[name_at[position]].append(keras.ops.convert_to_numpy(_mean_over_map(output)))
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def _mean_over_map(outputs):
    return keras.ops.mean(outputs, axis=(1, 2)) if len(outputs.shape) == 4 else outputs


def compare_activations(model, units, made, real=None, most=3):
    """Compares what excites units: an image made for each, and the best of many real images.

    units: n pairs of a layer's name and an index. made: (n, h, w, c). real: (m, h, w, c), or None for no comparison.
    most: how many of the real images to name.
    Returns a pandas.DataFrame, a row a unit: layer, unit; made, real: its outputs, see `unit_outputs`, real for the
    best image; ratio: made / real, where real is above zero; best: the real images' indices, the most exciting one
    first; dead: whether nothing excites it at all.
    """
    layers = list(dict.fromkeys(layer for layer, _ in units))
    by_made = unit_outputs(model, layers, made)
    by_real = unit_outputs(model, layers, real) if real is not None else {}
    rows = []
    for place, (layer, unit) in enumerate(units):
        row = {"layer": layer, "unit": unit, "made": by_made[layer][place, unit], "real": np.nan, "best": []}
        if real is not None:
            outputs = by_real[layer][:, unit]
            row["best"] = np.argsort(-outputs, kind="stable")[:most].tolist()
            row["real"] = outputs[row["best"][0]]
        rows.append(row)
    table = pd.DataFrame(rows)
    table["ratio"] = (table["made"] / table["real"]).where(table["real"] > 0)
    table["dead"] = (table["made"] == 0) & (table["real"].fillna(0) == 0)
    return table


def colour_covariance(images):
    """How the colours of images go together: the covariance (c, c) of all their pixels.

    images: (n, h, w, c) uint8.
    """
    channels = np.ascontiguousarray(images.reshape(-1, images.shape[-1]).T)  # NumPy is four times as fast on rows
    return np.atleast_2d(np.cov(channels)) / 255**2


def _uniform(generators, shape):
    return np.stack([generator.uniform(-1, 1, shape) for generator in generators]).astype("float32")


def _ascend_plainly(climb, noise, shape, steps, *_):
    images = 0.5 + 0.05 * _uniform(noise, shape)
    for _ in range(steps):
        _, gradients = climb(images)
        images = images + gradients / _root_mean_square(gradients)
        # The ascent leaves the range of pixels: to be seen, back to grey 0.5 with as much contrast as an image has.
        centred = images - images.mean(axis=(1, 2, 3), keepdims=True)
        yield (0.5 + 0.2 * centred / _root_mean_square(centred)).clip(0, 1)


def _ascend_in_waves(climb, noise, shape, steps, rng, movable, covariance):
    """Adam on the waves' amplitudes; Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015.

    movable: (n,) bool, the units that look for the same everywhere. Their images move any distance, so that no
    place is different from another, as it would be at the edges; the others by up to two pixels.
    """
    waves = Waves(shape, covariance)
    amplitudes = 0.2 * _uniform(noise, shape)
    mean, square = np.zeros_like(amplitudes), np.zeros_like(amplitudes)
    images = waves.images(amplitudes)
    for step in range(1, steps + 1):
        far, near = rng.integers(0, shape[:2]), rng.integers(-2, 3, 2)
        _, gradients = climb(_moved(images, far, near, movable))
        gradients = _moved(gradients, -far, -near, movable)
        stuck = np.flatnonzero(~gradients.any(axis=(1, 2, 3)))  # no path to the unit is active: try elsewhere
        if len(stuck):
            amplitudes[stuck] = _uniform([noise[index] for index in stuck], shape)
        gradients = waves.gradients(gradients, images)
        gradients = gradients / _root_mean_square(gradients)
        mean = 0.9 * mean + 0.1 * gradients
        square = 0.99 * square + 0.01 * gradients**2
        length = (
            PATH / shape[-1] / steps * (1 - (step - 0.5) / steps)
        )  # few steps go as far as many; the last ones are small
        # With 1 where Adam has almost 0, waves that hardly matter move less: the colours get purer, the noise less.
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
    """Images as sums of waves, long ones stronger than short ones, as in nature, in colours that go together.

    shape: (h, w, c) of an image. covariance: (c, c), of its colours; None means as in photographs. dtype: of all that
    is computed. The waves are those of the real-valued Fourier transform that is its own inverse (Hartley, 1942).
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
        """Amplitudes (n, h, w, c) as images of the same shape, in (0, 1)."""
        pixels = self._transform(amplitudes * self.strengths) @ self.colours.T
        return 1 / (1 + np.exp(-pixels))

    def gradients(self, gradients, images):
        """The gradients by `images`, turned into those by the amplitudes that they are made of."""
        return self._transform(gradients * images * (1 - images) @ self.colours) * self.strengths

    def _transform(self, arrays):
        columns_done = np.tensordot(arrays, self.columns, axes=(2, 0))  # (n, h, c, w)
        return np.tensordot(columns_done, self.rows, axes=(1, 0)).transpose(0, 3, 2, 1)


def _hartley(n):
    """The waves of length n, one a column, (n, n): orthonormal, and its own inverse."""
    angles = 2 * np.pi * np.outer(np.arange(n), np.arange(n)) / n
    return (np.cos(angles) + np.sin(angles)) / np.sqrt(n)


def _frequencies(n):
    """Of these waves, in cycles per pixel."""
    return np.abs(np.fft.fftfreq(n))
