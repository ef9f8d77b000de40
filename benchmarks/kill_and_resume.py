"""Kill and disturb training processes repeatedly, and check that nothing is lost.

    python -m benchmarks.kill_and_resume                          1,000 kills; hours
    python -m benchmarks.kill_and_resume --kills 20 fast_model    of one case only

A training of twelve epochs is started, again and again, and each time something happens to it: SIGKILL at a random
moment, or surely amid a write, since the process ends itself there; SIGSTOP and SIGCONT; a
clock that is years off; a full disk; a folder that becomes read-only; memory that runs out. At the end it must be
identical, bit for bit, with a training that was left alone: weights, optimizer, random generators and history. Then the
next training begins, with other random numbers. The data are scikit-learn's digits, also as a folder of pictures; for
bfloat16 every tenth of them, since processors without instructions for it compute slowly in it.

Importing Keras is most of a start, so the processes are forks of one that has imported it. The training that is left
alone is a process of its own.

Each training is a row of results/kill_and_resume.csv; the same command goes on with the next one.
"""

import argparse
import contextlib
import functools
import itertools
import multiprocessing
import os
import random
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from benchmarks import file_operations
from benchmarks.results import record
from convnets import paths
from convnets.training import checkpoints

RESULTS = paths.RESULTS / "kill_and_resume.csv"
EPOCHS = 12
CASES = {
    "basic_model": ["basic_model.py", "--dataset", "digits", "--precision", "float32"],
    "improved_model": ["improved_model.py", "--dataset", "digits", "--precision", "float32"],
    "fast_model": ["fast_model.py", "--dataset", "digits", "--precision", "float32"],
    "fast_model, bfloat16": ["fast_model.py", "--dataset", "FEW_PICTURES", "--precision", "bfloat16"],
    "basic_model, pictures": ["basic_model.py", "--dataset", "PICTURES", "--precision", "float32"],
}
PICTURES = {"PICTURES": 1, "FEW_PICTURES": 10}  # folders of all digits, and of every tenth one
FAULTS = {  # and how often each comes
    "killed amid a write": 40,
    "killed at a random moment": 40,
    "stopped and continued": 4,
    "wrong clock": 5,
    "disk full": 5,
    "folder read-only": 3,
    "out of memory": 3,
}
OPERATIONS = {"killed amid a write": 30}  # the moments of about two epochs at which that can happen
ALL_OPERATIONS = 70  # and those at which any other fault can
PATIENCE = 300  # seconds for one process
REFUSED = 2  # the exit code of a script that says what is wrong


# ---------------------------------------------------------------- in the process that something happens to


def disturbed(fault, at, script, *arguments):
    """Run a script to which something happens at its file operation number `at`.

    Amid a write is: with half of the content in the file, with all of it but before the sync, or before the new name.
    """
    count = 0

    def note(what, path, content):
        nonlocal count
        amid_a_write = what in ("half written", "write") or (what == "sync" and not Path(path).is_dir())
        counts = amid_a_write or fault != "killed amid a write"
        count += counts
        if fault in ("killed amid a write", "wrong clock") and counts and count == at:
            os.kill(os.getpid(), signal.SIGKILL)
        elif fault == "disk full" and count >= at and what == "half written":
            raise OSError(28, "No space left on device")
        elif fault == "folder read-only" and count >= at and what == "create":
            raise OSError(30, "Read-only file system")
        elif fault == "out of memory" and count == at:
            import resource  # Unix only

            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used, used))  # no more than what it has

    if fault == "wrong clock":
        now, years = time.time, random.Random(at).choice((-20, -1, 1, 20))
        time.time = lambda: now() + years * 365.25 * 86400
    with file_operations.watched(arguments[arguments.index("--run") + 1], note):
        _run(script, *arguments)


def _run(script, *arguments):
    os.chdir(paths.PROJECT)
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")


