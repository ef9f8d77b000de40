"""Real processes, really killed. The longer version, 100 kills, is benchmarks/kill_and_resume.py."""

import os
import signal
import subprocess
import sys

import pytest

from benchmarks.kill_and_resume import kill_and_resume
from convnets import paths
from convnets.training import checkpoints


@pytest.mark.parametrize(("script", "seed"), [("basic_model", 1), ("improved_model", 2)])
def test_a_training_killed_again_and_again_ends_with_the_same_bits(script, seed, tmp_path):
    found, epochs, tally = kill_and_resume(script, tmp_path, kills=6, seed=seed)
    assert found == []
    assert epochs >= 3
    assert tally.total() == 6
    # The second kill waits for the first history, so a later process must have found a checkpoint.
    sessions = checkpoints.newest(tmp_path / "killed")[0].run["sessions"]
    assert len({session["first_epoch"] for session in sessions}) >= 2


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_polite_stop_says_what_is_saved_and_how_to_go_on(number, exit_code, times, tmp_path):
    run = tmp_path / "my run"
    command = [sys.executable, "basic_model.py", "--fresh", "--dataset", "digits", "--run", str(run), "--epochs", "500"]
    process = subprocess.Popen(command, cwd=paths.PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
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
    assert f"To go on: python basic_model.py --dataset digits --run '{run}' --epochs 500" in errors
    assert "Traceback" not in errors
