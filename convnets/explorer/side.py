"""One network on the page: its answer, and the parts that explain it. Two of them stand side by side."""

import panel as pn

from convnets.explorer import plots
from convnets.explorer.answer import Answer
from convnets.explorer.inside import Inside
from convnets.explorer.quality import Quality
from convnets.explorer.why import Why

PARTS = {"Inside": Inside, "Why": Why, "How good": Quality}


class Side:
    """A network on the page. page: the page.Page. number: 1 or 2.

    image: the network's input, (h, w, c) float32. predicted: the number of the class that it answers with.
    """

    def __init__(self, page, network, number):
        self.page, self.network, self.number = page, network, number
        self.image, self.note, self.predicted = None, "", 0
        self.answer = Answer(self)
        self._parts = {}  # made when they are first opened, since each has several plots
        self._opened = pn.Column()
        self.view = pn.Column(
            pn.pane.HTML(f"<h2>Network {number}</h2>"),
            plots.Text(network.run.name, **{"font-weight": "bold"}),
            self.answer.view,
            self._opened,
            styles={"flex": "1 1 340px"},
        )

    @property
    def layer(self):
        name = getattr(self.page, f"layer{self.number}")
        return name if name in self.network.layers else self.network.layers[0]

    @layer.setter
    def layer(self, name):
        setattr(self.page, f"layer{self.number}", name)

    @property
    def channel(self):
        return getattr(self.page, f"channel{self.number}")

    @channel.setter
    def channel(self, number):
        setattr(self.page, f"channel{self.number}", number)

    def start(self, kind, compute, show, **options):
        """Compute something in the background for this network; see background.Background."""
        self.page.background.start((self.number, kind), compute, show, **options)

    def stop(self, kind):
        self.page.background.stop((self.number, kind))

    @property
    def why(self):
        """The part "Why", if it is open."""
        return self._parts.get("Why") if self.page.section == "Why" else None

    def look(self):
        """Show another image, and the answer to it."""
        self.image, self.note = self.page.chosen.prepared(self.network)
        self.answer.show_input(self.image)
        self.answer.show(self.image)

    def open(self):
        """Show the part that the page has open."""
        section = self.page.section
        if section in PARTS and section not in self._parts:
            self._parts[section] = PARTS[section](self)
            self._opened.append(self._parts[section].view)
        for name, part in self._parts.items():
            part.view.visible = name == section
        if "Why" in self._parts and section != "Why":
            self._parts["Why"].unhide()
        if section in PARTS and self.image is not None:
            self._parts[section].update()

    def moved(self, number, row, column):
        if self.why:
            self.why.hide(row, column)

    def left(self):
        if self.why:
            self.why.unhide()
