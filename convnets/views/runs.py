"""Load a trained network and choose the image that a visualisation shows it."""

import contextlib
import dataclasses
import functools
import hashlib
import io
from pathlib import Path, PureWindowsPath

import keras
import numpy as np
from scipy.special import softmax

from convnets import cli, files, paths, records
from convnets.data import datasets, downloads, folders, image_files
from convnets.errors import UserError, one_line, printable
from convnets.training import autotune, checkpoints, model_files
from convnets.views import calibration, classifiers, introspection
from convnets.views.calibration import Calibration

MOST_PIXELS = 1024  # height and width of the pictures that a run was trained on
LARGE = 2_000_000  # parameters; smaller networks gain little from being built anew in bfloat16
TRIES = 500  # random test images among which a correctly classified one is looked for

USUAL_DATASET = {shape: name for name, shape in datasets.INPUT_SHAPES.items()}
PRETRAINED_RUNS = {
    "cifar10": "improved_model-cifar10",
    "mnist": "basic_model-mnist",
    "digits": "basic_model-digits",
}


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained network and its data.

    path: a run's folder, or a model file. model: takes float32 pixels in [0, 1], (n, height, width, channels), returns
    class probabilities. class_names: one for each class. dataset: None if it is neither needed nor available.
    trained_on: Dataset.key of the training images, or None. calibration: a calibration.Calibration, or None.
    note: what is wrong with the files of a dataset that is missing for that reason, or "".
    """

    path: Path
    model: keras.Model
    class_names: tuple[str, ...]
    dataset: datasets.Dataset | None
    trained_on: str | None = None
    calibration: Calibration | None = None
    note: str = ""

    def calibrated(self, probabilities):
        """Return probabilities (..., classes) as they can be believed, if the calibration is known."""
        return self.calibration.calibrated(probabilities) if self.calibration else np.asarray(probabilities)

    def probabilities(self, logits):
        """Return the probabilities (..., classes) of logits, as they can be believed if the calibration is known."""
        return self.calibrated(softmax(logits, axis=-1))

    def answer(self, images):
        """Return (probabilities (n, classes), unfamiliarity (n,)) of images (n, h, w, c); see calibration.Calibration.

        If the calibration is unknown, the probabilities are not calibrated, and the unfamiliarity is None.
        """
        outputs = introspection.predict(introspection.logits_and_features(self.model), images)
        unfamiliarity = self.calibration.unfamiliarity(**outputs) if self.calibration else None
        return self.probabilities(outputs["logits"]), unfamiliarity

    def prepare(self, picture):
        """Return an upright RGB PIL.Image as the network's input, (h, w, c) float32 in [0, 1], and a note or ""."""
        if self.trained_on == "mnist":
            from convnets.data import handwriting  # here, since its parts of SciPy take a moment

            digit = handwriting.as_in_mnist(picture)
            return digit.image, "" if digit.found == 1 else f"{digit.found or 'no'} digits in it: expected one"
        return image_files.fit(picture, self.model.input_shape[1:], light_on_dark=self.trained_on == "digits"), ""

    @property
    def least_side(self):
        """The side in pixels from which on a photograph for this network may be decoded at a reduced scale."""
        return max(image_files.AT_LEAST, 2 * max(self.model.input_shape[1:3]))

    @property
    def dataset_is_its_own(self):
        """Whether the dataset is the one that the network was trained on, with the same pictures."""
        if self.dataset.pictures is None:
            return self.dataset.key == self.trained_on
        return folders.unchanged(self.path, self.dataset.pictures)

    @property
    def name(self):
        return self.path.stem if self.path.is_file() else self.path.name

    def colour(self, baseline):
        """Return a colour (red, green, blue) as the network's channels, one grey or three; other baselines as is."""
        if isinstance(baseline, str) or self.model.input_shape[-1] == 3:
            return baseline
        return sum(baseline) / 3

    def predictions(self, images):
        """Return the network's class probabilities for many images, (n, classes) float32.

        A large network that was trained in bfloat16 predicts in it where that is clearly faster. The probabilities are
        kept in models/.predictions, since they take seconds to compute. The file's name depends on network and images.
        """
        model = self._fastest_model
        digest = hashlib.sha256(f"{keras.version()} {keras.config.backend()} {model.to_json()}".encode())
        for array in (*self.model.get_weights(), images):
            digest.update(np.ascontiguousarray(array))
        path = paths.MODELS / ".predictions" / f"{digest.hexdigest()}.npy"
        with contextlib.suppress(OSError, ValueError):  # not there, or damaged
            kept = files.read_array(path, 2**32)
            if kept.shape == (len(images), self.model.output_shape[-1]) and kept.dtype == np.float32:
                return kept
        outputs = introspection.predict(model, images)
        content = io.BytesIO()
        np.save(content, outputs)
        with contextlib.suppress(UserError):  # it can't be kept: then it is computed again next time
            files.make_folder(path.parent)
            files.write(path, content.getvalue())
        return outputs

    @functools.cached_property
    def _fastest_model(self):
        trained_in = (records.entry(self.path, "options") or {}).get("precision")
        if trained_in != "mixed_bfloat16" or self.model.count_params() < LARGE or not _is_plain(self.model):
            return self.model
        return in_bfloat16(self.model) if autotune.faster_precision()[0] == "bfloat16" else self.model

    def describe(self):
        """Print which network and which data are looked at."""
        print(f"Network: {self.path}")
        print(f"Data: {self.dataset.name} from {self.dataset.source}" if self.dataset else "Data: none")
        for note in self.dataset.notes if self.dataset else ():
            print(printable(note))


