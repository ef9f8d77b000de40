"""Find the fastest settings for this machine by trying them."""

import contextlib
import io
import os
import platform
import subprocess
import sys
import time
import warnings

from convnets import cli, files, paths
from convnets.errors import UserError

PRECISIONS = ("float32", "bfloat16")
CACHE = paths.MODELS / ".fastest_threads.json"


def set_threads(threads=None):
    """Set the number of TensorFlow's threads, and print it. Call this before TensorFlow computes.

    threads: None for those of the variable TF_NUM_INTRAOP_THREADS, or else for the fastest: one for each core, or two
    if a core runs two. Both are tried once, in processes of their own, since a process can't change its number of
    threads; the result is kept.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        if threads is not None:
            raise UserError("--threads is for TensorFlow only: leave it out, or choose that backend")
        return
    reason = "as asked for"
    asked = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    if threads is None and asked.isdecimal() and int(asked):
        threads, reason = int(asked), "as TF_NUM_INTRAOP_THREADS says"
    if threads is None:
        physical, logical = cores()
        if physical == logical:
            threads, reason = logical, "one for each core"
        else:
            threads, reason = _fastest_thread_count(physical, logical)
    print(f"Threads: {threads}, {reason}")
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(threads)


def cores():
    """Return how many cores this process may use, and how many threads they run at once."""
    import joblib

    # If the system doesn't say, both numbers are the same; joblib then warns, and prints where it looked.
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        return joblib.cpu_count(only_physical_cores=True), joblib.cpu_count()


def _fastest_thread_count(*candidates):
    """Return which of these numbers of threads makes a convolution faster, or the last one, and why."""
    key = f"{platform.node()}: {candidates}"
    kept, reason = {}, f"the faster of {' and '.join(map(str, candidates))} here"
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        kept = dict(files.read_json(CACHE))
        if kept[key] in candidates:
            return kept[key], reason
    print(f"Trying {' and '.join(map(str, candidates))} threads, once only; this takes some seconds ...")
    seconds = {}
    for threads in candidates:
        environment = {**os.environ, "TF_NUM_INTRAOP_THREADS": str(threads), "TF_CPP_MIN_LOG_LEVEL": "3"}
        program = "from convnets.training import autotune; print(min(autotune.time_convolution().values()))"
        with contextlib.suppress(OSError, ValueError, IndexError):
            command = [sys.executable, "-c", program]
            result = subprocess.run(
                command, cwd=paths.PROJECT, env=environment, capture_output=True, text=True, check=False
            )
            seconds[threads] = float(result.stdout.split()[-1])
    if len(seconds) < len(candidates):
        return candidates[-1], "as many as the processor runs at once, since they could not be timed"
    with contextlib.suppress(UserError):  # then it is measured again next time
        files.write(CACHE, files.to_json({**kept, key: min(seconds, key=seconds.get)}))
    return min(seconds, key=seconds.get), reason


def set_precision(precision=None, run_dir=None):
    """Set the precision in which networks built from now on compute, print it, and return it.

    Their weights are always float32.

    precision: "float32", "bfloat16", or None: that of the run in run_dir if there is one, else the faster one. bfloat16
    has 16 bits, with the range of float32 and 8 bits of precision. Processors and GPUs with instructions for it need
    about half the time; others need more than for float32.
    """
    reason, hint = "as asked for", ""
    if precision is None and run_dir is not None and (recorded := recorded_precision(run_dir)):
        precision, reason = recorded, "as in the run to resume"
        if precision == "bfloat16" and (ratio := faster_precision()[1]) > 2:
            hint = (
                f". It takes about {ratio:.0f} times as long as float32 here: "
                "resume the run on a machine like the first one, or start anew with --fresh"
            )
    if precision is None:
        precision, ratio = faster_precision()
        reason = f"bfloat16 takes {ratio:.2f} times as long as float32 here"
    print(f"Precision: {precision} ({reason}){hint}")
    cli.set_keras_up(precision)
    return precision


def recorded_precision(run_dir):
    """Return the precision of the newest checkpoint in a run's folder, or None if there is none."""
    from convnets.training import checkpoints

    checkpoint, _ = checkpoints.newest(run_dir)
    if checkpoint is None:
        return None
    return "bfloat16" if checkpoint.run["options"].get("precision") == "mixed_bfloat16" else "float32"


def faster_precision():
    """Return "bfloat16" if it is clearly faster here, else "float32", and how many times as long bfloat16 takes."""
    seconds = time_convolution()
    ratio = seconds["bfloat16"] / seconds["float32"]
    return "bfloat16" if ratio < 1 / 1.3 else "float32", ratio


def time_convolution(repeats=5):
    """Time a mid-sized convolution and its gradient in each precision. Returns {precision: least seconds}.

    Without instructions for bfloat16, the convolution alone can be as fast as in float32, but its gradient is many
    times slower. The precisions take turns, and the least seconds count: whatever disturbs the machine for a moment
    must not decide.
    """
    import keras
    import numpy as np

    from convnets import provenance

    n = 32 if provenance.device().startswith("CPU") else 5000  # enough that the overhead of a call does not matter
    images = np.random.default_rng(0).random((n, 15, 15, 64), dtype="float32")
    arguments = {
        precision: (keras.ops.cast(images, precision), keras.ops.ones((3, 3, 64, 64), precision))
        for precision in PRECISIONS
    }

    def run(precision):
        started = time.perf_counter()
        images, filters = arguments[precision]
        convolved = keras.ops.conv(images, filters, padding="same")
        gradient = keras.ops.conv_transpose(convolved, filters, padding="same")
        float(keras.ops.sum(gradient[:, 0, 0, 0]))  # waits for the result
        return time.perf_counter() - started

    seconds = {precision: [] for precision in PRECISIONS}
    for number in range(1 + repeats):  # the first round also compiles
        seconds["float32"].append(run("float32"))
        if number < 3 or min(seconds["bfloat16"][1:]) < 3 * min(seconds["float32"][1:]):  # else it has no instructions
            seconds["bfloat16"].append(run("bfloat16"))
    return {precision: min(each[1:]) for precision, each in seconds.items()}
