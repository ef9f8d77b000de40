import dataclasses
import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import types
import warnings

import h5py
import keras
import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from benchmarks.kill_and_resume import differences
from convnets import files
from convnets.data.augmentation import Augmentation, ShiftAndCutOut
from convnets.data.datasets import scale_pixels
from convnets.errors import Stopped, UserError
from convnets.training import callbacks, checkpoints, training, weight_files
from publishing import __main__ as publish

HISTORY = [
    "accuracy", "loss", "val_accuracy", "val_loss", "held_out_accuracy", "held_out_loss", "seconds", "training_seconds",
    "compilation_seconds", "learning_rate",
]  # fmt: skip
AUGMENT = Augmentation(zoom=0.1, shift=0.1)


def train(model, dataset, run, epochs, **options):
    return training.train(model, dataset, run, epochs=epochs, **{"batch_size": 16, "verbose": 0, "seed": 7, **options})


@pytest.fixture(scope="session")
def kept_runs(tmp_path_factory):
    """Finished runs of the tiny network, {epochs: folder}, trained once."""
    return tmp_path_factory.mktemp("runs"), {}


@pytest.fixture
def copy_run(kept_runs, tiny_dataset, build_tiny_model):
    """A function that puts a copy of a finished run of so many epochs into a folder."""
    parent, runs = kept_runs

    def copy(folder, epochs):
        if epochs not in runs:
            runs[epochs] = parent / str(epochs) / "run"
            train(build_tiny_model(), tiny_dataset, runs[epochs], epochs)
        return shutil.copytree(runs[epochs], folder)

    return copy


def snapshot(folder):
    """The contents of each file in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_keywords_are_fields_of_the_recipe_or_the_options(tiny_dataset, build_tiny_model, tmp_path):
    recipe, options = training.Recipe(epochs=1, batch_size=16), training.RunOptions(verbose=0)
    history = training.train(build_tiny_model(), tiny_dataset, tmp_path / "run", recipe, options, epochs=2)
    assert len(history) == 2
    history = training.train(build_tiny_model(), tiny_dataset, tmp_path / "run", recipe, options, fresh=True)
    assert len(history) == 1
    assert (tmp_path / "run-old-1").is_dir()
    with pytest.raises(TypeError, match="epoch"):
        training.train(build_tiny_model(), tiny_dataset, tmp_path / "run", recipe, options, epoch=2)


def test_no_more_epochs_than_a_record_can_hold(tiny_dataset, build_tiny_model, tmp_path):
    row = {"epoch": files.MOST_EPOCHS, **dict.fromkeys(HISTORY, 0.12345678901234567)}
    assert len(json.dumps(row, indent=1)) * files.MOST_EPOCHS < files.MOST_JSON
    with pytest.raises(UserError, match="a run can have 20,000 epochs, not 40,000"):
        train(build_tiny_model(), tiny_dataset, tmp_path / "run", 40_000)
    assert not (tmp_path / "run").exists()


def test_an_epoch_that_could_not_be_saved_is_not_called_saved(copy_run, build_tiny_model, tiny_dataset, tmp_path):
    """As when Ctrl-C comes a second time, in the midst of a write."""
    run = copy_run(tmp_path / "run", 2)

    def stop(*args, **options):
        raise Stopped(f"Stopped; {seen[0].saved}.", 130)

    seen = []
    with pytest.MonkeyPatch.context() as patch:
        made = callbacks.Progress.__init__
        patch.setattr(callbacks.Progress, "__init__", lambda self, *args: (made(self, *args), seen.append(self))[0])
        patch.setattr(callbacks.checkpoints, "save", stop)
        with pytest.raises(Stopped, match="epoch 2 is saved"):
            train(build_tiny_model(), tiny_dataset, run, 3)
    assert len(pd.read_csv(run / "history.csv")) == 2


# ---------------------------------------------------------------- the batches


def batches_of(dataset, **options):
    labels = np.eye(2, dtype="float32")[dataset.y_train]
    return training.TrainingBatches(
        dataset.x_train, labels, **{"batch_size": 16, "seed": 7, "first_epoch": 0, "augment": None, **options}
    )


def test_an_epoch_shows_each_image_once_with_its_label(tiny_dataset):
    batches = batches_of(tiny_dataset)
    assert batches.batches_per_epoch == 3  # 16, 16 and 8 of the 40 images
    seen = [batches[index] for index in range(3)]
    pixels = np.concatenate([pixels for pixels, _ in seen])
    labels = np.concatenate([labels for _, labels in seen])
    assert [len(pixels) for pixels, _ in seen] == [16, 16, 8]
    assert pixels.dtype == labels.dtype == np.float32
    expected = {
        (image / np.float32(255)).tobytes(): y
        for image, y in zip(tiny_dataset.x_train, tiny_dataset.y_train, strict=True)
    }
    assert {image.tobytes(): label.argmax() for image, label in zip(pixels, labels, strict=True)} == expected


def test_each_epoch_and_each_seed_has_its_own_order(tiny_dataset):
    batches = batches_of(tiny_dataset)
    first, second = batches[0][0], batches[3][0]
    assert np.abs(first - second).max() > 0
    assert np.abs(first - batches_of(tiny_dataset, seed=8)[0][0]).max() > 0


def test_no_two_random_streams_are_the_same(tiny_dataset, monkeypatch):
    """Of an epoch's order, its batches, and those of other epochs. (To NumPy, (7, 2) and (7, 2, 0) are the same.)"""
    streams = []
    original = np.random.default_rng
    monkeypatch.setattr(
        np.random, "default_rng", lambda seed: streams.append(original(seed).random()) or original(seed)
    )
    batches = batches_of(tiny_dataset, augment=AUGMENT, alternate_flips=True)
    for index in range(9):
        batches[index]
    assert len(streams) == len(set(streams)) == 1 + 3 * (1 + 3)  # and that of the flips


@pytest.mark.parametrize("augment", [None, AUGMENT])
def test_a_later_start_sees_the_same_batches(augment, tiny_dataset):
    whole, resumed = (batches_of(tiny_dataset, augment=augment, first_epoch=epoch) for epoch in (0, 2))
    for index in range(6):
        np.testing.assert_array_equal(whole[6 + index][0], resumed[index][0])
        np.testing.assert_array_equal(whole[6 + index][1], resumed[index][1])


def test_an_epoch_of_two_passes_is_two_epochs_of_one(tiny_dataset):
    """The same batches, so a training that was stopped resumes as exactly."""
    once, twice, later = (
        batches_of(tiny_dataset, augment=AUGMENT, alternate_flips=True, **options)
        for options in ({}, {"passes": 2}, {"passes": 2, "first_epoch": 1})
    )
    assert twice.batches_per_epoch == 2 * once.batches_per_epoch
    for index in range(6):
        np.testing.assert_array_equal(twice[index][0], once[index][0])
        np.testing.assert_array_equal(later[index][0], once[6 + index][0])


def without_seconds(history):
    return history.drop(columns=[name for name in history.columns if name.endswith("seconds")])


