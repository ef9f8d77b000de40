"""Measure the speed of fast_model.py, and compare it with PyTorch and with a product of matrices.

    python -m benchmarks.fast_training targets 80 85 --seeds 5    accuracy and seconds for each target
    python -m benchmarks.fast_training startup                    seconds before the first training step
    python -m benchmarks.fast_training tutorials                  seconds that the article's two networks need
    python -m benchmarks.fast_training peer                       an epoch of the same network in plain PyTorch
    python -m benchmarks.fast_training recipes                    airbench94's recipes and ours, alternating
    KERAS_BACKEND=jax python -m benchmarks.fast_training gpu --seeds 5    on a GPU, with JAX and PyTorch
    python -m benchmarks.fast_training profile                    speed beside a matrix product's; time per operation

Needs CIFAR-10; peer and recipes also need benchmarks/requirements.txt. Each measurement runs in a process of its own.
Results go to results/fast_*.csv.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from benchmarks.results import record
from convnets import cli, paths

RESULTS = paths.RESULTS
SEEDS = (1337, 2, 3, 4, 5)


def run(call, **environment):
    """Call a benchmark's function in a process of its own and return its result. call: "module.function(arguments)".

    environment: variables to set for the process.
    """
    program = f"import json; from benchmarks import {call.partition('.')[0]}; print(json.dumps({call}))"
    return json.loads(_output("-c", program, **environment).splitlines()[-1])


def _output(*arguments, **environment):
    command, environment = [sys.executable, *arguments], {**os.environ, **environment}
    result = subprocess.run(command, cwd=paths.PROJECT, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.stderr.write(result.stderr)
    result.check_returncode()
    return result.stdout


def run_script(arguments, folder, program=("fast_model.py",)):
    """Run a training script on CIFAR-10 with these arguments, into a folder. Returns a dict of results."""
    started = time.perf_counter()
    output = _output(*program, *arguments, "--dataset", "cifar10", "--run", f"{folder}/")
    seconds = time.perf_counter() - started
    history = pd.read_csv(Path(folder) / "history.csv")
    views = re.search(r"with test-time augmentation: ([\d.]+)%", output)
    return {
        "epochs": len(history),
        "test_accuracy": history["val_accuracy"].iloc[-1],
        "test_accuracy_with_views": float(views[1]) / 100 if views else None,
        **history[["training_seconds", "compilation_seconds"]].sum(),
        "process_seconds": seconds,
    }


def targets(options):
    for target in options.names or ["80", "85", "94", "95.5"]:
        for seed in SEEDS[: options.seeds]:
            with tempfile.TemporaryDirectory() as folder:
                kept = paths.MODELS / f"fast_model-{target}-cifar10{f'-seed{seed}' if seed != SEEDS[0] else ''}"
                arguments = ["--target", target, "--seed", str(seed), "--fresh"]
                result = run_script(arguments, kept if options.keep else folder)
            record(RESULTS / "fast_model.csv", [{"target": float(target), "seed": seed, **result}], ["target", "seed"])


def startup_seconds():
    """Return the seconds of each step before training for 94 %, except compilation."""
    seconds, last = {}, time.perf_counter()

    def note(what):
        nonlocal last
        seconds[what], last = time.perf_counter() - last, time.perf_counter()

    with cli.importing_keras(argparse.Namespace(dataset="cifar10", data_dir=None)):  # as the script does
        import keras  # noqa: F401

    note("importing Keras, and reading the images meanwhile")
    import fast_model
    from convnets.architectures import optimizers  # noqa: F401
    from convnets.data import augmentation, datasets  # noqa: F401
    from convnets.training import autotune, training  # noqa: F401
    from convnets.views import evaluation  # noqa: F401

    note("importing everything else")
    dataset = datasets.load("cifar10")
    autotune.set_precision()
    note("choosing a precision")
    model = fast_model.build_model(dataset.input_shape, dataset.num_classes)
    note("building the network")
    fast_model.set_first_weights(model, datasets.scale_pixels(dataset.x_train[:1000]))
    note("initial weights, whitening")
    return seconds


def startup(options):
    rows = [{"repeat": n, **run("fast_training.startup_seconds()")} for n in range(3)]
    record(RESULTS / "fast_startup.csv", rows, ["repeat"])


def compiled(precision, batch_size=None):
    """Return the network for 94 %, compiled as in fast_model.py, and a batch of noise."""
    import numpy as np

    import fast_model
    from convnets.training import autotune

    batch_size = batch_size or fast_model.RECIPES["94"].batch_size
    autotune.set_precision(precision)
    model = fast_model.build_model((32, 32, 3), 10)
    fast_model.compile_model(model, steps=1000)
    rng = np.random.default_rng(0)
    images = rng.random((batch_size, 32, 32, 3), dtype="float32")
    return model, (images, np.eye(10, dtype="float32")[rng.integers(0, 10, len(images))])


def step_seconds(precision, batch_size=None, steps=8):
    """Return the seconds per image of each training step for 94 % but the first, which compiles."""
    model, batch = compiled(precision, batch_size)
    seconds = []
    for _ in range(steps):
        started = time.perf_counter()
        model.train_on_batch(*batch)
        seconds.append((time.perf_counter() - started) / len(batch[0]))
    return seconds[1:]


def tutorials(options):
    """Measure an epoch of each script here, and count the epochs that its pretrained run took to reach an accuracy."""
    rows = []
    for script, target in (("basic_model", 80), ("improved_model", 85)):
        history = pd.read_csv(paths.PRETRAINED / f"{script}-cifar10" / "history.csv")
        epochs = int(history.loc[history["val_accuracy"] >= target / 100, "epoch"].iloc[0])
        row = {"script": script, "target": target, "epochs": epochs}
        for precision in ("float32", "bfloat16"):
            with tempfile.TemporaryDirectory() as folder:
                here = run_script(["--epochs", "2", "--precision", precision], folder, [f"{script}.py"])
            row[f"seconds_an_epoch_{precision}"] = here["training_seconds"] / 2
        rows.append(row)
    record(RESULTS / "fast_tutorials.csv", rows, ["script"])


def peer(options, repeats=3):
    """Time steps here and in plain PyTorch, alternating. PyTorch also gets smaller and larger batches."""
    ours = "fast_training.step_seconds('bfloat16')"
    theirs = [("float32", 500), ("float32", 1000)]
    theirs += [(precision, size) for precision in ("bfloat16", "autocast") for size in (250, 500, 1000, 2000)]
    seconds = {ours: [], **{f"bare_pytorch.step_seconds{peer!r}": [] for peer in theirs}}
    for _ in range(repeats):
        for call, measured in seconds.items():
            measured.append(statistics.median(run(call)))
    ours, *others = (50_000 * statistics.median(measured) for measured in seconds.values())
    rows = [
        {
            "precision": precision,
            "batch_size": size,
            "our_seconds_an_epoch": ours,
            "seconds_an_epoch": other,
            "ratio": ours / other,
        }
        for (precision, size), other in zip(theirs, others, strict=True)
    ]
    record(RESULTS / "fast_peer.csv", rows, ["precision", "batch_size"])


GROUPS = {  # by a part of the name of TensorFlow's operation
    "BackpropFilter": "filter gradients, TensorFlow's own operation",
    "BackpropInput": "feature map gradients",
    "Conv2D": "convolutions, forward",
    "MatMul": "matrix products: filter gradients on small maps, Muon",
    "BatchNorm": "batch normalization",
    "Relu": "leaky ReLU",
    "MaxPool": "pooling",
}
OTHERS = "everything else: Muon's sums, copies, casts, loss"


def operation_seconds(precision="bfloat16", steps=3):
    """Return the seconds per step of each group of operations, and of a whole step. Operations run one at a time."""
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    tf.config.threading.set_inter_op_parallelism_threads(1)
    model, batch = compiled(precision)
    model.train_on_batch(*batch)
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            started = time.perf_counter()
            for _ in range(steps):
                model.train_on_batch(*batch)
            seconds = {"step": (time.perf_counter() - started) / steps}
        space = xplane_pb2.XSpace.FromString(next(Path(folder).rglob("*.xplane.pb")).read_bytes())
    for plane in space.planes:
        for event in (event for line in plane.lines for event in line.events):
            node, _, operation = plane.event_metadata[event.metadata_id].name.rpartition(":")
            if node and not operation.startswith(" ") and operation not in ("Process", "Run"):
                group = next((group for part, group in GROUPS.items() if part in operation), OTHERS)
                seconds[group] = seconds.get(group, 0) + event.duration_ps / 1e12 / steps
    return seconds


def peak(precision="bfloat16", repeats=5):
    """Return the floating point operations per second of a large matrix product, the best of several sizes and runs."""
    import tensorflow as tf

    best = 0.0
    for size in (1024, 2048, 4096, 8192):
        a, b = (tf.cast(tf.random.normal((size, size)), precision) for _ in range(2))
        product = tf.function(lambda a, b: tf.matmul(a, b)[0, 0])
        product(a, b)
        for _ in range(repeats):
            started = time.perf_counter()
            product(a, b).numpy()
            best = max(best, 2 * size**3 / (time.perf_counter() - started))
    return best


def operations_an_image():
    """Return the floating point operations of all convolutions and their gradients, per training image."""
    import fast_model

    model, total = fast_model.build_model((32, 32, 3), 10), 0
    for number in range(7):
        layer = model.get_layer(f"conv{number}")
        multiplications = layer.output.shape[1] * layer.output.shape[2] * layer.kernel.shape.num_elements()
        passes = {0: 1, 1: 2}.get(number, 3)  # conv0 is not trained, so conv1 needs no gradient of its input
        total += 2 * multiplications * passes
    return total


def profile(options):
    seconds = statistics.median(run("fast_training.step_seconds('bfloat16')"))
    speed, best = run("fast_training.operations_an_image()") / seconds, run("fast_training.peak()")
    parts = run("fast_training.operation_seconds()")
    step = parts.pop("step")
    rows = [{"part": "whole step", "share_of_time": 1, "gflops": speed / 1e9, "peak_gflops": best / 1e9}]
    rows += [
        {"part": part, "share_of_time": value / step}
        for part, value in sorted(parts.items(), key=lambda item: -item[1])
    ]
    record(RESULTS / "fast_profile.csv", [{"number": n, **row} for n, row in enumerate(rows)], ["number"])


def recipes(options):
    """Train to 94 % by each recipe, alternating, since the processor's speed may drift from day to day."""
    for seed in SEEDS[: options.seeds]:
        for recipe in options.names or ["nesterov", "ours", "muon"]:
            if recipe == "ours":
                with tempfile.TemporaryDirectory() as folder:
                    ours = run_script(["--target", "94", "--seed", str(seed)], folder)
                names = ("epochs", "test_accuracy", "test_accuracy_with_views")
                result = {name: ours[name] for name in names} | {"seconds": ours["training_seconds"]}
            else:
                result = run(f"bare_pytorch.train({recipe!r}, {seed})")
            record(RESULTS / "fast_recipes.csv", [{**result, "recipe": recipe, "seed": seed}], ["recipe", "seed"])


