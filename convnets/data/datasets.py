"""Load a dataset: CIFAR-10, MNIST, scikit-learn's digits, or a folder of the reader's own pictures.

Each name in `convnets.data.DATASETS` is a module of this package that defines

    TITLE         the dataset's usual name, for messages
    CLASS_NAMES   tuple of strings
    INPUT_SHAPE   (height, width, channels) of an image
    FLIPPABLE     see Dataset.flippable
    DOWNLOAD      the downloads.Download to fetch if no file is found, or None
    load(data_dir=None) -> ((x_train, y_train, x_test, y_test), source), as the fields of Dataset
    find(folder)  what load returns, or None if the folder does not contain it; only if `read_ahead` should use it
"""

import concurrent.futures
import contextlib
import dataclasses
import importlib
import math
import os
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd

from convnets.data import DATASETS, downloads, folders, source_files
from convnets.errors import UserError

SOURCES = {name: importlib.import_module(f"convnets.data.{name}") for name in DATASETS}
INPUT_SHAPES = {name: source.INPUT_SHAPE for name, source in SOURCES.items()}
IMAGE_SIZE = 32  # pixels, height and width to which the pictures of a folder are fitted


class Unknown(UserError):
    """There is no dataset of this name, and no such folder."""


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Images with their classes, split into a training set and a test set.

    x_train, x_test: (n, height, width, channels) uint8. y_train, y_test: (n,) int64, indices into class_names.
    source: where the data was found, for messages.
    flippable: whether a horizontal flip keeps the class. A flipped cat is still a cat, but a flipped 2 is no digit.
    For a folder of pictures: folder, its full path; pictures, folders.Folder.table; notes, what the reader should know.
    """

    name: str
    class_names: tuple[str, ...]
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    source: str
    flippable: bool = False
    folder: str | None = None
    pictures: pd.DataFrame | None = None
    notes: tuple[str, ...] = ()

    @property
    def key(self):
        """What `load` takes to load it again: a name, or the path of a folder."""
        return self.folder or self.name

    @property
    def input_shape(self):
        """(height, width, channels) of an image."""
        return self.x_train.shape[1:]

    @property
    def num_classes(self):
        return len(self.class_names)

    def some(self, array, most):
        """Return at most so many rows of an array that has one for each training image, or each test image.

        They are the first ones; of a folder, which is in the order of the files' names and so perhaps in that of the
        classes, evenly spaced ones.
        """
        if self.folder is None or len(array) <= most:
            return array[:most]
        return array[np.linspace(0, len(array) - 1, most).astype(int)]

    def split(self, share):
        """Return which training images are kept and which are held out, as two arrays of their numbers, in order.

        share: of the training images to hold out, in [0, 1). They are the last ones, as in Keras; of a folder, which is
        in the order of the files' names and so perhaps in that of the classes, random ones.
        """
        order = np.arange(len(self.x_train))
        if self.folder is not None:
            order = np.random.default_rng(0).permutation(order)
        kept = math.floor(len(order) * (1 - share))
        return np.sort(order[:kept]), np.sort(order[kept:])


def load(name, data_dir=None, *, image_size=None, channels=None):
    """Load a dataset, and download it first if it is not on this machine.

    name: one of DATASETS; or "auto", CIFAR-10 if available, else digits; or a folder of pictures, see `folders`.
    data_dir: the folder to search first, and to download to. The datasets folder of Keras, $KERAS_HOME/datasets or
    ~/.keras/datasets, is searched next. Every layout that Keras and the official archives use is recognised.
    image_size, channels: of the pictures of a folder. Default: 32 pixels; 1 channel if all pictures are grey, else 3.

    Returns a Dataset. Raises UserError if the name is unknown, a file is damaged, or the dataset is unavailable.
    """
    refuse_size(name, image_size)
    if name == "auto":
        return load_or_digits("cifar10", data_dir)
    if name not in SOURCES:
        return _load_folder(Path(name), image_size or IMAGE_SIZE, channels)
    source = SOURCES[name]
    begun = _read_ahead.pop(_key(name, data_dir), None)
    arrays, found_in = (begun and begun.result()) or source.load(data_dir)
    return Dataset(name, source.CLASS_NAMES, *arrays, source=found_in, flippable=source.FLIPPABLE)


def refuse_size(name, image_size):
    """Raise UserError if a size is asked for, and the dataset is no folder of pictures. Arguments: as for `load`."""
    if image_size and name in ("auto", *SOURCES):
        raise UserError(
            "--image-size is for folders of pictures; the images of other datasets have a size: leave it out"
        )


_read_ahead = {}  # _key: Future of what the source's find returned, or of None if `load` has to read it itself


def _key(name, data_dir):
    return name, *source_files.search_folders(data_dir)


def read_ahead(name, data_dir=None):
    """Begin to read CIFAR-10 or MNIST, if it is on this machine, in a thread from which `load` will take it.

    name, data_dir: as `load` will get them. Nothing is downloaded. What can't be read here (digits, folders, files for
    which scikit-learn is needed, damaged ones) is left to `load`.
    """
    _read_ahead.clear()  # what nobody asked for
    if not hasattr(SOURCES.get(name), "find"):
        return
    begun = concurrent.futures.Future()

    def read():
        found = None
        try:
            with contextlib.suppress(Exception):  # `load` will meet it again, and raise it
                found = source_files.find_here(SOURCES[name].find, data_dir)
        finally:
            begun.set_result(found)

    with contextlib.suppress(UserError):  # no folder to search
        _read_ahead[_key(name, data_dir)] = begun
        threading.Thread(target=read, daemon=True).start()


def _load_folder(folder, image_size, channels):
    if not os.path.isdir(folder):
        raise Unknown(f"there is no dataset {str(folder)!r}: choose one of {', '.join(DATASETS)}, or name a folder")
    folder = folder.resolve()
    found = folders.load(folder, image_size=image_size, channels=channels)
    name = folders.composed(folder.name) or "pictures"  # the root of a drive has no name
    is_taken = (name.lower() if sys.platform in ("darwin", "win32") else name) in SOURCES  # as file names are compared
    return Dataset(
        f"{name}-folder" if is_taken else name,
        found.class_names,
        *found.arrays,
        source=str(folder),
        flippable=not found.is_grey,  # else it may be writing
        folder=str(folder),
        pictures=found.table,
        notes=found.notes,
    )


def key_of(name):
    """Return Dataset.key for what a reader gives as the name of a dataset; None for None."""
    return name if name is None or name in SOURCES else str(Path(name).resolve())


def without_images(name, *, image_size=None, channels=None):
    """Return a Dataset that says all but the images, at once. name: one of DATASETS; a folder is loaded."""
    refuse_size(name, image_size)
    if name not in SOURCES:
        return load(name, image_size=image_size, channels=channels)
    source = SOURCES[name]
    images, labels = np.empty((0, *source.INPUT_SHAPE), "uint8"), np.empty(0, "int64")
    return Dataset(name, source.CLASS_NAMES, images, labels, images, labels, "nowhere", source.FLIPPABLE)


def load_or_digits(name, data_dir=None):
    """Load a dataset if available, else print why not and load digits. Arguments and errors as for `load`."""
    try:
        return load(name, data_dir)
    except downloads.Unavailable as error:
        source, folder = SOURCES[name], source_files.search_folders(data_dir)[0]
        print(f"{source.TITLE} is not on this machine and could not be downloaded ({error.reason}).")
        print("Using scikit-learn's 1,797 handwritten digits instead: images and numbers will differ.")
        remedy = error.remedy or f"go online or put {source.DOWNLOAD.filename} into {folder}"
        print(f"To use {source.TITLE}, {remedy}.")
        return load("digits")


def at_once(most, shape):
    """Return how many images (height, width, channels) to compute at once: `most`, or fewer if larger than 32x32."""
    return max(1, most * 32**2 // max(32**2, shape[0] * shape[1]))


def scale_pixels(images):
    """Convert uint8 pixels, 0 to 255, to float32 in [0, 1]."""
    return np.divide(images, 255, dtype="float32")
