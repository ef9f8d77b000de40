"""The articles' networks, their recipes, and the script that trains and compares them."""

import dataclasses
import re
import shutil

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import basic_model
import compare_models
from convnets import cli, drawing, paths
from convnets.architectures import articles, bernet
from convnets.data import datasets
from convnets.errors import Stopped, UserError
from convnets.training import checkpoints, comparison, comparison_figures, training

NETWORKS = compare_models.networks()

# ---------------------------------------------------------------- the networks

RECIPES = {  # from the articles: dataset, epochs, batch size, optimizer, validation split, published
    "jeffries-simple": ("cifar10", 100, 128, "adam", 0, (79.35, 79.35)),
    "jeffries-dilated": ("cifar10", 50, 256, "adam", 0, (81.40, 81.40)),  # the article: 75 epochs
    "scadamale-dense": ("mnist", 40, 100, "adam", 0.1, (95.49, 95.49)),
    "scadamale-dense-deeper": ("mnist", 40, 100, "adam", 0.1, (None, None)),
    "scadamale-dense-wider": ("mnist", 100, 100, "adam", 0.1, (None, None)),  # "degrades after epoch 50 or so"
    "scadamale-one-conv": ("mnist", 8, 128, "adam", 0.1, (98.64, 98.64)),
    "scadamale-two-convs": ("mnist", 15, 128, "adam", 0.1, (99.07, 99.07)),
    "scadamale-dropout": ("mnist", 15, 128, "adam", 0, (99.13, 99.13)),
    "scadamale-dropout-sgd": ("mnist", 15, 128, "sgd", 0, (96, 97)),
    "bernet-dense-100": ("mnist", 10, 50, "rmsprop", 0, (98, 100)),
    "bernet-dropout": ("mnist", 10, 50, "rmsprop", 0, (None, None)),
    "bernet-dense-200": ("mnist", 10, 50, "rmsprop", 0, (None, None)),
    "bernet-dense-50": ("mnist", 10, 50, "rmsprop", 0, (None, None)),
    "bernet-dense-50-50": ("mnist", 10, 50, "rmsprop", 0, (None, None)),
    "bernet-two-convs": ("mnist", 10, 50, "rmsprop", 0, (99, 100)),
    "bernet-best": ("mnist", 40, 200, "rmsprop", 0, (99.4, 99.4)),
}
CONV_RELU = "Conv2D 32, relu, Conv2D 32, relu, MaxPooling2D, Dropout 0.25, "
DILATED = "Conv2D 32, leaky, Conv2D 64, leaky, Conv2D 32, leaky, "
LAYERS = {  # in the articles' order
    "jeffries-simple": 2 * CONV_RELU + "Flatten, Dense 256, relu, Dropout 0.5, Dense 10, softmax",
    "jeffries-dilated": DILATED
    + "Conv2D 32, leaky, MaxPooling2D, Dropout 0.35, "
    + DILATED
    + "MaxPooling2D, Dropout 0.25, Flatten, "
    + "Dense 256 relu, Dropout 0.35, Dense 256 relu, Dropout 0.25, Dense 10 softmax",
    "scadamale-dense": "Rescaling, Flatten, Dense 20 relu, Dense 15 relu, Dense 10 softmax",
    "scadamale-dense-deeper": "Rescaling, Flatten, Dense 20 relu, Dense 15 relu, Dense 15 relu, Dense 10 softmax",
    "scadamale-dense-wider": "Rescaling, Flatten, Dense 200 relu, Dense 150 relu, Dense 10 softmax",
    "scadamale-one-conv": "Conv2D 8, relu, MaxPooling2D, Flatten, Dense 128, relu, Dense 10, softmax",
    "scadamale-two-convs": "Conv2D 8, relu, Conv2D 8, relu, MaxPooling2D, Flatten, Dense 128, relu, Dense 10, softmax",
    # The article writes the rates as 1 - 0.25 and 1 - 0.5.
    "scadamale-dropout": "Conv2D 32, relu, Conv2D 32, relu, MaxPooling2D, Dropout 0.75, "
    "Flatten, Dense 128, relu, Dropout 0.5, Dense 10, softmax",
    "bernet-dense-100": "Conv2D 10 relu, Flatten, Dense 100 relu, Dense 10 softmax",
    "bernet-dropout": "Conv2D 10 relu, Flatten, Dropout 0.5, Dense 100 relu, Dense 10 softmax",
    "bernet-dense-200": "Conv2D 10 relu, Flatten, Dropout 0.5, Dense 200 relu, Dense 10 softmax",
    "bernet-dense-50": "Conv2D 10 relu, Flatten, Dropout 0.5, Dense 50 relu, Dense 10 softmax",
    "bernet-dense-50-50": "Conv2D 10 relu, Flatten, Dropout 0.5, Dense 50 relu, Dense 50 relu, Dense 10 softmax",
    "bernet-two-convs": "Conv2D 10 relu, MaxPooling2D, Conv2D 20 relu, Flatten, Dropout 0.5, "
    "Dense 100 relu, Dense 10 softmax",
    "bernet-best": "Conv2D 16 relu, MaxPooling2D, Conv2D 32 relu, MaxPooling2D, Flatten, Dropout 0.4, "
    "Dense 100 relu, Dense 10 softmax",
}
LAYERS["scadamale-dropout-sgd"] = LAYERS["scadamale-dropout"]
PARAMETERS = {  # weights and biases, worked out by hand
    "jeffries-simple": 28 * 32 + 3 * 289 * 32 + 801 * 256 + 257 * 10,
    "jeffries-dilated": 28 * 32 + 2 * 289 * 64 + 2 * 577 * 32 + 2 * 289 * 32 + 513 * 256 + 257 * 256 + 257 * 10,
    "scadamale-dense": 785 * 20 + 21 * 15 + 16 * 10,
    "scadamale-dense-deeper": 785 * 20 + 21 * 15 + 16 * 15 + 16 * 10,
    "scadamale-dense-wider": 785 * 200 + 201 * 150 + 151 * 10,
    "scadamale-one-conv": 17 * 8 + 1153 * 128 + 129 * 10,
    "scadamale-two-convs": 17 * 8 + 129 * 8 + 969 * 128 + 129 * 10,
    "scadamale-dropout": 10 * 32 + 289 * 32 + 4609 * 128 + 129 * 10,
    "scadamale-dropout-sgd": 10 * 32 + 289 * 32 + 4609 * 128 + 129 * 10,
    "bernet-dense-100": 17 * 10 + 6251 * 100 + 101 * 10,
    "bernet-dropout": 17 * 10 + 6251 * 100 + 101 * 10,
    "bernet-dense-200": 17 * 10 + 6251 * 200 + 201 * 10,
    "bernet-dense-50": 17 * 10 + 6251 * 50 + 51 * 10,
    "bernet-dense-50-50": 17 * 10 + 6251 * 50 + 51 * 50 + 51 * 10,
    "bernet-two-convs": 17 * 10 + 161 * 20 + 1621 * 100 + 101 * 10,
    "bernet-best": 17 * 16 + 257 * 32 + 513 * 100 + 101 * 10,
    "wang-basic": 477_994,
    "wang-improved": 1_469_994,
    "wang-sparse": 477_994,
}


