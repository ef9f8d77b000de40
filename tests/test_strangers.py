"""Files from strangers, made by hand to do harm: each attack that was thought of, and what comes of it."""

import io
import json
import os
import tarfile
import zipfile

import keras
import numpy as np
import pytest
from keras import layers
from PIL import EpsImagePlugin

from convnets import cli, files, records
from convnets.architectures import search_space
from convnets.data import cifar10, image_files, mnist, source_files
from convnets.errors import UserError
from convnets.training import checkpoints, model_files, run_copies, weight_files
from convnets.views import classifiers, introspection, runs


def test_a_link_in_the_place_of_a_half_written_file_is_not_followed(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (tmp_path / ".partial-run.json").symlink_to(precious)
    files.write(tmp_path / "run.json", "new")
    assert (tmp_path / "run.json").read_text() == "new"
    assert not (tmp_path / "run.json").is_symlink()
    assert precious.read_text() == "mine"


def test_postscript_that_is_called_a_picture_is_not_run(tmp_path, monkeypatch):
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", pytest.fail)
    path = tmp_path / "cat.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n%%EOF\n")
    with pytest.raises(image_files.Unreadable, match="not an image"):
        image_files.open_upright(path)


def test_folders_within_folders_within_folders(tmp_path):
    deep = str(tmp_path)
    for _ in range(1200):  # more than Python's calls may be nested
        deep += "/a"
        os.mkdir(deep)
    try:
        (tmp_path / "b.png").touch()
        assert [path.name for path in image_files.files_below(tmp_path)] == ["b.png"]
    finally:
        while deep != str(tmp_path):  # pytest can't remove them
            os.rmdir(deep)
            deep = os.path.dirname(deep)


# ---------------------------------------------------------------- models and weights


@pytest.fixture
def network():
    return keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(2, activation="softmax")])


def test_weights_that_are_compressed_could_grow(network, tmp_path):
    network.save(tmp_path / "sound.keras")
    with (
        zipfile.ZipFile(tmp_path / "sound.keras") as sound,
        zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in sound.namelist():
            bomb.writestr(name, sound.read(name))
    assert model_files.load(tmp_path / "sound.keras").count_params() == network.count_params()
    with pytest.raises(UserError, match="its weights are compressed"):
        model_files.load(tmp_path / "bomb.keras")


def test_layers_that_keep_a_state(network, tmp_path):
    image = keras.Input(batch_shape=(1, 8, 8, 3))
    answer = layers.SimpleRNN(2, stateful=True)(layers.Reshape((8, 24))(image))
    keras.Model(image, answer).save(tmp_path / "model.keras")
    with pytest.raises(UserError, match="stateful=True"):
        model_files.load(tmp_path / "model.keras")


def test_weights_files_with_far_more_bytes_than_weights(network, tmp_path):
    network.save_weights(tmp_path / "w.weights.h5")
    os.truncate(tmp_path / "w.weights.h5", 50_000_000)  # takes no room on the disk
    with pytest.raises(UserError, match=r"50,000,000 bytes, too many for this network"):
        weight_files.load(network, tmp_path / "w.weights.h5")


def test_maps_are_counted_for_all_images_at_once():
    for size, refused in ((32, False), (64, True)):
        stack = [layers.UpSampling2D(size), layers.GlobalAveragePooling2D(), layers.Dense(2, activation="softmax")]
        model = keras.Sequential([keras.Input((32, 32, 3)), *stack])
        if refused:
            with pytest.raises(UserError, match="is too large"):
                classifiers.as_classifier(model, "F", pixels="0..1")
        else:
            classifiers.as_classifier(model, "F", pixels="0..1")


def test_a_network_that_can_not_compute_its_answer(tmp_path):
    image = keras.Input((4, 4, 1))
    numbers = layers.Flatten()(layers.Embedding(2, 3)(layers.Flatten()(image * 255)))
    keras.Model(image, layers.Dense(2, activation="softmax")(numbers)).save(tmp_path / "model.keras")
    with pytest.raises(UserError, match=r"model\.keras is damaged, or of another version of Keras"):
        runs.load(tmp_path / "model.keras", data_needed=False, pixels="0..1")


def test_a_network_without_layers_that_have_weights():
    image = keras.Input((4, 4, 3))
    model = keras.Model(image, layers.Softmax()(layers.GlobalAveragePooling2D()(image)))
    outputs = introspection.predict(introspection.logits_and_features(model), np.ones((2, 4, 4, 3), "float32"))
    np.testing.assert_array_equal(outputs["features"], outputs["logits"])


# ---------------------------------------------------------------- arrays, tables and texts


@pytest.mark.parametrize("header", ["-" * 9000 + "1", "(" * 5000, "{'shape': (10**13,)"])
def test_headers_that_python_stumbles_over(header, tmp_path):
    content = header.encode().ljust(9999) + b"\n"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(content).to_bytes(2, "little") + content)
    with pytest.raises(ValueError, match=r"damaged|header"):
        files.read_array(tmp_path / "a.npy", 10**6)
    with pytest.raises(ValueError, match="more than 1,000 bytes"):
        files.read_array(tmp_path / "a.npy", 1000)