def test_test_batches_keep_the_order(tiny_dataset):
    batches = training.TestBatches(tiny_dataset.x_test, tiny_dataset.y_test, batch_size=8)
    assert batches.num_batches == 3
    np.testing.assert_array_equal(np.concatenate([batches[i][1] for i in range(3)]), tiny_dataset.y_test)
    np.testing.assert_array_equal(
        np.concatenate([batches[i][0] for i in range(3)]), tiny_dataset.x_test / np.float32(255)
    )


def test_alternate_flips_show_each_image_and_its_mirror_image_in_turn(tiny_dataset):
    images = tiny_dataset.x_train
    seen = []
    for epoch in range(4):
        batches = training.TrainingBatches(
            images, np.arange(40), batch_size=16, seed=1, first_epoch=epoch, alternate_flips=True
        )
        pixels, which = (np.concatenate(parts) for parts in zip(*(batches[i] for i in range(3)), strict=True))
        seen.append(pixels[np.argsort(which)])
    one, mirrored = scale_pixels(images), scale_pixels(images[:, :, ::-1])
    as_is = (seen[0] == one).all(axis=(1, 2, 3))
    assert 10 < as_is.sum() < 30  # about half, at random
    for epoch, pixels in enumerate(seen):
        np.testing.assert_array_equal(pixels, np.where((as_is ^ (epoch % 2))[:, None, None, None], one, mirrored))


def test_the_fields_of_the_recipe_reach_the_training(tiny_dataset, build_tiny_model, tmp_path, monkeypatch):
    model, given = build_tiny_model(), {}
    monkeypatch.setattr(model, "fit", lambda batches, **settings: given.update(batches=batches, **settings))
    imbalanced = dataclasses.replace(tiny_dataset, y_train=np.repeat([0, 1], [30, 10]))
    more = {"passes": 2, "alternate_flips": True, "class_weights": "balanced", "augment": AUGMENT, "seed": 8}
    train(model, imbalanced, tmp_path / "run", 3, **more)
    assert (given["epochs"], given["steps_per_epoch"]) == (3, 6)  # 40 images, 16 a batch, twice
    assert given["class_weight"] == {0: 40 / 60, 1: 40 / 20}
    batches = given["batches"]
    assert (batches.seed, batches.augment, len(batches._flip_coins)) == (8, AUGMENT, 40)


def test_threads_prepare_the_same_batches(tiny_dataset, build_tiny_model, tmp_path, monkeypatch):
    """On a GPU with JAX, four threads prepare them. The bits are those of one thread, also after an interruption."""
    train(build_tiny_model(), tiny_dataset, tmp_path / "one", 4, augment=AUGMENT)
    monkeypatch.setattr(training, "_batch_threads", lambda: 4)
    for epochs in (2, 4):
        train(build_tiny_model(), tiny_dataset, tmp_path / "four", epochs, augment=AUGMENT)
    assert differences(tmp_path / "one", tmp_path / "four", 4) == []


# ---------------------------------------------------------------- a run, and going on with it


@pytest.mark.parametrize(
    ("options", "stops"),
    [
        ({}, (1, 3, 4)),
        ({"augment": AUGMENT}, (2, 4)),
        ({"validation_split": 0.25}, (2, 4)),
        ({"alternate_flips": True}, (1, 4)),
    ],
)
def test_a_resumed_training_ends_with_the_same_bits(options, stops, tiny_dataset, build_tiny_model, tmp_path):
    whole = train(build_tiny_model(), tiny_dataset, tmp_path / "whole", 4, **options)
    for epochs in stops:
        model = build_tiny_model()
        parts = train(model, tiny_dataset, tmp_path / "parts", epochs, **options)
    assert differences(tmp_path / "whole", tmp_path / "parts", 4) == []
    pd.testing.assert_frame_equal(without_seconds(whole), without_seconds(parts))


def test_without_the_random_generators_state_the_bits_would_differ(
    tiny_dataset, build_tiny_model, tmp_path, monkeypatch
):
    """Shows that the test above can fail: dropout's state matters, and Keras's own weights file leaves it out."""
    train(build_tiny_model(), tiny_dataset, tmp_path / "whole", 3)
    assert len(checkpoints.newest(tmp_path / "whole")[0].seed_generators) == 2  # the two dropout layers
    monkeypatch.setattr(checkpoints, "_seed_variables", lambda model: [])
    train(build_tiny_model(), tiny_dataset, tmp_path / "parts", 2)
    train(build_tiny_model(), tiny_dataset, tmp_path / "parts", 3)
    assert "history" in differences(tmp_path / "whole", tmp_path / "parts", 3)


def test_images_held_out_are_the_last_ones_and_only_looked_at(tiny_dataset, build_tiny_model, tmp_path):
    model = build_tiny_model()
    split = train(model, tiny_dataset, tmp_path / "split", 2, validation_split=0.25)
    held_out = model.evaluate(
        scale_pixels(tiny_dataset.x_train[30:]),
        np.eye(2)[tiny_dataset.y_train[30:]],
        verbose=0,
        return_dict=True,
    )
    assert split["held_out_loss"].iloc[-1] == pytest.approx(held_out["loss"], rel=1e-5)
    assert split["held_out_accuracy"].iloc[-1] == pytest.approx(held_out["accuracy"])

    fewer = dataclasses.replace(tiny_dataset, x_train=tiny_dataset.x_train[:30], y_train=tiny_dataset.y_train[:30])
    without = train(build_tiny_model(), fewer, tmp_path / "fewer", 2)
    pd.testing.assert_frame_equal(without_seconds(split[without.columns]), without_seconds(without))


def test_images_held_out_of_a_folder_are_of_all_classes(tiny_dataset, build_tiny_model, tmp_path, monkeypatch):
    """A folder is in the order of its files' names, and so perhaps in that of its classes."""
    order, seen = np.argsort(tiny_dataset.y_train, kind="stable"), {}
    images, labels = tiny_dataset.x_train[order], tiny_dataset.y_train[order]
    folder = dataclasses.replace(tiny_dataset, x_train=images, y_train=labels, folder="/pictures")
    for name in ("TrainingBatches", "TestBatches"):
        batches = getattr(training, name)

        def watched(images, labels, *, name=name, batches=batches, **options):
            seen.setdefault(name, []).append((images[np.arange(len(images))], labels.argmax(axis=1)))
            return batches(images, labels, **options)

        monkeypatch.setattr(training, name, watched)
    train(build_tiny_model(), folder, tmp_path / "run", 1, validation_split=0.25)
    kept, held_out = folder.split(0.25)
    assert sorted([*kept, *held_out]) == list(range(40))
    assert set(labels[held_out]) == {0, 1}
    for places, found in ((kept, seen["TrainingBatches"]), (held_out, seen["TestBatches"])):
        assert any(
            np.array_equal(each[0], images[places]) and np.array_equal(each[1], labels[places]) for each in found
        )
    recorded = checkpoints.newest(tmp_path / "run")[0].run["options"]
    assert recorded["held_out"] == "random images"
    assert tiny_dataset.split(0.25)[1].tolist() == list(range(30, 40))


