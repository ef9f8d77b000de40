"""What happens during a training: small Keras callbacks that each do one thing."""

import contextlib
import math
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from convnets import files
from convnets.errors import NotFinite, Stopped, UserError, duration
from convnets.training import checkpoints, training_curves

SECONDS_BETWEEN_DRAWINGS = 5  # drawing the curves takes 0.2, and an epoch of a small network 1


@dataclass
class Progress:
    """The state that the callbacks of a training share.

    folder: the run's. run: the contents of run.json. history: list of dicts, one an epoch, which grows.
    epochs: how many there will be in all. say: a function that prints a line, or ignores it.
    """

    folder: Path
    run: dict
    history: list
    epochs: int
    say: object

    @property
    def saved(self):
        """What is saved so far, for messages."""
        done = self.history[-1]["epoch"] if self.history else 0
        return f"epoch {done} is saved in {self.folder}" if done else "no epoch was finished yet, so nothing is saved"

    def write_summaries(self, model, *, curves=True):
        """Write what a reader looks at. All of it can be made again, so an error is only a warning."""
        contents = {
            "architecture.json": files.to_json(checkpoints.architecture(model)),
            "run.json": files.to_json(self.run),
        }
        if self.history:
            history = pd.DataFrame(self.history)
            contents["history.csv"] = history.to_csv(index=False)
            if curves:
                contents["training_curves.png"] = training_curves.training_curves(history, self.folder.name)
        for name, content in contents.items():
            try:
                files.write(self.folder / name, content)
            except UserError as error:
                self.say(f"Warning: {error}.")


class StopOnSignal(keras.callbacks.Callback):
    """End the training on Ctrl-C or SIGTERM, after the batch in progress and between writes; at once if asked twice."""

    def __init__(self, progress):
        super().__init__()
        self.progress = progress
        self.caught = None

    @contextlib.contextmanager
    def catching(self):
        """Catch the two signals within this block."""

        def remember(number, frame):
            if self.caught is not None:  # asked twice: stop at once
                self.stop_if_asked()
            self.caught = number

        if threading.current_thread() is not threading.main_thread():  # only the main thread may catch signals
            yield
            return
        caught = [signal.SIGINT, signal.SIGTERM, *([signal.SIGBREAK] if hasattr(signal, "SIGBREAK") else [])]  # Windows
        before = {number: signal.signal(number, remember) for number in caught}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def on_train_batch_end(self, batch, logs=None):
        self.stop_if_asked()

    def on_test_batch_end(self, batch, logs=None):
        self.stop_if_asked()

    def on_epoch_end(self, epoch, logs=None):
        self.stop_if_asked()

    def stop_if_asked(self):
        """Raise Stopped if a signal has come."""
        if self.caught is not None:
            raise Stopped(f"Stopped; {self.progress.saved}.", 128 + self.caught)


class RefuseNaN(keras.callbacks.Callback):
    """End the training when its loss is no longer a finite number."""

    def __init__(self, progress):
        super().__init__()
        self.progress = progress

    def on_train_batch_end(self, batch, logs=None):
        if not all(math.isfinite(value) for value in logs.values()):
            raise NotFinite(
                f"the loss is no longer a number; {self.progress.saved}: start anew with --fresh and, in the script, "
                "a smaller learning rate"
            )

    def on_epoch_end(self, epoch, logs=None):
        self.on_train_batch_end(epoch, logs)


class TimeSteps(keras.callbacks.Callback):
    """Measure the seconds of an epoch, of its steps, and of compiling: the excess of a process's first step."""

    def __init__(self):
        super().__init__()
        self.seconds = {}
        self._compiled = False

    def on_epoch_begin(self, epoch, logs=None):
        self._ends = [time.perf_counter()]

    def on_train_batch_end(self, batch, logs=None):
        self._ends.append(time.perf_counter())

    def on_epoch_end(self, epoch, logs=None):
        steps = np.diff(self._ends)
        compilation = 0.0 if self._compiled else max(0.0, steps[0] - np.median(steps))
        self._compiled = True
        seconds = {
            "seconds": time.perf_counter() - self._ends[0],
            "training_seconds": steps.sum() - compilation,
            "compilation_seconds": compilation,
        }
        self.seconds = {what: round(float(each), 3) for what, each in seconds.items()}


class EvaluateHeldOut(keras.callbacks.Callback):
    """Add the loss and accuracy of held-out training images to the logs after each epoch."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def on_epoch_end(self, epoch, logs=None):
        held_out = self.model.evaluate(self.batches, verbose=0, return_dict=True)
        logs.update({f"held_out_{name}": value for name, value in held_out.items()})


class SaveCheckpoint(keras.callbacks.Callback):
    """Save the run after each epoch: the checkpoint first, then what can be made again from it."""

    def __init__(self, progress, timer):
        super().__init__()
        self.progress, self.timer = progress, timer
        self._drawn = -math.inf

    def on_epoch_end(self, epoch, logs=None):
        progress = self.progress
        rate = {"learning_rate": float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))}
        row = {"epoch": epoch + 1, **logs, **self.timer.seconds, **rate}
        checkpoints.save(progress.folder, self.model, run=progress.run, history=[*progress.history, row])
        progress.history.append(row)  # now that it is saved: a second Ctrl-C may end even a write
        is_last = len(progress.history) >= progress.epochs
        curves = is_last or time.perf_counter() - self._drawn > SECONDS_BETWEEN_DRAWINGS
        progress.write_summaries(self.model, curves=curves)
        self._drawn = time.perf_counter() if curves else self._drawn
        epochs_left = progress.epochs - epoch - 1
        if epochs_left:
            seconds_an_epoch = np.median([row["seconds"] for row in progress.history[-5:]])
            progress.say(f"Saved; about {duration(seconds_an_epoch * epochs_left)} left.")
