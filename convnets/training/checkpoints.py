"""Save and load the runs in models/. Files are written whole or not at all, and nothing in them is trusted.

    models/NAME/architecture.json        the network, as Keras's own JSON
    models/NAME/run.json                 what made it: dataset, class names, options, versions, hardware
    models/NAME/history.csv              a line an epoch
    models/NAME/training_curves.png
    models/NAME/pictures.csv             of a folder of pictures: which ones, with their parts and checksums
    models/NAME/calibration.json, feature_centres.npy    see views.calibration
    models/NAME/epoch-0050.weights.h5    weights and optimizer state, as Keras's own weights file
    models/NAME/epoch-0050.json          the record that makes these weights a checkpoint: their SHA-256,
                                         the state that Keras leaves out, and the history so far

A checkpoint exists once its record does, and is sound when record and weights have the recorded checksums.
All else in the folder, but pictures.csv, can be made again from it.
"""

import contextlib
import dataclasses
import hashlib
import io
import json
import re
from pathlib import Path

import h5py
import numpy as np

from convnets import files, records
from convnets.errors import NotFinite, UserError, one_line
from convnets.training import model_files, weight_files

MOST_BYTES = 4 * 2**30  # of weights and optimizer; a network of 1.5 million parameters takes 18 million
MOST_DAMAGED = 5  # epochs that are tried; three are kept


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The state of a training after `epoch` whole epochs.

    run: what made it (dataset, class_names, options, sessions ...), the contents of run.json.
    history: list of dicts, one an epoch.
    seed_generators: the state of each random generator in the network, in the network's order.
    """

    folder: Path
    epoch: int
    weights_sha256: str
    run: dict
    history: list
    seed_generators: list

    @property
    def weights_path(self):
        return self.folder / f"epoch-{self.epoch:04d}.weights.h5"

    @property
    def record_path(self):
        return self.folder / f"epoch-{self.epoch:04d}.json"

    @property
    def best_epoch(self):
        """The tested epoch with the best test accuracy so far, or else the last one: not for choosing."""
        tested = [row for row in self.history if "val_accuracy" in row]
        return max(tested, key=lambda row: row["val_accuracy"])["epoch"] if tested else self.epoch


# ---------------------------------------------------------------- writing


class _WeightsInMemory(io.BytesIO):
    """A weights file in memory, since the HDF5 library can crash on a full disk. Keras checks its name."""

    def __str__(self):
        return "memory.weights.h5"


def architecture(model):
    """Return a network as Keras's JSON describes it, without its compilation and the precision of its training.

    (Its weights are float32 at any precision, and the views need exact gradients.)
    """
    description = json.loads(model.to_json(), object_hook=_in_float32)
    description.pop("compile_config", None)
    return description


def _in_float32(part):
    is_policy = part.get("class_name") == "DTypePolicy" and part["config"]["name"].startswith("mixed_")
    return {**part, "config": {"name": "float32"}} if is_policy else part


def save(folder, model, *, run, history):
    """Save the state after the last epoch in `history`.

    Afterwards the folder has the newest two checkpoints and the best one of those tested. Raises UserError if the
    weights are not finite or can't be written; then older checkpoints stay as they are.
    """
    if not weight_files.are_finite(model):
        raise NotFinite(
            f"the network's weights are no longer finite numbers and are not saved; {folder} keeps "
            "what it had: start anew with --fresh and, in the script, a smaller learning rate"
        )
    checkpoint = Checkpoint(
        folder=Path(folder),
        epoch=history[-1]["epoch"],
        weights_sha256="",
        run=run,
        history=history,
        seed_generators=[variable.numpy().tolist() for variable in _seed_variables(model)],
    )
    save_checkpoint(checkpoint, model)


def save_checkpoint(checkpoint, model):
    """Write a network's weights, and then the record that makes them this checkpoint."""
    content = _WeightsInMemory()
    model.save_weights(content)
    checkpoint = dataclasses.replace(checkpoint, weights_sha256=hashlib.sha256(content.getbuffer()).hexdigest())
    files.write(checkpoint.weights_path, content.getbuffer())
    record = dataclasses.asdict(checkpoint)
    del record["folder"]
    files.write(checkpoint.record_path, files.to_json({**record, "record_sha256": _record_sha256(record)}))
    _prune(checkpoint)


def _record_sha256(record):
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _prune(newest):
    """Keep this checkpoint, the one before it and the best one of those tested. Later ones are damaged."""
    up_to_now = [epoch for epoch in sorted(_epochs(newest.folder)) if epoch <= newest.epoch]
    for epoch in _epochs(newest.folder, "*") - {*up_to_now[-2:], newest.best_epoch}:
        # The record goes first: weights without a record are no checkpoint, so no moment shows a broken one.
        old = dataclasses.replace(newest, epoch=epoch)
        with contextlib.suppress(OSError):  # in use by another program: the next epoch tries again
            old.record_path.unlink(missing_ok=True)
            old.weights_path.unlink(missing_ok=True)


