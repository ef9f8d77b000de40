"""The four visualisations as a reader meets them, and the runs that they can look at."""

import importlib
import json
import shutil

import keras
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from convnets import drawing, paths, records
from convnets.data import datasets
from convnets.errors import UserError
from convnets.training import checkpoints
from convnets.views import activation_maximization_figures, introspection, runs

VIEWS = [
    "visualize_results",
    "visualize_pixel_importance",
    "visualize_hidden_layer_activation",
    "visualize_hidden_layer_output",
    "visualize_building_blocks",
]
DIGITS = paths.PRETRAINED / "basic_model-digits"


def show(script, *options):
    importlib.import_module(script).main(list(map(str, options)))


def is_a_picture_of_something(path):
    return np.asarray(Image.open(path).convert("L")).std() > 5


PICTURES = {
    "visualize_results": ["predictions", "mistakes", "breakdown", "classes", "reliability", "labels"],
    "visualize_pixel_importance": ["importance-test-3", "comparison-test-3"],
    "visualize_hidden_layer_activation": [
        f"activation-{name}-fourier" for name in ("conv1", "conv2", "conv3", "conv4", "fc1", "fc2")
    ],
    "visualize_hidden_layer_output": [f"output-test-3-{number:02}-conv{number}" for number in (1, 2, 3, 4)],
    "visualize_building_blocks": ["pixels-test-3", "window", "arithmetic-test-3", "filters-test-3", "pooling"],
}
OPTIONS = {
    "visualize_results": ["--seed", 1],
    "visualize_pixel_importance": ["--index", 3, "--compare", "--stride", 2],
    "visualize_hidden_layer_activation": ["--seed", 1, "--units", 3, "--steps", 3],
    "visualize_hidden_layer_output": ["--index", 3],
    "visualize_building_blocks": ["--index", 3],
}


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_draws_its_pictures(view, tmp_path, capsys):
    show(view, "--run", DIGITS, "--output-dir", tmp_path, *OPTIONS[view])
    said = capsys.readouterr().out
    assert f"Network: {DIGITS}" in said
    assert "Data: digits from scikit-learn" in said
    expected = {f"basic_model-digits-{picture}.png" for picture in PICTURES[view]}
    assert {path.name for path in tmp_path.glob("*.png")} == expected
    for path in tmp_path.glob("*.png"):
        assert is_a_picture_of_something(path), path
        assert f"Picture: {path}" in said
    if view == "visualize_results":
        recorded = checkpoints.newest(DIGITS)[0].history[-1]["val_accuracy"]
        assert f"Test accuracy: {recorded:.2%} of 360 images" in said
        breakdown = pd.read_csv(tmp_path / "basic_model-digits-breakdown.csv", index_col=0)
        assert breakdown.to_numpy().sum() == 360
        assert np.diag(breakdown).sum() == round(360 * recorded)


@pytest.mark.parametrize("view", ["visualize_pixel_importance", "visualize_hidden_layer_output"])
def test_a_view_of_a_reader_s_own_picture(view, tmp_path, capsys):
    digit = datasets.load("digits").x_test[5, :, :, 0]
    Image.fromarray(255 - digit).resize((300, 300)).save(tmp_path / "mine.jpg")
    show(view, "--run", DIGITS, "--output-dir", tmp_path / "figures", "--image", tmp_path / "mine.jpg")
    label = datasets.load("digits").y_test[5]
    assert f"-> {label} (" in capsys.readouterr().out
    assert len(list((tmp_path / "figures").glob("*mine*.png"))) >= 1


def test_an_ascent_as_an_animation(tmp_path):
    options = ["--layer", "fc2", "--units", "3,5", "--steps", 4, "--gif", "--seed", 1]
    show("visualize_hidden_layer_activation", "--run", DIGITS, "--output-dir", tmp_path, *options)
    with Image.open(tmp_path / "basic_model-digits-activation-fc2-fourier.gif") as animation:
        assert animation.n_frames == 4
        assert animation.size == (3 * 2 * 34, 3 * 34)  # two images of 32 pixels with a rim, three times as large
        first = np.asarray(animation.convert("L"), dtype=float)
        animation.seek(3)
        assert np.abs(np.asarray(animation.convert("L")) - first).mean() > 1