def test_the_network_learns_and_the_recorded_accuracy_is_true(tiny_dataset, copy_run, tmp_path):
    history = pd.read_csv(copy_run(tmp_path / "run", 10) / "history.csv")
    model = checkpoints.load_model(tmp_path / "run")
    predicted = model.predict(scale_pixels(tiny_dataset.x_test), verbose=0).argmax(axis=1)
    assert history["val_accuracy"].iloc[-1] == pytest.approx((predicted == tiny_dataset.y_test).mean())
    assert history["val_accuracy"].iloc[-1] == 1


def test_the_time_of_steps_is_apart_from_compiling_and_testing(tiny_dataset, build_tiny_model, tmp_path, monkeypatch):
    """With a clock that a step moves by 1 second, the first by 5 more, and a look at the test images by 100."""
    now = [0.0]

    class Clock(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            now[0] += 6 if now[0] == 0 else 1

        def on_test_batch_begin(self, batch, logs=None):
            now[0] += 100

    monkeypatch.setattr(callbacks.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(training, "_loggers", lambda *_: [Clock()])
    history = train(build_tiny_model(), tiny_dataset, tmp_path / "run", 2, batch_size=8)  # 5 steps an epoch
    assert history["training_seconds"].tolist() == [5, 5]
    assert history["compilation_seconds"].tolist() == [5, 0]
    assert history["seconds"].tolist() == [110, 105]


def test_a_run_keeps_its_precision_and_is_looked_at_in_float32(tiny_dataset, build_tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.utils, "clear_session", lambda: None)  # it would reset the precision, too
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        train(build_tiny_model(), tiny_dataset, tmp_path / "run", 2)
        train(build_tiny_model(), tiny_dataset, tmp_path / "run", 4)
        train(build_tiny_model(), tiny_dataset, tmp_path / "whole", 4)
    finally:
        keras.config.set_dtype_policy("float32")
    assert differences(tmp_path / "whole", tmp_path / "run", 4) == []
    assert json.loads((tmp_path / "run" / "run.json").read_text())["options"]["precision"] == "mixed_bfloat16"
    model = checkpoints.load_model(tmp_path / "run")
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    with pytest.raises(UserError, match="precision was mixed_bfloat16, now float32"):
        train(build_tiny_model(), tiny_dataset, tmp_path / "run", 5)


def test_names_that_keras_numbers_make_no_other_network(tmp_path):
    """A model that is a layer of another one: the same one again has other names, in the same process."""

    def build(filters):
        inner = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(filters, 3), keras.layers.ReLU()])
        image = keras.Input((8, 8, 1))
        functional = keras.Model(image, keras.layers.add([inner(image), inner(image)]))
        layers = [keras.Input((8, 8, 1)), functional, keras.layers.Flatten(), keras.layers.Dense(2)]
        return keras.Sequential(layers)

    first, again = build(3), build(3)
    assert first.layers[0].layers[1].name != again.layers[0].layers[1].name
    (tmp_path / "architecture.json").write_text(json.dumps(checkpoints.architecture(first)))
    assert checkpoints.architecture_differences(tmp_path, again) == []
    (difference,) = checkpoints.architecture_differences(tmp_path, build(4))
    assert difference.startswith("layer 1 (Functional): layers was")


def test_the_two_newest_checkpoints_are_kept_and_the_best_one(build_tiny_model, tmp_path):
    model, history = build_tiny_model(), []
    for epoch, accuracy in enumerate([0.1, 0.9, 0.2, 0.3, 0.4], start=1):
        history.append({"epoch": epoch, "val_accuracy": accuracy})
        checkpoints.save(tmp_path, model, run={}, history=history)
    kept = {"epoch-0002", "epoch-0004", "epoch-0005"}
    assert {path.name.split(".")[0] for path in tmp_path.glob("*.json")} == kept
    assert {path.name.split(".")[0] for path in tmp_path.glob("*.h5")} == kept


def test_the_networks_of_earlier_epochs(copy_run, tmp_path):
    run = copy_run(tmp_path / "run", 3)
    epochs, models = zip(*checkpoints.load_all(run), strict=True)
    assert epochs[-2:] == (2, 3)
    for epoch, model in zip(epochs, models, strict=True):
        found = model.get_weights()
        model.load_weights(run / f"epoch-{epoch:04d}.weights.h5")
        for one, other in zip(found, model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
    assert not np.array_equal(models[-1].get_weights()[0], models[-2].get_weights()[0])


def test_half_written_files_are_removed(copy_run, tiny_dataset, build_tiny_model, tmp_path):
    run = copy_run(tmp_path / "run", 2)
    (run / ".partial-epoch-0099.json").touch()
    train(build_tiny_model(), tiny_dataset, run, 2)
    assert not list(run.glob(".partial-*"))


def test_asked_twice_a_training_stops_at_once():
    stop = callbacks.StopOnSignal(types.SimpleNamespace(saved="epoch 1 is saved"))
    with stop.catching():
        signal.raise_signal(signal.SIGINT)  # waits for the end of the batch
        with pytest.raises(Stopped, match="Stopped; epoch 1 is saved"):
            signal.raise_signal(signal.SIGINT)


def test_what_a_run_leaves_behind(tiny_dataset, build_tiny_model, tmp_path, drawing_of_curves, monkeypatch):
    monkeypatch.setattr(callbacks.training_curves, "training_curves", drawing_of_curves)
    run = tmp_path / "run"
    history = train(build_tiny_model(), tiny_dataset, run, 5)
    best = int(history["val_accuracy"].idxmax()) + 1
    kept = {4, 5, best}
    assert {path.name for path in run.iterdir()} == {
        "architecture.json", "run.json", "history.csv", "training_curves.png",
        *(f"epoch-{epoch:04d}.json" for epoch in kept), *(f"epoch-{epoch:04d}.weights.h5" for epoch in kept),
    }  # fmt: skip
    saved = pd.read_csv(run / "history.csv")
    assert saved.columns.tolist() == [
        "epoch", "accuracy", "loss", "val_accuracy", "val_loss", "seconds", "training_seconds", "compilation_seconds",
        "learning_rate",
    ]  # fmt: skip
    assert saved["epoch"].tolist() == [1, 2, 3, 4, 5]
    pd.testing.assert_frame_equal(saved, history)
    provenance = json.loads((run / "run.json").read_text())
    assert provenance["dataset"] == "tiny"
    assert provenance["class_names"] == ["top", "bottom"]
    assert provenance["options"]["seed"] == 7
    assert [session["first_epoch"] for session in provenance["sessions"]] == [1]
    # Plain Keras can read it, without this project.
    model = build_tiny_model()
    model.load_weights(run / "epoch-0005.weights.h5")
    np.testing.assert_array_equal(model.get_weights()[0], checkpoints.load_model(run).get_weights()[0])


def test_a_training_that_is_tested_at_its_end_is_the_same_one(tiny_dataset, build_tiny_model, tmp_path, capsys):
    each_epoch, once = tmp_path / "each-epoch", tmp_path / "once"
    history = train(build_tiny_model(), tiny_dataset, each_epoch, 4)
    train(build_tiny_model(), tiny_dataset, once, 3, test_each_epoch=False)
    at_the_end = train(build_tiny_model(), tiny_dataset, once, 4, test_each_epoch=False)
    assert at_the_end["val_accuracy"].isna().tolist() == [True, True, False, False]  # 3 was the last one, then 4
    columns = ["epoch", "accuracy", "loss"]
    pd.testing.assert_frame_equal(at_the_end[columns], history[columns])
    assert at_the_end["val_loss"].iloc[-1] == history["val_loss"].iloc[-1]
    for weights, others in zip(*(checkpoints.load_model(run).get_weights() for run in (each_epoch, once)), strict=True):
        np.testing.assert_array_equal(weights, others)
    training.report(at_the_end, once)
    training.report(at_the_end.head(2), once)  # stopped after two epochs
    one, two = (line for line in capsys.readouterr().out.splitlines() if "of training" in line)
    assert one.startswith(f"Test accuracy {history['val_accuracy'].iloc[-1]:.2%}, test loss")
    assert two.startswith("Not tested after epoch 2: ")


def test_half_of_a_test_is_no_sound_record(copy_run, tmp_path):
    """Its checksum is right, as in a stranger's file."""
    run = copy_run(tmp_path / "run", 2)
    history = pd.read_csv(run / "history.csv").to_dict("records")
    checkpoints.save(run, checkpoints.load_model(run), run={}, history=history)
    del history[1]["val_loss"]
    checkpoints.save(run, checkpoints.load_model(run), run={}, history=history)
    checkpoint, damaged = checkpoints.newest(run)
    assert checkpoint.epoch == 1
    assert "epoch-0002.json is damaged" in damaged[0]


def test_a_training_that_was_not_tested_yet_keeps_its_newest_epochs(
    tiny_dataset, build_tiny_model, tmp_path, drawing_of_curves, monkeypatch
):
    monkeypatch.setattr(callbacks.training_curves, "training_curves", drawing_of_curves)
    run = tmp_path / "run"
    watcher = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: stop(epoch))

    def stop(epoch):
        if epoch == 2:
            raise Stopped("Stopped", 130)

    with pytest.raises(Stopped):
        train(build_tiny_model(), tiny_dataset, run, 5, test_each_epoch=False, watchers=(watcher,))
    assert {path.name for path in run.glob("epoch-*.json")} == {"epoch-0002.json", "epoch-0003.json"}
    assert "val_accuracy" not in pd.read_csv(run / "history.csv")
    assert (run / "training_curves.png").read_bytes().startswith(b"\x89PNG")


