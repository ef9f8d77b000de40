"""Turn what was measured into what is published.

    python -m benchmarks.publish basic_model-cifar10 basic_model-cifar10-seed2

Puts these finished runs of models/ into results/training_runs.csv (a row a run), copies those with the
scripts' own names to models/stashed/, and draws up the documents' tables anew from the files in results/.
Without a name it does only the last.
"""

import argparse
import dataclasses
import re
import shutil

import pandas as pd

from convnets import checkpoints
from convnets.cli import PROJECT

RESULTS = PROJECT / "results"
STASHED = ["basic_model-cifar10", "improved_model-cifar10", "basic_model-mnist", "basic_model-digits"]
ARTICLE = {"basic_model-cifar10": "about 80 %", "improved_model-cifar10": "about 85 %"}


def training_run(folder):
    """One row of results/training_runs.csv: what a finished run was, and what came out of it."""
    checkpoint, _ = checkpoints.newest(folder)
    history, run = pd.DataFrame(checkpoint.history), checkpoint.run
    last, best = history.iloc[-1], history.loc[history["val_accuracy"].idxmax()]
    session = run["sessions"][-1]
    return {
        "run": _without_seed(folder.name),
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


def _without_seed(name):
    return re.sub(r"-seed\d+$", "", name)


def stash(folder, target):
    """Copies a run to the new folder `target` without what only further training needs, the optimizer's state."""
    model = checkpoints.load_model(folder)
    checkpoint, _ = checkpoints.newest(folder)
    target.mkdir(parents=True)
    for name in ("architecture.json", "run.json", "history.csv", "training_curves.png"):
        shutil.copy(folder / name, target)
    checkpoints.save_checkpoint(dataclasses.replace(checkpoint, folder=target), model)


def trained_table(runs):
    """The README's table of trained networks, in Markdown."""
    lines = [
        "| run | epochs | seeds | test accuracy, last epoch | the article says | minutes |",
        "|---|---|---|---|---|---|",
    ]
    for (name, epochs), group in runs.groupby(["run", "epochs"], sort=False):
        accuracy = 100 * group["test_accuracy"]
        spread = f" ({accuracy.min():.2f} to {accuracy.max():.2f})" if len(group) > 1 else ""
        lines.append(
            f"| `{name}` | {epochs} | {len(group)} | {accuracy.mean():.2f} %{spread} "
            f"| {ARTICLE.get(name, '')} | {group['minutes'].mean():.0f} |"
        )
    return "\n".join([*lines, "", _measured_on(runs)])


def speed_table(speeds):
    """The README's table of what our own work around Keras costs, in Markdown."""
    lines = ["| network | measured | against | ratio of seconds an epoch |", "|---|---|---|---|"]
    for row in speeds.itertuples():
        lines.append(f"| {row.network} | {row.measured} | {row.peer} | {row.ratio:.2f} |")
    return "\n".join(lines)


def kill_table(kills):
    """The README's table of killed trainings, in Markdown."""
    lines = ["| script | kills | of them amid a write | arrays that differ in the end |", "|---|---|---|---|"]
    for row in kills.groupby("script", as_index=False).sum(numeric_only=True).itertuples():
        writing = row.amid_the_weights + row.amid_the_record + row.amid_the_history
        lines.append(f"| `{row.script}.py` | {row.kills} | {writing} | {row.differences or 'none'} |")
    return "\n".join(lines)


def view_table(speeds):
    """The table of how fast occlusion and activation maximization are, in Markdown."""
    lines = [
        "| measured | seconds | against | seconds | times faster | largest difference |",
        "|---|---|---|---|---|---|",
    ]
    for row in speeds.itertuples():
        difference = "" if pd.isna(row.largest_difference) else f"{row.largest_difference:.0e}"
        lines.append(
            f"| {row.measured} | {row.seconds:.2f} | {row.peer} | {row.peer_seconds:.2f} "
            f"| {row.times_faster:.2f} | {difference} |"
        )
    return "\n".join([*lines, "", _measured_on(speeds)])


def script_table(scripts):
    """The table of how long the scripts that look into a network take, in Markdown."""
    lines = [
        "| script | seconds | of them importing Keras and loading CIFAR-10 | `--help` |",
        "|---|---|---|---|",
    ]
    for row in scripts.itertuples():
        lines.append(
            f"| `{row.script}.py` | {row.seconds:.1f} | {row.importing_keras_and_loading_data_seconds:.1f} "
            f"| {row.help_seconds:.2f} |"
        )
    return "\n".join([*lines, "", _measured_on(scripts)])


def _measured_on(results):
    return f"Measured on: {'; '.join(results['device'].unique())}."


TABLES = {
    "training_runs": trained_table,
    "training_speed": speed_table,
    "kill_and_resume": kill_table,
    "view_speed": view_table,
    "script_seconds": script_table,
}
DOCUMENTS = [PROJECT / "README.md", PROJECT / "docs" / "views.md"]


def with_tables(text):
    """A Markdown text with each of its tables drawn up from the file that the comment before it names."""

    def drawn_up(match):
        name = match[1]
        return f"<!-- {name}.csv -->\n{TABLES[name](pd.read_csv(RESULTS / f'{name}.csv'))}\n<!-- end -->"

    return re.sub(r"<!-- (\w+)\.csv -->.*?<!-- end -->", drawn_up, text, flags=re.DOTALL)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", metavar="RUN", help="the name of a finished run in models/")
    folders = [PROJECT / "models" / name for name in parser.parse_args().runs]
    for folder in folders:
        if _without_seed(folder.name) not in STASHED:
            parser.error(f"{folder.name} is none of {', '.join(STASHED)}, with or without -seedN")

    published = RESULTS / "training_runs.csv"
    if folders:
        runs = pd.DataFrame([training_run(folder) for folder in folders])
        runs = pd.concat([runs, pd.read_csv(published)]).drop_duplicates(["run", "seed"])  # the first one stays
        runs["run"] = pd.Categorical(runs["run"], STASHED, ordered=True)
        runs.sort_values(["run", "seed"]).to_csv(published, index=False)

    stashed = PROJECT / "models" / "stashed"
    for folder in folders:
        if folder.name in STASHED:
            stash(folder, stashed / f".{folder.name}")  # whole before the old one goes
            shutil.rmtree(stashed / folder.name, ignore_errors=True)
            (stashed / f".{folder.name}").rename(stashed / folder.name)

    for document in DOCUMENTS:
        document.write_text(with_tables(document.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
