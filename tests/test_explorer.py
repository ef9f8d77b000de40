"""The page in a real browser, used as a person would; its values are those that the scripts compute."""

import contextlib
import dataclasses
import gc
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import types
import urllib.error
import urllib.request
import weakref

import keras
import numpy as np
import pandas as pd
import panel as pn
import pytest
from bokeh.document import Document
from bokeh.server.callbacks import NextTickCallback, TimeoutCallback
from panel.io.state import set_curdoc
from PIL import Image

import explore
from benchmarks.browser import CHROMIUM, PLACE, start
from convnets import paths
from convnets.data import downloads
from convnets.data.datasets import scale_pixels
from convnets.errors import UserError
from convnets.explorer import addresses, at_hand, image, network, plots, trainings
from convnets.explorer.background import Background
from convnets.explorer.page import DRAWN, FIRST_DRAWING, Page
from convnets.views import evaluation, feature_maps, introspection, occlusion, runs

sync_api = pytest.importorskip("playwright.sync_api", reason="pip install -r requirements-dev.txt")
DIGITS = "basic_model-digits"
EVIL = "<img src=x onerror=window.harmed=1>"  # as the name of a class, a run, a file
if os.name == "nt":  # Windows refuses < and > in the names of files
    EVIL = "${window.harmed=1}"
START = """
import sys
from pathlib import Path
from convnets import paths
paths.MODELS = Path(sys.argv[1])
import explore
from convnets import cli
from convnets.explorer import loading
ahead = loading.ahead
def ahead_and_wait_for_the_browser(*arguments):
    ahead(*arguments)
    from convnets.explorer import page
    page.FIRST_DRAWING = 10**7  # so that the browser must say that it has drawn
loading.ahead = ahead_and_wait_for_the_browser
load = loading.load
def load_and_generate_images_in_few_steps(*arguments, **options):
    found = load(*arguments, **options)
    from convnets.explorer import network, trainings
    network.STEPS, trainings.EVERY = 2, 500
    return found
loading.load = load_and_generate_images_in_few_steps
cli.run(lambda: explore.main(sys.argv[2:]))
"""
DATA = """([name, renderer]) => {
  const model = Bokeh.documents.map(each => each.get_model_by_name(name)).find(each => each)
  const data = model.renderers[renderer].data_source.data
  return Object.fromEntries(Object.entries(data).map(([key, values]) => [key,
    Array.from(values).map(each => ArrayBuffer.isView(each) ? Array.from(each) : each)]))
}"""
TITLE = "name => Bokeh.documents.map(each => each.get_model_by_name(name)).find(each => each).title.text"