def test_curves_are_not_drawn_more_often_than_they_can_be_looked_at(
    tiny_dataset, build_tiny_model, tmp_path, monkeypatch
):
    drawn = []
    monkeypatch.setattr(
        callbacks.training_curves, "training_curves", lambda history, _: drawn.append(len(history)) or b""
    )
    monkeypatch.setattr(callbacks, "SECONDS_BETWEEN_DRAWINGS", 1000)
    train(build_tiny_model(), tiny_dataset, tmp_path / "run", 4)
    assert drawn == [1, 4]
    train(build_tiny_model(), tiny_dataset, tmp_path / "run", 5)  # at once what is there, and the last epoch
    assert drawn == [1, 4, 4, 5]
    monkeypatch.setattr(callbacks, "SECONDS_BETWEEN_DRAWINGS", 0)
    train(build_tiny_model(), tiny_dataset, tmp_path / "run", 7)
    assert drawn == [1, 4, 4, 5, 5, 6, 7]


def test_a_finished_run_is_left_alone_and_the_reader_told_how_to_go_on(
    tiny_dataset, build_tiny_model, copy_run, tmp_path, capsys
):
    run = copy_run(tmp_path / "run", 2)
    before = snapshot(run)
    model = build_tiny_model()
    history = train(model, tiny_dataset, run, 2, verbose=2)
    assert snapshot(run) == before
    assert len(history) == 2
    assert "finished after 2 epochs. To train longer: --epochs 4. To start anew: --fresh." in capsys.readouterr().out
    np.testing.assert_array_equal(model.get_weights()[0], checkpoints.load_model(run).get_weights()[0])


def test_fresh_sets_the_old_run_aside(tiny_dataset, build_tiny_model, copy_run, tmp_path):
    run = tmp_path / "run"
    copy_run(run, 2)
    old = snapshot(run)
    for aside in ("run-old-1", "run-old-2"):
        history = train(build_tiny_model(), tiny_dataset, run, 1, fresh=True)
        assert len(history) == 1
        assert (tmp_path / aside).is_dir()
    assert snapshot(tmp_path / "run-old-1") == old


@pytest.mark.parametrize("fresh", [True, False])
def test_a_folder_of_other_files_is_left_alone(fresh, tiny_dataset, build_tiny_model, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    with pytest.raises(UserError, match="holds other files and no training run"):
        train(build_tiny_model(), tiny_dataset, tmp_path / "photos", 1, fresh=fresh)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["photos"]


def test_a_file_is_no_run(tiny_dataset, build_tiny_model, tmp_path):
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")
    with pytest.raises(UserError, match=r"can't use .*notes\.txt for a run"):
        train(build_tiny_model(), tiny_dataset, notes, 1, fresh=True)
    assert notes.read_text() == "mine"


def test_fresh_with_unfit_weights_leaves_the_old_run_in_place(tiny_dataset, build_tiny_model, copy_run, tmp_path):
    run = copy_run(tmp_path / "run", 1)
    before = snapshot(run)
    build_tiny_model(filters=5).save_weights(tmp_path / "unfit.weights.h5")
    with pytest.raises(UserError, match="does not fit this network"):
        train(build_tiny_model(), tiny_dataset, run, 1, fresh=True, initial_weights=tmp_path / "unfit.weights.h5")
    assert snapshot(run) == before


# ---------------------------------------------------------------- contradictions


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"seed": 8}, "seed was 7, now 8"),
        ({"batch_size": 8}, "batch size was 16, now 8"),
        ({"augment": AUGMENT}, r"augmentation was None, now Augmentation\(zoom=0.1"),
        ({"validation_split": 0.1}, r"validation split was None, now 0.1"),
    ],
)
def test_other_options_are_refused_with_the_difference_named(
    change, difference, tiny_dataset, build_tiny_model, copy_run, tmp_path
):
    run = tmp_path / "run"
    copy_run(run, 1)
    before = snapshot(run)
    with pytest.raises(UserError, match=f"trained with other options .*{difference}.*--fresh"):
        train(build_tiny_model(), tiny_dataset, run, 2, **change)
    assert snapshot(run) == before


