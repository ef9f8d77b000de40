"""`model.fit` that can be stopped at any moment and goes on later as if nothing had happened."""

import contextlib
import importlib.util
import json
import math
import signal
import threading
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from convnets import provenance
from convnets.data.datasets import scale_pixels
from convnets.errors import Stopped, UserError
from convnets.training import checkpoints, training_curves, weight_files

FLIPS = 2**32 - 1  # stands where an epoch stands, so that the flips have random numbers of their own
SECONDS_BETWEEN_DRAWINGS = 5  # an epoch of a small network takes 1, and to draw its curves 0.2


class TrainingBatches(keras.utils.PyDataset):
    """The batches of all epochs from `first_epoch` on, one endless stream.

    Batch number i depends on (seed, first_epoch, i) alone, never on what was drawn before: this is
    what makes a resumed training see the same images as one that was never interrupted.

    images: (n, height, width, channels) uint8. labels: (n, classes) float32, one-hot.
    Each item is (float32 pixels in [0, 1], labels), shuffled, then augmented where `augment` is given.
    alternate_flips: half of the images, drawn once, are mirrored in every odd epoch, the others in every even one.
    """

    num_batches = None

    def __init__(self, images, labels, *, batch_size, seed, first_epoch, augment=None, alternate_flips=False):
        super().__init__()
        self.images, self.labels = images, labels
        self.batch_size, self.seed, self.first_epoch, self.augment = batch_size, seed, first_epoch, augment
        self._flip_coins = None
        if alternate_flips:
            self._flip_coins = np.random.default_rng((seed, FLIPS)).integers(0, 2, len(images))
        self.batches_per_epoch = math.ceil(len(images) / batch_size)
        self._epoch_in_order = None

    def __getitem__(self, index):
        epoch, batch = divmod(index, self.batches_per_epoch)
        epoch += self.first_epoch
        if epoch != self._epoch_in_order:
            self._order = np.random.default_rng((self.seed, epoch, 0)).permutation(len(self.images))
            self._epoch_in_order = epoch
        chosen = self._order[batch * self.batch_size : (batch + 1) * self.batch_size]
        pixels = scale_pixels(self.images[chosen])
        if self._flip_coins is not None:
            mirrored = (self._flip_coins[chosen] + epoch) % 2 == 1
            pixels[mirrored] = pixels[mirrored, :, ::-1]
        if self.augment is not None:
            pixels = self.augment(pixels, np.random.default_rng((self.seed, epoch, 1 + batch)))
        return pixels, self.labels[chosen]


class TestBatches(keras.utils.PyDataset):
    """The images in their order, float32 only a batch at a time; arguments as for TrainingBatches."""

    def __init__(self, images, labels, *, batch_size=500):
        super().__init__()
        self.images, self.labels, self.batch_size = images, labels, batch_size

    @property
    def num_batches(self):
        return math.ceil(len(self.images) / self.batch_size)

    def __getitem__(self, index):
        batch = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return scale_pixels(self.images[batch]), self.labels[batch]


def duration(seconds):
    """Seconds in words: "40 seconds", "13 minutes"."""
    return _count(round(seconds), "second") if seconds < 90 else f"{seconds / 60:.0f} minutes"


def _count(number, thing):
    return f"{number} {thing}{'' if number == 1 else 's'}"


def describe(dataset):
    """Prints what a training will run on: the data and the device."""
    sizes = f"{len(dataset.x_train)} training and {len(dataset.x_test)} test images"
    print(f"Data: {dataset.name} from {dataset.source}, {sizes}")
    print(f"Device: {provenance.device()}, Keras {keras.__version__} on {keras.backend.backend()}")


def report(history, run_dir):
    """Prints what came out of a training, and where it is."""
    last = history.iloc[-1]
    seconds = history["seconds"].sum()
    in_steps = history.get("training_seconds", history["seconds"]).sum()  # older runs don't have them apart
    print(
        f"Test accuracy {last['val_accuracy']:.2%}, test loss {last['val_loss']:.4f} after epoch {len(history)}: "
        f"{duration(in_steps)} of training, {duration(seconds)} with compiling and testing."
    )
    print(f"Weights, history and curves are in {run_dir}")