class Tab:
    """A tab of the browser that shows the page."""

    def __init__(self, browser, address, **settings):
        self.context = browser.new_context(**settings)
        self.page, self.requests, self.errors = self.context.new_page(), [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(address)
        self.wait_for_text("Unfamiliarity")

    def wait_for_text(self, text, seconds=60):
        self.page.get_by_text(text).first.wait_for(timeout=1000 * seconds)

    def wait(self, happened, seconds=20):
        """Wait until happened() is true, and return what it returns. What it looks at may not be there yet."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(sync_api.Error):
                if result := happened():
                    return result
            self.page.wait_for_timeout(50)
        raise AssertionError("it did not happen")

    def wait_for_answer(self, probabilities, side=1):
        """Wait for the bars of these probabilities, (classes,)."""
        self.wait(lambda: np.allclose(self.answer(side), 100 * probabilities, atol=0.01))

    def data(self, plot, renderer=0):
        return self.page.evaluate(DATA, [plot, renderer])

    def title(self, plot):
        return self.page.evaluate(TITLE, plot)

    def pixels(self, plot):
        """The image of a plot, (h, w) uint32."""
        data = self.data(plot)
        return np.array(data["image"][0], "uint32").reshape(int(data["h"][0]), int(data["w"][0]))

    def answer(self, side=1):
        """The bars, in percent."""
        return self.data(f"answer{side}")["value"]

    def place(self, plot, x, y):
        self.page.locator(f'[data-plot="{plot}"]').scroll_into_view_if_needed()
        self.page.wait_for_timeout(100)
        return self.page.evaluate(PLACE, [plot, x, y])

    def click(self, plot, x, y, happened):
        """Click on a place of a plot until that has an effect: a page that is being laid out moves under the mouse."""
        for _ in range(4):
            self.page.mouse.click(*self.place(plot, x, y))
            with contextlib.suppress(AssertionError):
                return self.wait(happened, seconds=10)
        raise AssertionError("clicks have no effect")

    def move_to(self, plot, x, y):
        x, y = self.place(plot, x, y)
        self.page.mouse.move(x - 3, y - 3)
        self.page.mouse.move(x, y)

    def open(self, section):
        """Open a part, and wait until it is there."""
        self.page.get_by_role("button", name=section, exact=True).click()
        plot = {"Inside": "maps1", "Why": "hidden1", "How good": "confusion1", "Training": "accuracy"}[section]
        self.page.locator(f'[data-plot="{plot}"]').wait_for()

    def choose(self, label, option):
        self.page.get_by_label(label, exact=True).first.select_option(option)

    def look_at(self, index):
        """Look at a test image by its number."""
        field = self.page.get_by_label("Test image", exact=True).first
        field.fill(str(index))
        field.press("Enter")
        self.wait(lambda: f"index={index}&" in self.page.url)

    def close(self, address):
        """Close it, and check that the page neither met an error nor asked any other server for anything."""
        self.context.close()
        assert self.errors == []
        assert [url for url in self.requests if not url.startswith((address, "data:", "blob:"))] == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of pictures, one of them with markup in its name."""
    folder = tmp_path_factory.mktemp("pictures")
    digit = runs.datasets.load("digits").x_test[5][..., 0]
    Image.fromarray(255 - digit).resize((300, 300)).save(folder / "digit.png")
    Image.fromarray(255 - digit).save(folder / f"{EVIL.replace('/', '')}.png")
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    models = tmp_path_factory.mktemp("models")
    run = models / f"run {EVIL}"
    shutil.copytree(paths.PRETRAINED / DIGITS, run)
    (run / "run.json").write_text((run / "run.json").read_text().replace('"0"', f'"{EVIL}"').replace('"1"', '"$$x$$"'))
    calibrated = json.loads((run / "calibration.json").read_text())  # with the same weights, other probabilities
    (run / "calibration.json").write_text(json.dumps({**calibrated, "temperature": 4 * calibrated["temperature"]}))
    return models


@pytest.fixture(scope="module")
def address(folder, models):
    process = subprocess.Popen(
        [sys.executable, "-c", START, str(models), "--no-browser", "--run", DIGITS, "--pictures", str(folder),
         "--data-dir", str(folder)],
        cwd=paths.PROJECT, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": ".", "KERAS_HOME": str(models / "no datasets")},
    )  # fmt: skip
    line = process.stdout.readline()
    assert line.startswith("The page is at http://127.0.0.1:"), line
    yield line.removeprefix("The page is at ").split(";")[0]
    if os.name == "posix":
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=5) == 130
    else:
        process.terminate()
    said = process.stdout.read()
    assert "Traceback" not in said, said


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = start(playwright)
        yield browser
        browser.close()


@pytest.fixture
def tab(browser, address):
    tabs = []

    def open_tab(query="", **settings):
        tabs.append(Tab(browser, f"{address}/{query}", viewport={"width": 1440, "height": 1000}, **settings))
        return tabs[-1]

    yield open_tab
    for each in tabs:
        each.close(address)


@pytest.fixture(scope="module")
def shared(browser, address):
    """A function that returns the page of a query, which is opened once, since that takes seconds."""
    tabs = {}

    def open_once(query=""):
        if query not in tabs:
            tabs[query] = Tab(browser, f"{address}/{query}", viewport={"width": 1440, "height": 1000})
        tabs[query].choose("Show", "all")
        return tabs[query]

    yield open_once
    for each in tabs.values():
        each.close(address)


@pytest.fixture(scope="module")
def run():
    return runs.load(paths.PRETRAINED / DIGITS)


def expected(run, image):
    return run.calibrated(introspection.predict(run.model, image[None]))[0]


# ---------------------------------------------------------------- the image and the answer


def test_an_image_of_the_gallery_and_its_answer(shared, run):
    page = shared()
    for x, y in ((0, 0), (2, 1)):
        index = 7 * y + x if page.data("gallery")["w"][0] == 7 * 33 else 8 * y + x
        page.click("gallery", 33 * x + 9, 33 * y + 9, lambda index=index: f"index={index}&" in page.page.url)
        image = scale_pixels(run.dataset.x_test[index])
        page.wait(lambda image=image: np.array_equal(page.pixels("input1"), plots.rgba(image)))
        page.wait_for_answer(expected(run, image))


def test_the_gallery_shows_a_class_or_the_mistakes(shared, run):
    page, dataset = shared(), run.dataset
    results = evaluation.Evaluation(introspection.predict(run.model, dataset.x_test), dataset.y_test, run.class_names)
    for shown, numbers in (
        ("class: 7", np.flatnonzero(dataset.y_test == 7)),
        ("mistakes", np.sort(results.mistakes())),
        ("most confident mistakes", results.mistakes()),
    ):
        page.choose("Show", shown)
        page.wait(lambda shown=shown: page.title("gallery") == f"Test images: {shown}")
        first = page.pixels("gallery")[:32, :32]
        np.testing.assert_array_equal(first, plots.rgba(dataset.x_test[numbers[0]]))
        page.wait_for_text(f"1-{min(40, len(numbers))} of {len(numbers)}")
    page.page.get_by_role("button", name="Random image").click()
    page.wait(lambda: any(f"index={number}&" in page.page.url for number in numbers))