@pytest.mark.parametrize(("side", "size"), [(30, 6 * 32), (100, 102), (200, 202)])
def test_large_images_are_enlarged_less_in_an_animation(side, size, tmp_path):
    drawing.save_animation(np.zeros((2, 9, side, side, 3), "float32"), tmp_path / "a.gif", enlarged=6)
    with Image.open(tmp_path / "a.gif") as animation:
        assert animation.size == (8 * size, 2 * size)
        picture = np.asarray(animation.convert("L"))
    assert picture[size // 2, size // 2] == 0  # the first image
    assert (picture[size:, size:] == 255).all()  # there is no tenth one


@pytest.mark.parametrize("images", [True, False])
def test_auto_is_the_name_of_a_dataset_too(images, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    run = runs.load(DIGITS, "auto", images=images)
    assert (run.dataset.name if images else run.dataset) == ("digits" if images else None)


def test_a_picture_of_one_s_own_needs_no_dataset(tmp_path, drawn, monkeypatch):
    Image.new("RGB", (50, 50), "orange").save(tmp_path / "cat.png")
    monkeypatch.setattr(runs.datasets, "load", lambda *args, **options: pytest.fail("loaded a dataset"))
    for view in ("visualize_pixel_importance", "visualize_hidden_layer_output", "visualize_building_blocks"):
        show(view, "--image", tmp_path / "cat.png", "--output-dir", tmp_path)
    assert "improved_model-cifar10-importance-cat.png" in drawn


def saved(model, folder):
    folder.mkdir(exist_ok=True)
    (folder / "model.json").write_text(model.to_json())
    model.save_weights(folder / "model.weights.h5")
    return folder


def test_a_picture_s_name_may_hold_anything(tmp_path):
    Image.new("L", (1, 1), 200).save(tmp_path / "price $5^^$.png")
    show(
        "visualize_hidden_layer_output", "--run", DIGITS, "--output-dir", tmp_path / "figures",
        "--image", tmp_path / "price $5^^$.png",
    )  # fmt: skip
    assert len(list((tmp_path / "figures").glob("*price $5^^$*.png"))) == 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2", [0, 1]), ("all", [0, 1, 2, 3]), ("2,", [2]), ("3,1,3", [3, 1]), ("9", [0, 1, 2, 3])],
)
def test_which_units(text, expected):
    from visualize_hidden_layer_activation import chosen_units, units

    (step,) = introspection.graph(keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, name="dense")])).steps
    assert chosen_units(step, units(text)) == [("dense", unit) for unit in expected]


def test_captions_of_units():
    from types import SimpleNamespace

    from visualize_hidden_layer_activation import caption

    unit = SimpleNamespace(unit=1, made=3.0, real=2.0, ratio=1.5, best=[7])
    assert caption(unit, None) == "unit 1: 1.5 x the best test image"
    assert caption(unit, ("cat", "dog")).startswith("dog: ")
    assert caption(SimpleNamespace(**{**vars(unit), "made": -1.0}), None) == "unit 1: by test images only"
    assert caption(SimpleNamespace(**{**vars(unit), "real": 0.0}), None) == "unit 1: by no test image"
    assert caption(SimpleNamespace(**{**vars(unit), "best": []}), None) == "unit 1: 3"


def test_dead_units_are_named_and_not_drawn(tmp_path, capsys):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((32, 32, 1)),
            keras.layers.Conv2D(3, 3, name="conv"),
            keras.layers.ReLU(),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    kernel, _ = model.layers[0].get_weights()
    model.layers[0].set_weights([kernel, np.array([-1e6, 0, -1e6])])
    saved(model, tmp_path)
    options = ["--run", tmp_path, "--output-dir", tmp_path, "--layer", "conv", "--units"]
    show("visualize_hidden_layer_activation", *options, "0,2")
    assert "conv: no image activates the units 0 2" in capsys.readouterr().out
    assert not list(tmp_path.glob("*.png"))
    show("visualize_hidden_layer_activation", *options, "all")
    assert len(list(tmp_path.glob("*.png"))) == 1


