"""The reader's own pictures."""

import os
import re

import numpy as np
import pytest
from PIL import Image

from convnets.data import image_files
from convnets.errors import UserError


def read(path, input_shape, **options):
    """Return the whole picture and the network's input."""
    picture = image_files.open_upright(path)
    return np.asarray(picture), image_files.fit(picture, input_shape, **options)


def save_thirds(path):
    """Save a picture of 30 x 90 pixels, a red, a green and a blue third side by side, and return it."""
    wide = np.zeros((30, 90, 3), dtype="uint8")
    for third in range(3):
        wide[:, 30 * third : 30 * third + 30, third] = 255
    Image.fromarray(wide).save(path)
    return wide


def test_the_middle_square_is_taken_and_scaled(tmp_path):
    """It is the green third alone."""
    wide = save_thirds(tmp_path / "wide.png")
    original, seen = read(tmp_path / "wide.png", (10, 10, 3))
    np.testing.assert_array_equal(original, wide)
    np.testing.assert_allclose(seen, np.broadcast_to([0, 1, 0], (10, 10, 3)), atol=1e-6)
    assert seen.dtype == np.float32


def test_the_middle_of_a_picture_has_the_shape_of_the_network_s_images(tmp_path):
    """For images twice as wide as high: the middle third, and half of each of the others, as nothing is stretched."""
    save_thirds(tmp_path / "wide.png")
    _, seen = read(tmp_path / "wide.png", (10, 20, 3))
    assert seen.shape == (10, 20, 3)
    assert seen[5].argmax(axis=-1).tolist() == [0] * 5 + [1] * 10 + [2] * 5


def test_patterns_are_expanded_where_the_shell_does_not(tmp_path):
    for name in ("a.png", "b.png", "c.jpg"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    pictures, _ = image_files.read_all(
        [tmp_path / "*.png", tmp_path / "c.jpg"], lambda picture: (np.asarray(picture), "")
    )
    assert [picture.path.name for picture in pictures] == ["a.png", "b.png", "c.jpg"]
    (tmp_path / "deep").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "deep" / "d.png")
    (tmp_path / ".hidden.png").touch()
    pictures, broken = image_files.read_all([tmp_path / "*"], lambda picture: (np.asarray(picture), ""))
    assert sorted(picture.path.name for picture in pictures) == ["a.png", "b.png", "c.jpg", "d.png"]
    assert broken == {}
    for pattern in ("*.gif", "**.png"):  # the second one is no pattern of Python's
        with pytest.raises(UserError, match=rf"can't read the picture .*{re.escape(pattern)}"):
            image_files.read_all([tmp_path / pattern], None)


def test_a_picture_is_turned_upright(tmp_path):
    """A camera that was held on its side stores rows as columns, and says so."""
    upright = np.zeros((16, 16, 3), dtype="uint8")
    upright[:8] = 255  # light above
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(np.rot90(upright)).save(tmp_path / "turned.png", exif=exif)
    _, seen = read(tmp_path / "turned.png", (16, 16, 3))
    np.testing.assert_allclose(seen, upright / 255, atol=1e-6)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "gif", "bmp"])
def test_formats(ending, tmp_path):
    Image.new("RGB", (40, 40), (255, 0, 0)).save(tmp_path / f"red.{ending}")
    _, seen = read(tmp_path / f"red.{ending}", (8, 8, 3))
    np.testing.assert_allclose(seen, np.broadcast_to([1, 0, 0], (8, 8, 3)), atol=0.02)


def test_transparent_is_white(tmp_path):
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    _, seen = read(tmp_path / "clear.png", (8, 8, 3))
    assert seen.min() == 1


