"""A folder of the reader's own pictures as a dataset.

    FOLDER/cats/*.jpg  FOLDER/dogs/*.jpg             a fifth of each class is held out as the test set
    FOLDER/train/cats/*.jpg  FOLDER/test/cats/*.jpg  the folder's own split

Other usual names of the parts will do as well: see TRAINING_PARTS and TEST_PARTS. The classes have the names of their
folders. Pictures are decoded once, and kept in models/.pictures. Later starts
compare the names, sizes and times of the files, and decode only what has changed.
"""

import concurrent.futures
import contextlib
import errno
import hashlib
import json
import math
import os
import shutil
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from filelock import FileLock
from PIL import Image
from tqdm import tqdm

from convnets import files, paths
from convnets.data import image_files
from convnets.errors import UserError, count, printable, some

pd.set_option("mode.string_storage", "python")  # names of files need not be UTF-8, as pyarrow, if installed, asks

RECORD = "pictures.csv"  # in a run's folder: the pictures that the run was trained and tested on
MOST_BYTES = 200_000_000  # of this record, with some 100 for each picture
TRAINING_PARTS = ("train", "training", "training_set")
TEST_PARTS = ("test", "testing", "test_set", "val", "valid", "validation", "eval")
TEST_SHARE = 0.2  # held out where the folder has no test part
MOST_BROKEN = 0.1  # share of the pictures; beyond it, something is wrong with the folder as a whole
IMBALANCED = 5  # times as many pictures in the largest class as in the smallest


@dataclass(frozen=True)
class Folder:
    """The pictures of a folder, fitted to one size.

    images: (n, size, size, 1 or 3) uint8, mapped from a file unless colours were turned to grey; first the training
    images, then the test images, each part in the order of the files' names. table: pandas.DataFrame, a row for each
    image in the same order, with the columns file (relative to the folder), part ("train" or "test"), class (a name),
    sha256 (of the image's pixels). class_names: tuple of strings. notes: tuple of strings, what the reader should know
    about the pictures. is_grey: whether all pictures are grey, also if their images have three channels.
    """

    images: np.ndarray
    table: pd.DataFrame
    class_names: tuple[str, ...]
    notes: tuple[str, ...]
    is_grey: bool

    @property
    def arrays(self):
        """x_train, y_train, x_test, y_test, as the fields of datasets.Dataset. The images are not copied."""
        labels = pd.Categorical(self.table["class"], self.class_names).codes.astype("int64")
        training = int((self.table["part"] == "train").sum())
        return self.images[:training], labels[:training], self.images[training:], labels[training:]


def load(folder, *, image_size=32, channels=None):
    """Load a folder of pictures: upright, the central square, antialiased.

    image_size: height and width in pixels. channels: 1 or 3. Default: 1 if all pictures are grey, else 3.
    Returns a Folder. Raises UserError if it has fewer than two classes, a test class without training pictures, or if
    more than a tenth of the pictures can't be read.
    """
    folder = Path(folder).resolve()
    listed, notes = _list_pictures(folder)
    pixels, index = _decoded(folder, listed, image_size)
    table = pd.DataFrame(index["images"], columns=["file", "part", "class", "sha256", "grey"])
    class_names = tuple(sorted(table.loc[table["part"] == "train", "class"].unique()))
    if len(class_names) < 2:
        raise UserError(
            f"{folder} has fewer than two classes with pictures in them: make a subfolder for each class, and put its "
            "pictures there"
        )
    strangers = sorted(set(table["class"]) - set(class_names))
    if strangers:
        raise UserError(f"{folder} has no training pictures of {some(strangers)}: add some, or remove the test ones")
    if not (table["part"] == "test").any():
        raise UserError(f"{folder} has one picture of each class, so none is left to test with: add some")
    is_grey = bool(table["grey"].all())
    table = table.drop(columns="grey")
    notes = (*notes, *_broken(index["broken"]), *_notes(table))
    if (channels or (1 if is_grey else 3)) == 3:
        images = pixels
    elif is_grey:
        images = pixels[..., :1]  # the three channels are equal
    else:
        images = np.stack([image_files.grey(Image.fromarray(each)) for each in pixels])
    return Folder(images, table, class_names, notes, is_grey)