def build(name):
    network = NETWORKS[name]
    return network.build_model(datasets.INPUT_SHAPES[network.dataset], 10)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_the_article_s(name):
    n = NETWORKS[name]
    assert n.name == name
    assert (n.dataset, n.epochs, n.batch_size, n.optimizer, n.validation_split, (n.low, n.high)) == RECIPES[name]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_has_the_article_s_parameters_and_returns_probabilities(name):
    model = build(name)
    assert model.count_params() == PARAMETERS[name]
    outputs = model(np.zeros((2, *model.input_shape[1:]), "float32"))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(outputs).sum(axis=1), 1, atol=1e-6)


def in_words(layer):
    kind = type(layer).__name__
    if kind in ("Activation", "LeakyReLU"):
        return layer.activation.__name__ if kind == "Activation" else "leaky"
    size = next((getattr(layer, name) for name in ("filters", "units", "rate") if hasattr(layer, name)), "")
    activation = getattr(layer, "activation", keras.activations.linear).__name__
    return f"{kind} {size} {activation.replace('linear', '')}".strip()


@pytest.mark.parametrize("name", LAYERS)
def test_a_network_s_layers_stand_in_the_article_s_order(name):
    assert ", ".join(map(in_words, build(name).layers)) == LAYERS[name]


def test_the_settings_of_the_articles_optimizers_are_still_keras_s_defaults():
    rates = {name: float(keras.optimizers.get(name).learning_rate) for name in ("adam", "rmsprop", "sgd")}
    assert rates == pytest.approx({"adam": 0.001, "rmsprop": 0.001, "sgd": 0.01})
    assert keras.optimizers.get("sgd").momentum == 0
    assert keras.optimizers.get("rmsprop").rho == 0.9


