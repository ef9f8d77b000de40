"""The tables of the documents say what was measured."""

import pandas as pd
import pytest

from benchmarks import ablation, choose_recipe
from convnets import paths
from convnets.training.comparison import interval
from publishing import tables


@pytest.mark.parametrize(
    ("name", "about"),
    [
        *((name, ()) for name in ("fast_startup", "fast_model", "fast_tutorials", "fast_recipes", "fast_profile")),
        *((name, ()) for name in ("fast_operations", "fast_gpu", "ablation", "transfer", "cluster_overhead")),
        *((name, ()) for name in ("precision", "search_trials", "found_model")),
        ("trust", ("calibration",)),
        ("trust", ("unfamiliar pictures",)),
        ("recipe_trials", ("80",)),
    ],
)
def test_the_measurements_of_another_device_are_kept_apart(name, about):
    rows = pd.read_csv(tables.RESULTS / f"{name}.csv")
    both = pd.concat([rows, rows.assign(device="zzz, a slower one")])
    assert tables.TABLES[name](both, *about) == tables.TABLES[name](rows, *about)


def test_the_tables_of_the_articles_say_what_was_measured():
    run = {
        "run": "bernet-best-mnist",
        "best_test_accuracy": 0.995,
        "epochs": 40,
        "seconds_an_epoch": 2,
        "device": "a CPU",
    }
    runs = [
        {**run, "seed": 1337, "test_accuracy": 0.99, "minutes": 1.0},
        {**run, "seed": 2, "test_accuracy": 0.992, "minutes": 2.0},
        {**run, "run": "basic_model-cifar10", "seed": 1337, "test_accuracy": 0.8, "minutes": 2.0, "device": "another"},
    ]
    assert tables.training_runs(pd.DataFrame(runs), "bernet").splitlines()[2:] == [
        "| bernet-best | mnist | 60,806 | around 99.4 % | 99.10 % (99.00 to 99.20) | 97.83 to 100.00 | -0.30 "
        "| holds | 2 | 40 | 99.50 % | 2.0 | 1.0 |",
        "",
        "Measured on: a CPU.",
    ]
    assert "| wang | wang-basic | cifar10 | 477,994 | about 80 % | 80.00 %" in tables.training_runs(
        pd.DataFrame(runs), "all"
    )

    epoch = {"run": "bernet-best-mnist", "seed": 2, "accuracy": 0.5, "loss": 1.0, "val_accuracy": 0.25, "val_loss": 2.0}
    epochs = [{**epoch, "epoch": 1}, {**epoch, "epoch": 2}, {**epoch, "epoch": 2, "seed": 3, "val_accuracy": 0.35}]
    assert tables.learning_curves(pd.DataFrame(epochs), "bernet-best 2").splitlines() == [
        "| after epoch | accuracy, training images | accuracy, test images "
        "| loss, training images | loss, test images |",
        "|---|---|---|---|---|",
        "| 2 | 50.00 % | 30.00 % | 1.000 | 2.000 |",
    ]

    assert tables.layers("scadamale-dense").splitlines()[2:] == [
        "| `Rescaling` | 28 x 28 x 1 |  |",
        "| `Flatten` | 784 |  |",
        "| `Dense` fc1 | 20 | 15,700 |",
        "| `Dense` fc2 | 15 | 315 |",
        "| `Dense` fc3 | 10 | 160 |",
        "| all |  | 16,175 |",
    ]


