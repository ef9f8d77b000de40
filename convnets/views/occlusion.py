"""Which parts of an image a network's answer depends on: hide them, one patch after the other.

Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2014.
How far to trust a map: Petsiuk, Das and Saenko, "RISE", 2018 (deletion and insertion).
"""

from dataclasses import dataclass

import keras
import numpy as np

from convnets.errors import UserError
from convnets.views import introspection


@dataclass(frozen=True)
class Occlusion:
    """What a network returned while an image was hidden patch by patch.

    original: (outputs,), for the whole image. outputs: (n, outputs), with each of the patches hidden.
    corners: (n, 2) int, the top and left of each patch, row by row. patch: its height and width. image_size: (h, w).
    """

    original: np.ndarray
    outputs: np.ndarray
    corners: np.ndarray
    patch: tuple[int, int]
    image_size: tuple[int, int]

    def mean_over_patches(self, values):
        """Spreads a value for each patch, (n,), over the image, (h, w): at a pixel, the mean of all patches over it."""
        total, count = np.zeros(self.image_size), np.zeros(self.image_size)
        for (top, left), value in zip(self.corners, values, strict=True):
            covered = np.s_[top : top + self.patch[0], left : left + self.patch[1]]
            total[covered] += value
            count[covered] += 1
        return (total / count).astype("float32")

    def drop_map(self, index):
        """(h, w) float32: by how much hiding a pixel lowers the output `index`, on average over its patches."""
        return self.mean_over_patches(self.original[index] - self.outputs[:, index])

    def predictions(self):
        """(rows of patches, columns of patches) int: the most probable class with each of the patches hidden."""
        rows = len(np.unique(self.corners[:, 0]))
        return self.outputs.argmax(axis=1).reshape(rows, -1)

    def probabilities(self):
        """The same occlusion with the softmax of its outputs, which must be logits."""
        return Occlusion(_softmax(self.original), _softmax(self.outputs), self.corners, self.patch, self.image_size)


def occlusion_map(
    model, image, class_index, *, patch=(4, 4), stride=(1, 1), baseline=0.5, score="probability", batch_size=512
):
    """Measures how much a network's score for a class depends on each pixel of an image.

    image: (h, w, c) float32 in [0, 1]. patch, stride: (height, width) in pixels. baseline: see `background`.
    score: "probability"; "logit", before the softmax; or "output", whatever the model returns.
    Returns (h, w) float32: at each pixel the mean of score(image) - score(occluded image) over all patches that
    cover it. Raises UserError when patches don't fit the image or would leave out pixels.
    """
    scored = model if score == "output" else introspection.logits(model)
    occlusion = occlude(scored, image, patch=patch, stride=stride, baseline=baseline, batch_size=batch_size)
    return (occlusion.probabilities() if score == "probability" else occlusion).drop_map(class_index)


def occlude(model, image, *, patch=(4, 4), stride=(1, 1), baseline=0.5, batch_size=512):
    """Runs a network on an image with each patch hidden in turn; arguments as for occlusion_map. Returns an Occlusion.

    The last row and column of patches end at the image's edge, whatever the stride.
    """
    (height, width, _), (rows, columns) = image.shape, patch
    tops, lefts = _starts(height, rows, stride[0]), _starts(width, columns, stride[1])
    corners = np.stack(np.meshgrid(tops, lefts, indexing="ij"), axis=-1).reshape(-1, 2)
    network = _PatchedNetwork(model, image, patch, corners)
    hidden = background(image, baseline)
    outputs = []
    for start in range(0, len(corners), batch_size):
        batch = slice(start, start + batch_size)
        patches = [hidden[top : top + rows, left : left + columns] for top, left in corners[batch]]
        outputs.append(network(np.stack(patches), batch))
    original = introspection.predict(model, image[None])[0]
    return Occlusion(original, np.concatenate(outputs), corners, tuple(patch), (height, width))


def background(image, baseline):
    """What stands in for a hidden pixel, as an image (h, w, c).

    baseline: a grey level in [0, 1]; a colour (c values); "mean", the image's mean colour; "blur", the image
    itself, blurred beyond recognition; or an image (h, w, c).
    """
    if isinstance(baseline, str):
        if baseline not in ("mean", "blur"):
            raise UserError(f"no baseline is called {baseline!r}: use mean, blur, or a value from 0 to 1")
        baseline = image.mean(axis=(0, 1)) if baseline == "mean" else _blur(image, sigma=image.shape[0] / 6)
    return np.broadcast_to(np.asarray(baseline, dtype="float32"), image.shape)


def _blur(image, sigma):
    """A Gaussian blur, sigma in pixels; at the edges the weights that lie in the image are scaled up to 1."""
    for _ in range(2):  # rows, then columns
        positions = np.arange(len(image))
        weights = np.exp(-((positions[:, None] - positions) ** 2) / (2 * sigma**2))
        image = np.tensordot(weights / weights.sum(axis=1, keepdims=True), image, axes=1).swapaxes(0, 1)
    return image.astype("float32")


