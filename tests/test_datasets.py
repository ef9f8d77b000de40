import errno
import functools
import gzip
import hashlib
import http.server
import io
import os
import pickle
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest

from convnets.data import cifar10, datasets, downloads, mnist
from convnets.errors import UserError

IMAGES = 20  # in a made-up batch of CIFAR-10


@pytest.fixture(autouse=True)
def empty_keras_home(monkeypatch, tmp_path, request):
    """The machine of these tests has no datasets, except for those that ask for the real ones."""
    if "real_dataset" not in request.fixturenames:
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras_home"))


# ---------------------------------------------------------------- CIFAR-10 in each of its layouts


@pytest.fixture
def batches(monkeypatch):
    """Six small batches as {name: (images, 3073) uint8 records}, which `cifar10` takes for the official ones."""
    rng = np.random.default_rng(0)
    records = {name: rng.integers(0, 256, (IMAGES, 3073), dtype="uint8") for name in cifar10.BATCHES}
    for array in records.values():
        array[:, 0] %= 10
    monkeypatch.setattr(cifar10, "BATCH_SIZE", IMAGES)
    monkeypatch.setattr(
        cifar10, "BATCHES", {name: hashlib.sha256(array).hexdigest() for name, array in records.items()}
    )
    return records


def pickled(records):
    """A batch as the Python version's file: with keys that are bytes, NumPy's module names of its time."""
    batch = {
        b"batch_label": b"a batch",
        b"labels": records[:, 0].tolist(),
        b"data": np.ascontiguousarray(records[:, 1:]),
    }
    return pickle.dumps(batch, protocol=3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def write_folder(folder, batches, *, binary=False):
    folder.mkdir(parents=True)
    for name, records in batches.items():
        path = folder / (name + ".bin" if binary else name)
        path.write_bytes(records.tobytes() if binary else pickled(records))


def write_archive(path, batches, *, binary=False, inner="cifar-10-batches-py/"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, records in batches.items():
            content = records.tobytes() if binary else pickled(records)
            member = tarfile.TarInfo(inner + (name + ".bin" if binary else name))
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


LAYOUTS = {
    "python batches, as Keras 2 unpacked them": lambda home, b: write_folder(home / "cifar-10-batches-py", b),
    "python batches, as Keras 3 unpacks them": lambda home, b: write_folder(
        home / "cifar-10-batches-py-target" / "cifar-10-batches-py", b
    ),
    "python batches, in the folder itself": lambda home, b: write_folder(home, b),
    "binary batches": lambda home, b: write_folder(home / "cifar-10-batches-bin", b, binary=True),
    "official archive": lambda home, b: write_archive(home / "cifar-10-python.tar.gz", b),
    "archive of Keras 2": lambda home, b: write_archive(home / "cifar-10-batches-py.tar.gz", b),
    "archive of Keras 3": lambda home, b: write_archive(home / "cifar-10-batches-py-target_archive", b),
    "binary archive": lambda home, b: write_archive(
        home / "cifar-10-binary.tar.gz", b, binary=True, inner="cifar-10-batches-bin/"
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_cifar10_is_read_from_every_layout(layout, batches, tmp_path):
    LAYOUTS[layout](tmp_path / "keras_home" / "datasets", batches)
    dataset = datasets.load("cifar10")

    assert dataset.x_train.shape == (5 * IMAGES, 32, 32, 3)
    assert dataset.x_test.shape == (IMAGES, 32, 32, 3)
    assert dataset.x_train.dtype == dataset.x_test.dtype == np.uint8
    assert dataset.y_train.dtype == dataset.y_test.dtype == np.int64
    assert dataset.class_names[6] == "frog"
    assert dataset.flippable
    # Third image of the second batch, fifth row, seventh pixel: red, then green, then blue are 1,024 bytes apart.
    record = batches["data_batch_2"][2]
    position = 1 + 4 * 32 + 6
    np.testing.assert_array_equal(
        dataset.x_train[IMAGES + 2, 4, 6], record[[position, position + 1024, position + 2048]]
    )
    assert dataset.y_train[IMAGES + 2] == record[0]
    np.testing.assert_array_equal(dataset.y_test, batches["test_batch"][:, 0])


def test_data_dir_comes_before_the_home_folder(batches, tmp_path):
    write_folder(tmp_path / "keras_home" / "datasets" / "cifar-10-batches-py", batches)
    write_folder(tmp_path / "mine" / "cifar-10-batches-py", batches)
    assert datasets.load("cifar10", tmp_path / "mine").source == str(tmp_path / "mine" / "cifar-10-batches-py")
    assert "keras_home" in datasets.load("cifar10", tmp_path / "nothing_here").source


def test_home_folder_without_keras_home(batches, tmp_path, monkeypatch):
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setenv("HOME" if os.name == "posix" else "USERPROFILE", str(tmp_path / "me"))
    write_folder(tmp_path / "me" / ".keras" / "datasets" / "cifar-10-batches-py", batches)
    there = tmp_path / "me" / ".keras" / "datasets" / "cifar-10-batches-py"
    assert datasets.load("cifar10").source == str(there)


def test_a_tilde_that_the_shell_left_is_the_home_folder(batches, tmp_path, monkeypatch):
    """As in --data-dir=~/mine, where bash does not replace it."""
    monkeypatch.setenv("HOME" if os.name == "posix" else "USERPROFILE", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", "~/keras_home")
    write_folder(tmp_path / "mine" / "cifar-10-batches-py", batches)
    assert datasets.load("cifar10", "~/mine").source == str(tmp_path / "mine" / "cifar-10-batches-py")
    write_folder(tmp_path / "keras_home" / "datasets" / "cifar-10-batches-py", batches)
    assert datasets.load("cifar10").source.startswith(str(tmp_path / "keras_home"))
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "~scratch" / "cifar-10-batches-py", batches)  # a name that only begins with one
    assert "~scratch" in datasets.load("cifar10", "~scratch").source


# ---------------------------------------------------------------- CIFAR-10, damaged


@pytest.fixture
def folder(batches, tmp_path):
    folder = tmp_path / "keras_home" / "datasets" / "cifar-10-batches-py"
    write_folder(folder, batches)
    return folder


def test_a_changed_pixel_is_noticed_and_the_file_named(folder, batches):
    batches["data_batch_3"][7, 1000] ^= 1
    (folder / "data_batch_3").write_bytes(pickled(batches["data_batch_3"]))
    with pytest.raises(UserError, match=r"data_batch_3 is damaged or not the official file.*checksum"):
        datasets.load("cifar10")


@pytest.mark.parametrize("name", ["cifar10", "auto"])
def test_a_truncated_batch_is_named(folder, name):
    content = (folder / "data_batch_4").read_bytes()
    (folder / "data_batch_4").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="data_batch_4 is damaged"):
        datasets.load(name)


def test_a_missing_batch_is_named(folder):
    (folder / "data_batch_2").unlink()
    with pytest.raises(UserError, match=r"incomplete \(missing: data_batch_2\)"):
        datasets.load("cifar10")


def test_a_half_unpacked_archive_is_read_itself(folder, batches):
    (folder / "data_batch_2").unlink()
    write_archive(folder.parent / "cifar-10-python.tar.gz", batches)
    assert datasets.load("cifar10").source.endswith("cifar-10-python.tar.gz")


def test_deleting_what_the_error_names_is_enough(folder):
    (folder / "data_batch_2").write_bytes(b"damaged")
    with pytest.raises(UserError, match="delete or move all batches in that folder"):
        datasets.load("cifar10")
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(downloads.Unavailable):  # it goes on to the download, which tests do not allow
        datasets.load("cifar10")


def test_a_folder_that_the_system_withholds(folder, monkeypatch):
    def withheld(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", withheld)
    with pytest.raises(UserError, match=r"can't read .* \(Permission denied\): .*--data-dir"):
        datasets.load("cifar10")


def test_a_user_without_a_home_folder(monkeypatch):
    def no_home(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setattr(Path, "expanduser", no_home)
    with pytest.raises(UserError, match=r"no home folder.*set KERAS_HOME"):
        datasets.load("cifar10")


@pytest.mark.parametrize(
    "batch", [{b"labels": [1, 2]}, [1, 2, 3], {b"labels": [1], b"data": np.zeros((1, 3072), "uint8")}]
)
def test_a_pickle_of_something_else_is_named(folder, batch):
    content = pickle.dumps(batch, protocol=3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    (folder / "test_batch").write_bytes(content)
    with pytest.raises(UserError, match="test_batch is damaged or not the official file"):
        datasets.load("cifar10")


class Hostile:
    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize("as_archive", [False, True])
def test_a_hostile_pickle_runs_nothing_and_is_named(as_archive, folder, batches, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("still here")
    content = pickle.dumps({b"labels": Hostile(os.unlink, str(victim)), b"data": 1}, protocol=3)
    (folder / "data_batch_5").write_bytes(content)
    expected = "data_batch_5"
    if as_archive:
        with tarfile.open(folder.parent / "cifar-10-python.tar.gz", "w:gz") as archive:
            for path in folder.iterdir():
                archive.add(path, f"cifar-10-batches-py/{path.name}")
                path.unlink()
        expected = "cifar-10-python.tar.gz"
    with pytest.raises(UserError, match=rf"{expected} is damaged.*asks for (posix|nt).unlink"):
        datasets.load("cifar10")
    assert victim.read_text() == "still here"
    with pytest.raises(TypeError):  # what a plain pickle.load would have done, up to the missing arrays
        len(pickle.loads(content)[b"data"])
    assert not victim.exists()


def test_an_object_array_in_a_pickle_is_refused(folder):
    content = pickle.dumps({b"labels": [1], b"data": np.array([{"any": "thing"}], dtype=object)}, protocol=3)
    (folder / "data_batch_1").write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    with pytest.raises(UserError, match=r"data_batch_1 is damaged.*instead of uint8"):
        datasets.load("cifar10")


@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.99])
def test_a_truncated_archive_is_named(kept, batches, tmp_path):
    archive = tmp_path / "keras_home" / "datasets" / "cifar-10-python.tar.gz"
    write_archive(archive, batches)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(kept * len(content)) if kept < 1 else kept])
    with pytest.raises(UserError, match=r"cifar-10-python.tar.gz is damaged"):
        datasets.load("cifar10")


def test_an_archive_can_not_write_outside_its_folder(batches, tmp_path):
    archive = tmp_path / "keras_home" / "datasets" / "cifar-10-python.tar.gz"
    write_archive(archive, batches, inner="../../../../escaped/")
    before = sorted(tmp_path.rglob("*"))
    assert len(datasets.load("cifar10").x_test) == IMAGES  # only the file names within count
    assert sorted(tmp_path.rglob("*")) == before


def test_neighbours_with_similar_names_do_not_matter(tmp_path):
    folder = tmp_path / "keras_home" / "datasets"
    folder.mkdir(parents=True)
    for name in ("cifar-100-python.tar.gz", "cifar-10-python.tar.gz.part", "cifar-10.md5"):
        (folder / name).write_text("something else")
    assert datasets.load("auto").name == "digits"


def test_data_dir_must_not_be_a_file(batches, tmp_path):
    (tmp_path / "cifar-10-python.tar.gz").touch()
    with pytest.raises(UserError, match="is a file: name the folder"):
        datasets.load("cifar10", tmp_path / "cifar-10-python.tar.gz")


# ---------------------------------------------------------------- MNIST


@pytest.fixture
def arrays(monkeypatch):
    """A small MNIST as {part: array}, which `mnist` takes for the official one."""
    rng = np.random.default_rng(1)
    arrays = {
        "x_train": rng.integers(0, 256, (30, 28, 28), dtype="uint8"),
        "y_train": rng.integers(0, 10, 30, dtype="uint8"),
        "x_test": rng.integers(0, 256, (10, 28, 28), dtype="uint8"),
        "y_test": rng.integers(0, 10, 10, dtype="uint8"),
    }
    monkeypatch.setattr(mnist, "SHAPES", {part: array.shape for part, array in arrays.items()})
    checksums = {part: hashlib.sha256(array).hexdigest() for part, array in arrays.items()}
    monkeypatch.setattr(mnist, "CHECKSUMS", checksums)
    return arrays


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes() + array.tobytes()


def write_idx(folder, arrays, *, packed=False, dot=False):
    folder.mkdir(parents=True)
    for part, name in mnist.IDX_FILES.items():
        name = name.replace("-idx", ".idx") if dot else name
        content = idx(arrays[part])
        (folder / (name + ".gz" if packed else name)).write_bytes(gzip.compress(content) if packed else content)


def write_npz(folder, arrays):
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "mnist.npz", **arrays)


def write_libsvm(folder, arrays):
    folder.mkdir(parents=True, exist_ok=True)
    for part, name in mnist.LIBSVM_FILES.items():
        lines = [
            " ".join([str(label), *(f"{i + 1}:{value}" for i, value in enumerate(image.ravel()) if value)])
            for image, label in zip(arrays[f"x_{part}"], arrays[f"y_{part}"], strict=True)
        ]
        (folder / name).write_text("\n".join(lines) + "\n")


MNIST_LAYOUTS = {
    "npz": write_npz,
    "IDX": write_idx,
    "IDX, gzipped": lambda home, a: write_idx(home, a, packed=True),
    "IDX in mnist/": lambda home, a: write_idx(home / "mnist", a),
    "IDX in mnist/, gzipped": lambda home, a: write_idx(home / "mnist", a, packed=True),
    "IDX with a dot": lambda home, a: write_idx(home, a, dot=True),
    "IDX as torchvision left it": lambda home, a: write_idx(home / "MNIST" / "raw", a),
    "LibSVM": write_libsvm,
    "LibSVM in mnist/": lambda home, a: write_libsvm(home / "mnist", a),
}


@pytest.mark.parametrize("layout", MNIST_LAYOUTS)
def test_mnist_is_read_from_every_layout(layout, arrays, tmp_path):
    MNIST_LAYOUTS[layout](tmp_path / "keras_home" / "datasets", arrays)
    dataset = datasets.load("mnist")
    np.testing.assert_array_equal(dataset.x_train, arrays["x_train"][..., None])
    np.testing.assert_array_equal(dataset.x_test, arrays["x_test"][..., None])
    np.testing.assert_array_equal(dataset.y_train, arrays["y_train"])
    np.testing.assert_array_equal(dataset.y_test, arrays["y_test"])
    assert dataset.x_train.dtype == np.uint8
    assert dataset.y_train.dtype == np.int64
    assert not dataset.flippable


def damage(path, change):
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda content: content[:-1], "reshape"),
        (lambda content: content[:-1] + bytes([content[-1] ^ 1]), "checksum"),
        (lambda content: b"<html>" + content, "header is not that of an IDX file"),
        (lambda content: b"", "header is not that of an IDX file"),
    ],
)
def test_a_damaged_idx_file_is_named(change, reason, arrays, tmp_path):
    folder = tmp_path / "keras_home" / "datasets" / "mnist"
    write_idx(folder, arrays)
    damage(folder / "t10k-images-idx3-ubyte", change)
    with pytest.raises(UserError, match=f"t10k-images-idx3-ubyte is damaged.*{reason}"):
        datasets.load("mnist")


