"""The search for a network: its space, the script it writes, what it learns from, and what it says."""

import ast
import dataclasses
import json
import random
import re
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from convnets import cli, paths
from convnets.architectures import search_script, search_space
from convnets.data import datasets
from convnets.errors import UserError

CHOICE = {
    "blocks": 2, "convolutions": 1, "filters": 16, "growth": 1.5, "kernel": 3, "normalization": "batch",
    "activation": "relu", "dropout": 0.1, "flatten": "all", "dense_layers": 1, "units": 64, "dense_dropout": 0.5,
    "optimizer": "sgd", "batch_size": 64, "augmentation": "flip and shift",
    "learning_rate": 0.0012345, "weight_decay": 0.02,
}  # fmt: skip


def any_choice(seed):
    rng = random.Random(seed)
    ranges = {name: rng.uniform(*ends) for name, ends in search_space.RANGES.items()}
    return {**{name: rng.choice(values) for name, values in search_space.CHOICES.items()}, **ranges}


# ---------------------------------------------------------------- the networks


def test_the_layers_of_a_choice():
    names = [name for name, _, _ in search_space.layers(CHOICE, (32, 32, 3), 10)]
    block = ["Conv2D", "BatchNormalization", "Activation", "MaxPooling2D", "Dropout"]
    dense = ["Dense", "BatchNormalization", "Activation", "Dropout"]
    assert names == [*block, *block, "Flatten", *dense, "Dense", "Activation"]
    model = search_space.build_model(CHOICE, (32, 32, 3), 10)
    assert [layer.filters for layer in model.layers if isinstance(layer, keras.layers.Conv2D)] == [16, 24]
    # Convolutions without bias, normalization of four numbers a channel, 8 x 8 x 24 values into 64 units.
    assert model.count_params() == (27 * 16 + 64) + (9 * 16 * 24 + 96) + (8 * 8 * 24 * 64 + 256) + (64 * 10 + 10)


def test_small_images_are_not_halved_to_nothing():
    model = search_space.build_model({**CHOICE, "blocks": 4}, (8, 8, 1), 10)
    assert sum(isinstance(layer, keras.layers.MaxPooling2D) for layer in model.layers) == 3


def test_a_choice_is_trained_as_it_is_printed():
    assert search_space.rounded(CHOICE) == {**CHOICE, "learning_rate": 0.00123}


def test_sgd_gets_larger_steps_with_less_decay():
    name, rate, settings = search_space.optimizer_settings({**CHOICE, "learning_rate": 0.001})
    assert (name, rate, settings["weight_decay"]) == ("SGD", 0.02, 0.001)
    assert rate * settings["weight_decay"] == pytest.approx(0.001 * CHOICE["weight_decay"])  # AdamW's


def test_the_learning_rate_rises_for_an_epoch_and_falls_to_nothing():
    model = search_space.build_model(CHOICE, (8, 8, 1), 10)
    search_space.compile_model(CHOICE, model, epochs=5, steps_per_epoch=100)
    rates = [float(model.optimizer._learning_rate(step)) for step in (0, 50, 100, 500)]
    assert rates == pytest.approx([0, 0.01235, 0.0247, 0], abs=1e-9)


def test_digits_are_never_flipped():
    flips = {**CHOICE, "augmentation": "flip"}
    assert search_space.augmentation_settings(flips, flippable=False) is None
    assert search_space.augmentation_settings({**flips, "augmentation": "none"}, flippable=True) is None
    assert search_space.augmentation_settings(flips, flippable=True) == {
        "zoom": 0.0, "shift": 0.0, "horizontal_flip": True,
    }  # fmt: skip


# ---------------------------------------------------------------- the script


def written(choice, name="found_model"):
    settings = {"name": name, "epochs": 3, "precision": "float32", "found": "Found by a test."}
    text = search_script.script(choice, datasets.without_images("mnist"), **settings)
    module = {"__name__": name}
    exec(compile(text, f"{name}.py", "exec"), module)
    return text, module