def _is_plain(model):
    """Return whether a network can be built anew, layer by layer: it has no models inside."""
    return not any(isinstance(layer, (keras.Model, introspection.WithoutActivation)) for layer in model.layers)


def in_bfloat16(model):
    """Return a copy of a network that computes in bfloat16; from its last dense layer on, the logits, in float32."""
    last = max(number for number, layer in enumerate(model.layers) if introspection.has_units(layer))
    exact = model.layers[last:]

    def copy(layer):
        config = layer.get_config()
        if isinstance(layer, keras.Layer) and layer not in exact:
            config["dtype"] = "mixed_bfloat16"
        return type(layer).from_config(config)

    copied = keras.models.clone_model(model, clone_function=copy)
    copied.set_weights(model.get_weights())
    return copied


def load(
    path=None, dataset_name=None, data_dir=None, *, data_needed=True, class_names=None, pixels=None, image_size=None,
    calibrate=True, images=True, load_dataset=None,
):  # fmt: skip
    """Load a trained network and its dataset.

    path: a run's folder or a model file. Default: the reader's newest run (on this dataset), or else a pretrained
    network: the improved one on CIFAR-10, or, if these images are not available, the one for digits.
    dataset_name: for a network that does not say on what it was trained.
    data_needed: if False, a run whose images are unknown, unavailable or unreadable comes without a dataset.
    class_names: names of the classes, instead of the dataset's or the recorded ones.
    pixels, image_size: see classifiers.as_classifier.
    images: whether to load the dataset's images, which takes a second. Without them, the run comes without a dataset,
    unless they are needed to fit its calibration.
    calibrate: whether to load the network's calibration, or to fit it if a run has none yet and its images are there.
    load_dataset: called like datasets.load, which is the default.
    Raises UserError if there is no such network, or network and dataset do not fit each other.
    """
    load_dataset = load_dataset or datasets.load
    path = path or _newest_run(dataset_name)
    if path is None and images:  # which images are available decides on the network
        available = load_dataset(dataset_name or "auto", data_dir)
        path, load_dataset = paths.PRETRAINED / PRETRAINED_RUNS[available.name], lambda *_, **__: available
    path = path or paths.PRETRAINED / PRETRAINED_RUNS.get(dataset_name, PRETRAINED_RUNS["cifar10"])
    model = checkpoints.load_model(path)
    recorded = records.entry(path, "dataset")
    if recorded:
        pixels = pixels or "0..1"
    if classifiers.takes_any_size(model):
        known = datasets.INPUT_SHAPES.get(dataset_name) or datasets.INPUT_SHAPES.get(recorded) or [None]
        image_size = image_size or known[0] or (recorded and _recorded_image_size(path))
    with model_files.one_error(path):
        model = classifiers.as_classifier(model, path, pixels=pixels, image_size=image_size)
        model(np.random.default_rng(0).random((1, *model.input_shape[1:]), "float32"))  # some load, and can't compute
    fitted = calibration.load(path, model) if calibrate and recorded else None
    images = images or bool(calibrate and recorded and not fitted)  # to fit the calibration
    dataset, note = None, ""
    try:
        if images or dataset_name:
            options = {"guess": class_names is None, "images": images, "load": load_dataset}
            dataset = _dataset_for(model, path, dataset_name, data_dir, **options)
    except UserError as error:
        if data_needed or dataset_name:
            raise
        if not isinstance(error, (datasets.Unknown, downloads.Unavailable)):
            note = f"{error}."
            print(f"Note: {note}")
    classes = model.output_shape[-1]
    recorded_names = list(map(printable, records.entry(path, "class_names") or ()))
    names = class_names or (dataset and dataset.class_names) or recorded_names or range(classes)
    if len(names) != classes:
        source = "--class-names" if class_names else "its record"
        raise UserError(f"the network in {path} has {classes} classes, but {source} has {len(names)} names")
    trained_on = recorded or (dataset and dataset.key)
    dataset = dataset if images else None
    if calibrate and recorded and not fitted and dataset and dataset.key == recorded:
        fitted = calibration.keep(model, dataset, path)
    return Run(path, model, tuple(map(str, names)), dataset, trained_on, fitted, note)