def test_what_is_special_in_some_networks():
    dilated = [layer for layer in build("jeffries-dilated").layers if isinstance(layer, keras.layers.Conv2D)]
    assert [layer.padding for layer in dilated] == ["valid", "same", "valid", "valid", "valid", "same", "valid"]
    slopes = [
        layer.negative_slope for layer in build("jeffries-dilated").layers if isinstance(layer, keras.layers.LeakyReLU)
    ]
    assert slopes == pytest.approx([0.003] * 7)

    dense = build("scadamale-dense")
    np.testing.assert_array_equal(dense.layers[0](np.ones((1, 28, 28, 1), "float32")), 255)  # bytes, as in the article
    # The article's 'normal': a normal distribution with a standard deviation of 0.05.
    weights = dense.layers[2].get_weights()[0]
    assert weights.std() == pytest.approx(0.05, rel=0.05)


def test_another_optimizer_makes_another_experiment():
    best = NETWORKS["bernet-best"]
    assert best.with_optimizer(None) is best
    assert best.with_optimizer("rmsprop") is best
    slow = best.with_optimizer("sgd")
    assert (slow.name, slow.optimizer, slow.published, slow.low) == ("bernet-best-sgd", "sgd", "", None)
    assert NETWORKS["scadamale-dropout"].with_optimizer("sgd", NETWORKS.values()) is NETWORKS["scadamale-dropout-sgd"]
    assert NETWORKS["scadamale-dropout-sgd"].with_optimizer("adam", NETWORKS.values()) is NETWORKS["scadamale-dropout"]


def test_runs_are_named_after_network_dataset_and_seed():
    assert NETWORKS["bernet-best"].run_name("mnist") == "bernet-best-mnist"
    assert NETWORKS["bernet-best"].run_name("digits", seed=2) == "bernet-best-digits-seed2"
    assert NETWORKS["wang-basic"].run_name("cifar10") == "basic_model-cifar10"
    assert comparison.without_seed("bernet-best-digits-seed2") == "bernet-best-digits"


def test_a_run_that_was_not_tested_has_no_result():
    tested = {"epoch": 1, "val_accuracy": 0.5, "val_loss": 1.0}
    checkpoint = checkpoints.Checkpoint(paths.MODELS / "fast", 2, "", {}, [tested, {"epoch": 2}], [])
    with pytest.raises(UserError, match="fast was not tested after epoch 2: train it to its last epoch"):
        comparison.run_row(checkpoint)


# ---------------------------------------------------------------- published against measured


