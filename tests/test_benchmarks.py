"""What the benchmarks record."""

import concurrent.futures
import dataclasses
import importlib
import importlib.util
import re
import shutil
import subprocess
import threading

import numpy as np
import pandas as pd
import pytest

from benchmarks import ablation, results, versions
from convnets import paths, provenance


@pytest.fixture
def on(monkeypatch):
    """Return a function after which measurements count as taken on a device, at a revision of the code."""

    def on(device, revision):
        monkeypatch.setattr(provenance, "device", lambda: device)
        monkeypatch.setattr(results, "revision", lambda: revision)

    return on


def test_a_measurement_replaces_the_same_one_on_the_same_device_only(on, tmp_path):
    path = tmp_path / "speed.csv"
    on("old machine", "r1")
    results.record(
        path,
        [{"target": 80.0, "seed": 2, "seconds": 30.0}, {"target": 80.0, "seed": 1, "seconds": 31.0}],
        ["target", "seed"],
    )
    on("new machine", "r2")
    results.record(path, [{"target": 80.0, "seed": 1, "seconds": 8.1234567}], ["target", "seed"])
    on("old machine", "r3")
    results.record(path, [{"target": 80.0, "seed": 1, "seconds": 29.0}], ["target", "seed"])
    assert path.read_text().splitlines() == [
        "target,seed,seconds,device,revision",
        "80.0,1,8.12346,new machine,r2",
        "80.0,1,29.0,old machine,r3",
        "80.0,2,30.0,old machine,r1",
    ]


def test_rows_that_share_a_key_are_replaced_together(on, tmp_path):
    path = tmp_path / "speed.csv"
    on("a CPU", "r1")
    rows = [{"view": "occlusion", "peer": peer, "seconds": 1.5} for peer in ("b", "a", "c")]
    results.record(path, [*rows, {"view": "maximization", "peer": "d", "seconds": 2.5}], ["view"])
    results.record(path, rows[:2], ["view"])
    table = pd.read_csv(path)
    assert table["view"].tolist() == ["maximization", "occlusion", "occlusion"]
    assert table["peer"].tolist() == ["d", "b", "a"]  # in the order in which they were recorded


def test_a_row_of_an_unknown_device_is_replaced(on, tmp_path):
    path = tmp_path / "memory.csv"
    path.write_text("script,peak_mb,device,revision\nbasic_model,1136,,\nimproved_model,1204,,\n")
    on("a CPU", "r1")
    results.record(path, [{"script": "basic_model", "peak_mb": 900}], ["script"])
    assert path.read_text() == ("script,peak_mb,device,revision\nbasic_model,900,a CPU,r1\nimproved_model,1204,,\n")


def test_only_what_this_device_measured_is_done(on, tmp_path):
    path = tmp_path / "speed.csv"
    on("old machine", "r1")
    assert results.recorded(path, ["target", "seed"]) == set()
    results.record(path, [{"target": 80, "seed": 1, "seconds": 30.0}], ["target", "seed"])
    assert results.recorded(path, ["target", "seed"]) == {(80, 1)}
    on("new machine", "r1")
    assert results.recorded(path, ["target", "seed"]) == set()


NEEDS = {"bare_pytorch": ["torch"], "search": ["ray", "optuna"], "cluster_faults": ["ray"], "peak_memory": ["resource"]}


@pytest.mark.parametrize("name", sorted(path.stem for path in (paths.PROJECT / "benchmarks").glob("[!_]*.py")))
def test_a_benchmark_can_be_imported(name):
    for package in NEEDS.get(name, []):
        pytest.importorskip(package)
    importlib.import_module(f"benchmarks.{name}")


def test_after_a_failure_no_more_runs_begin(monkeypatch):
    begun, given_up = [], threading.Event()

    class Pool(concurrent.futures.ThreadPoolExecutor):
        """Says when the runs that wait are given up."""

        def shutdown(self, wait=True, *, cancel_futures=False):
            if cancel_futures:
                super().shutdown(wait=False, cancel_futures=True)
            given_up.set()
            super().shutdown(wait=wait)

    def train(number):
        begun.append(number)
        if number == 1:
            raise RuntimeError("a training failed")
        assert given_up.wait(60)
        return number

    monkeypatch.setattr(results.concurrent.futures, "ThreadPoolExecutor", Pool)
    with pytest.raises(RuntimeError, match="a training failed"):
        list(results.as_they_end(train, [(1,), *((number,) for number in range(2, 1000))], jobs=1))
    assert len(begun) <= 2  # the second one may have begun before the failure was heard of
    assert sorted(results.as_they_end(train, [(2,), (3,)], jobs=2)) == [2, 3]


def test_a_variant_of_the_recipe_reaches_the_training(tiny_dataset, build_tiny_model, tmp_path):
    from convnets.training import checkpoints, training

    with ablation.patched("no_flips"):
        recipe = training.Recipe(epochs=1, batch_size=20, alternate_flips=True)
        training.train(build_tiny_model(), tiny_dataset, tmp_path / "run", recipe, verbose=0)
    assert checkpoints.newest(tmp_path / "run")[0].run["options"]["alternate_flips"] is None


def test_what_a_published_network_says_of_the_test_images_is_kept_with_it(real_dataset, tmp_path, monkeypatch):
    from convnets.views import labels
    from publishing import __main__ as publish

    cifar10 = real_dataset("cifar10")
    few = dataclasses.replace(cifar10, x_test=cifar10.x_test[:200], y_test=cifar10.y_test[:200])
    monkeypatch.setattr(publish.datasets, "load", lambda name: few)
    published, new = paths.PRETRAINED / "basic_model-cifar10", tmp_path / "new"
    shutil.copytree(published, new, ignore=shutil.ignore_patterns(labels.PREDICTIONS))
    publish.keep_answers(new)
    kept, expected = (np.load(folder / labels.PREDICTIONS) for folder in (new, published))
    assert kept.dtype == expected.dtype == "float16"
    np.testing.assert_allclose(kept, expected[:200], atol=1e-3)


def test_a_report_of_the_tests_is_counted(tmp_path):
    report = tmp_path / "report.xml"
    report.write_text('<testsuites><testsuite errors="1" failures="2" skipped="3" tests="16" time="90"/></testsuites>')
    assert versions.counts(report) == {"passed": 10, "failed": 3, "skipped": 3, "minutes": 1.5}


@pytest.mark.skipif(not (paths.PROJECT / ".git").exists(), reason="the project is not a Git repository here")
def test_the_revision_is_a_commit(monkeypatch, tmp_path):
    revision = results.revision().removesuffix("-dirty")
    subprocess.run(["git", "cat-file", "-e", f"{revision}^{{commit}}"], cwd=paths.PROJECT, check=True)
    monkeypatch.setattr(paths, "PROJECT", tmp_path)
    assert results.revision() == ""


def test_the_page_about_results_lists_each_file_with_its_writer_and_its_pages():
    text = (paths.RESULTS / "README.md").read_text(encoding="utf-8")
    writer = r"(?:`python -m ([\w.]+)[^|]*|one observer, by eye )"
    rows = re.findall(rf"^\| `(\w+\.csv)` \| .* \| {writer}\| (.*) \|$", text, flags=re.MULTILINE)
    assert sorted(name for name, _, _ in rows) == sorted(path.name for path in paths.RESULTS.glob("*.csv"))
    for name, writer, pages in rows:
        assert not writer or importlib.util.find_spec(writer) is not None
        assert pages
        for page in re.findall(r"\((\S+\.md)\)", pages):
            assert name in (paths.RESULTS / page).read_text(encoding="utf-8")
