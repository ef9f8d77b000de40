"""Images that excite one unit of a network as much as they can, found by gradient ascent: arrays only.

Erhan et al., "Visualizing Higher-Layer Features of a Deep Network", 2009 (the idea).
Olah, Mordvintsev and Schubert, "Feature Visualization", Distill 2017 (Fourier basis, decorrelated colours, jitter).
"""

import keras
import numpy as np

from convnets import networks
from convnets.errors import UserError


def maximize(model, layer, units=None, *, steps=40, method="fourier", colour_covariance=None, seed=0, batch_size=64):
    """Looks for images that maximise units of a layer: their output before the activation, averaged over the map.

    layer: a convolution or dense layer's name. units: their indices; None means all. steps: of the ascent.
    method: "plain", the article's: from grey noise, each step adds the gradient divided by its root mean square.
    "fourier": the image is built from waves, the long ones first, in colours that go together in
    `colour_covariance` (c, c), see there; each step moves it a little, so that no unit can rely on single pixels.
    seed: of the noise. batch_size: images at once.
    Returns (images (n, h, w, c) float32 in [0, 1], the units' activations for exactly these images (n,)).
    Raises UserError when there is no such layer or unit.
    """
    chosen = networks.find_layer(model, layer)
    output = networks.before_activation(chosen)
    if not isinstance(chosen, (keras.layers.Conv2D, keras.layers.Dense)):
        raise UserError(f"the layer {layer!r} is neither a convolution nor a dense layer: it has no units of its own")
    count = output.shape[-1]
    units = np.arange(count) if units is None else np.asarray(units)
    if not len(units) or units.min() < 0 or units.max() >= count:
        raise UserError(f"the layer {layer!r} has the units 0 to {count - 1}, and no others")
    inside = keras.Model(model.inputs[0], output)

    def activation(images, selection):
        outputs = inside(images, training=False)
        means = (
            keras.ops.mean(outputs, axis=tuple(range(1, len(outputs.shape) - 1))) if len(outputs.shape) > 2 else outputs
        )
        return keras.ops.sum(means * selection, axis=-1)

    ascend = {"plain": _ascend_plainly, "fourier": _ascend_in_waves}[method]
    climb = networks.with_gradient(activation)
    images, activations = [], []
    for start in range(0, len(units), batch_size):
        batch = units[start : start + batch_size]
        selected = np.resize(batch, min(batch_size, len(units)))  # one shape for all batches, compiled once
        selection = np.eye(count, dtype="float32")[selected]

        def scores_and_gradients(images, selection=selection):
            return climb(images, selection)

        shape = model.input_shape[1:]
        noise = np.stack([np.random.default_rng((seed, int(unit))).uniform(-1, 1, shape) for unit in selected])
        found = ascend(scores_and_gradients, noise, steps, np.random.default_rng(seed), colour_covariance)
        images.append(found[: len(batch)])
        activations.append(scores_and_gradients(found)[0][: len(batch)])
    return np.concatenate(images), np.concatenate(activations)


def colour_covariance(images):
    """How the colours of images go together: the covariance (c, c) of all their pixels.

    images: (n, h, w, c) uint8.
    """
    pixels = images.reshape(-1, images.shape[-1]) / 255
    return np.atleast_2d(np.cov(pixels, rowvar=False))


def _ascend_plainly(scores_and_gradients, noise, steps, *_):
    images = (0.5 + 0.05 * noise).astype("float32")
    for _ in range(steps):
        _, gradients = scores_and_gradients(images)
        images += gradients / _root_mean_square(gradients)
    # The ascent has left the range of pixels: back to grey 0.5 with as much contrast as an image has.
    images -= images.mean(axis=(1, 2, 3), keepdims=True)
    return (0.5 + 0.2 * images / _root_mean_square(images)).clip(0, 1)


def _ascend_in_waves(scores_and_gradients, noise, steps, rng, covariance):
    """Adam on the waves' amplitudes; Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015."""
    waves = Waves(noise.shape[1:], covariance)
    amplitudes = 0.2 * noise
    mean, square = np.zeros(noise.shape), np.zeros(noise.shape)
    for step in range(1, steps + 1):
        images = waves.images(amplitudes)
        shift = tuple(rng.integers(-2, 3, 2))
        _, gradients = scores_and_gradients(np.roll(images, shift, axis=(1, 2)))
        stuck = ~gradients.any(axis=(1, 2, 3))  # no path to the unit is active: try elsewhere
        amplitudes[stuck] = rng.uniform(-1, 1, amplitudes[stuck].shape)
        gradients = np.roll(gradients, (-shift[0], -shift[1]), axis=(1, 2)) / _root_mean_square(gradients)
        gradients = waves.gradients(gradients, images)
        mean = 0.9 * mean + 0.1 * gradients
        square = 0.99 * square + 0.01 * gradients**2
        amplitudes += 0.1 * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.99**step)) + 1e-8)
    return waves.images(amplitudes)


def _root_mean_square(arrays):
    return np.sqrt((arrays**2).mean(axis=(1, 2, 3), keepdims=True)) + 1e-8


class Waves:
    """Images as sums of waves, long ones stronger than short ones, as in nature, in colours that go together.

    shape: (h, w, c) of an image. covariance: (c, c), of its colours; None for independent ones.
    The waves are those of the real-valued Fourier transform that is its own inverse (Hartley, 1942).
    """

    def __init__(self, shape, covariance=None):
        height, width, channels = shape
        self.rows, self.columns = _hartley(height), _hartley(width)
        frequencies = np.hypot(*np.meshgrid(_frequencies(height), _frequencies(width), indexing="ij"))
        strengths = 1 / np.maximum(frequencies, 1 / max(height, width))
        self.strengths = (strengths / np.sqrt((strengths**2).mean()))[:, :, None]
        values, vectors = np.linalg.eigh(np.eye(channels) if covariance is None else covariance)
        colours = vectors * np.sqrt(np.maximum(values, 0))
        self.colours = colours / np.linalg.norm(colours, axis=1).max()

    def images(self, amplitudes):
        """Amplitudes (n, h, w, c) as images of the same shape, float32 in (0, 1)."""
        pixels = self._transform(amplitudes * self.strengths) @ self.colours.T
        return (1 / (1 + np.exp(-pixels))).astype("float32")

    def gradients(self, gradients, images):
        """The gradients by `images`, turned into those by the amplitudes that they are made of."""
        return self._transform(gradients * images * (1 - images) @ self.colours) * self.strengths

    def _transform(self, arrays):
        return np.einsum("ij,njwc,wk->nikc", self.rows, arrays, self.columns, optimize=True)


def _hartley(n):
    """The waves of length n, one a column, (n, n): orthonormal, and its own inverse."""
    angles = 2 * np.pi * np.outer(np.arange(n), np.arange(n)) / n
    return (np.cos(angles) + np.sin(angles)) / np.sqrt(n)


def _frequencies(n):
    """Of these waves, in cycles per pixel."""
    return np.abs(np.fft.fftfreq(n))