def test_published_against_measured_worked_out_by_hand():
    one = {"best_test_accuracy": 0.99, "epochs": 15, "seconds_an_epoch": 2.0, "minutes": 1.0}
    rows = [
        {**one, "run": "scadamale-two-convs-mnist", "seed": 1337, "test_accuracy": 0.9850},
        {**one, "run": "scadamale-two-convs-mnist", "seed": 2, "test_accuracy": 0.9890, "minutes": 3.0},
        {**one, "run": "bernet-dense-100-mnist", "seed": 1337, "test_accuracy": 0.9885},
        {**one, "run": "scadamale-dropout-sgd-mnist", "seed": 1337, "test_accuracy": 0.9725},
        {**one, "run": "bernet-dropout-mnist", "seed": 1337, "test_accuracy": 0.9889},
        {**one, "run": "bernet-dropout-digits", "seed": 1337, "test_accuracy": 0.9},
    ]
    table = comparison.compare(pd.DataFrame(rows), NETWORKS.values()).set_index(["network", "dataset"])
    assert list(table.index) == [
        ("bernet-dropout", "digits"), ("bernet-dropout", "mnist"), ("bernet-dense-100", "mnist"),
        ("scadamale-two-convs", "mnist"), ("scadamale-dropout-sgd", "mnist"),
    ]  # fmt: skip
    two = table.loc[("scadamale-two-convs", "mnist")]
    assert (two["measured"], two["lowest"], two["highest"], two["seeds"], two["minutes"]) == (98.7, 98.5, 98.9, 2, 1.0)
    assert two["points_apart"] == pytest.approx(98.70 - 99.07)
    assert (two["interval_low"], two["interval_high"]) == pytest.approx((98.7 - 12.706 * 0.2, 100), abs=1e-3)
    assert two["verdict"] == "holds"
    assert np.isnan(table.loc[("bernet-dropout", "mnist"), "interval_low"])  # of one run
    assert pd.isna(table.loc[("bernet-dense-100", "mnist"), "verdict"])
    assert table.loc[("bernet-dense-100", "mnist"), "points_apart"] == 0  # "larger than 98 %"
    assert table.loc[("scadamale-dropout-sgd", "mnist"), "points_apart"] == pytest.approx(0.25)  # "about 96-97 %"
    assert np.isnan(table.loc[("bernet-dropout", "mnist"), "points_apart"])
    printed = comparison.printable(table.reset_index()).set_index(["network", "data"])
    assert printed.loc[("scadamale-two-convs", "mnist"), "measured"] == "98.70 % (98.50 to 98.90)"
    assert printed.loc[("scadamale-two-convs", "mnist"), "points apart"] == "-0.37"
    assert printed.loc[("scadamale-two-convs", "mnist"), "95 % interval"] == "96.16 to 100.00"
    assert printed.loc[("scadamale-two-convs", "mnist"), "verdict"] == "holds"
    assert printed.loc[("bernet-dropout", "digits"), ["95 % interval", "verdict"]].tolist() == ["", ""]
    assert printed.loc[("bernet-dropout", "digits"), "published"] == ""

    shorter = comparison.compare(pd.DataFrame([{**rows[0], "epochs": 14}]), NETWORKS.values()).iloc[0]
    assert shorter["published"] == "99.07 %"
    assert shorter["low"] is None  # fewer epochs than the recipe's say nothing about its number
    assert shorter["points_apart"] is None
    assert comparison.printable(pd.DataFrame([shorter]))["epochs"].item() == "14 of 15"
    longer = [
        {**one, "run": "jeffries-dilated-cifar10", "seed": 1, "test_accuracy": 0.8, "epochs": n} for n in (50, 75)
    ]
    shown = [comparison.printable(comparison.compare(pd.DataFrame([row]), NETWORKS.values())) for row in longer]
    assert [table["epochs"].item() for table in shown] == ["50 of 75", "75"]
    assert printed.loc[("scadamale-two-convs", "mnist"), "epochs"] == "15"

    chart = comparison_figures.comparison_chart(table.reset_index())
    digits, mnist = chart.axes
    assert [axes.get_title(loc="left") for axes in (digits, mnist)] == ["digits", "mnist"]
    drawn = {line.get_marker(): line.get_xydata().tolist() for line in mnist.lines}
    assert drawn["o"] == [[98.89, 3], [98.85, 2], [98.7, 1], [97.25, 0]]
    assert drawn["D"] == [[99.07, 1]]  # ranges are bars


@pytest.mark.parametrize(
    ("accuracies", "verdict"),
    [((0.99, 0.991, 0.992), "holds"), ((0.985, 0.986, 0.987), "lower"), ((0.993, 0.994, 0.995), "higher")],
)
def test_a_published_value_holds_within_the_interval_of_the_mean(accuracies, verdict):
    """Three values 0.1 points apart: half the interval is 4.303 x 0.1 / sqrt(3) = 0.25 points. Published is 99.07 %."""
    run = {
        "run": "scadamale-two-convs-mnist",
        "epochs": 15,
        "best_test_accuracy": 1,
        "seconds_an_epoch": 1,
        "minutes": 1,
    }
    rows = pd.DataFrame([{**run, "seed": seed, "test_accuracy": each} for seed, each in enumerate(accuracies)])
    (row,) = comparison.compare(rows, NETWORKS.values()).itertuples()
    assert row.interval_high - row.measured == pytest.approx(0.248, abs=1e-3)
    assert row.verdict == verdict


