"""Choose the recipes of fast_model.py by held-out training images alone.

    python -m benchmarks.choose_recipe 80                        every candidate, 3 seeds each
    python -m benchmarks.choose_recipe 94                        days on two cores
    python -m benchmarks.choose_recipe 94 --seeds 5 --jobs 12    on a GPU, twelve at once

Each candidate trains on nine tenths of CIFAR-10's training images and is judged by the other tenth. The test images are
not used. Every training is a row of results/recipe_trials.csv; the same command goes on where it was stopped. At the
end it prints the recipe to use: of those whose mean accuracy has a 95 % interval above the target, the fastest one, or,
if there is none, the one whose interval begins highest. Seconds count only between candidates tried with as many jobs.
"""

import argparse
import math

import pandas as pd

import fast_model
from benchmarks import ablation
from benchmarks.fast_training import SEEDS
from benchmarks.results import as_they_end, record
from convnets import paths, provenance
from convnets.training import comparison

TRIALS = paths.RESULTS / "recipe_trials.csv"
SETTINGS = list(fast_model.Recipe._fields)
BASE = {"batch_size": 1000, **fast_model.Recipe._field_defaults}
WIDE, SLIM = (64, 256, 256), (48, 192, 256)
PLAIN = {"shift": 0, "weight_decay": 0.0}  # in short runs, they bring nothing clear (results/ablation.csv)
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
    ],
    "94": [
        {**BASE, "filters": WIDE, "epochs": 8},
        {"epochs": 12, "shift": 4},  # that of fast_model.py
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
    ],
    "95.5": [
        {**BASE, "filters": (128, 384, 384), "epochs": 40, "shift": 4, "cutout": 12},
        {"epochs": 50},  # that of fast_model.py
        {"epochs": 30},
        {"filters": (96, 384, 512)},
        {"cutout": 8},
        {"weight_decay": 0.0},
    ],
}


def operations(settings):
    """Return the floating point operations of a training, in all convolutions and their gradients."""
    side, channels, passes, per_image = 31, 24, 2, 0  # the first convolution needs no gradient of its input
    for width in settings["filters"]:
        per_image += passes * 2 * 9 * side**2 * channels * width
        side, channels, passes = side // 2, width, 3
        per_image += passes * 2 * 9 * side**2 * width * width
    return settings["epochs"] * per_image * (50_000 - ablation.HELD_OUT)


def trial(target, settings, seed):
    """Return a row for TRIALS."""
    result = ablation.trained(target, fast_model.Recipe(**settings), seed)
    return {
        **key(target, settings, seed),
        "held_out_accuracy": result.get("test_accuracy"),
        "held_out_accuracy_with_views": result.get("test_accuracy_with_views"),
        "training_seconds": result.get("training_seconds"),
        "petaflop": operations(settings) / 1e15,
    }


def key(target, settings, seed):
    return {"target": float(target), **ablation.settings_of(fast_model.Recipe(**settings)), "seed": seed}


def done(row):
    """Return whether a trial is in the table already, made on this device."""
    return TRIALS.exists() and (_of_this_device()[list(row)] == pd.Series(row)).all(axis=1).any()


def _of_this_device():
    return of_device(pd.read_csv(TRIALS), provenance.device())


def of_device(trials, device=None):
    """Return the trials of one device; without its name, of that which made most of them."""
    return trials[trials["device"] == (device or trials["device"].mode().iloc[0])]


def summary(trials, target):
    """Return what each candidate for a target reached, the fastest first: a pandas.DataFrame with a row for each.

    trials: rows of TRIALS, of one device. target: "80", "85", "94" or "95.5". Columns: SETTINGS; seeds; accuracy,
    that of held-out images in percent, for 94 and 95.5 with test-time augmentation; low and high, the 95 % interval of
    its mean; seconds. Candidates of which a training failed have no accuracy.
    """
    column = "held_out_accuracy" if float(target) < 90 else "held_out_accuracy_with_views"
    rows = []
    for values, group in trials[trials["target"] == float(target)].groupby(SETTINGS):
        accuracy = 100 * group[column]
        low, high = comparison.interval(accuracy) if accuracy.notna().all() else (math.nan, math.nan)
        reached = {"seeds": group["seed"].nunique(), "accuracy": accuracy.mean(skipna=False), "low": low, "high": high}
        settings = dict(zip(SETTINGS, values, strict=True))
        rows.append({**settings, **reached, "seconds": group["training_seconds"].mean()})
    columns = [*SETTINGS, "seeds", "accuracy", "low", "high", "seconds"]
    return pd.DataFrame(rows, columns=columns).sort_values("seconds", ignore_index=True)


def chosen(candidates, target):
    """Return the row of the recipe to use: the fastest one whose interval lies above the target, or else the best one.

    candidates: their summary; those that were tried with fewer seeds than others, or failed, are out. The best one is
    that whose interval begins highest. A single seed has no interval: its accuracy counts. None if all failed.
    """
    candidates = candidates.dropna(subset="accuracy")
    candidates = candidates[candidates["seeds"] == candidates["seeds"].max()]
    if candidates.empty:
        return None
    low = candidates["low"].fillna(candidates["accuracy"])
    above = candidates[low >= float(target)]
    return candidates.loc[low.idxmax() if above.empty else above["seconds"].idxmin()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=CANDIDATES)
    parser.add_argument(
        "--seeds", type=int, default=3, choices=range(1, 6), help="number of seeds (default: %(default)s)"
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at once (default: %(default)s)")
    options = parser.parse_args()
    first = CANDIDATES[options.target][0]
    trials = [
        (options.target, {**first, **changes}, seed)
        for seed in SEEDS[: options.seeds]
        for changes in CANDIDATES[options.target]
    ]
    trials = [each for each in trials if not done(key(*each))]
    for row in as_they_end(trial, trials, options.jobs):
        record(TRIALS, [row], [name for name in row if not name.startswith(("held", "training", "petaflop"))])
    reached = summary(_of_this_device(), options.target)
    print(reached.to_string(index=False))
    best = chosen(reached, options.target)
    print("No candidate learns." if best is None else f"The recipe to use:\n{best.to_string()}")


if __name__ == "__main__":
    main()