def test_an_upload_is_prepared_like_a_picture_of_the_scripts_and_a_bad_one_changes_nothing(
    shared, run, folder, tmp_path
):
    page = shared()
    page.look_at(0)
    page.wait_for_answer(expected(run, scale_pixels(run.dataset.x_test[0])))
    upload = page.page.locator('input[type="file"]')

    def refuses(name, content, complaint):
        (tmp_path / name).write_bytes(content)
        before = page.answer()
        upload.set_input_files(tmp_path / name)
        page.wait_for_text(complaint)
        assert page.answer() == before

    refuses("text.png", b"no picture", "can't read the picture text.png: not an image")
    upload.set_input_files(folder / "digit.png")
    image, _ = run.prepare(Image.open(folder / "digit.png").convert("RGB"))
    page.wait(lambda: np.array_equal(page.pixels("input1"), plots.rgba(image)))
    page.wait_for_answer(expected(run, image))
    refuses("cut.png", b"\x89PNG\r\n\x1a\n", "can't read the picture cut.png: not an image")
    refuses("large.png", bytes(20 * 2**20 + 1), "The file is larger than 20 MB")


def test_a_picture_of_the_reader_s_folder(shared, run, folder):
    page = shared()
    page.choose("My pictures", "digit.png")
    image, _ = run.prepare(Image.open(folder / "digit.png").convert("RGB"))
    page.wait(lambda: np.array_equal(page.pixels("input1"), plots.rgba(image)))
    page.wait(lambda: "file=digit.png" in page.page.url)
    page.wait_for_text(f"--image {folder / 'digit.png'}")


def test_a_digit_drawn_with_the_mouse_and_with_the_keyboard(shared):
    """A vertical line is a 1; the answer comes after the stroke."""
    page = shared()
    page.look_at(0)
    page.choose("My pictures", "digit.png")
    (x, top), (_, bottom) = page.place("pad", 140, 40), page.place("pad", 140, 240)

    def draw():
        page.page.mouse.move(x, top)
        page.page.mouse.down()
        for step in range(1, 11):
            page.page.mouse.move(x, top + (bottom - top) * step / 10)
        page.page.mouse.up()
        page.wait(lambda: np.argmax(page.answer()) == 1)

    try:
        draw()
    except AssertionError:  # on a busy machine, the pad did not listen yet
        draw()
    assert "file=digit.png" not in page.page.url
    drawn = page.answer()
    page.page.get_by_role("button", name="Clear the drawing").click()
    page.wait(lambda: page.answer() != drawn)
    for number, button in ((40, "Begin here"), (240, "Line to here")):
        page.choose("Pen down", str(number))
        page.page.get_by_role("button", name=button).press("Enter")
    page.wait(lambda: np.argmax(page.answer()) == 1)


# ---------------------------------------------------------------- inside


def test_layers_channels_and_what_a_place_sees(shared, run):
    page = shared("?index=3&section=Inside")
    image = scale_pixels(run.dataset.x_test[3])
    outputs = feature_maps.layer_outputs(run.model, image[None], ["conv2"])["conv2"][0]
    options = page.page.get_by_label("Layer", exact=True).locator("option")
    options.filter(has_text="conv2").first.wait_for(state="attached")
    layers = options.all_inner_texts()
    row, column = divmod(layers.index("conv2"), 4)
    page.click("strip1", 17 * column + 8, 17 * row + 8, lambda: "layer1=conv2" in page.page.url)
    page.wait(lambda: page.title("maps1").startswith("conv2"))
    height, width, _ = outputs.shape
    columns = int(page.data("maps1")["w"][0]) // (width + 1)
    row, column = divmod(5, columns)
    x, y = (width + 1) * column + 3, (height + 1) * row + 3
    page.click("maps1", x, y, lambda: page.title("map1") == "conv2, channel 5 on this image")
    shown = plots.diverging(outputs[..., 5], np.abs(outputs[..., 5]).max())
    np.testing.assert_array_equal(page.pixels("map1"), shown)
    page.wait_for_text("Each place sees 5 x 5 pixels")
    page.move_to("map1", 10.5, 7.5)
    top, left, down, across = feature_maps.fields(run.model)["conv2"].box(7, 10)
    frame = page.wait(lambda: page.data("input1", 1)["x"] and page.data("input1", 1))
    assert frame == {"x": [left + across / 2], "y": [top + down / 2], "w": [across], "h": [down]}
    kernel = run.model.get_layer("conv2").get_weights()[0][..., 5]
    np.testing.assert_array_equal(page.pixels("filter1")[:3, :3], plots.diverging(kernel[..., 0], np.abs(kernel).max()))
    page.wait(lambda: page.title("real1") == "Real images that activate it most: click one")