def test_learning_curves_show_what_there_is():
    history = pd.DataFrame({"epoch": [1, 2], "accuracy": [0.5, 0.75], "val_accuracy": [0.25, 0.5]})
    held_out = history.assign(held_out_accuracy=[0.125, 0.25])
    page = comparison_figures.learning_curves({"one": [history, history], "two": [held_out]}, "accuracy", lowest=20)
    one, two = page.axes
    assert [line.get_ydata().tolist() for line in two.lines] == [[50, 75], [12.5, 25], [25, 50]]
    assert len(one.lines) == 4
    assert one.get_ylim() == (20, 100)


# ---------------------------------------------------------------- the script


@pytest.fixture
def compare(few_digits, tmp_path, monkeypatch, capsys, request):
    """A function that calls the script, with its models/ and figures/ in tmp_path, and returns what it printed."""
    monkeypatch.setattr(paths, "MODELS", tmp_path / "models")
    if "pictures" not in request.node.name:  # drawing takes longer than training these networks
        monkeypatch.setattr(drawing, "save", lambda *_, **__: None)

    def call(*words):
        capsys.readouterr()  # of a call before that raised
        compare_models.main([*words, "--output-dir", str(tmp_path / "figures")])
        return capsys.readouterr().out

    return call


@pytest.mark.parametrize("folder", ["pictures (1)", "c++", "my [old"])
def test_the_runs_of_all_seeds_are_found_whatever_the_folder_s_name(folder, compare, tiny_dataset, monkeypatch):
    network = NETWORKS["scadamale-dense"]
    dataset = dataclasses.replace(tiny_dataset, name=folder)
    for seed in (1337, 2, 3):
        (paths.MODELS / network.run_name(folder, seed)).mkdir(parents=True)
    monkeypatch.setattr(comparison, "finished_run", lambda network, dataset, seed, epochs: seed)
    assert comparison.finished_runs(network, dataset, epochs=2) == {1337: 1337, 2: 2, 3: 3}


def test_a_folder_may_be_called_like_a_run_with_a_seed(compare, tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        for number in range(5):
            path = tmp_path / "flowers-seed1" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype="uint8")).save(path)
    output = compare("scadamale-dense", "--dataset", str(tmp_path / "flowers-seed1"), "--epochs", "1")
    assert re.search(r"scadamale-dense +flowers-seed1 ", output)


def test_a_size_is_refused_for_anything_but_a_folder(compare):
    for name in ("auto", "mnist"):
        with pytest.raises(UserError, match="--image-size is for folders of pictures"):
            compare("scadamale-dense", "--dataset", name, "--image-size", "64")


TWO = ("bernet-dense-50", "scadamale-dense", "--dataset", "digits", "--epochs", "2")


def trained(output):
    return [line.removeprefix("Network: ") for line in output.splitlines() if line.startswith("Network: ")]


def test_what_is_trained_already_is_not_trained_again_and_pictures_are_drawn(compare, tmp_path):
    output = compare(*TWO)
    assert trained(output) == ["scadamale-dense, seed 1337", "bernet-dense-50, seed 1337"]
    table = pd.read_csv(tmp_path / "figures" / "comparison.csv").set_index("network")
    assert table["measured"].is_monotonic_decreasing
    for name in ("scadamale-dense", "bernet-dense-50"):
        history = pd.read_csv(tmp_path / "models" / f"{name}-digits" / "history.csv")
        assert table.loc[name, "measured"] == pytest.approx(100 * history["val_accuracy"].iloc[-1], abs=0.01)
        assert table.loc[name, "epochs"] == len(history) == 2
        assert f"{table.loc[name, 'measured']:.2f} %" in output
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        "comparison.csv", "comparison.png", "comparison-accuracy.png", "comparison-loss.png",
    }  # fmt: skip

    again = compare(*TWO)
    assert trained(again) == []
    assert again.splitlines()[-8:] == output.splitlines()[-8:]  # the same table and pictures

    shutil.rmtree(tmp_path / "models" / "scadamale-dense-digits")
    assert trained(compare(*TWO)) == ["scadamale-dense, seed 1337"]

    longer = compare("scadamale-dense", "--dataset", "digits", "--epochs", "3")
    assert trained(longer) == ["scadamale-dense, seed 1337"]
    assert "Resuming after epoch 2" in longer