def test_the_tables_of_the_views_say_what_was_measured():
    speed = {"view": "v", "seconds": 0.2, "peer_seconds": 0.5, "times_faster": 2.54, "repeats": 3, "device": "a CPU"}
    speeds = [
        {**speed, "measured": "one", "peer": "other", "largest_difference": 1.4e-06},
        {**speed, "measured": "two", "peer": "another", "largest_difference": None},
    ]
    assert tables.view_speed(pd.DataFrame(speeds)).splitlines()[2:] == [
        "| one | 0.20 | other | 0.50 | 3 | 2.5 | 1e-06 |",
        "| two | 0.20 | another | 0.50 | 3 | 2.5 |  |",
        "",
        "Measured on: a CPU.",
    ]
    script = {"script": "look", "seconds": 9.04, "importing_keras_and_loading_data_seconds": 5.96, "help_seconds": 0.11}
    script["one_by_one_seconds"] = 7.31
    assert tables.script_seconds(pd.DataFrame([{**script, "device": "CPU, 2 cores: Fast"}])).splitlines()[2:] == [
        "| `look.py` | Fast | 9.0 | 6.0 | 7.3 | 0.11 |",
        "",
        "Measured on: CPU, 2 cores: Fast.",
    ]


def test_the_table_of_precisions_says_what_was_measured():
    run = {"run": "basic_model-cifar10", "test_accuracy": 0.8, "precision": "float32", "device": "one CPU"}
    others = [{**run, "precision": "bfloat16", "test_accuracy": 0.1}, {**run, "run": "improved_model-cifar10"}]
    runs = pd.DataFrame({"script": "basic_model", "test_accuracy": [0.803, 0.799], "device": "another"})
    in_float32 = pd.DataFrame([run, {**run, "test_accuracy": 0.804}, *others])
    assert tables.precision(runs, in_float32).splitlines()[2:] == [
        "| `basic_model.py` | 2 | 80.20 % (80.00 to 80.40) | 2 | 80.10 % (79.90 to 80.30) | -0.10 |",
        "",
        "Measured on: another; one CPU.",
    ]


