"""On what a training ran: kept with each run, so that a number can be traced to where it came from."""

import contextlib
import datetime
import importlib
import os
import platform
import subprocess
from pathlib import Path

import keras

from convnets.errors import one_line


def describe(**more):
    """Return a dict of the date, software versions and hardware of this process, for JSON, with `more` in front."""
    packages = ["keras", keras.backend.backend(), "numpy"]
    return {
        **more,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": device(),
        "threads": os.environ.get("TF_NUM_INTRAOP_THREADS"),  # TensorFlow's; None for its own choice
        "oneDNN": os.environ.get("TF_ENABLE_ONEDNN_OPTS"),  # whether TensorFlow uses it; None for its own choice
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": {name: importlib.import_module(name).__version__.split("+")[0] for name in packages},
    }


def changes(before, now):
    """Describe, a line each, what differs between two sessions of a run that can change the bits it computes.

    before, now: what `describe` returned.
    """
    sessions = [{**session.get("versions", {}), **session} for session in (before, now)]
    watched = {*now.get("versions", {}), "device", "threads", "oneDNN"}
    names = [name for name in sessions[1] if name in watched]
    first, second = ([session.get(name) or "default" for name in names] for session in sessions)
    lines = (f"{name} was {old}, now {new}" for name, old, new in zip(names, first, second, strict=True) if old != new)
    return list(map(one_line, lines))


def device():
    """Return the device on which Keras puts a new array, with any backend: a CPU with its cores, make, instructions."""
    device = keras.ops.zeros(1).device
    if "cpu" in str(device).lower():
        return f"CPU, {os.cpu_count()} cores: {_processor()}"
    return f"GPU: {device.device_kind}" if hasattr(device, "device_kind") else str(device)  # JAX names the model


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        first = dict(map(str.strip, line.split(":", 1)) for line in reversed(lines) if ":" in line)
        # Virtual machines report one name for several generations of processors, which differ in speed and in rounding.
        lacks_avx512 = "flags" in first and "avx512f" not in first["flags"].split()
        return first["model name"] + (" without AVX-512" if lacks_avx512 else "")
    except (OSError, KeyError):  # not Linux, or a processor that doesn't name itself there
        pass
    with contextlib.suppress(OSError, subprocess.SubprocessError):  # macOS
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return platform.processor() or platform.machine()
