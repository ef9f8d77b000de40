"""Which image the page looks at: one of the test set, of the reader's folder, an upload, or a drawing."""

import dataclasses
import io

import numpy as np
import panel as pn
from bokeh.models import ColumnDataSource, FreehandDrawTool
from PIL import Image, ImageDraw

from convnets.data import image_files
from convnets.errors import UserError
from convnets.explorer import plots

MOST_BYTES = 20 * 2**20  # of an upload
A_PAGE = 40  # images of the gallery
MOST_PAIRED = 12  # classes, of which all pairs can be chosen from the list; more only in the confusion matrix
PAD = 280  # pixels, the side of the field to draw in


@dataclasses.dataclass(frozen=True)
class Chosen:
    """The image that the page looks at.

    index: of a test image, or None. picture: a PIL.Image of the reader's, or None. options: those that make a script
    take the same image.
    """

    index: int | None = None
    picture: Image.Image | None = None
    options: tuple[str, ...] = ()

    def prepared(self, network):
        """Return the network's input, (h, w, c) float32 in [0, 1], and a note or ""."""
        if self.picture is not None:
            return network.run.prepare(self.picture)
        return network.test_image(self.index), ""

    def truth(self, network):
        """Return the number of the true class, or None if it is unknown."""
        return None if self.index is None else int(network.run.dataset.y_test[self.index])