def test_by_keyboard_alone(tab, run):
    """From the top of the page to another layer and channel; then to each control, as a screen reader finds it."""
    page = tab()
    page.wait(lambda: page.page.get_by_label("Layer", exact=True).count())
    keyboard = page.page.keyboard
    for _ in range(60):
        keyboard.press("Tab")
        focused = page.page.evaluate(
            "() => { let e = document.activeElement;"
            " while (e.shadowRoot?.activeElement) e = e.shadowRoot.activeElement;"
            " return e.getRootNode().querySelector('label')?.innerText || e.innerText }"
        )
        if focused == "Layer":
            break
    assert focused == "Layer"
    keyboard.press("ArrowDown")
    page.wait(lambda: "layer1=conv1&" not in page.page.url)
    keyboard.press("Tab")
    keyboard.press("ArrowDown")
    page.wait(lambda: "channel1=1" in page.page.url)

    def press(field, *keys):
        field.wait_for()
        field.focus()
        for key in keys:
            keyboard.press(key)

    def named(label):
        return page.page.get_by_label(label, exact=True).first

    press(named("Test image"), "Control+a", "1", "2", "Enter")
    page.wait_for_answer(expected(run, scale_pixels(run.dataset.x_test[12])))
    press(named("Show"), "ArrowDown")
    page.wait(lambda: page.title("gallery") == "Test images: mistakes")
    press(page.page.get_by_role("button", name="Why", exact=True), "Enter")
    page.wait(lambda: page.page.locator('[data-plot="hidden1"]').count() == 1)
    press(named("Patch, row"), "ArrowDown", "ArrowDown")
    page.wait(lambda: page.data("hidden1", 1)["h"] == [4])
    press(named("Hidden by"), "ArrowDown")
    page.wait(lambda: "baseline=black" in page.page.url)
    press(page.page.get_by_role("button", name="How good", exact=True), "Enter")
    page.wait(lambda: page.page.locator('[data-plot="confusion1"]').count() == 1)
    press(named("True class"), "9")
    press(named("Taken for"), "4")
    press(page.page.get_by_role("button", name="Show these images"), "Enter")
    page.wait(lambda: page.title("gallery") == "Test images: 9, taken for 4")
    press(page.page.get_by_role("button", name="Training", exact=True), "Enter")
    press(page.page.get_by_label("basic_model-mnist"), "Space")
    page.wait(lambda: _curve(page, "basic_model-mnist, test images"))
    press(named("Beside it"), "ArrowDown")
    page.wait(lambda: "second=run" in page.page.url)


def test_images_made_for_the_channels_come_as_they_get_ready(shared):
    page = shared("?index=3&section=Inside")
    page.choose("Layer", "fc2")
    page.wait(lambda: page.title("maps1").startswith("fc2"))
    page.wait(lambda: page.data("made1")["image"] and np.unique(page.pixels("made1")).size > 100)


# ---------------------------------------------------------------- why


def test_the_maps_are_those_of_the_scripts(shared, run):
    page = shared("?index=3&section=Why&patch=4&baseline=mean+colour")
    page.wait(lambda: "from chance" in page.title("Integrated gradients1"), seconds=60)
    image = scale_pixels(run.dataset.x_test[3])
    predicted = int(np.argmax(page.answer()))
    drop = occlusion.occlusion_map(run.model, image, predicted, baseline="mean", score="logit")
    shown, computed = (
        each.view("uint8").astype(int) for each in (page.pixels("Occlusion1"), plots.overlay(image, drop))
    )
    assert np.abs(shown - computed).max() <= 2
    page.choose("Explain", "4")
    drop = occlusion.occlusion_map(run.model, image, 4, baseline="mean", score="logit")
    other = plots.overlay(image, drop).view("uint8").astype(int)
    page.wait(lambda: np.abs(page.pixels("Occlusion1").view("uint8").astype(int) - other).max() <= 2, seconds=60)
    page.wait_for_text("What the logit of 4 depends on")


def test_a_patch_under_the_mouse_changes_the_answer(shared, run):
    images = scale_pixels(run.dataset.x_test)
    hidden = images.copy()
    hidden[:, 6:18, 10:22] = 1
    before, after = (run.calibrated(introspection.predict(run.model, each)) for each in (images, hidden))
    index = int(np.argmax(np.ptp(after - before, axis=1) > 0.2))
    page = shared("?index=3&section=Why&patch=4&baseline=mean+colour")
    page.look_at(index)
    page.choose("Patch, pixels", "12")
    page.choose("Hidden by", "white")
    page.wait_for_answer(before[index])
    page.wait(lambda: "from chance" in page.title("Integrated gradients1"), seconds=60)
    page.move_to("hidden1", 16.5, 12.5)
    page.wait_for_answer(after[index])
    np.testing.assert_array_equal(page.pixels("hidden1"), plots.rgba(hidden[index]))
    page.page.mouse.move(5, 5)
    page.wait_for_answer(before[index])
    page.choose("Patch, row", "12")
    page.choose("Patch, column", "16")
    page.wait_for_answer(after[index])
    page.choose("Hidden by", "black")
    hidden[:, 6:18, 10:22] = 0
    page.wait_for_answer(expected(run, hidden[index]))
    page.open("Inside")  # where nobody sees that a part is hidden
    page.wait_for_answer(before[index])