@pytest.mark.parametrize("seed", range(6))
def test_the_script_trains_the_network_that_was_found(seed):
    choice = search_space.rounded(any_choice(seed))
    _, module = written(choice)

    def settings(model):
        layers = [{**layer.get_config(), "name": ""} for layer in model.layers]
        return json.dumps([layers, keras.optimizers.serialize(model.optimizer)["config"]], default=float)

    models = []
    for build, compiled in (
        (module["build_model"], lambda model: module["compile_model"](model, 100)),
        (lambda *shape: search_space.build_model(choice, *shape),
         lambda model: search_space.compile_model(choice, model, 3, 100)),
    ):  # fmt: skip
        keras.utils.clear_session()
        keras.utils.set_random_seed(0)
        model = build((28, 28, 1), 10)
        compiled(model)
        models.append(model)
    assert settings(models[0]).replace('"name": "sgd_1"', '"name": "sgd"') == settings(models[1])
    for weights, others in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        assert np.array_equal(weights, others)
    augment = module.get("augmentation_for", lambda flippable: None)(True)
    assert (augment and vars(augment)) == search_space.augmentation_settings(choice, True)
    assert module["BATCH_SIZE"] == choice["batch_size"]


def test_the_script_says_what_each_layer_returns():
    text, _ = written(CHOICE)
    assert '"""Train the network that search_models.py found.' in text
    assert "Found by a test." in text
    assert "python found_model.py --dataset mnist" in text
    assert 'PRECISION = "float32"' in text
    shapes = {line.split("#")[0].strip(): line.split("#")[1].strip() for line in text.splitlines() if ",  #" in line}
    assert shapes['MaxPooling2D((2, 2), name="pool2"),'] == "7 x 7 x 24"
    assert shapes["Flatten(),"] == "1176"
    assert shapes['Dense(num_classes, name="fc2"),'] == "10"
    assert "ReLU" not in text


def test_the_script_runs_on_its_own(few_digits, capsys):
    _, module = written({**CHOICE, "blocks": 2}, name="my_model")
    module["main"](["--dataset", "digits", "--epochs", "2", "--batch-size", "256"])
    history = pd.read_csv(paths.MODELS / "my_model-digits" / "history.csv")
    assert history["val_accuracy"].isna().tolist() == [True, False]  # tested at its end only
    assert "Test accuracy" in capsys.readouterr().out


# ---------------------------------------------------------------- the search

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install -r requirements-ray.txt")
pytest.importorskip("optuna", reason="Optuna is not installed: pip install -r requirements-ray.txt")

import search_models  # noqa: E402
from convnets.training import search, search_figures, search_record  # noqa: E402


def test_the_test_images_are_not_looked_at():
    images = np.arange(40, dtype="uint8").reshape(40, 1, 1, 1)
    labels = np.arange(40)
    dataset = datasets.Dataset("d", ("a",), images, labels, images[:5] + 100, labels[:5], "the tests")
    part = search.held_out_dataset(dataset)
    assert part.x_train.ravel().tolist() == list(range(36))
    assert part.x_test.ravel().tolist() == part.y_test.tolist() == list(range(36, 40))


def test_the_trials_get_the_held_out_images(tiny_dataset, tmp_path, monkeypatch):
    given = {}

    def stop(function, **settings):
        given.update(settings)
        raise UserError("enough")

    monkeypatch.setattr(search.tune, "with_parameters", stop)
    with pytest.raises(UserError, match="enough"):
        search.search(tiny_dataset, tmp_path / "s", minutes=1, epochs=3, limits=None, precision="float32", seed=1)
    assert (len(given["dataset"].x_train), len(given["dataset"].x_test), given["share"]) == (36, 4, 0.9)
    np.testing.assert_array_equal(given["dataset"].x_test, tiny_dataset.x_train[36:])


