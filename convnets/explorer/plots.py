"""The kinds of plots on the page. Each one can be saved as a PNG with the button above it."""

import html
import re

import numpy as np
import panel as pn
from bokeh.events import MouseLeave, MouseMove, Tap
from bokeh.models import ColumnDataSource, HoverTool, Title
from bokeh.plotting import figure
from matplotlib import colormaps

from convnets import drawing

WIDTH = 330  # screen pixels of a plot's area: fits a phone, and four go side by side on a desktop
BESIDE = 60  # pixels, for the names and numbers beside a chart
MARK = "#E69F00"


def rgba(images):
    """Return images (..., h, w, 1 or 3), uint8 or float in [0, 1], as (..., h, w) uint32, as Bokeh takes them."""
    images = images if images.dtype == np.uint8 else (255 * np.clip(images, 0, 1)).round().astype("uint8")
    colours = np.broadcast_to(images, (*images.shape[:-1], 3))
    opaque = np.full((*images.shape[:-1], 1), 255, "uint8")
    return np.ascontiguousarray(np.concatenate([colours, opaque], axis=-1)).view("uint32")[..., 0]


def diverging(maps, limit=None):
    """Return maps (..., h, w) in colours, red above zero, blue below it, as `rgba` does.

    limit: the value with the strongest colour; broadcasts to maps. Default: the largest absolute value.
    """
    return rgba(_colours(maps, np.abs(maps).max() if limit is None else limit))


def _colours(maps, limit):
    shares = maps / np.maximum(limit, 1e-12)
    return colormaps[drawing.DIVERGING](shares / 2 + 0.5)[..., :3]


def overlay(image, importance):
    """Return a heat map (h, w) over a grey version of its image (h, w, c), as `rgba` does."""
    limit = np.abs(importance).max()
    opacity = np.abs(importance)[..., None] / np.maximum(limit, 1e-12)
    grey = image.mean(axis=-1, keepdims=True)
    return rgba(grey * (1 - opacity) + _colours(importance, limit) * opacity)


def plain(text):
    """Return a short text that Bokeh shows as it is: it would typeset what stands between two $$ as a formula."""
    return re.sub(r"\$(?=\$)", "$\u200b", text)


class Text(pn.pane.HTML):
    """A text that changes. What looks like markup in it, in a name perhaps, is shown as it is."""

    def __init__(self, text="", **styles):
        super().__init__(styles={"white-space": "pre-wrap", "max-width": "100%", **styles})
        self.say(text)

    def say(self, text):
        """Show another text."""
        self.text = text
        self.object = f'<div role="status">{html.escape(text)}</div>'

    def add(self, text):
        """Show more text behind the text that is there."""
        self.say(self.text + text)


def flow(*parts, **options):
    """Return parts in a row that goes on below where the screen is narrow."""
    return pn.FlexBox(*parts, sizing_mode="stretch_width", **options)


def plain_figure(name, title, height, *, width=WIDTH, **options):
    """Return a Bokeh figure with the page's look, and a button that saves it. name: of this figure on the page."""
    plot = figure(
        name=name,
        frame_width=width,
        frame_height=height,
        tools="save",
        toolbar_location="above",
        min_border=4,
        html_attributes={"role": "img", "aria-label": title or name, "data-plot": name},
        **options,
    )
    plot.toolbar.logo = None
    plot.title = Title(text=plain(title), text_font_size="13px")
    return plot


def name_axis(axis, names, places=None):
    """Write names along an axis. places: where. Default: 0, 1, 2 ..."""
    places = list(range(len(names))) if places is None else places
    axis.visible, axis.ticker = True, places
    axis.major_label_overrides = dict(zip(places, map(plain, names), strict=True))


