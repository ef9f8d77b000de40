"""What a disk may hold after a power cut, and what a training makes of it. All of it: benchmarks/power_cuts.py."""

import os
from pathlib import Path

import pytest

from benchmarks import power_cuts
from benchmarks.kill_and_resume import differences
from benchmarks.power_cuts import Operation
from convnets.training import checkpoints

pytestmark = pytest.mark.skipif(os.name != "posix", reason="folders can be synced on POSIX systems only")
A, B = Path("a"), Path("b")
CONTENT = bytes(range(250)) * 8  # 2000 bytes; half of them are not a whole number of sectors


def states_after(*operations):
    disk = power_cuts.Disk()
    for operation in operations:
        disk.apply(operation)
    return {frozenset(state.items()) for state in disk.states()}


# ---------------------------------------------------------------- what a disk may hold


def test_a_write_that_was_not_synced_may_be_torn_or_missing():
    torn = [b"", CONTENT[:512], CONTENT[:512] + bytes(1488), bytes(2000), CONTENT]
    assert states_after(Operation("create", A), Operation("write", A, CONTENT)) == {
        frozenset(),  # the name was not synced either
        *(frozenset([(A, content)]) for content in torn),
    }


def test_a_synced_file_is_whole_once_its_name_is_synced():
    written = [Operation("create", A), Operation("write", A, CONTENT), Operation("sync", A)]
    assert states_after(*written) == {frozenset(), frozenset([(A, CONTENT)])}
    assert states_after(*written, Operation("sync", Path())) == {frozenset([(A, CONTENT)])}


def test_of_a_rename_either_half_may_be_missing():
    written = [Operation("create", A), Operation("write", A, b"x"), Operation("sync", A), Operation("sync", Path())]
    assert states_after(*written, Operation("rename", A, B)) == {
        frozenset(), frozenset([(A, b"x")]), frozenset([(B, b"x")]), frozenset([(A, b"x"), (B, b"x")]),
    }  # fmt: skip


def test_a_folder_that_was_not_synced_takes_its_files_along():
    made = [Operation("make folder", A), Operation("create", A / "b"), Operation("sync", A)]
    assert states_after(*made) == {frozenset(), frozenset([(A, None), (A / "b", b"")])}


# ---------------------------------------------------------------- a training


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trace")
    operations = power_cuts.trace(folder)
    assert (
        sum(operation.what == "rename" for operation in operations) >= 4 * power_cuts.EPOCHS
    )  # each file whole or not
    power_cuts.train(folder / "run", power_cuts.EPOCHS + 1)
    return power_cuts.distinct_states(operations), folder / "run"


def test_no_power_cut_loses_an_epoch_that_was_reported(states, tmp_path):
    found, _ = states
    assert len(found) > 100
    for number, (state, saved) in enumerate(found.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        power_cuts.write_state(state, folder)
        checkpoint, damaged = checkpoints.newest(folder / "run")
        assert (checkpoint.epoch if checkpoint else 0) >= saved
        assert damaged == []


def test_the_training_goes_on_to_the_same_bits(states, tmp_path):
    found, undisturbed = states
    for number, state in enumerate(list(found)[len(found) // 4 :: len(found) // 3]):
        folder = tmp_path / str(number)
        folder.mkdir()
        _, run = power_cuts.resumed(state, folder)
        assert differences(undisturbed, run, power_cuts.EPOCHS + 1) == []