class ImageChooser:
    """The gallery, and the other ways to choose an image. Sets page.chosen."""

    def __init__(self, page):
        self.page = page
        self.network, self._choices = None, {}
        self._numbers = []
        self.show = pn.widgets.Select.from_param(page.param.show, name="Show")
        self.index = pn.widgets.TextInput(name="Test image", width=110)
        self.some = pn.widgets.Button(name="Random image", width=120, align="end")
        self.before, self.after = (pn.widgets.Button(name=name, width=100) for name in ("Previous", "Next"))
        self.where = plots.Text(width="100px")
        self.file = pn.widgets.Select.from_param(page.param.file, name="My pictures", visible=page.pictures is not None)
        self.upload = pn.widgets.FileInput(
            name="Your own picture (at most 20 MB; it stays on this machine)", accept="image/*", width=plots.WIDTH
        )
        self.grid = plots.Grid("gallery", on_pick=self._picked)
        self.pad = DrawingPad(page.background, self._drawn)
        self.pad_part = pn.Column(self.pad.view, visible=False)
        self._start = 0
        when = page.background.when
        when(self.some, self._random, "clicks")
        when(self.before, lambda: self._turn(-A_PAGE), "clicks")
        when(self.after, lambda: self._turn(A_PAGE), "clicks")
        when(self.upload, self._uploaded)
        when(self.index, self._typed)
        self.view = pn.Column(
            pn.pane.HTML("<h2>Image</h2>"),
            self.show,
            self.grid.plot,
            pn.Row(self.before, self.where, self.after),
            pn.Row(self.index, self.some),
            self.file,
            self.upload,
            self.pad_part,
        )

    def use(self, network):
        """Offer the images of another network; `start` shows them."""
        self.network, dataset = network, network.run.dataset
        self.pad_part.visible = network.is_digits
        self._choices = choices(network) if dataset else {"none": None}
        self.page.param.show.objects = list(self._choices)
        if self.page.show not in self._choices:
            self.page.show = next(iter(self._choices))
        self.page.param.index.bounds = (0, len(dataset.x_test) - 1 if dataset else 0)
        self.page.index = min(self.page.index, self.page.param.index.bounds[1])

    def start(self):
        """Show the gallery, and look at an image."""
        self._gallery()
        if self.page.chosen and self.page.chosen.picture:  # it can be shown to any network
            return
        self.page.chosen = None
        self._take_file() if self.page.file else self._take_index()
        if self.page.chosen is None:
            self.page.complain(
                self.network.run.note
                or f"The test images of {self.network.run.name} are not on this machine: upload a picture, or load "
                "them with a training script first."
            )

    def follow(self):
        """Do what the page's state says from now on."""
        when = self.page.background.when
        when(self.page, self._gallery, "show")
        when(self.page, self._index_changed, "index")
        when(self.page, self._take_file, "file")

    def show_confused(self, network, true, other):
        """Show the images of one class that a network takes for another one, or, of the same class, all of it."""
        label, find = confused(network, true, other)
        if network is not self.network and true != other:
            label += f", by {network.run.name}"
        self._choices[label] = find
        self.page.param.show.objects = list(self._choices)
        self.page.show = label

    def _gallery(self):
        if find := self._choices[self.page.show]:
            self.page.background.start("gallery", find, self._show, slow=self.page.show != "all")
        else:  # there are no test images
            self.page.background.stop("gallery")
            self._numbers, self._start = [], 0
            self.grid.show(np.zeros((0, 1, 1), "uint32"), title="No test images")
            self.where.say("")

    def _show(self, numbers):
        self._numbers, self._start = numbers, 0
        self._turn(0)

    def _turn(self, by):
        if self.network.run.dataset is None:
            return
        if 0 <= self._start + by < max(len(self._numbers), 1):
            self._start += by
        part = self._numbers[self._start : self._start + A_PAGE]
        self.grid.show(plots.rgba(self.network.run.dataset.x_test[part]), title=f"Test images: {self.page.show}")
        self.where.say(f"{self._start + min(1, len(part))}-{self._start + len(part)} of {len(self._numbers)}")
        self._mark()

    def _mark(self):
        place = np.flatnonzero(self._numbers[self._start : self._start + A_PAGE] == self.page.index)
        shown = self.page.chosen and self.page.chosen.index is not None and len(place)
        self.grid.mark(int(place[0]) if shown else None)

    def _picked(self, place):
        self.go_to(int(self._numbers[self._start + place]))

    def _random(self):
        numbers = self._numbers if len(self._numbers) else range(self.page.param.index.bounds[1] + 1)
        self.go_to(int(np.random.default_rng().choice(numbers)))

    def _typed(self):
        text, last = self.index.value, self.page.param.index.bounds[1]
        if text.isdecimal() and int(text) <= last:
            if int(text) != self.page.index or not self.page.chosen or self.page.chosen.index is None:
                self.go_to(int(text))
        else:
            self.page.complain(f"There is no test image {text}: they have the numbers 0 to {last}.")

    def go_to(self, index):
        """Look at a test image."""
        self.page.file = ""
        self.page.index = index
        self._take_index()

    def _index_changed(self):
        """Look at another test image, if the address says so; a picture stays where the index is only limited anew."""
        chosen = self.page.chosen
        if chosen is None or chosen.index not in (None, self.page.index):
            self._take_index()

    def _take_index(self):
        if self.network and self.network.run.dataset:
            index = self.page.index
            self.index.value = str(index)
            self.page.complain("")
            self.page.chosen = Chosen(index, options=("--index", str(index)))
            self._mark()

    def _take_file(self):
        if self.page.file:
            path = self.page.pictures / self.page.file
            self._take_picture(path, self.page.file, ("--image", str(path)))

    def _uploaded(self):
        if not self.upload.value:
            return
        if len(self.upload.value) > MOST_BYTES:
            self.page.complain("The file is larger than 20 MB: scale the picture down.")
            return
        self.page.file = ""
        self._take_picture(io.BytesIO(self.upload.value), self.upload.filename, ("--image", self.upload.filename))

    def _take_picture(self, file, name, options):
        try:
            picture = image_files.open_upright(file, at_least=self.network.run.least_side)
        except UserError as error:
            self.page.complain(f"{error}.".replace(str(file), name))
            return
        self.page.chosen = Chosen(None, picture, options)
        self._mark()

    def _drawn(self, picture):
        self.page.file = ""
        self.page.chosen = Chosen(None, picture, ("--image", "DRAWING.png"))
        self._mark()