def test_filters_can_be_seen_without_any_data(tmp_path, monkeypatch, capsys):
    """Networks for images that are nowhere, and of a shape that no dataset has."""
    model = keras.Sequential(
        [
            keras.Input((20, 24, 3)),
            keras.layers.Conv2D(3, 3, name="conv"),
            keras.layers.Flatten(),
            keras.layers.Dense(4, name="fc"),
        ]
    )
    saved(model, tmp_path)
    titles, figure = [], activation_maximization_figures.unit_figure
    draw = lambda *arguments: titles.append(arguments[-1]) or figure(*arguments)  # noqa: E731
    monkeypatch.setattr(activation_maximization_figures, "unit_figure", draw)
    show("visualize_hidden_layer_activation", "--run", tmp_path, "--output-dir", tmp_path, "--steps", 3)
    assert "Data: none" in capsys.readouterr().out
    assert len(list(tmp_path.glob("*.png"))) == 2
    assert titles == [f"{layer}: generated images (fourier, 3 steps)" for layer in ("conv", "fc")]
    with pytest.raises(UserError, match="does not say on what images of 20 x 24 x 3 it was trained"):
        show("visualize_results", "--run", tmp_path)


def test_predictions_are_kept_and_belong_to_their_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "MODELS", tmp_path / "models")
    run = runs.load(DIGITS)
    images = run.dataset.x_test[:20]
    first = run.predictions(images)
    (kept,) = (tmp_path / "models" / ".predictions").iterdir()
    np.save(kept, first + 1)
    np.testing.assert_array_equal(run.predictions(images), first + 1)  # it was read, not computed
    kept.write_bytes(b"damaged")
    np.testing.assert_array_equal(run.predictions(images), first)
    run.model.layers[-2].set_weights([2 * weight for weight in run.model.layers[-2].get_weights()])
    assert np.abs(run.predictions(images) - first).max() > 1e-6
    np.testing.assert_array_equal(run.predictions(images[:10])[:, 0].shape, (10,))


def test_a_large_network_predicts_in_the_precision_of_its_training(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "MODELS", tmp_path / "models")
    in_float32 = runs.load(DIGITS)
    images = in_float32.dataset.x_test[:50]
    exact = in_float32.predictions(images)
    monkeypatch.setattr(runs, "LARGE", 1)
    monkeypatch.setattr(runs.autotune, "faster_precision", lambda: ("bfloat16", 0.5))
    assert in_float32._fastest_model is in_float32.model
    recorded = {"dataset": "digits", "options": {"precision": "mixed_bfloat16"}}
    monkeypatch.setattr(records, "read_run", lambda folder: recorded)
    run = runs.load(DIGITS)
    *hidden, dense, softmax = run._fastest_model.layers[1:]
    assert {layer.compute_dtype for layer in hidden} == {"bfloat16"}
    assert dense.compute_dtype == softmax.compute_dtype == "float32"  # logits and probabilities keep their digits
    differences = np.abs(run.predictions(images) - exact)  # not those that were kept
    assert 0 < differences.max() < 0.05
    monkeypatch.setattr(runs.autotune, "faster_precision", lambda: ("float32", 2.0))
    run = runs.load(DIGITS)
    assert run._fastest_model is run.model


def test_a_network_with_a_model_inside_predicts_as_it_is(tmp_path, monkeypatch):
    inside = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(4)])
    model = keras.Sequential([keras.Input((8, 8, 1)), inside, keras.layers.Softmax()])
    monkeypatch.setattr(runs, "LARGE", 1)
    monkeypatch.setattr(runs.autotune, "faster_precision", lambda: ("bfloat16", 0.5))
    monkeypatch.setattr(records, "read_run", lambda folder: {"options": {"precision": "mixed_bfloat16"}})
    assert runs.Run(tmp_path, model, tuple("abcd"), None)._fastest_model is model
    plain = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(4)])
    assert runs.Run(tmp_path, plain, tuple("abcd"), None)._fastest_model is not plain


def test_predictions_that_can_not_be_kept_are_made_all_the_same(tmp_path, monkeypatch):
    (tmp_path / "models").write_text("a file where a folder should be")
    monkeypatch.setattr(paths, "MODELS", tmp_path / "models")
    run = runs.load(DIGITS)
    assert run.predictions(run.dataset.x_test[:3]).shape == (3, 10)


def test_what_was_drawn_at_random_can_be_drawn_again(capsys):
    run = runs.load(DIGITS)
    view = runs.choose_image(run)
    said = capsys.readouterr().out
    seed = int(said.split("--seed ")[1].split()[0])
    index = int(said.split("--index ")[1].split(",")[0])
    np.testing.assert_array_equal(runs.choose_image(run, seed=seed).image, view.image)
    np.testing.assert_array_equal(runs.choose_image(run, index=index).image, view.image)
    assert view.predicted == run.dataset.y_test[index]


