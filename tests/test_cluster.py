"""Many training runs at once with Ray: what is sent between machines, and what is left when machines die."""

import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import compare_models
import convnets.training
from convnets import files, paths, provenance
from convnets.errors import Stopped, UserError
from convnets.training import checkpoints, run_copies, training

# ---------------------------------------------------------------- a run on its way between machines


def test_a_run_arrives_as_it_was(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    (here / "epoch-0001.weights.h5").write_bytes(b"\x00weights")
    (here / "run.json").write_text("{}")
    (here / ".partial-run.json").write_text("{")
    (here / "tensorboard").mkdir()
    run_copies.write(there, run_copies.read(here))
    assert run_copies.read(there) == {"epoch-0001.weights.h5": b"\x00weights", "run.json": b"{}"}
    assert run_copies.read(tmp_path / "nowhere") == {}


def test_only_what_has_changed_is_sent(tmp_path):
    files.write(tmp_path / "run.json", "{}")
    files.write(tmp_path / "epoch-0001.json", "1")
    changes = run_copies.Changes(tmp_path)
    assert changes() == {}
    before = (tmp_path / "run.json").stat()
    files.write(tmp_path / "run.json", "[]")  # as long as before, and, with a wrong clock, at the same time
    os.utime(tmp_path / "run.json", ns=(before.st_atime_ns, before.st_mtime_ns))
    files.write(tmp_path / "epoch-0002.json", "2")
    (tmp_path / "epoch-0001.json").unlink()
    assert changes() == {"run.json": b"[]", "epoch-0002.json": b"2", "epoch-0001.json": None}
    assert changes() == {}


def test_each_moment_of_writing_shows_a_whole_run(tmp_path, monkeypatch):
    new_run, tmp_path = tmp_path / "new run", tmp_path / "run"
    files.make_folder(tmp_path)
    files.write(tmp_path / "epoch-0001.weights.h5", "w1")
    files.write(tmp_path / "epoch-0001.json", "r1")
    states, write = [], files.write

    def states_of_both(path, content):
        write(path, content)
        states.append(sorted(path.name for path in tmp_path.iterdir()))

    def states_without(path, **options):
        unlink(path, **options)
        if not path.name.startswith(".partial-"):
            states.append(sorted(path.name for path in tmp_path.iterdir()))

    unlink = Path.unlink
    monkeypatch.setattr(run_copies.files, "write", states_of_both)
    monkeypatch.setattr(Path, "unlink", states_without)
    new = {"history.csv": b"", "epoch-0002.json": b"r2", "epoch-0002.weights.h5": b"w2"}
    run_copies.write(tmp_path, {**new, "epoch-0001.weights.h5": None, "epoch-0001.json": None})
    for state in states:
        records = [name for name in state if name.endswith(".json")]
        assert all(name.replace(".json", ".weights.h5") in state for name in records)
    assert states[0] == ["epoch-0001.json", "epoch-0001.weights.h5", "epoch-0002.weights.h5"]
    assert len(states) >= 5  # three files come, two go
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(new)
    moments = []
    monkeypatch.setattr(
        run_copies.files,
        "write",
        lambda path, content: write(path, content) or moments.append(checkpoints.refuse_other_files(new_run)),
    )
    run_copies.write(new_run, {**new, "run.json": b"{}", "architecture.json": b"{}"})
    assert len(moments) == 5  # at none of which the folder was taken for that of something else


# ---------------------------------------------------------------- what may change the bits

SESSION = {"date": "2026", "device": "CPU, 2 cores: A", "threads": "1", "versions": {"keras": "3.15.1"}}


@pytest.mark.parametrize(
    ("change", "described"),
    [
        ({"date": "2027", "first_epoch": 3}, []),
        ({"device": "CPU, 2 cores: B"}, ["device was CPU, 2 cores: A, now CPU, 2 cores: B"]),
        ({"threads": None}, ["threads was 1, now default"]),
        ({"oneDNN": "0"}, ["oneDNN was default, now 0"]),
        ({"versions": {"keras": "3.16"}}, ["keras was 3.15.1, now 3.16"]),
    ],
)
def test_what_may_change_the_bits_is_described(change, described):
    assert provenance.changes(SESSION, {**SESSION, **change}) == described


@pytest.mark.parametrize(
    ("information", "name"),
    [
        ("model name\t: Fast\nflags\t\t: fpu avx2 avx512f\n\nmodel name\t: Other\nflags\t\t: fpu\n", "Fast"),
        ("model name\t: Fast\nflags\t\t: fpu avx2\nbugs\t\t:\n", "Fast without AVX-512"),
        ("model name\t: ARMv8 Processor\nFeatures\t: fp asimd\n", "ARMv8 Processor"),
    ],
)
def test_a_processor_is_named_by_its_make_and_by_what_it_lacks(information, name, monkeypatch):
    monkeypatch.setattr(provenance.Path, "read_text", lambda path: information)
    assert provenance.device().endswith(f" cores: {name}")


def test_a_run_that_goes_on_elsewhere_says_so(tiny_dataset, build_tiny_model, tmp_path, monkeypatch, capsys):
    settings = {"batch_size": 20, "seed": 1}
    training.train(build_tiny_model(), tiny_dataset, tmp_path / "run", epochs=1, **settings)
    training.train(build_tiny_model(), tiny_dataset, tmp_path / "run", epochs=2, **settings)
    assert "may differ" not in capsys.readouterr().out
    monkeypatch.setattr(provenance, "device", lambda: "CPU, 64 cores: another")
    training.train(build_tiny_model(), tiny_dataset, tmp_path / "run", epochs=3, **settings)
    assert "The result may differ slightly from that of an uninterrupted run: device was CPU" in capsys.readouterr().out
    checkpoint, _ = checkpoints.newest(tmp_path / "run")
    assert [session["device"] for session in checkpoint.run["sessions"]][-1] == "CPU, 64 cores: another"


def test_watchers_hear_of_epochs_that_are_saved(tiny_dataset, build_tiny_model, tmp_path):
    import keras

    seen = []
    watcher = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append((epoch + 1, checkpoints.newest(tmp_path / "run")[0].epoch))
    )
    training.train(build_tiny_model(), tiny_dataset, tmp_path / "run", epochs=3, batch_size=20, watchers=(watcher,))
    assert seen == [(1, 1), (2, 2), (3, 3)]


