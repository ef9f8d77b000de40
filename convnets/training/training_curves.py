"""Draw the curves of one training."""

import io

from matplotlib.figure import Figure


def training_curves(history, title):
    """Draws accuracy and loss over the epochs, and returns the bytes of a PNG file.

    history: pandas.DataFrame with the columns epoch, accuracy, val_accuracy, loss and val_loss.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    figure.suptitle(title)
    accuracy, loss = figure.subplots(1, 2)
    accuracy.plot(history["epoch"], 100 * history["accuracy"], ".-", label="training images, during an epoch")
    accuracy.plot(history["epoch"], 100 * history["val_accuracy"], ".-", label="test images, after it")
    accuracy.set(xlabel="epoch", ylabel="accuracy (%)")
    loss.plot(history["epoch"], history["loss"], ".-", label="training images, during an epoch")
    loss.plot(history["epoch"], history["val_loss"], ".-", label="test images, after it")
    loss.set(xlabel="epoch", ylabel="loss (categorical cross-entropy)", ylim=(0, None))
    for axes in (accuracy, loss):
        axes.grid(alpha=0.3)
        axes.legend()
        axes.xaxis.get_major_locator().set_params(integer=True)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=100)
    return png.getvalue()
