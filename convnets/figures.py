"""Arrays as pictures: PNG files, drawn without a display."""

import contextlib
import io
import tempfile

import matplotlib
import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from PIL import Image

from convnets.errors import UserError

matplotlib.rcParams["text.parse_math"] = False  # a dollar sign in a file's name is one


@contextlib.contextmanager
def _writing(path):
    """For the block that writes a file: makes its folder, and turns what the system refuses into one clear line."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise UserError(f"can't write {path} ({error.strerror}): name another folder with --output-dir") from error


def save(figure, path, *, show=False):
    """Saves a figure as PNG, says where, and opens it in a window when asked to."""
    with _writing(path):
        figure.savefig(path, dpi=100, pil_kwargs={"compress_level": 1})  # half the time for a seventh more bytes
    print(f"Picture: {path}")
    if show:
        import matplotlib.pyplot as plt

        if plt.get_backend().lower() == "agg":
            raise UserError(f"no display to show a window on; the picture is in {path}")
        plt.figure(figsize=figure.get_size_inches(), num=path.name)
        plt.imshow(plt.imread(path))
        plt.axis("off")
        plt.show()


def make_folder(path):
    """Makes a folder for pictures, so that it is known before hours of work whether it can be written to."""
    with _writing(path / "picture"):
        tempfile.TemporaryFile(dir=path).close()


def save_table(table, path):
    """Saves a pandas table as CSV, and says where."""
    with _writing(path):
        table.to_csv(path)
    print(f"Table: {path}")


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
            _draw_image(axes, picture)
            if row == 0:
                axes.set_title("original" if column == 0 else f"version {column}", fontsize=9)
    return figure


def _without_single_channel(image):
    return image[..., 0] if image.shape[-1] == 1 else image


def _draw_image(axes, image, **options):
    """Draws one image, (h, w, channels) uint8, or float in [0, 1], without ticks."""
    limit = 255 if image.dtype == np.uint8 else 1
    axes.imshow(_without_single_channel(image), cmap="gray", vmin=0, vmax=limit, **options)
    axes.set_xticks([])
    axes.set_yticks([])


def _mosaic(cells, columns, empty=1.0):
    """Lays out cells (n, h, w, ...) in rows of so many columns, as one image (rows h, columns w, ...)."""
    n, height, width = cells.shape[:3]
    rows = -(-n // columns)
    cells = np.concatenate([cells, np.full((rows * columns - n, *cells.shape[1:]), empty, cells.dtype)])
    grid = cells.reshape(rows, columns, *cells.shape[1:]).swapaxes(1, 2)
    return grid.reshape(rows * height, columns * width, *cells.shape[3:])


def _mosaic_page(mosaic, title, inches):
    """A figure that a mosaic fills, each pixel so many inches wide, in whose pixels its axes count.

    (One axes for all images: an axes for each takes ten times as long.)
    """
    heading = 0.22 * (title.count("\n") + 2)
    width, height = mosaic.shape[1] * inches, mosaic.shape[0] * inches
    figure = Figure(figsize=(width + 0.2, height + heading + 0.1))
    figure.suptitle(title, y=1 - 0.12 / figure.get_figheight(), fontsize=11)
    axes = figure.add_axes(np.array([0.1, 0.1, width, height]) / np.tile(figure.get_size_inches(), 2))
    _draw_image(axes, mosaic, interpolation="bicubic")
    axes.set_axis_off()
    return figure, axes


def guesses_page(images, results, chosen, title):
    """Draws images, each above its three most probable classes as bars; the true class is blue, a wrong one orange.

    images: (n, h, w, c) uint8. results: an evaluation.Evaluation of them. chosen: up to 12 indices.
    """
    title = f"{title}\nbars: probability in %; blue: the true class, orange: another one"
    if len(chosen) == 0:
        figure = Figure(figsize=(11, 2))
        figure.suptitle(title)
        figure.text(0.5, 0.4, "none", ha="center")
        return figure
    columns = min(6, len(chosen))
    height, width = images.shape[1:3]
    text, bar, gap = 0.55 * height, 0.22 * height, 0.2 * width  # room for them, in pixels
    above, below, right = (int(np.ceil(pixels)) for pixels in (text, 3.6 * bar, gap))
    cells = np.pad(images[chosen], [(0, 0), (above, below), (0, right), (0, 0)], constant_values=255)
    mosaic = _mosaic(cells, columns, empty=255)
    figure, axes = _mosaic_page(mosaic, title, inches=1.8 / cells.shape[2])
    for number, index in enumerate(chosen):
        row, column = divmod(number, columns)
        left, top = column * cells.shape[2] - 0.5, row * cells.shape[1] + above - 0.5
        truth = results.labels[index]
        axes.text(left, top - 1, f"{results.class_names[truth]}\ntest image {index}", fontsize=9, va="bottom")
        best = np.argsort(results.probabilities[index])[:-4:-1]
        share = results.probabilities[index][best]
        middle = top + height + bar * (np.arange(len(best)) + 0.8)
        colours = ["tab:blue" if guess == truth else "tab:orange" for guess in best]
        axes.barh(middle, width, 0.8 * bar, left, color="whitesmoke")
        axes.barh(middle, width * share, 0.8 * bar, left, color=colours)
        for place, guess, part in zip(middle, best, share, strict=True):
            caption = f"{results.class_names[guess]} {100 * part:.1f}"
            axes.text(left + 0.03 * width, place, caption, va="center_baseline", fontsize=8)
    axes.set(xlim=(-0.5, mosaic.shape[1] - 0.5), ylim=(mosaic.shape[0] - 0.5, -0.5))
    return figure


def breakdown_page(breakdown):
    """Draws the table of mistakes twice: as counts, and as shares of each true class.

    breakdown: pandas.DataFrame (classes, classes) of counts, true classes in rows.
    """
    counts = breakdown.to_numpy()
    share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(13, 6.2), layout="constrained")
    figure.suptitle("Which class is taken for which (the colours leave out the diagonal, what is right)")
    for axes, values, title in zip(
        figure.subplots(1, 2), (counts, share), ("images", "% of the images of the true class"), strict=True
    ):
        mistakes = np.where(np.eye(len(counts), dtype=bool), np.nan, values)
        picture = axes.imshow(mistakes, cmap="viridis", vmin=0)
        brightest = np.nanmax(mistakes) if len(counts) > 1 else 0
        for (row, column), value in np.ndenumerate(values):
            dark = row != column and value < brightest / 2
            axes.text(
                column, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color="white" if dark else "black",
                weight="bold" if row == column else "normal",
            )  # fmt: skip
        names = range(len(counts))
        axes.set_xticks(names, breakdown.columns, rotation=45, ha="right")
        axes.set_yticks(names, breakdown.index)
        axes.set(xlabel="predicted class", ylabel="true class", title=title)
        figure.colorbar(picture, ax=axes, shrink=0.7, label=title)
    return figure


def accuracy_per_class_page(accuracy_per_class, accuracy):
    """Draws the share of each class's images that is predicted right, best first.

    accuracy_per_class: pandas.Series by class name, in [0, 1]. accuracy: over all images.
    """
    shares = 100 * accuracy_per_class.dropna().sort_values()
    figure = Figure(figsize=(7, 0.35 * len(shares) + 1.4), layout="constrained")
    axes = figure.subplots()
    axes.barh(shares.index, shares, color="tab:blue")
    for place, share in enumerate(shares):
        axes.text(share - 1, place, f"{share:.1f}", ha="right", va="center", color="white", fontsize=9)
    axes.axvline(100 * accuracy, color="black", linestyle="--", label=f"all classes: {accuracy:.1%}")
    axes.set(title="Accuracy by class", xlabel="test images predicted right (%)", xlim=(0, 100))
    axes.legend(loc="lower left")
    return figure


def reliability_page(reliability, calibration_error):
    """Draws how often the network is right against how sure it is, and how many images each bin has.

    reliability, calibration_error: what evaluation.Evaluation.reliability returns.
    """
    figure = Figure(figsize=(6, 6.5), layout="constrained")
    figure.suptitle(
        f"Is it right as often as it is sure?\nexpected calibration error {100 * calibration_error:.1f} points"
    )
    upper, lower = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    width = 100 * (reliability["to"] - reliability["from"])
    bars = {"x": 100 * reliability["from"], "width": width, "align": "edge", "edgecolor": "white"}
    upper.bar(height=100 * reliability["accuracy"], color="tab:blue", label="right", **bars)
    upper.plot(100 * reliability["confidence"], 100 * reliability["confidence"], "o", color="tab:orange", label="sure")
    upper.plot([0, 100], [0, 100], "--", color="black", linewidth=1)
    upper.set(ylabel="images predicted right (%)", xlim=(0, 100), ylim=(0, 100))
    upper.legend(loc="upper left")
    lower.bar(height=reliability["images"], color="tab:gray", **bars)
    lower.set(xlabel="probability of the predicted class (%)", ylabel="images")
    return figure


def _draw_map(figure, axes, image, values, title, unit):
    """Draws a map over a grey version of its image: red raises the score, blue lowers it, zero leaves it grey."""
    axes.imshow(image.mean(axis=-1), cmap="gray", vmin=0, vmax=1)
    limit = np.abs(values).max() or 1
    picture = axes.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, alpha=0.75)
    axes.set(title=title, xticks=[], yticks=[])
    figure.colorbar(picture, ax=axes, shrink=0.8, label=unit)


def _draw_removal(axes, removals, kind):
    """Draws a class's probability while pixels go, or come, in each of several orders."""
    for (label, curves), style in zip(removals.items(), ("-", ":", "--"), strict=True):
        area = getattr(curves, f"{kind}_area")
        axes.plot(100 * curves.shares, 100 * getattr(curves, kind), style, label=f"{label}: area {area:.2f}")
    good = {"deletion": "low", "insertion": "high"}[kind]
    done = {"deletion": "removed", "insertion": "inserted"}[kind]
    axes.set(title=f"{kind.capitalize()} (good: {good})", ylim=(0, 100), xlim=(0, 100))
    axes.set(xlabel=f"pixels {done} (%)", ylabel="probability (%)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.15))  # below: the curves may go anywhere


def importance_page(image, probability_drop, logit_drop, predictions, class_names, removals, title, original=None):
    """Draws what hiding parts of an image does to a network's answer, and how far to trust the map.

    image: (h, w, c) float32. probability_drop, logit_drop: (h, w). predictions: (rows, columns) of patches, the class
    that each hidden patch turns the answer into. removals: {order: occlusion.Removal}, the map's first.
    original: a reader's own picture, to be drawn beside what the network sees of it.
    """
    figure = Figure(figsize=(13, 8), layout="constrained")
    figure.suptitle(title)
    upper, lower = figure.subplots(2, 3)
    _draw_image(upper[0], image)
    upper[0].set_title("what the network sees")
    if original is not None:
        _draw_image(upper[0].inset_axes((-0.45, 0.6, 0.4, 0.4)), original)
    _draw_map(figure, upper[1], image, 100 * probability_drop, "what the probability loses", "percentage points")
    _draw_map(figure, upper[2], image, logit_drop, "what the logit loses", "logit")
    _draw_classes(lower[0], predictions, class_names)
    _draw_removal(lower[1], removals, "deletion")
    _draw_removal(lower[2], removals, "insertion")
    return figure


def _draw_classes(axes, predictions, class_names):
    colours = colormaps["tab10" if len(class_names) <= 10 else "tab20"]
    axes.imshow(predictions, cmap=colours, vmin=0, vmax=colours.N - 1, interpolation="nearest")
    present, counts = np.unique(predictions, return_counts=True)
    handles = [
        Patch(color=colours(index), label=f"{class_names[index]} {count / predictions.size:.1%}")
        for index, count in sorted(zip(present, counts, strict=True), key=lambda pair: -pair[1])
    ]
    axes.legend(handles=handles, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    changes = len(present) > 1
    title = "the answer with each patch hidden" if changes else "no hidden patch changes the answer"
    axes.set(title=title, xlabel="patch, from the left", ylabel="patch, from the top")


def comparison_page(image, maps, removals, title):
    """Draws several explanations of one answer under each other, with the same scores.

    maps: {name: (map (h, w), unit)}. removals: {name: {order: occlusion.Removal}}.
    """
    figure = Figure(figsize=(12, 3.6 * len(maps) + 0.6), layout="constrained")
    figure.suptitle(title)
    for axes, (name, (values, unit)) in zip(figure.subplots(len(maps), 3, squeeze=False), maps.items(), strict=True):
        _draw_map(figure, axes[0], image, values, name, unit)
        _draw_removal(axes[1], removals[name], "deletion")
        _draw_removal(axes[2], removals[name], "insertion")
    return figure


def feature_map_page(output, image, title, *, scale="layer", original=None):
    """Draws all channels of a layer's output for an image: red above zero, blue below, white at zero.

    output: (h, w, channels). scale: "layer", one for all channels, or "channel", each its own.
    """
    height, _, channels = output.shape
    columns = 2 ** int(np.ceil(np.log2(np.sqrt(2 * channels))))  # twice as wide as high, or square
    rows = -(-channels // columns)
    if scale == "channel":
        output = output / np.maximum(np.abs(output).max(axis=(0, 1)), 1e-12)
    gap = [(0, 0), (0, 1), (0, 1)]  # a pixel wide, between two channels
    mosaic = _mosaic(np.pad(output.transpose(2, 0, 1), gap, constant_values=np.nan), columns, empty=np.nan)

    # All places in inches: the mosaic's shape decides how high the page is, but the left column must fit.
    pictures = [("what the network sees", image)] + ([] if original is None else [("your picture", original)])
    mosaic_height = 9.4 * mosaic.shape[0] / mosaic.shape[1]
    figure = Figure(figsize=(13, max(mosaic_height, 2 * len(pictures)) + 0.9))
    figure.suptitle(title, y=1 - 0.15 / figure.get_figheight())

    def axes_at(left, top, width, height):
        bottom = figure.get_figheight() - top - height
        inches = np.array([left, bottom, width, height])
        return figure.add_axes(inches / np.tile(figure.get_size_inches(), 2))

    for place, (name, shown) in enumerate(pictures):
        axes = axes_at(0.2, 1 + 2 * place, 1.5, 1.6)
        _draw_image(axes, shown)
        axes.set_title(name, fontsize=9)
    limit = np.nanquantile(np.abs(mosaic), 0.995) or 1  # a few extreme pixels would pale all others
    axes = axes_at(2.5, 0.8, 9.4, mosaic_height)
    colours = axes.imshow(mosaic, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    axes.set_facecolor("lightgray")
    axes.set_xticks([])
    axes.set_yticks(np.arange(rows) * (height + 1) + height / 2, np.arange(rows) * columns)
    axes.set_ylabel("first channel in the row")
    label = "output" if scale == "layer" else "output, as a share of the channel's largest"
    figure.colorbar(colours, cax=axes_at(12.1, 0.8, 0.15, mosaic_height), label=label, extend="both")
    return figure


def unit_page(made, real, titles, title):
    """Draws, for each unit, the image made for it, and beside it the real images that excite it most.

    made: (n, h, w, c) float32 in [0, 1]. real: (n, m, h, w, c) uint8, or None. titles: n short texts.
    """
    n, height, width, channels = made.shape
    tiles = made[:, None] if real is None else np.concatenate([made[:, None], real / 255], axis=1)
    columns = min(n, max(1, 12 // tiles.shape[1]))
    text = height // 3  # room for it, in pixels
    cells = np.pad(tiles, [(0, 0), (0, 0), (text, 0), (0, 1), (0, 0)], constant_values=1)
    cells = cells.swapaxes(1, 2).reshape(n, text + height, -1, channels)
    cells = np.pad(cells, [(0, 0), (0, 0), (0, width // 8), (0, 0)], constant_values=1)
    figure, axes = _mosaic_page(_mosaic(cells, columns), title, inches=11 / max(columns * cells.shape[2], 8 * width))
    for number, caption in enumerate(titles):
        row, column = divmod(number, columns)
        left, bottom = column * cells.shape[2], row * cells.shape[1] + text - 2
        axes.text(left, bottom, caption, fontsize=8, va="bottom")
    return figure


def save_animation(frames, path, *, enlarged=3):
    """Saves frames (steps, n, h, w, c) of n images beside each other, float32 in [0, 1], as a GIF that starts again.

    enlarged: how many pixels wide and high each pixel becomes.
    """
    frames = np.pad(frames, [(0, 0), (0, 0), (1, 1), (1, 1), (0, 0)], constant_values=1)
    mosaics = [
        _mosaic(images, min(8, len(images))).repeat(enlarged, axis=0).repeat(enlarged, axis=1) for images in frames
    ]
    pictures = [Image.fromarray(_without_single_channel((255 * mosaic).round().astype("uint8"))) for mosaic in mosaics]
    durations = [80] * (len(pictures) - 1) + [2000]  # milliseconds
    with _writing(path):
        pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=durations, loop=0)
    print(f"Animation: {path}")


def comparison_chart(table):
    """Draws what was published and what was measured, a panel for each dataset.

    table: pandas.DataFrame, what comparison.compare returns.
    """
    groups = [group for _, group in table.groupby("dataset")]
    heights = [len(group) + 1.6 for group in groups]
    figure = Figure(figsize=(9, 0.36 * sum(heights) + 1.2), layout="constrained")
    figure.suptitle("Test accuracy after the last epoch: what the articles print, and what was measured here")
    for axes, group in zip(
        figure.subplots(len(groups), 1, height_ratios=heights, squeeze=False)[:, 0], groups, strict=True
    ):
        places = np.arange(len(group))[::-1]  # the best one on top
        published = group["low"].notna().to_numpy()
        axes.hlines(places[published], group["low"][published], group["high"][published], color="moccasin", linewidth=9)
        exact = (group["low"] == group["high"]).to_numpy()
        axes.plot(group["low"][exact], places[exact], "D", color="tab:orange", markersize=8)
        axes.hlines(places, group["lowest"], group["highest"], color="tab:blue", linewidth=1)
        axes.plot(group["measured"], places, "o", color="tab:blue")
        names = [f"{row.network}\n{row.published or 'no number printed'}" for row in group.itertuples()]
        axes.set_yticks(places, names, fontsize=8)
        axes.set(xlabel="test accuracy (%)", title=group["dataset"].iloc[0], ylim=(-0.8, len(group) - 0.2))
        axes.grid(alpha=0.3)
    figure.legend(
        handles=[
            Line2D([], [], color="tab:blue", marker="o", linewidth=1, label="measured: mean, lowest and highest seed"),
            Line2D([], [], color="tab:orange", marker="D", linestyle="", label="published"),
            Line2D([], [], color="moccasin", linewidth=9, label="published as a range"),
        ],
        loc="outside lower center",
        ncols=3,
    )
    return figure


LABELS = {"accuracy": "accuracy (%)", "loss": "loss (categorical cross-entropy)"}


def learning_curves(histories, quantity, *, lowest=None):
    """Draws how several networks learned, beside each other.

    histories: {title: [pandas.DataFrame, a row an epoch, for each seed]}. quantity: "accuracy" or "loss".
    lowest: where the axis of accuracies begins, in percent.
    """
    columns = min(4, len(histories))
    rows = -(-len(histories) // columns)
    figure = Figure(figsize=(max(3.2 * columns, 5), 2.8 * rows + 0.9), layout="constrained")
    figure.suptitle(f"{quantity.capitalize()} over the epochs, a line for each seed")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    scale = 100 if quantity == "accuracy" else 1
    curves = [
        (quantity, "training images, while training", "tab:blue"),
        (f"held_out_{quantity}", "training images held out", "tab:green"),
        (f"val_{quantity}", "test images", "tab:orange"),
    ]
    present = {column for seeds in histories.values() for history in seeds for column in history}
    curves = [curve for curve in curves if curve[0] in present]
    for axes, (title, seeds) in zip(grid, histories.items(), strict=False):
        for history in seeds:
            for column, _, colour in curves:
                if column in history:
                    axes.plot(history["epoch"], scale * history[column], color=colour, linewidth=1, alpha=0.8)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("epoch")
        if quantity == "loss":
            axes.set_ylim(bottom=0)
        elif lowest is not None:
            axes.set_ylim(lowest, 100)
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
    for axes in grid[len(histories) :]:
        axes.set_axis_off()
    for axes in grid[::columns]:
        axes.set_ylabel(LABELS[quantity])
    handles = [Line2D([], [], color=colour, label=label) for _, label, colour in curves]
    figure.legend(handles=handles, loc="outside lower center", ncols=3 if columns > 2 else 1, fontsize=9)
    return figure


def pixels_page(image, title):
    """Draws an image, and how often its pixels have each value, as bytes and as the network gets them.

    image: (h, w, c) uint8.
    """
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    figure.suptitle(title)
    left, *histograms = figure.subplots(1, 3, width_ratios=[1, 1.6, 1.6])
    _draw_image(left, image)
    channels = [("pixels", "black")] if image.shape[-1] == 1 else list(zip(CHANNELS, CHANNEL_COLOURS, strict=True))
    for axes, values, most, name in (
        (histograms[0], image, 255, "as bytes"),
        (histograms[1], image / 255, 1, "divided by 255, as the network gets them"),
    ):
        for channel, (label, colour) in enumerate(channels):
            axes.hist(
                values[..., channel].ravel(), bins=32, range=(0, most), histtype="step", color=colour, label=label
            )
        axes.set(title=name, xlabel="value of a pixel", ylabel="pixels", xlim=(-0.02 * most, 1.02 * most))
        axes.legend()
    return figure


CHANNELS = ("red", "green", "blue")
CHANNEL_COLOURS = ("tab:red", "tab:green", "tab:blue")


def window_positions_page(height, width, window):
    """Draws each place that a square window can take on an image: as many as the output of a convolution has pixels."""
    rows, columns = height - window + 1, width - window + 1
    figure = Figure(figsize=(1.4 * columns, 1.4 * rows * height / width + 1.1), layout="constrained")
    figure.suptitle(
        f"A window of {window} x {window} on {width} x {height} pixels\n{width} - {window} + 1 = {columns} places "
        f"from left to right, {height} - {window} + 1 = {rows} from top to bottom"
    )
    for (row, column), axes in np.ndenumerate(figure.subplots(rows, columns, squeeze=False)):
        pixels = np.zeros((height, width))
        pixels[row : row + window, column : column + window] = 1
        axes.pcolormesh(pixels, cmap="Blues", vmin=0, vmax=1.6, edgecolors="gray", linewidth=0.5)
        axes.invert_yaxis()
        axes.set_aspect("equal")
        axes.set_axis_off()
        axes.set_title(f"row {row}, column {column}", fontsize=8)
    return figure


def pooling_page(values, pooled, title):
    """Draws a small image with its numbers, and what poolings make of it.

    values: (h, w). pooled: {name: (h / 2, w / 2)}.
    """
    figure = Figure(figsize=(4.2 * (1 + len(pooled)), 4.6), layout="constrained")
    figure.suptitle(title)
    grids = {"pixels": values, **pooled}
    for axes, (name, grid) in zip(figure.subplots(1, len(grids)), grids.items(), strict=True):
        _draw_numbers(axes, grid, cmap="viridis", vmin=0, vmax=values.max())
        axes.set_title(name)
    for edge in np.arange(2, values.shape[0], 2) - 0.5:
        figure.axes[0].axhline(edge, color="white", linewidth=2)
        figure.axes[0].axvline(edge, color="white", linewidth=2)
    return figure


def _draw_numbers(axes, grid, **colours):
    """Draws a small array as coloured fields with their numbers."""
    picture = axes.imshow(grid, **colours)
    for (row, column), value in np.ndenumerate(grid):
        red, green, blue, _ = picture.to_rgba(value)
        dark = 0.3 * red + 0.6 * green + 0.1 * blue < 0.5
        text = f"{round(value, 3) + 0.0:.3f}".rstrip("0").rstrip(".")  # adding 0 turns -0 into 0
        axes.text(column, row, text, ha="center", va="center", fontsize=9, color="white" if dark else "black")
    axes.set_xticks([])
    axes.set_yticks([])


def arithmetic_page(filtered, title):
    """Draws how a filter turns one window of an image into one number, channel by channel.

    filtered: a filtering.Filtered.
    """
    place = filtered.place
    window, corner = filtered.window(place), filtered.corner(place)
    channels = window.shape[-1]
    figure = Figure(figsize=(14, 2.4 * channels + 1.6), layout="constrained")
    figure.suptitle(title)
    left, middle, right = figure.subfigures(1, 3, width_ratios=[1.1, 2.2, 1.1])
    axes = left.subplots()
    _draw_image(axes, filtered.picture)
    axes.add_patch(_box(corner, window.shape[:2]))
    axes.set_title("the window on the image")

    pixels, limit = filtered.image, np.abs(filtered.kernel).max()
    products = window * filtered.kernel
    most = np.abs(products).max()
    grid = middle.subplots(channels, 3, squeeze=False)
    for channel, row in enumerate(grid):
        name = "pixels" if channels == 1 else CHANNELS[channel]
        _draw_numbers(row[0], window[..., channel], cmap="gray", vmin=min(pixels.min(), 0), vmax=max(pixels.max(), 1))
        _draw_numbers(row[1], filtered.kernel[..., channel], cmap="RdBu_r", vmin=-limit, vmax=limit)
        _draw_numbers(row[2], products[..., channel], cmap="RdBu_r", vmin=-most, vmax=most)
        row[0].set_ylabel(name)
        row[2].set_xlabel(f"sum {products[..., channel].sum():+.3f}")
    for axes, heading in zip(grid[0], ("pixels in the window", "times the filter", "products"), strict=True):
        axes.set_title(heading)

    axes = right.subplots()
    _draw_response(axes, filtered)
    axes.add_patch(_box(place, (1, 1)))
    axes.set_title("everywhere on the image")
    axes.set_xlabel(
        f"sums {products.sum():+.3f}, bias {filtered.bias:+.3f}:\n{filtered.response[place]:.3f} in the box"
    )
    return figure


def _box(corner, size):
    return Rectangle((corner[1] - 0.5, corner[0] - 0.5), size[1], size[0], fill=False, color="gold", linewidth=2)


def _draw_response(axes, filtered):
    limit = filtered.limit
    axes.imshow(filtered.response, cmap="RdBu_r", vmin=-limit, vmax=limit)
    axes.set_xticks([])
    axes.set_yticks([])


def kernels_page(filters, title):
    """Draws some filters of a first convolution, and where in an image each finds what it looks for: red, or blue, the
    opposite.

    filters: list of filtering.Filtered of one image.
    """
    figure = Figure(figsize=(1.7 * (len(filters) + 1), 5.6), layout="constrained")
    figure.suptitle(title)
    grid = figure.subplots(3, len(filters) + 1)
    _draw_image(grid[1, 0], filters[0].picture)
    grid[1, 0].set_title("image", fontsize=9)
    for axes in grid[[0, 2], 0]:
        axes.set_axis_off()
    for column, filtered in zip(grid[:, 1:].T, filters, strict=True):
        limit = np.abs(filtered.kernel).max() or 1
        _draw_image(column[0], 0.5 + filtered.kernel / (2 * limit))  # grey is zero
        _draw_response(column[1], filtered)
        column[2].imshow(np.maximum(filtered.response, 0), cmap="gray", vmin=0, vmax=filtered.limit)
        column[2].set_xticks([])
        column[2].set_yticks([])
        column[0].set_title(f"filter {filtered.unit}", fontsize=9)
    for axes, name in zip(grid[:, 1], ("filter", "response", "after ReLU"), strict=True):
        axes.set_ylabel(name)
    return figure


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
