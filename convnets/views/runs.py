"""The trained network that a visualisation looks at, and the images that it shows it."""

import contextlib
import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from convnets import cli, paths
from convnets.data import datasets, downloads, image_files
from convnets.errors import UserError
from convnets.training import checkpoints
from convnets.views import introspection

TRIES = 500  # random test images among which one that is predicted right is looked for

USUAL_DATASET = {shape: name for name, shape in datasets.INPUT_SHAPES.items()}
PRETRAINED_RUNS = {
    "cifar10": "improved_model-cifar10",
    "mnist": "basic_model-mnist",
    "digits": "basic_model-digits",
}


@dataclass(frozen=True)
class Run:
    """A trained network and the data that it was made for.

    model: takes float32 pixels in [0, 1], (n, height, width, channels), returns class probabilities.
    dataset: None where it is neither needed nor there.
    """

    folder: Path
    model: keras.Model
    dataset: datasets.Dataset | None

    @property
    def name(self):
        return self.folder.name

    @property
    def class_names(self):
        """The dataset's, or as they were recorded in training, or else the classes' numbers."""
        if self.dataset is not None:
            return self.dataset.class_names
        return _recorded(self.folder, "class_names") or tuple(map(str, range(self.model.output_shape[-1])))

    def colour(self, baseline):
        """A colour (red, green, blue) as this network's channels, grey for one; any other baseline as it is."""
        if isinstance(baseline, str) or self.model.input_shape[-1] == 3:
            return baseline
        return sum(baseline) / 3

    def predictions(self, images):
        """What the network returns for many images, (n, classes) float32.

        It is kept in models/.predictions, under a name that depends on all that it follows from, since it takes
        seconds to compute.
        """
        digest = hashlib.sha256(f"{keras.version()} {keras.config.backend()} {self.model.to_json()}".encode())
        for array in (*self.model.get_weights(), images):
            digest.update(np.ascontiguousarray(array))
        path = paths.MODELS / ".predictions" / f"{digest.hexdigest()}.npy"
        with contextlib.suppress(OSError, ValueError, EOFError):  # not there, or damaged
            return np.load(path)
        outputs = introspection.predict(self.model, images)
        file = io.BytesIO()
        np.save(file, outputs)
        with contextlib.suppress(UserError):  # no room or no right to keep it: then it is computed again
            checkpoints.make_folder(path.parent)
            checkpoints.write(path, file.getvalue())
        return outputs

    def describe(self):
        """Prints what is looked at."""
        print(f"Network: {self.folder}")
        print(f"Data: {self.dataset.name} from {self.dataset.source}" if self.dataset else "Data: none at hand")


def load(folder=None, dataset_name=None, data_dir=None, *, data_needed=True):
    """Loads a run and its dataset.

    folder: a run's folder. None means the reader's newest run (on this dataset), or, where there is none, a network
    that comes with the project: the improved one on CIFAR-10, or, without these images, the one for digits.
    dataset_name: for a folder that doesn't say on what its network was trained.
    data_needed: if False, a run whose images are not known, or can't be had, comes without a dataset.
    Raises UserError when there is no such run, or network and dataset do not fit each other.
    """
    folder = folder or newest_run(paths.MODELS, dataset_name)
    if folder is None:
        dataset = datasets.load(dataset_name or "auto", data_dir)
        folder = paths.PRETRAINED / PRETRAINED_RUNS[dataset.name]
        return Run(folder, checkpoints.load_model(folder), dataset)
    model = checkpoints.load_model(folder)
    _image_shape(model, folder)  # raises for what is no Sequential of images, before any layer is moved
    model = _with_probabilities(_flat(model), folder)
    try:
        return Run(folder, model, _dataset_for(model, folder, dataset_name, data_dir))
    except (_Unknown, downloads.Unavailable):
        if data_needed or dataset_name:
            raise
        return Run(folder, model, None)


def _flat(model):
    """A Sequential network without others inside it, whose layers become its own."""
    if not any(isinstance(layer, keras.Sequential) for layer in model.layers):
        return model
    layers = []
    for layer in model.layers:
        layers += _flat(layer).layers if isinstance(layer, keras.Sequential) else [layer]
    return keras.Sequential([keras.Input(model.input_shape[1:]), *layers], name=model.name)


def _with_probabilities(model, folder):
    """A network that ends in a softmax: as it is, or, where it ends in logits, with one behind it."""
    last = model.layers[-1]
    if introspection.is_softmax(last):
        return model
    if not introspection.is_linear(last):
        raise UserError(f"the network in {folder} ends in {last.name}: it must end in a softmax, or in logits")
    print("The network returns logits: a softmax is put behind it.")
    return keras.Sequential(
        [keras.Input(model.input_shape[1:]), *model.layers, keras.layers.Softmax()], name=model.name
    )


