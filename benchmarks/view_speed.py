"""Measure the views against the libraries and loops that a reader would use instead.

    pip install -r benchmarks/requirements.txt        the libraries to compare with
    python -m benchmarks.view_speed                   all; about 20 minutes; needs CIFAR-10
    python -m benchmarks.view_speed occlusion         occlusion_map against Captum and against model.predict
    python -m benchmarks.view_speed maximization      maximize against tf-keras-vis and the article's loop
    python -m benchmarks.view_speed precision         predictions in bfloat16 against float32
    python -m benchmarks.view_speed scripts           the four scripts from start to end; needs no other library

Both sides of each comparison take turns in one process, with the same weights, so whatever else disturbs the machine
disturbs both. A peer with several settings takes part in all of them, and the fastest counts. The result is the median
of the calls after the first one.

Run nothing else meanwhile: on two cores, one other busy process makes torch, whose threads wait actively, three times
as slow or worse, and TensorFlow hardly slower. The peers' medians are then far above their least seconds.
"""

import argparse
import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from importlib.metadata import version
from itertools import pairwise, product
from pathlib import Path

import keras
import numpy as np

from benchmarks.results import record
from convnets import paths
from convnets.data import datasets
from convnets.training import checkpoints
from convnets.views import activation_maximization, introspection, occlusion, runs

NETWORK = paths.PRETRAINED / "improved_model-cifar10"
TEST_IMAGE = 16
PATCH, GREY = 4, 0.5  # pixels, and what hides them
LAYER, STEPS = "conv4", 40  # 64 filters
SCRIPTS = [
    "visualize_results",
    "visualize_pixel_importance",
    "visualize_hidden_layer_activation",
    "visualize_hidden_layer_output",
]
LARGE_NETWORK = paths.PRETRAINED / "fast_model-95.5-cifar10"
IMAGES = 2000  # to predict
LOADING = """
import argparse
from convnets import cli
with cli.importing_keras(argparse.Namespace(dataset="cifar10")):
    from convnets.data import datasets
datasets.load("cifar10")
"""
ONE_BY_ONE = "import keras; from convnets.data import datasets; datasets.load('cifar10')"
PEERS = {"occlusion": ["torch", "captum"], "maximization": ["tf_keras_vis"], "precision": [], "scripts": []}


def in_turn(sides, repeats):
    """Call each of `sides`, {name: function}, in turn, `repeats` times after a first one.

    Returns ({name: list of seconds}, {name: what the first call returned}).
    """
    first = {name: side() for name, side in sides.items()}
    seconds = {name: [] for name in sides}
    for _ in range(repeats):
        for name, side in sides.items():
            started = time.perf_counter()
            side()
            seconds[name].append(time.perf_counter() - started)
    return seconds, first


def rows_of(view, ours, peers, repeats, *, tolerance=None):
    """Measure each of `ours`, {name: function}, against each of `peers`. Yields rows of results/view_speed.csv.

    peers: list of {name: function}, different settings of the same peer, of which the fastest counts.
    tolerance: if all return the same array, how far apart its values may be; else RuntimeError is raised.
    """
    sides = dict(ours)
    for settings in peers:
        sides |= settings
    seconds, arrays = in_turn(sides, repeats)
    median = {name: statistics.median(each) for name, each in seconds.items()}
    print(*(f"{each:8.3f} s  {name}" for name, each in median.items()), sep="\n")
    for name, settings in product(ours, peers):
        peer = min(settings, key=median.get)
        difference = float(f"{np.abs(arrays[name] - arrays[peer]).max():.1e}") if tolerance else None
        if tolerance and difference > tolerance:
            raise RuntimeError(f"{name} and {peer} differ by {difference}")
        row = {
            "view": view,
            "measured": name,
            "peer": peer,
            "repeats": repeats,
            "seconds": round(median[name], 3),
            "peer_seconds": round(median[peer], 3),
            "least_seconds": round(min(seconds[name]), 3),
            "peer_least_seconds": round(min(seconds[peer]), 3),
            "times_faster": round(median[peer] / median[name], 2),
            "largest_difference": difference,
        }
        print(row)
        yield row


# ---------------------------------------------------------------- occlusion


def occlusion_rows(repeats):
    import torch

    model, dataset = checkpoints.load_model(NETWORK), datasets.load("cifar10")
    image, label = datasets.scale_pixels(dataset.x_test[TEST_IMAGE]), int(dataset.y_test[TEST_IMAGE])
    ours = partial(occlusion.occlusion_map, model, image, label, patch=(PATCH, PATCH), stride=(1, 1), baseline=GREY)

    logit = {"occlusion_map, logit": partial(ours, score="logit")}
    formats = {"default": torch.contiguous_format, "channels_last": torch.channels_last}
    captum = [with_captum(model, image, label, *memory_format) for memory_format in formats.items()]
    yield from rows_of("occlusion", logit, captum, repeats, tolerance=1e-3)

    probability = {"occlusion_map, probability": ours}
    predict = {"model.predict, position by position": partial(map_by_predict, model, image, label)}
    yield from rows_of("occlusion", probability, [predict], min(repeats, 3), tolerance=1e-3)  # a minute each


