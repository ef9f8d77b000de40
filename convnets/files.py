"""Write files whole or not at all."""

import contextlib
import errno
import hashlib
import json
import os
import time
from pathlib import Path

from convnets.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

TRIES = 10
MOST_JSON = 10_000_000  # bytes
MOST_EPOCHS = 20_000  # of a run, whose record has up to 400 bytes for each


def make_folder(path):
    """Make a folder if there is none yet; it survives a power cut. Raises UserError if that is impossible."""
    path = Path(path)
    try:
        new = [folder for folder in path.parents if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        for folder in (path, *new):  # the first one also if it is there: who made it may have been killed before this
            sync_names(folder.parent)
    except OSError as error:
        raise UserError(
            f"can't make the folder {path} ({error.strerror}): choose another one, or see to the permissions"
        ) from error


def write(path, content):
    """Write text or bytes to a file: afterwards it holds all of it, or, if anything goes wrong, what it held before.

    This holds if the process is killed and if the disk is full, and for a power cut as far as the system keeps its
    promises. Raises UserError if the system refuses to write.
    """
    path = Path(path)
    partial = path.with_name(f".partial-{path.name}")
    try:
        partial.unlink(missing_ok=True)  # a link in a stranger's folder would lead to another file
        with open(partial, "xb") as file:
            file.write(content.encode(errors="surrogateescape") if isinstance(content, str) else content)
            file.flush()
            _sync(file.fileno())
        replace(partial, path)
    except OSError as error:
        raise UserError(
            f"can't write {path} ({error.strerror}); what was saved before is kept: "
            "free some space, or see to the permissions, and run the same command again"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    sync_names(path.parent)


def remove_partial(folder):
    """Remove the half-written files that a killed process left in a folder."""
    for partial in Path(folder).glob(".partial-*"):
        with contextlib.suppress(OSError):  # in use by another program
            partial.unlink(missing_ok=True)


def keep_old(path):
    """Rename a file or folder to NAME-old-1, or the next free number. Returns the new path."""
    number = 1
    while (old := path.with_name(f"{path.name}-old-{number}")).exists():
        number += 1
    try:
        path.rename(old)
        sync_names(path.parent)
    except OSError as error:
        raise UserError(f"can't rename {path} ({error.strerror}): close the programs that use it") from error
    return old


def _sync(descriptor):
    """Make sure that a file's content is on the disk."""
    os.fsync(descriptor)
    if hasattr(fcntl, "F_FULLFSYNC"):  # macOS, where fsync leaves it in the drive's cache
        with contextlib.suppress(OSError):  # some file systems can't
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)


def replace(old, new):
    """Rename a file. On Windows that fails while another program, such as a virus scanner, has one of them open."""
    for _ in range(TRIES if os.name == "nt" else 0):
        with contextlib.suppress(PermissionError):
            return os.replace(old, new)
        time.sleep(0.2)
    return os.replace(old, new)


def sync_names(folder):
    """Make sure that the names in a folder, new, changed or gone, survive a power cut."""
    if os.name == "posix":  # Windows does not let a program write a folder
        with contextlib.suppress(OSError):  # some network file systems can't, and some folders can't be read
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                _sync(descriptor)
            finally:
                os.close(descriptor)


def read_json(path, most=MOST_JSON):
    """Return what a JSON file holds, whoever wrote it. Raises OSError, or ValueError if it holds none, or too much.

    most: bytes.
    """
    try:
        return json.loads(checked(path, most).read_text(encoding="utf-8"))
    except (RecursionError, MemoryError) as error:
        raise ValueError("it is nested too deeply, or too large for the memory") from error


def read_array(path, most, **options):
    """Return what a .npy file holds, whoever wrote it. Raises OSError, or ValueError if it holds none, or too much.

    most: bytes. options: of numpy.load.
    """
    import numpy as np

    try:
        return np.load(checked(path, most), allow_pickle=False, **options)
    except (OSError, ValueError):
        raise
    except Exception as error:  # numpy parses the header as Python
        raise ValueError("it is damaged") from error


def checked(path, most):
    """Return the path of a file that can be opened without waiting and read without filling the memory.

    Raises FileNotFoundError if it is no file, ValueError if it has more than `most` bytes.
    """
    path = Path(path)
    if not path.is_file():  # nor a pipe, which would wait for ever
        raise FileNotFoundError(errno.ENOENT, "there is no such file", str(path))
    if path.stat().st_size > most:
        raise ValueError(f"it has more than {most:,} bytes")
    return path


def to_json(value):
    return json.dumps(value, indent=1) + "\n"


def modified(path):
    """Return when a file was last changed, as seconds; 0 if it is gone, since a training may remove it meanwhile."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0


def fingerprint(path):
    """Return the SHA-256 of a file, in hexadecimal. Raises UserError if it can't be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"can't read {path}: {error.strerror}") from error
