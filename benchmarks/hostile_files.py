"""Open thousands of hostile files: each must be read correctly, or refused in one line, and nothing may be run.

    python -m benchmarks.hostile_files                         10,000 files; an hour or two; results/hostile_files.csv
    python -m benchmarks.hostile_files runs --cases 300 --output some.csv    of one kind, into another table
    python -m benchmarks.hostile_files --only runs:1234        one of them, with its traceback

Each case takes a sound file, or a run's folder, and changes it: some at random (bytes that are flipped, cut, repeated,
zeroed), others with knowledge of the format (a link in an HDF5 file, a pickle that calls a function, an architecture
whose layer needs terabytes). It is then opened as the scripts open it, and a model is asked for an answer, in a process
of its own that may take 2 seconds of the processor (for a run or a model, 2 more than a sound one takes) and 500 MB. A
case passes if what is read is correct, or refused by a UserError of one line that names the file, and if nothing in the
file was run and nothing outside its folder was touched. Numbers that no checksum protects may differ. A case that takes
too long is tried once more, since the machine may have had other work.
"""

import argparse
import base64
import collections
import contextlib
import dataclasses
import gzip
import hashlib
import io
import json
import logging
import multiprocessing
import os
import pickle
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.results import record
from convnets import cli, paths
from convnets.errors import UserError

SECONDS, MEMORY = 2, 500e6  # beyond the honest case
CANARY = "something_was_run"
SECRET = 1234.5  # a number in the files outside: as a weight it shows that they were read
RESULTS = paths.RESULTS / "hostile_files.csv"


# ---------------------------------------------------------------- changes at random


def random_bytes(rng, content):
    """Return a file's content with some bytes flipped, cut, repeated, zeroed, or added."""
    content = bytearray(content)
    start = rng.randrange(max(1, len(content)))
    end = min(len(content), start + rng.choice([1, 8, 100, 10_000]))
    match rng.choice(["flip", "flip", "cut", "remove", "repeat", "zero", "append", "random", "empty"]):
        case "flip":
            for _ in range(rng.choice([1, 1, 10, 1000])):
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        case "cut":
            del content[start:]
        case "remove":
            del content[start:end]
        case "repeat":
            content[end:end] = content[start:end] * rng.choice([1, 2, 1000])
        case "zero":
            content[start:end] = bytes(end - start)
        case "append":
            content += rng.randbytes(rng.choice([1, 1000, 1_000_000]))
        case "random":
            content[start:end] = rng.randbytes(end - start)
        case "empty":
            content.clear()
    return bytes(content)


# ---------------------------------------------------------------- changes with knowledge of the format


