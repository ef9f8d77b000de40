"""What all tests share: small datasets and networks, the real datasets where they are, and a project of their own."""

import dataclasses
import functools
import gc
import os
import sys

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # there is a test process for each core
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # those of two processes would compete for the cores
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from convnets import paths
from convnets.data import datasets, source_files
from convnets.training import autotune

THREADS = os.environ["TF_NUM_INTRAOP_THREADS"]
if "PYTEST_XDIST_WORKER" in os.environ:
    gc.disable()  # while the tests and Keras are imported, which takes less time without


# These files take longest. They come first, so that no core has nothing to do at the end.
LONGEST = [
    "test_explorer",
    "test_hostile_files",
    "test_training",
    "test_cluster",
    "test_compare_models",
    "test_kill",
    "test_views",
    "test_folders",
    "test_calibration",
    "test_fast_model",
    "test_any_network",
    "test_start_and_exit",
    "test_transfer",
    "test_search",
]


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))
    for item in items:
        if "real_dataset" in item.fixturenames:
            item.add_marker("real_data")


@pytest.fixture(autouse=True, scope="session")
def fast_garbage_collection():
    """Exempt the imported packages: Keras collects garbage for each new network, and searches all of TensorFlow."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True, scope="session")
def float32_is_faster_everywhere():
    """A script that a test calls computes in float32 on each machine, unless the test asks for another precision."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(autotune, "time_convolution", lambda: {"float32": 1.0, "bfloat16": 2.0})
        yield


@pytest.fixture(autouse=True, scope="session")
def drawing_of_curves():
    """Leave out the drawing of training curves, which takes longer than a small training. Yields what draws them."""
    from convnets.training import training_curves

    draw = training_curves.training_curves
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_curves, "training_curves", lambda history, _: 2000 * bytes([len(history) % 255 + 1]))
        yield draw


@pytest.fixture(autouse=True)
def the_usual_precision_again():
    yield
    if "keras" in sys.modules:
        sys.modules["keras"].config.set_dtype_policy("float32")


@pytest.fixture(autouse=True)
def same_threads_in_every_process(monkeypatch):
    """A script that a test starts computes the same bits as one that it calls, also after a test of --threads."""
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", THREADS)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """A test never depends on the internet: a download is an error unless the test brings its own server."""
    for source in datasets.SOURCES.values():
        if source.DOWNLOAD:
            monkeypatch.setattr(source, "DOWNLOAD", dataclasses.replace(source.DOWNLOAD, urls=()))
    monkeypatch.setattr(datasets.downloads, "allowed", True)  # whatever an earlier test turned off
    for name in ("NO_PROXY", "no_proxy"):  # for the servers of the tests
        monkeypatch.setenv(name, "127.0.0.1,localhost")


@pytest.fixture(autouse=True)
def own_models_folder(monkeypatch, tmp_path_factory):
    """A test never reads or writes the checkout's own runs."""
    monkeypatch.setattr(paths, "MODELS", tmp_path_factory.mktemp("project") / "models")


@functools.cache
def load_once(name):
    dataset = datasets.load(name)
    for array in (dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test):
        array.flags.writeable = False  # since tests share it
    return dataset


@pytest.fixture
def real_dataset():
    """Return a function that loads the real "cifar10" or "mnist", or skips the test where it is not on this machine."""

    def load(name):
        try:
            return load_once(name)
        except datasets.downloads.Unavailable:
            return pytest.skip(f"{name} is not in {source_files.search_folders(None)[0]}")

    return load


@pytest.fixture
def few_digits(monkeypatch):
    """Make scikit-learn's digits few: 200 images to train on and 200 to test, for tests of all but the accuracy."""
    from convnets.data import digits

    arrays, source = digits.load()
    few = tuple(array[:200] for array in arrays)
    monkeypatch.setattr(digits, "load", lambda data_dir=None: (few, source))


@pytest.fixture
def drawn(monkeypatch):
    """Leave out the drawing of pictures, which takes longer than the rest. Returns the list of their names."""
    from convnets import drawing

    names = []
    monkeypatch.setattr(drawing, "save", lambda figure, path, **_: names.append(path.name))
    return names


@pytest.fixture
def tiny_dataset():
    """40 training and 20 test images, 8x8 grey, of two classes: bright at the top, or at the bottom."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    images = rng.integers(0, 100, (60, 8, 8, 1), dtype="uint8")
    images[labels == 0, :4] += 100
    images[labels == 1, 4:] += 100
    return datasets.Dataset("tiny", ("top", "bottom"), images[:40], labels[:40], images[40:], labels[40:], "the tests")


@pytest.fixture
def build_tiny_model():
    """Return a function that builds a compiled network for tiny_dataset, with dropout, the same each time."""
    import keras
    from keras import layers

    def build(*, filters=4, learning_rate=0.01):
        keras.utils.clear_session()  # so that layer names do not depend on earlier tests
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                layers.Conv2D(filters, 3, activation="relu", name="conv1"),
                layers.Dropout(0.25),
                layers.Flatten(),
                layers.Dense(32, activation="relu", name="fc1"),
                layers.Dropout(0.5),
                layers.Dense(2, activation="softmax", name="fc2"),
            ]
        )
        model.compile(
            loss="categorical_crossentropy", optimizer=keras.optimizers.Adam(learning_rate), metrics=["accuracy"]
        )
        return model

    return build
