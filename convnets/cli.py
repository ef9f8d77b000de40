"""The options that the scripts share, how a script starts, and how it ends."""

import argparse
import contextlib
import errno
import gc
import logging
import os
import random
import shlex
import subprocess
import sys
from pathlib import Path

from convnets import files, paths, records
from convnets.data import DATASETS
from convnets.errors import Stopped, UserError

LONGEST_NAME = 200  # bytes of a run's name; systems allow 255, of which the files beside a run need some


def new_parser(script, description):
    """Make the parser of a script. script: its name without .py. description: its docstring."""
    return argparse.ArgumentParser(
        prog=f"python {script}.py",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def training_options(
    script, *, description, epochs, batch_size, precision=None, run=None, weights=True, devices=False, **defaults
):
    """Make the parser of a script that trains one network.

    script: its name without .py. description: its docstring. epochs, batch_size, precision: its defaults, or None if
    they depend on other options or on the machine. run: how the help names the default run (default: script-DATASET).
    weights: whether the script can start from the weights in a file. devices: whether it can use several.
    defaults: for `dataset_options`.
    """
    parser = new_parser(script, description)
    dataset_options(parser, **defaults)
    parser.add_argument(
        "--run",
        type=run_folder,
        metavar="NAME",
        help=f"folder in models/ for this run, or a path with a slash (default: {run or f'{script}-DATASET'})",
    )
    parser.add_argument(
        "--epochs",
        type=number_of_epochs,
        default=epochs,
        metavar="N",
        help=f"train until N epochs in all (default: {epochs or 'the target decides'})",
    )
    parser.add_argument(
        "--batch-size",
        type=whole_number(1),
        default=batch_size,
        metavar="N",
        help=f"images in a training step (default: {batch_size or 'the target decides'})",
    )
    parser.add_argument(
        "--seed",
        type=whole_number(0, 2**32 - 1),
        default=1337,
        metavar="N",
        help="seed of all random numbers (default: %(default)s)",
    )
    if weights:
        help = "start from these weights: Keras 3's .weights.h5, or Keras 2's .h5"
        parser.add_argument("--weights", type=Path, metavar="FILE", help=help)
    parser.add_argument(
        "--precision",
        choices=["float32", "bfloat16"],
        default=precision,
        help=f"precision of the computations (default: {precision or 'as the run to resume, else the faster one'})",
    )
    parser.add_argument(
        "--class-weights",
        choices=["balanced"],
        help="balanced: give each class the same total weight in the loss",
    )
    if devices:
        help = "give each of N devices a share of each batch (with JAX; default: one device)"
        parser.add_argument("--devices", type=whole_number(1, 1024), metavar="N", help=help)
    common_training_options(parser)
    return parser


def dataset_options(parser, dataset="(default: cifar10 if available, else digits)", image_size="32"):
    """Add the options that say what to train on.

    dataset, image_size: how the help names their defaults; a dataset of None must be given.
    """
    parser.add_argument(
        "--dataset",
        type=dataset_name,
        default="auto",
        required=dataset is None,
        metavar="NAME|FOLDER",
        help=f"{', '.join(DATASETS)}, or a folder of pictures with a subfolder for each class {dataset or ''}",
    )
    parser.add_argument(
        "--image-size",
        type=whole_number(24, 128),
        metavar="N",
        help=f"height and width to which the pictures of a folder are fitted, 24 to 128 (default: {image_size})",
    )


def threads_option(parser):
    """Add the option of fast_model.py that chooses the number of threads."""
    help = "number of TensorFlow's threads (default: TF_NUM_INTRAOP_THREADS, or the fastest here)"
    parser.add_argument("--threads", type=whole_number(1, 1024), metavar="N", help=help)


def run_options(options, **changes):
    """Return the options of a training script as training.RunOptions."""
    from convnets.training.training import RunOptions

    verbose = 1 if sys.stdout.isatty() else 2
    return RunOptions(**{"fresh": options.fresh, "tensorboard": options.tensorboard, "verbose": verbose, **changes})


def common_training_options(parser):
    """Add the options of all scripts that train, one network or many."""
    parser.add_argument("--data-dir", type=Path, metavar="FOLDER", help="where the dataset is, or is downloaded to")
    parser.add_argument("--fresh", action="store_true", help="start anew; the old run is renamed, not deleted")
    parser.add_argument("--tensorboard", action="store_true", help="also write TensorBoard logs, into the run's folder")


def ray_option(parser):
    """Add the option that trains with Ray. Its value is None without it, "local" for this machine, or an address."""
    parser.add_argument(
        "--on-ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="train many at once with Ray: on the cores of this machine, or on the cluster at this address (give it "
        "last; see docs/many-machines.md)",
    )


def view_options(script, *, description, random_choices=True):
    """Make the parser for the options that all visualisations share; arguments as for training_options.

    random_choices: whether the script makes any, so that it has a --seed.
    """
    parser = new_parser(script, description)
    parser.add_argument(
        "--run",
        type=trained_run,
        metavar="NAME",
        help="the trained network: a folder in models/, or the path of a folder, a .keras file or a Keras 2 .h5 file "
        "(default: the newest run, or else a pretrained network)",
    )
    parser.add_argument(
        "--dataset",
        type=dataset_name,
        metavar="NAME|FOLDER",
        help=f"{', '.join(DATASETS)}, or a folder of pictures (default: what the network was trained on)",
    )
    parser.add_argument("--data-dir", type=Path, metavar="FOLDER", help="where the dataset is")
    if random_choices:
        help = "seed of the random choices, to repeat them"
        parser.add_argument("--seed", type=whole_number(0, 2**32 - 1), metavar="N", help=help)
    parser.add_argument(
        "--class-names", type=names, metavar="FILE|a,b,c", help="names of the classes, also a text file, one a line"
    )
    parser.add_argument(
        "--pixels",
        choices=["0..1", "-1..1", "0..255"],
        help="range of the pixels that the network takes (default: what its first layers suggest, else 0..1)",
    )
    parser.add_argument(
        "--image-size", type=whole_number(8, 1024), metavar="N", help="height and width, if the network takes any size"
    )
    parser.add_argument(
        "--no-calibration", action="store_true", help="print the network's probabilities as they are, not calibrated"
    )
    picture_options(parser)
    return parser


def run_settings(options):
    """Return what the options of a visualisation mean to runs.load, as a dict of its arguments."""
    settings = {
        "path": options.run,
        "dataset_name": options.dataset,
        "data_dir": options.data_dir,
        "class_names": options.class_names,
        "pixels": options.pixels,
        "image_size": options.image_size,
        "calibrate": not options.no_calibration,
    }
    if hasattr(options, "image"):  # the reader's own picture needs no dataset
        settings |= {"data_needed": options.image is None, "images": options.image is None}
    return settings


def image_options(parser):
    """Add the options of visualisations of one image."""
    image = parser.add_mutually_exclusive_group()
    image.add_argument("--index", type=whole_number(0), metavar="N", help="which test image (default: a random one)")
    image.add_argument("--image", type=Path, metavar="FILE", help="your own picture instead: JPEG, PNG, WebP ...")


def picture_options(parser):
    """Add the options of scripts that draw."""
    parser.add_argument(
        "--output-dir",
        type=Path,
        default=paths.FIGURES,
        metavar="FOLDER",
        help="folder for the pictures (default: figures)",
    )
    parser.add_argument("--show", action="store_true", help="also open the pictures in windows")


def dataset_name(text):
    """Parse the name of a dataset, or a folder of pictures, whose full path is returned."""
    if text in ("auto", *DATASETS):
        return text
    if not text or not os.path.isdir(text):  # Path("") would be the current folder
        raise argparse.ArgumentTypeError(f"{text!r} is neither {', '.join(DATASETS)} nor a folder")
    return str(Path(text).resolve())


def names(text):
    """Parse names, separated by commas or from a text file with one a line, into a tuple."""
    try:
        is_file = os.path.isfile(text)
        parts = Path(text).read_text(encoding="utf-8-sig").strip().splitlines() if is_file else text.split(",")
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"can't read the names in {text} ({error})") from None
    parts = tuple(part.strip() for part in parts)
    if not parts or not all(parts):
        raise argparse.ArgumentTypeError("a name is empty: write them as a,b,c, or one on each line of a file")
    return parts


def run_folder(name):
    """Parse the name of a run: a bare name is a folder in models/, and one with a slash is a path as it is."""
    path = Path(name)
    if path.name in ("", "..", "stashed"):
        raise argparse.ArgumentTypeError(f"{name!r} can't be the folder of a run")
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        raise argparse.ArgumentTypeError(f"{name[:20]}... is too long for the name of a folder")
    return paths.MODELS / path if path.name == name else path


def pair(text):
    """Parse one whole number for height and width, or two: "4", "4x6"."""
    parts = text.split("x")
    if len(parts) > 2 or not all(part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a whole number of pixels nor two, as in 4x6")
    return int(parts[0]), int(parts[-1])


def trained_run(name):
    """Parse the name of a trained network: a bare one is in models/ or models/stashed/, a path is as it is."""
    path = Path(name)
    if os.path.isfile(path) or path.suffix in (".keras", ".h5", ".hdf5"):
        return path
    folder, pretrained = run_folder(name), paths.PRETRAINED / name
    return pretrained if os.path.isdir(pretrained) and not os.path.isdir(folder) else folder


def some_of(layers, most):
    """Return at most so many of a network's layers, evenly spaced from the first to the last, and say so."""
    if len(layers) <= most:
        return layers
    print(f"The network has {len(layers)} such layers: drawing {most} of them. Name others with --layer.")
    return [layers[round(number * (len(layers) - 1) / (most - 1))] for number in range(most)]


def chosen_seed(seed):
    """Return the --seed, or a new one each time if none was given. Print it, so that the choice can be repeated."""
    if seed is None:
        seed = random.randrange(10_000)
    print(f"Random choice: --seed {seed}")
    return seed


def whole_number(least, most=10**9):
    def whole_number(text):
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return whole_number


def number_of_epochs(text):
    return whole_number(1, files.MOST_EPOCHS)(text)


@contextlib.contextmanager
def importing_keras(options=None):
    """Import Keras, and wrap the imports that follow: show no noise, but what is missing, in one line.

    options: the script's parsed options, or None. `precision`, "float32" or "bfloat16", is what networks compute in
    from then on (weights stay float32); the images of `dataset` are read in a thread meanwhile.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    logging.getLogger("tensorflow").setLevel("ERROR")  # it warns when several networks are compiled one after the other
    with _import_errors_in_one_line(), _hidden_stderr(), _no_garbage_collection():
        _read_ahead(options)
        _import_keras()
        yield
    set_keras_up(getattr(options, "precision", None) or "float32")


@contextlib.contextmanager
def _hidden_stderr():
    """Hide the stderr of the whole process: TensorFlow reports what it did not find before it reads any setting."""
    sys.stderr.flush()
    stderr = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


@contextlib.contextmanager
def _import_errors_in_one_line():
    """Turn what a missing or broken package raises into a UserError that says what to install or to set."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name in ("jax", "torch"):
            settings = Path(os.environ.get("KERAS_HOME") or "~/.keras") / "keras.json"
            where = "KERAS_BACKEND" if "KERAS_BACKEND" in os.environ else settings
            raise UserError(
                f"{where} asks for {error.name}, which is not installed: choose tensorflow there"
            ) from error
        requirements = "requirements-ray.txt" if error.name in ("ray", "optuna") else "requirements.txt"
        raise UserError(f"the package {error.name} is not installed: pip install -r {requirements}") from error
    except ImportError as error:
        reason = " ".join(str(error).split())
        if os.name == "nt" and "DLL load failed" in reason:
            raise UserError(
                f"a package can't be loaded ({reason}): install Microsoft's Visual C++ Redistributable, and restart"
            ) from error
        raise UserError(f"a package can't be loaded ({reason}): install it again, in a new environment") from error
    except ValueError as error:  # Keras's word for a backend that it does not know
        if "backend" not in str(error):
            raise
        raise UserError(f"Keras can't start ({error}): see to KERAS_BACKEND and to ~/.keras/keras.json") from None


@contextlib.contextmanager
def _no_garbage_collection():
    """Collect no garbage while large packages are imported, and exempt from later collections all that exists by then.

    Packages bring many objects, of which hardly any is garbage, and each collection searches all of them. (The first
    page of explore.py may be among what is exempted: its memory is not freed when the page is left.)
    """
    if "keras" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _read_ahead(options):
    """Begin to read the images that a script will need, if its options say so."""
    dataset, data_dir = (getattr(options, name, None) for name in ("dataset", "data_dir"))
    if not hasattr(options, "dataset") or getattr(options, "image", None):
        return
    if dataset is None:  # a visualisation's: what its network was trained on
        run = options.run or records.newest_run(paths.MODELS)
        dataset = records.entry(run, "dataset") if run else "auto"
    if dataset in ("auto", *DATASETS):
        from convnets.data import datasets

        datasets.read_ahead("cifar10" if dataset == "auto" else dataset, data_dir)


def _import_keras():
    """Import Keras without its wrappers for scikit-learn, which nothing here uses and which take a second to import."""
    hidden = "keras" not in sys.modules and "sklearn" not in sys.modules
    if hidden:
        sys.modules["sklearn"] = None  # makes its import fail, for which Keras is prepared
    try:
        import keras  # noqa: F401
    finally:
        if hidden:
            sys.modules.pop("sklearn", None)


def set_keras_up(precision="float32"):
    """Set what all networks here count on; old settings in ~/.keras/keras.json may differ. Keras must be imported."""
    keras = sys.modules["keras"]
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")


def run(main):
    """Call main(), and end the process as a reader expects: with one line instead of a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not in IDLE
            stream.reconfigure(errors="backslashreplace")  # a file name that can't be shown must not stop a script
    try:
        main()
    except (UserError, argparse.ArgumentTypeError) as error:  # `run_folder` may refuse a name made from a dataset's
        _end(f"error: {error}.", 2)
    except Stopped as stopped:
        words = ["python", *(word for word in sys.argv if word != "--fresh")]
        _end(f"\n{stopped} To resume: {command_line(words)}", stopped.exit_code)
    except KeyboardInterrupt:
        _end("\nStopped.", 130)
    except OSError as error:
        gone = isinstance(error, BrokenPipeError) or (
            os.name == "nt" and error.errno == errno.EINVAL and error.filename is None
        )
        if not gone:
            raise
        # The reader of our output, `head` perhaps, has gone.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def command_line(words):
    """Return a command as the reader's terminal takes it."""
    if os.name != "nt":
        return shlex.join(words)

    def quoted(word):
        text = subprocess.list2cmdline([word])  # quotes spaces, but not what cmd.exe obeys
        if text[0] == '"' or not set(word) & set("&|<>^()"):
            return text
        return f'"{word}{word[len(word.rstrip(chr(92))) :]}"'  # backslashes before a quote are doubled

    return " ".join(map(quoted, words))


def _end(text, exit_code):
    print(text, file=sys.stderr)
    sys.exit(exit_code)
