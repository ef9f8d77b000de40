"""The options that the scripts share, how a script starts, and how it ends."""

import argparse
import contextlib
import os
import shlex
import sys
from pathlib import Path

from convnets.errors import Stopped, UserError

PROJECT = Path(__file__).resolve().parent.parent


def training_options(script, *, description, epochs, batch_size):
    """Makes the parser for a training script's options.

    script: its name without .py. description: its docstring. epochs, batch_size: its defaults.
    """
    parser = argparse.ArgumentParser(
        prog=f"python {script}.py", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--dataset",
        choices=["auto", "cifar10", "mnist", "digits"],
        default="auto",
        help="auto, the default, means cifar10 where it can be had, else digits",
    )
    parser.add_argument(
        "--data-dir", type=Path, metavar="FOLDER", help="where the dataset lies, or shall be downloaded to"
    )
    parser.add_argument(
        "--run", type=run_folder, metavar="NAME", help=f"folder in models/ for this run (default: {script}-DATASET)"
    )
    parser.add_argument(
        "--epochs",
        type=_from(1),
        default=epochs,
        metavar="N",
        help="train until N epochs in all (default: %(default)s)",
    )
    parser.add_argument(
        "--batch-size",
        type=_from(1),
        default=batch_size,
        metavar="N",
        help="images in a gradient step (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=_from(0), default=1337, metavar="N", help="of all random numbers (default: %(default)s)"
    )
    parser.add_argument("--fresh", action="store_true", help="start anew; the old run is set aside, not deleted")
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="start from these weights: Keras 3's .weights.h5, or Keras 2's .h5"
    )
    parser.add_argument("--tensorboard", action="store_true", help="write TensorBoard logs into the run's folder too")
    return parser


def picture_options(parser):
    """Adds the options of scripts that draw."""
    parser.add_argument(
        "--output-dir", type=Path, default=PROJECT / "figures", metavar="FOLDER", help="for pictures (default: figures)"
    )
    parser.add_argument("--show", action="store_true", help="open the picture in a window, too")


def run_folder(name):
    """A bare name is a folder in models/; with a slash it is a path as it stands."""
    path = Path(name)
    return PROJECT / "models" / path if path.name == name else path


def _from(least):
    def whole_number(text):
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
        return int(text)

    return whole_number


@contextlib.contextmanager
def quiet_start():
    """Keeps TensorFlow's start-up messages (no CUDA found, oneDNN in use) off the screen: they look like errors.

    The first ones are written by C++ code before it reads any setting, so the process's stderr itself is
    turned away while Keras is imported. Python's own errors are raised as ever.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
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


def run(main):
    """Calls main() and ends the process as a reader expects: with one line instead of a traceback."""
    try:
        main()
    except UserError as error:
        sys.exit(_say(f"error: {error}.", 2))
    except Stopped as stopped:
        command = shlex.join(["python", *(word for word in sys.argv if word != "--fresh")])
        sys.exit(_say(f"\n{stopped} To go on: {command}", stopped.exit_code))
    except KeyboardInterrupt:
        sys.exit(_say("\nStopped.", 130))


def _say(text, exit_code):
    print(text, file=sys.stderr)
    return exit_code
