"""Compare training runs: a row for each run, and, published against measured, a row for each network."""

import functools
import re

import numpy as np
import pandas as pd
import scipy.special

from convnets import cli, paths
from convnets.architectures.network import DEFAULT_SEED
from convnets.data import DATASETS, datasets
from convnets.errors import UserError
from convnets.training import checkpoints, training

RESULTS = paths.RESULTS / "training_runs.csv"


def load_dataset(wanted, of_the_article, data_dir, image_size, *, images=True):
    """Load the dataset that a reader wants; for "auto" that of the network's article if available, else the digits.

    images: if False, without the images where they would have to be read; see datasets.without_images.
    """
    if not images:
        return datasets.without_images(of_the_article if wanted == "auto" else wanted, image_size=image_size)
    if wanted == "auto":
        return datasets.load_or_digits(of_the_article, data_dir)
    return datasets.load(wanted, data_dir, image_size=image_size)


def recipe_of(network, dataset, seed, epochs):
    """Return the training.Recipe of an article's network. dataset: a datasets.Dataset, also one without images."""
    return training.Recipe(
        epochs=epochs,
        batch_size=network.batch_size,
        seed=seed,
        augment=network.augmentation_for(dataset.flippable) if network.augmentation_for else None,
        validation_split=network.validation_split,
    )


def finished_run(network, dataset, seed, epochs):
    """Return a network's run in models/, as a Checkpoint; None if it is not there or has fewer epochs.

    dataset: a datasets.Dataset, also one without images.
    Raises UserError if the run was trained by another recipe, or is of another network.
    """
    folder = cli.run_folder(network.run_name(dataset.name, seed))
    checkpoint, _ = checkpoints.newest(folder)
    if checkpoint is None:
        return None
    model = _compiled(network, dataset.input_shape, dataset.num_classes)
    identity = training.run_identity(model, dataset, recipe_of(network, dataset, seed, epochs))
    # basic_model.py and improved_model.py may have trained it in bfloat16.
    identity["precision"] = checkpoint.run["options"].get("precision", "float32")
    schedule = checkpoint.run["options"]["optimizer"].get("learning_rate")
    if isinstance(schedule, dict):  # it follows from the number of images, which is not known here
        identity["optimizer"]["learning_rate"] = schedule
    differences = training.differences(checkpoint, identity, model)
    if differences:
        raise UserError(
            f"{folder} was trained with other options ({'; '.join(differences[:3])}): rename that folder"
            + (", or start anew with --fresh" if seed == DEFAULT_SEED else "")
        )
    return checkpoint if checkpoint.epoch >= epochs else None


@functools.cache
def _compiled(network, input_shape, num_classes):
    return network.compiled(input_shape, num_classes, steps_per_epoch=1)


def finished_runs(network, dataset, epochs, *, without_seeds=()):
    """Return a network's runs in models/ with at least so many epochs, as {seed: Checkpoint}.

    without_seeds: those whose runs are not looked at. Raises UserError if a run was trained by another recipe.
    """
    folder = cli.run_folder(network.run_name(dataset.name))
    others = (re.fullmatch(rf"{re.escape(folder.name)}-seed([1-9]\d*)", path.name) for path in folder.parent.glob("*"))
    seeds = {DEFAULT_SEED, *(int(match[1]) for match in others if match)}
    runs = {seed: finished_run(network, dataset, seed, epochs) for seed in sorted(seeds.difference(without_seeds))}
    return {seed: run for seed, run in runs.items() if run is not None}


def run_row(checkpoint, epochs=None):
    """Return what a run was, and the result of its first `epochs` epochs (default: all), as a dict.

    It is a row of results/training_runs.csv. The test accuracy of the last epoch is the result. That of the best epoch
    is only for information: choosing by it would be choosing by the test images. Raises UserError if the last epoch
    was not tested.
    """
    history, run = pd.DataFrame(checkpoint.history[:epochs]), checkpoint.run
    last = history.iloc[-1]
    if pd.isna(last.get("val_accuracy")):
        raise UserError(f"{checkpoint.folder} was not tested after epoch {len(history)}: train it to its last epoch")
    best = history.loc[history["val_accuracy"].idxmax()]
    session = run["sessions"][-1]
    return {
        "run": without_seed(checkpoint.folder.name),
        "seed": run["options"]["seed"],
        "epochs": len(history),
        "test_accuracy": round(last["val_accuracy"], 4),
        "test_loss": round(last["val_loss"], 4),
        "best_test_accuracy": round(best["val_accuracy"], 4),
        "best_epoch": int(best["epoch"]),
        "minutes": round(history["seconds"].sum() / 60, 1),
        "seconds_an_epoch": round(history["seconds"].median(), 1),
        "precision": run["options"].get("precision", "float32").removeprefix("mixed_"),
        "device": session["device"],
        "system": session["system"],
        **session["versions"],
        "date": session["date"],
    }


def without_seed(run_name):
    return re.sub(r"-seed\d+$", "", run_name)


