"""Draw the curves of one training."""

import io

from matplotlib.figure import Figure

from convnets import drawing


@drawing.styled()
def training_curves(history, title):
    """Draw accuracy and loss over the epochs. Return the bytes of a PNG file.

    history: pandas.DataFrame with the columns epoch, accuracy, val_accuracy, loss and val_loss.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    drawing.heading(figure, title)
    accuracy, loss = figure.subplots(1, 2)
    accuracy.plot(
        history["epoch"],
        100 * history["accuracy"],
        ".-",
        color=drawing.TRAINING,
        label="training images, during the epoch",
    )
    accuracy.plot(
        history["epoch"], 100 * history["val_accuracy"], ".-", color=drawing.TEST, label="test images, after the epoch"
    )
    accuracy.set(xlabel="epoch", ylabel="accuracy (%)")
    loss.plot(
        history["epoch"], history["loss"], ".-", color=drawing.TRAINING, label="training images, during the epoch"
    )
    loss.plot(history["epoch"], history["val_loss"], ".-", color=drawing.TEST, label="test images, after the epoch")
    loss.set(xlabel="epoch", ylabel="loss (categorical cross-entropy)", ylim=(0, None))
    for axes in (accuracy, loss):
        axes.grid()
        axes.legend()
        axes.xaxis.get_major_locator().set_params(integer=True)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=100)
    return png.getvalue()