def test_another_network_is_refused(tiny_dataset, build_tiny_model, copy_run, tmp_path):
    copy_run(tmp_path / "run", 1)
    with pytest.raises(UserError, match=r"layer 1 \(Conv2D\): filters was 4, now 5"):
        train(build_tiny_model(filters=5), tiny_dataset, tmp_path / "run", 2)


def test_another_learning_rate_is_refused(tiny_dataset, build_tiny_model, copy_run, tmp_path):
    copy_run(tmp_path / "run", 1)
    with pytest.raises(UserError, match=r"optimizer learning rate was 0\.0\d+, now 0\.5"):
        train(build_tiny_model(learning_rate=0.5), tiny_dataset, tmp_path / "run", 2)


def test_another_loss_is_refused(tiny_dataset, build_tiny_model, copy_run, tmp_path):
    copy_run(tmp_path / "run", 1)
    model = build_tiny_model()
    model.compile(loss="mean_squared_error", optimizer=model.optimizer, metrics=["accuracy"])
    with pytest.raises(UserError, match="loss was categorical_crossentropy, now mean_squared_error"):
        train(model, tiny_dataset, tmp_path / "run", 2)


@pytest.mark.parametrize("metrics", [None, ["acc"], ["categorical_accuracy"]])
def test_a_network_without_the_metric_accuracy_is_refused_before_it_is_trained(metrics, tiny_dataset, tmp_path):
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=metrics)
    with pytest.raises(UserError, match=r'no metric "accuracy": compile it with metrics=\["accuracy"\]'):
        train(model, tiny_dataset, tmp_path / "run", 1, fresh=True)
    assert not (tmp_path / "run").exists()


def test_a_step_is_traced_once(tiny_dataset, build_tiny_model, tmp_path, monkeypatch):
    model, traced = build_tiny_model(), []
    step = model.train_step
    monkeypatch.setattr(model, "train_step", lambda data: traced.append(data) or step(data))
    train(model, tiny_dataset, tmp_path / "run", 2)
    assert len(traced) == 1


def test_a_loss_can_be_an_object(tiny_dataset, build_tiny_model, tmp_path):
    import keras

    def build(label_smoothing):
        model = build_tiny_model()
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing)
        model.compile(loss=loss, optimizer="adam", metrics=["accuracy"])
        return model

    train(build(0.1), tiny_dataset, tmp_path / "run", 1)
    assert len(train(build(0.1), tiny_dataset, tmp_path / "run", 2)) == 2
    with pytest.raises(UserError, match=r"loss config label smoothing was 0\.1, now 0\.2"):
        train(build(0.2), tiny_dataset, tmp_path / "run", 3)


def test_a_wholly_different_network_is_refused_in_a_short_line(tiny_dataset, build_tiny_model, copy_run, tmp_path):
    copy_run(tmp_path / "run", 1)
    model = linear_model()
    model.compile(loss="mean_squared_error", optimizer="sgd", metrics=["accuracy"])
    with pytest.raises(UserError, match=r"the network had 7 layers, now 3; .*; and \d+ more\)") as error:
        train(model, tiny_dataset, tmp_path / "run", 2, seed=8)
    assert len(str(error.value).split(";")) == 4


@pytest.mark.parametrize(
    ("schedule", "settings", "told"),
    [
        ("CosineDecay", (0.01, 3), "schedule has ended, so more epochs"),
        ("CosineDecay", (0.01, 100), "schedule has not ended: ask for more --epochs"),
        ("CosineDecay", (0.0, 3, 0.0, "warm-up", 0.01, 97), "schedule has not ended: ask for more --epochs"),
        ("PiecewiseConstantDecay", ([3], [0.01, 0.001]), "schedule has ended, so more epochs"),
    ],
)
def test_whether_a_schedule_has_run_out_is_told(
    schedule, settings, told, tiny_dataset, build_tiny_model, tmp_path, capsys
):
    import keras

    for _ in range(2):
        model = build_tiny_model(learning_rate=getattr(keras.optimizers.schedules, schedule)(*settings))
        train(model, tiny_dataset, tmp_path / "run", 1, verbose=2)
    assert f"finished after 1 epoch. Its learning rate {told}" in capsys.readouterr().out


def test_another_dataset_is_refused(tiny_dataset, build_tiny_model, copy_run, tmp_path):
    import dataclasses

    copy_run(tmp_path / "run", 1)
    with pytest.raises(UserError, match="dataset was tiny, now other"):
        train(build_tiny_model(), dataclasses.replace(tiny_dataset, name="other"), tmp_path / "run", 2)


# ---------------------------------------------------------------- damage


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_the_epoch_before_a_damaged_one_is_resumed(tiny_dataset, build_tiny_model, copy_run, tmp_path, capsys):
    copy_run(tmp_path / "whole", 4)
    copy_run(tmp_path / "run", 3)
    half(tmp_path / "run" / "epoch-0003.weights.h5")
    train(build_tiny_model(), tiny_dataset, tmp_path / "run", 4, verbose=2)
    said = capsys.readouterr().out
    assert f"Skipped: {tmp_path / 'run' / 'epoch-0003.weights.h5'}" in said
    assert "Resuming after epoch 2" in said
    assert differences(tmp_path / "whole", tmp_path / "run", 4) == []


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("epoch-0003.weights.h5", half),
        ("epoch-0003.weights.h5", flip_a_bit),
        ("epoch-0003.weights.h5", lambda path: path.unlink()),
        ("epoch-0003.json", half),
        ("epoch-0003.json", lambda path: path.write_text("")),
        ("epoch-0003.json", lambda path: path.write_text('{"epoch": 3}')),
        ("epoch-0003.json", lambda path: path.write_text("[]")),
        ("epoch-0003.json", lambda path: path.write_text(path.read_text().replace('"seed": 7', '"seed": 8'))),
        ("epoch-0003.json", lambda path: path.write_text(path.with_name("epoch-0002.json").read_text())),
    ],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_found(name, damage, copy_run, tmp_path):
    run = copy_run(tmp_path / "run", 3)
    damage(run / name)
    checkpoint, (description,) = checkpoints.newest(run)
    assert checkpoint.epoch == 2
    assert description.startswith(str(run / name))


def test_an_epoch_trained_after_damage_is_not_lost_again(tiny_dataset, build_tiny_model, copy_run, tmp_path):
    run = tmp_path / "run"
    copy_run(run, 3)
    older = snapshot(run)
    train(build_tiny_model(), tiny_dataset, run, 5)
    for name, content in older.items():
        (run / name).write_bytes(content)
    for path in run.glob("epoch-000[45].weights.h5"):
        half(path)
    train(build_tiny_model(), tiny_dataset, run, 4)
    checkpoint, damaged = checkpoints.newest(run)
    assert (checkpoint.epoch, damaged) == (4, [])


def test_lost_records_are_named_and_their_weights_left_alone(tiny_dataset, build_tiny_model, copy_run, tmp_path):
    run = tmp_path / "run"
    copy_run(run, 3)
    for path in run.glob("epoch-*.json"):
        path.unlink()
    before = snapshot(run)
    with pytest.raises(UserError, match=r"no sound checkpoint is left .*has lost its records.*--fresh"):
        train(build_tiny_model(), tiny_dataset, run, 4)
    assert snapshot(run) == before


