"""Measure what each trick of fast_model.py contributes: train with all tricks, and with all but one.

    python -m benchmarks.ablation                       all variants, into results/ablation.csv; needs CIFAR-10
    python -m benchmarks.ablation --seeds 1 relu gelu   some of them, for one seed
    python -m benchmarks.ablation --with epochs=8 --with filters=32-64-64 no_flips   another recipe
    python -m benchmarks.ablation --steps               only the seconds of a step, with other operations

Each variant trains on nine tenths of CIFAR-10's training images, and is tested on the other tenth, its validation set.
Each training runs in a process of its own. The recipe for 85 % is an earlier one, with shifts, weight decay and more
label smoothing than that of today.
"""

import argparse
import contextlib
import dataclasses
import functools
import json
import re
import statistics
import subprocess
import sys
import tempfile
from unittest import mock

import numpy as np
import pandas as pd

import fast_model
from benchmarks import fast_training
from benchmarks.fast_training import RESULTS, SEEDS, run, run_script
from benchmarks.results import record

HELD_OUT = 5000
RECIPES = {**fast_model.RECIPES, "85": fast_model.Recipe((32, 80, 128), epochs=2, batch_size=500)}
VARIANTS = {
    "all tricks": "",
    "first layer trained from random weights": "random_first_layer",
    "no identity initialisation": "random_convolutions",
    "logits not scaled down": "large_logits",
    "ReLU instead of leaky ReLU": "relu",
    "GELU instead of leaky ReLU": "gelu",
    "SGD with Nesterov momentum instead of Muon": "nesterov",
    "Adam instead of Muon": "adam",
    "one learning rate for all weights": "one_rate",
    "constant learning rate": "constant_rate",
    "no weight decay": "no_decay",
    "batches of 125 images": "small_batches",
    "no label smoothing": "hard_labels",
    "random horizontal flips": "random_flips",
    "no flips": "no_flips",
    "no shifts": "no_shifts",
    "shifts of up to 4 pixels": "larger_shifts",
    "with cutout": "cutout",
    "slow running averages": "slow_averages",
    "Keras's batch normalization": "keras_normalization",
    "Keras's convolution": "keras_convolution",
    "float32": "float32",
}
OPERATIONS = ("", "gelu", "keras_normalization", "keras_convolution")  # variants that change the operations of a step


