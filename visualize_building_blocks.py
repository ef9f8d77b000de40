"""See what a network is made of: pixels, sliding filters and pooling.

    python visualize_building_blocks.py                      a random test image that is classified correctly
    python visualize_building_blocks.py --index 12           test image 12
    python visualize_building_blocks.py --image my_cat.jpg   your own picture
    python visualize_building_blocks.py --gif                also animations of the filters at work

Draws into figures/ what the articles draw before their first line of Keras: the values of an image's pixels (bernet);
the positions of a window on an image (bernet); how a filter turns a window into one number, and what the filters of the
first convolution find in the image (wang, "The mathematical part"); and what pooling keeps (bernet).
"""

from convnets import cli

FILTERS = 8  # of the first convolution, the strongest ones


def main(argv=None):
    parser = cli.view_options("visualize_building_blocks", description=__doc__)
    cli.image_options(parser)
    parser.add_argument("--gif", action="store_true", help="also animate the strongest filters")
    options = parser.parse_args(argv)

    with cli.importing_keras(options):  # after the options, since importing Keras takes seconds
        from keras import layers, ops
        from sklearn.datasets import load_digits

        from convnets import drawing
        from convnets.views import building_blocks_figures, runs, sliding_filter

    # Network and image
    run = runs.load(**cli.run_settings(options))
    run.describe()
    view = runs.choose_image(run, index=options.index, file=options.image, seed=options.seed)
    filters = sliding_filter.strongest(run.model, view.image, FILTERS)

    # Pooling, on an image small enough to print its numbers: a handwritten zero
    zero = load_digits().images[0]
    poolings = {"max pooling": layers.MaxPooling2D(2), "average pooling": layers.AveragePooling2D(2)}
    pooled = {name: ops.convert_to_numpy(layer(zero[None, ..., None]))[0, ..., 0] for name, layer in poolings.items()}

    # Pictures
    strongest = filters[0]
    arithmetic = f"Filter {strongest.unit} of the first convolution where it responds most to {view.title}"
    pages = {
        f"pixels-{view.slug}": building_blocks_figures.pixels_figure(
            (255 * view.image).round().astype("uint8"), f"Pixels of {view.title}"
        ),
        "window": building_blocks_figures.window_positions_figure(height=5, width=7, window=3),
        f"arithmetic-{view.slug}": building_blocks_figures.arithmetic_figure(strongest, arithmetic),
        f"filters-{view.slug}": building_blocks_figures.filters_figure(filters, f"{run.name}: filters on {view.title}"),
        "pooling": building_blocks_figures.pooling_figure(
            zero, pooled, "Pooling: of each 2 x 2 pixels, the largest or the average"
        ),
    }
    for name, page in pages.items():
        drawing.save(page, options.output_dir / f"{run.name}-{name}.png", show=options.show)
    if options.gif:
        for rank, filtered in enumerate(filters[:3], start=1):
            path = options.output_dir / f"{run.name}-sliding-{view.slug}-{rank}-filter-{filtered.unit}.gif"
            drawing.save_animation(sliding_filter.sliding(filtered), path, enlarged=6)


if __name__ == "__main__":
    cli.run(main)