def with_captum(model, image, label, format_name, memory_format):
    """Return the ways to compute the map (h, w) with Captum, {name: function}."""
    import torch
    from captum.attr import Occlusion

    pixels = torch.tensor(image[None]).permute(0, 3, 1, 2).contiguous(memory_format=memory_format)
    explain = partial(
        Occlusion(in_torch(model).to(memory_format=memory_format)).attribute,
        pixels,
        sliding_window_shapes=(len(pixels[0]), PATCH, PATCH),
        strides=(len(pixels[0]), 1, 1),
        baselines=GREY,
        target=label,
    )

    def occlusion_map(perturbations_per_eval):
        with torch.no_grad():
            return explain(perturbations_per_eval=perturbations_per_eval)[0, 0].numpy()

    name = f"Captum {version('captum')}, torch {version('torch')}, memory format {format_name}"
    return {
        f"{name}, perturbations_per_eval={number}": partial(occlusion_map, number)
        for number in (1, 16, 64, 128, 256, 512, 841)
    }


def in_torch(model):
    """Return a Keras network in torch, with the same weights, up to its logits. It takes images (n, c, h, w)."""
    import torch
    from torch import nn

    def with_weights(module, kernel, bias):
        module.weight.data, module.bias.data = torch.tensor(kernel), torch.tensor(bias)
        return module

    modules = []
    for before, layer in pairwise([None, *model.layers]):
        match layer:
            case keras.layers.Conv2D():
                kernel, bias = layer.get_weights()
                module = nn.Conv2d(*kernel.shape[2:], kernel.shape[:2], padding=layer.padding)
                modules.append(with_weights(module, kernel.transpose(3, 2, 0, 1), bias))
            case keras.layers.Dense():
                kernel, bias = layer.get_weights()
                if isinstance(before, keras.layers.Flatten):  # torch's puts the channels first
                    maps = kernel.reshape(*before.input.shape[1:], -1)
                    kernel = maps.transpose(2, 0, 1, 3).reshape(kernel.shape)
                modules.append(with_weights(nn.Linear(*kernel.shape), kernel.T, bias))
            case keras.layers.MaxPooling2D():
                modules.append(nn.MaxPool2d(layer.pool_size))
            case keras.layers.Flatten():
                modules.append(nn.Flatten())
            case keras.layers.Activation(activation=keras.activations.relu):
                modules.append(nn.ReLU())
            case keras.layers.Dropout() | keras.layers.Activation(activation=keras.activations.softmax):
                pass
            case _:
                raise TypeError(f"{layer.name} is of a kind that is not translated to torch")
    return nn.Sequential(*modules).eval()


def map_by_predict(model, image, label):
    """Compute the map (h, w) in the most obvious way."""
    total, count = np.zeros(image.shape[:2]), np.zeros(image.shape[:2])
    original = model.predict(image[None], verbose=0)[0, label]
    for top in range(image.shape[0] - PATCH + 1):
        for left in range(image.shape[1] - PATCH + 1):
            patch = np.s_[top : top + PATCH, left : left + PATCH]
            occluded = image.copy()
            occluded[patch] = GREY
            total[patch] += original - model.predict(occluded[None], verbose=0)[0, label]
            count[patch] += 1
    return total / count


# ---------------------------------------------------------------- activation maximization


def maximization_rows(repeats):
    model = checkpoints.load_model(NETWORK)
    ours = {f"maximize, {method}": partial(compiled_and_maximized, model, method) for method in ("plain", "fourier")}
    inside = keras.Model(model.inputs[0], model.get_layer(LAYER).output)
    peers = [*with_tf_keras_vis(inside), *article_loops(inside)]
    yield from rows_of("activation maximization", ours, peers, repeats)


def compiled_and_maximized(model, method):
    """Maximise all channels as a script does, which compiles once."""
    activation_maximization._objective.cache_clear()
    return activation_maximization.maximize(model, LAYER, steps=STEPS, method=method)


