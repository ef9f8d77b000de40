"""What the article's networks reach on CIFAR-10 with computations in bfloat16, against float32.

    python -m benchmarks.precision                          3 seeds of each; two to three hours on two cores
    python -m benchmarks.precision --jobs 12                on a GPU, twelve runs at once

Each script trains to its last epoch, as a reader runs it. A row a training in results/precision.csv; the same command
goes on with those that this machine has not done yet. The runs in float32 are those of results/training_runs.csv.
"""

import argparse
import tempfile

from benchmarks.fast_training import SEEDS, run_script
from benchmarks.results import as_they_end, record, recorded
from convnets import paths

RESULTS = paths.RESULTS / "precision.csv"
SCRIPTS = ("improved_model", "basic_model")  # the longer one first
KEY = ["script", "precision", "seed"]


def trained(script, seed):
    with tempfile.TemporaryDirectory() as folder:
        result = run_script(["--precision", "bfloat16", "--seed", str(seed)], folder, [f"{script}.py"])
    names = ("epochs", "test_accuracy", "training_seconds")
    return {"script": script, "precision": "bfloat16", "seed": seed, **{name: result[name] for name in names}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once (default: %(default)s)")
    options = parser.parse_args()
    done = recorded(RESULTS, KEY)
    trainings = [
        (script, seed)
        for script in SCRIPTS
        for seed in SEEDS[: options.seeds]
        if (script, "bfloat16", seed) not in done
    ]
    for row in as_they_end(trained, trainings, options.jobs):
        record(RESULTS, [row], KEY)


if __name__ == "__main__":
    main()