def test_a_truncated_gzip_file_is_named(arrays, tmp_path):
    folder = tmp_path / "keras_home" / "datasets"
    write_idx(folder, arrays, packed=True)
    damage(folder / "train-labels-idx1-ubyte.gz", lambda content: content[:-9])
    with pytest.raises(UserError, match=r"train-labels-idx1-ubyte.gz is damaged"):
        datasets.load("mnist")


def test_a_missing_idx_file_is_named(arrays, tmp_path):
    folder = tmp_path / "keras_home" / "datasets"
    write_idx(folder, arrays)
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(UserError, match="missing: t10k-labels-idx1-ubyte"):
        datasets.load("mnist")


def test_a_damaged_npz_file_is_named(arrays, tmp_path):
    folder = tmp_path / "keras_home" / "datasets"
    write_npz(folder, arrays)
    damage(folder / "mnist.npz", lambda content: content[: len(content) // 2])
    with pytest.raises(UserError, match=r"mnist.npz is damaged"):
        datasets.load("mnist")


def test_an_npz_file_with_pickled_objects_is_refused(arrays, tmp_path):
    folder = tmp_path / "keras_home" / "datasets"
    write_npz(folder, {**arrays, "x_train": np.array([Hostile(print, "run!")], dtype=object)})
    with pytest.raises(UserError, match=r"mnist.npz is damaged"):
        datasets.load("mnist")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("3 1:300", "whole numbers"),
        ("11 1:3", "whole numbers"),
        ("3 1:0.5", "whole numbers"),
        ("3 900:7", ""),
        ("3 99999999999999:7", ""),
        ("x", ""),
    ],
)
def test_a_damaged_libsvm_file_is_named(line, reason, arrays, tmp_path):
    folder = tmp_path / "keras_home" / "datasets"
    write_libsvm(folder, arrays)
    path = folder / "mnist-digits-test.txt"
    path.write_text("\n".join([line, *path.read_text().splitlines()[1:]]))
    with pytest.raises(UserError, match=f"mnist-digits-test.txt is damaged.*{reason}"):
        datasets.load("mnist")


