"""How much memory does a training on CIFAR-10 need beyond what importing Keras takes?

    python -m benchmarks.peak_memory                            needs CIFAR-10
    python -m benchmarks.peak_memory "fast_model --target 80"   only this one

Each script trains one epoch in a process of its own; the operating system tells the peak. (Unix only.)
"""

import argparse
import multiprocessing
import resource
import sys
import tempfile
from pathlib import Path

import pandas as pd

from convnets import paths

SCRIPTS = ["basic_model", "improved_model", "fast_model --target 94", "fast_model --target 95.5"]


def peak_megabytes():
    """The most memory that this process has held at once so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # macOS counts bytes, Linux kilobytes


def import_keras(results):
    import keras

    keras.ops.zeros(1)  # some of what Keras loads comes with the first array
    results.put(peak_megabytes())


def train_one_epoch(command, results):
    script, *words = command.split()
    module = __import__(script)
    with tempfile.TemporaryDirectory() as folder:
        module.main([*words, "--dataset", "cifar10", "--epochs", "1", "--run", str(Path(folder) / "run")])
    results.put(peak_megabytes())


def measured(function, *arguments):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=function, args=(*arguments, results))
    process.start()
    megabytes = results.get(timeout=900)
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
    print(*rows, sep="\n")
    others = pd.read_csv(options.output) if options.output.exists() else pd.DataFrame(columns=["script"])
    others = others[~others["script"].isin(options.scripts)]
    pd.concat([others, pd.DataFrame(rows)]).to_csv(options.output, index=False)


if __name__ == "__main__":
    main()
