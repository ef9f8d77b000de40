"""Training: the curves of any runs, which grow while one trains; what a network was after earlier epochs."""

import time

import pandas as pd
import panel as pn

from convnets import files, records
from convnets.explorer import at_hand, plots

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C8C8C")
EVERY = 2000  # milliseconds between two looks at the files


class Trainings:
    """The training runs in models/. page: the page.Page."""

    def __init__(self, page):
        self.page, self._colours = page, {}
        self._network, self._answers = None, {}  # the network of the plots below, and its bars, by epoch
        self.runs = pn.widgets.CheckBoxGroup.from_param(page.param.trainings, name="Runs")
        self.accuracy = plots.Lines("accuracy", "Accuracy (dotted: training images)", "epoch", "accuracy (%)")
        self.loss = plots.Lines("loss", "Loss (dotted: training images)", "epoch", "loss", legend=True, digits="0.000")
        self.rate = plots.Lines("rate", "Learning rate", "epoch", "learning rate", digits="0.000000")
        self.progress = plots.Text()
        self.epochs = plots.flow()
        page.background.when(page, self.update, "trainings")
        curves = plots.flow(self.accuracy.plot, self.loss.plot, self.rate.plot)
        self.view = pn.Column(
            pn.pane.HTML("<h3>Runs, side by side</h3>"),
            self.runs,
            self.progress,
            curves,
            pn.pane.HTML("<h3>The network after earlier epochs</h3>"),
            self.epochs,
            visible=False,
        )
        pn.state.add_periodic_callback(self._look_again, period=EVERY)

    def _look_again(self):
        """Offer runs that are new, and draw what has grown."""
        names = at_hand.names()
        if names != self.page.param.run.objects:
            self.page.param.run.objects, self.page.param.second.objects = names, ["", *names]
            self.page.param.trainings.objects = names
        if self.view.visible:
            self.update()

    def update(self):
        """Read the histories again, and draw them."""
        accuracy, loss, rate, lines = {}, {}, {}, []
        for name in self.page.trainings:
            colour = self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])
            history = read_history(name)
            if history is None:
                continue
            for column, style in (("val_", "solid"), ("", "dotted")):
                if f"{column}accuracy" in history:  # some scripts test after the last epoch only
                    shown = f"{name}, {'test' if column else 'training'} images"
                    tested = history.dropna(subset=f"{column}accuracy")
                    accuracy[shown] = tested["epoch"], 100 * tested[f"{column}accuracy"], colour, style
                    loss[shown] = tested["epoch"], tested[f"{column}loss"], colour, style
            if "learning_rate" in history:
                rate[name] = history["epoch"], history["learning_rate"], colour, "solid"
            lines.append(describe(name, history))
        self.accuracy.show(accuracy)
        self.loss.show(loss)
        self.rate.show(rate)
        self.rate.plot.visible = bool(rate)
        self.progress.say("\n".join(lines))

    def show_epochs(self, side):
        """Show what a network was after the epochs whose checkpoints are kept: first filters, and its answer."""
        network, image, truth = side.network, side.image, self.page.chosen.truth(side.network)

        def show(epochs):
            if network is not self._network:
                self._show_plots(network, epochs)
            for epoch, (_, answer) in epochs.items():
                self._answers[epoch].show(answer, right=truth, wrong=int(answer.argmax()))

        self.page.background.start("epochs", lambda: network.at_epochs(image), show, slow=True)

    def _show_plots(self, network, epochs):
        """Make the plots of another network; they show other images later."""
        self._network, shown = network, []
        self._answers = {
            epoch: plots.Bars(f"answer-{epoch}", f"After epoch {epoch}, not calibrated", network.names)
            for epoch in epochs
        }
        for epoch, (filters, _) in epochs.items():
            if filters is not None:
                grid = plots.Grid(f"filters-{epoch}")
                grid.show(plots.rgba(filters), title=f"First filters after epoch {epoch}")
                shown.append(grid.plot)
            shown.append(self._answers[epoch].plot)
        self.epochs.objects = shown or [plots.Text("No checkpoints of this network are kept.")]


def read_history(name):
    """Return the history of a run, or None before its first epoch. The file is whole at every moment."""
    return records.read_history(at_hand.folder_of(name))


def describe(name, history):
    """Return a line of text: how far a run is, and how long the rest takes."""
    last = history.iloc[-1]
    tested = pd.notna(last.get("val_accuracy"))
    accuracy, images = (last["val_accuracy"], "test") if tested else (last["accuracy"], "training")
    text = f"{name}: {accuracy:.2%} on {images} images after epoch {int(last['epoch'])}"
    folder = at_hand.folder_of(name)
    sessions = records.entry(folder, "sessions")
    epochs = sessions[-1].get("epochs") if sessions else None
    if epochs is None or epochs > files.MOST_EPOCHS:  # older runs do not say how many epochs were asked for
        return text
    an_epoch = history["seconds"].tail(3).mean()
    seconds = (epochs - len(history)) * an_epoch
    if seconds > 0 and time.time() - files.modified(folder / "history.csv") > max(60, 3 * an_epoch):
        return f"{text} of {epochs}, stopped"
    return f"{text} of {epochs}, about {max(1, round(seconds / 60))} min left" if seconds > 0 else f"{text}, finished"