def changes(before, now):
    """Describe in words how the pictures of a folder differ: "2 files added, 1 removed". Arguments: Folder.table."""
    columns = ["part", "class", "sha256"]
    before, now = (
        dict(zip(map(composed, table["file"]), table[columns].to_numpy().tolist(), strict=True))
        for table in (before, now)
    )
    counts = {
        "added": len(now.keys() - before.keys()),
        "removed": len(before.keys() - now.keys()),
        "altered": sum(before[file] != now[file] for file in before.keys() & now.keys()),
    }
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "the same files"


def recorded(run_dir):
    """Return Folder.table as it was when a run was trained, or None if there is no sound record."""
    try:
        path = files.checked(run_dir / RECORD, MOST_BYTES)
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding_errors="surrogateescape")
        return table if {"file", "part", "class", "sha256"} <= set(table) else None
    except (OSError, ValueError):
        return None


def trained_on(run_dir, table):
    """Return a warning if pictures of today's test part were training pictures of a run, or "". table: Folder.table."""
    before = recorded(run_dir)
    if before is None:
        return ""
    now = set(table.loc[table["part"] == "test", "sha256"])
    trained = len(now & set(before.loc[before["part"] == "train", "sha256"]))
    if not trained or fingerprint(before) == fingerprint(table):
        return ""
    return (
        f"Warning: the folder has changed since the training ({changes(before, table)}). The network was trained on "
        f"{trained} of the {len(now)} pictures that are now for testing, so its test accuracy will be too high."
    )


def unchanged(run_dir, table):
    """Return whether a run was trained and tested on just these pictures. table: Folder.table."""
    before = recorded(run_dir)
    return before is not None and fingerprint(before) == fingerprint(table)


def fingerprint(table):
    """Return the SHA-256 of all that training depends on: names, parts, classes and pixels. table: Folder.table."""
    text = composed(table.to_csv(index=False, lineterminator="\n"))
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def composed(name):
    """Return a printable name with its accents composed: macOS may take them apart, so one name could be two."""
    return unicodedata.normalize("NFC", printable(name))


# ---------------------------------------------------------------- what is in the folder


def _list_pictures(folder):
    """Return ([(file, part, class, size, time), ...], notes). part: "train" or "test", or "" without a test part.

    The list is in the order of the files' names, whatever their classes: so it is the order of the numbers of a dataset
    whose images were numbered when they were written out.
    """
    try:
        classes = _subfolders(folder)
        parts, notes = {"": folder}, []
        train = next((path for name in TRAINING_PARTS for path in classes if path.name.lower() == name), None)
        if train and any(map(_has_pictures, _subfolders(train))):
            tests = [path for name in TEST_PARTS for path in classes if path.name.lower() == name]
            tests = [path for path in tests if any(map(_has_pictures, _subfolders(path)))]
            parts = {"train": train, "test": tests[0]} if tests else {"": train}
            unused = sorted({path.name for path in classes} - {path.name for path in parts.values()})
            if unused:
                notes.append(f"Not used: {some(unused)}; the parts are {' and '.join(p.name for p in parts.values())}.")
        listed, empty, others = [], [], []
        for part, root in parts.items():
            above = os.path.realpath(folder), os.path.realpath(root)  # a link to them would lead to the other classes
            for path in _subfolders(root):
                found = image_files.files_below(path, above)
                pictures = [file for file in found if image_files.is_picture(file)]
                others += [file.relative_to(folder).as_posix() for file in found if not image_files.is_picture(file)]
                for file in pictures:
                    size, time = _size_and_time(file)
                    listed.append((file.relative_to(folder).as_posix(), part, composed(path.name), size, time))
                if not pictures:
                    empty.append(path.relative_to(folder).as_posix())
    except OSError as error:
        raise UserError(f"can't read {error.filename or folder} ({error.strerror}): check its permissions") from error
    if not listed:
        raise UserError(f"{folder} has no subfolders with pictures in them: make one for each class")
    if empty:
        notes.append(f"Left out: {some(empty)}, without pictures.")
    if others:
        notes.append(f"Left out, neither JPEG, PNG, WebP, BMP, TIFF nor GIF: {some(others)}.")
    return sorted(listed, key=lambda entry: (composed(Path(entry[0]).name), composed(entry[0]))), notes


def _subfolders(folder):
    found = (path for path in folder.iterdir() if not image_files.is_hidden(path))
    return sorted(path for path in found if path.is_dir())