def test_stopped_amid_a_network_it_goes_on_with_this_one(compare, tmp_path, monkeypatch):
    train, calls = training.train, []

    def stopped_in_the_second(*args, **kwargs):
        calls.append(args[2].name)
        if len(calls) == 2:
            train(*args[:3], dataclasses.replace(args[3], epochs=1), *args[4:])
            raise Stopped("Stopped.", 130)
        return train(*args, **kwargs)

    monkeypatch.setattr(training, "train", stopped_in_the_second)
    with pytest.raises(Stopped):
        compare(*TWO)
    output = compare(*TWO)
    assert calls == ["scadamale-dense-digits", "bernet-dense-50-digits", "bernet-dense-50-digits"]
    assert "Resuming after epoch 1" in output


def test_a_network_trained_after_others_is_the_one_that_is_trained_alone(compare, tmp_path):
    compare(*TWO)
    after_another = checkpoints.load_model(tmp_path / "models" / "bernet-dense-50-digits").get_weights()
    shutil.rmtree(tmp_path / "models")
    compare("bernet-dense-50", *TWO[2:])
    alone = checkpoints.load_model(tmp_path / "models" / "bernet-dense-50-digits").get_weights()
    for one, other in zip(after_another, alone, strict=True):
        np.testing.assert_array_equal(one, other)


def test_several_seeds_make_a_mean_and_a_spread(compare, tmp_path):
    output = compare("scadamale-dense", "--dataset", "digits", "--epochs", "1", "--seeds", "3")
    assert trained(output) == [f"scadamale-dense, seed {seed}" for seed in (1337, 2, 3)]
    accuracies = [
        100 * pd.read_csv(tmp_path / "models" / name / "history.csv")["val_accuracy"].iloc[-1]
        for name in ("scadamale-dense-digits", "scadamale-dense-digits-seed2", "scadamale-dense-digits-seed3")
    ]
    assert len(set(accuracies)) > 1
    spread = f"{np.mean(accuracies):.2f} % ({min(accuracies):.2f} to {max(accuracies):.2f})"
    assert spread in output
    assert spread in compare("scadamale-dense", "--dataset", "digits", "--epochs", "1")  # all that are there count


def test_the_optimizer_is_replaced(compare, tmp_path):
    compare("bernet-dense-50", "--optimizer", "sgd", "--dataset", "digits", "--epochs", "1")
    run = checkpoints.newest(tmp_path / "models" / "bernet-dense-50-sgd-digits")[0].run
    assert run["options"]["optimizer"]["name"] == "sgd"
    assert run["options"]["batch_size"] == 50


def test_wang_s_networks_are_trained_by_their_own_scripts(compare, tmp_path):
    output = compare("wang-basic", "--dataset", "digits", "--epochs", "1")
    assert trained(output) == ["wang-basic, seed 1337"]
    model = checkpoints.load_model(tmp_path / "models" / "basic_model-digits")
    assert model.count_params() == basic_model.build_model((32, 32, 1), 10).count_params()
    assert trained(compare("wang-basic", "--dataset", "digits", "--epochs", "1")) == []
    with pytest.raises(UserError, match=r"wang-basic is trained by basic_model.py, with the optimizer written there: "):
        compare("wang-basic", "--optimizer", "sgd")
    scripts = {name: NETWORKS[name] for name in ("wang-basic", "wang-improved")}
    with pytest.raises(UserError, match="no network is left to train"):
        articles.choose(scripts, [], "wang", optimizer="sgd")
    (sparse,) = articles.choose(NETWORKS, [], "wang", optimizer="sgd")
    assert sparse.name == "wang-sparse-sgd"
    assert sparse.compiled((32, 32, 3), 10, 1).optimizer.name == "sgd"
    everything = articles.choose(NETWORKS, [], everything=True, optimizer="sgd")
    assert {network.optimizer for network in everything} == {"sgd"}
    assert not any(network.script for network in everything)