def trials(accuracies, seconds, epochs=6, **settings):
    rows = [
        {"accuracy": accuracy, "epochs": epochs, "seconds_an_epoch": second, "parameters": 10, "given_up": None,
         "curve": json.dumps([accuracy / 2, accuracy]), **search_space.rounded(any_choice(number)),
         **{name: values[number] for name, values in settings.items()}}
        for number, (accuracy, second) in enumerate(zip(accuracies, seconds, strict=True))
    ]  # fmt: skip
    return pd.DataFrame(rows)


FINISHED = trials([0.5], [10]).assign(finalist_accuracy=[0.75])


def test_the_front_has_what_nothing_beats_in_both():
    found = trials([0.5, 0.7, 0.6, 0.8, 0.75], [10, 20, 30, 40, 50])
    assert search.front(found)["accuracy"].tolist() == [0.5, 0.7, 0.8]


def test_networks_ended_early_are_not_on_the_front():
    found = pd.concat([trials([0.5], [10]), trials([0.9], [5], epochs=2)], ignore_index=True)
    assert search.front(found)["accuracy"].tolist() == [0.5]


def test_the_one_setting_that_matters_is_found():
    rng = np.random.default_rng(0)
    kernels = [3 if coin else 5 for coin in rng.integers(0, 2, 60)]
    found = trials([0.8 if kernel == 3 else 0.4 for kernel in kernels], rng.uniform(1, 9, 60), kernel=kernels)
    shares = search.importances(found)
    assert next(iter(shares)) == "kernel"
    assert shares["kernel"] > 0.8
    assert search.importances(found[:5]) == {}  # too few to say
    assert search.importances(trials([0.5] * 60, rng.uniform(1, 9, 60), kernel=kernels)) == {}  # all alike


def test_the_best_finalist_wins(monkeypatch, tmp_path, tiny_dataset):
    found = trials([0.9, 0.8, 0.7, 0.6, 0.5], [1, 2, 3, 4, 5])
    given_up = trials([0.0], [9], epochs=0)
    accuracies = iter([0.5, 0.7, 0.6, 0.4])

    def train_all(jobs, train):
        for job in jobs:
            assert train is search.train_choice
            assert (len(job.dataset.x_train), len(job.dataset.x_test)) == (36, 4)  # none of the test images
            assert job.epochs == job.arguments[1] == 6
            job.accuracy = next(accuracies)
        return []

    monkeypatch.setattr(search.cluster, "train_all", train_all)
    settings = {"epochs": 2, "precision": "float32", "seed": 1}
    found = pd.concat([found, given_up], ignore_index=True)
    judged = search.judge_finalists(found, tiny_dataset, tmp_path, **settings)
    assert judged["accuracy"].tolist() == [0.8, 0.7, 0.9, 0.6, 0.5, 0.0]
    assert judged["finalist_accuracy"].tolist()[:4] == [0.7, 0.6, 0.5, 0.4]
    assert judged["finalist_accuracy"].isna().tolist() == [False] * 4 + [True] * 2


def test_a_network_that_is_too_slow_is_given_up_after_some_steps_or_an_epoch(tmp_path):
    def watch(limit):
        watch = search._Watch(tmp_path, search.Limits(1000, limit), share=0.5)
        watch.set_params({"steps": 100})
        return watch

    slow, fast = watch(-1), watch(1e9)
    slow.on_epoch_begin(0)
    fast.on_epoch_begin(0)
    for number in range(search.STEPS_TO_TIME - 1):
        slow.on_train_batch_end(number)
        fast.on_train_batch_end(number)
    fast.on_train_batch_end(search.STEPS_TO_TIME)
    with pytest.raises(search._GiveUp, match="seconds"):
        slow.on_train_batch_end(search.STEPS_TO_TIME)
    with pytest.raises(search._GiveUp, match="seconds"):
        slow.on_epoch_end(0)
    slow._seconds = [3.0, 2.0, 2.0]  # the first one with compiling
    assert slow._seconds_an_epoch() == 2 * 100 / 0.5
    only = watch(-1)
    only.set_params({"steps": 1})
    only.on_epoch_begin(0)
    only.on_train_batch_end(0)
    only._seconds = [3.0]
    assert only._seconds_an_epoch() == 3 / 0.5
    with pytest.raises(search._GiveUp, match="seconds"):
        only.on_epoch_end(0)


