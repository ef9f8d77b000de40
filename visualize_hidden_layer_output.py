"""See what each layer makes of an image: "Visualizing your CNN", "Partial-output based".

    python visualize_hidden_layer_output.py                      a random test image that is predicted right
    python visualize_hidden_layer_output.py --index 12           this one
    python visualize_hidden_layer_output.py --image my_cat.jpg   your own picture
    python visualize_hidden_layer_output.py --step-by-step       also the activations and poolings between

Draws a page for each convolution into figures/: all its channels, red where the filter finds what it looks
for, blue where it finds the opposite. The pages' pixels grow from layer to layer, since pooling halves the
resolution. Also counts the dead channels: those that no image of a sample of the test set activates.
"""

from convnets import cli

SAMPLE = 500  # test images among which a dead channel finds nothing


def main(argv=None):
    parser = cli.view_options("visualize_hidden_layer_output", description=__doc__)
    cli.image_options(parser)
    parser.add_argument("--step-by-step", action="store_true", help="also draw the activations and poolings between")
    parser.add_argument(
        "--scale",
        choices=["layer", "channel"],
        default="layer",
        help="whether all channels of a layer share one colour scale (the default), or each has its own",
    )
    options = parser.parse_args(argv)

    with cli.importing_keras():  # after the options, since importing Keras takes seconds
        from convnets import drawing
        from convnets.views import feature_maps, feature_maps_figures, runs

    # Network and image
    run = runs.load(options.run, options.dataset, options.data_dir)
    run.describe()
    view = runs.choose_image(run, index=options.index, file=options.image, seed=options.seed)

    # Partial outputs
    layers = feature_maps.map_layers(run.model) if options.step_by_step else None
    outputs = feature_maps.layer_outputs(run.model, view.image[None], layers)
    fields = feature_maps.receptive_fields(run.model)
    dead = feature_maps.dead_channels(run.model, run.dataset.x_test[:SAMPLE])
    print(f"\nDead channels, which none of {min(SAMPLE, len(run.dataset.x_test))} test images activates:")
    for name, channels in dead.items():
        print(f"  {name}: {len(channels)} of {run.model.get_layer(name).output.shape[-1]}", *channels[:20])
    print()

    # Pictures
    for number, (name, (output,)) in enumerate(outputs.items(), start=1):
        height, width, channels = output.shape
        title = (
            f"{name}: {channels} channels of {height} x {width}; each pixel sees "
            f"{fields[name][0]} x {fields[name][1]} of the image's pixels\n{view.title}, "
            f"predicted as {run.dataset.class_names[view.predicted]} ({view.probability:.1%})"
        )
        page = feature_maps_figures.feature_map_figure(
            output, view.image, title, scale=options.scale, original=view.original
        )
        drawing.save(
            page, options.output_dir / f"{run.name}-output-{view.slug}-{number:02}-{name}.png", show=options.show
        )


if __name__ == "__main__":
    cli.run(main)
