"""Draw what a search among networks found."""

import json

import matplotlib.ticker
from matplotlib.figure import Figure

from convnets import drawing


@drawing.styled()
def search_page(trials, importances, front):
    """Draw a search: how each network learned, which settings mattered, and accuracy against seconds.

    trials: pandas.DataFrame, what search.table returns. importances: {setting: share}. front: some of the trials.
    """
    figure = Figure(figsize=(14, 5), layout="constrained")
    trained = trials[trials["curve"].notna()]
    best = trained.iloc[0]
    title = f"{len(trials)} networks, {len(trials) - len(trained)} of them given up at once"
    note = f"Best: {best['accuracy']:.1%} of held-out images after {best['epochs']} epochs"
    if "finalist_accuracy" in trials:
        note += f"; {best['finalist_accuracy']:.1%} as a finalist, trained for longer"
    drawing.heading(figure, f"{title}\n{note}")
    curves, bars, scatter = figure.subplots(1, 3)

    for _, trial in trained[::-1].iterrows():
        curve = [100 * accuracy for accuracy in json.loads(trial["curve"])]
        is_best = trial.name == best.name
        style = {"color": drawing.HELD_OUT, "zorder": 3} if is_best else {"color": "#B8B8B8", "linewidth": 1}
        curves.plot(range(1, len(curve) + 1), curve, marker="o", markersize=3, **style)
    curves.set(xlabel="epoch", ylabel="accuracy of held-out images (%)", title="Each network; the best in green")
    curves.xaxis.get_major_locator().set_params(integer=True)

    shown = list(importances.items())[:10][::-1]
    bars.barh([name.replace("_", " ") for name, _ in shown], [share for _, share in shown], color=drawing.HELD_OUT)
    bars.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5))
    bars.set(xlabel="importance (fANOVA)", title="What mattered in the first epoch")
    if not shown:
        bars.text(0.5, 0.5, "too few networks to say", ha="center", transform=bars.transAxes)

    scatter.scatter(trained["seconds_an_epoch"], 100 * trained["accuracy"], s=18, color="#B8B8B8", label="a network")
    scatter.plot(
        front["seconds_an_epoch"],
        100 * front["accuracy"],
        "o-",
        color=drawing.HELD_OUT,
        label="the front, fully trained",
    )
    scatter.set(xlabel="seconds an epoch, on one core", title="Accuracy against seconds", xscale="log")
    scatter.xaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
    scatter.xaxis.set_major_formatter(matplotlib.ticker.ScalarFormatter())
    scatter.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    figure.legend(*scatter.get_legend_handles_labels(), loc="outside lower right", ncols=2)
    return figure
