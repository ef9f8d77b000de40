"""What search_models.py finds on CIFAR-10, and what that is worth.

    python -m benchmarks.search trials --sampler tpe       a search; results/search_trials.csv
    python -m benchmarks.search trials --sampler random    the same minutes, with networks drawn at random
    python -m benchmarks.search script                     the best network of the first one; results/found_model.py
    python -m benchmarks.search winner                     trained anew on all images; results/found_model.csv
    python -m benchmarks.search seconds                    its time against improved_model.py's, in turn

Needs Ray, Optuna and CIFAR-10.
"""

import argparse
import dataclasses
import math
import statistics
import tempfile
from pathlib import Path

import pandas as pd

from benchmarks.results import record
from convnets import cli, paths

with cli.importing_keras():
    import keras

    import improved_model
    import search_models
    from convnets.architectures import search_script
    from convnets.data import datasets
    from convnets.training import autotune, cluster, search, training

SCRIPT, TRIALS = paths.RESULTS / "found_model.py", paths.RESULTS / "search_trials.csv"
SEEDS = 1337, 2, 3
LIMITS = search.Limits(parameters=1_500_000, seconds_an_epoch=120)
IMAGES = 6400  # of a short epoch, to time it
DATASET = "cifar10"


def search_trials(sampler, minutes, seed):
    precision = autotune.set_precision()
    with tempfile.TemporaryDirectory() as folder, cluster.connected("local"):
        dataset, settings = (
            datasets.load(DATASET),
            {"epochs": search_models.EPOCHS, "precision": precision, "seed": seed},
        )
        trials = search.search(dataset, f"{folder}/trials", sampler=sampler, minutes=minutes, limits=LIMITS, **settings)
        trials = search.judge_finalists(trials, dataset, folder, **settings)
    rows = [{"sampler": sampler, "minutes": minutes, "search_seed": seed, **row} for row in trials.to_dict("records")]
    record(TRIALS, rows, ["sampler", "search_seed"])


def write_script(epochs):
    """Write the best network that Optuna's sampler found."""
    precision = autotune.set_precision()
    trials = pd.read_csv(TRIALS)
    trials = trials[trials["sampler"] == "tpe"].reset_index(drop=True)
    best = trials.iloc[0]
    found = (
        f"Found on CIFAR-10 by search_models.py, among {len(trials)} networks in {best['minutes']} minutes.\n"
        "Copied to the project's folder, it runs like the other scripts; here it is `python -m results.found_model`."
    )
    settings = {"name": SCRIPT.stem, "epochs": epochs, "precision": precision, "found": found}
    SCRIPT.write_text(
        search_script.script(search.choice_of(best), datasets.without_images(DATASET), **settings), encoding="utf-8"
    )


def train_found(seed, precision, dataset, run, options):
    """Train results/found_model.py's network, or resume its training."""
    from results import found_model

    keras.utils.clear_session()  # also forgets the precision
    keras.config.set_dtype_policy(precision)
    train_script(found_model, seed, dataset, run, found_model.EPOCHS, options)


def train_script(script, seed, dataset, run, epochs, options):
    """Train the network of a script, a module, for some epochs, as its main does."""
    keras.utils.set_random_seed(seed)
    model = script.build_model(dataset.input_shape, dataset.num_classes)
    script.compile_model(model, math.ceil(len(dataset.x_train) / script.BATCH_SIZE))
    augment = script.augmentation_for(dataset.flippable) if hasattr(script, "augmentation_for") else None
    recipe = training.Recipe(epochs, script.BATCH_SIZE, seed, augment)
    return training.train(model, dataset, run, recipe, options)


def winner():
    from results import found_model

    autotune.set_precision()
    dataset = datasets.load(DATASET)
    arguments = [(seed, keras.config.dtype_policy().name) for seed in SEEDS]
    runs = [paths.MODELS / f"found_model-{DATASET}-seed{seed}" for seed in SEEDS]
    jobs = [
        cluster.Job(run, dataset, each, epochs=found_model.EPOCHS) for run, each in zip(runs, arguments, strict=True)
    ]
    with cluster.connected("local"):
        failed = cluster.train_all(jobs, train_found)
    if failed:
        raise RuntimeError(f"{len(failed)} runs failed")
    model = found_model.build_model(dataset.input_shape, dataset.num_classes)
    rows = []
    for seed, run in zip(SEEDS, runs, strict=True):
        history = pd.read_csv(run / "history.csv")
        rows.append(
            {
                "seed": seed,
                "epochs": len(history),
                "parameters": model.count_params(),
                "test_accuracy": history["val_accuracy"].iloc[-1],
                "minutes_on_one_core": history["seconds"].sum() / 60,
                "precision": keras.config.dtype_policy().name,
            }
        )
    record(paths.RESULTS / "found_model.csv", rows, ["seed"])


def seconds(repeats=2):
    """Time short epochs of both scripts in turn, in both precisions, on all cores."""
    from results import found_model

    dataset = datasets.load(DATASET)
    part = dataclasses.replace(dataset, x_train=dataset.x_train[:IMAGES], y_train=dataset.y_train[:IMAGES])
    part = dataclasses.replace(part, x_test=dataset.x_test[:500], y_test=dataset.y_test[:500])
    rows = []
    for precision in ("float32", "mixed_bfloat16"):
        taken = {improved_model: [], found_model: []}
        for _ in range(repeats):
            for script, measured in taken.items():
                keras.utils.clear_session()
                keras.config.set_dtype_policy(precision)
                with tempfile.TemporaryDirectory() as folder:
                    options = training.RunOptions(verbose=0)
                    history = train_script(script, 1, part, Path(folder) / "run", 3, options)
                measured += history["training_seconds"].iloc[1:].tolist()
        whole = {
            script: statistics.median(measured) * len(dataset.x_train) / IMAGES * script.EPOCHS
            for script, measured in taken.items()
        }
        row = {
            "precision": precision,
            "improved_model_epochs": improved_model.EPOCHS,
            "improved_model_seconds": whole[improved_model],
            "found_model_epochs": found_model.EPOCHS,
            "found_model_seconds": whole[found_model],
            "ratio": whole[found_model] / whole[improved_model],
        }
        rows.append(row)
    record(paths.RESULTS / "found_model_seconds.csv", rows, ["precision"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["trials", "script", "winner", "seconds"])
    parser.add_argument("--sampler", choices=["tpe", "random"], default="tpe")
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1337)
    parser.add_argument(
        "--epochs", type=int, default=search_models.FINAL_EPOCHS, help="of the winner (default: %(default)s)"
    )
    options = parser.parse_args()
    if options.what == "trials":
        search_trials(options.sampler, options.minutes, options.seed)
    elif options.what == "script":
        write_script(options.epochs)
    elif options.what == "winner":
        winner()
    else:
        seconds()


if __name__ == "__main__":
    main()