class _Unknown(UserError):
    """No dataset is known that fits a network."""


def _dataset_for(model, folder, dataset_name, data_dir):
    shape, classes = _image_shape(model, folder), model.output_shape[-1]
    name = dataset_name or _recorded(folder, "dataset") or USUAL_DATASET.get(shape)
    if name is None:
        raise _Unknown(f"{folder} doesn't say on what images of {_text(shape)} it was trained: name a --dataset")
    dataset = datasets.load(name, data_dir)
    if (dataset.input_shape, dataset.num_classes) != (shape, classes):
        raise _Unknown(
            f"the network in {folder} takes images of {_text(shape)} in {classes} classes, but {dataset.name} has "
            f"{_text(dataset.input_shape)} in {dataset.num_classes}: name another --dataset, or another --run"
        )
    return dataset


@dataclass(frozen=True)
class View:
    """One image that a visualisation looks at.

    image: what the network sees, (h, w, c) float32 in [0, 1]. predicted: the most probable class; probability: its.
    original: the reader's whole picture, (h, w, 3) uint8, or None. title, slug: what it is, for people and for files.
    """

    image: np.ndarray
    predicted: int
    probability: float
    title: str
    slug: str
    original: np.ndarray | None = None


def choose_image(run, *, index=None, file=None, seed=None):
    """Takes the reader's own picture `file`, or test image `index`, or a random one that is predicted right.

    Prints what was taken, so that it can be looked at again. Returns a View. Raises UserError when the file is
    no picture, there is no such test image, or no image is predicted right.
    """
    names, dataset = run.dataset.class_names, run.dataset
    if file is not None:
        light_on_dark = image_files.border_pixels(dataset.x_test[:100]).mean() < 64
        original, image = image_files.read(file, dataset.input_shape, light_on_dark=light_on_dark)
        view = _view(run, image, f"{Path(file).name}", Path(file).stem, original)
        print(
            f"Picture: {file}, predicted as {names[view.predicted]} ({view.probability:.1%}); what it is, only you know"
        )
        return view
    if index is None:
        index = _random_right_one(run, cli.chosen_seed(seed))
    if index >= len(dataset.x_test):
        raise UserError(f"there is no test image {index}: --index goes from 0 to {len(dataset.x_test) - 1}")
    truth = dataset.y_test[index]
    view = _view(
        run, datasets.scale_pixels(dataset.x_test[index]), f"test image {index}, {names[truth]}", f"test-{index}"
    )
    print(f"Image: --index {index}, {names[truth]}, predicted as {names[view.predicted]} ({view.probability:.1%})")
    if view.predicted != truth:
        print("It is not predicted right: what follows explains a mistake.")
    return view


def _view(run, image, *labels):
    probabilities = introspection.predict(run.model, image[None])[0]
    predicted = int(probabilities.argmax())
    return View(image, predicted, float(probabilities[predicted]), *labels)


def _random_right_one(run, seed):
    dataset = run.dataset
    candidates = np.random.default_rng(seed).permutation(len(dataset.x_test))[:TRIES]
    for start in range(0, len(candidates), 20):
        some = candidates[start : start + 20]
        right = introspection.predict(run.model, dataset.x_test[some]).argmax(axis=1) == dataset.y_test[some]
        if right.any():
            return int(some[right.argmax()])
    raise UserError(f"none of {len(candidates)} test images is predicted right: train longer, or choose one by --index")


def newest_run(models, dataset_name=None):
    """The run in the folder `models` that was trained on last (on this dataset), or None."""
    records = [
        path
        for path in models.glob("*/epoch-*.json")
        if dataset_name in (None, _recorded(path.parent, "dataset")) and path.parent.name != "stashed"
    ]
    return max(records, key=lambda path: path.stat().st_mtime).parent if records else None


def _image_shape(model, folder):
    if isinstance(model, keras.Sequential) and len(model.input_shape) == 4 and len(model.output_shape) == 2:
        shape = model.input_shape[1:]
        if None not in shape and shape[-1] in (1, 3):
            return shape
    raise UserError(
        f"the network in {folder} is none that these scripts can look at: a Sequential that takes images of a fixed "
        "size, (height, width, 1 or 3), and returns a probability for each class"
    )


def _recorded(folder, what):
    """What run.json says, or None."""
    try:
        return json.loads((folder / "run.json").read_text(encoding="utf-8"))[what]
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _text(shape):
    return " x ".join(map(str, shape))
