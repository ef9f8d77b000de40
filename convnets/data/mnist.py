"""MNIST: 70,000 handwritten digits, 28x28 pixels in shades of grey.

Source: LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition", 1998.
"""

import gzip
import io
import zipfile

import numpy as np

from convnets.data import downloads, source_files
from convnets.data.source_files import Damaged

TITLE = "MNIST"
CLASS_NAMES = tuple("0123456789")
INPUT_SHAPE = (28, 28, 1)
FLIPPABLE = False
DOWNLOAD = downloads.Download(
    filename="mnist.npz",
    sha256="731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
    urls=(
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
        "https://s3.amazonaws.com/img-datasets/mnist.npz",
    ),
)

SHAPES = {"x_train": (60000, 28, 28), "y_train": (60000,), "x_test": (10000, 28, 28), "y_test": (10000,)}
CHECKSUMS = {  # SHA-256 of the arrays' bytes, whatever the file format
    "x_train": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    "y_train": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    "x_test": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    "y_test": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
}
IDX_FILES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
MOST_BYTES = 100_000_000  # of an array, or of a file; the training images have 47 million
LIBSVM_FILES = {"train": "mnist-digits-train.txt", "test": "mnist-digits-test.txt"}  # the scadamale article's


def load(data_dir=None):
    return source_files.find_or_download(find, DOWNLOAD, data_dir)


def find(folder):
    """Load the .npz, IDX or LibSVM files in a folder, or return None if it contains none of them."""
    for files in (folder, folder / "mnist", folder / "MNIST" / "raw", folder / "mnist-digits" / "data-001"):
        if (path := files / DOWNLOAD.filename).is_file():
            return _arrays(source_files.read(path, _read_npz)), str(path)
        paths = {part: _idx_path(files, name) for part, name in IDX_FILES.items()}
        if any(paths.values()):
            if missing := [IDX_FILES[part] for part, path in paths.items() if path is None]:
                raise source_files.incomplete(files, missing)
            parts = {part: source_files.read(path, _read_idx, one_of="IDX files") for part, path in paths.items()}
            return _arrays(parts), str(files)
        if all((files / name).is_file() for name in LIBSVM_FILES.values()):
            parts = {}
            for part, name in LIBSVM_FILES.items():
                parts[f"x_{part}"], parts[f"y_{part}"] = source_files.read(files / name, _read_libsvm)
            return _arrays(parts), str(files)
    return None


def _read_npz(path):
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.file_size > MOST_BYTES:
                raise Damaged(f"{member.filename} in it has {member.file_size:,} bytes")
    with np.load(path, allow_pickle=False) as file:
        parts = {part: file[part] for part in SHAPES}
    for part, array in parts.items():
        _check(part, array)
    return parts


def _idx_path(folder, name):
    """Return the IDX file under one of the names that unpacking programs give it, or None."""
    names = (name, f"{name}.gz", name.replace("-idx", ".idx"), name.replace("-idx", ".idx") + ".gz")
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _read_idx(path):
    if path.suffix == ".gz":
        with gzip.open(path) as file:
            content = file.read(MOST_BYTES)  # and no more, whatever is packed into it
    else:
        content = source_files.read_bytes(path, MOST_BYTES)
    part = next(part for part, name in IDX_FILES.items() if path.name.startswith(name.split("-idx")[0]))
    dimensions = len(SHAPES[part])
    if content[:4] != bytes([0, 0, 8, dimensions]):  # 8 stands for unsigned bytes
        raise Damaged(f"its header is not that of an IDX file of bytes with {dimensions} dimensions")
    shape = np.frombuffer(content, dtype=">u4", count=dimensions, offset=4)
    array = np.frombuffer(content, dtype="uint8", offset=4 + 4 * dimensions).reshape(shape)
    _check(part, array)
    return array


def _check(part, array):
    if array.shape != SHAPES[part] or array.dtype != "uint8":
        raise Damaged(f"{part} has shape {array.shape} and dtype {array.dtype} instead of {SHAPES[part]} and uint8")
    source_files.check_sha256(part, array, CHECKSUMS[part])


def _read_libsvm(path):
    """Read one of the scadamale article's text files. No official checksum exists, so their values are checked."""
    from sklearn.datasets import load_svmlight_file

    content = source_files.read_bytes(path, 4 * MOST_BYTES)  # as text, pixels take more
    (expected,) = SHAPES[f"y_{path.stem.rpartition('-')[2]}"]
    if content.rstrip().count(b"\n") >= expected:
        raise Damaged(f"it contains more than {expected} lines")
    pixels, labels = load_svmlight_file(io.BytesIO(content), n_features=784, zero_based=False)
    if len(labels) != expected:
        raise Damaged(f"it contains {len(labels)} images instead of {expected}")
    pixels = pixels.toarray()
    if not (np.isin(pixels, np.arange(256)).all() and np.isin(labels, np.arange(10)).all()):
        raise Damaged("its pixels are not all whole numbers from 0 to 255, or its labels not from 0 to 9")
    return pixels.astype("uint8").reshape(-1, 28, 28), labels.astype("uint8")


def _arrays(parts):
    """Add the channel axis to the images, and return x_train, y_train, x_test, y_test."""
    return (
        parts["x_train"][..., None],
        parts["y_train"].astype("int64"),
        parts["x_test"][..., None],
        parts["y_test"].astype("int64"),
    )