@pytest.mark.slow
def test_a_run_by_another_recipe_is_not_taken_for_the_article_s(compare, tmp_path):
    compare("wang-basic", "--dataset", "digits", "--epochs", "1")
    folder = tmp_path / "models" / "basic_model-digits"
    shutil.rmtree(folder)
    basic_model.main(["--dataset", "digits", "--epochs", "1", "--batch-size", "64", "--run", str(folder)])
    with pytest.raises(UserError, match=r"other options .batch size was 64, now 128.: rename that folder"):
        compare("wang-basic", "--dataset", "digits", "--epochs", "1")
    output = compare("wang-basic", "--dataset", "digits", "--epochs", "1", "--fresh")
    assert "The old run is kept in" in output


@pytest.mark.slow
def test_a_run_that_its_script_began_in_bfloat16_goes_on_in_it(compare, tmp_path):
    run = tmp_path / "models" / "basic_model-digits"
    options = ["--dataset", "digits", "--batch-size", "128", "--run", str(run), "--precision", "bfloat16"]
    basic_model.main([*options, "--epochs", "1"])
    keras.config.set_dtype_policy("float32")
    compare("wang-basic", "wang-improved", "--dataset", "digits", "--epochs", "2")
    precisions = []
    for name in ("basic_model-digits", "improved_model-digits"):
        checkpoint, _ = checkpoints.newest(tmp_path / "models" / name)
        assert checkpoint.epoch == 2
        precisions.append(checkpoint.run["options"]["precision"])
    assert precisions == ["mixed_bfloat16", "float32"]
    output = compare("wang-basic", "--dataset", "digits", "--epochs", "2")  # finished: not trained again
    assert "Network: wang-basic" not in output


def test_an_edited_network_is_not_taken_for_the_one_that_was_trained(compare, monkeypatch):
    """The script's docstring invites its reader to make networks wider."""
    compare("bernet-dense-50", "--dataset", "digits", "--epochs", "1")
    wider = dataclasses.replace(NETWORKS["bernet-dense-50"], build_model=bernet.bernet_dense_200)
    monkeypatch.setitem(NETWORKS, "bernet-dense-50", wider)
    with pytest.raises(UserError, match=r"was trained with other options .layer 4 .Dense.: units was 50, now 200"):
        compare("bernet-dense-50", "--dataset", "digits", "--epochs", "1")
    assert "otherwise" not in compare("--list", "--article", "bernet")  # which is about MNIST


def test_what_is_wrong_is_known_before_anything_is_trained(compare, tmp_path):
    (tmp_path / "figures").write_text("a file")
    with pytest.raises(UserError, match=r"can't write .* name another folder with --output-dir"):
        compare(*TWO)
    assert not (tmp_path / "models").exists()
    (tmp_path / "figures").unlink()
    compare("bernet-dense-50", *TWO[2:])
    record = tmp_path / "models" / "bernet-dense-50-digits"
    for name in ("bernet-dense-100-digits", "bernet-dense-100-digits-seed3"):  # which the table would count, too
        record = record.rename(record.with_name(name))
        with pytest.raises(UserError, match=f"{name} was trained with other options"):
            compare("scadamale-dense", "bernet-dense-100", *TWO[2:])
        assert not (tmp_path / "models" / "scadamale-dense-digits").exists()
    with pytest.raises(UserError, match=r"rename that folder$"):  # --fresh leaves seed 3
        compare("bernet-dense-100", *TWO[2:], "--fresh")


def test_all_are_set_aside_at_once_so_that_a_fresh_comparison_goes_on(compare, tmp_path, monkeypatch):
    compare(*TWO)
    with monkeypatch.context() as patch:
        patch.setattr(training, "train", lambda *_, **__: (_ for _ in ()).throw(Stopped("Stopped.", 130)))
        with pytest.raises(Stopped):
            compare(*TWO, "--fresh")
    assert {path.name for path in (tmp_path / "models").glob("[!.]*")} == {
        "bernet-dense-50-digits-old-1", "scadamale-dense-digits-old-1",
    }  # fmt: skip
    assert trained(compare(*TWO)) == ["scadamale-dense, seed 1337", "bernet-dense-50, seed 1337"]