# ---------------------------------------------------------------- options


def test_without_ray_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "convnets.training.cluster", raising=False)
    monkeypatch.delattr(convnets.training, "cluster", raising=False)
    with pytest.raises(UserError, match=r"the package ray is not installed: pip install -r requirements-ray\.txt"):
        compare_models.main(["bernet-best", "--dataset", "digits", "--on-ray"])


def test_all_trainings_share_one_copy_of_the_images(monkeypatch, tmp_path):
    """Ray keeps each copy in memory, on each machine."""
    given = []

    def stop(jobs, train):
        given.extend(jobs)
        raise Stopped("Stopped", 130)

    monkeypatch.setattr(cluster, "connected", lambda address: pytest.MonkeyPatch.context())
    monkeypatch.setattr(cluster, "train_all", stop)
    networks = ["bernet-best", "scadamale-dense", "--seeds", "2"]
    with pytest.raises(Stopped):
        compare_models.main([*networks, "--dataset", "digits", "--output-dir", str(tmp_path), "--on-ray"])
    assert len(given) == 4
    assert len({id(each.dataset) for each in given}) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["bernet-best", "--on-ray", "--tensorboard"], "--tensorboard and --on-ray can't be combined"),
        (["--on-ray", "bernet-best"], "name networks (before --on-ray), or give --article, --all or --list"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        compare_models.main(options)
    assert message in capsys.readouterr().err


# ---------------------------------------------------------------- with Ray

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install -r requirements-ray.txt")

from benchmarks import cluster_faults  # noqa: E402
from benchmarks.kill_and_resume import differences  # noqa: E402
from convnets.training import cluster, cluster_table  # noqa: E402


def job(name, **state):
    return cluster.Job(paths.MODELS / name, None, (), **{"epochs": 10, **state})


def printed(jobs):
    table = cluster_table.ProgressTable(jobs, shown=True)
    table.console = Console(file=io.StringIO(), width=150)
    with table:
        pass
    return table.console.file.getvalue()


def test_the_table_in_a_file_says_how_all_trainings_stand():
    lines = printed(
        [
            job("ready", state="done", machine="a", epoch=10, accuracy=0.99, seconds=60.0),
            job(
                "busy",
                state="training",
                machine="b",
                epoch=4,
                accuracy=0.5,
                seconds=60.0,
                notes=["started again: lost"],
            ),
            job("next"),
        ]
    ).splitlines()
    assert lines[0].split() == ["run", "machine", "epoch", "accuracy", "state"]
    assert lines[1].split() == ["busy", "b", "4/10", "50.00%", "training,", "started", "again:", "lost"]
    assert lines[2].split() == ["next", "0/10", "waiting"]
    assert lines[3].split() == ["ready", "a", "10/10", "99.00%", "done"]
    # One machine trains: 6 minutes of the busy one, and 10 of the next, if it is like the others.
    assert lines[4] == "1 training, 0 failed, 1 waiting, 1 done; about 16 minutes left"
    assert lines[5] == "busy: started again: lost"


@pytest.mark.parametrize(
    ("history", "accuracy"),
    [
        ("val_accuracy,val_loss\n1,0.4,1,2,,\n2,0.5,1,4,0.5,1\n", 0.5),
        ("val_accuracy,val_loss\n1,0.4,1,2,0.5,1\n2,0.5,1,4,,\n", 0.5),  # it went on after its last epoch
        ("learning_rate\n1,0.4,1,2,0.1\n2,0.5,1,4,0.1\n", None),
    ],
)
def test_the_table_knows_how_far_a_training_is_that_is_not_tested_each_epoch(history, accuracy, tmp_path):
    (tmp_path / "history.csv").write_text(f"epoch,accuracy,loss,seconds,{history}")
    read = cluster.Job(tmp_path, None, (), epochs=10)
    cluster_table.ProgressTable([read], shown=False).read(read)
    assert (read.epoch, read.seconds, read.accuracy) == (2, 3.0, accuracy)


def test_a_long_table_is_cut():
    assert "30 more runs; 0 training, 0 failed, 50 waiting, 0 done" in printed([job(f"run{n}") for n in range(50)])


def test_a_cluster_that_is_not_there_is_one_line(monkeypatch):
    monkeypatch.setattr(cluster.ray, "init", lambda **_: (_ for _ in ()).throw(ConnectionError("no\nsuch cluster")))
    message = r"can't use Ray at auto \(no such cluster\): .*RAY_AUTH_MODE=token.*docs/many-machines.md"
    with pytest.raises(UserError, match=message), cluster.connected("auto"):
        pass


def train_or_fail(what, dataset, run_dir, options):
    """Train a tiny network, or fail as asked to."""
    import keras

    if what == "always fails":
        raise ValueError("broken\nin two lines")
    keras.utils.clear_session()
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
    model.compile(loss="categorical_crossentropy", optimizer="sgd", metrics=["accuracy"])
    failed_before = (run_dir / "run.json").exists()
    if what == "fails once" and not failed_before:
        training.train(model, dataset, run_dir, epochs=1, batch_size=20, watchers=options.watchers, verbose=0)
        raise RuntimeError("a disk is full")
    training.train(model, dataset, run_dir, epochs=3, batch_size=20, watchers=options.watchers, verbose=0)


@pytest.fixture(scope="module")
def this_machine():
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers don't know the tests
    with cluster.connected("local"):
        yield
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def test_a_failure_is_tried_again_and_then_reported_and_the_rest_goes_on(this_machine, tiny_dataset, tmp_path, capsys):
    runs = {what: tmp_path / "models" / what for what in ("always fails", "fails once", "works", "in use", "no run")}
    jobs = [cluster.Job(run, tiny_dataset, (what,), epochs=3) for what, run in runs.items()]
    runs["no run"].mkdir(parents=True)
    (runs["no run"] / "thesis.txt").write_text("mine")
    with training.locked(runs["in use"]):
        failed = cluster.train_all(jobs, train_or_fail)
    assert {each.run_dir.name: each.notes[-1].split(": ")[0] for each in failed} == {
        "always fails": "broken in two lines",
        "in use": f"another process is training in {runs['in use']}",
        "no run": f"{runs['no run']} holds other files and no training run",
    }
    assert failed[0].failures == cluster.MOST_FAILURES
    for what in ("fails once", "works"):
        checkpoint, _ = checkpoints.newest(runs[what])
        assert checkpoint.epoch == 3
    # The second worker went on from what the first one had sent.
    sessions = checkpoints.newest(runs["fails once"])[0].run["sessions"]
    assert [session["first_epoch"] for session in sessions] == [1, 2]
    assert differences(runs["works"], runs["fails once"], 3) == []
    assert "fails once: started again: a disk is full" in capsys.readouterr().out
    for run in runs.values():
        with training.locked(run):  # all locks are free again
            pass


def test_a_folder_that_can_t_be_written_for_a_while_costs_nothing(this_machine, tiny_dataset, tmp_path, monkeypatch):
    write, refusals = run_copies.write, []

    def refuse_at_first(folder, changes):
        if len(refusals) < 4:
            refusals.append(folder)
            raise UserError("can't write: read-only")
        write(folder, changes)

    monkeypatch.setattr(run_copies, "write", refuse_at_first)
    run = tmp_path / "run"
    assert cluster.train_all([cluster.Job(run, tiny_dataset, ("works",), epochs=3)], train_or_fail) == []
    checkpoint, damaged = checkpoints.newest(run)
    assert (checkpoint.epoch, damaged, len(refusals)) == (3, [], 4)


def test_a_folder_that_can_never_be_written_is_reported(this_machine, tiny_dataset, tmp_path, monkeypatch):
    def refuse(folder, changes):
        raise UserError("can't write: read-only")

    monkeypatch.setattr(run_copies, "write", refuse)
    monkeypatch.setattr(cluster, "SECONDS_TO_WRITE", 1)
    (failed,) = cluster.train_all([cluster.Job(tmp_path / "run", tiny_dataset, ("works",), epochs=3)], train_or_fail)
    assert (failed.state, failed.notes) == ("failed", ["can't write: read-only"])


def test_networks_trained_with_ray_are_the_same_bits(this_machine, tmp_path, monkeypatch, capsys):
    """In one process after another, in two at once, and with the runs' own names and calibrations."""
    monkeypatch.setattr(cluster, "connected", lambda address: pytest.MonkeyPatch.context())  # it is connected already
    options = ["scadamale-dense", "bernet-best", "--dataset", "digits", "--epochs", "2"]
    folders = {}
    for way, more in (("alone", []), ("with Ray", ["--on-ray"])):
        folders[way] = tmp_path / way / "models"
        monkeypatch.setattr(paths, "MODELS", folders[way])
        compare_models.main([*options, *more, "--output-dir", str(tmp_path / way / "figures")])
    names = sorted(path.name for path in folders["alone"].iterdir() if path.is_dir())
    assert names == ["bernet-best-digits", "scadamale-dense-digits"]
    for name in names:
        alone, with_ray = folders["alone"] / name, folders["with Ray"] / name
        assert differences(alone, with_ray, 2) == []
        assert {path.name for path in alone.iterdir()} == {path.name for path in with_ray.iterdir()}
        one, other = (json.loads((run / "calibration.json").read_text()) for run in (alone, with_ray))
        assert one.pop("weights") == other.pop("weights")
        assert one == pytest.approx(other, rel=1e-5)  # with more than one thread, NumPy rounds otherwise
        session = json.loads((with_ray / "run.json").read_text())["sessions"][0]
        assert session["threads"] == "1"
    tables = [pd.read_csv(tmp_path / way / "figures" / "comparison.csv") for way in folders]
    assert np.array_equal(tables[0]["measured"], tables[1]["measured"])
    assert "0 training, 0 failed, 0 waiting, 2 done" in capsys.readouterr().out


@pytest.mark.slow
def test_nothing_is_lost_when_workers_nodes_and_drivers_die(monkeypatch):
    kinds = dict.fromkeys(
        [
            cluster_faults.Trial.worker_killed,
            cluster_faults.Trial.workers_killed_amid_a_write,
            cluster_faults.Trial.node_removed,
            cluster_faults.Trial.driver_killed_amid_a_write,
        ],
        1,
    )
    found, tally, _ = cluster_faults.faults(nodes=2, dataset="digits", epochs=25, count=4, seed=3, kinds=kinds)
    assert found == []
    assert tally.total() == 4
