"""Kill real training processes again and again, and see whether anything is lost.

    python -m benchmarks.kill_and_resume                     100 kills of basic_model.py
    python -m benchmarks.kill_and_resume improved_model      with augmentation
    python -m benchmarks.kill_and_resume --seed 2            at other moments; results of other seeds are kept

A training is killed with SIGKILL, half of the times at a random moment, the other half as soon as a file of
its checkpoint appears half-written, and started again. Another one, with the same seed, runs undisturbed. In the
end both must hold the same bits: weights, optimizer, random generators, history. Data: scikit-learn's digits.
"""

import argparse
import itertools
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import h5py
import pandas as pd

from convnets import paths
from convnets.training import checkpoints

# The files of a checkpoint in the order in which they are written, as they are called until they are whole.
HALF_WRITTEN = {
    "amid the weights": ".partial-epoch-*.weights.h5",
    "amid the record": ".partial-epoch-*.json",
    "amid the history": ".partial-history.csv",
}


NO_END = 100_000  # epochs: more than a process that is killed gets done


def kill_and_resume(script, folder, *, kills, seed):
    """Trains twice, killed `kills` times and undisturbed, and compares.

    Returns (differences, a list that should be empty; the number of epochs trained; a Counter of the moments at
    which the kills came).
    """
    rng = random.Random(seed)
    undisturbed, killed = Path(folder) / "undisturbed", Path(folder) / "killed"
    tally = Counter()
    targets = itertools.cycle(reversed(HALF_WRITTEN.values()))  # the history first: by then an epoch is saved
    while tally.total() < kills:
        checkpoints.remove_leftovers(killed)  # to tell afterwards what this kill has left
        process = _start(script, killed, NO_END)
        at_random = tally.total() % 2 == 0
        moment = _at_a_random_moment(process, rng) if at_random else _amid_a_write(process, killed, next(targets))
        ended = process.poll() is not None
        process.kill()
        process.communicate()
        if ended:
            raise RuntimeError(f"the training ended by itself after {tally.total()} kills")
        tally[_interrupted_step(killed) or moment] += 1
    reached, _ = checkpoints.newest(killed)
    epochs = 2 + (reached.epoch if reached else 0)
    for run in (killed, undisturbed):
        _start(script, run, epochs).communicate()
    return differences(undisturbed, killed, epochs), epochs, tally


def differences(run, other, epochs):
    """Lists in what the checkpoints after `epochs` epochs of two runs differ, bit for bit."""
    (one, _), (two, _) = checkpoints.newest(run), checkpoints.newest(other)
    if one is None or two is None:
        return ["a run has no checkpoint"]
    found = [
        f"epoch {checkpoint.epoch}, not {epochs}, in {checkpoint.folder}"
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
    """Waits until some moment in the first seconds of training, or, one time in ten, while the process still starts."""
    if rng.random() < 0.1:
        time.sleep(rng.uniform(0, 2))
        return "at start"
    for line in process.stdout:
        if line.startswith("Epoch "):
            break
    time.sleep(rng.uniform(0, 2))
    return "while training"


def _amid_a_write(process, run, half_written):
    """Waits until a file like `half_written` appears. The kill may still come too late for it."""
    while process.poll() is None and not any(run.glob(half_written)):
        time.sleep(0.0002)
    return "just after a write"


def _interrupted_step(run):
    """Tells from what a killed process left behind amid which write it was; None for amid no write."""
    for moment, half_written in HALF_WRITTEN.items():
        if any(run.glob(half_written)):
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
    parser.add_argument("--seed", type=int, default=1337, help="of the moments to kill at")
    parser.add_argument("--output", type=Path, default=paths.RESULTS / "kill_and_resume.csv")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        found, epochs, tally = kill_and_resume(options.script, folder, kills=options.kills, seed=options.seed)
    row = {
        "script": options.script,
        "kills": options.kills,
        "epochs": epochs,
        "seed": options.seed,
        **{moment.replace(" ", "_"): tally[moment] for moment in HALF_WRITTEN},
        "differences": len(found),
        "machine": f"{platform.system()} {platform.machine()}",
    }
    print(row, dict(tally), *found, sep="\n")
    rows = pd.DataFrame([row])
    if options.output.exists():
        others = pd.read_csv(options.output)
        rows = pd.concat([others, rows]).drop_duplicates(["script", "seed"], keep="last")
    rows.to_csv(options.output, index=False)
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