def strange_values(rng, place):
    """Return something that a JSON file may hold where something else is expected. place: the case's scratch folder."""
    touch = f"__import__('pathlib').Path({str(place / CANARY)!r}).touch()"
    return rng.choice(
        [
            None, True, 0, -1, 10**12, 10**40, 1e308, float("nan"), float("inf"), "", "x" * 10**6, "\x00",
            "../../outside", str(place / "outside" / "secret"), [], {}, [[]], [None] * 1000, touch,
            {"class_name": "Dense"},
            {"class_name": "Lambda", "config": {"function": touch}},
            {"class_name": "__lambda__", "config": {"value": base64.b64encode(b"\xe3" * 50).decode()}},
            {"module": "os", "class_name": "system", "config": {"command": f"touch {place / CANARY}"}},
            {"module": "builtins", "class_name": "eval", "config": touch, "registered_name": "eval"},
            {"module": "keras.layers", "class_name": "Dense", "config": {"units": 10**9}, "registered_name": None},
            {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": str(place / "outside")}},
        ]
    )  # fmt: skip


def changed_json(rng, content, place):
    """Return JSON with some of its values replaced, removed, or repeated; or nested, or large beyond reason."""
    if rng.random() < 0.1:
        deep = rng.choice([1000, 100_000, 1_000_000])
        return rng.choice(
            [b"[" * deep, b'{"a":' * deep, b"[" * deep + b"]" * deep, b'"' + b"x" * 10**8 + b'"', b"\xff"]
        )
    value = json.loads(content)
    for _ in range(rng.choice([1, 1, 1, 3])):
        parts = [part for part in _containers(value) if part]
        if not parts:
            break
        part = rng.choice(parts)
        key = rng.choice(list(part)) if isinstance(part, dict) else rng.randrange(len(part))
        what = rng.random()
        if what < 0.7:
            part[key] = strange_values(rng, place)
        elif what < 0.85:
            del part[key]
        elif isinstance(part, list):
            part *= rng.choice([2, 100])
        else:
            part[rng.choice(["name", "x", "config", "__class__"])] = strange_values(rng, place)
    return json.dumps(value).encode()


def renamed_layers(rng, content):
    """Return the JSON of a network in which some layers have names that not every program can handle."""
    strange = [
        "conv 1", "畳み込み", "\x1b[2J", "a:b", "..\\..\\x", "../x", "x" * 300, "_", "-", ".", "", "con", "\ud800",
    ]  # fmt: skip
    text = content.decode()
    for name in sorted(set(re.findall(r'"name": "(\w+)"', text))):
        if rng.random() < 0.5:
            new = json.dumps(rng.choice(strange))
            text = text.replace(f'"name": "{name}"', f'"name": {new}')
            text = text.replace(f'"keras_history": ["{name}"', f'"keras_history": [{new}')
    return text.encode()


def _containers(value):
    if isinstance(value, dict | list):
        yield value
        for part in value.values() if isinstance(value, dict) else value:
            yield from _containers(part)


def changed_hdf5(rng, content, place):
    """Return an HDF5 file with links, other shapes and types, cycles, or datasets that would take terabytes."""
    path = place / "changing.h5"
    path.write_bytes(content)
    with h5py.File(path, "r+") as file:
        names, groups = [], [file]
        file.visititems(lambda name, item: (names if isinstance(item, h5py.Dataset) else groups).append(item))
        names = [dataset.name for dataset in names]
        for _ in range(rng.choice([1, 1, 2])):
            name, group = rng.choice(names), rng.choice(groups)
            what = rng.choice(
                ["external", "soft", "cycle", "virtual", "elsewhere", "huge", "bomb", "type", "shape", "nan", "none",
                 "group", "attribute", "many"]
            )  # fmt: skip
            there, shape = None, (3,)
            with contextlib.suppress(RuntimeError):  # a link to itself, from the change before
                there = file.get(name)
            if isinstance(there, h5py.Dataset) and there.shape is not None and there.size < 10**6:
                shape = there.shape
            if what not in ("cycle", "attribute", "many") and file.get(name, getlink=True):
                del file[name]
            match what:
                case "external":
                    file[name] = h5py.ExternalLink(str(place / "outside" / "other.h5"), "secret")
                case "soft":
                    file[name] = h5py.SoftLink(rng.choice(["/nowhere", name, "/"]))
                case "cycle":
                    group["cycle"] = rng.choice(groups)
                case "virtual":
                    layout = h5py.VirtualLayout(shape or (1,), "f4")
                    layout[...] = h5py.VirtualSource(str(place / "outside" / "other.h5"), "secret", shape or (1,))
                    file.create_virtual_dataset(name, layout)
                case "elsewhere":
                    size = 4 * int(np.prod(shape or (1,)))
                    outside = [(str(place / "outside" / "secret"), 0, size)]
                    file.create_dataset(name, shape or (1,), "f4", external=outside)
                case "huge":
                    file.create_dataset(name, (rng.choice([10**10, 10**15]),), "f4", chunks=(1000,), fillvalue=1)
                case "bomb":
                    file.create_dataset(name, data=np.zeros(4_000_000, "f4"), compression="gzip", chunks=True)
                case "type":
                    data = rng.choice([np.array(b"text"), np.ones(shape, "c8"), np.ones(shape, "i8"), h5py.Empty("f4")])
                    file[name] = data
                case "shape":
                    file[name] = np.ones(rng.choice([(), (0,), (1,), (7, 7), (*shape, 1)]), "f4")
                case "nan":
                    file[name] = np.full(shape, rng.choice([np.nan, np.inf]), "f4")
                case "group":
                    file.create_group(name)
                case "attribute":
                    group.attrs[rng.choice(["layer_names", "backend", "weight_names", "x"])] = rng.choice(
                        [np.bytes_(b"theano"), np.arange(1000), b"x" * 60_000, "\u0000"[:0]]
                    )
                case "many":
                    for number in range(2000):
                        group.create_group(f"group {number}")
    changed = path.read_bytes()
    path.unlink()
    return changed


class _Calls:
    """A pickle of this calls a function when it is loaded."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def changed_pickle(rng, content, place):
    """Return a pickle that calls functions, or whose values are of other types, nested, or grow beyond bounds."""
    batch = pickle.loads(content)  # our own
    canary = str(place / CANARY)
    call = rng.choice([_Calls(os.system, f"touch {canary}"), _Calls(exec, f"open({canary!r}, 'w')")])
    if rng.random() < 0.1:
        depth = rng.choice([1000, 100_000])
        return b"(l" * depth + b"a" * (depth - 1) + b"."  # a list in a list in a list
    grown = []
    for _ in range(rng.choice([5, 30, 100])):
        grown = [grown, grown]  # shared, so that it is small as a pickle
    value = rng.choice(
        [
            call,
            grown,
            None,
            7,
            "x",
            [],
            {},
            np.zeros((3, 3)),
            np.zeros((20, 3072), "f8"),
            b"x" * 20,
            [10**30] * 20,
        ]
    )
    if rng.random() < 0.2:
        return pickle.dumps(value, protocol=rng.choice([0, 2, 4]))
    batch[rng.choice([b"labels", b"data", b"x", "labels"])] = value
    return pickle.dumps(batch, protocol=rng.choice([0, 2, 4]))


def changed_zip(rng, content, place, change):
    """Return a zip archive of which one member is changed, removed, doubled, named strangely, or grown to gigabytes."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
        compression = archive.infolist()[0].compress_type
    name = rng.choice(list(members))
    extra = []
    match rng.choice(["change", "change", "change", "remove", "double", "strange", "bomb"]):
        case "change":
            members[name] = change(rng, name, members[name])
        case "remove":
            del members[name]
        case "double":
            extra.append((name, members[rng.choice(list(members))]))
        case "strange":
            outside = str(place / "outside" / "written")
            extra.append((rng.choice(["../../outside/written", outside, "con", "a\x00b", "x" * 300]), b"x"))
        case "bomb":
            members[name], compression = bytes(rng.choice([10**8, 6 * 10**8])), zipfile.ZIP_DEFLATED
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w", compression, compresslevel=1) as archive:
            for each in [*members.items(), *extra]:
                archive.writestr(*each)
        return file.getvalue()


def strange_path(rng, path, place):
    """Put something else in the place of a file."""
    path.unlink()
    match rng.choice(["missing", "folder", "link outside", "link to itself", "link to nowhere", "pipe", "zeros"]):
        case "folder":
            path.mkdir()
        case "link outside":
            path.symlink_to(place / "outside" / "secret")
        case "link to itself":
            path.symlink_to(path)
        case "link to nowhere":
            path.symlink_to(place / "nowhere")
        case "pipe":
            os.mkfifo(path)
        case "zeros":
            with open(path, "wb") as file:
                file.truncate(10**11)  # on the disk it takes nothing


# ---------------------------------------------------------------- sound files, and how the scripts open them


@dataclasses.dataclass
class Case:
    """A changed file: how to open it, and which results are correct besides a UserError; None for any result."""

    open: object
    correct: tuple | None


def write_templates(folder):
    """Write the sound files that the cases change. In a process of its own, since it computes, and cases fork."""
    from benchmarks import power_cuts
    from convnets.training import checkpoints
    from convnets.views import runs

    logging.getLogger("absl").setLevel("ERROR")  # Keras warns of the format of model.h5
    folder, sums = Path(folder), {}
    for name, seed in (("run", 1), ("other", 2)):
        power_cuts.train(folder / name, 2, seed=seed)
        sums[name] = [_sum(model) for _, model in checkpoints.load_all(folder / name)]
        runs.load(folder / name)  # keeps the calibration
    model = checkpoints.load_model(folder / "run")
    model.save(folder / "model.keras")
    model.save(folder / "model.h5")
    model.save_weights(folder / "model.weights.h5")
    (folder / "model.json").write_text(model.to_json())
    (folder / "sums.json").write_text(json.dumps(sums))


def _sum(model):
    """Return the checksum of a network's weights."""
    assert not any((weight == SECRET).any() for weight in model.get_weights()), "it read another file"
    return hashlib.sha256(b"".join(np.ascontiguousarray(each) for each in model.get_weights())).hexdigest()


def _run_case(rng, templates, place):
    """A run's folder, also as a stranger may make it: with checksums that fit."""
    run = place / "run"
    shutil.copytree(templates / "run", run)
    sums = json.loads((templates / "sums.json").read_text())
    path = rng.choice(sorted(path for path in run.iterdir() if path.suffix != ".png"))
    signed, resume, with_images = (rng.random() < share for share in (0.5, 0.3, 0.3))
    match rng.choice(["content", "content", "content", "content", "path", "swap", "double"]):
        case "path":
            strange_path(rng, path, place)
        case "swap":
            shutil.copy(templates / "other" / path.name, path)
        case "double":
            other = rng.choice(sorted(run.iterdir()))
            shutil.copy(path, run / f"epoch-{rng.choice([0, 3, 9999, 10**9]):04d}{''.join(other.suffixes)}")
        case _:
            path.write_bytes(_changed(rng, path.name, path.read_bytes(), place))
    if signed:
        _sign(run)

    def opened():
        from benchmarks import power_cuts
        from convnets.training import checkpoints, training
        from convnets.views import calibration, runs

        calibration.keep = lambda *_: None  # to fit it again takes seconds
        if resume:
            model = power_cuts.train(run, 2)
            training.report(pd.DataFrame(checkpoints.newest(run)[0].history), run)
            return _sum(model)
        return _sum(runs.load(run, images=with_images, calibrate=with_images).model)

    return Case(opened, None if signed or path.name == "architecture.json" else (*sums["run"], *sums["other"]))


def _sound_run_case(rng, templates, place):
    """A sound run that goes on from the epoch before the last, as some of the changed ones do."""
    from benchmarks import power_cuts

    run = place / "run"
    shutil.copytree(templates / "run", run)
    for path in run.glob("epoch-0002.*"):
        path.unlink()
    return Case(lambda: _sum(power_cuts.train(run, 2)), json.loads((templates / "sums.json").read_text())["run"])


def _sign(run):
    """Make the checksums of a run's records right, as who knows the format can."""
    from convnets.training import checkpoints

    for path in filter(Path.is_file, run.glob("epoch-*.json")):
        with contextlib.suppress(Exception):
            signed = json.loads(path.read_text())
            if (weights := path.with_suffix(".weights.h5")).is_file() and weights.stat().st_size < 10**8:
                signed["weights_sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
            del signed["record_sha256"]
            signed["record_sha256"] = checkpoints._record_sha256(signed)
            path.write_text(json.dumps(signed))


def _changed(rng, name, content, place):
    by_format = {".json": changed_json, ".h5": changed_hdf5}.get(Path(name).suffix)
    return by_format(rng, content, place) if by_format and rng.random() < 0.7 else random_bytes(rng, content)


def _model_case(rng, templates, place):
    """A whole model, or an architecture and weights beside it, as other Keras code saves them."""

    def changed(rng, name, content, place):
        if name in ("config.json", "model.json") and rng.random() < 0.3:
            return renamed_layers(rng, content)
        return _changed(rng, name, content, place)

    name = rng.choice(["model.keras", "model.keras", "model.h5", "folder"])
    if name == "folder":
        path = place / "folder"
        path.mkdir()
        for each in ("model.json", "model.weights.h5"):
            shutil.copy(templates / each, path)
        part = rng.choice(sorted(path.iterdir()))
        part.write_bytes(changed(rng, part.name, part.read_bytes(), place))
    else:
        path, content = place / name, (templates / name).read_bytes()
        if name == "model.keras" and rng.random() < 0.8:
            content = changed_zip(rng, content, place, lambda rng, name, content: changed(rng, name, content, place))
        else:
            content = changed(rng, name, content, place)
        path.write_bytes(content)
    return Case(lambda: _looked_at(path), None)


def _sound_model_case(rng, templates, place):
    correct = json.loads((templates / "sums.json").read_text())["run"]
    return Case(lambda: _looked_at(templates / "model.keras"), correct)


def _looked_at(path):
    """Load a network as the views do, and let it answer."""
    from convnets.views import introspection, runs

    model = runs.load(path, data_needed=False, images=False, calibrate=False).model
    introspection.predict(model, np.zeros((1, *model.input_shape[1:]), "f4"))
    return _sum(model)


def _weights_case(rng, templates, place):
    from convnets.training import model_files, weight_files

    path = place / "model.weights.h5"
    path.write_bytes(_changed(rng, path.name, (templates / path.name).read_bytes(), place))

    def opened():
        model = model_files.load_architecture(templates / "model.json", weights=templates / "model.weights.h5")
        weight_files.load(model, path)
        return _sum(model)

    return Case(opened, None)


def _cifar10_case(rng, templates, place):
    """Batches as in Python's version, of 20 images each, or an archive of them."""
    import tarfile

    from convnets.data import cifar10

    cifar10.BATCH_SIZE, numbers = 20, np.random.default_rng(0)
    cifar10.DOWNLOAD = dataclasses.replace(cifar10.DOWNLOAD, urls=())
    folder = place / "cifar-10-batches-py"
    folder.mkdir()
    for name in cifar10.BATCHES:
        data, labels = numbers.integers(0, 256, (20, 3072), "uint8"), numbers.integers(0, 10, 20).tolist()
        batch = pickle.dumps({b"labels": labels, b"data": data}, protocol=3)
        batch = batch.replace(b"numpy._core", b"numpy.core")  # as in the official files
        (folder / name).write_bytes(batch)
        records = np.hstack([np.array(labels, "uint8")[:, None], data])
        cifar10.BATCHES[name] = hashlib.sha256(records).hexdigest()
    correct = _of_arrays(cifar10.find(place)[0])
    path = folder / rng.choice(list(cifar10.BATCHES))
    what = rng.random()
    if what < 0.1:
        strange_path(rng, path, place)
    else:
        change = changed_pickle if rng.random() < 0.5 else lambda rng, content, _: random_bytes(rng, content)
        path.write_bytes(change(rng, path.read_bytes(), place))
    if what > 0.7:
        archive = place / "cifar-10-python.tar.gz"
        with tarfile.open(archive, "w:gz", compresslevel=1) as file:
            if rng.random() < 0.2:
                bomb = tarfile.TarInfo(f"cifar-10-batches-py/{rng.choice(['data_batch_1', 'bomb'])}")
                bomb.size = 3 * 10**8
                file.addfile(bomb, _Zeros())
            file.add(folder, "cifar-10-batches-py")
        shutil.rmtree(folder)
        if rng.random() < 0.5:
            archive.write_bytes(random_bytes(rng, archive.read_bytes()))
    return Case(lambda: _of_arrays(cifar10.load(place)[0]), (correct,))


class _Zeros(io.RawIOBase):
    def read(self, size=-1):
        return bytes(size)


def _of_arrays(arrays):
    return hashlib.sha256(b"".join(np.ascontiguousarray(each) for each in arrays)).hexdigest()


def _mnist_case(rng, templates, place):
    """The .npz file, the IDX files or the text files, of 20 training and 10 test images."""
    from convnets.data import mnist

    numbers = np.random.default_rng(0)
    mnist.DOWNLOAD = dataclasses.replace(mnist.DOWNLOAD, urls=())
    mnist.SHAPES = {"x_train": (20, 28, 28), "y_train": (20,), "x_test": (10, 28, 28), "y_test": (10,)}
    arrays = {part: numbers.integers(0, 10, shape, "uint8") for part, shape in mnist.SHAPES.items()}
    mnist.CHECKSUMS = {part: hashlib.sha256(array).hexdigest() for part, array in arrays.items()}
    layout = rng.choice(["npz", "idx", "idx.gz", "text"])
    if layout == "npz":
        np.savez(place / "mnist.npz", **arrays)
        files = [place / "mnist.npz"]
    elif layout == "text":
        files = [place / name for name in mnist.LIBSVM_FILES.values()]
        for path, part in zip(files, ("train", "test"), strict=True):
            images, labels = arrays[f"x_{part}"].reshape(-1, 784), arrays[f"y_{part}"]
            lines = (" ".join(f"{n}:{v}" for n, v in enumerate(image, 1)) for image in images)
            path.write_text("".join(f"{label} {line}\n" for label, line in zip(labels, lines, strict=True)))
    else:
        files = [place / f"{name}{layout.removeprefix('idx')}" for name in mnist.IDX_FILES.values()]
        for path, array in zip(files, arrays.values(), strict=True):
            content = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()
            path.write_bytes(gzip.compress(content) if layout == "idx.gz" else content)
    correct = _of_arrays(mnist.find(place)[0])
    path = rng.choice(files)
    what, content = rng.random(), path.read_bytes()
    if what < 0.1:
        strange_path(rng, path, place)
    elif layout == "npz" and what < 0.7:
        path.write_bytes(changed_zip(rng, content, place, lambda rng, name, content: _changed_array(rng, content)))
    elif layout == "idx" and what < 0.4:
        shape = np.array(rng.choice([(2**32 - 1,) * 3, (0, 0, 0), (2**31, 1, 1)]), ">u4").tobytes()
        path.write_bytes(content[:4] + shape[: 4 * content[3]] + content[4 + 4 * content[3] :])
    elif layout == "idx.gz" and what < 0.4:
        path.write_bytes(gzip.compress(content[:4] + bytes(3 * 10**8), compresslevel=1))
    elif layout == "text" and what < 0.5:
        strange = rng.choice(
            [b"1 99999999999:1\n", b"nan 1:nan\n", b"5 1:1e308\n", b"1 " * 10**6, b"#" * 10**6, b"\x00"]
        )
        path.write_bytes(content + strange)
    else:
        path.write_bytes(random_bytes(rng, content))
    return Case(lambda: _of_arrays(mnist.load(place)[0]), None if layout == "text" else (correct,))


def _changed_array(rng, content):
    """Change a .npy file: its bytes, or its header's shape and type."""
    if rng.random() < 0.5:
        return random_bytes(rng, content)
    shape, kind = rng.choice([(10**12,), (20, 28, 28), (-1,), (2**40, 2**40)]), rng.choice(["|u1", "|O", "<f8", "|V9"])
    header = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content[128:]


def _pictures_case(rng, templates, place):
    """A folder of pictures in every format that is read, one of which is changed. The others must be read as before."""
    from convnets.data import folders

    paths.MODELS = place / "models"
    folder, numbers = place / "pictures", np.random.default_rng(0)
    endings = ["png", "jpg", "gif", "webp", "bmp", "tif"]
    for kind in ("a", "b"):
        for number in range(6):
            path = folder / kind / f"{number}.{endings[number]}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(numbers.integers(0, 256, (40, 50, 3), "uint8")).save(path)
    path = folder / "b" / f"{(number := rng.randrange(6))}.{endings[number]}"
    others = _checksums(folders.load(folder)).drop(path.relative_to(folder).as_posix())
    shutil.rmtree(paths.MODELS)  # where the pixels are kept
    what, content = rng.random(), path.read_bytes()
    if what < 0.1:
        strange_path(rng, path, place)
    elif what < 0.2:
        path.write_bytes(_large_png(rng))
    elif what < 0.3:
        path.rename(path.with_suffix(f".{rng.choice(endings)}"))
    elif what < 0.4:
        svg = f"<svg xmlns='http://www.w3.org/2000/svg'><image href='file://{place}/outside/secret'/></svg>"
        eps = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n({place}/{CANARY}) (w) file closefile\n"
        path.write_bytes(rng.choice([svg, eps]).encode())
    else:
        path.write_bytes(random_bytes(rng, content))

    def opened():
        return _checksums(folders.load(folder)).reindex(others.index).equals(others)

    return Case(opened, (True,))


def _checksums(found):
    """Return the SHA-256 of each picture of a folders.Folder, a pandas.Series by file."""
    return found.table.set_index("file")["sha256"].sort_index()


def _large_png(rng):
    """Return a small PNG file whose header promises a picture of many pixels."""
    import struct
    import zlib

    width, height = rng.choice([(10**5, 10**5), (2**31 - 1, 1), (1, 2**31 - 1), (0, 5), (13_000, 13_000)])

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    text = chunk(b"zTXt", b"a\x00\x00" + zlib.compress(bytes(10**8))) if rng.random() < 0.5 else b""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(10**6)))
    return b"\x89PNG\r\n\x1a\n" + header + text + pixels + chunk(b"IEND", b"")


