"""Train a network so that it can be stopped at any moment, and resumes exactly."""

import contextlib
import dataclasses
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from convnets import files, provenance
from convnets.data import folders
from convnets.errors import Stopped, UserError, count, duration, one_line, printable
from convnets.training import callbacks, checkpoints, weight_files
from convnets.training.batches import Rows, TestBatches, TrainingBatches

LONGEST = 200  # characters of a difference between two runs in a message; a model inside a model has thousands


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What is to be learned, apart from the network and its optimizer. Any change gives another result.

    epochs: how many in all. seed: of the order of the images and of augmentation.
    augment: a function (images, numpy.random.Generator) -> images; its repr is recorded.
    alternate_flips: flip each image horizontally in every other epoch, half of them in odd epochs, half in even ones.
    validation_split: the share of the training images that is held out; see Dataset.split.
    initial_weights: a weights file to start from.
    class_weights: "balanced" weights the loss of an image by the inverse of its class's share of the training images.
    starts_from: what the network knows before, for the record, if it does not start from random weights.
    passes: how many times an epoch goes through the training images. With few of them, testing takes most of the time
    unless an epoch has several passes.
    """

    epochs: int
    batch_size: int = 128
    seed: int = 1337
    augment: Callable | None = None
    alternate_flips: bool = False
    validation_split: float = 0.0
    initial_weights: Path | None = None
    class_weights: str | None = None
    starts_from: str | None = None
    passes: int = 1


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """How a training is carried out. None of this changes what is learned.

    fresh: set aside the run that is there, and start anew. tensorboard: also write logs for TensorBoard.
    verbose: 0 silent, 1 a progress bar, 2 a line an epoch. test_each_epoch: else only after the last one, which is
    faster, and shows no test accuracy as long as something could still be changed.
    watchers: Keras callbacks that look on. When they hear of the end of an epoch, it is saved already.
    """

    fresh: bool = False
    tensorboard: bool = False
    verbose: int = 2
    test_each_epoch: bool = True
    watchers: tuple = ()


def describe(dataset):
    """Print what a training will run on: the data and the device."""
    sizes = f"{len(dataset.x_train)} training and {len(dataset.x_test)} test images"
    print(f"Data: {dataset.name} from {dataset.source}, {sizes}")
    for note in dataset.notes:
        print(printable(note))
    print(f"Device: {provenance.device()}, Keras {keras.__version__} on {keras.backend.backend()}")


def report(history, run_dir):
    """Print the result of a training, and where it is."""
    last = history.iloc[-1]
    seconds = history["seconds"].sum()
    in_steps = history.get("training_seconds", history["seconds"]).sum()  # older runs don't have them apart
    result, rest = "Not tested", "compiling"  # as after a training that was stopped, and then asked for no more epochs
    if pd.notna(last.get("val_accuracy")):
        result = f"Test accuracy {last['val_accuracy']:.2%}, test loss {last['val_loss']:.4f}"
        rest = "compiling and testing"
    times = f"{duration(in_steps)} of training, {duration(seconds)} with {rest}"
    print(f"{result} after epoch {len(history)}: {times}.")
    print(f"Weights, history and curves are in {run_dir}")


def train(model, dataset, run_dir, recipe=None, options=None, **settings):
    """Train a compiled model, or resume its training, until it has seen all epochs of the recipe.

    model: takes (n, height, width, channels) float32 pixels in [0, 1], returns class probabilities; compiled with
    metrics=["accuracy"]. dataset: a datasets.Dataset. run_dir: the run's folder, whose newest checkpoint is resumed.
    recipe: a Recipe. options: RunOptions. Keywords are fields of either: train(..., epochs=3, fresh=True).

    Returns the history, a pandas.DataFrame, one row an epoch: epoch (from 1); loss and accuracy (of the training
    images, during the epoch); val_loss and val_accuracy (of the test images; missing for epochs after which they were
    not looked at); held_out_loss and held_out_accuracy, with a validation split; seconds; training_seconds (of these,
    those of the steps); compilation_seconds (the excess of a process's first step, not part of training_seconds);
    learning_rate (at the epoch's end). Afterwards the model has the run's newest weights.

    Raises UserError if the run was made with other options, is in use or damaged, or can't be written, or if the loss
    stops being a number; Stopped after Ctrl-C or SIGTERM. Whatever ends it, at most the epoch in progress is lost.
    """
    names = {field.name for field in dataclasses.fields(Recipe)} & settings.keys()
    of_recipe = {name: settings.pop(name) for name in names}
    recipe = dataclasses.replace(recipe, **of_recipe) if recipe else Recipe(**of_recipe)
    options = dataclasses.replace(options or RunOptions(), **settings)
    if recipe.epochs > files.MOST_EPOCHS:
        raise UserError(f"a run can have {files.MOST_EPOCHS:,} epochs, not {recipe.epochs:,}: ask for fewer")
    run_dir = Path(run_dir).resolve()
    say = print if options.verbose else lambda *_: None
    loggers = _loggers(run_dir, options)
    with locked(run_dir):
        progress = _ready(model, dataset, run_dir, recipe, options, say)
        epochs_done = len(progress.history)
        if epochs_done >= recipe.epochs:
            progress.write_summaries(model)
            say(_finished(model, epochs_done, recipe.epochs))
        else:
            _begin_session(progress, dataset)
            progress.write_summaries(model)
            _fit(model, dataset, recipe, options, progress, loggers)
        return pd.DataFrame(progress.history)


def _ready(model, dataset, run_dir, recipe, options, say):
    """Bring the model, and the run's folder, into the state from which the training goes on. Return the Progress.

    A run that was trained with other options is refused before it changes.
    """
    checkpoints.refuse_other_files(run_dir)
    checkpoint = None if options.fresh else _newest_checkpoint(run_dir, say)
    identity = run_identity(model, dataset, recipe, checkpoint)
    run = {
        "dataset": dataset.key,
        "class_names": list(map(str, dataset.class_names)),
        "options": identity,
        "sessions": [],
    }
    if recipe.initial_weights and not checkpoint:
        weight_files.load(model, recipe.initial_weights)
    make_variables(model, _one_hot(dataset.y_train, dataset))
    if options.fresh:
        _keep_old_run(run_dir, say)
    files.make_folder(run_dir)
    if checkpoint:
        _refuse_another(run_dir, checkpoint, identity, model, dataset)
        run = {**checkpoint.run, "dataset": dataset.key}  # a folder of pictures may have moved
        checkpoints.restore(model, checkpoint)
        say(f"Resuming after epoch {checkpoint.epoch}, from {checkpoint.weights_path}.")
    return callbacks.Progress(run_dir, run, checkpoint.history if checkpoint else [], recipe.epochs, say)


def _begin_session(progress, dataset):
    """Record on what this process trains. Fails at once if nothing can be saved."""
    run = progress.run
    session = provenance.describe(first_epoch=len(progress.history) + 1, epochs=progress.epochs)
    if run["sessions"] and (moved := provenance.changes(run["sessions"][-1], session)):
        progress.say(f"The result may differ slightly from that of an uninterrupted run: {'; '.join(moved)}.")
    run["sessions"].append(session)
    files.write(progress.folder / "run.json", files.to_json(run))
    if dataset.pictures is not None:
        files.write(progress.folder / folders.RECORD, dataset.pictures.to_csv(index=False, lineterminator="\n"))


def _fit(model, dataset, recipe, options, progress, loggers):
    """Train, and save each epoch."""
    first_epoch = len(progress.history)
    kept, others = dataset.split(recipe.validation_split)
    y_train = _one_hot(dataset.y_train, dataset)
    held_out = TestBatches(Rows(dataset.x_train, others), y_train[others])
    batches = TrainingBatches(
        Rows(dataset.x_train, kept),
        y_train[kept],
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        first_epoch=first_epoch,
        passes=recipe.passes,
        augment=recipe.augment,
        alternate_flips=recipe.alternate_flips,
        threads=_batch_threads(),
    )
    stop, timer = callbacks.StopOnSignal(progress), callbacks.TimeSteps()
    try:
        with stop.catching():
            model.fit(
                batches,
                steps_per_epoch=batches.batches_per_epoch,
                shuffle=False,  # the batches come shuffled
                initial_epoch=first_epoch,
                epochs=recipe.epochs,
                validation_data=TestBatches(dataset.x_test, _one_hot(dataset.y_test, dataset)),
                validation_freq=1 if options.test_each_epoch else [recipe.epochs],
                class_weight=_class_weights(recipe, dataset.y_train[kept], dataset.num_classes),
                callbacks=[
                    *loggers,
                    timer,
                    *([callbacks.EvaluateHeldOut(held_out)] if recipe.validation_split else []),
                    callbacks.RefuseNaN(progress),
                    callbacks.SaveCheckpoint(progress, timer),
                    *options.watchers,
                    stop,
                ],
                verbose=options.verbose,
            )
    except Stopped:
        progress.write_summaries(model)
        raise


def _one_hot(labels, dataset):
    return keras.utils.to_categorical(labels, dataset.num_classes).astype("float32")


def make_variables(model, labels):
    """Make the variables of a compiled model's optimizer and metrics. labels: (n, classes) one-hot, at least one row.

    If TensorFlow finds them missing when it traces the first step, it traces that step a second time. The metrics are
    given labels in place of predictions, which have the same shape; `fit` resets them before each epoch.
    Raises UserError if the metric "accuracy" is not among them, which the history of each run has.
    """
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    if "accuracy" not in model.compute_metrics(None, labels[:1], labels[:1]):
        raise UserError('the network has no metric "accuracy": compile it with metrics=["accuracy"]')


def _batch_threads():
    """Return how many threads prepare batches. On JAX one is too slow for a GPU; TensorFlow prepares them ahead."""
    return 4 if keras.backend.backend() == "jax" and not provenance.device().startswith("CPU") else 1


def _class_weights(recipe, labels, num_classes):
    if recipe.class_weights is None:
        return None
    counts = np.bincount(labels, minlength=num_classes)
    return dict(enumerate((len(labels) / (num_classes * np.maximum(counts, 1))).tolist()))


def set_aside(run_dir):
    """Rename a run's folder, if there is one, and say so: the next training under its name starts anew.

    Raises UserError if the run is in use, or the folder is not that of a run.
    """
    run_dir = Path(run_dir).resolve()
    with locked(run_dir):
        checkpoints.refuse_other_files(run_dir)
        _keep_old_run(run_dir, print)


def _keep_old_run(run_dir, say):
    if run_dir.exists():
        say(f"The old run is kept in {files.keep_old(run_dir)}.")


def _finished(model, epochs, asked):
    """Return the message that a run is finished, and what to do to train longer."""
    longer = f"To train longer: --epochs {min(epochs + asked, files.MOST_EPOCHS)}."
    schedule = _settings(model.optimizer)["learning_rate"]
    if isinstance(schedule, dict):
        longer = "Its learning rate schedule has ended, so more epochs would change little."
        planned = (schedule["config"].get(steps) or 0 for steps in ("warmup_steps", "decay_steps"))
        if int(model.optimizer.iterations) < 0.9 * sum(planned):  # the last tenth of a cosine changes little
            longer = "Its learning rate schedule has not ended: ask for more --epochs."
    return f"This run is finished after {count(epochs, 'epoch')}. {longer} To start anew: --fresh."


def _loggers(run_dir, options):
    # Keras would add its progress bar last; first in the list, its line is complete before that of the checkpoint.
    loggers = [keras.callbacks.ProgbarLogger()] if options.verbose else []
    if options.tensorboard:
        if importlib.util.find_spec("tensorboard") is None:
            raise UserError("--tensorboard needs a package that is not installed: pip install tensorboard")
        loggers.append(keras.callbacks.TensorBoard(run_dir / "tensorboard"))
    return loggers


@contextlib.contextmanager
def locked(run_dir):
    """Keep other processes out of a run, within a block. The system frees the lock of a process that dies.

    Raises UserError if another process holds it.
    """
    run_dir = Path(run_dir).resolve()  # however it is written, one run has one lock
    files.make_folder(run_dir.parent)
    # Beside the run's folder, not in it: --fresh renames the folder.
    lock = FileLock(run_dir.with_name(f".{run_dir.name}.lock"), blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"another process is training in {run_dir}: wait for it, or stop it") from None
    except OSError as error:
        raise UserError(
            f"can't write to {run_dir.parent} ({error.strerror}): see to the permissions, or free some space"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _newest_checkpoint(run_dir, say):
    files.remove_partial(run_dir)
    checkpoint, damaged = checkpoints.newest_sound(run_dir)
    for description in damaged:
        say(f"Skipped: {description}.")
    return checkpoint


# ---------------------------------------------------------------- what makes two runs the same


def run_identity(model, dataset, recipe, checkpoint=None):
    """Return all that decides what a run learns, apart from its layers and epochs, as a dict for JSON.

    dataset: a datasets.Dataset, also one without images. checkpoint: of the run to resume, which need not be given its
    initial weights again.
    """
    return {
        "dataset": dataset.name,
        "image_size": None if dataset.pictures is None else dataset.input_shape[0],
        "pictures": None if dataset.pictures is None else folders.fingerprint(dataset.pictures),
        "seed": recipe.seed,
        "batch_size": recipe.batch_size,
        "loss": _loss(model),
        "optimizer": _settings(model.optimizer),
        "augmentation": repr(recipe.augment) if recipe.augment else None,
        "alternate_flips": recipe.alternate_flips or None,
        "precision": model.dtype_policy.name,
        "validation_split": recipe.validation_split or None,
        "held_out": "random images" if recipe.validation_split and dataset.folder else None,
        "class_weights": recipe.class_weights,
        "starts_from": recipe.starts_from,
        "passes": recipe.passes if recipe.passes > 1 else None,
        "initial_weights": _weights_on_record(recipe.initial_weights, checkpoint),
    }


def differences(checkpoint, identity, model):
    """Describe, a line each, how a run on disk differs from an identity and a model."""
    before, now = _flat({"precision": "float32", **checkpoint.run["options"]}), _flat(identity)
    found = checkpoints.architecture_differences(checkpoint.folder, model) + [
        f"{name} was {before.get(name)}, now {now.get(name)}"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    ]
    found = map(one_line, found)
    return [each if len(each) <= LONGEST else f"{each[: LONGEST - 3]}..." for each in found]


def _refuse_another(run_dir, checkpoint, identity, model, dataset):
    found = differences(checkpoint, identity, model)
    before, now = checkpoint.run["options"].get("pictures"), identity["pictures"]
    if before and now and before != now:
        found = [each for each in found if not each.startswith("pictures was")]
        if checkpoint.run["options"].get("image_size") == identity["image_size"]:  # else all pixels differ
            found.insert(0, f"{dataset.folder} has changed since ({_changes(run_dir, dataset)})")
    if found:
        if len(found) > 3:
            found[3:] = [f"and {len(found) - 3} more"]
        raise UserError(
            f"{run_dir} was trained with other options ({'; '.join(found)}): "
            "use the same ones, name another run with --run, or start anew with --fresh"
        )


def _changes(run_dir, dataset):
    before = folders.recorded(run_dir)
    lost = f"{folders.RECORD}, the record of its pictures, is lost"
    return lost if before is None else folders.changes(before, dataset.pictures)


def _flat(options):
    """Flatten {"seed": 1, "optimizer": {"name": "adam"}} to {"seed": 1, "optimizer name": "adam"}."""
    flat = {}
    for name, value in options.items():
        if isinstance(value, dict):
            flat |= {f"{name} {key}": inner for key, inner in _flat(value).items()}
        else:
            value = value.replace("hole=", "cutout=") if isinstance(value, str) else value  # the name in older runs
            flat[name.replace("_", " ")] = f"{value:.6g}" if isinstance(value, float) else value
    return flat


def _weights_on_record(initial_weights, checkpoint):
    """Return the name and checksum of initial weights. A run that is resumed needs neither the file nor the option."""
    recorded = checkpoint.run["options"].get("initial_weights") if checkpoint else None
    recorded = recorded if recorded is None else str(recorded)
    if initial_weights is None:
        return recorded
    path = Path(initial_weights)
    if recorded and recorded.startswith(f"{path.name} (") and not path.exists():
        return recorded
    return f"{path.name} (SHA-256 {files.fingerprint(path)[:16]})"


def _loss(model):
    """Return the loss as its name, or with all its settings if it is an object."""
    return model.loss if isinstance(model.loss, str) else keras.losses.serialize(keras.losses.get(model.loss))


def _settings(optimizer):
    """Return an optimizer's class and hyperparameters as they come back from JSON, so that they can be compared."""
    settings = json.loads(json.dumps(keras.optimizers.serialize(optimizer)["config"], default=float))
    return {**settings, "name": type(optimizer).__name__.lower()}  # Keras numbers the names: adam, adam_1 ...