def test_weights_whose_record_was_never_written_are_no_obstacle(tiny_dataset, build_tiny_model, copy_run, tmp_path):
    """What is left when a process is killed between the weights and the record of its first epoch."""
    run = tmp_path / "run"
    copy_run(run, 1)
    for name in ("epoch-0001.json", "history.csv", "training_curves.png"):
        (run / name).unlink()
    assert len(train(build_tiny_model(), tiny_dataset, run, 1)) == 1


def test_weights_without_a_record_are_removed_in_time(tiny_dataset, build_tiny_model, copy_run, tmp_path):
    run = tmp_path / "run"
    copy_run(run, 1)
    (run / "epoch-0000.weights.h5").touch()
    train(build_tiny_model(), tiny_dataset, run, 2)
    assert not (run / "epoch-0000.weights.h5").exists()


@pytest.mark.parametrize("name", ["epoch-0003.json", "epoch-0003.weights.h5"])
def test_a_file_that_the_system_withholds_is_not_taken_for_damaged(
    name, tiny_dataset, build_tiny_model, copy_run, tmp_path, monkeypatch
):
    """A checkpoint on a network drive may be out of reach for a while. Going on from an older one would replace it."""
    run = tmp_path / "run"
    copy_run(run, 3)
    before = snapshot(run)
    builtin_open = io.open

    def withholding(path, *arguments, **options):
        if str(path).endswith(name):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return builtin_open(path, *arguments, **options)

    with monkeypatch.context() as withheld:
        withheld.setattr("builtins.open", withholding)
        withheld.setattr("io.open", withholding)
        with pytest.raises(UserError, match=rf"can't read .*{name}: Permission denied"):
            train(build_tiny_model(), tiny_dataset, run, 4)
    assert snapshot(run) == before


def test_a_copy_that_another_program_made_is_passed_over(tiny_dataset, build_tiny_model, copy_run, tmp_path):
    run = tmp_path / "run"
    copy_run(run, 1)
    (run / "epoch-0001 - Copy.json").write_bytes((run / "epoch-0001.json").read_bytes())
    assert len(train(build_tiny_model(), tiny_dataset, run, 2)) == 2


def test_no_sound_checkpoint_left(tiny_dataset, build_tiny_model, copy_run, tmp_path):
    run = tmp_path / "run"
    copy_run(run, 2)
    for path in run.glob("*.weights.h5"):
        half(path)
    with pytest.raises(UserError, match=r"no sound checkpoint is left.*epoch-0002.weights.h5 is damaged.*--fresh"):
        train(build_tiny_model(), tiny_dataset, run, 3)
    with pytest.raises(UserError, match=r"epoch-0002.weights.h5 is damaged"):
        checkpoints.load_model(run)
    assert len(train(build_tiny_model(), tiny_dataset, run, 1, fresh=True)) == 1


@pytest.mark.parametrize("epochs", [2, 3])
def test_the_other_files_are_made_again(epochs, tiny_dataset, build_tiny_model, copy_run, tmp_path):
    """By the next start, also if there is nothing left to train."""
    run = copy_run(tmp_path / "run", 2)
    before = snapshot(run)
    for name in ("run.json", "architecture.json", "history.csv", "training_curves.png"):
        (run / name).write_text("{")
    train(build_tiny_model(), tiny_dataset, run, epochs)
    for name in ("run.json", "architecture.json", "history.csv", "training_curves.png"):
        assert ((run / name).read_bytes() == before[name]) == (epochs == 2 or name == "architecture.json")
        assert (run / name).stat().st_size > 100


def test_a_table_that_another_program_keeps_open_does_not_stop_the_training(
    tiny_dataset, build_tiny_model, tmp_path, capsys
):
    (tmp_path / "run" / "history.csv" / "in_use").mkdir(parents=True)  # can't be replaced by a file
    (tmp_path / "run" / "run.json").touch()
    assert len(train(build_tiny_model(), tiny_dataset, tmp_path / "run", 2, verbose=2)) == 2
    assert f"Warning: can't write {tmp_path / 'run' / 'history.csv'}" in capsys.readouterr().out
    assert checkpoints.newest(tmp_path / "run")[0].epoch == 2


def test_load_model_of_a_folder_without_a_run(tmp_path):
    with pytest.raises(UserError, match="holds no trained network"):
        checkpoints.load_model(tmp_path)


def test_load_model_with_a_damaged_architecture(tiny_dataset, build_tiny_model, copy_run, tmp_path):
    copy_run(tmp_path / "run", 1)
    half(tmp_path / "run" / "architecture.json")
    with pytest.raises(UserError, match=r"architecture.json is damaged"):
        checkpoints.load_model(tmp_path / "run")


# ---------------------------------------------------------------- when things go wrong on the way


class NotANumber:
    """An augmentation that spoils all images from a certain batch on."""

    def __init__(self, sound_batches):
        self.sound_batches = sound_batches

    def __repr__(self):
        return "NotANumber"

    def __call__(self, images, rng):
        self.sound_batches -= 1
        return images if self.sound_batches >= 0 else images * np.nan


def linear_model():
    import keras

    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    model.compile(loss="mean_squared_error", optimizer="adam", metrics=["accuracy"])
    return model


@pytest.mark.parametrize("linear", [True, False])
def test_a_training_that_breaks_down_keeps_its_last_sound_weights(linear, tiny_dataset, build_tiny_model, tmp_path):
    """Both ways to notice: a ReLU can turn NaN into 0, and then the loss looks sound while the weights are not.

    Whether it does depends on the processor.
    """
    message = "loss is no longer a number; epoch 1 is saved" + ("" if linear else "|weights are no longer finite")
    run = tmp_path / "run"
    model = linear_model() if linear else build_tiny_model()
    train(model, tiny_dataset, run, 1, augment=NotANumber(1000))
    with pytest.raises(UserError, match=message):
        train(model, tiny_dataset, run, 3, augment=NotANumber(0))
    checkpoint, damaged = checkpoints.newest(run)
    assert checkpoint.epoch == 1
    assert damaged == []
    assert all(np.isfinite(weight).all() for weight in checkpoints.load_model(run).get_weights())


def test_weights_that_are_no_numbers_are_not_saved(build_tiny_model, tmp_path):
    model = build_tiny_model()
    model.set_weights([weight * np.inf for weight in model.get_weights()])
    with pytest.raises(UserError, match="no longer finite"):
        checkpoints.save(tmp_path, model, run={}, history=[{"epoch": 1, "val_accuracy": 0.5}])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("full_at", ["epoch-0002.weights.h5", "epoch-0002.json", "history.csv", "training_curves.png"])
