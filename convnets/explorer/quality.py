"""How good: the confusion matrix, the accuracy of each class, which layer confuses two classes, reliability."""

import numpy as np
import panel as pn

from convnets import drawing
from convnets.explorer import plots


class Quality:
    """The results of one network on its test images. side: the side.Side that they belong to."""

    def __init__(self, side):
        self.side, names = side, side.network.names
        unknown = "No test images are known for this network."
        self.sentence = plots.Text("Evaluating on the test images ..." if side.network.run.dataset else unknown)
        self.matrix = plots.Grid(f"confusion{side.number}", "Confusion, a row for each true class", on_pick=self._pick)
        self.classes = plots.Bars(f"classes{side.number}", "Accuracy of each class", names)
        self.reliability = plots.Lines(
            f"reliability{side.number}",
            "Reliability",
            "confidence (%)",
            "accuracy (%)",
            x_range=(0, 100),
            y_range=(0, 100),
        )
        self.layers = plots.Lines(f"layers{side.number}", "", "layer", "told apart (%)", y_range=(45, 101))
        options = {name: number for number, name in enumerate(names)}
        self.true = pn.widgets.Select(name="True class", options=options, value=0, width=150)
        self.other = pn.widgets.Select(name="Taken for", options=options, value=min(1, len(names) - 1), width=150)
        see = pn.widgets.Button(name="Show these images", width=150, align="end")
        side.page.background.when(see, lambda: self._choose(self.true.value, self.other.value), "clicks")
        self.view = pn.Column(
            self.sentence,
            plots.flow(self.true, self.other, see),
            plots.flow(self.matrix.plot, self.layers.plot, self.classes.plot, self.reliability.plot),
        )
        self._shown = False

    def update(self):
        """Evaluate the network, once; another image changes nothing."""
        if self.side.network.run.dataset and not self._shown:
            self.side.start("results", lambda: self.side.network.results, self._show, slow=True)

    def _show(self, results):
        self._shown, names = True, self.side.network.names
        counts = results.confusion_matrix().to_numpy()
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        signed = np.where(np.eye(len(counts)), -shares / 2, 3 * shares)  # right answers are blue, mistakes red
        coloured = plots.diverging(signed, 1)
        labels = [str(count) for count in counts.ravel()] if len(names) <= 12 else None
        cells = np.repeat(np.repeat(coloured.reshape(-1, 1, 1), 8, axis=1), 8, axis=2)
        self.matrix.show(cells, columns=len(names), labels=labels)
        self.matrix.name_cells(names, names)
        self.classes.show(results.accuracy_per_class)  # no bar for a class without test images
        table, error = results.reliability()
        self.reliability.show(
            {
                "this network": (100 * table["confidence"], 100 * table["accuracy"], drawing.TEST, "solid"),
                "ideal": ([0, 100], [0, 100], drawing.TRAINING, "dashed"),
            }
        )
        confused = results.most_confused(1)
        self.sentence.say(
            f"Test accuracy {results.accuracy:.2%} of {len(results.labels)} images. "
            f"Expected calibration error {100 * error:.1f} points."
        )
        if len(confused):
            worst = confused.iloc[0]
            self.sentence.add(f"\nMost confused: {worst['true']}, taken for {worst['predicted']}.")
            true, predicted = names.index(worst["true"]), names.index(worst["predicted"])
            if predicted in results.labels:  # a class without test images can't be told from another one
                self._choose(true, predicted, gallery=False)

    def _pick(self, place):
        self._choose(*divmod(place, len(self.side.network.names)))

    def _choose(self, true, other, *, gallery=True):
        names = self.side.network.names
        self.true.value, self.other.value = true, other
        self.matrix.mark(true * len(names) + other)
        if gallery:
            self.side.page.chooser.show_confused(self.side.network, true, other)
        if true != other:
            title = f"Which layer tells {names[true]} from {names[other]}?"
            self.side.start(
                "separability",
                lambda: self.side.network.separability((true, other)),
                lambda shares: self._show_layers(shares, title),
                slow=True,
            )

    def _show_layers(self, shares, title):
        self.layers.plot.title.text = plots.plain(title)
        plots.name_axis(self.layers.plot.xaxis, shares)
        self.layers.plot.xaxis.major_label_orientation = 0.9
        percentages = [100 * share for share in shares.values()]
        self.layers.show({"told apart": (range(len(shares)), percentages, drawing.TEST, "solid")})
