"""What a search was asked for, and what it found: models/search-DATASET/search.json, trials.csv, and a script."""

import contextlib
import dataclasses
import json
import re
import shutil
import uuid
from pathlib import Path

import pandas as pd

from convnets import cli, files, paths
from convnets.architectures import search_script, search_space
from convnets.data import folders
from convnets.errors import UserError
from convnets.training import autotune, training


@dataclasses.dataclass
class SearchRecord:
    """A search's folder, and what is written there.

    asked: all that decides what the search finds, and the name of its trials. storage: where Ray Tune keeps networks in
    training. fresh: whether to set aside the search that is in the folder.
    """

    folder: Path
    asked: dict
    storage: str
    fresh: bool

    @property
    def precision(self):
        return self.asked["precision"]

    def begin(self):
        """Keep what the search was asked for, from which it goes on if it is stopped."""
        if self.fresh and self.folder.exists():
            print(f"The old search is kept in {files.keep_old(self.folder)}.")
        files.make_folder(self.folder)
        files.write(_note_of(self.folder), self.asked["trials"])
        files.write(self.folder / "search.json", files.to_json(self.asked))

    def trials(self):
        """Return what a finished search found, as search.judge_finalists returns it, or None."""
        path = self.folder / "trials.csv"
        if self.fresh or not path.exists():
            return None
        with contextlib.suppress(OSError, ValueError):
            if _is_sound(trials := pd.read_csv(files.checked(path, 10 * files.MOST_JSON))):
                return trials
        raise UserError(f"{path} is damaged: --fresh starts a new search")

    def finish(self, trials):
        """Keep what the search found, and remove what is only needed to go on with it."""
        files.write(self.folder / "trials.csv", trials.to_csv(index=False))
        if "://" not in self.storage:
            shutil.rmtree(self.storage, ignore_errors=True)


@contextlib.contextmanager
def opened(dataset, options):
    """Return the SearchRecord of a dataset's search, a new one or the one in its folder, for this block.

    options: of search_models.py. Raises UserError if the search in the folder was asked for something else, or if
    another process has it open.
    """
    folder = cli.run_folder(f"search-{dataset.name}").resolve()
    with training.locked(folder):
        recorded = {} if options.fresh else _read(folder)
        if not options.fresh and not recorded and (folder / "trials.csv").exists():
            raise UserError(f"{folder} has lost search.json, so what it was asked for is unknown: --fresh starts anew")
        precision = autotune.set_precision(options.precision or recorded.get("precision"))
        asked = {
            "dataset": dataset.name,
            "image_size": dataset.input_shape[0] if dataset.folder else None,
            "pictures": None if dataset.pictures is None else folders.fingerprint(dataset.pictures),
            "minutes": options.minutes,
            "epochs": options.epochs,
            "max_parameters": options.max_parameters,
            "max_seconds_per_epoch": options.max_seconds_per_epoch,
            "seed": options.seed,
            "networks": search_space.fingerprint(),
            "precision": precision,
            "storage": _absolute(options.storage or folder),
        }
        changed = [
            f"{name} was {recorded.get(name)}, now {value}"
            for name, value in asked.items()
            if recorded and recorded.get(name) != value
        ]
        if changed:
            raise UserError(
                f"{folder} is another search ({'; '.join(changed)}): use its options, or start a new one with --fresh"
            )
        trials = recorded.get("trials", f"trials-{dataset.name}-{uuid.uuid4().hex[:8]}")  # others may use the storage
        came_with_it = Path(asked["storage"]) == folder
        if recorded and came_with_it and not (folder / "trials.csv").exists() and not _was_begun_here(folder, trials):
            raise UserError(
                f"nothing says that {folder} was begun here, and its trials may hold code: "
                f"--fresh starts a new search; or, if it is yours, write {trials} into {_note_of(folder)}"
            )
        yield SearchRecord(folder, {**asked, "trials": trials}, f"{asked['storage']}/{trials}", options.fresh)


def _note_of(folder):
    """Return the file, beside a search's folder, that has the name of the trials that were begun here.

    Ray Tune's trials hold pickles, which can run any code: those that came with a folder are not gone on with.
    """
    return folder.with_name(f".{folder.name}.trials")


def _was_begun_here(folder, trials):
    try:
        return files.checked(_note_of(folder), 1000).read_text(encoding="utf-8") == trials
    except (OSError, ValueError):
        return False


def refuse_other_scripts(path):
    """Raise UserError if a found network can't be written to a path, or if another script would be lost."""
    if path.suffix != ".py" or path.resolve().parent != paths.PROJECT:
        raise UserError(f"--output {path}: the script must be a .py file in {paths.PROJECT}, where it finds convnets/")
    first_line = search_script.FIRST_LINE
    if path.exists() and not (path.is_file() and _text(path).startswith(first_line)):
        raise UserError(f"--output {path}: this is another script, which search_models.py did not write")


def write_script(path, text, run):
    """Write a found network's script, unless it is there. A script of another one is renamed, and so is its run.

    What comes after the network and its recipe, the function main, may be that of another version of this project.
    """
    if path.exists() and _text(path).split("def main(")[0] == text.split("def main(")[0]:
        return
    training.set_aside(run)  # first: where the new script is, there is no run of the old one
    if path.exists():
        print(f"The old script is kept in {files.keep_old(path)}.")
    files.write(path, text)
    print(f"Script: {path}")


def _text(path):
    return path.read_text(encoding="utf-8", errors="replace")  # a reader may have edited it


def _absolute(storage):
    return str(storage) if "://" in str(storage) else str(Path(storage).resolve())


def _read(folder):
    """Return what the search in a folder was asked for, or {} if there is none."""
    try:
        recorded = files.read_json(folder / "search.json")
        if not isinstance(recorded, dict):
            raise ValueError
        name = str(recorded.get("trials", "trials-"))
        if not re.fullmatch(r"trials-[^/\\]*", name):  # a stranger's; in the end, the folder of this name is removed
            raise ValueError
        if recorded.get("precision") not in autotune.PRECISIONS:  # which becomes a part of a script
            raise ValueError
        return recorded
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / 'search.json'} can't be read: --fresh starts a new search") from error


def _is_sound(trials):
    """Return whether a table can be what a search found: its first network becomes code, which is then run."""
    numbers = ["accuracy", "epochs", "parameters", "seconds_an_epoch", "finalist_accuracy"]
    return (
        len(trials) > 0
        and {*numbers, "curve"} <= set(trials)
        and all(pd.api.types.is_numeric_dtype(trials[name]) for name in numbers)
        and isinstance(trials["curve"][0], str)
        and all(_is_curve(curve) for curve in trials["curve"].dropna())
        and all(search_space.is_possible(row) for _, row in trials.iterrows())
    )


def _is_curve(text):
    values = json.loads(text)  # a ValueError is for `trials`
    return isinstance(values, list) and all(isinstance(value, float) and 0 <= value <= 1 for value in values)