def test_a_longer_training_counts_as_far_as_the_others_go(compare, tmp_path):
    compare("scadamale-dense", "--dataset", "digits", "--epochs", "3")
    compare("scadamale-dense", "--dataset", "digits", "--epochs", "2", "--seeds", "2")
    table = pd.read_csv(tmp_path / "figures" / "comparison.csv").iloc[0]
    histories = [
        pd.read_csv(tmp_path / "models" / name / "history.csv")
        for name in ("scadamale-dense-digits", "scadamale-dense-digits-seed2")
    ]
    assert [len(history) for history in histories] == [3, 2]
    assert (table["seeds"], table["epochs"]) == (2, 2)
    assert table["measured"] == pytest.approx(100 * np.mean([h["val_accuracy"][1] for h in histories]), abs=0.01)


def test_without_the_article_s_images_digits_are_taken(compare, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "nowhere"))
    output = compare("scadamale-dense", "--epochs", "1")
    assert "MNIST is not on this machine and could not be downloaded" in output
    assert (tmp_path / "models" / "scadamale-dense-digits").is_dir()
    assert "95.49 %" not in output  # which was published for MNIST
    trained = tmp_path / "models" / "scadamale-dense-digits"
    shutil.copytree(trained, trained.with_name("bernet-dense-50-digits-seed3"))
    with pytest.raises(UserError, match="seed3 was trained with other options"):
        compare("scadamale-dense", "bernet-dense-50", "--epochs", "1", "--fresh")
    assert trained.is_dir()  # nothing was renamed before


def test_the_list(compare, tmp_path, monkeypatch):
    output = compare("--list")
    lines = {line.split()[0]: line for line in output.splitlines() if line}
    assert set(NETWORKS) <= set(lines)
    assert "around 99.4 %" in lines["bernet-best"]
    accuracy = 100 * pd.read_csv(comparison.RESULTS).groupby("run")["test_accuracy"].mean()
    for name in ("bernet-best", "wang-basic"):
        network = NETWORKS[name]
        assert f"{accuracy[network.run_name(network.dataset)]:.2f} %" in lines[name]
        assert not lines[name].endswith("yes")
    shutil.copytree(
        cli.Path(compare_models.__file__).parent / "models" / "stashed" / "basic_model-cifar10",
        tmp_path / "models" / "basic_model-cifar10",
    )
    assert next(line for line in compare("--list").splitlines() if line.endswith("yes")).split()[0] == "wang-basic"
    assert set(compare("--list", "--article", "jeffries").split()) >= {"jeffries-simple", "jeffries-dilated"}
    assert "bernet" not in compare("--list", "--article", "jeffries")
    assert not (tmp_path / "figures").exists()


def test_networks_that_there_are_not(compare, capsys):
    with pytest.raises(UserError, match="there is no network bernet-worst: python compare_models"):
        compare("bernet-worst")
    with pytest.raises(SystemExit) as end:
        compare()
    assert end.value.code == 2
    assert "name networks (before --on-ray), or give --article, --all or --list" in capsys.readouterr().err


def test_a_dictionary_is_the_first_layer():
    """Of patches in two patterns, each filter answers to one of them, with mean 0 and variance 1 over all patches."""
    from convnets.architectures import dictionary

    rng = np.random.default_rng(0)
    patterns = rng.random((2, 3, 3, 3), dtype="float32")
    model = keras.Sequential([keras.Input((3, 3, 3)), keras.layers.Conv2D(2, 3, name="conv1")])
    which = rng.integers(0, 2, 400)
    images = patterns[which] + rng.normal(0, 0.01, (400, 3, 3, 3)).astype("float32")
    dictionary.set_dictionary(model, images)
    answers = keras.ops.convert_to_numpy(model(images))[:, 0, 0]
    np.testing.assert_allclose(answers.mean(axis=0), 0, atol=0.1)
    np.testing.assert_allclose(answers.std(axis=0), 1, atol=0.1)
    assert ((answers[:, 0] > answers[:, 1]) == (which == which[answers[:, 0].argmax()])).all()


def test_the_dictionary_is_not_trained_and_the_same_each_time():
    network = NETWORKS["wang-sparse"]
    assert not network.build_model((32, 32, 3), 10).get_layer("conv1").trainable
    images = np.random.default_rng(0).random((20, 32, 32, 3), dtype="float32")
    kernels = []
    for _ in range(2):
        model = network.build_model((32, 32, 3), 10)
        network.first_weights(model, images)
        kernels.append(model.get_layer("conv1").get_weights()[0])
    np.testing.assert_array_equal(*kernels)
