"""What came out of trainings: a row a run, and, published against measured, a row a network."""

import functools
import re

import pandas as pd

from convnets import cli, paths
from convnets.architectures.articles import DEFAULT_SEED
from convnets.data import datasets
from convnets.errors import UserError
from convnets.training import checkpoints

RESULTS = paths.RESULTS / "training_runs.csv"


def finished_run(network, dataset, seed, epochs):
    """A network's run in models/, as a checkpoints.Checkpoint; None where it is not there or has fewer epochs.

    Raises UserError when the run was trained by another recipe, or is of another network.
    """
    folder = cli.run_folder(network.run_name(dataset, seed))
    checkpoint, _ = checkpoints.newest(folder)
    if checkpoint is None:
        return None
    options = checkpoint.run["options"]
    recipe = {
        "dataset": (options["dataset"], dataset),
        "seed": (options["seed"], seed),
        "batch size": (options["batch_size"], network.batch_size),
        "optimizer": (options["optimizer"]["name"], network.optimizer),
        "validation split": (options.get("validation_split") or 0, network.validation_split),
    }
    differences = [f"{name} was {was}, now {now}" for name, (was, now) in recipe.items() if was != now]
    differences += checkpoints.architecture_differences(folder, _built(network, dataset))
    if differences:
        raise UserError(
            f"{folder} was trained otherwise ({'; '.join(differences[:3])}): rename that folder, or start anew "
            "with --fresh"
        )
    return checkpoint if checkpoint.epoch >= epochs else None


@functools.cache
def _built(network, dataset):
    return network.build_model(datasets.INPUT_SHAPES[dataset], 10)


def finished_runs(network, dataset, epochs):
    """A network's runs in models/ with at least so many epochs, whatever their seeds, as a list of Checkpoints."""
    folder = cli.run_folder(network.run_name(dataset))
    others = (re.fullmatch(rf"{folder.name}-seed([1-9]\d*)", path.name) for path in folder.parent.glob("*"))
    seeds = {DEFAULT_SEED, *(int(match[1]) for match in others if match)}
    runs = [finished_run(network, dataset, seed, epochs) for seed in sorted(seeds)]
    return [run for run in runs if run is not None]


def run_row(checkpoint, epochs=None):
    """What a run was, and what came out of its first so many epochs (all of them, for None), as a dict.

    It is a row of results/training_runs.csv. The last epoch's test accuracy is what counts; the best epoch's is there
    to know, since to choose by it would be to choose by the test images.
    """
    history, run = pd.DataFrame(checkpoint.history[:epochs]), checkpoint.run
    last, best = history.iloc[-1], history.loc[history["val_accuracy"].idxmax()]
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
        "device": session["device"],
        "system": session["system"],
        **session["versions"],
        "date": session["date"],
    }


def without_seed(run_name):
    return re.sub(r"-seed\d+$", "", run_name)


def compare(rows, networks):
    """Sets what was measured against what was published, a row a network and dataset, best first.

    rows: pandas.DataFrame with a run_row in each row. networks: articles.Network; those without a run are left out.
    Returns a pandas.DataFrame. Accuracies are in percent: measured and at_best_epoch are means over the runs, as are
    the times; lowest and highest are the extremes. points_apart is how far measured lies above what was published, or
    below it (negative), 0 within a published range; low, high and it are missing where nothing was published, or the
    training was shorter than the article's, or on other images.
    """
    compared = []
    for network in networks:
        for dataset in datasets.INPUT_SHAPES:
            runs = rows[rows["run"] == network.run_name(dataset)]
            if runs.empty:
                continue
            accuracy = 100 * runs["test_accuracy"]
            comparable = (
                network.low is not None and dataset == network.dataset and runs["epochs"].min() >= network.epochs
            )
            low, high = (network.low, network.high) if comparable else (None, None)
            compared.append(
                {
                    "article": network.article,
                    "network": network.name,
                    "dataset": dataset,
                    "parameters": _built(network, dataset).count_params(),
                    "published": network.published if dataset == network.dataset else "",
                    "low": low,
                    "high": high,
                    "measured": accuracy.mean(),
                    "lowest": accuracy.min(),
                    "highest": accuracy.max(),
                    "points_apart": _points_apart(accuracy.mean(), low, high) if comparable else None,
                    "seeds": len(runs),
                    "epochs": runs["epochs"].max(),
                    "at_best_epoch": 100 * runs["best_test_accuracy"].mean(),
                    "seconds_an_epoch": runs["seconds_an_epoch"].mean(),
                    "minutes": runs["minutes"].mean(),
                }
            )
    return pd.DataFrame(sorted(compared, key=lambda row: (row["dataset"], -row["measured"]))).round(3)


def _points_apart(measured, low, high):
    return min(measured - low, 0) + max(measured - high, 0)


def printable(table):
    """The table of compare as texts, for a terminal or a document."""
    return pd.DataFrame(
        {
            "article": table["article"],
            "network": table["network"],
            "data": table["dataset"],
            "parameters": table["parameters"].map("{:,}".format),
            "published": table["published"],
            "measured": [_mean_and_spread(row) for row in table.itertuples()],
            "points apart": [
                "" if pd.isna(points) else f"{round(points, 2) + 0.0:+.2f}" for points in table["points_apart"]
            ],
            "seeds": table["seeds"],
            "epochs": table["epochs"],
            "at best epoch": table["at_best_epoch"].map("{:.2f} %".format),
            "s/epoch": table["seconds_an_epoch"].map("{:.1f}".format),
            "minutes": table["minutes"].map("{:.1f}".format),
        }
    )


def _mean_and_spread(row):
    spread = f" ({row.lowest:.2f} to {row.highest:.2f})" if row.seeds > 1 else ""
    return f"{row.measured:.2f} %{spread}"


def overview(networks):
    """What there is to train: recipes, what was published, what the project measured, and what is trained here."""
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
        seeds = len(finished_runs(network, network.dataset, network.epochs))
    except UserError:
        return "otherwise"
    return {0: "", 1: "yes"}.get(seeds, f"{seeds} seeds")
