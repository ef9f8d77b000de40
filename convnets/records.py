"""Which runs are in models/, and what made them. Nothing in their files is trusted. Imports no Keras."""

from pathlib import Path

from convnets import files

ENTRIES = {  # of a run.json, and whether a value can be right
    "dataset": lambda value: isinstance(value, str),
    "options": lambda value: isinstance(value, dict) and isinstance(value.get("optimizer"), dict),
    "class_names": lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
    "sessions": lambda value: (
        isinstance(value, list)
        and all(isinstance(each, dict) and isinstance(each.get("versions", {}), dict) for each in value)
        and all(type(each.get("epochs", 1)) is int for each in value)
    ),
}

COLUMNS = {"epoch", "accuracy", "loss", "seconds"}  # of every history


def read_history(folder):
    """Return the history of the run in a folder, a pandas.DataFrame, or None before its first epoch. See COLUMNS."""
    import pandas as pd

    try:
        history = pd.read_csv(files.checked(Path(folder) / "history.csv", files.MOST_JSON))
    except (OSError, ValueError):
        return None
    numbers = set(history.select_dtypes("number"))
    tested = {"val_accuracy", "val_loss"} & set(history)
    if not len(history) or not COLUMNS | tested <= numbers or len(tested) == 1:
        return None
    return history if (history[list(COLUMNS)].abs() < 1e300).all(axis=None) else None


def read_run(folder):
    """Return what made the run in a folder: those ENTRIES of its run.json that make sense."""
    try:
        run = files.read_json(Path(folder) / "run.json")
        return {name: run[name] for name, can_be in ENTRIES.items() if name in run and can_be(run[name])}
    except (OSError, ValueError, TypeError):
        return {}


def newest_run(models, dataset_name=None):
    """Return the run in the folder `models` that was trained last (on this dataset), or None."""
    return next((run for run in all_runs(models) if dataset_name in (None, entry(run, "dataset"))), None)


def all_runs(models):
    """Return the runs in the folder `models`, the one that was trained last first."""
    found = [path for path in models.glob("*/epoch-*.json") if path.parent.name != "stashed"]
    found = [path for path in found if path.is_file()]  # no link to nowhere
    found.sort(key=files.modified, reverse=True)
    return list(dict.fromkeys(path.parent for path in found))


def entry(folder, name):
    """Return one of the ENTRIES of the run in a folder, or None."""
    return read_run(folder).get(name)