KINDS = {  # and how many of all cases
    "runs": (_run_case, 0.3),
    "models": (_model_case, 0.2),
    "weights": (_weights_case, 0.15),
    "cifar10": (_cifar10_case, 0.1),
    "mnist": (_mnist_case, 0.1),
    "pictures": (_pictures_case, 0.15),
}
SOUND = {"sound runs": _sound_run_case, "sound models": _sound_model_case}  # to know what is honest


# ---------------------------------------------------------------- a case, in a process of its own


def outcome(kind, number, templates, scratch, sound_seconds=0.0):
    """Open a hostile file in a forked process. Returns (what came of it, details, seconds of the processor).

    kind: one of KINDS or SOUND. sound_seconds: what a sound file takes here.

    "read": correctly; "other numbers", where no checksum says which are right; "refused"; else what is wrong:
    "read wrongly", "not one line", "file not named", "traceback", "slow or large", "crashed", "ran code",
    "touched outside".
    """
    place = Path(scratch) / f"{kind}-{number}"
    outside = place / "outside"
    outside.mkdir(parents=True)
    secret = np.full(30_000, SECRET, "f4")
    (outside / "secret").write_bytes(secret.tobytes())
    with h5py.File(outside / "other.h5", "w") as file:
        file["secret"] = secret
    rng = random.Random(f"{kind} {number}")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        with contextlib.suppress(BaseException), os.fdopen(writing, "w") as pipe:
            pipe.write(json.dumps(_open_within_limits(kind, rng, templates, place, sound_seconds)))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    what, details, seconds = json.loads(text) if text else ("crashed", f"status {status}", None)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:
        what = "slow or large"
    shutil.rmtree(place)
    return what, details, seconds