def test_classes_have_the_names_that_the_reader_gives_them(tmp_path, drawn, capsys):
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    show("visualize_results", "--run", DIGITS, "--output-dir", tmp_path, "--class-names", ",".join(names))
    output = capsys.readouterr().out
    assert output.split("predicted ones\n")[1].split("\n")[0].split() == ["predicted", *names]
    table = pd.read_csv(next(tmp_path.glob("*labels*.csv")))
    assert set(table["label"]) <= set(names)


def test_an_image_that_is_predicted_wrong_is_said_to_be(capsys):
    run = runs.load(DIGITS)

    wrong = np.flatnonzero(introspection.predict(run.model, run.dataset.x_test).argmax(axis=1) != run.dataset.y_test)
    runs.choose_image(run, index=int(wrong[0]))
    assert "Misclassified" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("view", "options", "message"),
    [
        ("visualize_hidden_layer_output", ["--index", 360], "there is no test image 360: --index goes from 0 to 359"),
        ("visualize_pixel_importance", ["--image", "nowhere.jpg"], "can't read the picture nowhere.jpg"),
        ("visualize_pixel_importance", ["--patch", "40"], "a patch of 40 pixels does not fit into 32"),
        ("visualize_hidden_layer_output", ["--index", 3, "--layer", "fc1"], "the layer fc1 returns no feature maps"),
        ("visualize_hidden_layer_activation", ["--layer", "conv9"], "no layer 'conv9': it has conv1"),
        ("visualize_hidden_layer_activation", ["--layer", "fc2", "--units", "3,10"], "has the units 0 to 9"),
    ],
)
def test_bad_options(view, options, message):
    with pytest.raises(UserError, match=message):
        show(view, "--run", DIGITS, *options)


def test_a_dataset_with_other_images(real_dataset):
    real_dataset("cifar10")
    with pytest.raises(UserError, match="takes images of 32 x 32 x 1 in 10 classes, but cifar10 has"):
        show("visualize_results", "--run", DIGITS, "--dataset", "cifar10")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--patch", "4x"], "'4x' is neither a whole number of pixels nor two"),
        (["--patch", "1x2x3"], "'1x2x3' is neither a whole number of pixels nor two"),
        (["--baseline", "octarine"], "'octarine' is neither mean, blur"),
        (["--index", "-1"], "'-1' is not a whole number from 0"),
    ],
)
def test_invalid_view_options_are_refused(options, complaint, capsys):
    with pytest.raises(SystemExit) as end:
        show("visualize_pixel_importance", *options)
    assert end.value.code == 2
    assert complaint in capsys.readouterr().err.splitlines()[-1]


def test_all_probabilities_of_a_picture_are_calibrated(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        "convnets.views.occlusion_figures.importance_figure",
        lambda image, probability_drop, *others: drawn.update(drop=probability_drop, others=others) or Figure(),
    )
    run = runs.load(DIGITS)
    index = introspection.predict(run.model, run.dataset.x_test).max(axis=1).argmin()  # the least certain
    options = ["--index", index, "--patch", "32", "--stride", "32"]
    show("visualize_pixel_importance", "--run", DIGITS, "--output-dir", tmp_path, *options)
    *_, found, title, _ = drawn["others"]
    images = np.stack([datasets.scale_pixels(run.dataset.x_test[index]), np.full((32, 32, 1), 0.5, "float32")])
    plain = introspection.predict(run.model, images)
    answer, (whole, hidden) = plain[0].argmax(), run.calibrated(plain)
    assert abs(whole[answer] - plain[0, answer]) > 0.01
    assert f"({100 * whole[answer]:.1f} %)" in title
    assert found.this_map.deletion[0] == pytest.approx(whole[answer], abs=1e-5)
    np.testing.assert_allclose(drawn["drop"], np.full((32, 32), whole[answer] - hidden[answer]), atol=1e-5)