def test_a_libsvm_file_with_too_few_lines_is_named(arrays, tmp_path):
    folder = tmp_path / "keras_home" / "datasets"
    write_libsvm(folder, arrays)
    path = folder / "mnist-digits-test.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    with pytest.raises(UserError, match=r"mnist-digits-test.txt is damaged.*contains 9 images instead of 10"):
        datasets.load("mnist")


# ---------------------------------------------------------------- digits, and nothing at all


def test_digits():
    dataset = datasets.load("digits")
    assert dataset.x_train.shape == (1437, 32, 32, 1)
    assert dataset.x_test.shape == (360, 32, 32, 1)
    assert dataset.x_train.dtype == np.uint8
    assert dataset.x_train.max() == 255
    assert not dataset.flippable
    assert np.bincount(dataset.y_test).tolist() == [36, 36, 35, 37, 36, 37, 36, 36, 35, 36]  # a fifth of each class
    # Each of the 8x8 pixels became a square of 4x4, so the small image can be read back.
    from sklearn.datasets import load_digits

    small = {np.rint(image * 255 / 16).astype("uint8").tobytes() for image in load_digits().images}
    assert all(image[::4, ::4, 0].tobytes() in small for image in dataset.x_test)
    assert (dataset.x_test[:, 3::4, 3::4] == dataset.x_test[:, ::4, ::4]).all()


