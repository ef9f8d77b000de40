"""The search for a network: its space, the script it writes, what it learns from, and what it says."""

import json
import random

import keras
import numpy as np
import pandas as pd
import pytest

from convnets import paths
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
    assert rates == pytest.approx([0, 0.5 * 20 * 0.0012345, 20 * 0.0012345, 0], abs=1e-9)


def test_digits_are_never_flipped():
    flips = {**CHOICE, "augmentation": "flip"}
    assert search_space.augmentation_settings(flips, flippable=False) is None
    assert search_space.augmentation_settings({**flips, "augmentation": "none"}, flippable=True) is None
    assert search_space.augmentation_settings(flips, flippable=True) == {
        "zoom": 0.0, "shift": 0.0, "horizontal_flip": True,
    }  # fmt: skip


# ---------------------------------------------------------------- the script


def written(choice, name="found_model"):
    text = search_script.script(choice, (28, 28, 1), 10, name=name, epochs=3, found="Found by a test.")
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
    shapes = {line.split("#")[0].strip(): line.split("#")[1].strip() for line in text.splitlines() if ",  #" in line}
    assert shapes['MaxPooling2D((2, 2), name="pool2"),'] == "7 x 7 x 24"
    assert shapes["Flatten(),"] == "1176"
    assert shapes['Dense(num_classes, name="fc2"),'] == "10"
    assert "ReLU" not in text


def test_the_script_runs_on_its_own(capsys):
    _, module = written({**CHOICE, "blocks": 2}, name="my_model")
    module["main"](["--dataset", "digits", "--epochs", "2", "--batch-size", "256"])
    assert (paths.MODELS / "my_model-digits" / "epoch-0002.weights.h5").exists()
    assert "Test accuracy" in capsys.readouterr().out


# ---------------------------------------------------------------- the search

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install -r requirements-ray.txt")
pytest.importorskip("optuna", reason="Optuna is not installed: pip install -r requirements-ray.txt")

import search_models  # noqa: E402
from convnets.training import search, search_figures  # noqa: E402


def test_the_test_images_are_not_looked_at():
    images = np.arange(40, dtype="uint8").reshape(40, 1, 1, 1)
    labels = np.arange(40)
    dataset = datasets.Dataset("d", ("a",), images, labels, images[:5] + 100, labels[:5], "the tests")
    part = search.held_out_dataset(dataset)
    assert part.x_train.ravel().tolist() == list(range(36))
    assert part.x_test.ravel().tolist() == part.y_test.tolist() == list(range(36, 40))
    few = search.held_out_dataset(dataset, most_images=10)
    assert few.x_train.ravel().tolist() == few.y_train.tolist() == list(range(10))
    assert few.x_test.ravel().tolist() == list(range(36, 40))


def trials(accuracies, seconds, epochs=6, **settings):
    rows = [
        {"accuracy": accuracy, "epochs": epochs, "seconds_an_epoch": second, "parameters": 10, "given_up": None,
         "curve": json.dumps([accuracy / 2, accuracy]), **search_space.rounded(any_choice(number)),
         **{name: values[number] for name, values in settings.items()}}
        for number, (accuracy, second) in enumerate(zip(accuracies, seconds, strict=True))
    ]  # fmt: skip
    return pd.DataFrame(rows)


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


def test_the_best_finalist_wins(monkeypatch, tmp_path, tiny_dataset):
    found = trials([0.9, 0.8, 0.7, 0.6], [1, 2, 3, 4])
    given_up = trials([0.0], [9], epochs=0)
    accuracies = iter([0.5, 0.7, 0.6])

    def train_all(jobs, train):
        for job in jobs:
            assert train is search.train_choice
            assert (len(job.dataset.x_train), len(job.dataset.x_test)) == (36, 4)  # none of the test images
            job.accuracy = next(accuracies)
        return []

    monkeypatch.setattr(search.cluster, "train_all", train_all)
    settings = {"epochs": 2, "precision": "float32", "seed": 1}
    judged = search.judge_finalists(pd.concat([found, given_up], ignore_index=True), tiny_dataset, tmp_path, **settings)
    assert judged["accuracy"].tolist() == [0.8, 0.7, 0.9, 0.6, 0.0]
    assert judged["finalist_accuracy"].tolist()[:3] == [0.7, 0.6, 0.5]
    assert judged["finalist_accuracy"].isna().tolist() == [False, False, False, True, True]


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


def test_another_search_is_not_taken_for_this_one(tmp_path):
    asked = {"dataset": "digits", "minutes": 3}
    search_models.refuse_another(tmp_path, {}, asked)
    search_models.refuse_another(tmp_path, asked, asked)
    with pytest.raises(UserError, match=r"is another search \(minutes was 3, now 9\).*--fresh"):
        search_models.refuse_another(tmp_path, asked, {**asked, "minutes": 9})


def test_a_record_that_is_no_json_is_one_line(tmp_path):
    (tmp_path / "search.json").write_text("{")
    with pytest.raises(UserError, match="--fresh starts a new search"):
        search_models.read_record(tmp_path)


@pytest.mark.slow
def test_a_search_on_digits_ends_with_a_script_that_is_trained(tmp_path, monkeypatch, capfd):
    options = [
        "--dataset",
        "digits",
        "--minutes",
        "1",
        "--epochs",
        "3",
        "--final-epochs",
        "2",
        "--precision",
        "float32",
    ]
    options += ["--output", str(tmp_path / "found_model.py"), "--output-dir", str(tmp_path)]
    monkeypatch.setenv("PYTHONPATH", str(paths.PROJECT))  # the script is not beside the others here
    search_models.main(options)
    found = pd.read_csv(paths.MODELS / "search-digits" / "trials.csv")
    assert found["epochs"].iloc[0] == 3
    assert found["accuracy"].between(0, 1).all()
    assert (tmp_path / "search-digits.png").exists()
    assert (paths.MODELS / "found_model-digits" / "epoch-0002.weights.h5").exists()
    assert "Test accuracy" in capfd.readouterr().out
    search_models.main(options)  # once more: nothing is searched or trained again
    said = capfd.readouterr().out
    assert f"This search is finished: {len(found)} networks" in said
    assert "This run is finished after 2 epochs" in said
