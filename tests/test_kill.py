"""Kill and stop real training processes. A longer version, with 100 kills, is benchmarks/kill_and_resume.py."""

import os
import signal
import subprocess
import sys
import time

import pytest

import basic_model
from benchmarks.kill_and_resume import differences, kill_and_resume
from convnets import paths
from convnets.training import checkpoints

DIGITS = ["--dataset", "digits", "--batch-size", "512"]


def start_basic_model(run, *options):
    command = [sys.executable, "basic_model.py", *DIGITS, "--run", str(run), "--epochs", "500", *options]
    return subprocess.Popen(command, cwd=paths.PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_killed_training_resumes_to_the_same_bits(tmp_path):
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    process = start_basic_model(killed)
    while process.poll() is None and not list(killed.glob(".partial-history.csv")):  # written after epoch 1
        time.sleep(0.0002)
    process.kill()
    _, errors = process.communicate()
    checkpoint, _ = checkpoints.newest(killed)
    assert checkpoint is not None, errors
    epochs = checkpoint.epoch + 1
    for run in (killed, undisturbed):
        basic_model.main([*DIGITS, "--run", str(run), "--epochs", str(epochs)])
    assert differences(undisturbed, killed, epochs) == []
    sessions = checkpoints.newest(killed)[0].run["sessions"]
    assert [session["first_epoch"] for session in sessions] == [1, epochs]


@pytest.mark.slow
@pytest.mark.parametrize(("script", "seed"), [("basic_model", 1), ("improved_model", 2)])
def test_a_training_killed_six_times_ends_with_the_same_bits(script, seed, tmp_path, monkeypatch):
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS")  # with all cores
    found, epochs, tally = kill_and_resume(script, tmp_path, kills=6, seed=seed)
    assert found == []
    assert epochs >= 3
    assert tally.total() == 6
    # The second kill waits for the first history, so a later process must have found a checkpoint.
    sessions = checkpoints.newest(tmp_path / "killed")[0].run["sessions"]
    assert len({session["first_epoch"] for session in sessions}) >= 2


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
    command = f"python basic_model.py --dataset digits --batch-size 512 --run '{run}' --epochs 500"
    assert f"To resume: {command}" in errors
    assert "Traceback" not in errors