def test_the_tables_of_the_fast_network_say_what_was_measured():
    run = {"target": 80.0, "test_accuracy": 0.80, "test_accuracy_with_views": 0.82, "device": "a CPU"}
    seconds = {"training_seconds": 14.0, "compilation_seconds": 3.0, "process_seconds": 40.0}
    runs = [
        {**run, **seconds, "seed": 1337},
        {**run, **seconds, "seed": 2, "test_accuracy": 0.81, "training_seconds": 16.4},
        {**run, **seconds, "seed": 1337, "target": 94.0, "test_accuracy_with_views": 0.81},
        {**run, **seconds, "seed": 2, "target": 94.0, "test_accuracy_with_views": 0.83},
        {**run, **seconds, "seed": 1337, "target": 95.5},
    ]
    assert tables.fast_model(pd.DataFrame(runs)).splitlines()[2:] == [
        "| 80 | 2 | 80.50 % (80.00 to 81.00) | 82.00 % (82.00 to 82.00) | 74.15 to 86.85 "
        "| 15.2 (14.0 to 16.4) | 3 | 40 |",
        "| 94 | 2 | 80.00 % (80.00 to 80.00) | 82.00 % (81.00 to 83.00) | 69.29 to 94.71 "
        "| 14.0 (14.0 to 14.0) | 3 | 40 |",
        "| 95.5 | 1 | 80.00 % | 82.00 % |  | 14.0 | 3 | 40 |",
        "",
        "Measured on: a CPU.",
    ]
    settings = ablation.settings_of(ablation.RECIPES["85"])
    of_two = {**run, **seconds, **settings}
    variants = [
        {**of_two, "variant": "all tricks", "seed": 1},
        {**of_two, "variant": "all tricks", "seed": 2, "test_accuracy": 0.82},
        {**of_two, "variant": "all tricks", "seed": 1, "epochs": 8, "test_accuracy": 0.9},
        {**of_two, "variant": "float32", "seed": 1, "training_seconds": 28.0},
        {**of_two, "variant": "no shifts", "seed": 1, "epochs": 8, "test_accuracy": 0.89, "training_seconds": 50.0},
        {**settings, "variant": "logits not scaled down", "seed": 1, "device": "a CPU"},
        {**of_two, "variant": "all tricks", "seed": 1, "filters": "32-64-64"},
    ]
    assert tables.ablation(pd.DataFrame(variants)).splitlines() == [
        "| training with | 2 epochs (seeds: 2) | points lost | 8 epochs (seeds: 1) | points lost "
        "| seconds of 2 epochs | times as long |",
        "|---|---|---|---|---|---|---|",
        "| all tricks | 81.00% | 0.00 | 90.00% | 0.00 | 14 | 1.00 |",
        "| logits not scaled down | does not learn |  |  |  |  |  |",
        "| no shifts |  |  | 89.00% | 1.00 |  |  |",
        "| float32 | 80.00% | 1.00 |  |  | 28 | 2.00 |",
        "",
        "Measured on: a CPU.",
    ]
    base = {**choose_recipe.BASE, "batch_size": 500, "epochs": 1, "filters": (32, 64, 128)}
    tried = [
        {
            **choose_recipe.key("80", {**base, **change}, seed),
            "held_out_accuracy": accuracy,
            "training_seconds": 9 + more,
        }
        for change, accuracies, more in (({}, (0.81, 0.82), 0.5), ({"shift": 0, "weight_decay": 0.0}, (0.83,), 0))
        for seed, accuracy in enumerate(accuracies)
    ]
    tried[0] |= {"held_out_accuracy": 0.8198}
    trials = pd.DataFrame(tried).assign(device="a CPU")
    on_gpu = trials.tail(1).assign(device="a GPU", seed=7, held_out_accuracy=0.9)
    assert tables.recipe_trials(pd.concat([on_gpu, trials, trials.assign(target=85.0)]), "80").splitlines() == [
        "| shifts, pixels | weight decay | seeds | accuracy, held-out images | 95 % interval "
        "| seconds of training | chosen |",
        "|---|---|---|---|---|---|---|",
        "| 0 | 0 | 1 | 83.00 % |  | 9.0 |  |",
        "| 2 | 0.1 | 2 | 81.99 % | 81.86 to 82.12 | 9.5 | yes |",
        "",
        "Measured on: a CPU.",
    ]
    operation = {"variant": "all tricks", "precision": "bfloat16", "seconds_an_epoch": 40.0, "device": "a CPU"}
    gelu = {**operation, "variant": "GELU instead of leaky ReLU", "seconds_an_epoch": 90.0}
    in_float32 = {"precision": "float32", "seconds_an_epoch": 100.0}
    operations = [gelu, {**gelu, **in_float32}, operation, {**operation, **in_float32}]
    assert tables.fast_operations(pd.DataFrame(operations)).splitlines()[:4] == [
        "| | seconds an epoch in bfloat16 | times as long | seconds an epoch in float32 | times as long |",
        "|---|---|---|---|---|",
        "| all tricks | 40 | 1.00 | 100 | 1.00 |",
        "| GELU instead of leaky ReLU | 90 | 2.25 | 100 | 1.00 |",
    ]
    part = {"part": "whole step", "share_of_time": 1.0, "gflops": 600.0, "peak_gflops": 800.0, "device": "a CPU"}
    parts = [part, {"part": "pooling", "share_of_time": 0.25, "device": "a CPU"}]
    assert tables.fast_profile(pd.DataFrame(parts)).splitlines() == [
        "600 GFLOP/s in bfloat16, 75% of the matrix product's 800.",
        "",
        "| part of a step | share of its time |",
        "|---|---|",
        "| pooling | 25% |",
        "",
        "Measured on: a CPU.",
    ]
    peer = {
        "precision": "autocast",
        "batch_size": 500,
        "seconds_an_epoch": 50.0,
        "our_seconds_an_epoch": 40.0,
        "ratio": 0.8,
    }
    assert tables.fast_peer(pd.DataFrame([{**peer, "device": "a CPU"}])).splitlines()[2] == (
        "| float32 weights, bfloat16 computations | 500 | 50 | 40 | 0.80 |"
    )
    ours = pd.read_csv(paths.RESULTS / "fast_model.csv").query("target == 80")
    device, ours = ours["device"].iloc[0], ours["training_seconds"].mean()
    theirs = {"script": "basic_model", "target": 80, "epochs": 54, "seconds_an_epoch_bfloat16": ours, "device": device}
    row = tables.fast_tutorials(pd.DataFrame([theirs])).splitlines()[2]
    assert row == f"| 80 % | `basic_model.py` | 54 | {ours:.1f} | {54 * ours:.0f} | {ours:.0f} | 54 |"
    recipe = {"recipe": "muon", "epochs": 8.0, "seconds": 500.0, **run}
    recipes = [recipe, recipe, {**recipe, "recipe": "ours", "seconds": 400.0}]
    assert tables.fast_recipes(pd.DataFrame(recipes)).splitlines()[2:4] == [
        "| airbench94, muon | 8.0 | 2 | 80.00% | 82.00% | 500 |",
        "| `fast_model.py` | 8.0 | 1 | 80.00% | 82.00% | 400 |",
    ]
    attempt = {**run, **seconds, **settings, "learning_rate": 0.24}
    attempts = [{**attempt, "seed": 7}, {**attempt, "seed": 8, "test_accuracy": 0.81}, {**attempt, "target": 95.5}]
    assert tables.fast_attempts(pd.DataFrame(attempts)).splitlines()[2:4] == [
        "| 80 | 32-80-128 | 2 | 500 | 2 | 0 | 0.24 | 2 "
        "| 80.50 % (80.00 to 81.00) | 82.00 % (82.00 to 82.00) | 14 (14 to 14) |",
        "| 95.5 | 32-80-128 | 2 | 500 | 2 | 0 | 0.24 | 1 | 80.00 % | 82.00 % | 14 |",
    ]


