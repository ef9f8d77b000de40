"""How long do the reader's own pictures take, besides importing Keras? Writes results/picture_speed.csv.

    python -m benchmarks.picture_speed FOLDER_OF_PHOTOGRAPHS     about three minutes; needs CIFAR-10

Starts each script as a reader does, five times, in turn with one that only imports Keras and the data (but the first
start only once, since there is only one). The least seconds of both count, since whatever else the machine does only
adds to them. Ten thousand pictures are CIFAR-10's test
images as PNG files, and a hundred are photographs.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from benchmarks import results
from convnets import cli, paths

RESULTS = paths.RESULTS / "picture_speed.csv"
IMPORTS = "from convnets import cli\nwith cli.importing_keras(): import keras; from convnets.data import datasets"
TIMES, FEW = 5, 100


def seconds(*command):
    """Return the seconds that a Python process takes from start to end."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *map(str, command)], cwd=paths.PROJECT, capture_output=True, check=True)
    return time.perf_counter() - started


def seconds_beyond_importing(*command):
    """Return the least seconds of a Python process, without those of one that only imports Keras and the data."""
    pairs = [(seconds(*command), seconds("-c", IMPORTS)) for _ in range(TIMES)]
    return min(whole for whole, _ in pairs) - min(importing for _, importing in pairs)


def write_pictures(folder):
    """Write CIFAR-10's test images into a folder for each class."""
    from convnets.data import datasets

    dataset = datasets.load("cifar10")
    for number, (image, label) in enumerate(zip(dataset.x_test, dataset.y_test, strict=True)):
        path = folder / dataset.class_names[label] / f"{number:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with at least 100 photographs in it, or in its subfolders")
    options = parser.parse_args(argv)
    rows = []
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        write_pictures(work / "many")
        load = f"{IMPORTS}\ndatasets.load({str(work / 'many')!r})"
        first = seconds("-c", load) - seconds("-c", IMPORTS)
        rows.append({"measured": "10,000 pictures, first start", "seconds": first})
        again = seconds_beyond_importing("-c", load)
        rows.append({"measured": "10,000 pictures, second start", "seconds": again})

        photographs = sorted(options.folder.rglob("*.jpg"))[:FEW]
        (work / "few").mkdir()
        for number, path in enumerate(photographs):
            (work / "few" / f"{number}.jpg").symlink_to(path.resolve())
        script = ["classify_pictures.py", work / "few", "--run", "improved_model-cifar10", "--output-dir", work]
        what = f"classify_pictures.py, {len(photographs)} photographs"
        rows.append({"measured": what, "seconds": seconds_beyond_importing(*script)})
    results.record(RESULTS, rows, ["measured"])


if __name__ == "__main__":
    cli.run(main)