def test_a_choice_comes_back_from_the_table_of_trials(tmp_path):
    found = trials([0.5], [10])
    found.to_csv(tmp_path / "trials.csv", index=False)
    choice = search.choice_of(pd.read_csv(tmp_path / "trials.csv").iloc[0])
    assert choice == search_space.rounded(any_choice(0))
    assert search_space.layers(choice, (32, 32, 3), 10) == search_space.layers(any_choice(0), (32, 32, 3), 10)


def test_the_page_shows_curves_importances_and_the_front():
    found = trials(np.linspace(0.3, 0.8, 12), np.arange(1.0, 13))
    page = search_figures.search_page(found, {"kernel": 0.9, "batch_size": 0.1}, search.front(found))
    curves, bars, scatter = page.axes
    assert len(curves.lines) == 12
    assert [label.get_text() for label in bars.get_yticklabels()] == ["batch size", "kernel"]
    assert len(scatter.collections[0].get_offsets()) == 12


def options(*words):
    return search_models.new_parser().parse_args(["--precision", "float32", *words])


def test_a_search_goes_on_only_with_what_it_was_asked_for(tiny_dataset):
    with search_record.opened(tiny_dataset, options("--minutes", "7")):
        pass  # what ends before the search begins, as with an option that is missing, binds nobody
    with search_record.opened(tiny_dataset, options("--minutes", "3")) as record:
        record.begin()
        storage = record.storage
        assert record.trials() is None
    with search_record.opened(tiny_dataset, options("--minutes", "3")) as record:
        assert record.storage == storage
    note = paths.MODELS / ".search-tiny.trials"
    note.rename(paths.MODELS / "elsewhere")
    with (
        pytest.raises(UserError, match=r"nothing says that .* was begun here, and its trials may hold code"),
        search_record.opened(tiny_dataset, options("--minutes", "3")),
    ):
        pass
    (paths.MODELS / "elsewhere").rename(note)
    changed = r"is another search \(minutes was 3, now 9\).*--fresh"
    with pytest.raises(UserError, match=changed), search_record.opened(tiny_dataset, options("--minutes", "9")):
        pass
    with search_record.opened(tiny_dataset, options("--minutes", "9", "--fresh")) as record:
        assert record.folder.exists()  # until it begins
        record.begin()
        assert record.storage != storage  # others may use the same folder or bucket
        record.finish(FINISHED)
    with search_record.opened(tiny_dataset, options("--minutes", "9")) as record:
        assert record.trials()["accuracy"].tolist() == [0.5]
    (paths.MODELS / "search-tiny" / "search.json").unlink()
    lost = search_record.opened(tiny_dataset, options("--minutes", "9"))
    with pytest.raises(UserError, match=r"has lost search.json.*--fresh"), lost:
        pass


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("learning_rate", "__import__('os').abort()"),  # this one would become code
        ("batch_size", 10**9),
        ("optimizer", "nadam"),
        ("parameters", "many"),
        ("curve", None),  # no such column
        ("curve", "[0.5"),
        ("curve", '["a"]'),
    ],
)
def test_a_stranger_s_table_of_trials_is_refused(setting, value, tiny_dataset):
    with search_record.opened(tiny_dataset, options()) as record:
        record.begin()
        table = FINISHED.astype({setting: object}).assign(**{setting: value})
        record.finish(table if value else table.drop(columns=setting))
        with pytest.raises(UserError, match=r"trials.csv is damaged: --fresh"):
            record.trials()


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        *(("trials", name) for name in ("../../precious", "/precious", "trials-../../precious", 7)),
        ("precision", 'float32"\nprint("run")\nX = "'),
        ("precision", "float64"),
    ],
)
def test_a_stranger_s_search_names_no_other_folder_and_brings_no_code(entry, value, tiny_dataset):
    """The folder of the trials is removed when the search is finished, and the precision is a line of a script."""
    with search_record.opened(tiny_dataset, options()) as record:
        record.begin()
    path = paths.MODELS / "search-tiny" / "search.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), entry: value}))
    with pytest.raises(UserError, match="can't be read"), search_record.opened(tiny_dataset, options()):
        pass


