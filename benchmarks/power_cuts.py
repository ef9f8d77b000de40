"""Cut the power at every moment of a training, and resume from everything that the disk may then hold.

    python -m benchmarks.power_cuts                of three epochs; results/power_cuts.csv

A process that is killed leaves its writes to the system. After a power cut, what was not yet synced (fsync) may be
on the disk or not. So the file operations of a training are recorded: which file is made, written, synced, renamed or
removed, and which folder is made or synced. For every moment between two of them, the states in which the disk may be
are built:

- The content of a file that was not synced is missing, torn in the middle, zeros, or whole.
- What happened to a name since its folder was synced is there or not. Each name is on its own, since the order of
  operations may be another one, too.

From each state the same training goes on. It must start from the last epoch that was reported as saved, or the one
before, and end with the bits of one that was never interrupted.

Sources: Pillai et al., "All file systems are not created equal: on the complexity of crafting crash-consistent
applications", 2014 (ALICE). SQLite, "Testing", section "Crash testing".
"""

import argparse
import itertools
import shutil
import tempfile
from collections import namedtuple
from pathlib import Path

import keras

from benchmarks import file_operations
from benchmarks.kill_and_resume import differences
from benchmarks.results import record
from convnets import cli, paths
from convnets.data import datasets
from convnets.errors import UserError
from convnets.training import checkpoints, training

EPOCHS = 3
SECTOR = 512
Operation = namedtuple("Operation", ["what", "path", "content"], defaults=[None])


# ---------------------------------------------------------------- recording


class NoteSaved(keras.callbacks.Callback):
    """Note in a list of operations when an epoch is reported as saved."""

    def __init__(self, operations):
        super().__init__()
        self.operations = operations

    def on_epoch_end(self, epoch, logs=None):
        self.operations.append(Operation("saved", None, epoch + 1))


# ---------------------------------------------------------------- what a disk may hold


class Disk:
    """What is surely on a disk, and what may be, while operations are applied one after the other.

    contents: {number of a file: [what it may hold, the newest last]}.
    folders: {folder: {name: [what the name may stand for, the newest last]}}, the number of a file, "folder" or None.
    """

    def __init__(self):
        self.contents, self.folders, self.saved = {}, {Path(): {}}, 0

    def apply(self, operation):
        what, path, content = operation
        if what == "saved":
            self.saved = content
        elif what == "create":
            number = len(self.contents)
            self.contents[number] = [b""]
            self._set(path, number)
        elif what == "write":
            number = self._now(path)
            whole = self.contents[number][-1] + content
            self.contents[number] += _torn(whole)
        elif what == "sync" and path in self.folders:
            self.folders[path] = {name: [choices[-1]] for name, choices in self.folders[path].items()}
        elif what == "sync":
            number = self._now(path)
            self.contents[number] = self.contents[number][-1:]
        elif what == "rename":
            self._set(content, self._now(path))
            self._set(path, None)
        elif what == "remove":
            self._set(path, None)
        elif what == "make folder":
            self._set(path, "folder")
            self.folders.setdefault(path, {})

    def _now(self, path):
        return self.folders[path.parent][path.name][-1]

    def _set(self, path, value):
        self.folders[path.parent].setdefault(path.name, [None]).append(value)

    def states(self):
        """Yield each {path: content, or None for a folder} that the disk may hold if the power is cut now."""
        names = [
            (folder / name, choices) for folder, inside in self.folders.items() for name, choices in inside.items()
        ]
        for chosen in itertools.product(*(list(dict.fromkeys(choices)) for _, choices in names)):
            there = {path: value for (path, _), value in zip(names, chosen, strict=True) if value is not None}
            there = {path: value for path, value in there.items() if all(p in there for p in list(path.parents)[:-1])}
            numbers = [value for value in there.values() if value != "folder"]
            for contents in itertools.product(*(list(dict.fromkeys(self.contents[number])) for number in numbers)):
                held = dict(zip(numbers, contents, strict=True))
                yield {path: held.get(value) for path, value in there.items()}


def _torn(content):
    """Return what a file may hold whose content was written but not synced: torn, zeros, or all of it."""
    half = len(content) // 2 // SECTOR * SECTOR
    return [content[:half], content[:half] + bytes(len(content) - half), bytes(len(content)), content]


def distinct_states(operations):
    """Return {state: the last epoch that was reported before it}; a state is a frozenset of (path, content)."""
    disk, found = Disk(), {}
    for operation in operations:
        disk.apply(operation)
        for state in disk.states():
            key = frozenset(state.items())
            found[key] = max(found.get(key, 0), disk.saved)
    return found


def write_state(state, folder):
    for path, content in sorted(state, key=lambda item: len(item[0].parts)):
        if content is None:
            (Path(folder) / path).mkdir()
        else:
            (Path(folder) / path).write_bytes(content)


# ---------------------------------------------------------------- the training


def small_model(input_shape):
    """Build a small network with dropout for ten classes, compiled, the same each time."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(1)
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input(input_shape), layers.Flatten(), layers.Dropout(0.2), layers.Dense(10, activation="softmax")]
    )
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    return model


def train(run, epochs, watchers=(), seed=1):
    """Train the small network on digits, or resume its training. Returns the network."""
    digits = datasets.load("digits")
    model = small_model(digits.input_shape)
    training.train(model, digits, run, epochs=epochs, batch_size=500, seed=seed, verbose=0, watchers=watchers)
    return model


def trace(folder, epochs=EPOCHS):
    """Train in a folder, which is empty. Returns the Operations."""
    folder, operations = Path(folder).resolve(), []

    def note(what, path, content):
        content = content.relative_to(folder) if what == "rename" else content
        if what != "half written":  # what may be torn is for the Disk to say
            operations.append(Operation(what, path.relative_to(folder), content))

    with file_operations.watched(folder, note):
        train(folder / "run", epochs, watchers=(NoteSaved(operations),))
    return operations


def resumed(state, folder):
    """Go on with the training from what a disk holds. Returns (the epoch from which it goes on, the run's folder)."""
    write_state(state, folder)
    run = Path(folder) / "run"
    checkpoint, _ = checkpoints.newest(run)
    train(run, EPOCHS + 1)
    return checkpoint.epoch if checkpoint else 0, run


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder).resolve()
        (folder / "undisturbed").mkdir()
        operations = trace(folder / "undisturbed")
        states = distinct_states(operations)
        train(folder / "undisturbed" / "run", EPOCHS + 1)
        counts = dict.fromkeys(["from_the_last_epoch", "from_the_one_before", "lost_more", "refused", "other_bits"], 0)
        for number, (state, saved) in enumerate(states.items(), 1):
            cut = folder / "cut"
            cut.mkdir()
            try:
                epoch, run = resumed(state, cut)
            except UserError as error:
                print(f"refused after epoch {saved}: {error}")
                counts["refused"] += 1
            else:
                lost = saved - epoch
                which = "from_the_last_epoch" if lost <= 0 else "from_the_one_before" if lost == 1 else "lost_more"
                counts[which] += 1
                counts["other_bits"] += bool(differences(folder / "undisturbed" / "run", run, EPOCHS + 1))
            shutil.rmtree(cut)
            if number % 100 == 0:
                print(f"{number} of {len(states)}: {counts}", flush=True)
    row = {"epochs": EPOCHS, "operations": len(operations), "states": len(states), **counts}
    record(paths.RESULTS / "power_cuts.csv", [row], ["epochs"])


if __name__ == "__main__":
    cli.run(main)
