"""Write files whole or not at all."""

import contextlib
import hashlib
import json
import os
from pathlib import Path

from convnets.errors import UserError


def make_folder(path):
    """Make a folder if there is none yet; it survives a power cut. Raises UserError if that is impossible."""
    path = Path(path)
    try:
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        for folder in missing:
            sync_names(folder.parent)
    except OSError as error:
        raise UserError(f"can't make the folder {path} ({error.strerror}): name another one with --run") from error


def write(path, content):
    """Write text or bytes to a file: afterwards it holds all of it, or, if anything goes wrong, what it held before.

    This holds if the process is killed and if the disk is full, and for a power cut as far as the system keeps its
    promises. Raises UserError if the system refuses to write.
    """
    path = Path(path)
    partial = path.with_name(f".partial-{path.name}")
    try:
        with open(partial, "wb") as file:
            file.write(content.encode(errors="surrogateescape") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise UserError(
            f"can't write {path} ({error.strerror}); what was saved before is kept: "
            "free some space, or see to the permissions, and run the same command again"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    sync_names(path.parent)


def sync_names(folder):
    """Make sure that the names in a folder, new, changed or gone, survive a power cut."""
    if os.name == "posix":  # Windows does not let a program write a folder
        descriptor = os.open(folder, os.O_RDONLY)
        with contextlib.suppress(OSError):  # some network file systems can't
            os.fsync(descriptor)
        os.close(descriptor)


def to_json(value):
    return json.dumps(value, indent=1) + "\n"


def fingerprint(path):
    """Return the SHA-256 of a file, in hexadecimal. Raises UserError if it can't be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"can't read {path}: {error.strerror}") from error