def gpu(options):
    """Train to 94 % on a GPU with Keras on JAX (KERAS_BACKEND=jax), and by airbench94's recipe in PyTorch."""
    if os.environ.get("KERAS_BACKEND") != "jax":
        sys.exit("set KERAS_BACKEND=jax: with TensorFlow, the rows would be those of another device")
    names = ["recipe", "seed", "epochs", "test_accuracy", "test_accuracy_with_views", "seconds", "compilation_seconds"]

    def keep(row):
        record(RESULTS / "fast_gpu.csv", [{name: row.get(name) for name in names}], ["recipe", "seed"])

    for seed in SEEDS[: options.seeds]:
        with tempfile.TemporaryDirectory() as folder:
            ours = run_script(["--target", "94", "--seed", str(seed)], folder)
        keep({**ours, "recipe": "fast_model.py", "seed": seed, "seconds": ours["training_seconds"]})
        for compiled in (False, True):
            result = run(f"bare_pytorch.train('muon', {seed}, device='cuda', compiled={compiled})")
            keep({**result, "recipe": "airbench94_muon, compiled" if compiled else "airbench94_muon", "seed": seed})


WHAT = {function.__name__: function for function in (targets, startup, tutorials, peer, recipes, profile, gpu)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=WHAT)
    parser.add_argument("names", nargs="*", help="targets or recipes (default: all)")
    parser.add_argument(
        "--seeds", type=int, default=1, choices=range(1, 6), help="number of seeds (default: %(default)s)"
    )
    parser.add_argument("--keep", action="store_true", help="keep the trained runs in models/")
    options = parser.parse_args()
    WHAT[options.what](options)


if __name__ == "__main__":
    main()
