"""See what each layer makes of an image: "Visualizing your CNN", "Partial-output based".

    python visualize_hidden_layer_output.py                      a random test image that is classified correctly
    python visualize_hidden_layer_output.py --index 12           test image 12
    python visualize_hidden_layer_output.py --image my_cat.jpg   your own picture
    python visualize_hidden_layer_output.py --step-by-step       also the activation and pooling layers in between

Draws the feature maps of each convolution into figures/: red where a filter finds its pattern, blue where it finds the
opposite. They get coarser from layer to layer, since pooling halves the resolution. Also counts dead channels: those
that no image of a sample of the test set activates. (Not with --image, which needs no test set.)
"""

from convnets import cli
from convnets.errors import UserError

SAMPLE = 500  # test images, none of which activates a dead channel
MOST_PAGES = 24  # of a deep network; name others with --layer


def main(argv=None):
    parser = cli.view_options("visualize_hidden_layer_output", description=__doc__)
    cli.image_options(parser)
    parser.add_argument("--layer", action="append", metavar="NAME", help="only this layer; can be repeated")
    parser.add_argument("--step-by-step", action="store_true", help="also draw the activation and pooling layers")
    parser.add_argument(
        "--scale",
        choices=["layer", "channel"],
        default="channel",
        help="whether each channel has its own colour scale (the default), or all channels of a layer share one",
    )
    parser.add_argument("--sort", action="store_true", help="draw the strongest channels first")
    options = parser.parse_args(argv)

    with cli.importing_keras(options):  # after the options, since importing Keras takes seconds
        from convnets import drawing
        from convnets.views import feature_maps, feature_maps_figures, introspection, runs

    # Network and image
    run = runs.load(**cli.run_settings(options))
    run.describe()
    view = runs.choose_image(run, index=options.index, file=options.image, seed=options.seed)

    # Partial outputs
    convolutions = {step.name: step.shape[-1] for step in introspection.convolutions(run.model)}
    layers = options.layer or (feature_maps.map_layers(run.model) if options.step_by_step else list(convolutions))
    outputs = feature_maps.layer_outputs(run.model, view.image[None], cli.some_of(layers, MOST_PAGES))
    for name, (output,) in outputs.items():
        if output.ndim != 3:
            raise UserError(f"the layer {name} returns no feature maps: name another --layer")
    fields = feature_maps.receptive_fields(run.model)
    if run.dataset:
        sample = run.dataset.some(run.dataset.x_test, SAMPLE)
        print(f"\nDead channels (zero for all of {len(sample)} test images):")
        for name, channels in feature_maps.dead_channels(run.model, sample).items():
            print(f"  {name}: {len(channels)} of {convolutions[name]}", *channels[:20])
        print()

    # Pictures
    for number, (name, (output,)) in enumerate(outputs.items(), start=1):
        height, width, channels = output.shape
        title = (
            f"{view.title} -> {run.class_names[view.predicted]} ({100 * view.probability:.1f} %)\n"
            f"{name}: {channels} channels of {height} x {width}, receptive field "
            f"{fields[name][0]} x {fields[name][1]}; red: positive, blue: negative"
        )
        page = feature_maps_figures.feature_map_figure(
            output, view.image, title, scale=options.scale, sort=options.sort, original=view.original
        )
        drawing.save(
            page, options.output_dir / f"{run.name}-output-{view.slug}-{number:02}-{name}.png", show=options.show
        )


if __name__ == "__main__":
    cli.run(main)
