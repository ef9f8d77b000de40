"""Choose the recipes of fast_model.py by held-out training images alone.

    python -m benchmarks.choose_recipe 80                        every candidate, 3 seeds each
    python -m benchmarks.choose_recipe 94                        days on two cores
    python -m benchmarks.choose_recipe 94 --seeds 5 --jobs 12    on a GPU, twelve at once

Each candidate trains on nine tenths of CIFAR-10's training images and is judged by the other tenth. The test images are
not used. Every training is a row of results/recipe_trials.csv; the same command goes on where it was stopped. At the
end it prints the recipe to use: of those whose mean accuracy has a 95 % interval above the target, the fastest one. Its
seconds only count if all candidates were tried with the same number of jobs.
"""

import argparse
import concurrent.futures
import functools
import subprocess
import sys
import tempfile
from unittest import mock

import pandas as pd

import fast_model
from benchmarks import ablation
from benchmarks.fast_training import SEEDS, run_script
from benchmarks.results import record
from convnets import paths, provenance
from convnets.training import comparison

TRIALS = paths.RESULTS / "recipe_trials.csv"
OPTIMIZER = {"highest_rate": 0.24, "weight_decay": 0.1, "label_smoothing": 0.2}  # of fast_model.compile_model
BASE = {"batch_size": 1000, "shift": 2, "cutout": 0, "small_epochs": 0, **OPTIMIZER}
WIDE, SLIM = (64, 256, 256), (48, 192, 256)
PLAIN = {"shift": 0, "weight_decay": 0.0}  # in two epochs, shifts and decay cost accuracy (results/ablation.csv)
CANDIDATES = {  # changes to the first of each list
    "80": [
        {**BASE, "filters": (32, 64, 128), "epochs": 1, "batch_size": 500},
        PLAIN,
        {**PLAIN, "batch_size": 250},
        {**PLAIN, "label_smoothing": 0.1},
        {**PLAIN, "highest_rate": 0.36},
        {**PLAIN, "filters": (24, 64, 128)},
        {**PLAIN, "filters": (24, 48, 128)},
        {**PLAIN, "filters": (16, 64, 128)},
        {**PLAIN, "filters": (32, 48, 128)},
        {**PLAIN, "filters": (32, 64, 96)},
        {**PLAIN, "filters": (32, 64, 64)},
    ],
    "85": [
        {**BASE, "filters": (32, 80, 128), "epochs": 2, "batch_size": 500},
        PLAIN,
        {**PLAIN, "label_smoothing": 0.1},
        {**PLAIN, "highest_rate": 0.36},
        {**PLAIN, "filters": (32, 64, 128)},
        {**PLAIN, "filters": (32, 64, 96)},
        {**PLAIN, "filters": (16, 64, 128)},
        {**PLAIN, "small_epochs": 1},
        {**PLAIN, "small_epochs": 1, "filters": (32, 96, 128)},
        {**PLAIN, "small_epochs": 1, "filters": (32, 64, 128)},
    ],
    "94": [
        {**BASE, "filters": WIDE, "epochs": 8},
        {"epochs": 12, "shift": 4},  # the recipe before
        {"epochs": 10},
        {"epochs": 12},
        {"batch_size": 500},
        {"batch_size": 2000},
        {"shift": 4},
        {"weight_decay": 0.0},
        {"weight_decay": 0.0, "epochs": 10},
        {"label_smoothing": 0.1},
        {"label_smoothing": 0.3},
        {"highest_rate": 0.16},
        {"highest_rate": 0.36},
        {"filters": (64, 192, 256)},
        {"filters": (64, 256, 384)},
        {"filters": (96, 256, 256)},
        {"filters": SLIM},
        {"filters": SLIM, "epochs": 10},
        {"filters": SLIM, "epochs": 12},
        {"small_epochs": 2},
        {"small_epochs": 4},
        {"small_epochs": 6},
        {"small_epochs": 4, "epochs": 10},
        {"small_epochs": 6, "epochs": 10},
        {"small_epochs": 8, "epochs": 12},
        {"small_epochs": 6, "epochs": 10, "weight_decay": 0.0},
        {"small_epochs": 6, "epochs": 10, "filters": SLIM},
    ],
    "95.5": [
        {**BASE, "filters": (128, 384, 384), "epochs": 40, "shift": 4, "cutout": 12, "small_epochs": 20},
        {"epochs": 50, "small_epochs": 0},  # the recipe before
        {"epochs": 30, "small_epochs": 0},
        {"epochs": 50, "small_epochs": 30},
        {"filters": (96, 384, 512)},
        {"cutout": 8},
        {"weight_decay": 0.0},
        {"small_epochs": 28},
    ],
}