@pytest.mark.parametrize("row", ["1,much,0.5,1", "1,nan,0.5,1", "1,inf,0.5,1", ""])
def test_histories_that_are_no_numbers(row, tmp_path):
    (tmp_path / "history.csv").write_text(f"epoch,accuracy,loss,seconds\n1,0.5,0.5,1\n{row}\n")
    found = records.read_history(tmp_path)
    assert found is None if row else len(found) == 1


@pytest.mark.parametrize("run", [{"options": {"optimizer": "adam"}}, {"sessions": [{"epochs": "9"}]}, {"sessions": {}}])
def test_records_of_other_types(run, tmp_path):
    (tmp_path / "run.json").write_text(json.dumps(run))
    assert records.read_run(tmp_path) == {}


def test_what_a_terminal_would_obey_is_not_printed():
    assert str(UserError("can't read \x1b[2Jcat\n\u202e.jpg")) == "can't read  [2Jcat  .jpg"
    for name in ("写真\u30002024", "9.41.00\u202fPM.png", "👩\u200d🔬", "caf\udce9"):
        assert str(UserError(name)) == name


@pytest.mark.parametrize(
    ("word", "quoted"),
    [("a.jpg", "a.jpg"), ("my cat.jpg", '"my cat.jpg"'), ("a&b.jpg", '"a&b.jpg"'), ("C:\\a&b\\", '"C:\\a&b\\\\"')],
)
def test_commands_for_windows_are_quoted(word, quoted, monkeypatch):
    monkeypatch.setattr(cli.os, "name", "nt")
    assert cli.command_line([word]) == quoted


def test_no_name_is_typeset_as_a_formula():
    plots = pytest.importorskip("convnets.explorer.plots")
    assert "$$" not in plots.plain("$$$x$$$$")


def test_a_whole_number_in_a_script_has_no_point():
    assert search_space.is_possible(search_space.FIRST)
    assert not search_space.is_possible({**search_space.FIRST, "blocks": float(search_space.FIRST["blocks"])})


# ---------------------------------------------------------------- datasets, and other machines


def test_an_archive_of_a_hundred_thousand_names(tmp_path):
    with tarfile.open(tmp_path / cifar10.ARCHIVE_NAMES[0], "w:gz") as archive:
        for number in range(cifar10.MOST_MEMBERS + 5):
            archive.addfile(tarfile.TarInfo(str(number)), io.BytesIO())
    with pytest.raises(UserError, match="more than the official archive"):
        source_files.read(tmp_path / cifar10.ARCHIVE_NAMES[0], cifar10._read_archive)


def test_a_text_file_of_too_many_lines(tmp_path):
    path = tmp_path / mnist.LIBSVM_FILES["test"]
    path.write_text("0\n" * 10_001)
    with pytest.raises(UserError, match="more than 10000 lines"):
        source_files.read(path, mnist._read_libsvm)


@pytest.mark.parametrize("name", ["../escaped", "/tmp/escaped", ".hidden", "deep/file"])
def test_other_machines_write_only_into_the_run_s_folder(name, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "escaped").write_text("mine")
    for content in (b"", None):
        run_copies.write(tmp_path / "run", {name: content, "run.json": b"{}"})
    assert run_copies.read(tmp_path / "run") == {"run.json": b"{}"}
    assert (tmp_path / "escaped").read_text() == "mine"


def test_what_a_link_in_a_run_points_to_is_not_sent(tmp_path):
    (tmp_path / "secret").write_text("mine")
    run = tmp_path / "run"
    run.mkdir()
    (run / "notes.txt").symlink_to(tmp_path / "secret")
    (run / "run.json").write_text("{}")
    assert run_copies.read(run) == {"run.json": b"{}"}


def test_only_the_newest_damaged_epochs_are_tried(tmp_path):
    for epoch in range(1, 20):
        (tmp_path / f"epoch-{epoch:04d}.json").write_text("{")
    assert len(checkpoints.newest(tmp_path)[1]) == checkpoints.MOST_DAMAGED
