"""What is in a picture? And digits as people write them."""

import os
import sys

import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from scipy import ndimage
from sklearn.datasets import load_digits

import classify_pictures
from convnets import paths
from convnets.data import handwriting, image_files
from convnets.errors import UserError
from convnets.training import checkpoints
from convnets.views import introspection, runs

FONTS = [
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSansMono",
    "STIXGeneral", "STIXGeneralItalic", "cmr10", "cmtt10",
]  # fmt: skip


def digit(text, font="DejaVuSans", side=120, angle=0.0, blur=0.0):
    """A digit in black on white, as ink in [0, 1]."""
    picture = Image.new("L", (side, side), 0)
    path = f"{matplotlib.get_data_path()}/fonts/ttf/{font}.ttf"
    ImageDraw.Draw(picture).text((side / 2, side / 2), text, 255, ImageFont.truetype(path, side // 2), anchor="mm")
    picture = picture.rotate(angle, Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(blur))
    return np.asarray(picture) / 255


def on_paper(ink, *, slope=0.0, light=False):
    """Ink on paper whose brightness rises from left to right."""
    paper = 0.8 + slope * (np.linspace(0, 1, ink.shape[1]) - 0.5)
    values = paper * (1 - 0.75 * ink)
    return Image.fromarray(np.uint8(255 * np.clip(1 - values if light else values, 0, 1))).convert("RGB")


def read(pictures):
    model = checkpoints.load_model(paths.PRETRAINED / "basic_model-mnist")
    images = np.stack([handwriting.as_in_mnist(picture).image for picture in pictures])
    return model.predict(images, verbose=0).argmax(axis=1)


def test_the_digits_of_scikit_learn_are_read():
    """Which the network never saw: 70 % if they are only resized."""
    digits = load_digits()
    pictures = [Image.fromarray(np.uint8(255 / 16 * image)) for image in digits.images[::3]]
    assert (read(pictures) == digits.target[::3]).mean() >= 0.93


def test_a_page_of_digits_from_ten_fonts():
    rng = np.random.default_rng(0)
    pictures, truth = [], []
    for font in FONTS:
        for number in range(10):
            ink = digit(str(number), font, int(rng.integers(60, 200)), rng.uniform(-12, 12), rng.uniform(0, 1.5))
            pictures.append(on_paper(ink, slope=rng.uniform(-0.4, 0.4), light=rng.random() < 0.3))
            truth.append(number)
    assert (read(pictures) == truth).mean() >= 0.9


def test_a_digit_is_in_its_box_and_centred():
    result = handwriting.as_in_mnist(on_paper(digit("7"), slope=0.3))
    assert result.image.shape == (28, 28, 1)
    assert result.image.dtype == np.float32
    rows, columns = np.nonzero(result.image[..., 0] > 0.1)
    assert max(np.ptp(rows), np.ptp(columns)) + 1 in (19, 20, 21)
    np.testing.assert_allclose(ndimage.center_of_mass(result.image[..., 0]), 13.5, atol=0.75)


def test_polarity_paper_and_size_do_not_matter():
    plain = handwriting.as_in_mnist(on_paper(digit("3"))).image
    for picture in (
        on_paper(digit("3"), light=True),
        on_paper(digit("3"), slope=0.3),
        on_paper(np.pad(digit("3"), 40)),
        on_paper(digit("3")).resize((600, 600)),
    ):
        other = handwriting.as_in_mnist(picture).image
        assert np.corrcoef(plain.ravel(), other.ravel())[0, 1] > 0.95


@pytest.mark.parametrize(("text", "found"), [("5", 1), ("42", 2), ("171", 3), (" ", 0)])
def test_digits_are_counted(text, found):
    assert handwriting.as_in_mnist(on_paper(digit(text, side=240))).found == found


def test_digits_are_counted_line_by_line():
    line = np.hstack([digit(each, side=120) for each in "174"])
    assert handwriting.as_in_mnist(on_paper(np.vstack([line, line]))).found == 6
    five = digit("5", side=120)
    five[48:51] = 0  # its bar stands apart
    assert handwriting.as_in_mnist(on_paper(five)).found == 1


@pytest.mark.parametrize("side", [48, 128])
def test_small_digits_on_a_large_page(side):
    """Their ink is less than a hundredth of the page."""
    pages = []
    for number in range(10):
        page = np.full((256, 256), 204, "uint8")
        small = np.asarray(on_paper(digit(str(number), side=2 * side)).convert("L").resize((side, side)))
        page[90 : 90 + side, 120 : 120 + side] = small
        pages.append(Image.fromarray(page))
    assert [handwriting.as_in_mnist(page).found for page in pages] == [1] * 10
    assert (read(pages) == np.arange(10)).mean() >= 0.8


def test_dirt_does_not_make_the_box_of_the_digit_larger():
    clean = digit("3", side=200)
    dirty = clean.copy()
    dirty[10:15, 180:185] = dirty[185:188, 8:12] = 1
    pencil, glare = 0.3 * clean, 0.3 * clean
    pencil[10:18, 180:188] = 1  # much darker than the digit
    glare[10:18, 180:188] = -0.3
    spot = np.zeros_like(clean)
    spot[10:22, 180:192] = 1
    soft = np.maximum(0.3 * clean, ndimage.gaussian_filter(spot, 2))  # darker, with soft edges
    one, *others = (handwriting.as_in_mnist(on_paper(each)) for each in (clean, dirty, pencil, glare, soft))
    for other in others:
        np.testing.assert_allclose(one.image, other.image, atol=0.15)
        assert one.found == other.found == 1
    five = digit("5", side=120)
    five[48:51] = 0  # its bar stands apart, and is no dirt
    bar = handwriting.as_in_mnist(on_paper(five)).image[:9].sum()
    assert bar > 0.5 * handwriting.as_in_mnist(on_paper(digit("5", side=120))).image[:9].sum()


def test_a_faint_digit_on_grainy_paper():
    clean = on_paper(digit("3", side=200))
    faint = 0.8 - 0.2 * digit("3", side=200) + np.random.default_rng(0).normal(0, 0.03, (200, 200))
    read_as = handwriting.as_in_mnist(Image.fromarray(np.uint8(255 * faint.clip(0, 1))))
    assert read_as.found == 1
    assert np.corrcoef(read_as.image.ravel(), handwriting.as_in_mnist(clean).image.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("speck", [0, 6])
def test_a_blank_page_with_grain_and_a_speck(speck):
    page = 0.8 + np.random.default_rng(0).normal(0, 0.035, (256, 256))
    page[40 : 40 + speck, 40 : 40 + speck] = 0.1
    assert handwriting.as_in_mnist(Image.fromarray(np.uint8(255 * page.clip(0, 1)))).found == 0


# ---------------------------------------------------------------- the script


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    (folder / "deep").mkdir(parents=True)
    for number in range(3):
        noise = rng.integers(0, 256, (50, 60, 3), dtype="uint8")
        Image.fromarray(noise).save(folder / "deep" / f"noise {number}.PNG")
    Image.new("RGB", (64, 64), (80, 120, 200)).save(folder / "sky.jpg")
    return folder


def test_a_line_a_picture_a_table_and_a_page(pictures, tmp_path, capsys):
    (pictures / "broken.jpg").write_bytes(b"x")
    (pictures / "notes.txt").write_text("x")
    options = ["--run", "improved_model-cifar10", "--csv", str(tmp_path / "a.csv"), "--output-dir", str(tmp_path)]
    classify_pictures.main([str(pictures), *options])
    printed = capsys.readouterr().out
    assert "Left out: " in printed
    assert "broken.jpg" in printed
    table = pd.read_csv(tmp_path / "a.csv")
    assert list(table.columns[:3]) == ["file", "predicted", "probability"]
    assert len(table) == 4
    assert table["probability"].between(0.1, 1).all()
    assert (table["probability"] >= table["second_probability"]).all()
    assert table["file"].str.contains("noise").sum() == 3
    assert [line.count("%") for line in printed.splitlines() if "noise" in line] == [3] * 3
    assert Image.open(tmp_path / "improved_model-cifar10-pictures.png").size[0] == 1000


def test_an_unfamiliar_picture_is_said_to_be(tmp_path, capsys):
    """A chequered pattern is no digit."""
    path = tmp_path / "pattern.png"
    Image.fromarray(np.uint8(255 * (np.indices((64, 64)).sum(axis=0) // 2 % 2))).save(path)
    classify_pictures.main([str(path), "--run", "basic_model-mnist", "--output-dir", str(tmp_path)])
    assert "unlike the images it was trained on" in capsys.readouterr().out


def test_familiar_pictures_are_not_said_to_be_unlike(tmp_path, capsys):
    from convnets.data import datasets

    for number, image in enumerate(datasets.load("digits").x_test[:40, ..., 0]):
        Image.fromarray(255 - image).save(tmp_path / f"{number}.png")
    classify_pictures.main([str(tmp_path), "--run", "basic_model-digits", "--output-dir", str(tmp_path / "figures")])
    answers = [line for line in capsys.readouterr().out.splitlines() if "%" in line]
    assert len(answers) == 40
    assert sum("unlike" in line for line in answers) <= 4


def test_several_digits_in_a_picture_are_said(tmp_path, capsys):
    on_paper(digit("42", side=240)).save(tmp_path / "two.png")
    classify_pictures.main([str(tmp_path / "two.png"), "--run", "basic_model-mnist", "--output-dir", str(tmp_path)])
    assert "2 digits in it: expected one" in capsys.readouterr().out


def test_a_note_is_drawn():
    from pathlib import Path

    from convnets.views import classification_figures

    answer = {"file": "a", "predicted": "4", "probability": 0.5, "unfamiliarity": 0.0, "note": "2 x: y"}
    picture = image_files.Picture(Path("a"), np.zeros((28, 28, 1), "float32"))
    figure = classification_figures.answers_figure([picture], pd.DataFrame([answer]))
    assert "4 50.0 %\n2 x" in [text.get_text() for text in figure.axes[0].texts]


def test_probabilities_as_they_are(pictures, tmp_path, capsys):
    options = ["--run", "fast_model-94-cifar10", "--output-dir", str(tmp_path), "--csv", str(tmp_path / "a.csv")]
    run = runs.load(paths.PRETRAINED / "fast_model-94-cifar10", data_needed=False, images=False)
    image, _ = run.prepare(image_files.open_upright(pictures / "sky.jpg", at_least=image_files.AT_LEAST))
    plain = introspection.predict(run.model, image[None])[0]
    for more, expected in (([], run.calibrated(plain)), (["--no-calibration"], plain)):
        classify_pictures.main([str(pictures / "sky.jpg"), *options, *more])
        assert f"{100 * expected.max():.1f} %" in capsys.readouterr().out
        assert pd.read_csv(tmp_path / "a.csv")["probability"].item() == pytest.approx(expected.max(), abs=1e-3)
    assert abs(plain.max() - run.calibrated(plain).max()) > 0.01


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.write_bytes(b"x"), "not an image"),
        (lambda path: path.mkdir(), "there are no pictures in"),
    ],
)
def test_nothing_to_classify(make, message, tmp_path):
    path = tmp_path / "it.png"
    make(path)
    with pytest.raises(UserError, match=message):
        classify_pictures.main([str(path), "--run", "basic_model-digits", "--output-dir", str(tmp_path)])


def test_the_dataset_says_names_and_preparation_and_has_to_fit(tmp_path):
    from convnets.views import runs

    checkpoints.load_model(paths.PRETRAINED / "basic_model-mnist").save(tmp_path / "mn.keras")
    checkpoints.load_model(paths.PRETRAINED / "basic_model-cifar10").save(tmp_path / "c10.keras")
    settings = {"data_needed": False, "images": False}
    run = runs.load(tmp_path / "c10.keras", "cifar10", **settings)
    assert run.class_names[:2] == ("airplane", "automobile")
    assert run.dataset is None
    note = runs.load(tmp_path / "mn.keras", "mnist", **settings).prepare(on_paper(digit("42", side=240)))[1]
    assert note == "2 digits in it: expected one"
    with pytest.raises(UserError, match="takes images of 32 x 32 x 3 in 10 classes, but mnist has 28 x 28 x 1"):
        runs.load(paths.PRETRAINED / "basic_model-cifar10", "mnist", **settings)


def test_a_picture_in_a_folder_that_can_not_be_read(tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "stat", refuse)
    with pytest.raises(UserError, match=r"x.jpg: Permission denied"):
        image_files.read_all([tmp_path / "secret" / "x.jpg"], None)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_file_name_that_is_not_utf_8_and_a_table_that_can_not_be_written(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.png")
    Image.new("RGB", (64, 64), (80, 120, 200)).save(path)
    options = [str(path), "--run", "basic_model-digits", "--output-dir", str(tmp_path)]
    classify_pictures.main([*options, "--csv", str(tmp_path / "a.csv")])
    assert b"caf\xe9.png" in (tmp_path / "a.csv").read_bytes()
    with pytest.raises(UserError, match="name another file with --csv"):
        classify_pictures.main([*options, "--csv", str(tmp_path)])


def test_a_view_warns_of_an_unfamiliar_picture(tmp_path, capsys):
    from convnets.views import runs

    path = tmp_path / "pattern.png"
    Image.fromarray(np.uint8(255 * (np.indices((64, 64)).sum(axis=0) // 2 % 2))).save(path)
    runs.choose_image(runs.load(paths.PRETRAINED / "basic_model-mnist", data_needed=False), file=path)
    assert "Warning: it is unlike the images that the network was trained on" in capsys.readouterr().out


def test_a_thousand_classes_can_be_drawn(tmp_path):
    """In seconds: numbers and names have no room."""
    import pandas as pd

    from convnets.views import evaluation_figures

    names = [str(number) for number in range(1000)]
    evaluation_figures.confusion_matrix_figure(pd.DataFrame(np.eye(1000), index=names, columns=names))
    figure = evaluation_figures.accuracy_per_class_figure(pd.Series(np.linspace(0, 1, 1000), index=names), 0.5)
    assert len(figure.axes[0].patches) == 40