@pytest.mark.parametrize(("diverged", "best"), [((1,), 0.6), ((0, 1), None)])
def test_a_finalist_whose_loss_becomes_nan_has_lost(diverged, best, tiny_dataset, monkeypatch, tmp_path):
    def train_all(jobs, train):
        for number, job in enumerate(jobs):
            job.accuracy, job.not_finite = 0.6, number in diverged
            job.notes.append("the loss is no longer a number")
        return [job for job in jobs if job.not_finite]

    monkeypatch.setattr(search.cluster, "train_all", train_all)
    found = trials([0.5, 0.9], [10, 10])
    settings = {"epochs": 2, "precision": "float32", "seed": 1}
    if best is None:
        with pytest.raises(UserError, match=r"NaN: finalist-1 \(.*--fresh"):
            search.judge_finalists(found, tiny_dataset, tmp_path, **settings)
        return
    judged = search.judge_finalists(found, tiny_dataset, tmp_path, **settings)
    assert judged["finalist_accuracy"].iloc[0] == best
    assert judged["accuracy"].tolist() == [0.5, 0.9]
    assert np.isnan(judged["finalist_accuracy"].iloc[1])


def test_a_folder_s_name_can_not_end_the_docstring(tiny_dataset):
    dataset = dataclasses.replace(tiny_dataset, folder='/pictures/a"""b')
    settings = {"name": "found_model", "epochs": 2, "precision": "float32", "found": "Found."}
    compiled = ast.parse(search_script.script(search_space.rounded(any_choice(0)), dataset, **settings))
    assert 'a"""b' in ast.get_docstring(compiled)
    dataset = dataclasses.replace(tiny_dataset, folder="/my pictures/a\\b")
    text = search_script.script(search_space.rounded(any_choice(0)), dataset, **settings)
    assert cli.command_line(["--dataset", "/my pictures/a\\b"]) in ast.get_docstring(ast.parse(text))


def test_a_search_is_not_opened_twice(tiny_dataset):
    again = search_record.opened(tiny_dataset, options())
    with search_record.opened(tiny_dataset, options()), pytest.raises(UserError, match="another process"), again:
        pass


def test_a_record_that_is_no_json_is_one_line(tiny_dataset):
    folder = paths.MODELS / "search-tiny"
    folder.mkdir(parents=True)
    (folder / "search.json").write_text("{")
    with pytest.raises(UserError, match="--fresh starts a new search"), search_record.opened(tiny_dataset, options()):
        pass


def test_another_network_s_script_and_run_are_kept(tmp_path):
    script, run = tmp_path / "found_model.py", tmp_path / "found_model-d"
    search_record.write_script(script, "one", run)
    run.mkdir()
    (run / "run.json").write_text("{}")
    search_record.write_script(script, "one", run)  # nothing has changed
    search_record.write_script(script, "one" + "def main(argv=None): of another version", run)
    assert run.exists()
    search_record.write_script(script, "two", run)
    assert script.read_text() == "two"
    assert not run.exists()
    assert (tmp_path / "found_model-d-old-1" / "run.json").exists()
    assert (tmp_path / "found_model.py-old-1").read_text() == "one"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (Path("/elsewhere/found.py"), "must be a .py file in"),
        (paths.PROJECT / "README.md", "must be a .py file in"),
        (paths.PROJECT / "basic_model.py", "is another script"),
    ],
)
def test_no_other_script_is_overwritten(path, message):
    with pytest.raises(UserError, match=message):
        search_record.refuse_other_scripts(path)


