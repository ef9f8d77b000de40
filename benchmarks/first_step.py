"""How much sooner does the first training step end if all its variables were made before?

    python -m benchmarks.first_step     two minutes; writes results/first_step.csv

TensorFlow traces a step into a graph when it is called first, and a second time if that made variables. Keras makes
those of the optimizer and of metrics such as "accuracy" only then; so training.train has them made before. Here a new
network is trained for one step, in turn with that and by Keras alone. Each row has the medians of the seconds of
model.fit, making the variables included.
"""

import argparse
import statistics
import time
from pathlib import Path

import keras
import numpy as np

import basic_model
import fast_model
import improved_model
from benchmarks.results import record
from convnets import paths
from convnets.training import training

RESULTS = paths.RESULTS / "first_step.csv"
SCRIPTS = [basic_model, improved_model, fast_model]
STEPS = 1000  # as the learning rate schedules ask for; for one step any number will do


def seconds(script, images, labels, *, variables_first):
    """Return the seconds of the first step of a new network.

    script: the module that builds it. images: (n, h, w, 3) float32 in [0, 1]. labels: (n, classes) one-hot.
    """
    keras.utils.clear_session()
    model = script.build_model(images.shape[1:], labels.shape[1])
    script.compile_model(model, STEPS)
    started = time.perf_counter()
    if variables_first:
        training.make_variables(model, labels)
    model.fit(images, labels, batch_size=len(images), verbose=0)
    return time.perf_counter() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5, help="of each, after one that does not count (default: 5)")
    parser.add_argument("--output", type=Path, default=RESULTS, metavar="FILE", help="the table to add to")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    images, labels = rng.random((8, 32, 32, 3), dtype="float32"), np.eye(10)[rng.integers(0, 10, 8)]
    rows = []
    for script in SCRIPTS:
        turns = {True: [], False: []}
        for turn in range(options.times + 1):
            for each in (True, False) if turn % 2 else (False, True):
                turns[each].append(seconds(script, images, labels, variables_first=each))
        ours, plain = (statistics.median(turns[each][1:]) for each in (True, False))
        rows.append({"network": script.__name__, "times": options.times, "seconds": ours, "plain_seconds": plain})
    record(options.output, [{**row, "ratio": row["seconds"] / row["plain_seconds"]} for row in rows], ["network"])


if __name__ == "__main__":
    main()