@pytest.mark.parametrize("times", [1, 2])
def test_without_a_display_pictures_are_saved_all_the_same(times, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(plt, "get_backend", lambda: "agg")
    drawing._say_once.cache_clear()
    for number in range(times):
        drawing.save(Figure(), tmp_path / f"{number}.png", show=True)
    assert len(list(tmp_path.glob("*.png"))) == times
    assert capsys.readouterr().out.count("Note: there is no display") == 1


def test_a_folder_on_another_computer_is_looked_at_if_the_reader_names_it(tmp_path):
    run = shutil.copytree(DIGITS, tmp_path / "run")
    record = json.loads((run / "run.json").read_text())
    for folder in (r"\\nas\pets", r"/\nas\pets", "//nas/pets"):  # Windows takes all of them for the same
        (run / "run.json").write_text(json.dumps({**record, "dataset": folder}))
        with pytest.raises(UserError, match="on pictures of another computer: say where they are with --dataset"):
            runs.load(run)
    with pytest.raises(UserError, match="are no longer in //nas/pets"):  # looked for, and not there
        runs.load(run, "//nas/pets")


# ---------------------------------------------------------------- which run


@pytest.fixture
def own_model():
    """What a reader may have written: other layers, softmax in the last one, no names of ours."""
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((32, 32, 1)),
            keras.layers.Conv2D(6, 5, strides=2, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.AveragePooling2D(2),
            keras.layers.Conv2D(8, 3, padding="same"),
            keras.layers.LeakyReLU(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )


@pytest.fixture(params=["as Keras gives it", "as the article saves it"])
def own_run(request, own_model, tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    text = own_model.to_json()
    (folder / "convnet_model.json").write_text(text if request.param == "as Keras gives it" else json.dumps(text))
    (folder / "notes.json").write_text('{"author": "me"}')
    own_model.save_weights(folder / "convnet.weights.h5")
    return folder


def test_a_run_of_a_reader_s_own_code(own_run, own_model):
    run = runs.load(own_run)
    assert run.dataset.name == "digits"  # known by its images of 32 x 32 x 1
    for loaded, original in zip(run.model.get_weights(), own_model.get_weights(), strict=True):
        np.testing.assert_array_equal(loaded, original)


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_of_a_reader_s_own_network(view, own_model, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "model.json").write_text(own_model.to_json())
    own_model.save_weights(tmp_path / "own" / "model.weights.h5")
    show(view, "--run", tmp_path / "own", "--output-dir", tmp_path, *OPTIONS[view])
    assert list(tmp_path.glob("own-*.png"))


def test_folders_that_are_no_run(own_model, tmp_path):
    with pytest.raises(UserError, match="holds no trained network"):
        runs.load(tmp_path / "nowhere")
    (tmp_path / "model.json").write_text(own_model.to_json())
    with pytest.raises(UserError, match=r"holds no trained network .there are no weights"):
        runs.load(tmp_path)
    (tmp_path / "model.json").write_text(own_model.to_json().replace("Conv2D", "Conv9D"))
    own_model.save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(UserError, match="is not supported: Conv9D is not part of Keras"):
        runs.load(tmp_path)


def test_networks_that_take_no_images(tmp_path):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)])
    (tmp_path / "model.json").write_text(model.to_json())
    model.save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(UserError, match="is not supported: it takes"):
        runs.load(tmp_path)


def test_the_newest_own_run_is_taken(tmp_path):
    import os
    import shutil

    assert records.newest_run(tmp_path) is None
    for age, name in enumerate(["b, newest", "a, older", "c, oldest"]):
        shutil.copytree(DIGITS, tmp_path / name)
        for path in (tmp_path / name).iterdir():
            os.utime(path, (1e9 - age, 1e9 - age))
    shutil.copytree(DIGITS, tmp_path / "stashed" / "basic_model-digits")
    assert records.newest_run(tmp_path) == tmp_path / "b, newest"
    assert records.newest_run(tmp_path, "digits") == tmp_path / "b, newest"
    assert records.newest_run(tmp_path, "mnist") is None


def test_without_data_and_without_a_run_the_digits_are_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(records, "newest_run", lambda *_: None)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    run = runs.load()
    assert run.path == DIGITS
    assert "CIFAR-10 is not on this machine" in capsys.readouterr().out


def test_the_network_that_comes_along_is_the_improved_one(real_dataset, monkeypatch):
    real_dataset("cifar10")
    monkeypatch.setattr(records, "newest_run", lambda *_: None)
    assert runs.load().name == "improved_model-cifar10"
    assert runs.load(dataset_name="digits").name == "basic_model-digits"