def ended(number, accuracy=None, *, finished=True, **result):
    class Trial:
        last_result = {"accuracy": accuracy, "epochs": 2, **result} if accuracy is not None else {}

        def is_finished(self):
            return finished

        def get_error(self):
            return f"broken {number}"

    return Trial()


def test_each_network_that_ends_is_told(capsys):
    told = search._Print()
    running, one, two = ended(0, 0.9, finished=False), ended(1, 0.5), ended(2, 0.4, finished=False)
    told.on_trial_complete(0, [running, one, two], two)  # Tune calls it before it marks the trial as finished
    told.on_trial_complete(0, [running, one], ended(3))
    told.on_trial_complete(0, [one], ended(4, 0.0, given_up="seconds"))
    told.on_trial_error(0, [], ended(5))
    assert capsys.readouterr().out.splitlines() == [
        "Network 2: 40.00% of held-out images after epoch 2; best so far 50.00%",
        "Network 1: given up: an epoch takes too long; best so far 50.00%",
        "A network could not be trained: broken 5",
    ]


@pytest.fixture
def ends(monkeypatch):
    """Return a function that says whether a search of 60 seconds, for three epochs, ends after so many seconds."""
    stopper, now = search._TimeIsOver(60, epochs=3), [1000]
    monkeypatch.setattr(time, "time", lambda: now[0])
    assert not stopper.stop_all()  # from here on, the time counts

    def ends_after(seconds, *results):
        now[0] = 1000 + seconds
        for trial_id, result in results:
            stopper(trial_id, result)
        return stopper.stop_all()

    return ends_after


def test_a_search_ends_when_its_time_is_over(ends):
    assert not ends(59, ("a", {"epochs": 3}))
    assert ends(61)


def test_a_search_waits_until_one_network_is_trained_to_its_last_epoch(ends):
    assert not ends(61, ("a", {"epochs": 2}))
    assert not ends(599)
    assert ends(599, ("b", {"epochs": 3}))


def test_a_search_ends_after_many_networks_were_given_up(ends):
    given_up = [(str(number), {"epochs": 0, "given_up": "seconds"}) for number in range(search.MOST_GIVEN_UP)]
    assert not ends(61, *given_up[1:], *given_up[1:])  # Tune repeats a trial's last result
    assert ends(61, given_up[0])


def test_a_search_ends_after_ten_times_its_minutes_without_any_result(ends):
    assert not ends(599)
    assert ends(601)


class Result:
    def __init__(self, metrics, config=None):
        self.metrics, self.config = metrics, config or any_choice(0)


def test_a_search_without_any_network_within_its_limits_says_what_to_do():
    given_up = Result({"accuracy": 0.0, "epochs": 0, "given_up": "parameters"})
    with pytest.raises(UserError, match="more --minutes or larger --max-parameters"):
        search.table([Result(None), given_up])


def test_networks_trained_to_the_end_come_first():
    results = [
        Result({"accuracy": 0.9, "epochs": 2, "curve": "[0.8, 0.9]"}),
        Result({"accuracy": 0.5, "epochs": 6, "curve": "[0.1, 0.5]"}),
        Result({"accuracy": 0.6, "epochs": 6, "curve": "[0.1, 0.6]"}),
    ]
    assert search.table(results)["accuracy"].tolist() == [0.6, 0.5, 0.9]


def test_held_out_pictures_of_a_folder_are_of_all_classes():
    """They come in the order of their names, which often begin with the class."""
    labels = np.repeat([0, 1], 100)
    images = np.zeros((200, 1, 1, 1), dtype="uint8")
    dataset = datasets.Dataset("d", ("a", "b"), images, labels, images, labels, "the tests", folder="/pictures")
    part = search.held_out_dataset(dataset)
    assert set(part.y_test.tolist()) == set(part.y_train.tolist()) == {0, 1}
    assert (len(part.y_train), len(part.y_test)) == (180, 20)


