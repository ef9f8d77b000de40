"""See what each filter looks for: "Visualizing your CNN", "Activation based".

    python visualize_hidden_layer_activation.py                    16 units of each convolution and dense layer
    python visualize_hidden_layer_activation.py --method plain     the article's method
    python visualize_hidden_layer_activation.py --layer conv4 --units all --gif

Draws into figures/, for each layer, the images that activate its units most. They are found by gradient ascent: start
from noise, compute in which direction the unit's output grows, take a step that way, and repeat. Such images alone
mislead, so beside each one are the test images that activate the unit most, and how many times as strongly the
generated one does.
"""

import argparse

from convnets import cli

STEPS = {"plain": 40, "fourier": 16}  # the article's number; the other method needs fewer
MOST_PAGES = 12  # of a deep network; name others with --layer
SAMPLE = 1000  # test images, of which the most activating ones are drawn


def units(text):
    """Parse the option --units: "all" as None, "16" as a number of units, "3,5,8" or "7," as a list of indices."""
    if text == "all":
        return None
    parts = text.removesuffix(",").split(",")
    if not all(part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is neither all, a number of units, nor indices as in 3,5,8 or 7,")
    return list(map(int, parts)) if "," in text else int(text)


def chosen_units(layer, units):
    """Return the units of a layer that the option --units selects, as pairs of the layer's name and an index."""
    if not isinstance(units, list):
        units = range(layer.shape[-1])[:units]
    return [(layer.name, unit) for unit in dict.fromkeys(units)]


def caption(unit, names):
    """Return the text above a unit's images. unit: a row of activation_maximization.compare_activations."""
    name = names[unit.unit] if names else f"unit {unit.unit}"
    if not unit.best:
        return f"{name}: {unit.made:.2g}"
    if unit.real <= 0:
        return f"{name}: by no test image"
    return f"{name}: by test images only" if unit.made <= 0 else f"{name}: {unit.ratio:.2g} x the best test image"


def main(argv=None):
    parser = cli.view_options("visualize_hidden_layer_activation", description=__doc__)
    parser.add_argument("--layer", action="append", metavar="NAME", help="only this layer; can be repeated")
    parser.add_argument(
        "--units",
        type=units,
        default="16",
        metavar="N",
        help="how many of each layer, all, or their indices, with a comma: 3,5,8 or 7, (default: 16)",
    )
    parser.add_argument("--method", choices=["fourier", "plain"], default="fourier", help="default: fourier")
    parser.add_argument(
        "--steps",
        type=cli.whole_number(1),
        metavar="N",
        help="steps of the ascent (default: 16, or 40 with --method plain)",
    )
    parser.add_argument("--gif", action="store_true", help="also save each layer's ascent as an animation")
    options = parser.parse_args(argv)
    steps = options.steps or STEPS[options.method]

    with cli.importing_keras(options):  # after the options, since importing Keras takes seconds
        import numpy as np

        from convnets import drawing
        from convnets.views import activation_maximization, activation_maximization_figures, introspection, runs

    # Network and units
    run = runs.load(**cli.run_settings(options), data_needed=False)
    run.describe()
    seed = cli.chosen_seed(options.seed)
    graph = introspection.graph(run.model)
    with_units = graph.first_steps(introspection.has_units)
    named = [graph.find(name) for name in dict.fromkeys(options.layer or ())]
    layers = named or cli.some_of(with_units, MOST_PAGES)
    chosen = [unit for layer in layers for unit in chosen_units(layer, options.units)]

    # Gradient ascent
    frames = {}  # of the animation, by step
    images, _ = activation_maximization.maximize_units(
        run.model, chosen, steps=steps, method=options.method, seed=seed,
        colour_covariance=run.dataset and activation_maximization.colour_covariance(
            run.dataset.some(run.dataset.x_train, SAMPLE)
        ),
        on_step=(lambda step, batch: frames.setdefault(step, []).append(batch)) if options.gif else None,
    )  # fmt: skip

    # The real images that activate the same units most
    real = run.dataset.some(run.dataset.x_test, SAMPLE) if run.dataset else None
    table = activation_maximization.compare_activations(run.model, chosen, images, real)

    # Pictures
    for layer in layers:
        its_units = table[table["layer"] == layer.name]
        dead, alive = its_units[its_units["dead"]], its_units[~its_units["dead"]]
        if len(dead):
            print(f"{layer.name}: no image activates the units", *dead["unit"])
        if not len(alive):
            continue
        names = run.class_names if layer is with_units[-1] else None
        page = activation_maximization_figures.unit_figure(
            images[alive.index], None if real is None else real[np.stack(alive["best"])],
            [caption(unit, names) for unit in alive.itertuples()],
            f"{layer.name}: generated images ({options.method}, {steps} steps)"
            f"{'' if real is None else ' and the most activating test images'}",
        )  # fmt: skip
        path = options.output_dir / f"{run.name}-activation-{layer.name}-{options.method}.png"
        drawing.save(page, path, show=options.show)
        if options.gif:
            animation = np.stack([np.concatenate(batches)[alive.index] for batches in frames.values()])
            drawing.save_animation(animation, path.with_suffix(".gif"))


if __name__ == "__main__":
    cli.run(main)