def operations(settings):
    """Return the floating point operations of a training, in all convolutions and their gradients."""
    total = 0
    for scale, epochs in (
        (0.75, settings["small_epochs"]),
        (1.0, settings["epochs"] - settings["small_epochs"]),
    ):
        side, channels, passes, per_image = round(32 * scale) - 1, 24, 2, 0  # the first one needs no input gradient
        for width in settings["filters"]:
            per_image += passes * 2 * 9 * side**2 * channels * width
            side, passes = side // 2, 3
            per_image += passes * 2 * 9 * side**2 * width * width
            channels = width
        total += epochs * per_image
    return total * (50_000 - ablation.HELD_OUT)


def train(settings):
    """Train with these settings, as fast_model.py with this process's command line does, without the test images."""
    from convnets.training import training

    recipe = fast_model.Recipe(*[settings[name] for name in fast_model.Recipe._fields])
    training_recipe = functools.partial(training.Recipe, small_epochs=settings["small_epochs"])
    compile_model = functools.partial(fast_model.compile_model, **{name: settings[name] for name in OPTIMIZER})
    with (
        ablation.patched(""),
        mock.patch.object(fast_model, "RECIPES", dict.fromkeys(fast_model.RECIPES, recipe)),
        mock.patch.object(fast_model, "compile_model", compile_model),
        mock.patch.object(training, "Recipe", training_recipe),
    ):
        fast_model.main(sys.argv[1:])


def trial(target, settings, seed):
    """Return a row for TRIALS."""
    program = ["-c", f"from benchmarks import choose_recipe; choose_recipe.train({settings!r})"]
    with tempfile.TemporaryDirectory() as folder:
        try:
            result = run_script(["--target", target, "--seed", str(seed)], folder, program)
        except subprocess.CalledProcessError as error:
            if "loss is no longer a number" not in error.stderr:
                raise
            result = {}  # it does not learn
    return {
        **key(target, settings, seed),
        "held_out_accuracy": result.get("test_accuracy"),
        "held_out_accuracy_with_views": result.get("test_accuracy_with_views"),
        "training_seconds": result.get("training_seconds"),
        "petaflop": operations(settings) / 1e15,
    }


def key(target, settings, seed):
    return {"target": float(target), **settings, "filters": "-".join(map(str, settings["filters"])), "seed": seed}


def done(row):
    """Return whether a trial is in the table already, made on this device."""
    return TRIALS.exists() and (_of_this_device()[list(row)] == pd.Series(row)).all(axis=1).any()


def _of_this_device():
    table = pd.read_csv(TRIALS)
    return table[table["device"] == provenance.device()]


def chosen(trials, target):
    """Return the settings of the fastest candidate whose interval lies above a target, a pandas.Series, or None.

    trials: rows of TRIALS, of one device. target: "80", "85", "94" or "95.5". The interval is that of the mean accuracy
    of held-out images, for 94 and 95.5 with test-time augmentation. A candidate of which any training failed is out.
    """
    settings = ["filters", "epochs", "batch_size", "shift", "cutout", "small_epochs", *OPTIMIZER]
    accuracy = "held_out_accuracy" if float(target) < 90 else "held_out_accuracy_with_views"
    above = []
    for values, group in trials[trials["target"] == float(target)].groupby(settings):
        low, _ = comparison.interval(100 * group[accuracy])
        if group[accuracy].notna().all() and low >= float(target):
            above.append(
                pd.Series({**dict(zip(settings, values, strict=True)), "seconds": group["training_seconds"].mean()})
            )
    return min(above, key=lambda candidate: candidate["seconds"], default=None)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=CANDIDATES)
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at once (default: %(default)s)")
    options = parser.parse_args()
    first = CANDIDATES[options.target][0]
    trials = [
        (options.target, {**first, **changes}, seed)
        for seed in SEEDS[: options.seeds]
        for changes in CANDIDATES[options.target]
    ]
    trials = [each for each in trials if not done(key(*each))]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for ended in concurrent.futures.as_completed([pool.submit(trial, *each) for each in trials]):
            row = ended.result()
            record(TRIALS, [row], [name for name in row if not name.startswith(("held", "training", "petaflop"))])
    best = chosen(_of_this_device(), options.target)
    print(
        "No candidate's interval lies above the target." if best is None else f"The recipe to use:\n{best.to_string()}"
    )


if __name__ == "__main__":
    main()