# ---------------------------------------------------------------- how good, training, two networks


def test_a_cell_of_the_confusion_matrix_leads_to_its_images(shared, run):
    page = shared()
    page.open("How good")
    page.wait(lambda: page.data("confusion1")["image"])
    results = evaluation.Evaluation(
        introspection.predict(run.model, run.dataset.x_test), run.dataset.y_test, run.class_names
    )
    counts = results.confusion_matrix().to_numpy()
    assert page.data("confusion1", 2)["text"] == [str(count) for count in counts.ravel()]
    wrong = counts - np.diag(np.diag(counts))
    true, other = map(int, np.unravel_index(wrong.argmax(), wrong.shape))
    shown = f"Test images: {true}, taken for {other}"
    page.click("confusion1", 9 * other + 4, 9 * true + 4, lambda: page.title("gallery") == shown)
    index = np.flatnonzero((run.dataset.y_test == true) & (results.predictions == other))[0]
    page.click("gallery", 9, 9, lambda: f"index={index}&" in page.page.url)
    page.wait_for_text(f"wrong: it is {true}")
    page.wait(lambda: page.title("layers1") == f"Which layer tells {true} from {other}?")
    page.wait(lambda: len(page.data("layers1")["y"]) > 5)
    np.testing.assert_allclose(page.data("classes1")["value"], 100 * results.accuracy_per_class, atol=0.01)
    page.open("Inside")


def test_curves_grow_while_a_training_goes_on(shared, models):
    """The run appears while the page is open."""
    page, run = shared("?section=Training"), models / "growing"
    shutil.copytree(paths.PRETRAINED / DIGITS, run)
    history = pd.read_csv(run / "history.csv")
    history[:3].to_csv(run / "history.csv", index=False)
    try:
        page.page.get_by_label("growing").check(timeout=20_000)
        page.wait(lambda: _curve(page, "growing, test images") == pytest.approx(100 * history["val_accuracy"][:3]))
        history[:5].to_csv(run / "history.csv", index=False)
        page.wait(lambda: _curve(page, "growing, test images") == pytest.approx(100 * history["val_accuracy"][:5]))
        page.wait_for_text("growing: ")
    finally:
        shutil.rmtree(run)


def test_a_training_that_is_tested_at_its_end_shows_that_as_a_point(shared, models):
    page, run = shared("?section=Training"), models / "late"
    shutil.copytree(paths.PRETRAINED / DIGITS, run)
    history = pd.read_csv(run / "history.csv")
    tests = ["val_accuracy", "val_loss"]
    history.drop(columns=tests)[:3].to_csv(run / "history.csv", index=False)
    try:
        page.page.get_by_label("late").check(timeout=20_000)
        page.wait_for_text(f"late: {history['accuracy'][2]:.2%} on training images after epoch 3")
        page.wait(lambda: _curve(page, "late, training images") == pytest.approx(100 * history["accuracy"][:3]))
        history.loc[: len(history) - 2, tests] = np.nan
        history.to_csv(run / "history.csv", index=False)
        page.wait_for_text(f"late: {history['val_accuracy'].iloc[-1]:.2%} on test images")
        page.wait(lambda: _curve(page, "late, test images") == pytest.approx(100 * history["val_accuracy"][-1:]))
    finally:
        shutil.rmtree(run)


def _curve(page, name):
    for number in range(12):
        try:
            data = page.data("accuracy", number)
        except sync_api.Error:
            return None
        if data["name"][:1] == [name]:
            return data["y"]
    return None


def test_what_the_network_was_after_an_earlier_epoch(shared, run):
    page, image = shared("?section=Training"), scale_pixels(run.dataset.x_test[5])
    page.look_at(5)
    wanted = 100 * introspection.predict(run.model, image[None])[0]  # not calibrated
    page.wait(lambda: np.allclose(page.data("answer-70")["value"], wanted, atol=0.01))


def test_a_network_of_another_dataset_can_not_stand_beside_it(shared):
    page = shared()
    page.choose("Beside it", "basic_model-mnist")
    said = f"basic_model-mnist can't stand beside {DIGITS}: "  # since its images are not on this machine
    page.wait_for_text(said)
    page.page.wait_for_timeout(1500)
    assert page.page.get_by_text(said).count() == 1
    assert page.page.locator('[data-plot="answer2"]').count() == 0


