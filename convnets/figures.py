"""Arrays as pictures: PNG files, drawn without a display."""

import io

from matplotlib.figure import Figure

from convnets.errors import UserError


def save(figure, path, *, show=False):
    """Saves a figure as PNG, says where, and opens it in a window when asked to."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=100)
    except OSError as error:
        raise UserError(f"can't write {path} ({error.strerror}): name another folder with --output-dir") from error
    print(f"Picture: {path}")
    if show:
        import matplotlib.pyplot as plt

        if plt.get_backend().lower() == "agg":
            raise UserError(f"no display to show a window on; the picture is in {path}")
        plt.figure(figsize=figure.get_size_inches(), num=path.name)
        plt.imshow(plt.imread(path))
        plt.axis("off")
        plt.show()


def augmentation_page(originals, augmented):
    """Draws each image in a row of its own, the original first, then its augmented versions.

    originals: (n, h, w, c). augmented: (n, versions, h, w, c). Both float32 in [0, 1].
    """
    n, versions = augmented.shape[:2]
    figure = Figure(figsize=(1.3 * (versions + 1), 1.3 * n + 0.6), layout="constrained")
    figure.suptitle("What the network is fed: each time another version of the image")
    for row, axes_in_row in enumerate(figure.subplots(n, versions + 1, squeeze=False)):
        pictures = [originals[row], *augmented[row]]
        for column, (axes, picture) in enumerate(zip(axes_in_row, pictures, strict=True)):
            axes.imshow(picture.squeeze(), cmap="gray", vmin=0, vmax=1)  # the grey map is for one channel only
            axes.set_xticks([])
            axes.set_yticks([])
            if row == 0:
                axes.set_title("original" if column == 0 else f"version {column}", fontsize=9)
    return figure


def training_curves(history, title):
    """Draws accuracy and loss over the epochs, and returns the bytes of a PNG file.

    history: pandas.DataFrame with the columns epoch, accuracy, val_accuracy, loss and val_loss.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    figure.suptitle(title)
    accuracy, loss = figure.subplots(1, 2)
    accuracy.plot(history["epoch"], 100 * history["accuracy"], ".-", label="training images, with dropout")
    accuracy.plot(history["epoch"], 100 * history["val_accuracy"], ".-", label="test images")
    accuracy.set(xlabel="epoch", ylabel="accuracy (%)")
    loss.plot(history["epoch"], history["loss"], ".-", label="training images, with dropout")
    loss.plot(history["epoch"], history["val_loss"], ".-", label="test images")
    loss.set(xlabel="epoch", ylabel="loss (categorical cross-entropy)", ylim=(0, None))
    for axes in (accuracy, loss):
        axes.grid(alpha=0.3)
        axes.legend()
        axes.xaxis.get_major_locator().set_params(integer=True)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=100)
    return png.getvalue()
