"""Draw the curves of one training."""

import io
import warnings

from matplotlib.figure import Figure

from convnets import drawing


@drawing.styled()
def training_curves(history, title):
    """Draw accuracy and loss over the epochs. Return the bytes of a PNG file.

    history: pandas.DataFrame with the columns epoch, accuracy and loss, and for epochs that were tested, val_accuracy
    and val_loss.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    drawing.heading(figure, drawing.short(title, 80))
    accuracy, loss = figure.subplots(1, 2)
    for prefix, colour, label in (
        ("", drawing.TRAINING, "training images, during the epoch"),
        ("val_", drawing.TEST, "test images, after the epoch"),
    ):
        if f"{prefix}accuracy" in history:
            tested = history.dropna(subset=f"{prefix}accuracy")
            style = {"color": colour, "label": label}
            accuracy.plot(tested["epoch"], 100 * tested[f"{prefix}accuracy"], ".-", **style)
            loss.plot(tested["epoch"], tested[f"{prefix}loss"], ".-", **style)
    accuracy.set(xlabel="epoch", ylabel="accuracy (%)")
    loss.set(xlabel="epoch", ylabel="loss (categorical cross-entropy)", ylim=(0, None))
    for axes in (accuracy, loss):
        axes.grid()
        axes.legend()
        axes.xaxis.get_major_locator().set_params(integer=True)
    png = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):  # of characters of the title that the font lacks
        figure.savefig(png, format="png", dpi=100)
    return png.getvalue()
