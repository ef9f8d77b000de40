"""One network on the page: its answer, and the parts that explain it. Two of them stand side by side."""

import panel as pn

from convnets.explorer.answer import Answer
from convnets.explorer.inside import Inside
from convnets.explorer.quality import Quality
from convnets.explorer.why import Why


class Side:
    """A network on the page. page: the page.Page. number: 1 or 2.

    image: the network's input, (h, w, c) float32. predicted: the number of the class that it answers with.
    """

    def __init__(self, page, network, number):
        self.page, self.network, self.number = page, network, number
        self.image, self.note, self.predicted = None, "", 0
        layers = network.layers
        self.layer = self.layer if self.layer in layers else layers[0]
        self.answer = Answer(self)
        self.parts = {"Inside": Inside(self), "Why": Why(self), "How good": Quality(self)}
        self.view = pn.Column(
            pn.pane.HTML(f"<h2>Network {number}</h2>"),
            pn.pane.Str(network.run.name, styles={"font-weight": "bold"}),
            self.answer.view,
            *(part.view for part in self.parts.values()),
            styles={"flex": "1 1 340px"},
        )

    @property
    def layer(self):
        return getattr(self.page, f"layer{self.number}")

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

    def is_shown(self, section):
        return self.page.section == section

    def look(self):
        """Show another image, in the part that is open."""
        self.image, self.note = self.page.chosen.prepared(self.network)
        self.answer.show_input(self.image)
        self.answer.show(self.image)
        self.open()

    def open(self):
        """Open the part that the page shows."""
        for name, part in self.parts.items():
            part.view.visible = self.is_shown(name)
            if self.is_shown(name) and self.image is not None:
                part.update()

    def moved(self, number, row, column):
        if self.is_shown("Why"):
            self.parts["Why"].hide(row, column)

    def left(self):
        if self.is_shown("Why") and self.image is not None:
            self.parts["Why"].unhide()
