"""Why: hide a part of the image and watch the answer; heat maps of what it depends on, each with its test."""

import numpy as np
import panel as pn

from convnets.explorer import plots
from convnets.views import occlusion

BASELINES = {"grey": (0.5,) * 3, "black": (0.0,) * 3, "white": (1.0,) * 3, "mean colour": "mean", "blur": "blur"}
METHODS = ("Occlusion", "Grad-CAM", "Integrated gradients")


class Why:
    """The explanations of one network's answer. side: the side.Side that they belong to."""

    def __init__(self, side):
        self.side, page, self._shown = side, side.page, None
        self._patch_at = None  # (row, column) of the pixel around which the image is hidden
        self.image = plots.Grid(
            f"hidden{side.number}",
            "Hide a part: move the mouse here",
            on_move=side.moved,
            on_leave=side.left,
        )
        self.maps = {name: plots.Grid(f"{name}{side.number}", f"{name} ...") for name in METHODS}
        self.maps["Grad-CAM"].plot.visible = side.network.has_convolutions
        height, width, _ = side.network.run.model.input_shape[1:]
        self.row = pn.widgets.Select(name="Patch, row", options=list(range(height)), width=100)
        self.column = pn.widgets.Select(name="Patch, column", options=list(range(width)), width=110)
        for widget in (self.row, self.column):
            page.background.when(widget, lambda: self.hide(self.row.value, self.column.value))
        options = {"predicted": "", **{name: name for name in side.network.names}}
        self.target = pn.widgets.Select(name="Explain", options=options, value="", width=150)
        page.background.when(self.target, self.update)
        self.about = plots.Text(**{"max-width": "660px"})
        self.view = pn.Column(
            self.about,
            plots.flow(self.target, self.row, self.column),
            plots.flow(self.image.plot, *(grid.plot for grid in self.maps.values())),
        )

    def update(self):
        """Compute the maps for another image."""
        side, page, image = self.side, self.side.page, self.side.image
        if image is None:
            return
        if image is not self._shown:  # drawing takes the browser time, which the maps need
            self._shown, self._patch_at = image, None
            for name, grid in self.maps.items():
                grid.plot.title.text = f"{name} ..."
            self.image.show(plots.rgba(image[None]))
        names = side.network.names
        target = names.index(self.target.value) if self.target.value else side.predicted
        patch, baseline = min(page.patch, *image.shape[:2]), BASELINES[page.baseline]

        def show(part):
            name, importance, comparison = part
            title = f"{name}: {comparison.verdict}" if comparison else name
            self.maps[name].show(plots.overlay(image, importance)[None], title=title)

        self.about.say(
            f"What the logit of {names[target]} depends on. Red speaks for it, blue against it. The better a map beats "
            "chance when its pixels are removed in its order, the more it can be trusted. (A map that only marks the "
            "middle of the image, where most objects are, can beat it, too.)"
        )
        side.start("why", lambda: side.network.explanations(image, target, patch, baseline), show)
        if self._patch_at:  # with another size or colour, perhaps
            self.hide(*self._patch_at)

    def hide(self, row, column):
        """Show the image, and the answer to it, with a patch around a pixel."""
        if self.side.image is None:
            return
        side, page, self._patch_at = self.side, self.side.page, (row, column)
        height, width, _ = side.image.shape
        patch = min(page.patch, height, width)
        top, left = (
            int(np.clip(row - patch // 2, 0, height - patch)),
            int(np.clip(column - patch // 2, 0, width - patch)),
        )
        hidden = occlusion.background(side.image, side.network.run.colour(BASELINES[page.baseline]))
        image = side.image.copy()
        image[top : top + patch, left : left + patch] = hidden[top : top + patch, left : left + patch]
        self.image.show(plots.rgba(image[None]))
        self.image.mark(0, (top, left, patch, patch))
        side.answer.show(image, hidden=True)

    def unhide(self):
        """Show the whole image again, and the answer to it, if a part is hidden."""
        if self._patch_at:
            self._patch_at = None
            self.image.show(plots.rgba(self.side.image[None]))
            self.side.answer.show(self.side.image)