def refuse_other_files(folder):
    """Raise UserError if a folder holds something that is not a training run."""
    folder = Path(folder)
    if not folder.exists():
        return
    try:
        names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    except OSError as error:  # not a folder, or not readable
        raise UserError(f"can't use {folder} for a run ({error.strerror}): choose another folder") from error
    if names and "run.json" not in names and not _epochs(folder):
        raise UserError(f"{folder} holds other files and no training run: choose another folder, or rename this one")


# ---------------------------------------------------------------- reading


def newest(folder):
    """Find the newest sound checkpoint of a run.

    Returns (Checkpoint, or None if there is none; a list of one-line descriptions of newer, damaged ones).
    Raises UserError if the system does not allow a file to be read.
    """
    folder = Path(folder)
    damaged = []
    for epoch in sorted(_epochs(folder), reverse=True)[:MOST_DAMAGED]:
        try:
            return _read(folder, epoch), damaged
        except _Damaged as error:
            damaged.append(str(error))
    # The weights of a first epoch can be there without a record, when a process was killed between the two.
    is_run = (folder / "run.json").is_file()
    if is_run and not damaged and ((folder / "history.csv").is_file() or _epochs(folder, "weights.h5") - {1}):
        damaged.append(f"{folder} has lost its records, epoch-*.json")
    return None, damaged


def newest_sound(folder):
    """Return what `newest` returns. Raises UserError if the run has only damaged checkpoints."""
    checkpoint, damaged = newest(folder)
    if checkpoint is None and damaged:
        raise UserError(
            f"no sound checkpoint is left in {folder} ({'; '.join(damaged)}): --fresh starts anew and keeps these files"
        )
    return checkpoint, damaged


class _Damaged(Exception):
    """What is wrong with a checkpoint, in one line."""


def load_model(path):
    """Load a trained network, ready to predict.

    path: a run's folder, models/NAME or models/stashed/NAME, whose newest sound weights are loaded; a folder in which
    other Keras code has saved an architecture, model.to_json() in a .json file, and weights, a .weights.h5 or .h5 file;
    a .keras file; or a whole-model .h5 file of Keras 2.
    Returns a keras.Model. That of a run takes float32 pixels in [0, 1], (n, height, width, channels), and returns
    class probabilities, (n, classes). Raises UserError if there is no complete network.
    """
    path = Path(path)
    if path.is_file() or path.suffix == ".keras":
        return model_files.load(path)
    checkpoint, damaged = newest(path)
    if checkpoint:
        return _load_checkpoint(checkpoint)
    if damaged:
        raise UserError("; ".join(damaged))
    return _load_from_other_code(path)


def load_all(folder):
    """Yield (epoch, the network as it was then) for each sound checkpoint of a run, the oldest first."""
    for epoch in sorted(_epochs(folder))[-MOST_DAMAGED:]:
        with contextlib.suppress(_Damaged, UserError):  # or replaced by a newer one, while it trains
            yield epoch, _load_checkpoint(_read(Path(folder), epoch))


def _load_checkpoint(checkpoint):
    model = model_files.load_architecture(checkpoint.folder / "architecture.json", weights=checkpoint.weights_path)
    weight_files.load_own(model, checkpoint.weights_path)
    return model


def _load_from_other_code(folder):
    """Load the network that other Keras code has saved in a folder: an architecture, and the newest weights."""
    sizes = {path: path.stat().st_size for path in folder.glob("*.h5") if path.is_file()}
    weights = max((path for path in sizes if sizes[path] <= MOST_BYTES), key=files.modified, default=None)
    descriptions = sorted(folder.glob("*.json")) if weights else []
    models = (model_files.load_architecture(path, weights=weights) for path in descriptions)
    model = next((model for model in models if model is not None), None)
    if model is None:
        missing = "there is no network, as JSON" if weights else "there are no weights, or no epoch was finished yet"
        missing = missing if folder.exists() else "there is no such folder"
        raise UserError(f"{folder} holds no trained network ({missing}): train one, or name another --run")
    weight_files.load(model, weights)
    return model


