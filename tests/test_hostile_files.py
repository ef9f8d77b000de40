"""Hostile files: some of the cases of benchmarks/hostile_files.py, in a process of their own, since each case forks."""

import subprocess
import sys

import pandas as pd
import pytest

from benchmarks import hostile_files
from convnets import paths


@pytest.mark.parametrize("cases", [100, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of processes as Linux can")
def test_hostile_files_are_refused_in_one_line_and_run_nothing(cases, tmp_path):
    table = tmp_path / "cases.csv"
    command = [sys.executable, "-m", "benchmarks.hostile_files", "--cases", str(cases), "--output", str(table)]
    result = subprocess.run(command, cwd=paths.PROJECT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    kinds = pd.read_csv(table).set_index("kind")
    assert set(kinds.index) == set(hostile_files.KINDS)
    assert kinds["cases"].sum() == cases
    assert (kinds["failed"] == 0).all()
    assert (kinds[["read", "other_numbers", "refused"]].sum(axis=1) == kinds["cases"]).all()
    assert (kinds["refused"].drop("pictures") > 0).all()
    assert kinds.loc["pictures", "read"] == kinds.loc["pictures", "cases"]  # all but the changed one, as before
