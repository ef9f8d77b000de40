"""See what each filter looks for: "Visualizing your CNN", "Activation based".

    python visualize_hidden_layer_activation.py                    16 units of each convolution and dense layer
    python visualize_hidden_layer_activation.py --method plain     the article's way of looking for them
    python visualize_hidden_layer_activation.py --layer conv4 --units all

Draws into figures/, for each layer, the images that excite its units most, found by gradient ascent: start from
noise, ask in which direction the unit's output grows, go there, and again.
"""

import argparse

from convnets import cli


def units(text):
    """A number of units, "all", or their indices with commas between: "16", "3,5,8"."""
    parts = text.split(",")
    if text != "all" and not all(part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is neither all, a number of units, nor indices as in 3,5,8")
    return text


def main(argv=None):
    parser = cli.looking_options("visualize_hidden_layer_activation", description=__doc__)
    parser.add_argument("--layer", action="append", metavar="NAME", help="only this layer; can be repeated")
    parser.add_argument(
        "--units",
        type=units,
        default="16",
        metavar="N",
        help="how many of each layer, all, or which: 3,5,8 (default: 16)",
    )
    parser.add_argument("--method", choices=["fourier", "plain"], default="fourier", help="default: fourier")
    parser.add_argument(
        "--steps", type=cli.whole_number(1), default=40, metavar="N", help="of the ascent (default: 40)"
    )
    options = parser.parse_args(argv)

    with cli.starting_keras():  # after the options, since importing Keras takes seconds
        import keras

        from convnets import activation_maximization, figures, networks, runs

    # Network
    run = runs.load(options.run, options.dataset, options.data_dir)
    run.describe()
    seed = cli.chosen_seed(options.seed)
    layers = [layer for layer in run.model.layers if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense))]
    classes = layers[-1] if layers[-1].output.shape[-1] == run.dataset.num_classes else None
    if options.layer:
        layers = [networks.find_layer(run.model, name) for name in options.layer]
    covariance = activation_maximization.colour_covariance(run.dataset.x_train[:1000])

    # Gradient ascent
    for layer in layers:
        chosen = None
        count = layer.output.shape[-1]
        if options.units != "all":
            numbers = [int(number) for number in options.units.split(",")]
            chosen = numbers if len(numbers) > 1 else list(range(min(numbers[0], count)))
        images, activations = activation_maximization.maximize(
            run.model, layer.name, chosen,
            steps=options.steps, method=options.method, colour_covariance=covariance, seed=seed,
        )  # fmt: skip
        names = [
            f"unit {unit}" if layer is not classes else run.dataset.class_names[unit] for unit in chosen or range(count)
        ]
        titles = [f"{name}\n{activation:.2g}" for name, activation in zip(names, activations, strict=True)]
        title = f"{layer.name}: what excites its units most, and how much ({options.method}, {options.steps} steps)"
        page = figures.unit_pages(images, titles, title)
        figures.save(
            page, options.output_dir / f"{run.name}-activation-{layer.name}-{options.method}.png", show=options.show
        )


if __name__ == "__main__":
    cli.run(main)
