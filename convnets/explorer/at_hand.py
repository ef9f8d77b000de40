"""What the page can show: the runs and the pictures on this machine. Imports neither Keras nor Panel."""

import contextlib
import threading
from pathlib import Path

from convnets import files, paths, records
from convnets.data import DATASETS
from convnets.errors import UserError

_reading = threading.Lock()
_datasets = {}  # by name


def names():
    """Return the names of all runs with a history, the newest first, and then the pretrained ones."""

    def found(folder):
        histories = sorted(folder.glob("*/history.csv"), key=files.modified, reverse=True)
        return [file.parent.name for file in histories if not file.parent.name.startswith(".")]

    return list(dict.fromkeys([*found(paths.MODELS), *sorted(found(paths.PRETRAINED))]))


def folder_of(name):
    """Return the folder of a run in models/ or models/stashed/."""
    folder = paths.MODELS / name
    return folder if folder.is_dir() else paths.PRETRAINED / name


def candidates(run=None):
    """Return the names of the runs to open: the one asked for, or the newest, or two of the pretrained ones.

    Raises UserError if there is no such run.
    """
    if run and run not in names():
        raise UserError(f"there is no trained run {run}: name one of {', '.join(names())} with --run")
    newest = [name for name in names() if list((paths.MODELS / name).glob("epoch-*.json"))][:1]
    return [run] if run else newest or ["improved_model-cifar10", "basic_model-digits"]


def load_dataset(name, data_dir=None, **size):
    """Load a dataset like datasets.load, but each one only once: all networks share it. Nothing is downloaded."""
    from convnets.data import datasets, downloads

    downloads.allowed = False
    if name not in datasets.SOURCES:  # a folder may change
        return datasets.load(name, data_dir, **size)
    with _reading:
        if name not in _datasets:
            _datasets[name] = datasets.load(name, data_dir, **size)
        return _datasets[name]


def read_ahead(run, data_dir):
    """Load the dataset of a run while Keras is imported, but not the digits, which need scikit-learn for it."""
    with contextlib.suppress(OSError, UserError):  # then it is not read ahead
        name = records.entry(folder_of(run), "dataset")
        if name in DATASETS and name != "digits":
            load_dataset(name, data_dir)


def pictures_in(folder):
    """Return the names of the pictures in a folder and its subfolders. Raises UserError if there is none."""
    from convnets.data import image_files

    try:
        pictures = [path for path in image_files.files_below(Path(folder)) if image_files.is_picture(path)]
    except OSError as error:
        raise UserError(f"can't read {folder} ({error.strerror}): name a folder of pictures") from error
    if not pictures:
        raise UserError(f"there are no pictures in {folder}: name another folder with --pictures")
    return [path.relative_to(folder).as_posix() for path in pictures]
