"""Search for a network: try many, train the best one, and write it out as a script.

    python search_models.py --dataset digits --minutes 3      a first try
    python search_models.py --minutes 60                      CIFAR-10 if available
    python search_models.py --on-ray auto --storage /shared   on several machines, see docs/many-machines.md

This script tries networks of the articles' kind: blocks of convolutions, then dense layers, with other filters,
kernels, activations, dropout, optimizers and augmentation. It trains each for some epochs, on a part of the training
images, and judges it by others that are held out. Networks that fall behind are ended early. The three best are then
trained on all images that are not held out.

The best one becomes found_model.py, a script like basic_model.py, which is then trained on all training images. Stop
with Ctrl-C at any time: the same command goes on. What was tried is in models/search-DATASET/ and in a picture.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from convnets import cli, files
from convnets.errors import Stopped, UserError

EPOCHS = 6  # of a network in the search
FINAL_EPOCHS = 20  # of the best one, afterwards


def main(argv=None):
    parser = cli.new_parser("search_models", __doc__)
    cli.dataset_options(parser, default="auto", help="(default: cifar10 if available, else digits)")
    cli.search_options(parser, epochs=EPOCHS, final_epochs=FINAL_EPOCHS)
    cli.ray_option(parser)
    cli.picture_options(parser)
    options = parser.parse_args(argv)

    with cli.importing_keras():  # after the options, since importing Keras takes seconds
        import keras
        import pandas as pd

        from convnets import drawing
        from convnets.data import datasets
        from convnets.training import autotune, checkpoints, cluster, search, search_figures, training

    # Data
    dataset = datasets.load(options.dataset, options.data_dir, image_size=options.image_size)
    training.describe(dataset)

    # Search, or go on with a search
    drawing.make_folder(options.output_dir)
    folder = cli.run_folder(f"search-{dataset.name}").resolve()
    with training.locked(folder):
        if options.fresh and folder.exists():
            print(f"The old search is kept in {checkpoints.set_aside(folder)}.")
        record = read_record(folder)
        autotune.set_precision(options.precision or record.get("precision"))
        limits = {"parameters": options.max_parameters, "seconds_an_epoch": options.max_seconds_per_epoch}
        asked = {
            "dataset": dataset.name,
            "minutes": options.minutes,
            "epochs": options.epochs,
            "limits": limits,
            "seed": options.seed,
            "precision": "bfloat16" if "bfloat16" in keras.config.dtype_policy().name else "float32",
            "storage": options.storage if "://" in (options.storage or "://") else str(Path(options.storage).resolve()),
        }
        refuse_another(folder, record, asked)
        files.make_folder(folder)
        files.write(folder / "search.json", files.to_json(asked))
        if (folder / "trials.csv").exists():
            trials = pd.read_csv(folder / "trials.csv")
            print(f"This search is finished: {len(trials)} networks. --fresh starts a new one.")
        else:
            settings = {name: asked[name] for name in ("minutes", "epochs", "seed")}
            settings |= {"limits": search.Limits(**limits), "precision": keras.config.dtype_policy().name}
            with cluster.connected(options.on_ray or "local"):
                trials = search.search(dataset, f"{asked['storage'] or folder}/trials-{dataset.name}", **settings)
                del settings["minutes"], settings["limits"]
                trials = search.judge_finalists(trials, dataset, folder, **settings)
            files.write(folder / "trials.csv", trials.to_csv(index=False))
            shutil.rmtree(folder / f"trials-{dataset.name}", ignore_errors=True)  # only to go on with the search

    # What it found
    page = search_figures.search_page(trials, search.importances(trials), search.front(trials))
    drawing.save(page, options.output_dir / f"search-{dataset.name}.png", show=options.show)
    changed = write_script(trials, dataset, options)

    # The best one, trained anew on all training images
    run = cli.run_folder(f"{options.output.stem}-{dataset.name}")
    command = [sys.executable, str(options.output), "--dataset", dataset.key, "--run", str(run)]
    command += ["--precision", asked["precision"]]
    command += ["--data-dir", str(options.data_dir)] if options.data_dir else []
    command += ["--image-size", str(options.image_size)] if options.image_size else []
    print(f"Training it on all training images: python {' '.join(command[1:])}", flush=True)
    ended = subprocess.run([*command, *(["--fresh"] if changed else [])], check=False)
    if ended.returncode:
        raise Stopped("The search is complete, its best network is not trained to the end.", ended.returncode)


def read_record(folder):
    """Return what the search in a folder was asked for, or {} if there is none."""
    try:
        return json.loads((folder / "search.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / 'search.json'} can't be read: --fresh starts a new search") from error


def refuse_another(folder, record, asked):
    """Raise UserError if a search in a folder was asked for something else."""
    changed = [
        f"{name} was {record[name]}, now {asked[name]}" for name in asked if record and record[name] != asked[name]
    ]
    if changed:
        raise UserError(
            f"{folder} is another search ({'; '.join(changed)}): use its options, or start a new one with --fresh"
        )


def write_script(trials, dataset, options):
    """Write the best network as a script. Returns whether that changed the file."""
    from convnets.architectures import search_script
    from convnets.training import checkpoints, search

    best = trials.iloc[0]
    found = (
        f"Found on {dataset.name} among {len(trials)} networks, in a search of {options.minutes} minutes:\n"
        f"{best['finalist_accuracy']:.1%} of held-out training images after {options.epochs} epochs."
    )
    path = options.output
    text = search_script.script(
        search.choice_of(best), dataset.input_shape, dataset.num_classes,
        name=path.stem, epochs=options.final_epochs, found=found,
    )  # fmt: skip
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    if path.exists():
        print(f"The old script is kept in {checkpoints.set_aside(path)}.")
    files.write(path, text)
    print(f"Best network: {best['parameters']:,} parameters, {best['accuracy']:.2%} of held-out images. Script: {path}")
    return True


if __name__ == "__main__":
    cli.run(main)
