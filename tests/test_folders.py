"""A folder of pictures as a dataset."""

import io
import os
import shutil
import sys
import unicodedata
import zlib

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import basic_model
import compare_models
import visualize_results
from convnets import cli, files, paths
from convnets.data import datasets, folders, image_files
from convnets.errors import UserError
from convnets.training import training
from convnets.views import runs


def write(path, colour=None, size=(40, 30), seed=None, **options):
    """Write a picture: of one colour, or of random pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = zlib.crc32(os.fsencode("/".join(path.parts[-3:]))) if seed is None else seed
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3))
    picture = Image.new("RGB", size, colour) if colour else Image.fromarray(pixels.astype("uint8"))
    picture.save(path, **options)
    return path


@pytest.fixture
def pictures(tmp_path):
    """A folder with 10 pictures of cats and 10 of dogs, without a test part."""
    for number in range(10):
        write(tmp_path / "pets" / "cats" / f"{number}.png", seed=number)
        write(tmp_path / "pets" / "dogs" / f"{number}.png", seed=100 + number)
    return tmp_path / "pets"


def test_a_fifth_of_each_class_is_held_out(pictures):
    dataset = datasets.load(pictures)
    assert dataset.name == "pets"
    assert dataset.class_names == ("cats", "dogs")
    assert np.bincount(dataset.y_train).tolist() == [8, 8]
    assert np.bincount(dataset.y_test).tolist() == [2, 2]
    assert dataset.input_shape == (32, 32, 3)
    assert dataset.flippable
    assert dataset.notes == ()
    parts = dataset.pictures.set_index("file")["part"]
    write(pictures / "cats" / "another.png", seed=7777)
    again = datasets.load(pictures).pictures.set_index("file")["part"]
    assert (again[parts.index] == parts).mean() >= 0.9  # the split is by content, so most keep their part


def test_the_pixels_are_those_of_the_files(pictures):
    dataset = datasets.load(pictures)
    row = int(np.flatnonzero(dataset.pictures["file"] == "dogs/3.png")[0])
    picture = Image.open(pictures / "dogs" / "3.png").crop((5, 0, 35, 30)).resize((32, 32), Image.Resampling.LANCZOS)
    images = np.concatenate([dataset.x_train, dataset.x_test])
    np.testing.assert_array_equal(images[row], np.asarray(picture))
    labels = np.concatenate([dataset.y_train, dataset.y_test])
    named = [file.split("/")[0] for file in dataset.pictures["file"]]
    assert [dataset.class_names[label] for label in labels] == named


@pytest.mark.parametrize("train", ["train", "Training", "training_set"])
@pytest.mark.parametrize("name", ["test", "testing", "test_set", "val", "valid", "Validation", "eval"])
def test_a_test_part(train, name, tmp_path):
    for part, count in ((train, 3), (name, 2)):
        for number in range(count):
            write(tmp_path / part / "a" / f"{part}{number}.png")
            write(tmp_path / part / "b" / f"{part}{number}.png")
    dataset = datasets.load(tmp_path)
    assert [len(dataset.x_train), len(dataset.x_test)] == [6, 4]
    assert set(dataset.pictures["part"]) == {"train", "test"}


@pytest.mark.parametrize("filled", [(), ("val",)])
def test_a_test_part_without_pictures_is_none(filled, tmp_path):
    """As a tool leaves it that makes the folders first."""
    for part, count in (("train", 5), *((name, 2) for name in filled)):
        for number in range(count):
            write(tmp_path / part / "a" / f"{part}{number}.png")
            write(tmp_path / part / "b" / f"{part}{number}.png")
    for name in ("a", "b"):
        (tmp_path / "test" / name).mkdir(parents=True)
    dataset = datasets.load(tmp_path)
    assert [len(dataset.x_train), len(dataset.x_test)] == ([10, 4] if filled else [8, 2])
    assert any("Not used: test" in note for note in dataset.notes)


def test_a_class_may_be_called_train(tmp_path):
    for name in ("train", "bus"):
        for number in range(3):
            write(tmp_path / name / f"{number}.png")
    (tmp_path / "train" / "no pictures").mkdir()
    assert datasets.load(tmp_path).class_names == ("bus", "train")


@pytest.mark.skipif(os.name != "posix", reason="makes links, for which Windows wants permission")
def test_what_folders_contain(tmp_path):
    """Formats, colours, endings and names, each as one picture of a red class; the blue class is plain."""
    red, blue = tmp_path / "röd färg", tmp_path / "blue"
    for number in range(2):
        write(blue / f"{number}.png", (0, 0, 255))
    for ending in ("jpg", "png", "webp", "bmp", "tiff", "gif"):
        write(red / f"plain.{ending}", (255, 0, 0))
    write(red / "UPPER.JPG", (255, 0, 0))
    write(red / "deep" / "er" / "with space é.png", (255, 0, 0))
    Image.new("CMYK", (30, 30), (0, 255, 255, 0)).save(red / "print.jpg")
    Image.new("P", (30, 30), 0).save(red / "palette.png")
    frames = [Image.new("RGB", (30, 30), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    frames[0].save(red / "animation.gif", save_all=True, append_images=frames[1:])
    clear = Image.new("RGBA", (30, 30), (255, 0, 0, 255))
    clear.save(red / "opaque.png")
    os.symlink(red / "plain.png", red / "link.png")
    os.symlink(red, red / "deep" / "circle")
    (red / "Thumbs.db").write_bytes(b"x")
    (red / ".hidden.png").write_bytes(b"x")
    (red / "notes.txt").write_text("no picture")
    (tmp_path / "empty").mkdir()
    dataset = datasets.load(tmp_path)
    assert dataset.class_names == ("blue", "röd färg")
    images = np.concatenate([dataset.x_train, dataset.x_test]).astype(int)
    seen = dict(zip(dataset.pictures["file"], images[:, 16, 16], strict=True))
    for file, colour in seen.items():
        if file.startswith("röd") and "palette" not in file:
            np.testing.assert_allclose(colour, [255, 0, 0], atol=8, err_msg=file)
    assert len(seen) == 2 + 13
    assert any("notes.txt" in note for note in dataset.notes)
    assert any("empty" in note for note in dataset.notes)


@pytest.mark.skipif(os.name != "posix", reason="makes links, for which Windows wants permission")
@pytest.mark.parametrize("parts", [[""], ["train", "test"]])
def test_a_link_to_the_whole_folder_is_not_followed(parts, tmp_path):
    for part in parts:
        for name in "ab":
            for number in range(3):
                write(tmp_path / part / name / f"{number}.png")
    os.symlink(tmp_path, tmp_path / parts[0] / "a" / "all")
    os.symlink(tmp_path / parts[0], tmp_path / parts[0] / "a" / "part")
    table = datasets.load(tmp_path).pictures
    assert (table["class"] == table["file"].str.extract(r"([ab])/\d.png$")[0]).all()
    assert len(table) == 6 * len(parts)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_not_utf_8(pictures):
    name = os.fsdecode(b"caf\xe9")
    write(pictures / name / f"{name}.png")
    write(pictures / name / "2.png")
    dataset = datasets.load(pictures)
    assert dataset.num_classes == 3
    run = paths.MODELS / "run"
    files.make_folder(run)
    files.write(run / folders.RECORD, dataset.pictures.to_csv(index=False))
    assert folders.fingerprint(folders.recorded(run)) == folders.fingerprint(dataset.pictures)


def test_sixteen_bits_and_grey(tmp_path):
    for name, value in (("dark", 0x2000), ("light", 0xE000)):
        for number in range(2):
            (tmp_path / name).mkdir(exist_ok=True)
            pixels = np.full((30, 30), value + number * 0x400, "uint16")
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    dataset = datasets.load(tmp_path)
    assert dataset.input_shape == (32, 32, 1)
    assert not dataset.flippable
    assert {int(image[0, 0, 0]) for image in dataset.x_train} <= {31, 32, 35, 36, 223, 224, 227, 228}
    assert datasets.load(tmp_path, channels=3).input_shape == (32, 32, 3)


def test_a_picture_is_turned_upright(tmp_path):
    upright = np.zeros((32, 32, 3), "uint8")
    upright[:16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in "ab":
        for number in range(2):
            (tmp_path / name).mkdir(exist_ok=True)
            upright[31, 31] = 100 * number  # no two are the same
            Image.fromarray(np.rot90(upright)).save(tmp_path / name / f"{number}.png", exif=exif)
    np.testing.assert_array_equal(datasets.load(tmp_path).x_train[0][:31, :, 0], upright[:31, :, 0])


def test_a_broken_file_is_named_and_left_out(pictures):
    for number in range(20):
        write(pictures / "cats" / f"more{number}.png", seed=1000 + number)
    (pictures / "cats" / "5.png").write_bytes(b"\x89PNG broken")
    dataset = datasets.load(pictures)
    assert len(dataset.pictures) == 39
    assert dataset.notes[-1].startswith("Left out: 1 picture that can't be read: cats/5.png (not an image")
    for number in range(6):
        (pictures / "dogs" / f"{number}.png").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"7 of 40 pictures in .* can't be read"):
        datasets.load(pictures)


def test_a_picture_that_could_not_be_read_for_a_reason_that_has_passed(pictures, monkeypatch):
    """Neither its size nor its time has changed meanwhile."""
    for number in range(20):
        write(pictures / "cats" / f"more{number}.png", seed=1000 + number)
    open_upright, opened = image_files.open_upright, []

    def refuse_one(path, **options):
        opened.append(path.name)
        if path.name == "more3.png" and not readable:
            raise image_files.Unreadable(path, "Permission denied", may_pass=True)
        return open_upright(path, **options)

    readable = False
    monkeypatch.setattr(image_files, "open_upright", refuse_one)
    for names in (40, 1):  # all are decoded, then only this one is tried again
        assert "cats/more3.png (Permission denied)" in datasets.load(pictures).notes[-1]
        assert len(opened) == names
        opened.clear()
    readable = True
    assert len(datasets.load(pictures).pictures) == 40
    assert set(opened) == {"more3.png"}
    opened.clear()
    assert len(datasets.load(pictures).pictures) == 40
    assert opened == []


def test_what_the_system_refuses_may_pass(tmp_path, monkeypatch):
    path = write(tmp_path / "a.png")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(image_files.Unreadable) as damaged:
        image_files.open_upright(path)
    assert not damaged.value.may_pass
    for error in (PermissionError(13, "Permission denied"), MemoryError()):
        monkeypatch.setattr(image_files.Image, "open", lambda *_, error=error, **__: (_ for _ in ()).throw(error))
        with pytest.raises(image_files.Unreadable) as refused:
            image_files.open_upright(path)
        assert refused.value.may_pass


def test_names_whose_accents_macos_takes_apart_are_the_same(tmp_path):
    for number in range(4):
        for name in ("\u00c4pfel", "Birnen"):
            write(tmp_path / "a" / unicodedata.normalize("NFC", name) / f"{number}.png", seed=number + len(name))
            write(tmp_path / "b" / unicodedata.normalize("NFD", name) / f"{number}.png", seed=number + len(name))
    one, other = (datasets.load(tmp_path / name) for name in "ab")
    assert one.class_names == other.class_names == ("Birnen", "\u00c4pfel")
    assert folders.fingerprint(one.pictures) == folders.fingerprint(other.pictures)


@pytest.mark.parametrize(
    ("name", "system", "expected"),
    [("mnist", "linux", "mnist-folder"), ("MNIST", "linux", "MNIST"), ("MNIST", "darwin", "MNIST-folder")],
)
def test_names_of_folders_that_are_special(name, system, expected, pictures, monkeypatch):
    """On a file system that ignores the case, a run on MNIST/ would be that on mnist."""
    monkeypatch.setattr(datasets.sys, "platform", system)
    os.rename(pictures, pictures.with_name(name))
    write(pictures.with_name(name) / "lost+found" / "old.png")
    dataset = datasets.load(pictures.with_name(name))
    assert dataset.name == expected
    assert dataset.class_names == ("cats", "dogs")


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({}, "no subfolders with pictures"),
        ({"cats": 3}, "has fewer than two classes"),
        ({"cats": 1, "dogs": 1}, "one picture of each class"),
    ],
)
def test_folders_that_are_no_dataset(classes, message, tmp_path):
    for name, count in classes.items():
        for number in range(count):
            write(tmp_path / name / f"{number}.png")
    with pytest.raises(UserError, match=message):
        datasets.load(tmp_path)


def test_a_test_class_without_training_pictures(tmp_path):
    for part, names in (("train", "ab"), ("test", "abc")):
        for name in names:
            write(tmp_path / part / name / f"{part}.png")
    with pytest.raises(UserError, match="no training pictures of c"):
        datasets.load(tmp_path)


def test_two_pictures_in_a_class_and_many_classes(tmp_path):
    for number in range(300):
        for copy in range(2):
            write(tmp_path / f"{number:04}" / f"{copy}.png", seed=2 * number + copy, size=(32, 32))
    dataset = datasets.load(tmp_path)
    assert dataset.num_classes == 300
    assert np.bincount(dataset.y_train).tolist() == np.bincount(dataset.y_test).tolist() == [1] * 300


def test_the_same_picture_in_both_parts_is_named(tmp_path):
    for part in ("train", "test"):
        for name in "ab":
            for number in range(2):
                write(tmp_path / part / name / f"{number}.png")
    shutil.copy(tmp_path / "train" / "a" / "0.png", tmp_path / "test" / "a" / "copy.png")
    (note,) = datasets.load(tmp_path).notes
    assert "1 test picture also in the training part (train/a/0.png = test/a/copy.png)" in note


def test_copies_are_kept_together_when_a_fifth_is_held_out(pictures):
    for number in range(10):
        shutil.copy(pictures / "cats" / f"{number}.png", pictures / "cats" / f"copy{number}.png")
    table = datasets.load(pictures).pictures
    assert (table.groupby("sha256")["part"].nunique() == 1).all()


def test_imbalanced_classes_are_said_and_can_be_weighted(tmp_path, capsys):
    for number in range(30):
        write(tmp_path / "p" / "many" / f"{number}.png", seed=number)
    for number in range(3):
        write(tmp_path / "p" / "few" / f"{number}.png", seed=100 + number)
    dataset = datasets.load(tmp_path / "p")
    assert dataset.notes[0].startswith("Imbalanced classes: 24 training pictures of many, 2 of few. --class-weights")
    weights = training._class_weights(training.Recipe(1, class_weights="balanced"), dataset.y_train, 2)
    assert weights == {0: 26 / 4, 1: 26 / 48}
    run = paths.MODELS / "imbalanced"
    basic_model.main(
        ["--dataset", str(tmp_path / "p"), "--epochs", "1", "--run", str(run), "--class-weights", "balanced"]
    )
    assert "Imbalanced classes" in capsys.readouterr().out
    with pytest.raises(UserError, match="class weights was balanced, now None"):
        basic_model.main(["--dataset", str(tmp_path / "p"), "--epochs", "2", "--run", str(run)])


# ---------------------------------------------------------------- what is kept


def test_pictures_are_decoded_once(pictures, monkeypatch):
    first = datasets.load(pictures)

    def refuse(*args, **options):
        raise AssertionError("decoded again")

    monkeypatch.setattr(folders.image_files, "open_upright", refuse)
    again = datasets.load(pictures)
    np.testing.assert_array_equal(again.x_train, first.x_train)
    assert isinstance(again.x_train.base, np.memmap) or isinstance(again.x_train, np.memmap)


def test_a_large_folder_is_decoded_once_too(pictures, monkeypatch):
    """The list of 50,000 pictures is larger than any other record."""
    monkeypatch.setattr(files.read_json, "__defaults__", (100,))
    folders.load(pictures)
    monkeypatch.setattr(image_files, "open_upright", lambda *args, **options: pytest.fail("decoded again"))
    folders.load(pictures)


def test_grey_pictures_are_not_flipped_whatever_the_network_takes(tmp_path):
    for name in ("a", "b"):
        for number in range(2):
            write(tmp_path / name / f"{number}.png", colour=(50 * number,) * 3, seed=number)
    grey = [datasets.load(str(tmp_path), channels=channels) for channels in (None, 3)]
    assert [dataset.input_shape[-1] for dataset in grey] == [1, 3]
    assert not any(dataset.flippable for dataset in grey)
    write(tmp_path / "a" / "red.png", colour=(200, 0, 0))
    assert datasets.load(str(tmp_path)).flippable


def test_a_network_for_grey_images_sees_a_folder_as_it_sees_a_single_picture(pictures):
    dataset = datasets.load(str(pictures), channels=1)
    images, files = np.concatenate([dataset.x_train, dataset.x_test]), dataset.pictures["file"]
    assert images.shape == (20, 32, 32, 1)
    for image, file in zip(images[:3], files[:3], strict=True):
        picture = image_files.open_upright(pictures / file, at_least=512)
        np.testing.assert_array_equal(image / np.float32(255), image_files.fit(picture, (32, 32, 1)))


def test_a_sample_of_a_folder_has_pictures_of_all_classes(pictures):
    dataset = datasets.load(str(pictures))
    assert len(dataset.some(dataset.x_train, 10**6)) == len(dataset.x_train)
    chosen = dataset.some(np.arange(100), 5)
    assert chosen.tolist() == [0, 24, 49, 74, 99]
    digits = datasets.load("digits")
    np.testing.assert_array_equal(digits.some(digits.y_test, 7), digits.y_test[:7])


def test_only_changed_pictures_are_decoded_again(pictures, monkeypatch):
    before = datasets.load(pictures)
    write(pictures / "cats" / "3.png", seed=555)
    (pictures / "dogs" / "0.png").unlink()
    write(pictures / "dogs" / "new.png", seed=556)
    decoded, real = [], folders.image_files.open_upright
    monkeypatch.setattr(
        folders.image_files, "open_upright", lambda path, **options: decoded.append(path.name) or real(path, **options)
    )
    after = datasets.load(pictures)
    assert sorted(decoded) == ["3.png", "new.png"]
    assert folders.changes(before.pictures, after.pictures).startswith("1 added, 1 removed, ")


@pytest.mark.parametrize("damage", ["pixels", "index", "truncated"])
def test_damaged_kept_pixels_are_made_again(damage, pictures):
    first = np.array(datasets.load(pictures).x_train)
    (cache,) = (paths.MODELS / ".pictures").iterdir()
    (pixels,) = cache.glob("*.npy")
    if damage == "index":
        (cache / "index.json").write_text("{")
    else:
        content = bytearray(pixels.read_bytes())
        content[-1] ^= 1
        pixels.write_bytes(content if damage == "pixels" else content[:-100])
    np.testing.assert_array_equal(datasets.load(pictures).x_train, first)


# ---------------------------------------------------------------- training and looking


def test_train_resume_and_look(pictures, tmp_path, capsys):
    basic_model.main(["--dataset", str(pictures), "--epochs", "1"])
    run = cli.run_folder("basic_model-pets")
    assert (run / folders.RECORD).read_text().startswith("file,part,class,sha256\n")
    moved = pictures.rename(tmp_path / "elsewhere") / ".." / "elsewhere"
    (tmp_path / "again").mkdir()
    moved = moved.resolve().rename(tmp_path / "again" / "pets")
    basic_model.main(["--dataset", str(moved), "--epochs", "2"])  # the same pictures in another place
    visualize_results.main(["--run", "basic_model-pets", "--output-dir", str(tmp_path / "figures")])
    printed = capsys.readouterr().out
    assert "Resuming after epoch 1" in printed
    assert "Test accuracy" in printed
    assert (tmp_path / "figures" / "basic_model-pets-labels.csv").read_text().startswith("index,label,suggested")


def test_the_record_of_classes_with_numbers_as_names_is_read_as_text(tmp_path):
    for name in ("01", "02"):
        for number in range(3):
            write(tmp_path / "p" / name / f"{number}.png")
    table = datasets.load(tmp_path / "p").pictures
    table.to_csv(tmp_path / folders.RECORD, index=False)
    assert folders.changes(folders.recorded(tmp_path), table) == "the same files"
    assert folders.trained_on(tmp_path, table) == ""


def test_a_changed_folder_is_refused_with_the_difference(pictures):
    basic_model.main(["--dataset", str(pictures), "--epochs", "1"])
    for number in range(3):
        write(pictures / "cats" / f"new{number}.png", seed=900 + number)
    (pictures / "dogs" / "1.png").unlink()
    with pytest.raises(UserError, match=r"has changed since \(3 added, 1 removed"):
        basic_model.main(["--dataset", str(pictures), "--epochs", "2"])


def test_a_view_of_a_changed_folder_warns_of_training_pictures_among_the_test_ones(pictures, tmp_path, drawn, capsys):
    """New pictures of a class move the fifth that is held out."""
    basic_model.main(["--dataset", str(pictures), "--epochs", "1"])
    look = ["--run", "basic_model-pets", "--output-dir", str(tmp_path / "figures")]
    visualize_results.main(look)
    assert "Warning" not in capsys.readouterr().out
    before = datasets.load(pictures).pictures
    for file in before.loc[before["part"] == "test", "file"]:
        (pictures / file).unlink()
    visualize_results.main(look)
    printed = capsys.readouterr().out
    assert "has changed since the training (4 removed, 4 altered)" in printed
    assert "trained on 4 of the 4 pictures that are now for testing" in printed


def test_another_image_size_is_refused(pictures):
    basic_model.main(["--dataset", str(pictures), "--epochs", "1"])
    with pytest.raises(UserError, match=r"image size was 32, now 48"):
        basic_model.main(["--dataset", str(pictures), "--epochs", "2", "--image-size", "48"])


def test_a_network_for_any_size_is_shown_images_of_the_size_that_it_was_trained_on(pictures, tmp_path):
    stack = [layers.Conv2D(2, 3), layers.GlobalAveragePooling2D(), layers.Dense(2, activation="softmax")]
    model = keras.Sequential([keras.Input((None, None, 3)), *stack])
    model.compile(loss="categorical_crossentropy", metrics=["accuracy"])
    training.train(model, datasets.load(pictures, image_size=40), tmp_path / "run", epochs=1, verbose=0)
    run = runs.load(tmp_path / "run", calibrate=False)
    assert run.model.input_shape == (None, 40, 40, 3)
    assert run.dataset.input_shape == (40, 40, 3)


def test_a_network_for_images_that_are_not_square_takes_no_folder(pictures, tmp_path):
    stack = [layers.GlobalAveragePooling2D(), layers.Dense(2, activation="softmax")]
    keras.Sequential([keras.Input((32, 40, 3)), *stack]).save(tmp_path / "wide.keras")
    with pytest.raises(UserError, match="takes images of 32 x 40 x 3, but those of a folder are square"):
        runs.load(tmp_path / "wide.keras", str(pictures))


def test_pictures_that_are_gone(pictures, capsys):
    basic_model.main(["--dataset", str(pictures), "--epochs", "1"])
    pictures.rename(pictures.with_name("gone"))
    with pytest.raises(UserError, match=r"pictures of .*basic_model-pets are no longer in .*pets: say where they are"):
        visualize_results.main([])
    run = runs.load(dataset_name=str(pictures.with_name("gone")))  # the same ones in another place
    assert run.name == "basic_model-pets"
    assert run.dataset_is_its_own
    (pictures.with_name("gone") / "cats" / "1.png").unlink()
    with pytest.raises(UserError, match="no network was trained on"):
        runs.load(dataset_name=str(pictures.with_name("gone")))


def test_a_folder_that_is_empty_by_now_is_no_obstacle_to_what_needs_no_images(pictures, capsys):
    basic_model.main(["--dataset", str(pictures), "--epochs", "1"])
    for file in pictures.glob("*/*.png"):
        file.unlink()
    run = runs.load(paths.MODELS / "basic_model-pets", data_needed=False)
    assert (run.dataset, run.class_names) == (None, ("cats", "dogs"))
    assert "Note: " in capsys.readouterr().out
    with pytest.raises(UserError, match="no subfolders with pictures"):
        runs.load(paths.MODELS / "basic_model-pets")


def test_no_network_for_a_folder_yet(pictures):
    for images in (True, False):
        with pytest.raises(UserError, match=r"no network was trained on .*: python basic_model.py --dataset"):
            runs.load(dataset_name=str(pictures), images=images)


def test_compare_models_on_a_folder(pictures, tmp_path, capsys):
    options = ["bernet-best", "--dataset", str(pictures), "--epochs", "1", "--output-dir", str(tmp_path)]
    compare_models.main(options)
    (record,) = paths.MODELS.glob("*pets*/epoch-0001.json")
    trained = record.stat().st_mtime_ns
    assert "pets" in capsys.readouterr().out
    compare_models.main(options)  # finished: the table alone
    assert record.stat().st_mtime_ns == trained
    assert (tmp_path / "comparison.csv").is_file()


@pytest.mark.parametrize("size", [24, 40])
def test_every_network_takes_other_sizes(size):
    for network in compare_models.networks().values():
        assert network.build_model((size, size, 3), 3).output_shape == (None, 3), network.name


def test_cifar10_as_a_folder_is_the_same_dataset(tmp_path, real_dataset):
    """Written out as PNG files, the first images give the same arrays."""
    import dataclasses

    dataset = real_dataset("cifar10")
    small = dataclasses.replace(
        dataset, x_train=dataset.x_train[:300], y_train=dataset.y_train[:300], x_test=dataset.x_test[:100],
        y_test=dataset.y_test[:100],
    )  # fmt: skip
    for part, images, labels in (("train", small.x_train, small.y_train), ("test", small.x_test, small.y_test)):
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            path = tmp_path / "f" / part / small.class_names[label] / f"{number:05}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    found = datasets.load(tmp_path / "f")
    assert found.class_names == small.class_names
    for name in ("x_train", "y_train", "x_test", "y_test"):
        np.testing.assert_array_equal(getattr(found, name), getattr(small, name))
        assert getattr(found, name).dtype == getattr(small, name).dtype


def test_a_large_photograph_is_decoded_at_a_reduced_scale(tmp_path):
    """And looks the same, up to a few grey levels."""
    ramp = np.linspace(0, 255, 2000).astype("uint8")
    photograph = Image.fromarray(np.stack([np.tile(ramp, (1500, 1)), np.full((1500, 2000), 90, "uint8"),
                                           np.tile(ramp[::-1], (1500, 1))], axis=-1))  # fmt: skip
    photograph.save(tmp_path / "large.jpg", quality=95)
    whole = folders.image_files.open_upright(tmp_path / "large.jpg")
    reduced = folders.image_files.open_upright(tmp_path / "large.jpg", at_least=128)
    assert min(reduced.size) in range(128, 400)
    fit = folders.image_files.fit
    np.testing.assert_allclose(fit(reduced, (32, 32, 3)), fit(whole, (32, 32, 3)), atol=0.02)


def test_a_full_disk_is_one_line(pictures, monkeypatch):
    monkeypatch.setattr(folders.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 100, 0))
    with pytest.raises(UserError, match=r"No space left on device.*: free some space"):
        datasets.load(pictures)


def test_a_cache_that_can_not_be_written_is_one_line(pictures, monkeypatch):
    def refuse(*args, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(folders.FileLock, "acquire", refuse)
    with pytest.raises(UserError, match=r"can't write .*\.pictures.*\(Permission denied\): free some space, or see to"):
        datasets.load(pictures)


def test_a_picture_in_memory_is_no_surprise(pictures):
    """What a phone sends may have a JPEG's content under a PNG's name."""
    content = io.BytesIO()
    Image.new("RGB", (40, 40), (9, 9, 9)).save(content, "JPEG")
    (pictures / "cats" / "0.png").write_bytes(content.getvalue())
    assert len(datasets.load(pictures).pictures) == 20