def _has_pictures(folder):
    return any(map(image_files.is_picture, image_files.files_below(folder)))


def _size_and_time(path):
    try:
        status = path.stat()
    except OSError:  # a link to nowhere, or to itself
        return 0, 0  # which can't be read, either, and is named then
    return status.st_size, status.st_mtime_ns


# ---------------------------------------------------------------- their pixels, decoded once


def _decoded(folder, listed, image_size):
    """Return (pixels (n, size, size, 3) uint8 mapped from a file, index), decoding what is new or changed.

    index: "images", a list of [file, part, class, sha256, grey] in the order of the pixels; "broken", {file: reason};
    "may_pass", those that can't be read for a reason outside the file; "listed", what `_list_pictures` returned;
    "pixels", the SHA-256 of the file of pixels, which is also its name.
    """
    cache = paths.MODELS / ".pictures" / hashlib.sha256(os.fsencode(f"{folder} {image_size}")).hexdigest()[:16]
    listed = [list(entry) for entry in listed]
    old_pixels, old = _cached(cache)
    if _is_current(old, listed, folder):
        return old_pixels, old
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / ".lock"):  # another process may be decoding the same folder
            old_pixels, old = _cached(cache)
            if _is_current(old, listed, folder):
                return old_pixels, old
            return _decode(cache, folder, listed, image_size, old_pixels, old)
    except OSError as error:
        raise UserError(
            f"can't write {cache} ({error.strerror}): free some space, or see to the permissions"
        ) from error


def _is_current(index, listed, folder):
    """Whether an index, or None, is that of these pictures, none of which can be read by now but could not be then."""
    if not index or index["listed"] != listed:
        return False
    for file in index.get("may_pass", ()):
        with contextlib.suppress(image_files.Unreadable):
            image_files.open_upright(folder / file)
            return False
    return True


def _decode(cache, folder, listed, image_size, old_pixels, old):
    """Decode what is new or changed, and keep it. old_pixels, old: what `_cached` returned. Returns as `_decoded`."""
    files.remove_partial(cache)
    rows = {image[0]: row for row, image in enumerate(old["images"])} if old else {}
    unchanged = {tuple(entry) for entry in old["listed"]} if old else set()
    known = {entry[0] for entry in listed if tuple(entry) in unchanged and entry[0] in rows}

    def decode(entry):
        if entry[0] in known:
            return old_pixels[rows[entry[0]]]
        try:
            picture = image_files.open_upright(folder / entry[0], at_least=4 * image_size)
            return np.asarray(image_files.middle(picture, image_size, image_size))
        except image_files.Unreadable as error:
            return error

    images, broken, may_pass = [], {}, []
    partial = cache / f".partial-{os.getpid()}.npy"
    try:
        shape = (len(listed), image_size, image_size, 3)
        if shutil.disk_usage(cache).free < 2.1 * math.prod(shape):  # a full disk would crash a mapped file's process
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        unsorted = np.lib.format.open_memmap(partial, "w+", "uint8", shape)
        with concurrent.futures.ThreadPoolExecutor(joblib.cpu_count()) as pool:  # Pillow decodes without Python's lock
            progress = tqdm(total=len(listed), desc="Reading pictures", unit="", disable=None, leave=False)
            for entries in (listed[start : start + 256] for start in range(0, len(listed), 256)):
                for entry, pixels in zip(entries, pool.map(decode, entries), strict=True):
                    if isinstance(pixels, image_files.Unreadable):
                        broken[entry[0]] = pixels.reason
                        may_pass += [entry[0]] if pixels.may_pass else []
                    else:
                        unsorted[len(images)] = pixels
                        grey = bool((pixels == pixels[..., :1]).all())
                        images.append([*entry[:3], hashlib.sha256(pixels).hexdigest(), grey])
                progress.update(len(entries))
            progress.close()
        if len(broken) > MOST_BROKEN * len(listed):
            del unsorted  # or Windows would not let the file go
            raise UserError(
                f"{len(broken)} of {len(listed)} pictures in {folder} can't be read: {_reasons(broken)}. "
                "Replace or remove them"
            )
        images = _split(images)
        order = sorted(range(len(images)), key=lambda row: images[row][1] == "test")  # training first; else as it was
        index = {"listed": listed, "images": [images[row] for row in order], "broken": broken, "may_pass": may_pass}
        kept = _keep(cache, unsorted, order, index)
        del unsorted  # or Windows would not let the file go
        return kept
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _split(images):
    """Hold out a fifth of each class where the folder has no test part.

    They are the pictures whose pixels have the smallest SHA-256: a choice like a random one, which does not depend on
    the files' names or number, and keeps copies of a picture together. A class of two or more pictures has at least one
    in each part.
    """
    table = pd.DataFrame(images, columns=["file", "part", "class", "sha256", "grey"])
    if (table["part"] != "").all():
        return images
    for _, pictures in table.groupby("class"):
        different = sorted(pictures["sha256"].unique())
        held_out = max(round(TEST_SHARE * len(different)), int(len(different) > 1))
        table.loc[pictures.index, "part"] = np.where(pictures["sha256"].isin(different[:held_out]), "test", "train")
    return table.to_numpy().tolist()


