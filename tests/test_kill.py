"""Kill and stop real training processes. A thousand kills: benchmarks/kill_and_resume.py."""

import os
import signal
import subprocess
import sys

import pytest

import basic_model
from benchmarks import kill_and_resume
from benchmarks.kill_and_resume import differences
from convnets import paths
from convnets.training import checkpoints

DIGITS = ["--dataset", "digits", "--batch-size", "512", "--precision", "float32"]


HISTORY_HALF_WRITTEN = 22  # the 22nd moment amid a write: there are 3 for each file, and 7 files before history.csv


def start_basic_model(run, *options):
    command = [sys.executable, "basic_model.py", *DIGITS, "--run", str(run), "--epochs", "500", *options]
    return subprocess.Popen(command, cwd=paths.PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


KILLED = f"""
import sys
from benchmarks.kill_and_resume import disturbed
from convnets.data import digits
arrays, source = digits.load()
digits.load = lambda data_dir=None: (tuple(array[:200] for array in arrays), source)  # as the fixture few_digits
disturbed("killed amid a write", {HISTORY_HALF_WRITTEN}, *sys.argv[1:])
"""


@pytest.mark.skipif(os.name != "posix", reason="Windows has no SIGKILL")
def test_a_killed_training_resumes_to_the_same_bits(few_digits, tmp_path):
    """It is killed when half of a file is written, after the checkpoint of its first epoch."""
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    command = [sys.executable, "-c", KILLED, "basic_model.py", *DIGITS, "--run", str(killed), "--epochs", "500"]
    result = subprocess.run(command, cwd=paths.PROJECT, capture_output=True, text=True, check=False)
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert (killed / ".partial-history.csv").is_file()
    assert checkpoints.newest(killed)[0].epoch == 1
    for run in (killed, undisturbed):
        basic_model.main([*DIGITS, "--run", str(run), "--epochs", "2"])
    assert differences(undisturbed, killed, 2) == []
    sessions = checkpoints.newest(killed)[0].run["sessions"]
    assert [session["first_epoch"] for session in sessions] == [1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("case", ["improved_model", "basic_model, pictures"])
def test_whatever_happens_to_a_training_it_ends_with_the_same_bits(case, tmp_path, monkeypatch):
    monkeypatch.setattr(kill_and_resume, "EPOCHS", 3)
    kill_and_resume.write_pictures(tmp_path)
    happened, kills = kill_and_resume.interrupted_training(case, tmp_path / case, seed=1)
    assert happened.total() >= kills >= 1
    sessions = checkpoints.newest(tmp_path / case / "interrupted")[0].run["sessions"]
    assert sessions[-1]["first_epoch"] > 1  # it went on from a checkpoint
    kill_and_resume.train_undisturbed(case, tmp_path / case / "undisturbed")
    assert differences(tmp_path / case / "undisturbed", tmp_path / case / "interrupted", 3) == []


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
@pytest.mark.parametrize(
    ("number", "exit_code", "times"),
    [
        (signal.SIGINT, 130, 1),
        pytest.param(signal.SIGINT, 130, 2, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 143, 1, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 143, 2, marks=pytest.mark.slow),
    ],
)
def test_a_stopped_training_says_what_is_saved_and_how_to_resume(number, exit_code, times, tmp_path):
    run = tmp_path / "my run"
    process = start_basic_model(run, "--fresh")
    for line in process.stdout:
        if line.startswith("Saved"):
            break
    for _ in range(times):
        process.send_signal(number)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == exit_code
    checkpoint, damaged = checkpoints.newest(run)
    assert damaged == []
    assert f"Stopped; epoch {checkpoint.epoch} is saved in {run}." in errors
    command = f"python basic_model.py --dataset digits --batch-size 512 --precision float32 --run '{run}' --epochs 500"
    assert f"To resume: {command}" in errors
    assert "Traceback" not in errors