def _newest_run(dataset_name):
    """Return the reader's newest run (on this dataset), or None. Raises UserError if none was trained on a folder."""
    if dataset_name in (None, "auto", *datasets.SOURCES):
        return records.newest_run(paths.MODELS, dataset_name)
    folder = datasets.key_of(dataset_name)
    run = records.newest_run(paths.MODELS, folder) or _newest_run_on_the_pictures(paths.MODELS, folder)
    if run is None:
        command = cli.command_line(["python", "basic_model.py", "--dataset", folder])
        raise UserError(f"no network was trained on {folder} yet: {command}")
    return run


def _dataset_for(model, path, dataset_name, data_dir, *, guess, images, load):
    """Load a network's dataset: the one that the reader has named, or else the recorded one.

    guess: whether a dataset whose images have the right shape may be taken, where there is neither. images: if False,
    without its images. load: called like datasets.load. Raises datasets.Unknown if no dataset fits the network.
    """
    shape, classes = model.input_shape[1:], model.output_shape[-1]
    recorded = records.entry(path, "dataset")
    drive = PureWindowsPath(recorded or "").drive
    if not dataset_name and drive.startswith("\\\\"):  # Windows would log in there, and a run may lie
        raise datasets.Unknown(f"{path} was trained on pictures of another computer: say where they are with --dataset")
    name = dataset_name or recorded or (USUAL_DATASET.get(shape) if guess else None)
    if name is None:
        raise datasets.Unknown(
            f"{path} does not say on what images of {_text(shape)} it was trained: name a --dataset, "
            "or your own picture with --image, for the views of one image"
        )
    size = {} if name in ("auto", *datasets.SOURCES) else {"image_size": shape[0], "channels": shape[-1]}
    if size and shape[0] != shape[1]:
        raise datasets.Unknown(
            f"the network in {path} takes images of {_text(shape)}, but those of a folder are square"
        )
    try:
        dataset = load(name, data_dir, **size) if images else datasets.without_images(name, **size)
    except datasets.Unknown as error:
        if name != recorded:
            raise
        raise datasets.Unknown(
            f"the pictures of {path} are no longer in {one_line(name)}: say where they are with --dataset"
        ) from error
    classes_then = records.entry(path, "class_names")
    if dataset.folder and classes_then and tuple(map(folders.composed, classes_then)) != dataset.class_names:
        raise datasets.Unknown(
            f"the network in {path} was trained on the classes {one_line(', '.join(classes_then[:5]))} ..., but "
            f"{dataset.folder} has {', '.join(dataset.class_names[:5])} ...: name another --dataset, or another --run"
        )
    if (dataset.input_shape, dataset.num_classes) != (shape, classes):
        raise datasets.Unknown(
            f"the network in {path} takes images of {_text(shape)} in {classes} classes, but {dataset.name} has "
            f"{_text(dataset.input_shape)} in {dataset.num_classes}: name another --dataset, or another --run"
        )
    if dataset.folder and (warning := folders.trained_on(path, dataset.pictures)):
        dataset = dataclasses.replace(dataset, notes=(*dataset.notes, warning))
    return dataset