def patches(variant):
    """Return the mock patches and the command line arguments that turn fast_model.py into a variant."""
    import keras
    from keras import layers

    from convnets.architectures import optimizers
    from convnets.data import augmentation, datasets
    from convnets.training import training

    build_model, set_first_weights, load, recipe = (
        fast_model.build_model,
        fast_model.set_first_weights,
        datasets.load,
        training.Recipe,
    )

    def held_out(*arguments, **settings):
        data = load(*arguments, **settings)
        parts = {"x_train": data.x_train[:-HELD_OUT], "y_train": data.y_train[:-HELD_OUT]}
        return dataclasses.replace(data, **parts, x_test=data.x_train[-HELD_OUT:], y_test=data.y_train[-HELD_OUT:])

    def replaced(layer_class, new):
        """Patch build_model to replace each layer of a class by new(layer)."""

        def build(*arguments):
            model = build_model(*arguments)
            return keras.Sequential(
                [keras.Input(model.input_shape[1:])]
                + [new(layer) if isinstance(layer, layer_class) else layer for layer in model.layers]
            )

        return mock.patch.object(fast_model, "build_model", build)

    def first_weights(names):
        """Patch set_first_weights to set only the layers whose names start with `names`."""

        def set_some(model, images):
            before = {layer.name: layer.get_weights() for layer in model.layers}
            set_first_weights(model, images)
            for layer in model.layers:
                if not layer.name.startswith(names):
                    layer.set_weights(before[layer.name])

        return mock.patch.object(fast_model, "set_first_weights", set_some)

    def optimizer(make):
        return mock.patch("convnets.architectures.optimizers.Muon", make)

    def training_with(**changes):
        class Changed(recipe):  # a class, whose fields are asked for
            def __new__(cls, *arguments, **settings):
                return dataclasses.replace(recipe(*arguments, **settings), **changes)

        return mock.patch.object(training, "Recipe", Changed)

    def trained_first_layer(layer):
        return layers.Conv2D.from_config({**layer.get_config(), "trainable": True}) if layer.name == "conv0" else layer

    shift_and_cut_out, muon = augmentation.ShiftAndCutOut, optimizers.Muon

    def augmented(make):
        return mock.patch.object(augmentation, "ShiftAndCutOut", make)

    def slow_averages(layer):
        return type(layer).from_config({**layer.get_config(), "momentum": 0.99})

    def flip_and(augment, images, rng):
        flipped = rng.random(len(images)) < 0.5
        return augment(np.where(flipped[:, None, None, None], images[:, :, ::-1], images), rng)

    nesterov = {"momentum": 0.85, "nesterov": True}
    decay = keras.optimizers.schedules.PolynomialDecay
    loss = keras.losses.CategoricalCrossentropy
    changes = {
        "": [],
        "random_first_layer": [
            replaced(layers.Conv2D, trained_first_layer),
            first_weights(("conv1", "conv2", "conv3", "conv4", "conv5", "conv6")),
        ],
        "random_convolutions": [first_weights("conv0")],
        "large_logits": [replaced(layers.Rescaling, lambda _: layers.Rescaling(1.0, dtype="float32"))],
        "relu": [replaced(layers.LeakyReLU, lambda _: layers.Activation("relu"))],
        "gelu": [replaced(layers.LeakyReLU, lambda _: layers.Activation("gelu"))],
        "nesterov": [optimizer(lambda rate, **_: keras.optimizers.SGD(decay(1.5, rate.decay_steps, 0.0), **nesterov))],
        "adam": [optimizer(lambda rate, **_: keras.optimizers.Adam(decay(0.005, rate.decay_steps, 0.0)))],
        "one_rate": [optimizer(functools.partial(muon, dense_factor=1, offset_factor=1))],
        "no_decay": [optimizer(lambda rate, **_: muon(rate))],
        "constant_rate": [
            mock.patch.object(keras.optimizers.schedules, "PolynomialDecay", lambda rate, *_, **__: rate)
        ],
        "hard_labels": [mock.patch.object(keras.losses, "CategoricalCrossentropy", return_value=loss())],
        "random_flips": [
            training_with(alternate_flips=False),
            augmented(lambda *settings: functools.partial(flip_and, shift_and_cut_out(*settings))),
        ],
        "no_flips": [training_with(alternate_flips=False)],
        "no_shifts": [training_with(augment=None)],
        "larger_shifts": [augmented(lambda shift, cutout: shift_and_cut_out(shift=4, cutout=cutout))],
        "cutout": [augmented(lambda shift, cutout: shift_and_cut_out(shift=shift, cutout=12))],
        "slow_averages": [replaced(layers.BatchNormalization, slow_averages)],
        "keras_normalization": [
            mock.patch("convnets.architectures.fast_layers.BatchNormalization", layers.BatchNormalization)
        ],
        "keras_convolution": [mock.patch("convnets.architectures.fast_layers.Conv2D", layers.Conv2D)],
        "small_batches": [],
        "float32": [],
    }
    words = {"small_batches": ["--batch-size", "125"], "float32": ["--precision", "float32"]}
    return [mock.patch.object(datasets, "load", held_out), *changes[variant]], words.get(variant, [])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", metavar="VARIANT", help="default: all; " + ", ".join(VARIANTS.values()))
    parser.add_argument("--target", choices=RECIPES, default="85")
    parser.add_argument("--with", dest="changes", type=change, action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument(
        "--seeds", type=int, default=2, choices=range(1, 6), help="number of seeds (default: %(default)s)"
    )
    parser.add_argument("--steps", action="store_true", help="only time training steps of the network for 94 %%")
    options = parser.parse_args()
    if unknown := set(options.variants) - set(VARIANTS.values()):
        parser.error(f"unknown variant: {', '.join(unknown)}")
    if options.steps and (others := set(options.variants) - set(OPERATIONS)):
        parser.error(f"--steps does not time {', '.join(others)}, which change no operation of a step")
    wanted = options.variants or (OPERATIONS if options.steps else VARIANTS.values())
    variants = {name: variant for name, variant in VARIANTS.items() if variant in wanted}
    if options.steps:
        time_steps(variants)
        return
    recipe = RECIPES[options.target]._replace(**dict(options.changes))
    for seed in SEEDS[: options.seeds]:
        for name, variant in variants.items():
            result, settings = trained(options.target, recipe, seed, variant), settings_of(recipe)
            row = {"variant": name, "target": float(options.target), "seed": seed, **result, **settings}
            record(RESULTS / "ablation.csv", [row], ["variant", "target", *settings, "seed"])


def trained(target, recipe, seed, variant=""):
    """Train by a recipe, or a variant of it, in a process of its own; see `train_variant`.

    Returns what fast_training.run_script does, or {} if it does not learn. The test images are those held out.
    """
    program = ["-c", f"from benchmarks import ablation; ablation.train_variant({variant!r}, {tuple(recipe)})"]
    with tempfile.TemporaryDirectory() as folder:
        try:
            return run_script(["--target", target, "--seed", str(seed)], folder, program)
        except subprocess.CalledProcessError as error:
            if not re.search("loss is no longer a number|weights are no longer finite", error.stderr):
                raise
            return {}


def settings_of(recipe):
    """Return the settings of a recipe as they are in results/ablation.csv."""
    return {**recipe._asdict(), "filters": "-".join(map(str, recipe.filters))}


def of_85(runs):
    """Return the runs of the recipe for 85 %, of any length. runs: pandas.DataFrame, as results/ablation.csv."""
    settings = settings_of(RECIPES["85"])
    del settings["epochs"]
    return runs[(runs[list(settings)] == pd.Series(settings)).all(axis=1)]


def change(text):
    """Parse a setting of a recipe and its new value: "epochs=8", "filters=32-64-64"."""
    name, _, value = text.partition("=")
    return name, tuple(map(int, value.split("-"))) if name == "filters" else json.loads(value)


def train_variant(variant, settings):
    """Run a variant of fast_model.py with a recipe of these settings and this process's command line."""
    recipes = dict.fromkeys(fast_model.RECIPES, fast_model.Recipe(*settings))
    with patched(variant) as arguments, mock.patch.object(fast_model, "RECIPES", recipes):
        fast_model.main([*sys.argv[1:], *arguments])


@contextlib.contextmanager
def patched(variant):
    """Turn fast_model.py into a variant within a `with` block. Yields arguments for its command line."""
    changes, arguments = patches(variant)
    with contextlib.ExitStack() as stack:
        for patch in changes:
            stack.enter_context(patch)
        yield arguments


def time_steps(variants, repeats=2):
    """Measure the seconds per epoch of the network for 94 %, alternating between variants of its operations."""
    seconds = {(name, precision): [] for precision in ("bfloat16", "float32") for name in variants}
    for _ in range(repeats):
        for (name, precision), measured in seconds.items():
            steps = run(f"ablation.step_seconds({variants[name]!r}, {precision!r})")
            measured.append(50_000 * statistics.median(steps))
    rows = [
        {"variant": name, "precision": precision, "seconds_an_epoch": statistics.median(measured)}
        for (name, precision), measured in seconds.items()
    ]
    record(RESULTS / "fast_operations.csv", rows, ["variant", "precision"])


def step_seconds(variant, precision):
    """Return the seconds per image of each training step of a variant, as fast_training.step_seconds does."""
    with patched(variant):
        return fast_training.step_seconds(precision)


if __name__ == "__main__":
    main()