def restore(model, checkpoint):
    """Bring a compiled model into the state of a checkpoint, including optimizer and random generators."""
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    try:
        with h5py.File(checkpoint.weights_path, "r") as file:
            saved = len(file.get("optimizer/vars", ()))
    except Exception as error:  # h5py may stumble over a stranger's file in any way
        raise UserError(f"can't read {checkpoint.weights_path}: it is no weights file") from error
    if saved != len(model.optimizer.variables):  # Keras itself would only warn, and go on with an empty optimizer
        raise UserError(
            f"{checkpoint.weights_path} holds {saved} optimizer variables, not {len(model.optimizer.variables)}: "
            "it can be looked at but not trained further; --fresh starts anew"
        )
    weight_files.load_own(model, checkpoint.weights_path)
    variables = _seed_variables(model)
    if len(variables) != len(checkpoint.seed_generators):
        raise UserError(
            f"{checkpoint.record_path} is of a network with {len(checkpoint.seed_generators)} random generators (in "
            f"its dropout layers), not {len(variables)}: name another run with --run, or start anew with --fresh"
        )
    try:
        for variable, value in zip(variables, checkpoint.seed_generators, strict=True):
            variable.assign(np.asarray(value, dtype=variable.dtype))
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(f"{checkpoint.record_path} holds other things than states of random generators") from error


def architecture_differences(folder, model):
    """Describe, a line each, how the network saved in a folder differs from a model."""
    try:
        before = _settings_of_layers(files.read_json(Path(folder) / "architecture.json"))
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return []  # it is written anew, and the weights can only be loaded into a network of the same shape
    now = _settings_of_layers(architecture(model))
    if len(before) != len(now):
        return [f"the network had {len(before)} layers, now {len(now)}"]
    return [
        f"layer {number} ({new['class_name']}): {name} was {old.get(name)}, now {value}"
        for number, (old, new) in enumerate(zip(before, now, strict=True))
        for name, value in new.items()
        if old.get(name) != value
    ]


def _settings_of_layers(description):
    """Return a dict of settings for each layer of an architecture, without the layers' names, also inside of models.

    Keras numbers the names: the same layers are conv2d, conv2d_1 or conv2d_7, by what the process made before them.
    """
    numbers = {}

    def visit(part):
        if isinstance(part, dict):
            names = [inner.get("name") for inner in part.get("layers", ()) if isinstance(inner, dict)]
            numbers.update((name, f"layer {number}") for number, name in enumerate(names))
            return {key: visit(value) for key, value in part.items() if key != "name"}
        if isinstance(part, list):
            return [visit(each) for each in part]
        return numbers.get(part, part) if isinstance(part, str) else part

    return visit([{"class_name": layer["class_name"], **layer["config"]} for layer in description["config"]["layers"]])


def _read(folder, epoch):
    path = folder / f"epoch-{epoch:04d}.json"
    try:
        record = files.read_json(path)
        checksum = record.pop("record_sha256")
        checkpoint = Checkpoint(folder=folder, **record)
    except OSError as error:
        raise UserError(f"can't read {path}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _Damaged(f"{path} is damaged ({one_line(error)})") from error
    if not _is_meaningful(checkpoint):
        raise _Damaged(f"{path} is damaged (it holds other things than a record does)")
    if checksum != _record_sha256(record) or checkpoint.epoch != epoch:
        raise _Damaged(f"{path} is damaged (its checksum is not the recorded one)")
    if not checkpoint.weights_path.is_file():
        raise _Damaged(f"{checkpoint.weights_path} is missing")
    if (size := checkpoint.weights_path.stat().st_size) > MOST_BYTES:  # or the checksum would take minutes
        raise _Damaged(f"{checkpoint.weights_path} is damaged (it has {size:,} bytes)")
    if files.fingerprint(checkpoint.weights_path) != checkpoint.weights_sha256:
        raise _Damaged(f"{checkpoint.weights_path} is damaged (its checksum is not the recorded one)")
    return checkpoint


def _is_meaningful(checkpoint):
    """Return whether a record's parts have the right types: its checksum may be right, and yet a stranger's."""
    history = checkpoint.history
    return (
        type(checkpoint.epoch) is int
        and isinstance(history, list)
        and all(isinstance(row, dict) and row.keys() >= records.COLUMNS for row in history)
        and all(("val_accuracy" in row) == ("val_loss" in row) for row in history)
        and all(type(value) in (int, float) and not abs(value) > 1e300 for row in history for value in row.values())
        and [row["epoch"] for row in history] == list(range(1, checkpoint.epoch + 1))
        and isinstance(checkpoint.run, dict)
        and all(can_be(checkpoint.run.get(name)) for name, can_be in records.ENTRIES.items())
        and isinstance(checkpoint.weights_sha256, str)
        and isinstance(checkpoint.seed_generators, list)
    )


def _epochs(folder, ending="json"):
    """Return the epochs with a record in `folder`; with weights, for the ending "weights.h5"; with either, for "*"."""
    names = (path.name for path in Path(folder).glob(f"epoch-*.{ending}"))
    return {int(match[1]) for name in names if (match := re.fullmatch(r"epoch-(\d{4,})\.(json|weights\.h5)", name))}


def _seed_variables(model):
    """Return the states of the random generators: the variables that Keras does not save as weights."""
    weights = {id(weight) for weight in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]