def test_two_networks_on_one_image(shared, models, run):
    page = shared("?section=Training")  # which draws nothing more for a second network
    page.look_at(2)
    page.choose("Beside it", models.joinpath(f"run {EVIL}").name)
    page.wait(lambda: page.page.locator('[data-plot="answer2"]').count() == 1)
    beside = runs.load(models / f"run {EVIL}")
    for index in (2, 0):
        image = scale_pixels(run.dataset.x_test[index])
        one, other = expected(run, image), expected(beside, image)
        assert not np.allclose(one, other, atol=0.001)
        page.wait_for_answer(one, side=1)
        page.wait_for_answer(other, side=2)
        page.click("gallery", 9, 9, lambda: "index=0&" in page.page.url)
    page.choose("Beside it", "")
    page.wait(lambda: page.page.locator('[data-plot="answer2"]').count() == 0)


# ---------------------------------------------------------------- the address, many tabs, safety


def test_the_address_brings_back_the_same_view(shared, tab, run, folder):
    page = shared()
    page.look_at(8)
    page.choose("Show", "class: 5")
    page.open("Why")
    page.choose("Patch, pixels", "6")
    page.choose("Hidden by", "white")
    page.wait(lambda: all(f"{part}&" in page.page.url for part in ("section=Why", "patch=6", "baseline=white")))
    again = tab(page.page.url.split("/", 3)[3])
    page.open("Inside")
    again.wait(lambda: again.title("gallery") == "Test images: class: 5")
    again.wait_for_answer(expected(run, scale_pixels(run.dataset.x_test[8])))
    again.wait_for_text(f"--run {DIGITS} --data-dir {folder} --index 8 --patch 6 --baseline white --compare")


WRONG = ["index=-1", "run=../../etc", "section=%3Cscript%3E", "patch=abc", "file=../../../etc/passwd",
         "layer1=none&channel1=777", "trainings=[%22..%22]", "second=%00"]  # fmt: skip


@pytest.mark.parametrize(
    "query",
    [
        "&".join(WRONG),
        *(pytest.param(each, marks=pytest.mark.slow) for each in [*WRONG, "index=99999999&run=nothing"]),
    ],
)
def test_a_wrong_address_shows_the_page_all_the_same(tab, query):
    page = tab(f"?{query}")
    assert sum(page.answer()) == pytest.approx(100, abs=0.1)
    assert page.page.get_by_text("passwd").count() == 0


def test_a_network_that_can_not_be_loaded_is_named_at_the_start(browser, address, models):
    run = models / "broken"
    shutil.copytree(paths.PRETRAINED / DIGITS, run)
    (run / "architecture.json").write_text("{")
    page = browser.new_page()
    try:
        page.goto(f"{address}/?run=broken")
        page.get_by_text(f"{run / 'architecture.json'}").wait_for(timeout=60_000)
    finally:
        page.close()
        shutil.rmtree(run)


@pytest.mark.parametrize("browser_answers", [True, False])
def test_the_rest_is_opened_once_when_the_browser_has_drawn_or_after_some_seconds(browser_answers, monkeypatch):
    document, opened = Document(), []

    def open_parts():
        shown._opened = True
        opened.append(True)

    with set_curdoc(document):
        shown = Page()
        monkeypatch.setattr(shown, "_open", open_parts)
        shown.chosen = image.Chosen(0)
        shown._look()
        (waiting,) = (each for each in document.session_callbacks if isinstance(each, TimeoutCallback))
        assert waiting.timeout == FIRST_DRAWING
        if browser_answers:
            shown._echo.value = DRAWN
        for each in document.session_callbacks:
            if isinstance(each, NextTickCallback):
                each.callback()
    assert opened == [True] * browser_answers
    waiting.callback()
    assert opened == [True]


def test_a_page_that_is_left_is_forgotten():
    with set_curdoc(Document()):
        page = weakref.ref(Page())
    gc.collect()
    assert page() is None


def test_what_a_page_shows_later_is_shown_in_that_page():
    page, other, seen = Document(), Document(), []
    background = Background(page, complain=pytest.fail)
    with set_curdoc(other):  # as when Panel is still busy with another page
        background.soon(lambda: seen.append(pn.state.curdoc))
        for callback in page.session_callbacks:
            callback.callback()
    assert seen == [page]


@pytest.mark.slow
def test_ten_tabs_have_each_their_own_state(tab, run):
    pages = [tab(f"?index={index}&section=How+good") for index in range(10)]
    for index, page in enumerate(pages):
        page.wait_for_answer(expected(run, scale_pixels(run.dataset.x_test[index])))


def test_markup_in_names_is_text(tab, models, folder):
    page = tab(f"?run={urllib.request.quote(f'run {EVIL}')}")
    page.choose("My pictures", f"{EVIL.replace('/', '')}.png")
    for section in ("Why", "How good", "Training", "Inside"):
        page.open(section)
    assert page.page.evaluate("window.harmed") is None
    assert page.page.get_by_text(f"run {EVIL}").count() >= 1