def test_a_disk_that_fills_amid_a_file_harms_nothing(
    full_at, tiny_dataset, build_tiny_model, copy_run, tmp_path, monkeypatch
):
    copy_run(tmp_path / "whole", 2)
    run = tmp_path / "run"
    copy_run(run, 1)
    before = {name: content for name, content in snapshot(run).items() if name.startswith("epoch")}
    with monkeypatch.context() as full_disk:
        full_disk.setattr("builtins.open", _open_that_fills_the_disk(full_at))
        if full_at.startswith("epoch"):
            with pytest.raises(UserError, match=rf"can't write .*{full_at} \(No space left.*saved before is kept"):
                train(build_tiny_model(), tiny_dataset, run, 2)
        else:  # these can be made again
            train(build_tiny_model(), tiny_dataset, run, 2)
    after = snapshot(run)
    assert {name: after[name] for name in before} == before
    assert not any(name.startswith(".partial") for name in after)
    train(build_tiny_model(), tiny_dataset, run, 2)
    assert differences(tmp_path / "whole", run, 2) == []
    assert len(pd.read_csv(run / "history.csv")) == 2


def _open_that_fills_the_disk(full_at):
    def open_(path, *arguments, **options):
        file = builtin_open(path, *arguments, **options)
        if str(path).endswith(f".partial-{full_at}"):
            file.write(b"half of it")
            file.close()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return file

    builtin_open = open
    return open_


