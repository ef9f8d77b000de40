"""Measure how much faster oneDNN makes training, predictions and gradients, in float32.

    python -m benchmarks.onednn_speed                   about 20 minutes
    python -m benchmarks.onednn_speed improved_model    one network

For each network, processes with oneDNN and without take turns. Each trains some steps on random images at the script's
batch size, predicts for them, and computes the gradients that the heat maps and the filter gradient ascent need. The
result is the median step of all processes, after two to warm up, multiplied to CIFAR-10's 50,000 training images and
10,000 test images.
"""

import argparse
import statistics
import time

import basic_model
import fast_model
import improved_model
from benchmarks import fast_training
from benchmarks.results import record
from convnets import paths

RESULTS = paths.RESULTS / "onednn_speed.csv"
BATCH_SIZES = {
    "basic_model": basic_model.BATCH_SIZE,
    "improved_model": improved_model.BATCH_SIZE,
    "fast_model": fast_model.RECIPES["94"].batch_size,
}
WARM_UP = 2


def seconds(script, steps):
    """Return the seconds of 50,000 images' training, of 10,000's predictions and gradients, a value for each step."""
    import importlib

    import keras
    import numpy as np
    import tensorflow as tf

    script, batch_size = importlib.import_module(script), BATCH_SIZES[script]
    model = script.build_model((32, 32, 3), 10)
    script.compile_model(model, 1000)
    rng = np.random.default_rng(0)
    images = rng.random((batch_size, 32, 32, 3), dtype="float32")
    answers = keras.utils.to_categorical(rng.integers(0, 10, batch_size), 10)

    @tf.function
    def gradient(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            probability = model(images, training=False)[:, 0]
        return tape.gradient(probability, images)

    calls = {
        "an epoch of training": (50_000, lambda: model.train_on_batch(images, answers)),
        "predictions": (10_000, lambda: model.predict_on_batch(images)),
        "gradients": (10_000, lambda: gradient(tf.constant(images)).numpy()),
    }
    measured = {}
    for name, (count, call) in calls.items():
        measured[name] = []
        for _ in range(WARM_UP + steps):
            started = time.perf_counter()
            call()
            measured[name].append((time.perf_counter() - started) * count / batch_size)
        del measured[name][:WARM_UP]
    return measured


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="processes of each (default: %(default)s)")
    parser.add_argument(
        "networks",
        nargs="*",
        metavar="NETWORK",
        choices=[*BATCH_SIZES, []],
        help=f"default: all of {', '.join(BATCH_SIZES)}",
    )
    options = parser.parse_args()
    for script in options.networks or BATCH_SIZES:
        batch_size = BATCH_SIZES[script]
        call = f"onednn_speed.seconds({script!r}, steps={5000 // batch_size})"
        turns = [
            [fast_training.run(call, TF_ENABLE_ONEDNN_OPTS=onednn) for onednn in ("1", "0")]
            for _ in range(options.repeats)
        ]
        rows = []
        for name in turns[0][0]:
            sides = zip(*turns, strict=True)  # with it, and without
            here, without = (statistics.median(s for process in side for s in process[name]) for side in sides)
            row = {"network": script, "measured": name, "batch_size": batch_size}
            rows.append({**row, "seconds": here, "seconds_without": without, "ratio": here / without})
        record(RESULTS, rows, ["network", "measured"])


if __name__ == "__main__":
    main()