def _listing(folder):
    return [(path.name, path.stat().st_mtime_ns, path.read_bytes()) for path in sorted(folder.iterdir())]


def _open_within_limits(kind, rng, templates, place, sound_seconds):
    import resource  # Unix only

    signal.setitimer(signal.ITIMER_REAL, 30 * SECONDS)
    os.environ["KERAS_HOME"] = str(place / "nothing")
    try:
        make = SOUND.get(kind) or KINDS[kind][0]
        case = make(rng, templates, place)
    except Exception:
        return "not made", traceback.format_exc(), 0.0
    sys.stdout = sys.stderr = io.StringIO()
    Path("/proc/self/clear_refs").write_text("5")  # counts the most memory anew
    memory = _most_memory()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    beyond = HONEST_MEMORY if kind.removeprefix("sound ") in ("runs", "models", "weights") else 0
    resource.setrlimit(resource.RLIMIT_AS, (int(used + MEMORY + beyond),) * 2)
    before, started = _listing(place / "outside"), time.process_time()  # of the processor, which may have other work
    signal.setitimer(signal.ITIMER_REAL, 10 * (SECONDS + sound_seconds))
    try:
        result = case.open()
        what = (
            "read" if case.correct and result in case.correct else "read wrongly" if case.correct else "other numbers"
        )
        details = ""
    except UserError as error:
        details = str(error)
        named = str(place) in details
        what = "refused" if "\n" not in details and named else "file not named" if named is False else "not one line"
    except BaseException:
        what, details = "traceback", traceback.format_exc()
    seconds, megabytes = time.process_time() - started, (_most_memory() - memory) / 1e6
    if (place / CANARY).exists():
        return "ran code", details, seconds
    if _listing(place / "outside") != before:
        return "touched outside", details, seconds
    if what in GOOD and (seconds > SECONDS + sound_seconds or megabytes > MEMORY / 1e6):
        what, details = "slow or large", f"{seconds:.1f} s, {megabytes:.0f} MB: {what}: {details}"
    return what, details, seconds