def test_dark_digits_are_inverted_for_a_network_that_knows_light_ones(tmp_path):
    paper = np.full((28, 28), 240, dtype="uint8")
    paper[10:18, 12:16] = 20
    Image.fromarray(paper).save(tmp_path / "dark.png")
    Image.fromarray(255 - paper).save(tmp_path / "light.png")
    _, dark = read(tmp_path / "dark.png", (28, 28, 1), light_on_dark=True)
    _, light = read(tmp_path / "light.png", (28, 28, 1), light_on_dark=True)
    np.testing.assert_allclose(dark, light, atol=0.01)
    assert dark[14, 14, 0] > 0.9
    assert dark[0, 0, 0] < 0.1
    _, kept = read(tmp_path / "dark.png", (28, 28, 1))
    assert kept[0, 0, 0] > 0.9


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # as image_files does
def test_what_is_no_picture(tmp_path, monkeypatch):
    (tmp_path / "text.jpg").write_text("not a picture")
    noise = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype="uint8")
    Image.fromarray(noise).save(tmp_path / "whole.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:3000])
    for name in ("text.jpg", "half.png"):
        with pytest.raises(UserError, match=rf"can't read the picture .*{name}: not an image"):
            read(tmp_path / name, (8, 8, 3))
    with pytest.raises(UserError, match="no such file"):
        read(tmp_path / "missing.png", (8, 8, 3))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)  # 50 x 50 are more
    with pytest.raises(UserError, match=r"whole.png: too large; scale it down to less than 2,000 pixels"):
        read(tmp_path / "whole.png", (8, 8, 3))


def test_sixteen_bits_of_grey(tmp_path):
    Image.fromarray(np.full((40, 40), 40000, dtype="uint16")).save(tmp_path / "grey.png")
    original, seen = read(tmp_path / "grey.png", (8, 8, 1))
    assert original[0, 0].tolist() == [155, 155, 155]  # 40000 / 257
    np.testing.assert_allclose(seen, 155 / 255, atol=1e-6)


@pytest.mark.parametrize(("dtype", "value"), [("float32", 0.7), ("int32", 2**30)])
def test_thirty_two_bits_are_refused_rather_than_shown_black_or_white(dtype, value, tmp_path):
    Image.fromarray(np.full((40, 40), value, dtype)).save(tmp_path / "deep.tiff")
    with pytest.raises(UserError, match=r"deep.tiff: it has 32 bits a channel"):
        image_files.open_upright(tmp_path / "deep.tiff")


def test_what_the_system_refuses_is_said(tmp_path, monkeypatch):
    """Tests may run as root, who may read everything."""

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    Image.new("RGB", (9, 9)).save(tmp_path / "secret.png")
    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", refuse)
        with pytest.raises(UserError, match=r"secret.png: Permission denied$"):
            image_files.open_upright(tmp_path / "secret.png")
    with pytest.raises(UserError, match=r"File name too long$"):
        image_files.open_upright(tmp_path / ("x" * 300))


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "p.jpg")
    assert image_files.files_below(tmp_path) == []
    with pytest.raises(UserError, match=r"p.jpg: not a file$"):
        image_files.open_upright(tmp_path / "p.jpg")


@pytest.mark.skipif(os.name != "posix", reason="makes links, for which Windows wants permission")
def test_pictures_are_looked_for_in_linked_folders_but_not_in_hidden_ones(tmp_path):
    for folder in ("holidays", "holidays/.thumbnails", "elsewhere"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (9, 9)).save(tmp_path / folder / "a.png")
    os.symlink(tmp_path / "elsewhere", tmp_path / "holidays" / "linked")
    pictures, broken = image_files.read_all([tmp_path / "holidays"], lambda picture: (np.asarray(picture), ""))
    found = [picture.path.relative_to(tmp_path / "holidays").as_posix() for picture in pictures]
    assert found == ["a.png", "linked/a.png"]
    assert not broken


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_folders_that_link_to_each_other_are_each_entered_once(tmp_path):
    folders = [tmp_path / f"{number:02}" for number in range(14)]
    for folder in folders:
        folder.mkdir()
        (folder / "picture.png").write_bytes(b"")
        for other in folders:
            (folder / f"to-{other.name}").symlink_to(other)
    found = image_files.files_below(tmp_path)
    assert len(found) == len({path.resolve() for path in found}) == len(folders)
