"""Load a dataset by name: CIFAR-10, MNIST, or scikit-learn's digits.

Each name in `convnets.data.DATASETS` is a module of this package that defines

    TITLE         the dataset's usual name, for messages
    CLASS_NAMES   tuple of strings
    INPUT_SHAPE   (height, width, channels) of an image
    FLIPPABLE     see Dataset.flippable
    DOWNLOAD      the downloads.Download to fetch if no file is found, or None
    load(data_dir=None) -> ((x_train, y_train, x_test, y_test), source), as the fields of Dataset
"""

import dataclasses
import importlib

import numpy as np

from convnets.data import DATASETS, downloads, source_files
from convnets.errors import UserError

SOURCES = {name: importlib.import_module(f"convnets.data.{name}") for name in DATASETS}
INPUT_SHAPES = {name: source.INPUT_SHAPE for name, source in SOURCES.items()}


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Images with their classes, split into a training set and a test set.

    x_train, x_test: (n, height, width, channels) uint8. y_train, y_test: (n,) int64, indices into class_names.
    source: where the data was found, for messages.
    flippable: whether a horizontal flip keeps the class. A flipped cat is still a cat, but a flipped 2 is no digit.
    """

    name: str
    class_names: tuple[str, ...]
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    source: str
    flippable: bool = False

    @property
    def input_shape(self):
        """(height, width, channels) of an image."""
        return self.x_train.shape[1:]

    @property
    def num_classes(self):
        return len(self.class_names)


def load(name, data_dir=None):
    """Load a dataset, and download it first if it is not on this machine.

    name: one of DATASETS, or "auto": CIFAR-10 if available, else digits.
    data_dir: the folder to search first, and to download to. The datasets folder of Keras, $KERAS_HOME/datasets or
    ~/.keras/datasets, is searched next. Every layout that Keras and the official archives use is recognised.

    Returns a Dataset. Raises UserError if the name is unknown, a file is damaged, or the dataset is unavailable.
    """
    if name == "auto":
        return load_or_digits("cifar10", data_dir)
    if name not in SOURCES:
        raise UserError(f"unknown dataset {name!r}: choose one of {', '.join(DATASETS)}")
    source = SOURCES[name]
    arrays, found_in = source.load(data_dir)
    return Dataset(name, source.CLASS_NAMES, *arrays, source=found_in, flippable=source.FLIPPABLE)


def load_or_digits(name, data_dir=None):
    """Load a dataset if available, else print why not and load digits. Arguments and errors as for `load`."""
    try:
        return load(name, data_dir)
    except downloads.Unavailable as error:
        source, folder = SOURCES[name], source_files.search_folders(data_dir)[0]
        print(f"{source.TITLE} is not on this machine and could not be downloaded ({error.reason}).")
        print("Using scikit-learn's 1,797 handwritten digits instead: images and numbers will differ.")
        print(f"To use {source.TITLE}, go online or put {source.DOWNLOAD.filename} into {folder}.")
        return load("digits")


def scale_pixels(images):
    """Convert uint8 pixels, 0 to 255, to float32 in [0, 1]."""
    return np.divide(images, 255, dtype="float32")
