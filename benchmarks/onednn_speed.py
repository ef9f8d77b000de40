"""Measure what oneDNN's operations gain, which TensorFlow has on by default on newer processors only.

    python -m benchmarks.onednn_speed

In float32, for each network: an epoch of CIFAR-10, at the script's batch size; the predictions for the 10,000 test
images; and the gradients for as many, as the heat maps and the filter gradient ascent need them. Each measurement runs
in a process of its own, with oneDNN and without in turn. The result is the median of all steps but the first ones, of
random images.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from benchmarks.results import record
from convnets import paths

RESULTS = paths.RESULTS / "onednn_speed.csv"
BATCH_SIZES = {"basic_model": 128, "improved_model": 128, "fast_model": 1000}
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


def in_a_process(script, steps, onednn):
    program = (
        f"import json; from benchmarks import onednn_speed as o; print(json.dumps(o.seconds({script!r}, {steps})))"
    )
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": onednn, "TF_CPP_MIN_LOG_LEVEL": "3"}
    result = subprocess.run([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(result.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="processes of each (default: %(default)s)")
    repeats = parser.parse_args().repeats
    for script, batch_size in BATCH_SIZES.items():
        steps = max(5, 5000 // batch_size)
        turns = [[in_a_process(script, steps, onednn) for onednn in "10"] for _ in range(repeats)]
        rows = []
        for name in turns[0][0]:
            sides = zip(*turns, strict=True)  # with it, and without
            here, without = (statistics.median(s for process in side for s in process[name]) for side in sides)
            row = {"network": script, "measured": name, "batch_size": batch_size}
            rows.append({**row, "seconds": here, "seconds_without": without, "ratio": here / without})
        record(RESULTS, rows, ["network", "measured"])


if __name__ == "__main__":
    main()
