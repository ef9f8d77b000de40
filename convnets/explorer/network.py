"""A trained network as the page uses it: everything that the views compute of it, each thing once."""

import functools
import threading

import keras
import numpy as np

from convnets import files
from convnets.data import datasets
from convnets.explorer import at_hand
from convnets.training import checkpoints
from convnets.views import (
    activation_maximization,
    attribution,
    evaluation,
    faithfulness,
    feature_maps,
    introspection,
    labels,
    occlusion,
    runs,
    separability,
)

SAMPLE = 1000  # test images, of which the most activating ones are shown; training images, for their colours
STEPS = 16  # of the ascent that makes an image
SOME = 4  # images made at a time: a fifth of a second, after which others have their turn

_loading = threading.Lock()


def load(name, data_dir=None):
    """Return the Network of a run in models/ or models/stashed/. Tabs of the browser share it until it trains on."""
    path = at_hand.folder_of(name)
    with _loading:
        newest = max(map(files.modified, path.glob("epoch-*.json")), default=0)
        loaded = _load(path, newest, data_dir)
        if loaded.run.note:  # the reader may mend the files
            _load.cache_clear()
        return loaded


@functools.lru_cache(maxsize=4)
def _load(path, newest, data_dir):
    return Network(runs.load(path, data_dir=data_dir, data_needed=False, load_dataset=at_hand.load_dataset))


