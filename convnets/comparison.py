"""What came out of trainings: a row a run, and, published against measured, a row a network."""

import re

import pandas as pd

from convnets import checkpoints, cli, datasets
from convnets.articles import DEFAULT_SEED

RESULTS = cli.PROJECT / "results" / "training_runs.csv"


def finished_run(network, dataset, seed, epochs):
    """A network's run in models/, as a checkpoints.Checkpoint.

    None where it is not there, has fewer epochs, or was trained by another recipe (of which training.train complains).
    """
    checkpoint, _ = checkpoints.newest(cli.run_folder(network.run_name(dataset, seed)))
    if checkpoint is None or checkpoint.epoch < epochs:
        return None
    options = checkpoint.run["options"]
    trained = (options["dataset"], options["seed"], options["batch_size"], options["optimizer"]["name"])
    return checkpoint if trained == (dataset, seed, network.batch_size, network.optimizer) else None


def finished_runs(network, dataset, epochs):
    """A network's runs in models/ with at least so many epochs, whatever their seeds, as a list of Checkpoints."""
    folder = cli.run_folder(network.run_name(dataset))
    others = (re.fullmatch(rf"{folder.name}-seed(\d+)", path.name) for path in folder.parent.glob("*"))
    seeds = sorted(int(match[1]) for match in others if match)
    runs = [finished_run(network, dataset, seed, epochs) for seed in (DEFAULT_SEED, *seeds)]
    return [run for run in runs if run is not None]


def run_row(checkpoint):
    """What a finished run was, and what came out of it, as a dict: one row of results/training_runs.csv.

    The last epoch's test accuracy is what counts; the best epoch's is there to know, since to choose by it would be
    to choose by the test images.
    """
    history, run = pd.DataFrame(checkpoint.history), checkpoint.run
    last, best = history.iloc[-1], history.loc[history["val_accuracy"].idxmax()]
    session = run["sessions"][-1]
    return {
        "run": without_seed(checkpoint.folder.name),
        "seed": run["options"]["seed"],
        "epochs": checkpoint.epoch,
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


def histories(runs):
    """The epochs of checkpoints: {the run's name, without a seed: [pandas.DataFrame, one row an epoch, ...]}."""
    by_name = {}
    for checkpoint in runs:
        by_name.setdefault(without_seed(checkpoint.folder.name), []).append(pd.DataFrame(checkpoint.history))
    return by_name


def compare(rows, networks):
    """Sets what was measured against what was published, a row a network and dataset, best first.

    rows: pandas.DataFrame with a run_row in each row. networks: articles.Network; those without a run are left out.
    Returns a pandas.DataFrame. Accuracies are in percent: measured and at_best_epoch are means over the runs, as are
    the times; lowest and highest are the extremes. points_apart is how far measured lies above what was published, or
    below it (negative), 0 within a published range, missing where nothing was published.
    """
    compared = []
    for network in networks:
        for dataset, shape in datasets.INPUT_SHAPES.items():
            runs = rows[rows["run"] == network.run_name(dataset)]
            if runs.empty:
                continue
            accuracy = 100 * runs["test_accuracy"]
            is_the_article_s = dataset == network.dataset and network.low is not None
            low, high = (network.low, network.high) if is_the_article_s else (None, None)
            compared.append(
                {
                    "article": network.article,
                    "network": network.name,
                    "dataset": dataset,
                    "parameters": network.build_model(shape, 10).count_params(),
                    "published": network.published if is_the_article_s else "",
                    "low": low,
                    "high": high,
                    "measured": accuracy.mean(),
                    "lowest": accuracy.min(),
                    "highest": accuracy.max(),
                    "points_apart": _points_apart(accuracy.mean(), low, high) if is_the_article_s else None,
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
            "points apart": ["" if pd.isna(points) else f"{points:+.2f}" for points in table["points_apart"]],
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
                "trained here": len(finished_runs(network, network.dataset, network.epochs)) or "",
            }
        )
    return pd.DataFrame(rows)