def with_tf_keras_vis(inside):
    """Return the ways to maximise all channels with tf-keras-vis, {name: function}: at once, one by one."""
    import tensorflow as tf
    from tf_keras_vis.activation_maximization import ActivationMaximization
    from tf_keras_vis.utils.scores import CategoricalScore

    filters, shape = inside.output.shape[-1], inside.input.shape[1:]
    # What it does beyond the ascent is turned off, which makes it faster.
    maximize = partial(
        ActivationMaximization(inside), input_range=(0.0, 1.0), steps=STEPS, input_modifiers=[], regularizers=[]
    )

    def at_once(score):
        return maximize(score, seed_input=tf.random.uniform((filters, *shape)))

    def one_by_one():
        return [maximize(CategoricalScore(i), seed_input=tf.random.uniform((1, *shape))) for i in range(filters)]

    def own_score(outputs):  # the same as CategoricalScore of all filters, which slices them one by one
        return tf.linalg.diag_part(tf.reduce_mean(outputs, axis=(1, 2)))

    name = f"tf-keras-vis {version('tf-keras-vis')} without regularizers and input modifiers"
    together = {
        f"{name}, {filters} filters at once, CategoricalScore": lambda: at_once(CategoricalScore(list(range(filters)))),
        f"{name}, {filters} filters at once, own score function": lambda: at_once(own_score),
    }
    return together, {f"{name}, filter by filter": one_by_one}


def article_loops(inside):
    """Return the article's loop, {name: function}: two translations into today's Keras, and a faster one."""
    import tensorflow as tf

    filters, shape = inside.output.shape[-1], inside.input.shape[1:]

    def step(image, index):  # of the ascent: adds the gradient divided by its root mean square
        with tf.GradientTape() as tape:
            tape.watch(image)
            activation = tf.reduce_mean(inside(image)[..., index])
        gradient = tape.gradient(activation, image)
        return image + gradient / (tf.sqrt(tf.reduce_mean(tf.square(gradient))) + 1e-5)

    def loop(step_for_filter):
        images = []
        for index in range(filters):
            image, filter_step = tf.random.uniform((1, *shape), 0.45, 0.55), step_for_filter()
            for _ in range(STEPS):
                image = filter_step(image, tf.constant(index))
            images.append(image.numpy()[0])
        return np.stack(images)

    def compiled_once():
        compiled = tf.function(step)  # anew each time, as by compiled_and_maximized
        return loop(lambda: compiled)

    translated = {
        "the article's loop, eager": lambda: loop(lambda: step),
        "the article's loop, a tf.function for each filter": lambda: loop(lambda: tf.function(step)),
    }
    return translated, {"the article's loop, one tf.function for all filters": compiled_once}


# ---------------------------------------------------------------- precision


def precision_rows(repeats):
    model, images = checkpoints.load_model(LARGE_NETWORK), datasets.load("cifar10").x_test[:IMAGES]
    models = {"bfloat16": runs.in_bfloat16(model), "float32": model}
    sides = {
        f"{IMAGES:,} predictions of {LARGE_NETWORK.name} in {name}": partial(introspection.predict, each, images)
        for name, each in models.items()
    }
    ours, peer = ({name: side} for name, side in sides.items())
    yield from rows_of("predictions", ours, [peer], repeats, tolerance=0.2)


# ---------------------------------------------------------------- scripts


def script_rows(repeats):
    for script in SCRIPTS:
        with tempfile.TemporaryDirectory() as folder:
            commands = {
                "script": [f"{script}.py", "--run", str(NETWORK), "--seed", "1", "--output-dir", folder],
                "loading": ["-c", LOADING],
                "one by one": ["-c", ONE_BY_ONE],
                "help": [f"{script}.py", "--help"],
            }
            sides = {name: partial(run_python, arguments) for name, arguments in commands.items()}
            seconds = {name: statistics.median(each) for name, each in in_turn(sides, repeats)[0].items()}
        row = {
            "script": script,
            "seconds": round(seconds["script"], 2),
            "importing_keras_and_loading_data_seconds": round(seconds["loading"], 2),
            "one_by_one_seconds": round(seconds["one by one"], 2),
            "beyond_seconds": round(seconds["script"] - seconds["loading"], 2),
            "help_seconds": round(seconds["help"], 2),
            "repeats": repeats,
        }
        print(row)
        yield row


def run_python(arguments):
    subprocess.run([sys.executable, *arguments], cwd=paths.PROJECT, check=True, stdout=subprocess.DEVNULL)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=PEERS)
    parser.add_argument("--repeats", type=int, default=5, help="counted calls of each side")
    parser.add_argument("--output-dir", type=Path, default=paths.RESULTS)
    options = parser.parse_args()
    parts = [options.part] if options.part else list(PEERS)
    missing = [name for part in parts for name in PEERS[part] if importlib.util.find_spec(name) is None]
    if missing:
        parser.error(f"there is no {' and no '.join(missing)}: pip install -r benchmarks/requirements.txt")

    for part in parts:
        if part == "scripts":
            record(options.output_dir / "script_seconds.csv", script_rows(options.repeats), ["script"])
        else:
            measure = {
                "occlusion": occlusion_rows,
                "maximization": maximization_rows,
                "precision": precision_rows,
            }[part]
            record(options.output_dir / "view_speed.csv", measure(options.repeats), ["view"])


if __name__ == "__main__":
    main()