def train(
    model,
    dataset,
    run_dir,
    *,
    epochs,
    batch_size=128,
    seed=1337,
    augment=None,
    alternate_flips=False,
    validation_split=0.0,
    initial_weights=None,
    fresh=False,
    tensorboard=False,
    verbose=2,
):
    """Trains a compiled `model` until it has seen `epochs` epochs in all, going on from what `run_dir` holds.

    model: takes (n, height, width, channels) float32 pixels in [0, 1], returns class probabilities;
    compiled with metrics=["accuracy"].
    dataset: a datasets.Dataset.
    augment: a function (images, numpy.random.Generator) -> images; its repr goes on record.
    alternate_flips: mirror each image in every other epoch, half of them in the odd ones, half in the even ones.
    validation_split: the share of the training images, the last ones, that is not trained on but held out.
    initial_weights: a weights file to start from.
    fresh: set the run that is in run_dir aside and start anew.
    verbose: 0 silent, 1 a progress bar, 2 a line an epoch.

    Returns the history, a pandas.DataFrame, one row an epoch: epoch (from 1), loss and accuracy (of the
    training images, while they were trained on), val_loss and val_accuracy (of the test images), seconds,
    training_seconds (of these, what the steps took), compilation_seconds (what the first step of a process took
    longer than the others; not part of training_seconds) and, with a validation split, held_out_loss and
    held_out_accuracy.
    Afterwards the model has the run's newest weights.

    Raises UserError when the run was made with other options, is in use or damaged, can't be written,
    or when its loss stops being a number; Stopped after Ctrl-C or SIGTERM. Whatever ends it, at most
    the epoch in progress is lost.
    """
    run_dir = Path(run_dir).resolve()  # however it is written, one run has one lock
    say = print if verbose else lambda *_: None
    run = {
        "dataset": dataset.name,
        "class_names": list(dataset.class_names),
        "options": {
            "dataset": dataset.name,
            "seed": seed,
            "batch_size": batch_size,
            "loss": _loss(model),
            "optimizer": _settings(model.optimizer),
            "augmentation": repr(augment) if augment else None,
            "alternate_flips": alternate_flips or None,
            "precision": model.dtype_policy.name,
            "validation_split": validation_split or None,
        },
        "sessions": [],
    }
    callbacks = _callbacks(run_dir, verbose, tensorboard)
    with _locked(run_dir):
        checkpoints.refuse_other_files(run_dir)
        checkpoint = None if fresh else _newest_checkpoint(run_dir, say)
        history = checkpoint.history if checkpoint else []
        run["options"]["initial_weights"] = _on_record(initial_weights, checkpoint)
        if initial_weights and not checkpoint:
            weight_files.load(model, initial_weights)
        if fresh:
            _keep_old_run(run_dir, say)
        checkpoints.make_folder(run_dir)
        if checkpoint:
            _refuse_contradictions(run_dir, checkpoint.run, run, model)
            run = checkpoint.run
            checkpoints.restore(model, checkpoint)
            say(f"Going on after epoch {checkpoint.epoch} from {checkpoint.weights_path}.")
        y_train, y_test = (
            keras.utils.to_categorical(y, dataset.num_classes) for y in (dataset.y_train, dataset.y_test)
        )
        kept = math.floor(len(dataset.x_train) * (1 - validation_split))  # as Keras itself splits
        held_out = TestBatches(dataset.x_train[kept:], y_train[kept:]) if kept < len(dataset.x_train) else None
        keeper = _CheckpointEveryEpoch(run_dir, run, history, epochs, say, held_out)
        finished = len(history) >= epochs
        if not finished:
            run["sessions"].append(provenance.describe(first_epoch=len(history) + 1))
            checkpoints.write(
                run_dir / "run.json", checkpoints.to_json(run)
            )  # fails at once where nothing can be saved
        keeper.write_summaries(model)
        if finished:
            longer = f"To train longer: --epochs {len(history) + epochs}."
            schedule = run["options"]["optimizer"]["learning_rate"]
            if isinstance(schedule, dict):
                longer = "Its learning rate has run out as scheduled, so more epochs would change little."
                if int(model.optimizer.iterations) < schedule["config"].get("decay_steps", 0):
                    longer = "Its learning rate has not run out: take more --epochs."
            say(f"This run is finished, it has {_count(len(history), 'epoch')}. {longer} To start anew: --fresh.")
            return pd.DataFrame(history)
        batches = TrainingBatches(
            dataset.x_train[:kept],
            y_train[:kept],
            batch_size=batch_size,
            seed=seed,
            first_epoch=len(history),
            augment=augment,
            alternate_flips=alternate_flips,
        )
        try:
            with keeper.stop_signals():
                model.fit(
                    batches,
                    steps_per_epoch=batches.batches_per_epoch,
                    shuffle=False,  # the batches come shuffled
                    initial_epoch=len(history),
                    epochs=epochs,
                    validation_data=TestBatches(dataset.x_test, y_test),
                    callbacks=[*callbacks, keeper],
                    verbose=verbose,
                )
        except Stopped:
            keeper.write_summaries(model, at_the_end=True)
            raise
        return pd.DataFrame(history)


