"""Turn what was measured into what is published.

    python -m benchmarks.publish

Reads the runs in models/ into results/training_runs.csv (a row a run; rows of runs that are elsewhere
stay), copies the ones with the default seed to models/stashed/, and draws up the README's tables anew
from the files in results/.
"""

import re
import shutil
from pathlib import Path

import pandas as pd

from convnets import checkpoints

PROJECT = Path(__file__).resolve().parent.parent
RESULTS = PROJECT / "results"
STASHED = ["basic_model-cifar10", "improved_model-cifar10", "basic_model-mnist", "basic_model-digits"]
ARTICLE = {"basic_model-cifar10": "about 80 %", "improved_model-cifar10": "about 85 %"}


def training_run(folder):
    """One row of results/training_runs.csv: what a run was, and what came out of it."""
    checkpoint, _ = checkpoints.newest(folder)
    history, run = pd.DataFrame(checkpoint.history), checkpoint.run
    last, best = history.iloc[-1], history.loc[history["val_accuracy"].idxmax()]
    session = run["sessions"][-1]
    return {
        "run": re.sub(r"-seed\d+$", "", folder.name),
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


def trained_table(runs):
    """The README's table of trained networks, in Markdown."""
    lines = [
        "| run | epochs | seeds | test accuracy, last epoch | the article says | minutes on two cores |",
        "|---|---|---|---|---|---|",
    ]
    for name, group in runs.groupby("run", sort=False):
        accuracy = 100 * group["test_accuracy"]
        spread = f" ({accuracy.min():.2f} to {accuracy.max():.2f})" if len(group) > 1 else ""
        lines.append(
            f"| `{name}` | {group['epochs'].iloc[0]} | {len(group)} | {accuracy.mean():.2f} %{spread} "
            f"| {ARTICLE.get(name, '')} | {group['minutes'].mean():.0f} |"
        )
    return "\n".join(lines)


def speed_table(speeds):
    """The README's table of what our own work around Keras costs, in Markdown."""
    lines = ["| network | measured | against | ratio of seconds an epoch |", "|---|---|---|---|"]
    for row in speeds.itertuples():
        lines.append(f"| {row.network} | {row.measured} | {row.peer} | {row.ratio:.2f} |")
    return "\n".join(lines)


def kill_table(kills):
    """The README's table of killed trainings, in Markdown."""
    lines = ["| script | kills | of them amid a write | differing bits in the end |", "|---|---|---|---|"]
    for row in kills.itertuples():
        lines.append(f"| {row.script}.py | {row.kills} | {row.amid_a_write} | {row.differences or 'none'} |")
    return "\n".join(lines)


def with_tables(text):
    """The README's text with its tables drawn up from the files in results/."""
    tables = {
        "training_runs": trained_table,
        "training_speed": speed_table,
        "kill_and_resume": kill_table,
    }
    for name, table in tables.items():
        new = f"<!-- {name}.csv -->\n{table(pd.read_csv(RESULTS / f'{name}.csv'))}\n<!-- end -->"
        text, found = re.subn(rf"<!-- {name}\.csv -->.*?<!-- end -->", lambda _, new=new: new, text, flags=re.DOTALL)
        assert found == 1, f"the README has {found} places for {name}"
    return text


def main():
    published = RESULTS / "training_runs.csv"
    folders = [path.parent for path in (PROJECT / "models").glob("*/run.json")]
    runs = pd.DataFrame([training_run(folder) for folder in folders])
    if published.exists():
        runs = pd.concat([runs, pd.read_csv(published)]).drop_duplicates(["run", "seed"])  # the first one stays
    runs["run"] = pd.Categorical(runs["run"], STASHED, ordered=True)
    runs.dropna(subset="run").sort_values(["run", "seed"]).to_csv(published, index=False)

    stash = PROJECT / "models" / "stashed"
    for name in STASHED:
        if (PROJECT / "models" / name / "run.json").exists():
            shutil.rmtree(stash / name, ignore_errors=True)
            checkpoints.stash(PROJECT / "models" / name, stash / name)

    readme = PROJECT / "README.md"
    readme.write_text(with_tables(readme.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