def compare(rows, networks, also=()):
    """Compare what was measured with what was published, a row for each network and dataset, best first.

    rows: pandas.DataFrame with a run_row in each row. networks: list of Network; those without a run are left out.
    also: datasets.Dataset besides those of the project, of folders of pictures.
    Returns a pandas.DataFrame. Accuracies are in percent: measured and at_best_epoch are means over the runs; the times
    are those of the fastest run; article_epochs is how many epochs the article trains for, missing for other images;
    lowest and highest are the extremes, interval_low and interval_high what `interval` returns, missing for a single
    run. points_apart is how far measured is above the published value, or below it (negative); 0 within a published
    range. verdict: "holds" if the interval contains the published value or a part of the range, else "higher" or
    "lower"; missing for a single run. low, high, points_apart and verdict are missing, too, if nothing was published,
    or if the training was shorter than the recipe's, or on other images.
    """
    known = {dataset.name: dataset for dataset in [*map(datasets.without_images, DATASETS), *also]}
    compared = [
        _compared(network, dataset, runs)
        for network in networks
        for name, dataset in known.items()
        if len(runs := rows[rows["run"] == network.run_name(name)])
    ]
    return pd.DataFrame(sorted(compared, key=lambda row: (row["dataset"], -row["measured"]))).round(3)


def _compared(network, dataset, runs):
    """Return the row of a network and a dataset. runs: their rows of results, at least one."""
    accuracy = 100 * runs["test_accuracy"]
    on_its_own = dataset.name == network.dataset  # the article's images
    comparable = on_its_own and network.low is not None and runs["epochs"].min() >= network.epochs
    low, high = (network.low, network.high) if comparable else (None, None)
    least, most = interval(accuracy)
    return {
        "article": network.article,
        "network": network.name,
        "dataset": dataset.name,
        "parameters": _compiled(network, dataset.input_shape, dataset.num_classes).count_params(),
        "published": network.published if on_its_own else "",
        "low": low,
        "high": high,
        "measured": accuracy.mean(),
        "lowest": accuracy.min(),
        "highest": accuracy.max(),
        "interval_low": least,
        "interval_high": most,
        "points_apart": _points_apart(accuracy.mean(), low, high) if comparable else None,
        "verdict": _verdict(least, most, low, high) if comparable and len(runs) > 1 else None,
        "seeds": len(runs),
        "epochs": runs["epochs"].max(),
        "article_epochs": (network.article_epochs or network.epochs) if on_its_own else None,
        "at_best_epoch": 100 * runs["best_test_accuracy"].mean(),
        "seconds_an_epoch": runs["seconds_an_epoch"].min(),
        "minutes": runs["minutes"].min(),
    }


def interval(values):
    """Return the ends of the 95 % confidence interval of a mean (Student's t); NaN for a single value.

    values: pandas.Series of percentages, which have no more than 100 %.
    """
    half = scipy.special.stdtrit(len(values) - 1, 0.975) * values.sem()
    return values.mean() - half, np.minimum(values.mean() + half, 100.0)


def _points_apart(measured, low, high):
    return min(measured - low, 0) + max(measured - high, 0)


def _verdict(least, most, low, high):
    rounding = 1e-6
    return "lower" if most < low - rounding else "higher" if least > high + rounding else "holds"


def printable(table):
    """Return the table of `compare` as texts, for a terminal or a document."""
    return pd.DataFrame(
        {
            "article": table["article"],
            "network": table["network"],
            "data": table["dataset"],
            "parameters": table["parameters"].map("{:,}".format),
            "published": table["published"],
            "measured": [_mean_and_spread(row) for row in table.itertuples()],
            "95 % interval": [
                "" if pd.isna(row.interval_low) else f"{row.interval_low:.2f} to {row.interval_high:.2f}"
                for row in table.itertuples()
            ],
            "points apart": [
                "" if pd.isna(points) else f"{round(points, 2) + 0.0:+.2f}" for points in table["points_apart"]
            ],
            "verdict": table["verdict"].fillna(""),
            "seeds": table["seeds"],
            "epochs": [
                f"{epochs} of {most:.0f}" if most and epochs < most else f"{epochs}"
                for epochs, most in zip(table["epochs"], table["article_epochs"], strict=True)
            ],
            "at best epoch": table["at_best_epoch"].map("{:.2f} %".format),
            "s/epoch": table["seconds_an_epoch"].map("{:.1f}".format),
            "minutes": table["minutes"].map("{:.1f}".format),
        }
    )


def _mean_and_spread(row):
    spread = f" ({row.lowest:.2f} to {row.highest:.2f})" if row.seeds > 1 else ""
    return f"{row.measured:.2f} %{spread}"


def overview(networks):
    """Return a table of all there is to train: recipes, published and measured accuracies, and what is trained here."""
    measured = {(row.network, row.dataset): row for row in compare(pd.read_csv(RESULTS), networks).itertuples()}
    rows = []
    for network in networks:
        ours = measured.get((network.name, network.dataset))
        rows.append(
            {
                "network": network.name,
                "data": network.dataset,
                "epochs": network.epochs,
                "optimizer": network.optimizer,
                "published": network.published,
                "measured by us": "" if ours is None else _mean_and_spread(ours),
                "minutes": "" if ours is None else f"{ours.minutes:.1f}",
                "trained here": _trained_here(network),
            }
        )
    return pd.DataFrame(rows)


def _trained_here(network):
    try:
        seeds = len(finished_runs(network, datasets.without_images(network.dataset), network.epochs))
    except UserError:
        return "otherwise"
    return {0: "", 1: "yes"}.get(seeds, f"{seeds} seeds")