def _most_memory():
    """Return the most memory that this process had, in bytes."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(status["VmHWM"].split()[0])


HONEST_MEMORY = 3e9  # of addresses, which TensorFlow's threads reserve and never use
GOOD = ("read", "other numbers", "refused")


@contextlib.contextmanager
def prepared():
    """Import what the cases need, and yield (templates, scratch), two folders."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder).resolve()
        (templates := folder / "templates").mkdir()
        with cli.importing_keras():
            from benchmarks import power_cuts  # noqa: F401
            from convnets.data import cifar10, datasets, folders, mnist  # noqa: F401
            from convnets.training import training_curves  # noqa: F401
            from convnets.views import runs  # noqa: F401
        datasets.load("digits")  # imports scikit-learn, once for all cases
        writer = multiprocessing.get_context("fork").Process(target=write_templates, args=[templates])
        writer.start()
        writer.join()
        assert writer.exitcode == 0
        yield templates, folder


def sound_seconds(kind, templates, scratch):
    """Return the seconds of the processor that a sound file takes here, the most of three; 0 if that is hardly any."""
    if f"sound {kind}" not in SOUND:
        return 0.0
    outcomes = [outcome(f"sound {kind}", number, templates, scratch, 60.0) for number in range(3)]
    assert {what for what, *_ in outcomes} == {"read"}, outcomes
    return max(seconds for *_, seconds in outcomes)