@pytest.mark.slow
def test_a_search_on_digits_ends_with_a_script_that_is_trained(tmp_path, request, capfd):
    script = paths.PROJECT / f"found_model_{tmp_path.parent.name}.py"  # of this test alone
    request.addfinalizer(lambda: script.unlink(missing_ok=True))
    words = ["--dataset", "digits", "--minutes", "1", "--epochs", "3", "--final-epochs", "2", "--precision", "float32"]
    words += ["--output", str(script), "--output-dir", str(tmp_path)]
    search_models.main(words)
    found = pd.read_csv(paths.MODELS / "search-digits" / "trials.csv")
    assert found["epochs"].max() == 3
    finalists = found["finalist_accuracy"].dropna()
    best = found.sort_values(["epochs", "accuracy"], ascending=False, kind="stable").head(len(finalists))
    assert found.loc[finalists.index, "accuracy"].sum() == pytest.approx(best["accuracy"].sum())  # the longest trained
    assert len(finalists) == min(search.FINALISTS, (found["epochs"] > 0).sum())
    assert finalists.is_monotonic_decreasing
    assert any(max(json.loads(curve)) > json.loads(curve)[0] for curve in found["curve"].dropna())  # one has learned
    assert (tmp_path / "search-digits.png").exists()
    history = pd.read_csv(paths.MODELS / f"{script.stem}-digits" / "history.csv")
    assert history["val_accuracy"].isna().tolist() == [True, False]  # tested at its end only
    assert "Test accuracy" in capfd.readouterr().out
    search_models.main(words)  # once more: nothing is searched or trained again
    said = capfd.readouterr().out
    assert f"This search is finished: {len(found)} networks" in said
    assert "This run is finished after 2 epochs" in said


@pytest.mark.slow
def test_a_search_on_two_machines_goes_on_after_one_has_died_and_then_the_command(tmp_path, request):
    """The machines are processes here, and share a folder. What was told of a network is in the table in the end."""
    from benchmarks import cluster_faults

    script = paths.PROJECT / f"found_model_{tmp_path.parent.name}.py"
    request.addfinalizer(lambda: script.unlink(missing_ok=True))
    models, log = tmp_path / "models", tmp_path / "driver.log"
    models.mkdir()
    words = ["--dataset", "digits", "--minutes", "60", "--epochs", "2", "--final-epochs", "2", "--precision", "float32"]
    words += ["--output", str(script), "--output-dir", str(tmp_path), "--storage", str(tmp_path / "storage")]
    driver = cluster_faults.DRIVER.replace("compare_models", "search_models")
    driver = f"from convnets.training import search; search.MOST_NETWORKS = 5; {driver}"  # however long they take
    with cluster_faults.Trial(models, 2, words, random.Random(1), driver) as trial:
        told = re.compile(r"^Network (\d+): ([\d.]+)% of held-out images after epoch (\d)", re.MULTILINE)
        while not trial.ended and not told.search(log.read_text()):
            time.sleep(0.1)
        assert trial.node_removed()
        time.sleep(15)  # while Ray looks for the machine, and Tune saves its state
        assert trial.driver_killed()
        trial.driver.wait(timeout=1800)
        said = log.read_text()
        assert trial.driver.returncode == 0, said
    found = pd.read_csv(models / "search-digits" / "trials.csv")
    curves = [json.loads(curve) for curve in found["curve"].dropna()]
    numbers = [int(number) for number, _, _ in told.findall(said)]
    assert numbers.count(1) == 1  # the second command did not begin anew
    assert len(found) >= max(numbers)
    for _, accuracy, epoch in told.findall(said):
        assert any(len(curve) >= int(epoch) and f"{curve[int(epoch) - 1]:.2%}" == f"{accuracy}%" for curve in curves)
    assert "Trial task failed" not in said  # Tune's traceback
    assert "could not be trained" not in said
    assert found["finalist_accuracy"].notna().sum() == min(search.FINALISTS, len(curves))
    assert (models / f"{script.stem}-digits" / "epoch-0002.weights.h5").exists()
    assert list((tmp_path / "storage").iterdir()) == []  # what was only needed to go on is gone