def test_the_digits_split_never_changes():
    """Other numbers here mean that accuracies can no longer be compared with those in results/."""
    dataset = datasets.load("digits")
    assert (
        hashlib.sha256(dataset.x_test).hexdigest() == "f5d1f7eaecb6fab41260a0921c9c50366669828b4987629dfbc29eb3feb4da6a"
    )


def test_auto_falls_back_to_digits_and_says_what_to_do(capsys, tmp_path):
    dataset = datasets.load("auto")
    notice = capsys.readouterr().out
    assert dataset.name == "digits"
    assert len(notice.splitlines()) == 3
    assert "cifar-10-python.tar.gz" in notice
    assert str(tmp_path / "keras_home" / "datasets") in notice


def test_auto_falls_back_when_the_download_can_not_be_stored(capsys, monkeypatch, tmp_path):
    (tmp_path / "keras_home").touch()  # a file where a folder should be
    download = downloads.Download("cifar-10-python.tar.gz", "0" * 64, ("http://127.0.0.1:9/",))
    monkeypatch.setattr(cifar10, "DOWNLOAD", download)
    monkeypatch.setattr(downloads, "_check_host", lambda url: None)
    assert datasets.load("auto").name == "digits"
    assert "can't write to" in capsys.readouterr().out


def test_a_downloaded_dataset_is_read(batches, tmp_path, monkeypatch):
    """The whole way: not on this machine, fetched from a host, checked, read."""
    write_archive(tmp_path / "host" / "cifar-10-python.tar.gz", batches)
    content = (tmp_path / "host" / "cifar-10-python.tar.gz").read_bytes()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "host")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as host:
        threading.Thread(target=host.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{host.server_port}/cifar-10-python.tar.gz"
        download = downloads.Download("cifar-10-python.tar.gz", hashlib.sha256(content).hexdigest(), (url,))
        monkeypatch.setattr(cifar10, "DOWNLOAD", download)
        dataset = datasets.load("auto", tmp_path / "mine")
        host.shutdown()
    assert dataset.source == str(tmp_path / "mine" / "cifar-10-python.tar.gz")
    np.testing.assert_array_equal(dataset.y_test, batches["test_batch"][:, 0])
    assert datasets.load("cifar10", tmp_path / "mine").source == dataset.source  # from now on without the host


def test_what_was_read_ahead_is_taken_once(folder, monkeypatch):
    expected = datasets.load("cifar10", folder)
    datasets.read_ahead("cifar10", folder)
    monkeypatch.setattr(cifar10, "load", lambda data_dir: pytest.fail("it was read again"))
    assert np.array_equal(datasets.load("cifar10", folder).x_train, expected.x_train)
    assert not datasets._read_ahead  # an unused copy would take 180 MB


def test_what_can_not_be_read_ahead_is_left_to_load(folder, tmp_path):
    (folder / "data_batch_3").write_bytes(b"damaged")
    datasets.read_ahead("cifar10", folder)
    with pytest.raises(UserError, match="data_batch_3 is damaged"):
        datasets.load("cifar10", folder)
    datasets.read_ahead("mnist", tmp_path / "nowhere")  # neither here nor downloaded
    ((_, begun),) = datasets._read_ahead.items()
    assert begun.result() is None
    datasets.read_ahead("digits")
    datasets.read_ahead(str(tmp_path))
    assert not datasets._read_ahead


def test_an_unknown_name():
    with pytest.raises(UserError, match="there is no dataset 'downloads': choose one of cifar10, mnist, digits"):
        datasets.load("downloads")  # a module beside theirs


def test_explicit_cifar10_never_falls_back():
    with pytest.raises(UserError, match="can't download"):
        datasets.load("cifar10")


# ---------------------------------------------------------------- the real ones


@pytest.mark.parametrize("name", datasets.SOURCES)
def test_a_module_describes_its_dataset(name, real_dataset):
    dataset, source = real_dataset(name), datasets.SOURCES[name]
    assert dataset.name == name
    assert dataset.input_shape == source.INPUT_SHAPE
    assert dataset.class_names == source.CLASS_NAMES
    assert dataset.flippable == source.FLIPPABLE
    for labels in (dataset.y_train, dataset.y_test):
        assert set(labels) == set(range(dataset.num_classes))


def test_real_cifar10(real_dataset):
    dataset = real_dataset("cifar10")
    assert dataset.x_train.shape == (50000, 32, 32, 3)
    assert dataset.x_test.shape == (10000, 32, 32, 3)
    assert dataset.y_train[:5].tolist() == [6, 9, 9, 4, 1]  # the article prints these
    assert np.bincount(dataset.y_train).tolist() == [5000] * 10
    assert np.bincount(dataset.y_test).tolist() == [1000] * 10
    mean = dataset.x_train.mean(axis=(0, 1, 2)) / 255
    np.testing.assert_allclose(mean, [0.4914, 0.4822, 0.4465], atol=5e-5)  # the well-known channel means


def test_real_mnist(real_dataset):
    dataset = real_dataset("mnist")
    assert dataset.x_train.shape == (60000, 28, 28, 1)
    assert dataset.y_train[:5].tolist() == [5, 0, 4, 1, 9]
    assert np.bincount(dataset.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert dataset.x_train.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
