"""Draw augmented images."""

from matplotlib.figure import Figure

from convnets import drawing


@drawing.styled()
def augmentation_figure(originals, augmented):
    """Draw an image per row: the original, then its augmented versions.

    originals: (n, h, w, c). augmented: (n, versions, h, w, c). Both float32 in [0, 1].
    """
    n, versions = augmented.shape[:2]
    figure = Figure(figsize=(1.3 * (versions + 1), 1.3 * n + 0.6), layout="constrained")
    drawing.heading(figure, "Training images and augmented versions of them")
    for row, axes_in_row in enumerate(figure.subplots(n, versions + 1, squeeze=False)):
        pictures = [originals[row], *augmented[row]]
        for column, (axes, picture) in enumerate(zip(axes_in_row, pictures, strict=True)):
            drawing.draw_image(axes, picture)
            if row == 0:
                axes.set_title("original" if column == 0 else f"version {column}", fontsize=9)
    return figure