def test_the_tables_of_robustness():
    faults = ["stopped_and_continued", "wrong_clock", "disk_full", "folder_read_only", "out_of_memory"]
    training = {"case": "a", "seed": 1, "kills": 9, "killed_amid_a_write": 4, **dict.fromkeys(faults, 1)}
    training |= {"differences": 0, "device": "a CPU"}
    rows = tables.kill_and_resume(
        pd.DataFrame([training, {**training, "seed": 2}, {**training, "case": "b"}])
    ).splitlines()
    assert rows[2:5] == [
        "| a | 2 | 18 | 8 | 2 | 2 | 2 | 2 | 2 | 0 |",
        "| b | 1 | 9 | 4 | 1 | 1 | 1 | 1 | 1 | 0 |",
        "| **in all** | 3 | 27 | 12 | 3 | 3 | 3 | 3 | 3 | 0 |",
    ]
    cuts = {"epochs": 3, "operations": 107, "states": 140, "from_the_last_epoch": 139, "from_the_one_before": 1}
    table = tables.power_cuts(pd.DataFrame([{**cuts, "lost_more": 0, "device": "a CPU"}]))
    assert "| 3 | 107 | 140 | 139 | 1 | 0 |" in table
    versions = {
        "python": "3.13.5",
        "requirements": "newest",
        "tensorflow": "2.21.0",
        "keras": "3.15.1",
        "numpy": "2.4.6",
    }
    tests = {"tests": "default", "passed": 1170, "skipped": 3, "failed": 0, "minutes": 10.6, "device": "a CPU"}
    row = tables.versions(pd.DataFrame([{**versions, **tests}])).splitlines()[2]
    assert row == "| 3.13.5 | newest | 2.21.0 | 3.15.1 | 2.4.6 | default | 1,170 | 3 | a CPU | 11 |"
    kind = {"kind": "runs", "cases": 1000, "read": 600, "other_numbers": 100, "refused": 299, "failed": 1}
    rows = tables.hostile_files(pd.DataFrame([{**kind, "device": "a CPU"}])).splitlines()
    assert rows[2:4] == ["| runs | 1,000 | 600 | 100 | 299 | 1 |", "| **in all** | 1,000 | 600 | 100 | 299 | 1 |"]


