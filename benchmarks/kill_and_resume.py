"""Kill real training processes again and again, and see whether anything is lost.

    python -m benchmarks.kill_and_resume                     100 kills of basic_model.py, about 15 minutes
    python -m benchmarks.kill_and_resume improved_model      with augmentation

One training runs undisturbed. Another one, with the same seed, is killed with SIGKILL at random
moments, every other time amid a write, and started again until it is through. In the end both must
hold the same bits: weights, optimizer, random generators, history. Data: scikit-learn's digits.
"""

import argparse
import csv
import platform
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py

PROJECT = Path(__file__).resolve().parent.parent


def kill_and_resume(script, folder, *, kills, epochs, seed):
    """Trains twice, once undisturbed and once killed `kills` times, and compares.

    Returns (differences, a list that should be empty; a dict of how often which kind of kill came when).
    """
    rng = random.Random(seed)
    undisturbed, killed = Path(folder) / "undisturbed", Path(folder) / "killed"
    _start(script, undisturbed, epochs).communicate()
    tally = {"at start": 0, "while training": 0, "amid a write": 0, "just after a write": 0, "after the end": 0}
    for number in range(kills):
        process = _start(script, killed, epochs)
        tally[_kill_amid_a_write(process, killed) if number % 2 else _kill_at_random(process, rng)] += 1
    _start(script, killed, epochs).communicate()
    return differences(undisturbed, killed, epochs), tally


def differences(run, other, epochs):
    """Lists in what the checkpoints after `epochs` epochs of two runs differ, bit for bit."""
    from convnets import checkpoints

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
    return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def _kill_at_random(process, rng):
    """Kills within the first seconds of training, or, one time in ten, while the process is still starting."""
    if rng.random() < 0.1:
        time.sleep(rng.uniform(0, 2))
        return _kill(process, "at start")
    for line in process.stdout:
        if line.startswith("Epoch "):
            break
    time.sleep(rng.uniform(0, 5))
    return _kill(process, "while training")


def _kill_amid_a_write(process, run):
    """Kills as soon as a half-written file appears; what it leaves tells whether that was soon enough."""
    while process.poll() is None:
        if any(run.glob(".partial-*")):
            moment = _kill(process, "amid a write")
            return moment if any(run.glob(".partial-*")) else "just after a write"
        time.sleep(0.0005)
    return _kill(process, "after the end")


def _kill(process, moment):
    ended = process.poll() is not None
    process.kill()
    process.wait()
    process.stdout.close()
    return "after the end" if ended else moment


def _arrays(path):
    arrays = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: arrays.update({name: item[()].tobytes()} if isinstance(item, h5py.Dataset) else {})
        )
    return arrays


def _without_seconds(history):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("script", nargs="?", choices=["basic_model", "improved_model"], default="basic_model")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1337, help="of the moments to kill at")
    parser.add_argument("--output", type=Path, default=PROJECT / "results" / "kill_and_resume.csv")
    options = parser.parse_args()

    epochs = options.kills  # about one epoch is lost or won with each kill
    with tempfile.TemporaryDirectory() as folder:
        found, tally = kill_and_resume(options.script, folder, kills=options.kills, epochs=epochs, seed=options.seed)
    row = {
        "script": options.script,
        "kills": options.kills,
        "seed": options.seed,
        "epochs": epochs,
        **{moment.replace(" ", "_"): count for moment, count in tally.items()},
        "differences": len(found),
        "machine": f"{platform.system()} {platform.machine()}",
    }
    print(row, *found, sep="\n")
    is_new = not options.output.exists()
    with open(options.output, "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, row)
        if is_new:
            writer.writeheader()
        writer.writerow(row)
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