def _starts(size, patch, stride):
    if not 1 <= patch <= size:
        raise UserError(f"a patch of {patch} pixels does not fit into {size}: take one from 1 to {size}")
    if not 1 <= stride <= patch:
        raise UserError(f"a stride of {stride} leaves pixels between patches of {patch}: take one from 1 to {patch}")
    starts = list(range(0, size - patch + 1, stride))
    return starts if starts[-1] == size - patch else [*starts, size - patch]


def _softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


POINTWISE = (
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.ELU,
    keras.layers.Rescaling,
    keras.layers.Dropout,
    keras.layers.SpatialDropout2D,
    keras.layers.GaussianNoise,
    keras.layers.GaussianDropout,
)


# ---------------------------------------------------------------- a network that computes only what has changed


class _PatchedNetwork:
    """Computes a network's outputs for versions of one image that differ from it in one small window.

    A changed patch leaves most of the first layers' outputs as they were. Convolution by convolution only the
    window that it can reach is computed again, out of the layer's input around it; once the window has grown to most
    of the map, it is pasted into the unchanged map, and the rest of the network runs as usual.
    """

    LARGEST_SHARE = 0.8  # of a map that is worth computing as a window

    def __init__(self, model, image, patch, corners):
        self.steps = []  # (layer, its geometry or None, the unchanged input, corners of input and output windows, size)
        layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
        unchanged, size = np.asarray(image, dtype="float32"), tuple(patch)
        while layers and (_is_pointwise(layers[0]) or _Geometry.fits(layers[0])):
            layer = layers[0]
            after = keras.ops.convert_to_numpy(layer(unchanged[None], training=False))[0]
            geometry, new_corners, new_size = None, corners, size
            if not _is_pointwise(layer):
                geometry = _Geometry(layer, unchanged.shape, after.shape)
                new_corners, new_size = geometry.reached(corners, size)
                if np.prod(new_size) > self.LARGEST_SHARE * np.prod(after.shape[:2]):
                    break
            self.steps.append((layer, geometry, unchanged, corners, new_corners, new_size))
            unchanged, corners, size = after, new_corners, new_size
            layers.pop(0)
        self.unchanged, self.corners, self.rest = unchanged, corners, layers

    def __call__(self, windows, batch):
        """windows: (n, height, width, c), what the patches `batch`, a slice of the corners, hold now."""
        for layer, geometry, unchanged, corners, new_corners, new_size in self.steps:
            if geometry is None:
                windows = keras.ops.convert_to_numpy(layer(windows, training=False))
            else:
                inputs = geometry.inputs(unchanged, windows, corners[batch], new_corners[batch], new_size)
                windows = keras.ops.convert_to_numpy(geometry.apply(layer, inputs))
        maps = np.repeat(self.unchanged[None], len(windows), axis=0)
        _paste(windows, maps, self.corners[batch])
        return keras.ops.convert_to_numpy(introspection.run(self.rest, maps))


def _paste(windows, maps, corners):
    """Puts each window into its map, at its corner; what lies beyond the map's edges is left out."""
    (height, width), (rows, columns) = windows.shape[1:3], maps.shape[1:3]
    for window, into, (top, left) in zip(windows, maps, corners.tolist(), strict=True):
        up, aside = max(-top, 0), max(-left, 0)
        down, across = min(height, rows - top), min(width, columns - left)
        if up < down and aside < across:  # else it lies in what a layer's stride leaves out
            into[top + up : top + down, left + aside : left + across] = window[up:down, aside:across]


def _is_pointwise(layer):
    """Whether each pixel of the layer's output depends on the same pixel of its input alone."""
    if isinstance(layer, keras.layers.BatchNormalization):
        return layer.axis in (-1, 3)
    return isinstance(layer, POINTWISE)


