"""Load weights from files that any Keras code may have saved. Nothing in them is trusted."""

import shutil
import tempfile
import warnings
import zipfile
from pathlib import Path

import h5py
import numpy as np

from convnets.errors import UserError, one_line


def load(model, path):
    """Load a weights file into `model`: a .weights.h5 file of Keras 3, or a .h5 file of Keras 2.

    The contents of the file decide which of the two it is, not its name. Raises UserError if it is neither, or does not
    fit the network.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"can't read weights from {path}: there is no such file")
    if (
        model.built and path.stat().st_size > 40 * model.count_params() + 10_000_000
    ):  # with an optimizer's state, each takes 12 to 24
        raise UserError(
            f"can't read weights from {path}: it has {path.stat().st_size:,} bytes, too many for this network"
        )
    if zipfile.is_zipfile(path):
        raise UserError(f"{path} is a whole model, not weights: load it with Keras, and save with model.save_weights")
    try:
        with h5py.File(path, "r") as file:
            refuse_links(file, path)
            keras_2 = file.get("model_weights", file)
            is_keras_2 = "layer_names" in keras_2.attrs
            backend = keras_2.attrs.get("backend")
    except UserError:
        raise
    except Exception as error:  # h5py may stumble over a damaged file in any way
        by_the_system = isinstance(error, OSError) and error.errno and error.strerror
        reason = by_the_system or "it is damaged or no HDF5 file"
        raise UserError(f"can't read weights from {path}: {reason}; name another file") from error
    if backend in ("theano", b"theano"):
        raise UserError(f"{path} was saved on Theano, whose convolutions are mirrored: other networks can't use it")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        # Keras chooses its reader by the name alone, so the file gets the right name.
        named = Path(folder) / ("keras_2.h5" if is_keras_2 else "keras_3.weights.h5")
        try:
            shutil.copyfile(path, named)
        except OSError as error:
            raise UserError(f"can't copy {path} to {folder} ({error.strerror}): free some space") from error
        try:
            if not is_keras_2:
                with h5py.File(named, "r+") as file:
                    file.pop("optimizer", None)  # weights only, not the rate and the steps of another training
            with warnings.catch_warnings(action="ignore"):  # that the optimizer's state is missing
                model.load_weights(named)
        except Exception as error:  # Keras, too
            reason = str(error).split("Example error message for object")[-1].split("List of objects")[0]
            reason = one_line(reason.split("Target variable:")[0])
            raise UserError(f"{path} does not fit this network: {reason}") from error
    refuse_not_finite(model, path)


def load_own(model, path):
    """Load a .weights.h5 file that lies in a run's folder, with the optimizer's state if the model is compiled.

    Raises UserError if it does not fit the network, or is not what the record beside it says: that record may be a
    stranger's, too.
    """
    try:
        with h5py.File(path, "r") as file:
            refuse_links(file, path)
        model.load_weights(path)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path} does not fit this network: {one_line(error)}") from error


def are_finite(model):
    """Return whether all weights of a network are finite numbers."""
    return all(np.isfinite(weight).all() for weight in model.get_weights())


def refuse_not_finite(model, path):
    """Raise UserError if any of a network's weights is not a finite number. path: the file that they come from."""
    if not are_finite(model):
        raise UserError(f"{path} holds weights that are not finite numbers: use those of an earlier epoch")


def refuse_links(group, path, seen=None):
    """Raise UserError if an HDF5 file points to other files, which h5py would then read.

    seen: the groups that were visited already, by their place in the file: one may have many names.
    """
    seen = set() if seen is None else seen
    if (place := h5py.h5o.get_info(group.id).addr) in seen:
        return
    seen.add(place)
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise UserError(f"{path} is refused: its entry {name} is a link, which no weights file needs")
        entry = group[name]
        if isinstance(entry, h5py.Group):
            refuse_links(entry, path, seen)
        elif isinstance(entry, h5py.Dataset) and (entry.external or entry.is_virtual):
            raise UserError(f"{path} is refused: the numbers of its entry {name} are in another file")