def numbers_of(kind, cases):
    return range(round(cases * KINDS[kind][1]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], metavar="KIND", help=f"{', '.join(KINDS)}")
    parser.add_argument("--cases", type=int, default=10_000, help="in all (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=RESULTS, metavar="FILE", help="the table to add to")
    parser.add_argument("--only", metavar="KIND:NUMBER", help="one case, with all details")
    options = parser.parse_args()
    if options.cases < parser.get_default("cases") and options.output == RESULTS and not options.only:
        parser.error("fewer cases would replace what is published: name another table with --output")
    with prepared() as (templates, scratch):
        if options.only:
            kind, number = options.only.split(":")
            sound = sound_seconds(kind, templates, scratch)
            print(*outcome(kind, int(number), templates, scratch, sound), sep="\n")
            return
        rows = []
        try:
            for kind in options.kinds or KINDS:
                sound = sound_seconds(kind, templates, scratch)
                counts, started = collections.Counter(), time.perf_counter()
                for number in numbers_of(kind, options.cases):
                    what, details, _ = outcome(kind, number, templates, scratch, sound)
                    if what == "slow or large":  # perhaps only since the machine had other work
                        what, details, _ = outcome(kind, number, templates, scratch, sound)
                    counts[what] += 1
                    if what not in GOOD:
                        print(f"{kind}:{number} {what}: {details.strip().splitlines()[-1:]}", flush=True)
                failed = sum(count for what, count in counts.items() if what not in GOOD)
                row = {"kind": kind, "cases": counts.total(), **{what.replace(" ", "_"): counts[what] for what in GOOD}}
                seconds = (time.perf_counter() - started) / max(1, counts.total())
                rows.append({**row, "failed": failed, "seconds_a_case": seconds})
        finally:  # not after each kind: it starts threads of TensorFlow, and processes forked later would wait for them
            if rows:
                record(options.output, rows, ["kind"])
    sys.exit(any(row["failed"] for row in rows))


if __name__ == "__main__":
    main()
