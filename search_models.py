"""Search for a network: try many, train the best one, and write it out as a script.

    python search_models.py --dataset digits --minutes 3      a first try
    python search_models.py --minutes 60                      CIFAR-10 if available
    python search_models.py --on-ray auto --storage /shared   on several machines, see docs/search.md

This script begins near improved_model.py's network and tries others of the articles' kind: blocks of convolutions, then
dense layers, with other filters, kernels, activations, dropout, optimizers and augmentation. It trains each for some
epochs, and judges it by a tenth of the training images, which are held out. Networks that fall behind are ended early.
The four best are then trained for longer.

The best one becomes found_model.py, a script like basic_model.py, which is then trained on all training images. Stop
with Ctrl-C at any time: the same command goes on. What was tried is in models/search-DATASET/ and in a picture.

It needs Ray and Optuna: pip install -r requirements-ray.txt
"""

import signal
import subprocess
import sys
from pathlib import Path

from convnets import cli, paths
from convnets.errors import Stopped, UserError

EPOCHS = 3  # of a network in the search
FINAL_EPOCHS = 24  # of the best one, afterwards


def new_parser():
    """Make the parser of this script."""
    parser = cli.new_parser("search_models", __doc__)
    cli.dataset_options(parser)
    counts = {
        "--minutes": (60, cli.whole_number(1, 100_000), "minutes of the trials"),
        "--max-parameters": (1_500_000, cli.whole_number(1000), "most parameters of a network"),
        "--max-seconds-per-epoch": (120, cli.whole_number(1), "most seconds of an epoch of a network, on one core"),
        "--epochs": (EPOCHS, cli.whole_number(1, 1000), "epochs of each network in the search"),
        "--final-epochs": (FINAL_EPOCHS, cli.whole_number(2, 10_000), "epochs of the best network, afterwards"),
        "--seed": (1337, cli.whole_number(0, 2**32 - 1), "seed of all random numbers"),
    }
    for name, (default, type, help) in counts.items():
        parser.add_argument(name, type=type, default=default, metavar="N", help=f"{help} (default: {default})")
    help = "precision of the computations (default: the faster one)"
    parser.add_argument("--precision", choices=["float32", "bfloat16"], help=help)
    parser.add_argument("--data-dir", type=Path, metavar="FOLDER", help="where the dataset is, or is downloaded to")
    help = "the script to write (default: found_model.py)"
    parser.add_argument("--output", type=Path, default=paths.PROJECT / "found_model.py", metavar="FILE", help=help)
    help = "a folder or bucket that all machines share, for networks in training (default: in models/)"
    parser.add_argument("--storage", metavar="FOLDER", help=help)
    parser.add_argument("--fresh", action="store_true", help="start a new search; the old one is renamed, not deleted")
    cli.ray_option(parser)
    cli.picture_options(parser)
    return parser


def main(argv=None):
    options = new_parser().parse_args(argv)

    with cli.importing_keras(options):  # after the options, since importing Keras takes seconds
        from convnets import drawing
        from convnets.architectures import search_script
        from convnets.data import datasets
        from convnets.training import cluster, search, search_figures, search_record, training

    # Data
    search_record.refuse_other_scripts(options.output)
    dataset = datasets.load(options.dataset, options.data_dir, image_size=options.image_size)
    training.describe(dataset)

    # Search, or go on with a search
    drawing.check_folder(options.output_dir)
    with search_record.opened(dataset, options) as record:
        if (trials := record.trials()) is not None:
            print(f"This search is finished: {len(trials)} networks. --fresh starts a new one.")
        else:
            limits = search.Limits(options.max_parameters, options.max_seconds_per_epoch)
            settings = {"epochs": options.epochs, "precision": record.precision, "seed": options.seed}
            with cluster.connected(options.on_ray or "local"):
                if cluster.machines() > 1 and not options.storage:
                    raise UserError("several machines need a folder or bucket that all of them reach: --storage FOLDER")
                record.begin()
                found = search.search(dataset, record.storage, minutes=options.minutes, limits=limits, **settings)
                trials = search.judge_finalists(found, dataset, record.folder, **settings)
            record.finish(trials)

    # What it found
    page = search_figures.search_page(trials, search.importances(trials), search.front(trials))
    picture = options.output_dir / f"search-{dataset.name}.png"
    drawing.save(page, picture)
    best = trials.iloc[0]
    print(f"Best network: {best['parameters']:,.0f} parameters, {best['finalist_accuracy']:.2%} of held-out images.")
    run = cli.run_folder(f"{options.output.stem}-{dataset.name}")
    found = (
        f"Found among {len(trials)} networks, in a search of {options.minutes} minutes:\n"
        f"{best['finalist_accuracy']:.1%} of held-out training images after {search.LONGER * options.epochs} epochs."
    )
    settings = {"epochs": options.final_epochs, "precision": record.precision, "found": found}
    text = search_script.script(search.choice_of(best), dataset, name=options.output.stem, **settings)
    search_record.write_script(options.output, text, run)

    # The best one, trained anew on all training images
    command = [sys.executable, str(options.output), "--dataset", dataset.key, "--run", str(run)]
    command += ["--data-dir", str(options.data_dir)] if options.data_dir else []
    command += ["--image-size", str(options.image_size)] if options.image_size else []
    print(f"Training it on all training images: {cli.command_line(['python', *command[1:]])}", flush=True)
    before = signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is for the training, which saves
    try:
        exit_code = subprocess.run(command, check=False).returncode
    finally:
        signal.signal(signal.SIGINT, before)
    if exit_code == 2:
        raise UserError("the best network could not be trained, for the reason above")
    if exit_code:
        raise Stopped("The search is finished; its best network is not trained to the end.", exit_code)
    if options.show:  # last, since it waits until the window is closed
        drawing.show_window(page.get_size_inches(), picture)


if __name__ == "__main__":
    cli.run(main)