class Network:
    """A runs.Run and what the views say of it.

    busy: held by what computes more than the answer for one image. Keras builds the parts of a network that compute a
    view when they are first used, and only one at a time can be built.
    """

    def __init__(self, run):
        self.run, self.busy = run, threading.RLock()
        self.names = run.class_names
        graph = introspection.graph(run.model)
        with_units = [step.name for step in graph.first_steps(introspection.has_units)]
        every = [step.name for step in graph.first_steps(lambda layer: True)]
        self.with_maps, self.with_units = set(feature_maps.map_layers(run.model)), set(with_units)
        self.layers = [name for name in every if name in self.with_maps | self.with_units]
        self.has_convolutions = bool(introspection.convolutions(run.model))
        self.is_digits = run.trained_on in ("mnist", "digits")
        self._made, self._responses = {}, {}
        blank = np.zeros((1, *run.model.input_shape[1:]), "float32")
        self.answer(blank[0])
        introspection.predict(run.model, np.repeat(blank, 2, axis=0))

    def has_test_images_of(self, other):
        """Whether the number of a test image means the same picture to both networks."""
        one, two = self.run.dataset, other.run.dataset
        if one is None or two is None:
            return one is two and self.run.trained_on == other.run.trained_on
        if one.pictures is None or two.pictures is None:
            return one.key == two.key
        return one.pictures[["file", "part", "class"]].equals(two.pictures[["file", "part", "class"]])

    # ------------------------------------------------------------ one image

    def answer(self, image):
        """Return (probabilities (classes,), unfamiliarity or None) of an image (h, w, c); see calibration."""
        probabilities, unfamiliarity = self.run.answer(image[None])
        return probabilities[0], None if unfamiliarity is None else float(unfamiliarity[0])

    def outputs(self, image):
        """Return {layer name: what it makes of an image, (h, w, channels) or (units,)}. Tokens count by their mean."""
        with self.busy:
            found = feature_maps.layer_outputs(self.run.model, image[None], self.layers)
        return {name: values[0].mean(axis=0) if values.ndim == 3 else values[0] for name, values in found.items()}

    def occlude(self, image, patch, baseline):
        """Return the occlusion.Occlusion of an image's logits."""
        size = (patch, patch)
        stride = occlusion.default_stride(image, size)
        with self.busy:
            return occlusion.occlude(
                introspection.logits(self.run.model),
                image,
                patch=size,
                stride=stride,
                baseline=self.run.colour(baseline),
            )

    def explanations(self, image, target, patch, baseline):
        """Yield (title, map (h, w), its faithfulness.Comparison) of the methods, the fastest first.

        Each map comes twice, first without its comparison, which takes longer. Grad-CAM needs a convolution.
        """
        with self.busy:
            logits = introspection.logits(self.run.model)
        hidden = self.run.colour(baseline)
        methods = {
            "Occlusion": lambda: self.occlude(image, patch, baseline).drop_map(target),
            "Grad-CAM": lambda: attribution.grad_cam(logits, image, target),
            "Integrated gradients": lambda: attribution.integrated_gradients(
                logits, image, target, baseline=hidden
            ).attributions.sum(axis=-1),
        }
        if not self.has_convolutions:
            del methods["Grad-CAM"]
        for title, method in methods.items():
            with self.busy:
                importance = method()
            yield title, importance, None
            with self.busy:
                comparison = faithfulness.compare_with_chance(
                    logits, image, target, importance, baseline=hidden, score=self.run.probabilities
                )
            yield title, importance, comparison

    # ------------------------------------------------------------ layers and their channels

    def filters(self, layer, channel):
        """Return a channel's weights, (inputs, height, width), or None if its layer is no ordinary convolution."""
        found = introspection.graph(self.run.model).find(layer).layer
        # Other kinds of convolution order their weights in other ways.
        if not isinstance(found, keras.layers.Conv2D) or channel >= found.filters:
            return None
        return found.get_weights()[0][..., channel].transpose(2, 0, 1)

    @functools.cached_property
    def fields(self):
        """{layer: feature_maps.Field}: which pixels of the image a place in the layer's output sees."""
        return feature_maps.fields(self.run.model)

    @functools.cached_property
    def dead(self):
        """{convolution: its channels that no test image of a sample activates}."""
        dataset = self.run.dataset
        with self.busy:
            return feature_maps.dead_channels(self.run.model, dataset.some(dataset.x_test, SAMPLE)) if dataset else {}

    def strongest(self, layer, channel, most=8):
        """Return the numbers of the test images, of a sample, that activate a channel most; none without a dataset."""
        if layer not in self.with_units or not self.run.dataset:
            return []
        dataset = self.run.dataset
        with self.busy:
            if layer not in self._responses:
                images = dataset.some(dataset.x_test, SAMPLE)
                self._responses[layer] = activation_maximization.unit_outputs(self.run.model, [layer], images)[layer]
        numbers = dataset.some(np.arange(len(dataset.x_test)), SAMPLE)
        return numbers[np.argsort(-self._responses[layer][:, channel], kind="stable")[:most]].tolist()

    def made(self, layer, first, channels):
        """Yield (channel, image that activates it most) for a range of channels, those around `first` first."""
        groups = [channels[start : start + SOME] for start in range(0, len(channels), SOME)]
        for group in sorted(groups, key=lambda group: abs(group.start + (SOME - 1) / 2 - first)):
            if (layer, group.start) not in self._made:
                with self.busy:
                    images, _ = activation_maximization.maximize(
                        self.run.model, layer, group, steps=STEPS, colour_covariance=self._colours
                    )
                self._made[layer, group.start] = images
            yield from zip(group, self._made[layer, group.start], strict=True)

    @functools.cached_property
    def _colours(self):
        dataset = self.run.dataset
        return dataset and activation_maximization.colour_covariance(dataset.some(dataset.x_train, SAMPLE))

    # ------------------------------------------------------------ the test set

    def test_image(self, index):
        return datasets.scale_pixels(self.run.dataset.x_test[index])

    @functools.cached_property
    def results(self):
        """The evaluation.Evaluation on the test images. Takes seconds, once for a network."""
        dataset = self.run.dataset
        probabilities = self.run.calibrated(self.run.predictions(dataset.x_test))
        return evaluation.Evaluation(probabilities, dataset.y_test, dataset.class_names)

    @functools.cached_property
    def suspicious(self):
        """The test images whose labels are probably wrong, most suspicious first, as numbers; see labels.rank."""
        table = labels.rank_test_images(self.run, self.results.probabilities)
        return table.loc[table["issue"], "index"].tolist()

    def separability(self, classes):
        """Return {layer: how well it tells two classes apart}; see separability.by_layer."""
        with self.busy:
            return separability.by_layer(self.run.model, self.run.dataset, classes, self.layers)

    # ------------------------------------------------------------ its training

    @functools.cached_property
    def _epochs(self):
        return dict(checkpoints.load_all(self.run.path)) if self.run.path.is_dir() else {}

    def at_epochs(self, image):
        """Return {epoch: (first filters, probabilities)} for the checkpoints that are kept.

        First filters: (n, h, w, 3 or 1) in [0, 1], each stretched to that range, or None if they see no image.
        probabilities: (classes,), of an image (h, w, c), not calibrated.
        """
        with self.busy:
            return {
                epoch: (_first_filters(model), introspection.predict(model, image[None])[0])
                for epoch, model in self._epochs.items()
            }


def _first_filters(model):
    steps = introspection.convolutions(model)
    kernel = steps[0].layer.get_weights()[0] if steps else np.empty((0, 0))
    if kernel.ndim != 4 or kernel.shape[2] not in (1, 3):
        return None
    filters = kernel.transpose(3, 0, 1, 2)
    lowest, highest = (function(filters, axis=(1, 2, 3), keepdims=True) for function in (np.min, np.max))
    return (filters - lowest) / np.maximum(highest - lowest, 1e-12)