class Grid:
    """Images in rows and columns, or one image, of which one cell can be marked.

    on_pick(number): called when a cell is clicked. on_move(number, row, column): when the mouse moves over a pixel.
    on_leave(): when it leaves the plot.
    """

    def __init__(self, name, title="", *, on_pick=None, on_move=None, on_leave=None):
        self.plot = plain_figure(name, title, WIDTH, x_range=(0, 1), y_range=(1, 0))
        self.plot.axis.visible = self.plot.grid.visible = False
        self._image = ColumnDataSource({"image": [], "w": [], "h": []})
        self._frame = ColumnDataSource({"x": [], "y": [], "w": [], "h": []})
        self._text = ColumnDataSource({"x": [], "y": [], "text": []})
        self.plot.image_rgba("image", x=0, y=0, dw="w", dh="h", source=self._image)
        self.plot.rect("x", "y", "w", "h", source=self._frame, fill_alpha=0, line_color=MARK, line_width=3)
        self.plot.text("x", "y", "text", source=self._text, **_CAPTION)
        self._cell, self._columns, self._count = (1, 1), 1, 0
        if on_pick:
            self.plot.on_event(Tap, lambda event: self._at(event, lambda number, *_: on_pick(number)))
        if on_move:
            self.plot.on_event(MouseMove, lambda event: self._at(event, self._moved))
        if on_leave:
            self.plot.on_event(MouseLeave, lambda event: self._left())
        self._on_move, self._on_leave, self._below = on_move, on_leave, None

    def show(self, cells, *, title=None, labels=None, columns=None):
        """Show cells (n, h, w) uint32, see `rgba`. labels: n short texts, drawn into the cells."""
        count, height, width = cells.shape
        self._count, gap = count, int(count > 1)
        self._columns = columns or (1 if count <= 1 else min(8, int(np.ceil(np.sqrt(1.5 * count)))))
        self._columns = max(self._columns, int(np.ceil(np.sqrt(count / 2))))
        self._cell = height + gap, width + gap
        mosaic = drawing.mosaic(np.pad(cells, [(0, 0), (0, gap), (0, gap)]), self._columns, empty=0)
        rows, columns = mosaic.shape
        self.plot.x_range.update(start=0, end=max(columns, 1))
        self.plot.y_range.update(start=max(rows, 1), end=0)
        self.plot.frame_height = max(40, round(WIDTH * rows / max(columns, 1)))
        self._image.data = {"image": [mosaic] if count else [], "w": [columns][:count], "h": [rows][:count]}
        corners = [divmod(number, self._columns) for number in range(len(labels or ()))]
        self._text.data = {
            "x": [column * self._cell[1] + 0.5 for _, column in corners],
            "y": [row * self._cell[0] + height for row, _ in corners],
            "text": list(labels or ()),
        }
        self.mark(None)
        if title is not None:
            self.plot.title.text = plain(title)

    def name_cells(self, rows, columns):
        """Write names beside the rows, and below the columns."""
        for axis, names, side in ((self.plot.yaxis, rows, self._cell[0]), (self.plot.xaxis, columns, self._cell[1])):
            name_axis(axis, names, [side * (number + 0.5) for number in range(len(names))])
        self.plot.xaxis.major_label_orientation = 0.9
        self.plot.frame_width, self.plot.frame_height = WIDTH - BESIDE, WIDTH - BESIDE

    def mark(self, number, box=None):
        """Frame a cell, or a box (top, left, height, width) of pixels in it; nothing for None."""
        if number is None or number >= self._count:
            self._frame.data = {"x": [], "y": [], "w": [], "h": []}
            return
        row, column = divmod(number, self._columns)
        top, left, height, width = box or (0, 0, *self._cell)
        self._frame.data = {
            "x": [column * self._cell[1] + left + width / 2],
            "y": [row * self._cell[0] + top + height / 2],
            "w": [width],
            "h": [height],
        }

    def _moved(self, *place):
        if place != self._below:  # a mouse that moves within a pixel asks for nothing new
            self._below = place
            self._on_move(*place)

    def _left(self):
        self._below = None
        self._on_leave()

    def _at(self, event, call):
        if event.x is None or event.y is None or event.x < 0 or event.y < 0:
            return
        (row, y), (column, x) = divmod(int(event.y), self._cell[0]), divmod(int(event.x), self._cell[1])
        number = row * self._columns + column
        if column < self._columns and number < self._count:
            call(number, y, x)


_CAPTION = {
    "text_font_size": "10px",
    "text_baseline": "bottom",
    "background_fill_color": "white",
    "background_fill_alpha": 0.7,
}


class Bars:
    """A horizontal bar for each name, in percent; the ones that count are coloured."""

    def __init__(self, name, title, names):
        self._places = list(range(len(names)))
        self.plot = plain_figure(
            name,
            title,
            max(100, min(20 * len(names), 400)),
            width=WIDTH - BESIDE,
            x_range=(0, 100),
            y_range=(len(names) - 0.5, -0.5),
        )
        name_axis(self.plot.yaxis, names)
        self.plot.ygrid.visible = False
        self.source = ColumnDataSource({"place": [], "value": [], "colour": []})
        self.plot.hbar(y="place", right="value", height=0.7, color="colour", source=self.source)
        self.plot.xaxis.axis_label = "%"
        self.plot.add_tools(HoverTool(visible=False, tooltips=[("", "@value{0.0} %")]))

    def show(self, shares, right=None, wrong=None):
        """Show shares (n,) in [0, 1]. right, wrong: numbers of bars to colour as such; right goes first."""
        colours = [_colour(number, right, wrong) for number in self._places]
        values = [100 * float(share) for share in shares]
        self.source.data = {"place": self._places, "value": values, "colour": colours}


def _colour(number, right, wrong):
    return drawing.RIGHT if number == right else drawing.WRONG if number == wrong else drawing.TRAINING


class Lines:
    """Curves: a column of numbers each, all over the same quantity. digits: how the mouse shows them."""

    def __init__(self, name, title, x_label, y_label, *, legend=False, digits="0.00", **options):
        labels = {"x_axis_label": x_label, "y_axis_label": y_label}
        self.plot = plain_figure(name, title, 220, width=WIDTH - BESIDE, **labels, **options)
        self._sources, self._legend, self._tip = {}, legend, f"@name: @y{{{digits}}}"

    def show(self, curves):
        """Show {name: (x, y, colour, dashes)}, in the place of those of the same name; others are hidden."""
        for name, source in self._sources.items():
            if name not in curves:
                source.data = {"x": [], "y": [], "name": []}
        for name, (x, y, colour, dash) in curves.items():
            if name not in self._sources:
                self._sources[name] = source = ColumnDataSource({"x": [], "y": [], "name": []})
                label = {"legend_label": plain(name)} if self._legend and dash == "solid" else {}
                drawn = self.plot.line("x", "y", source=source, color=colour, line_dash=dash, line_width=2, **label)
                if dash == "solid":  # a single point has no line
                    self.plot.scatter("x", "y", source=source, color=colour, size=5, **label)
                if label:
                    self.plot.legend.update(label_text_font_size="10px", background_fill_alpha=0.6, padding=2)
                self.plot.add_tools(HoverTool(visible=False, renderers=[drawn], tooltips=[("", self._tip)]))
            self._sources[name].data = {"x": list(x), "y": list(y), "name": [name] * len(x)}
        for legend in self.plot.legend:
            for item in legend.items:
                item.visible = item.label.value in map(plain, curves)
