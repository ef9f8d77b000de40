"""Measure the overhead of checkpoints, history and exact resume over plain `model.fit`, and that of augmentation.

    python -m benchmarks.training_speed                   both comparisons; needs CIFAR-10
    python -m benchmarks.training_speed improved_model    only augmentation

Both sides of a comparison train alternately, an epoch each, in the same process on the same images, so that other
load on the machine affects both. The first epoch of each, which compiles, does not count. The ratio is that of the
medians.
"""

import argparse
import math
import statistics
import tempfile
import time
from pathlib import Path

import keras

import basic_model
import improved_model
from benchmarks.results import record
from convnets import paths
from convnets.data import datasets
from convnets.data.augmentation import Augmentation
from convnets.training import training
from convnets.training.batches import TestBatches


def compiled(script, dataset):
    keras.utils.set_random_seed(1337)
    model = script.build_model(dataset.input_shape, dataset.num_classes)
    script.compile_model(model, steps_per_epoch=math.ceil(len(dataset.x_train) / script.BATCH_SIZE))
    return model


def plain_fit(script, dataset):
    """Return a function that trains an epoch as the article does: float32 arrays, model.fit, nothing saved.

    (It tests in batches of the size that training.train takes, which are faster than the article's.)
    """
    model = compiled(script, dataset)
    x_train, x_test = datasets.scale_pixels(dataset.x_train), datasets.scale_pixels(dataset.x_test)
    y_train, y_test = (keras.utils.to_categorical(y, 10) for y in (dataset.y_train, dataset.y_test))
    batch_size = script.BATCH_SIZE
    tests = {"validation_data": (x_test, y_test), "validation_batch_size": TestBatches(x_test, y_test).batch_size}
    return lambda epoch: model.fit(x_train, y_train, batch_size, **tests, verbose=0)


def our_training(script, dataset, folder, augment=None):
    """Return a function that trains an epoch with training.train: reads the last checkpoint, trains, saves the next."""
    model = compiled(script, dataset)
    options = {"batch_size": script.BATCH_SIZE, "augment": augment, "verbose": 0}
    return lambda epoch: training.train(model, dataset, folder, epochs=epoch + 1, **options)


def seconds_an_epoch(one, other, epochs):
    """Call both alternately, `epochs` times after a first time that does not count. Returns two lists of seconds."""
    seconds = ([], [])
    for epoch in range(epochs + 1):
        for train, measured in zip((one, other), seconds, strict=True):
            started = time.perf_counter()
            train(epoch)
            measured.append(time.perf_counter() - started)
    return seconds[0][1:], seconds[1][1:]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="?", choices=["basic_model", "improved_model"])
    parser.add_argument("--epochs", type=int, default=5, help="epochs of each side that count (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=paths.RESULTS / "training_speed.csv")
    options = parser.parse_args()

    dataset = datasets.load("cifar10")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        comparisons = {
            ("basic_model", "training.train", "bare model.fit"): (
                our_training(basic_model, dataset, folder / "basic"),
                plain_fit(basic_model, dataset),
            ),
            ("improved_model", "with augmentation", "without augmentation"): (
                our_training(improved_model, dataset, folder / "augmented", augment=Augmentation()),
                our_training(improved_model, dataset, folder / "plain"),
            ),
        }
        rows = []
        for (network, name, peer), (one, other) in comparisons.items():
            if options.network not in (None, network):
                continue
            seconds, peer_seconds = seconds_an_epoch(one, other, options.epochs)
            rows.append(
                {
                    "network": network,
                    "measured": name,
                    "peer": peer,
                    "epochs": options.epochs,
                    "seconds_an_epoch": round(statistics.median(seconds), 2),
                    "peer_seconds_an_epoch": round(statistics.median(peer_seconds), 2),
                    "ratio": round(statistics.median(seconds) / statistics.median(peer_seconds), 3),
                }
            )
    record(options.output, rows, ["network"])


if __name__ == "__main__":
    main()
