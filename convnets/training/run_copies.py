"""Send a run from one machine to another: its folder as {file name: bytes}, and what changes there after each epoch."""

import contextlib
from pathlib import Path

from convnets import files
from convnets.errors import UserError


def read(folder):
    """Return the files of a run's folder, {name: bytes}; none if there is no such folder.

    Raises UserError if the system refuses to read.
    """
    try:
        return {name: Path(folder, name).read_bytes() for name in _files(folder)}
    except OSError as error:
        raise UserError(f"can't read {folder} ({error.strerror}): see to the permissions") from error


def write(folder, changes):
    """Bring a run's folder up to date with changes, {name: bytes, or None for a file that is gone}.

    At each moment the folder holds a whole run: run.json comes first, and weights come before the record that makes
    them a checkpoint, and go after it. Names that lead elsewhere, or are hidden, are no files of a run, and ignored.
    Raises UserError if the system refuses to write.
    """
    files.make_folder(folder)
    changes = {name: content for name, content in changes.items() if Path(name).name == name and name[0] != "."}
    written = {name: content for name, content in changes.items() if content is not None}
    for name in sorted(written, key=_order):
        files.write(Path(folder, name), written[name])
    for name in sorted(changes.keys() - written.keys(), key=_order, reverse=True):
        with contextlib.suppress(OSError):  # in use by another program: it does no harm
            Path(folder, name).unlink(missing_ok=True)


class Changes:
    """What has changed in a run's folder since the last time it was asked."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self._known = self._state()

    def __call__(self):
        """Return {name: bytes, or None for a file that is gone}."""
        before, self._known = self._known, self._state()
        gone = dict.fromkeys(before.keys() - self._known.keys())
        changed = [name for name, state in self._known.items() if state != before.get(name)]
        return {**gone, **{name: (self.folder / name).read_bytes() for name in changed}}

    def _state(self):
        return {name: _stamp(self.folder / name) for name in _files(self.folder)}


def _files(folder):
    paths = Path(folder).iterdir() if Path(folder).is_dir() else ()
    return [path.name for path in paths if path.is_file() and not path.is_symlink() and not path.name.startswith(".")]


def _stamp(path):
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size  # each write makes a new file, so also a new inode


def _order(name):
    return name != "run.json", not name.endswith(".weights.h5"), name
