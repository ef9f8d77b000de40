"""What is transfer learning worth? Train on folders of pictures, from what a network knows and from scratch.

    python -m benchmarks.transfer FOLDER_OF_FRUIT_AND_FLOWERS FOLDER_OF_ANTS_AND_BEES

Calls the scripts as a reader does, with three seeds, on all pictures and on 20 of each class (others for each seed),
and adds the results to results/transfer.csv. What this machine has measured already is not measured again. It takes
about an hour.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import results
from convnets import cli, paths

RESULTS, KEY = paths.RESULTS / "transfer.csv", ["pictures", "network", "seed"]
NETWORKS = {
    "transfer": ["transfer_model.py"],
    "basic_model.py": ["basic_model.py"],
    "improved_model.py": ["improved_model.py"],
    "fast_model.py --target 85": ["fast_model.py", "--target", "85"],
    "fast_model.py --target 94": ["fast_model.py", "--target", "94"],
}
FEW = 20


def few_pictures(folder, target, seed):
    """Link 20 random training pictures of each class, and all test pictures, into a new folder."""
    rng = np.random.default_rng(seed)
    for part in sorted(path for path in folder.iterdir() if path.is_dir()):
        for of_class in sorted(part.iterdir()):
            pictures = sorted(of_class.iterdir())
            if part.name == "train":
                pictures = [pictures[place] for place in rng.permutation(len(pictures))[:FEW]]
            (target / part.name / of_class.name).mkdir(parents=True)
            for picture in pictures:
                (target / part.name / of_class.name / picture.name).symlink_to(picture.resolve())


def measure(command, folder, seed, work):
    """Train once, and return what came out as a dict."""
    started = time.perf_counter()
    run = work / "run"
    command = [sys.executable, *command, "--dataset", str(folder), "--seed", str(seed), "--run", str(run), "--fresh"]
    if command[1] == "transfer_model.py":
        command += ["--output-dir", str(work)]
    printed = subprocess.run(command, cwd=paths.PROJECT, capture_output=True, text=True, check=True)
    history = pd.read_csv(run / "history.csv")
    augmented = re.search(r"test-time augmentation: ([\d.]+)%", printed.stdout)
    return {
        "test_accuracy": history["val_accuracy"].iloc[-1],
        "with_tta": float(augmented[1]) / 100 if augmented else None,
        "epochs": len(history),
        "training_seconds": history["training_seconds"].sum(),
        "seconds": time.perf_counter() - started,
    }


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("many", type=Path, help="a folder with train/ and test/, of which also 20 a class are used")
    parser.add_argument("photographs", type=Path, help="another folder of pictures")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    options = parser.parse_args(argv)
    sets = [(f"{options.many.name}, {FEW} a class", options.many, True), (options.photographs.name, options.photographs,
            False), (options.many.name, options.many, False)]  # fmt: skip
    done = results.recorded(RESULTS, KEY)
    jobs = [(network, *which) for which in sets for network in options.networks]
    for network, name, folder, few in jobs:
        for seed in range(1, options.seeds + 1):
            if (name, network, seed) in done:
                continue
            with tempfile.TemporaryDirectory() as work:
                work = Path(work)
                if few:
                    few_pictures(folder, work / "few", seed)
                row = measure(NETWORKS[network], work / "few" if few else folder, seed, work)
            row = {"pictures": name, "network": network, "seed": seed, **row}
            results.record(RESULTS, [row], KEY)


if __name__ == "__main__":
    cli.run(main)