def test_other_host_names_and_origins_are_refused(address):
    host = address.removeprefix("http://")
    for headers, status in (
        ({"Host": "evil.example"}, 404),
        ({"Origin": "http://evil.example"}, 404),
        ({"Sec-Fetch-Dest": "iframe"}, 404),
        ({"Sec-Fetch-Dest": "image", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "cross-site"}, 404),
        ({"Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "cross-site"}, 200),  # a link
        ({"Host": host, "Origin": address}, 200),
    ):
        request = urllib.request.Request(address, headers=headers)
        try:
            answer = urllib.request.urlopen(request)
            found = answer.status
        except urllib.error.HTTPError as error:
            found = error.code
        assert found == status, headers

    token = answer.read().decode().split('"token":"')[1].split('"')[0]
    for origin, status in (("http://evil.example", 404), (address, 101)):
        connection = http.client.HTTPConnection(address.removeprefix("http://"))
        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Origin": origin,
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Protocol": f"bokeh, {token}",
        }
        connection.request("GET", "/ws", headers=upgrade)
        assert connection.getresponse().status == status, origin
        connection.close()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--run", "nothing"], "error: there is no trained run nothing: name one of "),
        (["--run", "../models"], "error: there is no trained run ../models: name one of "),
        (["--pictures", "nowhere"], "error: can't read nowhere ("),
        (["--pictures", "tests"], "error: there are no pictures in tests"),
        (["--port", "80"], "'80' is not a whole number from 1024"),
        (["--host", "999.1.1.1"], "error: can't listen on 999.1.1.1"),
    ],
)
def test_bad_options_end_with_one_line_and_exit_code_2(options, complaint):
    command = [sys.executable, "explore.py", "--no-browser", *options]
    result = subprocess.run(command, cwd=paths.PROJECT, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2
    assert complaint in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_a_missing_package_is_named_before_keras_is_imported_when_no_error_would_be_shown(monkeypatch):
    monkeypatch.setattr(explore.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"the package bokeh is not installed: pip install -r requirements\.txt"):
        explore.main(["--no-browser", "--run", DIGITS])


def test_images_that_could_not_be_read_are_tried_again(monkeypatch):
    def damaged(*_, **__):
        raise UserError("the file is damaged")

    monkeypatch.setattr(downloads, "allowed", True)  # the page turns downloads off: here only for this test
    network._load.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(network.at_hand, "load_dataset", damaged)
        assert network.load(DIGITS).run.note == "the file is damaged."
    assert network.load(DIGITS).run.dataset is not None


def test_a_curve_that_is_no_longer_shown_leaves_the_legend():
    lines = plots.Lines("loss", "Loss", "epoch", "loss", legend=True)
    one, two = ([1, 2], [3.0, 4.0], "red", "solid"), ([1], [5.0], "blue", "solid")

    def legend():
        return {item.label.value: item.visible for item in lines.plot.legend[0].items}

    lines.show({"one": one, "two": two})
    assert legend() == {"one": True, "two": True}
    lines.show({"two": two})
    assert legend() == {"one": False, "two": True}
    lines.show({"one": one})
    assert legend() == {"one": True, "two": False}


def test_the_names_of_the_page():
    assert addresses.names_of("127.0.0.1") == addresses.names_of("localhost") == ["127.0.0.1", "localhost"]
    assert addresses.names_of("192.168.7.7") == ["192.168.7.7"]
    assert {"127.0.0.1", "localhost", socket.gethostname().lower()} <= set(addresses.names_of("0.0.0.0"))
    assert addresses.names_of("Anna.local") == ["anna.local"]  # as a browser writes it


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have one loopback address")
def test_only_this_address_is_listened_to(address):
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", int(address.rsplit(":", 1)[1])), timeout=5)


def test_a_port_in_use_is_skipped():
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        assert addresses.free_port("127.0.0.1", port) > port


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_every_part_fits_the_screen_and_an_accessibility_check(tab, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page = tab(color_scheme=scheme)
    for section in ("Inside", "Why", "How good", "Training"):
        page.open(section)
        for width in (390, 1440):
            page.page.set_viewport_size({"width": width, "height": 900})
            page.page.wait_for_timeout(300)
            assert page.page.evaluate("document.documentElement.scrollWidth") <= width + 1, (section, width)
        found = Axe().run(page.page).response["violations"]
        serious = [each for each in found if each["impact"] in ("serious", "critical")]
        assert not serious, [(each["id"], each["nodes"][0]["html"][:200]) for each in serious]
    dark = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (dark == "rgb(22, 24, 27)") == (scheme == "dark")


# ---------------------------------------------------------------- without a browser


def dense_network(folder, tiny_dataset):
    """A Network without convolutions, on a dataset of its own."""
    keras.utils.set_random_seed(1)
    shape = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax", name="fc1")]
    model = keras.Sequential(shape)
    return network.Network(runs.Run(folder, model, tiny_dataset.class_names, tiny_dataset, "tiny"))


def test_a_network_without_convolutions_has_no_grad_cam(tiny_dataset, tmp_path):
    dense = dense_network(tmp_path, tiny_dataset)
    shown = [title for title, _, found in dense.explanations(dense.test_image(0), 0, 2, "blur") if found]
    assert shown == ["Occlusion", "Integrated gradients"]
    assert dense.dead == {}


def test_the_images_that_activate_a_channel_most(tiny_dataset, tmp_path):
    dense = dense_network(tmp_path, tiny_dataset)
    kernel, bias = dense.run.model.layers[-1].get_weights()
    values = (scale_pixels(tiny_dataset.x_test).reshape(20, -1) @ kernel + bias)[:, 1]
    assert dense.strongest("fc1", 1, most=5) == np.argsort(-values)[:5].tolist()


def test_only_an_ordinary_convolution_s_filters_are_shown():
    keras.utils.set_random_seed(1)
    stack = [
        keras.layers.Conv2D(5, 3, name="conv"),
        keras.layers.DepthwiseConv2D(3, name="depthwise"),
        keras.layers.Conv2DTranspose(4, 3, name="transposed"),
        keras.layers.Flatten(),
        keras.layers.Dense(3, activation="softmax", name="fc1"),
    ]
    model = keras.Sequential([keras.Input((9, 9, 2)), *stack])
    shown = network.Network(runs.Run(paths.PROJECT, model, ("a", "b", "c"), None))
    np.testing.assert_array_equal(shown.filters("conv", 4), model.layers[0].get_weights()[0][..., 4].transpose(2, 0, 1))
    for layer, channel in (("conv", 5), ("depthwise", 0), ("transposed", 1), ("fc1", 0)):
        assert shown.filters(layer, channel) is None


@pytest.mark.parametrize(("index", "looks"), [(None, False), (9, False), (5, True)])
def test_a_picture_stays_when_another_network_has_fewer_test_images(index, looks, monkeypatch):
    """The index is then limited anew, to 9 here; what the page looks at is a picture, that image, or another one."""
    taken, chosen = [], image.Chosen(index, None if index else Image.new("RGB", (8, 8)))
    chooser = types.SimpleNamespace(
        page=types.SimpleNamespace(chosen=chosen, index=9), _take_index=lambda: taken.append(9)
    )
    image.ImageChooser._index_changed(chooser)
    assert bool(taken) == looks


def test_which_networks_have_the_same_test_images(tiny_dataset, tmp_path):
    def of(**changes):
        return dense_network(tmp_path, dataclasses.replace(tiny_dataset, **changes))

    table = pd.DataFrame({"file": ["1", "2"], "part": ["train", "test"], "class": ["top", "bottom"]})
    own = {"folder": "/pictures", "pictures": table}
    assert of().has_test_images_of(of())
    assert not of().has_test_images_of(of(name="other"))
    assert of(**own).has_test_images_of(of(folder="/moved", pictures=table.copy()))
    assert not of(**own).has_test_images_of(of(folder="/pictures", pictures=table.assign(part=["test", "train"])))


@pytest.mark.parametrize(("seconds_ago", "said"), [(0, "of 70, about 13 min left"), (300, "of 70, stopped")])
def test_a_training_that_has_stopped_is_not_said_to_go_on(seconds_ago, said, monkeypatch):
    history = pd.DataFrame({"epoch": range(1, 6), "accuracy": 0.5, "loss": 1.0, "seconds": 12.0})
    folder = paths.MODELS / "mine"
    folder.mkdir(parents=True)
    history.to_csv(folder / "history.csv")
    (folder / "run.json").write_text(json.dumps({"sessions": [{"epochs": 70}]}))
    then = time.time() - seconds_ago
    os.utime(folder / "history.csv", (then, then))
    assert trainings.describe("mine", history).endswith(said)


def test_the_page_downloads_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(downloads, "allowed", True)
    with pytest.raises(downloads.Unavailable) as refused:
        at_hand.load_dataset("mnist")
    assert refused.value.reason == "downloads are turned off"


def test_colours():
    grey = np.array([[[0.0], [1.0]]])
    assert [hex(value) for value in plots.rgba(grey)[0]] == ["0xff000000", "0xffffffff"]
    red = np.array([[[255, 0, 0]]], "uint8")
    assert hex(plots.rgba(red)[0, 0]) == "0xff0000ff"  # little endian: red comes first
    middle = plots.diverging(np.zeros((1, 1)), 1)
    assert (middle.view("uint8")[0, :3] > 240).all()