@dataclasses.dataclass(frozen=True)
class ExampleImage:
    """The image that a visualisation looks at.

    image: what the network sees, (h, w, c) float32 in [0, 1]. predicted: the most probable class; probability: its.
    title, slug: what it is, for people and for file names. original: the reader's whole picture, (h, w, 3) uint8, or
    None. truth: the index of the true class, or None.
    """

    image: np.ndarray
    predicted: int
    probability: float
    title: str
    slug: str
    original: np.ndarray | None = None
    truth: int | None = None


def choose_image(run, *, index=None, file=None, seed=None):
    """Take the reader's own picture `file`, or test image `index`, or a random one that is classified correctly.

    Prints which one, so that it can be chosen again. Returns an ExampleImage. Raises UserError if the file is no
    picture, there is no such test image, there are no test images, or none is classified correctly.
    """
    names, dataset = run.class_names, run.dataset
    if file is not None:
        picture = image_files.open_upright(file, at_least=run.least_side)
        image, note = run.prepare(picture)
        example = _example(run, image, Path(file).name, Path(file).stem, np.asarray(picture))
        print(f"Picture: {file} -> {names[example.predicted]} ({100 * example.probability:.1f} %)")
        if note:
            print(f"Note: {note}.")
        if run.calibration and run.answer(image[None])[1][0] > 0:
            print("Warning: it is unlike the images that the network was trained on, so this guess means little.")
        return example
    if dataset is None:
        raise UserError("there are no test images: name a picture of your own with --image, or a --dataset")
    if index is None:
        index = _random_correct_one(run, cli.chosen_seed(seed))
    if index >= len(dataset.x_test):
        raise UserError(f"there is no test image {index}: --index goes from 0 to {len(dataset.x_test) - 1}")
    truth = int(dataset.y_test[index])
    title = f"test image {index}, {names[truth]}"
    example = _example(run, datasets.scale_pixels(dataset.x_test[index]), title, f"test-{index}", None, truth)
    print(f"Image: --index {index}, {names[truth]} -> {names[example.predicted]} ({100 * example.probability:.1f} %)")
    if example.predicted != truth:
        print("Misclassified: what follows explains the wrong prediction.")
    return example


def _example(run, image, *labels):
    probabilities = run.calibrated(introspection.predict(run.model, image[None])[0])
    predicted = int(probabilities.argmax())
    return ExampleImage(image, predicted, float(probabilities[predicted]), *labels)


def _random_correct_one(run, seed):
    dataset = run.dataset
    candidates = np.random.default_rng(seed).permutation(len(dataset.x_test))[:TRIES]
    for start in range(0, len(candidates), 20):
        some = candidates[start : start + 20]
        correct = introspection.predict(run.model, dataset.x_test[some]).argmax(axis=1) == dataset.y_test[some]
        if correct.any():
            return int(some[correct.argmax()])
    raise UserError(
        f"none of {len(candidates)} test images is classified correctly: train longer, or choose an --index"
    )


def _newest_run_on_the_pictures(models, folder):
    """Return the run that was trained last on the pictures of a folder, wherever they were then, or None."""
    for run in records.all_runs(models):
        if (run / folders.RECORD).is_file():
            size = _recorded_image_size(run)
            if size and folders.unchanged(run, folders.load(folder, image_size=size).table):
                return run
    return None


def _recorded_image_size(path):
    """Return the height and width of the images that a run was trained on, or None if its record is no size."""
    size = (records.entry(path, "options") or {}).get("image_size", datasets.IMAGE_SIZE)
    return size if type(size) is int and 1 <= size <= MOST_PIXELS else None


def _text(shape):
    return " x ".join(map(str, shape))