class _Geometry:
    """Which inputs of a convolution or pooling layer an output depends on, along both axes."""

    @staticmethod
    def fits(layer):
        """Whether the layer is one of those that are computed window by window."""
        if getattr(layer, "data_format", None) != "channels_last":
            return False
        if type(layer) is keras.layers.Conv2D:  # TensorFlow miscalculates some narrow inputs with unequal strides
            return len(set(layer.strides)) == 1
        return type(layer) in (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D) and layer.padding == "valid"

    def __init__(self, layer, input_shape, output_shape):
        is_convolution = type(layer) is keras.layers.Conv2D
        kernel = np.array(layer.kernel_size if is_convolution else layer.pool_size)
        dilation = np.array(layer.dilation_rate if is_convolution else (1, 1))
        self.stride = np.array(layer.strides)
        self.extent = dilation * (kernel - 1) + 1  # pixels from the first to the last that one output sees
        self.input_size, self.output_size = np.array(input_shape[:2]), np.array(output_shape[:2])
        missing = np.maximum((self.output_size - 1) * self.stride + self.extent - self.input_size, 0)
        self.padding = missing // 2 if layer.padding == "same" else 0 * missing  # before the first pixel

    def reached(self, corners, size):
        """The windows of outputs that windows of inputs can change: their corners (n, 2), all of one size."""
        first = -((self.extent - 1 - self.padding - corners) // self.stride)  # rounded up
        last = (corners + np.array(size) - 1 + self.padding) // self.stride
        first, last = np.maximum(first, 0), np.minimum(last, self.output_size - 1)
        new_size = np.maximum((last - first + 1).max(axis=0), 1)
        return np.minimum(first, self.output_size - new_size), tuple(map(int, new_size))

    def inputs(self, unchanged, windows, corners, new_corners, new_size):
        """The layer's inputs for windows of outputs: the unchanged map, zero beyond its edges, with `windows` in it."""
        starts = new_corners * self.stride - self.padding
        needed = (np.array(new_size) - 1) * self.stride + self.extent
        before, after = self.padding, np.maximum(starts.max(axis=0) + needed - self.input_size, 0)
        padded = np.pad(unchanged, [(before[0], after[0]), (before[1], after[1]), (0, 0)])
        views = np.moveaxis(np.lib.stride_tricks.sliding_window_view(padded, needed, axis=(0, 1)), 2, -1)
        tops, lefts = (starts + before).T
        inputs = views[tops, lefts]  # copies: (n, height, width, c)
        _paste(windows, inputs, corners - starts)
        return inputs

    def apply(self, layer, inputs):
        """The layer without its padding, which `inputs` bring along."""
        if not isinstance(layer, keras.layers.Conv2D):
            return layer(inputs)
        outputs = keras.ops.conv(
            inputs, layer.kernel, strides=layer.strides, padding="valid", dilation_rate=layer.dilation_rate
        )
        if layer.use_bias:
            outputs = outputs + layer.bias
        return layer.activation(outputs)


# ---------------------------------------------------------------- how far to trust a map


@dataclass(frozen=True)
class Removal:
    """What becomes of a class's score while an image's pixels are removed, or inserted, in an order.

    shares: (steps + 1,) the share of pixels, from 0 to 1. deletion, insertion: (steps + 1,) scores.
    """

    shares: np.ndarray
    deletion: np.ndarray
    insertion: np.ndarray

    @property
    def deletion_area(self):
        """Mean score after each step of deletion: small when the first pixels to go were the important ones."""
        return float(self.deletion[1:].mean())

    @property
    def insertion_area(self):
        """Mean score after each step of insertion: large when the first pixels to come were the important ones."""
        return float(self.insertion[1:].mean())


def removal(model, image, class_index, importance, *, baseline="blur", steps=32, batch_size=256):
    """Removes an image's pixels in the order of a map, the most important first, and inserts them in the same order.

    importance: (h, w). steps: into how many equal parts the pixels are divided. baseline: see `background`.
    Returns a Removal with the model's output `class_index` as score.
    """
    order = np.argsort(-importance, axis=None, kind="stable")
    rank = np.empty(order.size, dtype=int)
    rank[order] = np.arange(order.size)
    shares = np.linspace(0, 1, min(steps, order.size) + 1)
    gone = rank.reshape(1, *importance.shape, 1) < np.rint(shares * order.size).reshape(-1, 1, 1, 1)
    hidden = background(image, baseline)
    images = np.concatenate([np.where(gone, hidden, image), np.where(gone, image, hidden)]).astype("float32")
    deletion, insertion = np.split(introspection.predict(model, images, batch_size)[:, class_index], 2)
    return Removal(shares, deletion, insertion)


def chance_curves(model, image, class_index, importance, *, repeats=4, seed=0, **options):
    """What `removal` gives for orders that know nothing: the mean of some random ones, of two kinds.

    Returns {"random order": pixel by pixel, "same map elsewhere": the map itself, mirrored and moved at random}. Single
    random pixels spoil an image like noise, whatever they show; a map moved elsewhere spoils it as gently as the map.
    """
    rng = np.random.default_rng(seed)
    shuffled = [rng.random(importance.shape) for _ in range(repeats)]
    moved = [
        np.roll(importance[:, :: rng.choice([-1, 1])], rng.integers(importance.shape), (0, 1)) for _ in range(repeats)
    ]
    return {
        kind: _mean([removal(model, image, class_index, order, **options) for order in orders])
        for kind, orders in {"random order": shuffled, "same map elsewhere": moved}.items()
    }


def _mean(removals):
    deletion, insertion = (
        np.mean([getattr(each, kind) for each in removals], axis=0) for kind in ("deletion", "insertion")
    )
    return Removal(removals[0].shares, deletion, insertion)
