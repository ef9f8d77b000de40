"""Find, read and check the files of a dataset. The modules of the datasets share this."""

import hashlib
import os
from pathlib import Path

import numpy as np

from convnets.data import downloads
from convnets.errors import UserError


class Damaged(Exception):
    """Raised by a reader to say what is wrong with the file that it reads."""


def search_folders(data_dir):
    """Return the folders to search, in order. Downloads go to the first one."""
    try:
        keras_home = _from_home(os.environ.get("KERAS_HOME") or "~/.keras")
        data_dir = data_dir and _from_home(data_dir)
    except RuntimeError as error:
        raise UserError("this user has no home folder for datasets: set KERAS_HOME to a folder") from error
    if data_dir and data_dir.is_file():
        raise UserError(f"--data-dir {data_dir} is a file: name the folder that contains it")
    return [*([data_dir] if data_dir else []), keras_home / "datasets"]


def _from_home(path):
    """Return a pathlib.Path, with the home folder for a "~" at its start: shells leave that of --data-dir=~/x alone."""
    path = Path(path)
    return path.expanduser() if path.parts[:1] == ("~",) else path


def find_or_download(find, download, data_dir):
    """Return what find(folder) returns for the first folder in which it finds the dataset.

    find: returns None if a folder does not contain the dataset. download: the downloads.Download to fetch if no
    folder does. Raises UserError if a file is unreadable, and downloads.Unavailable if it can't be downloaded.
    """
    try:
        if (found := find_here(find, data_dir)) is not None:
            return found
        downloads.fetch(download, search_folders(data_dir)[0])
        return find(search_folders(data_dir)[0])
    except OSError as error:
        raise UserError(
            f"can't read {error.filename} ({error.strerror}): check its permissions, or choose a folder with --data-dir"
        ) from error


def find_here(find, data_dir):
    """Return what find(folder) returns for the first folder in which it finds the dataset, or None."""
    return next((found for folder in search_folders(data_dir) if (found := find(folder)) is not None), None)


def read(path, reader, *, one_of=None):
    """Return reader(path), and turn whatever goes wrong into a UserError that names the file.

    one_of: what to delete with the file before it is downloaded again, such as "batches". None: the file alone.
    """
    try:
        return reader(path)
    except Damaged as error:
        reason = str(error)
    except OSError as error:
        if error.errno is not None:
            raise UserError(f"can't read {path}: {error.strerror}") from error
        reason = str(error)
    except Exception as error:  # a damaged file can make its reader fail in any way
        reason = str(error) or type(error).__name__
    raise UserError(
        f"{path} is damaged or not the official file ({' '.join(reason.split())}): "
        f"delete or move {f'all {one_of} in that folder' if one_of else 'it'}, and the next run downloads it again"
    )


def read_bytes(path, most):
    """Return the content of a file. Raises Damaged, before it is read, if it has more than `most` bytes."""
    if (size := path.stat().st_size) > most:
        raise Damaged(f"it has {size:,} bytes, and the official file fewer than {most:,}")
    return path.read_bytes()


def check_sha256(name, array, expected):
    """Raise Damaged unless the bytes of an array have the expected SHA-256."""
    if hashlib.sha256(np.ascontiguousarray(array)).hexdigest() != expected:
        raise Damaged(f"{name} does not match the official checksum")


def incomplete(folder, missing):
    """Return the error for a folder that lacks some files of a dataset. missing: their names."""
    return UserError(
        f"{folder} is incomplete (missing: {', '.join(missing)}): add the missing files or delete the rest"
    )
