"""Hostile files: some of the cases of benchmarks/hostile_files.py, in a process of their own, since each case forks."""

import os
import subprocess
import sys

import pandas as pd
import pytest

from convnets import paths

CASES = 300  # of all kinds together


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of processes as Linux can")
@pytest.mark.parametrize("kind", ["runs", "models", "weights", "cifar10", "mnist", "pictures"])
def test_hostile_files_are_refused_in_one_line_and_run_nothing(kind, tmp_path):
    table = tmp_path / "cases.csv"
    command = [sys.executable, "-m", "benchmarks.hostile_files", kind, "--cases", str(CASES), "--output", str(table)]
    result = subprocess.run(command, cwd=paths.PROJECT, capture_output=True, text=True, env=os.environ, check=False)
    assert result.returncode == 0, result.stdout
    row = pd.read_csv(table).iloc[0]
    assert row["failed"] == 0
    assert row["read"] + row["other_numbers"] + row["refused"] == row["cases"] >= 0.1 * CASES
    assert row["refused"] > 0 or kind == "pictures"  # of which a broken one is left out
