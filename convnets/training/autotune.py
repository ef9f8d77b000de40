"""The fastest settings for the machine at hand, found by trying."""

import contextlib
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import warnings

from convnets import paths
from convnets.errors import UserError

PRECISIONS = ("float32", "bfloat16")
KEPT_IN = paths.MODELS / ".fastest_threads.json"


def set_threads(threads=None):
    """Sets how many threads TensorFlow computes with, and prints the choice. To be called before Keras is imported.

    threads: None for what is faster here where a core can run two: one for each core, or one for each of these two.
    Both are tried once, in processes of their own, since a process can't change its mind; the answer is kept.
    """
    if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
        if threads is not None:
            raise UserError("--threads is for TensorFlow only: leave it out, or unset KERAS_BACKEND")
        return
    reason = "as asked for"
    if threads is None:
        physical, logical = _cores()
        if physical == logical:
            threads, reason = logical, "one for each core"
        else:
            threads, reason = _faster(physical, logical), f"faster here, of {physical} and {logical}"
    print(f"Threads: {threads}, {reason}")
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(threads)


def _cores():
    """How many cores this process may use, and how many threads these can run at once."""
    import joblib

    # Where the system doesn't say, both numbers are the same; joblib then warns, and prints where it looked.
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        return joblib.cpu_count(only_physical_cores=True), joblib.cpu_count()


def _faster(*candidates):
    """Which of these numbers of threads convolves faster; the last one where that can't be found out."""
    key = f"{platform.node()}: {candidates}"
    kept = {}
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        kept = dict(json.loads(KEPT_IN.read_text(encoding="utf-8")))
        return int(kept[key])
    print(f"Trying {' and '.join(map(str, candidates))} threads, only this once; it takes some seconds ...")
    seconds = {}
    for threads in candidates:
        environment = {**os.environ, "TF_NUM_INTRAOP_THREADS": str(threads), "TF_CPP_MIN_LOG_LEVEL": "3"}
        program = "from convnets import speed; print(min(speed.time_convolution().values()))"
        with contextlib.suppress(OSError, ValueError, IndexError):
            command = [sys.executable, "-c", program]
            result = subprocess.run(
                command, cwd=paths.PROJECT, env=environment, capture_output=True, text=True, check=False
            )
            seconds[threads] = float(result.stdout.split()[-1])
    if len(seconds) < len(candidates):
        return candidates[-1]
    with contextlib.suppress(OSError):
        KEPT_IN.write_text(json.dumps({**kept, key: min(seconds, key=seconds.get)}), encoding="utf-8")
    return min(seconds, key=seconds.get)


def set_precision(precision=None, run_dir=None):
    """Sets the precision in which networks built from now on compute, and prints it; their weights are float32 always.

    precision: "float32", "bfloat16", or None: that of the run in run_dir if there is one, else what is faster here. A
    processor or GPU that multiplies bfloat16 numbers (16 bits, of the range of float32 but with 8 bits of precision)
    needs half of the time or less; one that does not needs more than for float32.
    """
    import keras

    reason = "as asked for"
    if precision is None and run_dir is not None and (recorded := _recorded(run_dir)):
        precision, reason = recorded, "as in the run that is there"
    if precision is None:
        seconds = time_convolution()
        ratio = seconds["float32"] / seconds["bfloat16"]
        precision = "bfloat16" if ratio > 1.2 else "float32"
        reason = f"a convolution in bfloat16 takes {1 / ratio:.2f} times as long as in float32 here"
    print(f"Precision: {precision}, {reason}")
    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")


def _recorded(run_dir):
    """The precision of the run in a folder, or None where there is none."""
    try:
        options = json.loads((run_dir / "run.json").read_text(encoding="utf-8"))["options"]
        return "bfloat16" if options.get("precision") == "mixed_bfloat16" else "float32"
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def time_convolution(repeats=5):
    """The seconds of a convolution of a middle layer's size, {precision: median of some runs}; 0.2 seconds in all."""
    import keras
    import numpy as np

    from convnets import provenance

    n = 200 if provenance.device().startswith("CPU") else 5000  # enough that starting it is not what takes the time
    images = np.random.default_rng(0).random((n, 15, 15, 64), dtype="float32")
    seconds = {}
    for precision in PRECISIONS:
        x = keras.ops.cast(images, precision)
        kernel = keras.ops.ones((3, 3, 64, 64), precision)

        def run(x=x, kernel=kernel):
            started = time.perf_counter()
            float(keras.ops.sum(keras.ops.conv(x, kernel, padding="same")[:, 0, 0, 0]))  # waits for the result
            return time.perf_counter() - started

        run()
        seconds[precision] = statistics.median(run() for _ in range(repeats))
    return seconds