def choices(network):
    """Return {what the gallery can show: a function that returns the numbers of these test images}."""
    classes = range(len(network.names))
    pairs = [(true, other) for true in classes for other in classes if true == other or len(classes) <= MOST_PAIRED]
    return {
        "all": lambda: np.arange(len(network.run.dataset.y_test)),
        "mistakes": lambda: np.sort(network.results.mistakes()),
        "most confident mistakes": lambda: network.results.mistakes(),
        "suspicious labels": lambda: np.array(network.suspicious, dtype=int),
        **dict(confused(network, *pair) for pair in sorted(pairs, key=lambda pair: pair[0] != pair[1])),
    }


def confused(network, true, other):
    """Return a choice of `choices` and its function: the images of a class that are taken for another one."""
    labels = network.run.dataset.y_test
    if true == other:
        return f"class: {network.names[true]}", lambda: np.flatnonzero(labels == true)
    label = f"{network.names[true]}, taken for {network.names[other]}"
    return label, lambda: np.flatnonzero((labels == true) & (network.results.predictions == other))


class DrawingPad:
    """A field to draw a digit in, with the mouse or, from point to point, with two numbers.

    on_change(picture): called after each stroke with the whole drawing, a PIL.Image.
    """

    def __init__(self, background, on_change):
        self.on_change = on_change
        self.plot = plots.plain_figure("pad", "Draw a digit", PAD, x_range=(0, PAD), y_range=(PAD, 0))
        self.plot.frame_width = PAD
        self.plot.axis.visible = self.plot.grid.visible = False
        self.strokes = ColumnDataSource({"xs": [], "ys": []})
        lines = self.plot.multi_line(
            "xs", "ys", source=self.strokes, line_width=20, line_cap="round", line_join="round", color="black"
        )
        self.plot.background_fill_color = "white"
        tool = FreehandDrawTool(renderers=[lines])
        self.plot.add_tools(tool)
        self.plot.toolbar.active_drag = tool
        self.strokes.on_change("data", lambda attr, old, new: self._changed())
        clear = pn.widgets.Button(name="Clear the drawing", width=140)
        background.when(clear, lambda: self.strokes.update(data={"xs": [], "ys": []}), "clicks")
        self.x, self.y = (
            pn.widgets.Select(name=name, value=PAD // 2, options=list(range(0, PAD + 1, 10)), width=90)
            for name in ("Pen across", "Pen down")
        )
        begin, to = (pn.widgets.Button(name=name, width=100) for name in ("Begin here", "Line to here"))
        background.when(begin, lambda: self._pen(new=True), "clicks")
        background.when(to, lambda: self._pen(new=False), "clicks")
        self.view = pn.Column(self.plot, clear, pn.Row(self.x, self.y), pn.Row(begin, to))

    def _pen(self, *, new):
        xs, ys = list(self.strokes.data["xs"]), list(self.strokes.data["ys"])
        point = float(self.x.value), float(self.y.value)
        if new or not xs:
            xs, ys = [*xs, [point[0]]], [*ys, [point[1]]]
        else:
            xs, ys = [*xs[:-1], [*xs[-1], point[0]]], [*ys[:-1], [*ys[-1], point[1]]]
        self.strokes.data = {"xs": xs, "ys": ys}

    def _changed(self):
        picture = Image.new("RGB", (PAD, PAD), "white")
        draw = ImageDraw.Draw(picture)
        for xs, ys in zip(self.strokes.data["xs"], self.strokes.data["ys"], strict=False):
            points = list(zip(xs, ys, strict=False))
            draw.line(points, fill="black", width=20, joint="curve")
            for x, y in points:
                draw.ellipse((x - 10, y - 10, x + 10, y + 10), fill="black")
        self.on_change(picture)
