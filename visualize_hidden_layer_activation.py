"""See what each filter looks for: "Visualizing your CNN", "Activation based".

    python visualize_hidden_layer_activation.py                    16 units of each convolution and dense layer
    python visualize_hidden_layer_activation.py --method plain     the article's way of looking for them
    python visualize_hidden_layer_activation.py --layer conv4 --units all --gif

Draws into figures/, for each layer, the images that excite its units most, found by gradient ascent: start from
noise, ask in which direction the unit's output grows, go there, and again. Such images alone mislead, so beside
each stand the real images that excite the unit most, and how many times as much the made one does.
"""

import argparse

from convnets import cli

STEPS = {"plain": 40, "fourier": 16}  # the article's number; and enough for the other way
SAMPLE = 1000  # test images among which the most exciting ones are looked for


def units(text):
    """A number of units, "all", or their indices, each with a comma behind or between: "16", "3,5,8", "7,"."""
    if text != "all" and not all(part.isdecimal() for part in text.removesuffix(",").split(",")):
        raise argparse.ArgumentTypeError(f"{text!r} is neither all, a number of units, nor indices as in 3,5,8 or 7,")
    return text


def chosen_units(layer, text):
    """The units of a layer that the option --units means, as pairs of the layer's name and an index."""
    count = layer.shape[-1]
    if text == "all" or text.isdecimal():
        return [(layer.name, unit) for unit in range(count if text == "all" else min(int(text), count))]
    return [(layer.name, unit) for unit in dict.fromkeys(map(int, text.removesuffix(",").split(",")))]


def caption(unit, names):
    """What stands above a unit's images. unit: a row of activation_maximization.compare_activations."""
    name = names[unit.unit] if names else f"unit {unit.unit}"
    if not unit.best:
        return f"{name}: {unit.made:.2g}"
    if unit.real <= 0:
        return f"{name}: no real one does"
    return f"{name}: not the made one" if unit.made <= 0 else f"{name}: {unit.ratio:.2g} x the best real one"


def main(argv=None):
    parser = cli.view_options("visualize_hidden_layer_activation", description=__doc__)
    parser.add_argument("--layer", action="append", metavar="NAME", help="only this layer; can be repeated")
    parser.add_argument(
        "--units",
        type=units,
        default="16",
        metavar="N",
        help="how many of each layer, all, or which: 3,5,8 or 7, with a comma behind (default: 16)",
    )
    parser.add_argument("--method", choices=["fourier", "plain"], default="fourier", help="default: fourier")
    parser.add_argument(
        "--steps", type=cli.whole_number(1), metavar="N", help="of the ascent (default: 16, or 40 with --method plain)"
    )
    parser.add_argument("--gif", action="store_true", help="also save each layer's ascent as an animation")
    options = parser.parse_args(argv)
    steps = options.steps or STEPS[options.method]

    with cli.importing_keras():  # after the options, since importing Keras takes seconds
        import numpy as np

        from convnets import drawing
        from convnets.views import activation_maximization, activation_maximization_figures, introspection, runs

    # Network and units
    run = runs.load(options.run, options.dataset, options.data_dir, data_needed=False)
    run.describe()
    seed = cli.chosen_seed(options.seed)
    graph = introspection.graph(run.model)
    with_units = graph.first_steps(introspection.has_units)
    layers = [graph.find(name) for name in dict.fromkeys(options.layer or ())] or with_units
    chosen = [unit for layer in layers for unit in chosen_units(layer, options.units)]

    # Gradient ascent
    frames = {}  # of the animation, by step
    images, _ = activation_maximization.maximize_units(
        run.model, chosen, steps=steps, method=options.method, seed=seed,
        colour_covariance=run.dataset and activation_maximization.colour_covariance(run.dataset.x_train[:1000]),
        on_step=(lambda step, batch: frames.setdefault(step, []).append(batch)) if options.gif else None,
    )  # fmt: skip

    # The real images that excite the same units most
    real = run.dataset.x_test[:SAMPLE] if run.dataset else None
    table = activation_maximization.compare_activations(run.model, chosen, images, real)

    # Pictures
    for layer in layers:
        its_units = table[table["layer"] == layer.name]
        dead, alive = its_units[its_units["dead"]], its_units[~its_units["dead"]]
        if len(dead):
            print(f"{layer.name}: nothing excites the units", *dead["unit"])
        if not len(alive):
            continue
        names = run.class_names if layer is with_units[-1] else None
        page = activation_maximization_figures.unit_figure(
            images[alive.index], None if real is None else real[np.stack(alive["best"])],
            [caption(unit, names) for unit in alive.itertuples()],
            f"{layer.name}: what excites its units most, made ({options.method}, {steps} steps) and real",
        )  # fmt: skip
        path = options.output_dir / f"{run.name}-activation-{layer.name}-{options.method}.png"
        drawing.save(page, path, show=options.show)
        if options.gif:
            animation = np.stack([np.concatenate(batches)[alive.index] for batches in frames.values()])
            drawing.save_animation(animation, path.with_suffix(".gif"))


if __name__ == "__main__":
    cli.run(main)