def _call(log, function, *arguments):
    """Call a function with the process's output in a file."""
    with open(log, "wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    function(*arguments)


# ---------------------------------------------------------------- and in the one that watches


def interrupt(case, run, rng):
    """Start or resume the training of a case, let something happen to it, and return (what, how the process ended)."""
    fault = rng.choices(list(FAULTS), FAULTS.values())[0]
    log = run.with_name("output.txt")
    log.write_bytes(b"")
    if fault in ("killed at a random moment", "stopped and continued"):
        process = _fork(log, _run, *_command(case, run))
        _wait_for_a_random_moment(process, log, rng)
        if fault == "stopped and continued":
            with contextlib.suppress(ProcessLookupError):  # it may have ended by itself
                os.kill(process.pid, signal.SIGSTOP)
                time.sleep(rng.uniform(0.1, 2))
                os.kill(process.pid, signal.SIGCONT)
                time.sleep(rng.uniform(0.1, 2))
        process.kill()
    else:
        at = rng.randrange(1, OPERATIONS.get(fault, ALL_OPERATIONS))
        process = _fork(log, disturbed, fault, at, *_command(case, run))
    process.join(PATIENCE)
    if process.is_alive():  # without memory, a process may wait for ever
        process.kill()
        process.join()
    may_refuse = fault in ("disk full", "folder read-only", "out of memory")
    ends = (0, -signal.SIGKILL, *([REFUSED] if may_refuse else []))
    if process.exitcode not in ends and fault != "out of memory":
        raise RuntimeError(f"{fault}: exit code {process.exitcode}: {log.read_text(errors='replace')}")
    return fault, process.exitcode


def interrupted_training(case, folder, seed):
    """Train a case in a folder, with something happening to it again and again, until it is complete.

    Returns (a Counter of what happened; how many processes were killed).
    """
    rng, run = random.Random(f"{case}, {seed}"), Path(folder) / "interrupted"
    run.parent.mkdir(parents=True, exist_ok=True)
    happened, kills = Counter(), 0
    while True:
        fault, code = interrupt(case, run, rng)
        damaged = checkpoints.newest(run)[1]
        if damaged:
            raise RuntimeError(f"{fault}: {damaged}")
        if code == 0 and fault != "stopped and continued":  # it ended before anything happened
            return happened, kills
        happened[fault] += 1
        kills += code == -signal.SIGKILL


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


def train_undisturbed(case, run):
    """Train a case in a folder, and leave it alone."""
    subprocess.run([sys.executable, *_command(case, run)], cwd=paths.PROJECT, capture_output=True, check=True)


def write_pictures(folder):
    """Write the folders of PICTURES into a folder: scikit-learn's digits, in two parts."""
    from PIL import Image

    from convnets.data import datasets

    digits = datasets.load("digits")
    parts = {"train": (digits.x_train, digits.y_train), "test": (digits.x_test, digits.y_test)}
    for (name, step), (part, (images, labels)) in itertools.product(PICTURES.items(), parts.items()):
        for number, (image, label) in enumerate(zip(images[::step], labels[::step], strict=True)):
            path = Path(folder) / name / part / str(label) / f"{number:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.squeeze(image)).save(path)


def _command(case, run):
    def located(word):
        folders = (folder / word for folder in Path(run).parents)
        return str(next(folder for folder in folders if folder.is_dir())) if word in PICTURES else word

    return [*map(located, CASES[case]), "--run", str(run), "--epochs", str(EPOCHS)]


@functools.cache
def _forks():
    """Return how processes are made, from one that has imported what takes long. Not on Windows."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.kill_and_resume", "keras"])
    return context


def _fork(log, *call):
    process = _forks().Process(target=_call, args=(log, *call))
    process.start()
    return process


def _wait_for_a_random_moment(process, log, rng):
    """Wait until some moment in the first seconds of training or, one time in ten, of the start of the process."""
    if rng.random() >= 0.1:
        while process.is_alive() and "\nEpoch " not in log.read_text(errors="replace"):
            time.sleep(0.01)
    time.sleep(rng.uniform(0, 2))


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
    parser.add_argument(
        "cases", nargs="*", choices=[*CASES, []], metavar="CASE", help=f"default: all of {', '.join(CASES)}"
    )
    parser.add_argument("--kills", type=int, default=1000, help="how many more, before it ends (default: %(default)s)")
    options = parser.parse_args()
    cases = options.cases or list(CASES)
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(folder)
        undisturbed = {}
        before = _table()["kills"].sum()
        while (table := _table())["kills"].sum() - before < options.kills:
            done = table[table["case"].isin(cases)]
            case = min(cases, key=lambda case: done.loc[done["case"] == case, "kills"].sum())
            if case not in undisturbed:
                undisturbed[case] = Path(folder) / case / "undisturbed"
                train_undisturbed(case, undisturbed[case])
            seed = int(done.loc[done["case"] == case, "seed"].max() if case in set(done["case"]) else 0) + 1
            with tempfile.TemporaryDirectory(dir=undisturbed[case].parent) as scratch:
                happened, kills = interrupted_training(case, scratch, seed)
                found = differences(undisturbed[case], Path(scratch) / "interrupted", EPOCHS)
            counts = {fault.replace(" ", "_").replace("-", "_"): happened[fault] for fault in FAULTS}
            row = {"case": case, "seed": seed, "kills": kills, **counts, "epochs": EPOCHS, "differences": len(found)}
            record(RESULTS, [row], ["case", "seed"])
            if found:
                sys.exit("\n".join(found))


def _table():
    return pd.read_csv(RESULTS) if RESULTS.exists() else pd.DataFrame(columns=["case", "seed", "kills"])


if __name__ == "__main__":
    main()