def _keep(cache, unsorted, order, index):
    """Write pixels in their final order, and then the index that makes them valid. Returns as `_decoded`."""
    partial = cache / f".partial-{os.getpid()}-sorted.npy"
    try:
        pixels = np.lib.format.open_memmap(partial, "w+", "uint8", (len(order), *unsorted.shape[1:]))
        for new, old in enumerate(order):
            pixels[new] = unsorted[old]
        pixels.flush()
        index["pixels"] = files.fingerprint(partial)
        del pixels
        kept = cache / f"{index['pixels']}.npy"
        if not kept.is_file() or files.fingerprint(kept) != index["pixels"]:  # else it may be in use, as on Windows
            files.replace(partial, kept)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    files.write(cache / "index.json", json.dumps(index))
    for old in cache.glob("*.npy"):
        if old.stem != index["pixels"] and not old.name.startswith("."):
            with contextlib.suppress(OSError):  # another process may be training on it
                old.unlink()
    return np.load(cache / f"{index['pixels']}.npy", mmap_mode="r"), index


def _cached(cache):
    """Return (pixels, index) as kept by an earlier start, or (None, None) if there is none or it is damaged."""
    try:
        index = files.read_json(cache / "index.json", most=2**30)  # our own, with some 200 bytes for each picture
        path = cache / f"{index['pixels']}.npy"
        if index.keys() >= {"listed", "images"} and files.fingerprint(path) == index["pixels"]:
            return files.read_array(path, 2**40, mmap_mode="r"), index
    except (OSError, ValueError, TypeError, KeyError, UserError):
        pass
    return None, None


# ---------------------------------------------------------------- what the reader should know


def _broken(broken):
    if broken:
        yield f"Left out: {count(len(broken), 'picture')} that can't be read: {_reasons(broken)}."


def _reasons(broken):
    return some((f"{file} ({reason})" for file, reason in broken.items()), 1)


def _notes(table):
    """Yield what the reader should know: imbalanced classes, and pictures that are in both parts."""
    counts = table.loc[table["part"] == "train", "class"].value_counts()
    if counts.iloc[0] >= IMBALANCED * counts.iloc[-1]:
        yield (
            f"Imbalanced classes: {counts.iloc[0]} training pictures of {counts.index[0]}, {counts.iloc[-1]} of "
            f"{counts.index[-1]}. --class-weights balanced gives all classes the same weight."
        )
    untested = sorted(set(table["class"]) - set(table.loc[table["part"] == "test", "class"]))
    if untested:
        yield f"No test pictures of {some(untested)}: the accuracy says nothing of them."
    both = table[table["part"] == "train"].merge(table[table["part"] == "test"], on="sha256")
    if len(both):
        pairs = [f"{pair.file_x} = {pair.file_y}" for pair in both.itertuples()]
        yield (
            f"Warning: {count(both['file_y'].nunique(), 'test picture')} also in the training part ({some(pairs)}): "
            "the test accuracy will be too high. Remove them from one of the parts."
        )


def typical_side(folder, most=100):
    """Return the median length, in pixels, of the shorter side of some of a folder's pictures; reads only headers."""
    listed, _ = _list_pictures(Path(folder).resolve())
    sides = []
    for file, *_ in listed[:: max(1, len(listed) // most)]:
        path = Path(folder) / file
        with contextlib.suppress(Exception), image_files.open_any(path) as picture:  # damaged ones are named later
            sides.append(min(picture.size))
    return int(np.median(sides)) if sides else 0
