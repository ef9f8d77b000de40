"""See which parts of an image a network's answer depends on: "Visualizing your CNN", "Pixel-importance based".

    python visualize_pixel_importance.py                      a random test image that is classified correctly
    python visualize_pixel_importance.py --index 12           test image 12
    python visualize_pixel_importance.py --image my_cat.jpg   your own picture
    python visualize_pixel_importance.py --compare            also Grad-CAM and integrated gradients

Hides the image patch by patch, runs the network on each version, and draws into figures/ how much the answer depends on
each pixel. Any heat map looks convincing, so each one comes with a test: remove the pixels that it calls important, and
see whether the answer changes sooner than with a random map.
"""

import argparse

from convnets import cli


def baseline(text):
    """Parse what hides a patch: mean, blur, a grey level from 0 to 1, or the name of a colour."""
    if text in ("mean", "blur"):
        return text
    from matplotlib.colors import to_rgb

    try:
        return to_rgb(text)  # a number in quotes is a grey level to matplotlib
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither mean, blur, a number from 0 to 1 nor a colour") from None


def main(argv=None):
    parser = cli.view_options("visualize_pixel_importance", description=__doc__)
    cli.image_options(parser)
    parser.add_argument(
        "--patch", type=cli.pair, metavar="N", help="pixels, or HEIGHTxWIDTH (default: 4, more for large images)"
    )
    parser.add_argument(
        "--stride", type=cli.pair, metavar="N", help="pixels from patch to patch (default: 1, more for large images)"
    )
    parser.add_argument(
        "--baseline",
        type=baseline,
        default="0.5",
        metavar="WHAT",
        help="what hides a patch: mean, blur, a grey level from 0 to 1, or a colour (default: 0.5)",
    )
    parser.add_argument("--compare", action="store_true", help="also draw Grad-CAM and integrated gradients")
    parser.add_argument("--layer", metavar="NAME", help="layer for Grad-CAM (default: the last feature maps)")
    options = parser.parse_args(argv)
    if options.layer and not options.compare:
        parser.error("--layer chooses Grad-CAM's layer: add --compare")

    with cli.importing_keras(options):  # after the options, since importing Keras takes seconds
        from convnets import drawing
        from convnets.views import attribution, faithfulness, introspection, occlusion, occlusion_figures, runs

    # Network and image
    run = runs.load(**cli.run_settings(options))
    run.describe()
    view = runs.choose_image(run, index=options.index, file=options.image, seed=options.seed)
    image, answer = view.image, view.predicted
    name = run.class_names[answer]
    hidden_by = run.colour(options.baseline)

    # Occlusion
    logits = introspection.logits(run.model)
    patch = options.patch or occlusion.default_patch(image)
    stride = options.stride or occlusion.default_stride(image, patch)
    occluded = occlusion.occlude(logits, image, patch=patch, stride=stride, baseline=hidden_by)
    probabilities = occluded.probabilities(run.probabilities)
    maps = {"occlusion": (occluded.drop_map(answer), "logit")}
    if options.compare:
        maps["Grad-CAM"] = attribution.grad_cam(logits, image, answer, options.layer), "logit, up to a factor"
        gradients = attribution.integrated_gradients(logits, image, answer, baseline=hidden_by)
        maps["integrated gradients"] = gradients.attributions.sum(axis=-1), "logit, a pixel's share"
        print(f"Integrated gradients add up to the difference in logits, except for {100 * gradients.gap:.1f} % of it.")

    # How far to trust it
    print("\nInsert or remove the most important pixels first: insertion area minus deletion area, large is good")
    comparisons = {}
    for method, (values, _) in maps.items():
        comparisons[method] = faithfulness.compare_with_chance(
            logits, image, answer, values, baseline=hidden_by, score=run.probabilities
        )
        print(f"  {method}: {comparisons[method]}")
    pixels = comparisons["occlusion"].pixels.gain.mean()
    print(f"  (Single random pixels: {pixels:.2f}. They spoil an image like noise, so they are no fair comparison.)")
    print(f"  (A blob in the middle, where most objects are: {comparisons['occlusion'].verdict_on_middle}.)\n")

    # Pictures
    title = f"{view.title} -> {name} ({100 * view.probability:.1f} %): which pixels matter?"
    page = occlusion_figures.importance_figure(
        image, probabilities.drop_map(answer), occluded.drop_map(answer), occluded.predictions(),
        run.class_names, comparisons["occlusion"], title, view.original,
    )  # fmt: skip
    drawing.save(page, options.output_dir / f"{run.name}-importance-{view.slug}.png", show=options.show)
    if options.compare:
        page = occlusion_figures.comparison_figure(image, maps, comparisons, title)
        drawing.save(page, options.output_dir / f"{run.name}-comparison-{view.slug}.png", show=options.show)


if __name__ == "__main__":
    cli.run(main)