def test_the_system_s_limit_harms_nothing_either(tiny_dataset, build_tiny_model, copy_run, tmp_path):
    """As above, but it is the system that refuses to let the weights' file grow beyond a limit."""
    resource = pytest.importorskip("resource", reason="file-size limits are a Unix thing")
    run = tmp_path / "run"
    copy_run(run, 1)
    before = {name: content for name, content in snapshot(run).items() if name.startswith("epoch")}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((run / "epoch-0001.weights.h5").stat().st_size - 1000, hard))
    try:
        with pytest.raises(UserError, match=r"can't write .*what was saved before is kept"):
            train(build_tiny_model(), tiny_dataset, run, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    after = snapshot(run)
    assert {name: after[name] for name in before} == before
    assert not any(name.startswith(".partial") for name in after)


def test_a_folder_that_can_not_be_made(tiny_dataset, build_tiny_model, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"can't make the folder .*see to the permissions"):
        train(build_tiny_model(), tiny_dataset, tmp_path / "file" / "run", 1)


def test_a_second_process_on_the_same_run_is_refused(tiny_dataset, build_tiny_model, tmp_path):
    run = tmp_path / "run"
    lock = str(tmp_path / ".run.lock")
    code = f"import filelock; lock = filelock.FileLock({lock!r}); lock.acquire(); print('locked', flush=True); input()"
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "locked\n"
    with pytest.raises(UserError, match="another process is training in"):
        train(build_tiny_model(), tiny_dataset, run, 1)
    holder.kill()  # its lock file stays behind, and is no obstacle
    holder.wait()
    assert (tmp_path / ".run.lock").exists()
    assert len(train(build_tiny_model(), tiny_dataset, run, 1)) == 1


def test_a_training_holds_the_lock(tiny_dataset, build_tiny_model, tmp_path):
    class Peek:
        seen = ()

        def __repr__(self):
            return "Peek"

        def __call__(self, images, rng):
            lock = FileLock(tmp_path / ".run.lock", blocking=False)
            try:
                lock.acquire()
                Peek.seen += ("free",)
            except TimeoutError:
                Peek.seen += ("locked",)
            return images

    train(build_tiny_model(), tiny_dataset, tmp_path / "run", 1, augment=Peek())
    assert set(Peek.seen) == {"locked"}


def test_training_outside_the_main_thread(tiny_dataset, build_tiny_model, tmp_path):
    """A notebook may do so; signals can't be caught there."""
    results = []
    thread = threading.Thread(
        target=lambda: results.append(train(build_tiny_model(), tiny_dataset, tmp_path / "run", 1))
    )
    thread.start()
    thread.join()
    assert len(results[0]) == 1


def test_tensorboard_without_its_package(tiny_dataset, build_tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(training.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install tensorboard"):
        train(build_tiny_model(), tiny_dataset, tmp_path / "run", 1, tensorboard=True)


def test_tensorboard(tiny_dataset, build_tiny_model, tmp_path):
    train(build_tiny_model(), tiny_dataset, tmp_path / "run", 1, tensorboard=True)
    assert any((tmp_path / "run" / "tensorboard").rglob("events.out.tfevents.*"))


# ---------------------------------------------------------------- weights from elsewhere


def test_weights_of_keras_3(tiny_dataset, build_tiny_model, tmp_path):
    source = build_tiny_model()
    train(source, tiny_dataset, tmp_path / "source", 1)
    for name in ("mine.weights.h5", "misnamed.h5"):
        source.save_weights(tmp_path / "mine.weights.h5")
        (tmp_path / "misnamed.h5").write_bytes((tmp_path / "mine.weights.h5").read_bytes())
        model = build_tiny_model()
        weight_files.load(model, tmp_path / name)
        for loaded, original in zip(model.get_weights(), source.get_weights(), strict=True):
            np.testing.assert_array_equal(loaded, original)


def test_weights_come_without_the_rate_and_the_steps_of_another_training(tiny_dataset, build_tiny_model, tmp_path):
    """Keras takes over the state of another optimizer if it has as many variables, as plain SGD and a new Adam do."""
    source = build_tiny_model()
    source.compile(loss="categorical_crossentropy", optimizer=keras.optimizers.SGD(0.5))
    source.fit(scale_pixels(tiny_dataset.x_train), np.eye(2)[tiny_dataset.y_train], verbose=0)
    source.save_weights(tmp_path / "mine.weights.h5")
    model = build_tiny_model(learning_rate=0.01)
    weight_files.load(model, tmp_path / "mine.weights.h5")
    np.testing.assert_array_equal(model.get_weights()[0], source.get_weights()[0])
    assert int(model.optimizer.iterations) == 0
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)


@pytest.fixture(scope="session")
def keras_2_files(tmp_path_factory):
    """The basic network's weights as the article's script saved them with Keras 2, and the arrays in them."""
    import tf_keras
    from tf_keras import layers

    folder = tmp_path_factory.mktemp("keras_2")
    tf_keras.utils.set_random_seed(3)
    model = tf_keras.Sequential(
        [
            layers.Conv2D(32, (3, 3), input_shape=(32, 32, 3)), layers.Activation("relu"),
            layers.Conv2D(32, (3, 3)), layers.Activation("relu"),
            layers.MaxPooling2D(pool_size=(2, 2)), layers.Dropout(0.25),
            layers.Conv2D(64, (3, 3)), layers.Activation("relu"),
            layers.Conv2D(64, (3, 3)), layers.Activation("relu"),
            layers.MaxPooling2D(pool_size=(2, 2)), layers.Dropout(0.25), layers.Flatten(),
            layers.Dense(256), layers.Activation("relu"), layers.Dropout(0.5),
            layers.Dense(10), layers.Activation("softmax"),
        ]
    )  # fmt: skip
    model.compile(loss="categorical_crossentropy", optimizer="adam")
    model.save_weights(folder / "convnet_weights.h5")
    with warnings.catch_warnings(action="ignore"):  # of Keras 2, about its own format
        model.save(folder / "whole_model.h5")
    images = np.random.default_rng(0).random((5, 32, 32, 3), dtype="float32")
    np.savez(folder / "expected.npz", images=images, outputs=model.predict(images, verbose=0))
    (folder / "misnamed.weights.h5").write_bytes((folder / "convnet_weights.h5").read_bytes())
    return folder


@pytest.mark.parametrize("name", ["convnet_weights.h5", "misnamed.weights.h5", "whole_model.h5"])
def test_weights_of_keras_2_give_the_same_predictions(name, keras_2_files):
    import basic_model

    model = basic_model.build_model((32, 32, 3), 10)
    weight_files.load(model, keras_2_files / name)
    expected = np.load(keras_2_files / "expected.npz")
    np.testing.assert_allclose(model.predict(expected["images"], verbose=0), expected["outputs"], atol=1e-6)


@pytest.mark.parametrize("version", [2, 3])
def test_weights_of_another_shape_are_refused_and_the_layer_named(version, keras_2_files, tmp_path):
    import basic_model

    path = keras_2_files / "convnet_weights.h5"
    if version == 3:
        path = tmp_path / "colour.weights.h5"
        basic_model.build_model((32, 32, 3), 10).save_weights(path)
    with pytest.raises(
        UserError, match=r"does not fit this network: .*conv1.*\(3, 3, 1, 32\).*\(3, 3, 3, 32\)"
    ) as error:
        weight_files.load(basic_model.build_model((28, 28, 1), 10), path)
    assert len(str(error.value).splitlines()) == 1


def test_weights_files_that_are_none(build_tiny_model, tmp_path):
    (tmp_path / "text.h5").write_text("not a weights file")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["numbers"] = [1, 2, 3]
    with pytest.raises(UserError, match="there is no such file"):
        weight_files.load(build_tiny_model(), tmp_path / "missing.h5")
    with pytest.raises(UserError, match="damaged or no HDF5 file"):
        weight_files.load(build_tiny_model(), tmp_path / "text.h5")
    with pytest.raises(UserError, match="does not fit this network"):
        weight_files.load(build_tiny_model(), tmp_path / "other.h5")
    build_tiny_model().save(tmp_path / "whole.keras")
    with pytest.raises(UserError, match=r"is a whole model, not weights: .*save_weights"):
        weight_files.load(build_tiny_model(), tmp_path / "whole.keras")


def test_weights_that_are_no_numbers_are_refused(build_tiny_model, tmp_path):
    model = build_tiny_model()
    model.set_weights([weight * np.nan for weight in model.get_weights()])
    model.save_weights(tmp_path / "nan.weights.h5")
    with pytest.raises(UserError, match="not finite numbers"):
        weight_files.load(build_tiny_model(), tmp_path / "nan.weights.h5")


def test_weights_files_that_point_elsewhere_are_refused(build_tiny_model, tmp_path):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["secret"] = np.arange(4.0)
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file.create_group("layers")["stolen"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/secret")
    with h5py.File(tmp_path / "external.h5", "w") as file:
        file.create_dataset("stolen", (4,), "f8", external=[(str(tmp_path / "secret.h5"), 0, 32)])
    for name, reason in (("link.h5", "stolen is a link"), ("external.h5", "are in another file")):
        with pytest.raises(UserError, match=reason):
            weight_files.load(build_tiny_model(), tmp_path / name)


def test_a_training_starts_from_given_weights(tiny_dataset, build_tiny_model, copy_run, tmp_path):
    start = copy_run(tmp_path / "source", 10) / "epoch-0010.weights.h5"
    run = tmp_path / "run"
    history = train(build_tiny_model(), tiny_dataset, run, 1, initial_weights=start)
    assert history["val_accuracy"].iloc[0] == 1
    with pytest.raises(
        UserError,
        match=r"initial weights was epoch-0010.weights.h5 \(SHA-256 [0-9a-f]{16}\), now epoch-0009.weights.h5",
    ):
        train(build_tiny_model(), tiny_dataset, run, 2, initial_weights=tmp_path / "source" / "epoch-0009.weights.h5")
    # To go on, the run needs neither the option nor, with it, the file.
    assert len(train(build_tiny_model(), tiny_dataset, run, 2)) == 2
    start.unlink()
    assert len(train(build_tiny_model(), tiny_dataset, run, 3, initial_weights=start)) == 3


def test_fresh_can_start_from_the_old_run_s_weights(tiny_dataset, build_tiny_model, copy_run, tmp_path):
    run = copy_run(tmp_path / "run", 10)
    start = run / "epoch-0010.weights.h5"
    assert train(build_tiny_model(), tiny_dataset, run, 1, fresh=True, initial_weights=start)["val_accuracy"][0] == 1
    assert len(train(build_tiny_model(), tiny_dataset, run, 2, initial_weights=start)) == 2  # the command to go on


def test_weights_of_theano_are_refused(keras_2_files, tmp_path):
    import basic_model

    path = tmp_path / "old.h5"
    path.write_bytes((keras_2_files / "convnet_weights.h5").read_bytes())
    with h5py.File(path, "a") as file:
        file.attrs["backend"] = "theano"
    with pytest.raises(UserError, match="saved on Theano, whose convolutions are mirrored"):
        weight_files.load(basic_model.build_model((32, 32, 3), 10), path)


def test_a_stashed_run_predicts_the_same_and_can_not_be_trained(tiny_dataset, build_tiny_model, copy_run, tmp_path):
    copy_run(tmp_path / "run", 2)
    publish.stash(tmp_path / "run", tmp_path / "stashed")
    (run, _), (stashed, _) = checkpoints.newest(tmp_path / "run"), checkpoints.newest(tmp_path / "stashed")
    assert stashed.weights_path.stat().st_size < run.weights_path.stat().st_size / 2
    assert stashed.history == run.history
    for one, other in zip(
        *(checkpoints.load_model(tmp_path / name).get_weights() for name in ("run", "stashed")), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(UserError, match="can be looked at but not trained further"):
        train(build_tiny_model(), tiny_dataset, tmp_path / "stashed", 3)


def test_a_run_of_before_a_renaming_is_resumed(tiny_dataset, build_tiny_model, tmp_path):
    """Cutout was once recorded as a hole."""
    run, cutout = tmp_path / "run", ShiftAndCutOut(shift=1, cutout=2)
    train(build_tiny_model(), tiny_dataset, run, 1, augment=cutout)
    path = run / "epoch-0001.json"
    record = json.loads(path.read_text())
    assert record["run"]["options"]["augmentation"] == "ShiftAndCutOut(shift=1, cutout=2)"
    record["run"]["options"]["augmentation"] = "ShiftAndCutOut(shift=1, hole=2)"
    del record["record_sha256"]
    path.write_text(json.dumps({**record, "record_sha256": checkpoints._record_sha256(record)}))
    assert len(train(build_tiny_model(), tiny_dataset, run, 2, augment=cutout)) == 2
