"""Turn what was measured into what is published.

    python -m publishing basic_model-cifar10 basic_model-cifar10-seed2

Puts these finished runs of models/ into results/training_runs.csv (a row a run) and results/learning_curves.csv (a
row an epoch), copies those that visualisations fall back on to models/stashed/, and draws the documents' tables and
charts anew, from the files in results/ and, where one shows layers, from the network. Without a name it does only
the last.
"""

import argparse
import dataclasses
import json
import shutil

import keras
import numpy as np
import pandas as pd
from scipy.special import softmax

from convnets import drawing, files, paths, records
from convnets.data import datasets
from convnets.training import checkpoints, comparison, comparison_figures
from convnets.views import calibration, evaluation, introspection, labels
from publishing.tables import NETWORKS, RESULTS, with_tables

STASHED = ["basic_model-cifar10", "improved_model-cifar10", "basic_model-mnist", "basic_model-digits"]
FAST = ["fast_model-94-cifar10", "fast_model-95.5-cifar10"]  # stashed in half precision, since they are large
RUNS = list(dict.fromkeys([*STASHED, *FAST, *(network.run_name(network.dataset) for network in NETWORKS.values())]))
EPOCHS = {network.run_name(network.dataset): network.epochs for network in NETWORKS.values()}


def stash(folder, target):
    """Copy a run to the new folder `target` without what only further training needs, the optimizer's state."""
    model = checkpoints.load_model(folder)
    if folder.name in FAST:
        model = _in_half_precision(model)
    checkpoint, _ = checkpoints.newest(folder)
    target.mkdir(parents=True)
    for name in ("architecture.json", "run.json", "history.csv", "training_curves.png"):
        shutil.copy(folder / name, target)
    checkpoints.save_checkpoint(dataclasses.replace(checkpoint, folder=target), model)


def keep_answers(folder):
    """Keep a stashed network's calibration, and what it says of CIFAR-10's test images, by which labels are ranked.

    That is the geometric mean of its probabilities for six views of each image, calibrated.
    """
    model, dataset = checkpoints.load_model(folder), datasets.load(records.entry(folder, "dataset"))
    fitted = calibration.keep(model, dataset, folder)
    if dataset.key == "cifar10":
        views = evaluation.shifted_views(dataset.x_test, flip=dataset.flippable)
        logs = [np.log(np.maximum(introspection.predict(model, view), 1e-12)) for view in views]
        answers = fitted.calibrated(softmax(np.mean(logs, axis=0), axis=1))
        np.save(folder / labels.PREDICTIONS, answers.astype("float16"))


def _in_half_precision(model):
    """Return the same network with float16 weights."""

    def half(part):
        return {**part, "config": {"name": "float16"}} if part.get("class_name") == "DTypePolicy" else part

    description = json.loads(model.to_json(), object_hook=half)
    halved = keras.models.model_from_json(json.dumps(description))
    halved.set_weights(model.get_weights())
    return halved


DOCS = paths.PROJECT / "docs"
DOCUMENTS = [paths.PROJECT / "README.md", *sorted(DOCS.glob("*.md"))]
CURVES = [  # article, what, where the axis begins
    ("wang", "accuracy", None),
    ("jeffries", "accuracy", None),
    ("scadamale", "loss", None),
    ("bernet", "accuracy", 95),
]


def draw_charts():
    """Draw the charts in docs/ from the files in results/."""
    runs, epochs = (pd.read_csv(RESULTS / f"{name}.csv") for name in ("training_runs", "learning_curves"))
    networks = list(NETWORKS.values())
    runs = runs[runs["run"].isin([network.run_name(network.dataset) for network in networks])]
    drawing.save(comparison_figures.comparison_chart(comparison.compare(runs, networks)), DOCS / "comparison.png")
    for article, quantity, lowest in CURVES:
        histories = {
            network.name: [seed for _, seed in group.dropna(axis="columns", how="all").groupby("seed")]
            for network in networks
            if network.article == article
            and not (group := epochs[epochs["run"] == network.run_name(network.dataset)]).empty
        }
        page = comparison_figures.learning_curves(histories, quantity, lowest=lowest)
        drawing.save(page, DOCS / f"{article}-{quantity}.png")


def draw_search():
    """Draw in docs/ what the search with Optuna's sampler found."""
    from convnets.training import search, search_figures

    trials = pd.read_csv(RESULTS / "search_trials.csv")
    trials = trials[trials["sampler"] == "tpe"].reset_index(drop=True)
    page = search_figures.search_page(trials, search.importances(trials), search.front(trials))
    drawing.save(page, DOCS / "search.png")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", metavar="RUN", help="the name of a finished run in models/")
    folders = [paths.MODELS / name for name in parser.parse_args().runs]
    for folder in folders:
        if comparison.without_seed(folder.name) not in RUNS:
            parser.error(f"{folder.name} is none of {', '.join(RUNS)}, with or without -seedN")

    if folders:
        runs = [checkpoints.newest(folder)[0] for folder in folders]
        for folder, run in zip(folders, runs, strict=True):
            if run is None:
                parser.error(f"{folder} holds no trained network")
            precision = run.run["options"].get("precision", "float32")
            if comparison.without_seed(run.folder.name) not in FAST and precision != "float32":
                parser.error(f"{run.folder.name} was trained in bfloat16: train it with --precision float32")
            if run.epoch < EPOCHS.get(comparison.without_seed(run.folder.name), 0):
                parser.error(f"{run.folder.name} is not finished: it has {run.epoch} epochs")
        _add("training_runs", [comparison.run_row(run) for run in runs])
        _add("learning_curves", [epoch for run in runs for epoch in _epochs(run)])

    stashed = paths.PRETRAINED
    for folder in folders:
        if folder.name in [*STASHED, *FAST]:
            new = stashed / f".{folder.name}"  # whole before the old one goes
            shutil.rmtree(new, ignore_errors=True)
            stash(folder, new)
            keep_answers(new)
            shutil.rmtree(stashed / folder.name, ignore_errors=True)
            new.rename(stashed / folder.name)

    draw_charts()
    draw_search()
    for document in DOCUMENTS:
        document.write_text(with_tables(document.read_text(encoding="utf-8")), encoding="utf-8")


def _epochs(checkpoint):
    """Return the rows of a run in results/learning_curves.csv."""
    run, seed = comparison.without_seed(checkpoint.folder.name), checkpoint.run["options"]["seed"]
    return [{"run": run, "seed": seed, **row} for row in checkpoint.history]


def _add(name, rows):
    """Add rows to a file in results/; what was there of the same runs goes."""
    path = RESULTS / f"{name}.csv"
    new, old = pd.DataFrame(rows), pd.read_csv(path) if path.exists() else pd.DataFrame(columns=["run", "seed"])
    of_the_same_runs = old.set_index(["run", "seed"]).index.isin(new.set_index(["run", "seed"]).index)
    table = pd.concat([old[~of_the_same_runs], new])  # the columns stay in their order
    table["run"] = pd.Categorical(table["run"], RUNS, ordered=True)
    for column in table.columns.intersection(["seed", "epoch"]):
        table[column] = table[column].astype(int)
    files.write(path, table.sort_values(["run", "seed"], kind="stable").round(5).to_csv(index=False))


if __name__ == "__main__":
    main()