def set_aside(run_dir):
    """Renames a run's folder, where there is one, so that a training under its name starts anew, and says so.

    Raises UserError when the run is in use, or the folder is none of a run.
    """
    run_dir = Path(run_dir).resolve()
    with _locked(run_dir):
        checkpoints.refuse_other_files(run_dir)
        _keep_old_run(run_dir, print)


def _keep_old_run(run_dir, say):
    if run_dir.exists():
        say(f"The old run is kept in {checkpoints.set_aside(run_dir)}.")


def _callbacks(run_dir, verbose, tensorboard):
    # Keras's progress bar would come last; put first, its line for the epoch is complete before the keeper's.
    callbacks = [keras.callbacks.ProgbarLogger()] if verbose else []
    if tensorboard:
        if importlib.util.find_spec("tensorboard") is None:
            raise UserError("--tensorboard needs a package that is not installed: pip install tensorboard")
        callbacks.append(keras.callbacks.TensorBoard(run_dir / "tensorboard"))
    return callbacks


@contextlib.contextmanager
def _locked(run_dir):
    """Keeps other processes out of a run. The system frees the lock of a process that dies."""
    # Beside the run's folder, not in it: --fresh renames the folder.
    checkpoints.make_folder(run_dir.parent)
    lock = FileLock(run_dir.with_name(f".{run_dir.name}.lock"), blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(
            f"another process is training in {run_dir}: wait for it, stop it, or name another run with --run"
        ) from None
    except OSError as error:
        raise UserError(
            f"can't write to {run_dir.parent} ({error.strerror}): name another folder with --run"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _newest_checkpoint(run_dir, say):
    checkpoints.remove_leftovers(run_dir)
    checkpoint, damaged = checkpoints.newest(run_dir)
    if checkpoint is None and damaged:
        raise UserError(
            f"no sound checkpoint is left in {run_dir} ({'; '.join(damaged)}): "
            "--fresh starts anew and keeps these files"
        )
    for description in damaged:
        say(f"Passed over: {description}.")
    return checkpoint


def _refuse_contradictions(run_dir, old, new, model):
    before, now = _flat({"precision": "float32", **old["options"]}), _flat(new["options"])
    differences = checkpoints.architecture_differences(run_dir, model) + [
        f"{name} was {before.get(name)}, now {now.get(name)}"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    ]
    if differences:
        if len(differences) > 3:
            differences[3:] = [f"and {len(differences) - 3} more"]
        raise UserError(
            f"{run_dir} was trained otherwise ({'; '.join(differences)}): "
            "use the same options, name another run with --run, or start anew with --fresh"
        )


def _flat(options):
    """{"seed": 1, "optimizer": {"name": "adam"}} becomes {"seed": 1, "optimizer name": "adam"}."""
    flat = {}
    for name, value in options.items():
        if isinstance(value, dict):
            flat |= {f"{name} {key}": inner for key, inner in _flat(value).items()}
        else:
            flat[name.replace("_", " ")] = f"{value:.6g}" if isinstance(value, float) else value
    return flat


def _on_record(initial_weights, checkpoint):
    """The name and checksum of the weights that a run starts from. To go on, it needs neither them nor the option."""
    recorded = checkpoint.run["options"]["initial_weights"] if checkpoint else None
    if initial_weights is None:
        return recorded
    path = Path(initial_weights)
    if recorded and recorded.startswith(f"{path.name} (") and not path.exists():
        return recorded
    return f"{path.name} (SHA-256 {checkpoints.fingerprint(path)[:16]})"


def _loss(model):
    """The loss by its name, or with all its settings where it is an object."""
    return model.loss if isinstance(model.loss, str) else keras.losses.serialize(keras.losses.get(model.loss))


def _settings(optimizer):
    """An optimizer's class and hyperparameters, as they come back from JSON, so that they can be compared."""
    settings = json.loads(json.dumps(keras.optimizers.serialize(optimizer)["config"], default=float))
    return {**settings, "name": type(optimizer).__name__.lower()}  # Keras numbers the names: adam, adam_1 ...


class _CheckpointEveryEpoch(keras.callbacks.Callback):
    """Saves the run after each epoch, and ends it when asked to or when the loss is no longer a number."""

    def __init__(self, run_dir, run, history, epochs, say, held_out=None):
        super().__init__()
        self.run_dir, self.run, self.history, self.epochs, self.say = run_dir, run, history, epochs, say
        self.held_out = held_out
        self._drawn = -math.inf
        self._compiled = False
        self.caught_signal = None

    @contextlib.contextmanager
    def stop_signals(self):
        """Within this block Ctrl-C and SIGTERM end the training after the batch in progress, never amid a write."""

        def remember(number, frame):
            if self.caught_signal is not None:  # asked twice: at once
                self._stop_if_asked()
            self.caught_signal = number

        if threading.current_thread() is not threading.main_thread():  # only the main thread may catch signals
            yield
            return
        before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def write_summaries(self, model, *, at_the_end=False):
        """Writes what a reader looks at. All of it can be made again, so a failure is no reason to stop."""
        contents = {
            "architecture.json": checkpoints.to_json(checkpoints.architecture(model)),
            "run.json": checkpoints.to_json(self.run),
        }
        if self.history:
            history = pd.DataFrame(self.history)
            contents["history.csv"] = history.to_csv(index=False)
            at_the_end |= len(history) >= self.epochs
            if at_the_end or time.perf_counter() - self._drawn > SECONDS_BETWEEN_DRAWINGS:
                contents["training_curves.png"] = training_curves.training_curves(history, self.run_dir.name)
                self._drawn = time.perf_counter()
        for name, content in contents.items():
            try:
                checkpoints.write(self.run_dir / name, content)
            except UserError as error:
                self.say(f"Warning: {error}.")

    def on_epoch_begin(self, epoch, logs=None):
        self._started = time.perf_counter()
        self._step_ends = []

    def on_train_batch_end(self, batch, logs=None):
        self._stop_if_asked()
        self._refuse_nan(logs)
        self._step_ends.append(time.perf_counter())

    def on_test_batch_end(self, batch, logs=None):
        self._stop_if_asked()

    def on_epoch_end(self, epoch, logs=None):
        self._refuse_nan(logs)
        seconds = {"seconds": time.perf_counter() - self._started, **self._seconds_of_training()}
        if self.held_out is not None:
            held_out = self.model.evaluate(self.held_out, verbose=0, return_dict=True)
            logs = {**logs, **{f"held_out_{name}": value for name, value in held_out.items()}}
        self.history.append({"epoch": epoch + 1, **logs, **{what: round(s, 3) for what, s in seconds.items()}})
        checkpoints.save(self.run_dir, self.model, run=self.run, history=self.history)
        self.write_summaries(self.model)
        seconds_left = np.median([row["seconds"] for row in self.history[-5:]]) * (self.epochs - epoch - 1)
        if seconds_left:
            self.say(f"Saved; about {duration(seconds_left)} left.")
        self._stop_if_asked()

    def _seconds_of_training(self):
        """Those of the steps; and those by which a process's first step, which compiles, was slower than the others."""
        steps = np.diff([self._started, *self._step_ends])
        compilation = 0.0 if self._compiled else max(0.0, steps[0] - np.median(steps))
        self._compiled = True
        return {"training_seconds": steps.sum() - compilation, "compilation_seconds": compilation}

    def _saved(self):
        done = self.history[-1]["epoch"] if self.history else 0
        return f"epoch {done} is saved in {self.run_dir}" if done else "no epoch was finished yet, so nothing is saved"

    def _stop_if_asked(self):
        if self.caught_signal is not None:
            raise Stopped(f"Stopped; {self._saved()}.", 128 + self.caught_signal)

    def _refuse_nan(self, logs):
        if not all(math.isfinite(value) for value in logs.values()):
            raise UserError(
                f"the loss is no longer a number; {self._saved()}: start anew with --fresh and, in the script, "
                "a smaller learning rate"
            )