def test_the_table_of_what_onednn_gains():
    step = {"measured": "predictions", "batch_size": 128, "seconds": 3.0, "seconds_without": 4.0, "ratio": 0.75}
    rows = [{**step, "network": network, "device": "a CPU"} for network in ("fast_model", "basic_model")]
    assert tables.onednn_speed(pd.DataFrame(rows)).splitlines()[2:4] == [
        "| basic_model | 128 | predictions | 3.0 | 4.0 | 0.75 |",
        "| fast_model | 128 | predictions | 3.0 | 4.0 | 0.75 |",
    ]


def test_the_table_of_first_steps():
    step = {"network": "basic_model", "times": 5, "seconds": 2.0, "plain_seconds": 4.0, "ratio": 0.5, "device": "a CPU"}
    assert tables.first_step(pd.DataFrame([step])).splitlines()[2] == "| `basic_model.py` | 2.0 | 4.0 | 0.50 |"


def test_the_interval_of_a_mean():
    """Of 93, 94 and 95 the mean is 94, its standard error 1 / sqrt(3), and Student's t with two degrees 4.3027."""
    assert interval(pd.Series([93.0, 94.0, 95.0])) == pytest.approx((94 - 2.4841, 94 + 2.4841), abs=1e-4)
    run = {"recipe": "fast_model.py", "epochs": 12, "test_accuracy": 0.93, "seconds": 4.5, "device": "a GPU"}
    runs = pd.DataFrame([{**run, "test_accuracy_with_views": share} for share in (0.93, 0.94, 0.95)])
    assert (
        "| `fast_model.py` | 12 | 3 | 93.00% | 94.00 %, interval 91.52 to 96.48 | 4.5 (4.5 to 4.5) |"
        in tables.fast_gpu(runs)
    )
    assert "| 94.00 % |" in tables.fast_gpu(runs.iloc[1:2])


def test_the_tables_of_many_trainings_say_what_was_measured():
    faults = {"dataset": "digits", "faults": 5, "worker_killed": 3, "head_killed": 2, "runs": 4, "differences": 0}
    rows = tables.cluster_faults(pd.DataFrame([{**faults, "nodes": 2, "device": "a CPU"}])).splitlines()
    assert rows[0] == "|  | 2 nodes, digits |"
    assert rows[2:7] == [
        "| worker killed | 3 |",
        "| head killed | 2 |",
        "| **faults in all** | **5** |",
        "| **complete runs** | **4** |",
        "| **differences** | **0** |",
    ]
    mnist = {"networks": 13, "seeds": 3, "epochs": 2, "seconds_without_ray": 600, "seconds_with_ray": 300, "ratio": 0.5}
    assert "| 13 | 3 | 2 | 10.0 | 5.0 | 0.50 |" in tables.cluster_mnist(pd.DataFrame([{**mnist, "device": "a CPU"}]))
    overhead = {"nodes": 8, "queued": 100, "seconds_asleep": 12.5, "seconds": 20.0}
    overhead |= {"seconds_beyond_for_each": 0.6, "seconds_of_the_driver_for_each": 0.0123, "device": "a CPU"}
    assert "| 8 | 100 | 12 | 20 | 0.60 | 0.012 |" in tables.cluster_overhead(pd.DataFrame([overhead]))
    trial = {"sampler": "tpe", "minutes": 30, "epochs": 6, "accuracy": 0.7, "given_up": None, "device": "a CPU"}
    trial["finalist_accuracy"] = 0.85
    ended = {**trial, "epochs": 2, "accuracy": 0.9}
    refused = {**trial, "epochs": 0, "accuracy": 0.0, "given_up": "seconds"}
    table = tables.search_trials(pd.DataFrame([trial, ended, refused]))
    assert "| Optuna's TPE | 30 | 3 | 1 | 8 | 70.0 % | 85.0 % |" in table
    found = [{"parameters": 1000, "epochs": 20, "test_accuracy": share, "device": "a CPU"} for share in (0.87, 0.89)]
    assert "| `results/found_model.py` | 1,000 | 20 | 2 | 88.00 % (87.00 to 89.00) |" in tables.found_model(
        pd.DataFrame(found)
    )
