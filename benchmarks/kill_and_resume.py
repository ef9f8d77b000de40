"""Kill training processes repeatedly, and check that nothing is lost.

    python -m benchmarks.kill_and_resume                     100 kills of basic_model.py
    python -m benchmarks.kill_and_resume improved_model      with augmentation
    python -m benchmarks.kill_and_resume --seed 2            at other moments; results of other seeds are kept

Each run is killed with SIGKILL and resumed. Half of the kills come at random moments, the other half as soon as a
partially written checkpoint file appears. A reference run with the same seed is never killed. At the end, both must
be identical bit for bit: weights, optimizer, random generators and history. The data are scikit-learn's digits.
"""

import argparse
import itertools
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import h5py

from benchmarks.results import record
from convnets import paths
from convnets.training import checkpoints

# The files of a checkpoint in the order in which they are written, by their names while they are incomplete.
PARTIAL_FILES = {
    "amid the weights": ".partial-epoch-*.weights.h5",
    "amid the record": ".partial-epoch-*.json",
    "amid the history": ".partial-history.csv",
}

NO_END = 100_000  # epochs, so many that no process reaches the end before it is killed


def kill_and_resume(script, folder, *, kills, seed):
    """Train twice, once killed `kills` times and once undisturbed, and compare.

    Returns (differences, a list that should be empty; the number of epochs; a Counter of the moments of the kills).
    """
    rng = random.Random(seed)
    undisturbed, killed = Path(folder) / "undisturbed", Path(folder) / "killed"
    tally = Counter()
    targets = itertools.cycle(reversed(PARTIAL_FILES.values()))  # the history first: an epoch is saved by then
    while tally.total() < kills:
        checkpoints.remove_leftovers(killed)  # so that what is there afterwards is from this kill
        process = _start(script, killed, NO_END)
        at_random = tally.total() % 2 == 0
        moment = _at_a_random_moment(process, rng) if at_random else _during_a_write(process, killed, next(targets))
        ended = process.poll() is not None
        process.kill()
        process.communicate()
        if ended:
            raise RuntimeError(f"the training ended by itself after {tally.total()} kills")
        tally[_interrupted_write(killed) or moment] += 1
    reached, _ = checkpoints.newest(killed)
    epochs = 2 + (reached.epoch if reached else 0)
    for run in (killed, undisturbed):
        _start(script, run, epochs).communicate()
    return differences(undisturbed, killed, epochs), epochs, tally


def differences(run, other, epochs):
    """List what differs, bit for bit, between the checkpoints of two runs after `epochs` epochs."""
    (one, _), (two, _) = checkpoints.newest(run), checkpoints.newest(other)
    if one is None or two is None:
        return ["a run has no checkpoint"]
    found = [
        f"epoch {checkpoint.epoch} instead of {epochs} in {checkpoint.folder}"
        for checkpoint in (one, two)
        if checkpoint.epoch != epochs
    ]
    if one.seed_generators != two.seed_generators:
        found.append("random generators")
    if _without_seconds(one.history) != _without_seconds(two.history):
        found.append("history")
    arrays, others = _arrays(one.weights_path), _arrays(two.weights_path)
    if not arrays or arrays.keys() != others.keys():
        found.append("names of the weights")
    return found + [name for name in arrays if arrays[name] != others.get(name)]


def _start(script, run, epochs):
    command = [sys.executable, f"{script}.py", "--dataset", "digits", "--run", run, "--epochs", str(epochs)]
    return subprocess.Popen(command, cwd=paths.PROJECT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def _at_a_random_moment(process, rng):
    """Wait until a random moment in the first seconds of training or, one time in ten, of the start of the process."""
    if rng.random() < 0.1:
        time.sleep(rng.uniform(0, 2))
        return "at start"
    for line in process.stdout:
        if line.startswith("Epoch "):
            break
    time.sleep(rng.uniform(0, 2))
    return "while training"


def _during_a_write(process, run, pattern):
    """Wait until a file that matches the pattern appears. The kill may still come after it is complete."""
    while process.poll() is None and not any(run.glob(pattern)):
        time.sleep(0.0002)
    return "just after a write"


def _interrupted_write(run):
    """Return which write a killed process was interrupted in, according to the files it left, or None."""
    for moment, pattern in PARTIAL_FILES.items():
        if any(run.glob(pattern)):
            return moment
    return None


def _arrays(path):
    arrays = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: arrays.update({name: item[()].tobytes()} if isinstance(item, h5py.Dataset) else {})
        )
    return arrays


def _without_seconds(history):
    return [{name: value for name, value in row.items() if not name.endswith("seconds")} for row in history]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("script", nargs="?", choices=["basic_model", "improved_model"], default="basic_model")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1337, help="of the random moments (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=paths.RESULTS / "kill_and_resume.csv")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        found, epochs, tally = kill_and_resume(options.script, folder, kills=options.kills, seed=options.seed)
    row = {
        "script": options.script,
        "kills": options.kills,
        "epochs": epochs,
        "seed": options.seed,
        **{moment.replace(" ", "_"): tally[moment] for moment in PARTIAL_FILES},
        "differences": len(found),
    }
    print(dict(tally), *found, sep="\n")
    record(options.output, [row], ["script", "seed"])
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
