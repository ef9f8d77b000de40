"""Measure the peak memory of training on CIFAR-10, in total and beyond importing Keras.

    python -m benchmarks.peak_memory                            all scripts; needs CIFAR-10
    python -m benchmarks.peak_memory "fast_model --target 80"   only this one

Each script trains one epoch in a process of its own, and the operating system reports the peak. Unix only.
"""

import argparse
import multiprocessing
import resource
import sys
import tempfile
from pathlib import Path

from benchmarks.results import record
from convnets import paths

SCRIPTS = ["basic_model", "improved_model", "fast_model --target 94", "fast_model --target 95.5"]


def peak_megabytes():
    """Return the peak memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # macOS counts bytes, Linux kilobytes


def import_keras(results):
    import keras

    keras.ops.zeros(1)  # part of Keras loads with the first array
    results.put(peak_megabytes())


def train_one_epoch(command, results):
    script, *words = command.split()
    module = __import__(script)
    with tempfile.TemporaryDirectory() as folder:
        module.main([*words, "--dataset", "cifar10", "--epochs", "1", "--run", str(Path(folder) / "run")])
    results.put(peak_megabytes())


def measured(function, *arguments):
    """Return the peak memory, in megabytes, of a new process that calls a function."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=function, args=(*arguments, results))
    process.start()
    while process.is_alive() and results.empty():
        process.join(1)
    megabytes = results.get(timeout=5)  # queue.Empty if the process has failed
    process.join()
    return megabytes


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scripts", nargs="*", metavar="SCRIPT", default=SCRIPTS)
    parser.add_argument("--output", type=Path, default=paths.RESULTS / "peak_memory.csv")
    options = parser.parse_args()

    keras_alone = measured(import_keras)
    rows = []
    for script in options.scripts:
        peak = measured(train_one_epoch, script)
        rows.append({"script": script, "peak_mb": round(peak), "beyond_importing_keras_mb": round(peak - keras_alone)})
    record(options.output, rows, ["script"])


if __name__ == "__main__":
    main()
