"""Load a network from files that any Keras code may have saved. Nothing in them is trusted.

A `.keras` file, a whole-model `.h5` file of Keras 2, or the JSON of an architecture. Keras's safe mode is always on, so
no Python code from a file is run. No more memory is taken than the size of the weights file justifies.
"""

import contextlib
import itertools
import json
import math
import re
import threading
import warnings
import zipfile
from pathlib import Path

import h5py
import keras

from convnets import files
from convnets.architectures import fast_layers  # noqa: F401 - so that Keras knows these layers
from convnets.errors import UserError, one_line
from convnets.training import weight_files

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
NEED_SAFE_MODE_OFF = ("Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
_one_at_a_time = threading.Lock()  # `_limited_parameters` changes a class of Keras, which all threads share
MOST_EXPANDED = 2**30  # bytes that a .keras file may hold unpacked, unless that is at most twice its size


def load(path):
    """Load a whole model from a `.keras` file, or a `.h5` file of Keras 2, without its training configuration.

    Returns a keras.Model. Raises UserError if the file is missing or damaged, holds weights only, needs Python code or
    classes that are not part of Keras, or declares more parameters than it holds.
    """
    path = Path(path)
    read = {".keras": _read_keras, ".h5": _read_h5, ".hdf5": _read_h5}.get(path.suffix)
    if read is None:
        raise UserError(f"{path} is not a model file: pass a .keras file, a .h5 file, or a run's folder")
    with one_error(path):
        config, size = read(path)
        _refuse_code(config, path)
        with _limited_parameters(size, path), warnings.catch_warnings(action="ignore"):
            model = keras.models.load_model(path, compile=False, safe_mode=True)
        make_names_usable(model)
    weight_files.refuse_not_finite(model, path)
    return model


def load_architecture(path, *, weights):
    """Load the network that a JSON file describes, with random weights; None if the file describes something else.

    weights: the file with its weights; an architecture with more parameters than this file has bytes is refused.
    """
    with one_error(path):
        description = files.read_json(path)
        if isinstance(description, str):  # as in the article, which saves model.to_json() with json.dump
            description = json.loads(description)
        if path.name != "architecture.json" and not (isinstance(description, dict) and "class_name" in description):
            return None
        description.pop("compile_config", None)
        _refuse_code(description, path)
        with _limited_parameters(weights.stat().st_size, weights):
            model, parts, name = None, description["config"].get("layers", ()), description["config"].get("name")
            if description["class_name"] == "Sequential" and all("module" in part for part in parts):
                # All layers at once: model_from_json adds one by one, and builds the network anew each time.
                model = keras.Sequential(
                    [keras.saving.deserialize_keras_object(part, safe_mode=True) for part in parts], name=name
                )
            if model is None or not model.built:
                model = keras.models.model_from_json(json.dumps(description))
            make_names_usable(model)
            return model


def make_names_usable(model):
    """Rename each layer whose name TensorFlow, a terminal or a file system can't handle, or that another layer has.

    (JAX and PyTorch accept any name. Models inside a model may repeat names; one that was taken apart may not.)
    """
    if not NAME.fullmatch(model.name):
        model.name = "network"
    layers = _layers_inside(model)
    kept = {layer.name: layer for layer in reversed(layers) if NAME.fullmatch(layer.name)}  # the first of each name
    for layer in layers:
        if kept.get(layer.name) is not layer:
            stem = re.sub(r"[^A-Za-z0-9_.-]", "_", layer.name)[:100]
            names = itertools.chain([stem], (f"{stem}_{number}" for number in itertools.count(2)))
            layer.name = next(name for name in names if name not in kept)
            kept[layer.name] = layer
        if isinstance(layer, keras.layers.Wrapper):
            make_names_usable(layer.layer)


def _layers_inside(model):
    """List the layers and other operations of a model, and after them those of the models inside it."""
    found, waiting = {}, [model]
    for layer in waiting:
        if isinstance(layer, keras.Function):
            parts = [part for part in layer.operations if not isinstance(part, keras.layers.InputLayer)]
        else:
            parts = layer.layers if isinstance(layer, keras.Sequential) else []
        new = {id(part): part for part in parts if id(part) not in found}
        found |= new
        waiting += new.values()
    return list(found.values())


@contextlib.contextmanager
def one_error(path):
    """Turn whatever a damaged or foreign file makes Keras stumble over into one clear line."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"can't read {path}: there is no such file") from error
    except MemoryError as error:
        raise UserError(f"the network in {path} does not fit into memory") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise UserError(f"can't read {path}: {error.strerror}") from error
        unknown = re.search(
            r"(?:locate (?:class|function)|Unknown layer:|deserialize) '(?:[\w.]+\.)?(\w+)'", str(error)
        )
        if unknown:
            raise UserError(f"the network in {path} is not supported: {unknown[1]} is not part of Keras") from error
        raise UserError(f"{path} is damaged, or of another version of Keras ({one_line(error)})") from error


def _read_keras(path):
    """Return the configuration of a `.keras` file and how many bytes its weights take."""
    if not path.is_file():
        raise FileNotFoundError
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} is damaged, or no .keras file: save the model again with model.save")
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
        if size > max(2 * path.stat().st_size, MOST_EXPANDED):
            raise UserError(f"{path} is refused: unpacked it would take {size:,} bytes")
        for entry in archive.infolist():
            if entry.filename != "model.weights.h5" and entry.file_size > files.MOST_JSON:
                raise UserError(f"{path} is refused: its {entry.filename[:100]} has {entry.file_size:,} bytes")
        names = archive.namelist()
        if "config.json" not in names or "model.weights.h5" not in names:
            raise UserError(f"{path} holds no model: save it with model.save, in Keras 3")
        if archive.getinfo("model.weights.h5").compress_type != zipfile.ZIP_STORED:  # could grow, or take hours to read
            raise UserError(f"{path} is refused: its weights are compressed, unlike Keras's; save it with model.save")
        with archive.open("model.weights.h5") as file, h5py.File(file, "r") as weights:
            weight_files.refuse_links(weights, path)
        return json.loads(archive.read("config.json")), archive.getinfo("model.weights.h5").file_size


def _read_h5(path):
    """Return the configuration of a whole-model `.h5` file and its size in bytes."""
    with h5py.File(path, "r") as file:
        weight_files.refuse_links(file, path)
        config = file.attrs.get("model_config")
        if config is None:
            raise UserError(
                f"{path} holds weights without a network: put it into a folder with the network's architecture, "
                "model.to_json() in a .json file, and name the folder"
            )
        return json.loads(config), path.stat().st_size


def _refuse_code(config, path):
    """Raise UserError if an architecture has a part that Keras loads only with its safe mode off.

    Or one that keeps a state from image to image, for which it may take any memory.
    """
    if isinstance(config, dict):
        if config.get("stateful") is True:
            raise UserError(f"{path} is refused: it has a layer with stateful=True: a classifier of images needs none")
        if config.get("class_name") in NEED_SAFE_MODE_OFF:
            inner = config.get("config")
            name = inner.get("name") if isinstance(inner, dict) else None
            raise UserError(
                f"{path} is refused: its {config['class_name']} {f'{name!r} ' if name else ''}holds code that could do "
                "anything: replace it by layers of Keras, and save the model again"
            )
        config = list(config.values())
    if isinstance(config, list):
        for part in config:
            _refuse_code(part, path)


@contextlib.contextmanager
def _limited_parameters(most, path):
    """Within this block, raise UserError before a network gets more than `most` parameters in all.

    Each parameter takes at least a byte in a weights file. Without this limit, Dense(10**9) takes all memory.
    """
    with _one_at_a_time:
        add_weight, total, thread = keras.layers.Layer.add_weight, 0, threading.get_ident()

        def limited(layer, shape=None, *args, **options):
            nonlocal total
            if threading.get_ident() == thread:
                total += math.prod(shape or ())
                if total > most:
                    raise UserError(
                        f"the network is refused: it declares more parameters than {path} has bytes ({most:,})"
                    )
            return add_weight(layer, shape, *args, **options)

        keras.layers.Layer.add_weight = limited
        try:
            yield
        finally:
            keras.layers.Layer.add_weight = add_weight
