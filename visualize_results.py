"""See how well a network does, and what it gets wrong: "Visualizing your CNN", "Result based".

    python visualize_results.py                              the newest run, or else a pretrained network
    python visualize_results.py --run basic_model-mnist      another one; the bernet article's misclassified digits
    python visualize_results.py --seed 1                     other random test images

Prints the accuracy and draws six pictures into figures/: random test images with their three most probable classes; the
most confident mistakes; the confusion matrix (the article's "breakdown"); accuracy by class; a reliability diagram,
which shows how far the probabilities can be trusted; and test images whose labels are probably wrong, which are also in
RUN-labels.csv. Takes some seconds, and longer for the largest network of fast_model.py.
"""

from convnets import cli
from convnets.errors import UserError, some

TRAINING_SAMPLE = 1000  # training images to evaluate, unless --all-training-images
MOST_CLASSES = 20  # whose confusion matrix is printed; the table file has it for any number


def main(argv=None):
    parser = cli.view_options("visualize_results", description=__doc__)
    parser.add_argument(
        "--all-training-images",
        action="store_true",
        help=f"evaluate all, not only {TRAINING_SAMPLE}; slow",
    )
    check = "also check the labels of the training images, by cross-validation; minutes"
    parser.add_argument("--check-labels", action="store_true", help=check)
    options = parser.parse_args(argv)

    with cli.importing_keras(options):  # after the options, since importing Keras takes seconds
        import numpy as np

        from convnets import drawing
        from convnets.views import evaluation, evaluation_figures, labels, runs

    # Network and data
    run = runs.load(**cli.run_settings(options))
    run.describe()
    dataset = run.dataset
    if options.check_labels and dataset.key == "cifar10":
        raise UserError("--check-labels can't judge CIFAR-10's training images: its features were learned from them")
    seed = cli.chosen_seed(options.seed)

    # Results
    print(f"Evaluating on {len(dataset.x_test)} test images ...")
    probabilities = run.calibrated(run.predictions(dataset.x_test))
    results = evaluation.Evaluation(probabilities, dataset.y_test, run.class_names)
    most = len(dataset.x_train) if options.all_training_images else TRAINING_SAMPLE
    sample, its_labels = (dataset.some(array, most) for array in (dataset.x_train, dataset.y_train))
    training_results = evaluation.Evaluation(run.calibrated(run.predictions(sample)), its_labels, run.class_names)
    reliability, calibration_error = results.reliability(bins=15)
    print(f"\nTest accuracy: {results.accuracy:.2%} of {len(results.labels)} images")
    print(f"Training accuracy: {training_results.accuracy:.2%} of {len(training_results.labels)} images")
    fitted = run.calibration if run.dataset_is_its_own else None  # which was measured on images it was not fitted on
    error = 100 * (fitted.error_after if fitted else calibration_error)
    scaled = fitted and fitted.temperature != 1
    before = f" ({100 * fitted.error_before:.2f} without the temperature {fitted.temperature:.2f})" if scaled else ""
    print(f"Expected calibration error: {error:.2f} percentage points{before}")
    by_chance = 100 * results.calibration_error_by_chance(bins=15)
    print(f"(With {len(results.labels)} images, a perfectly calibrated network would show about {by_chance:.2f}.)")
    confusion = results.confusion_matrix()
    if len(confusion) <= MOST_CLASSES:
        print(f"\nMistakes: rows are the true classes, columns the predicted ones\n{confusion.to_string()}")
    confused = results.most_confused().to_string(index=False, formatters={"share": "{:.1%}".format})
    print(f"\nMost confused\n{'none' if results.is_correct.all() else confused}\n")

    # Labels that are probably wrong
    suspicious = {"labels": ("test", labels.rank_test_images(run, probabilities))}
    if options.check_labels:
        print(f"Predicting {len(dataset.x_train)} training images by cross-validation ...")
        ranked, left_out = labels.rank_training_images(dataset)
        if left_out:
            print(f"Not checked, with one training image each: {some(left_out)}.")
        if ranked is not None:
            suspicious["training-labels"] = ("training", ranked)
    for name, (part, table) in suspicious.items():
        print(labels.summary(table, part))
        table = labels.with_files(table, dataset, part)
        drawing.save_table(table.set_index("index"), options.output_dir / f"{run.name}-{name}.csv")

    # Pictures
    chosen = np.random.default_rng(seed).permutation(len(results.labels))[:12]
    pages = {
        "predictions": evaluation_figures.predictions_figure(
            dataset.x_test, results, chosen, "Random test images and the three best guesses"
        ),
        "mistakes": evaluation_figures.predictions_figure(
            dataset.x_test, results, results.mistakes()[:12], "The most confident mistakes of all test images"
        ),
        "breakdown": evaluation_figures.confusion_matrix_figure(confusion),
        "classes": evaluation_figures.accuracy_per_class_figure(results.accuracy_per_class, results.accuracy),
        "reliability": evaluation_figures.reliability_figure(reliability, calibration_error),
    }
    for name, (part, table) in suspicious.items():
        images = dataset.x_test if part == "test" else dataset.x_train
        doubted = table[table["label"] != table["suggested"]]
        if len(doubted):
            pages[name] = evaluation_figures.labels_figure(images, doubted[:24], part)
        else:
            print(f"No picture of labels: the prediction is the label for all {part} images.")
    for name, page in pages.items():
        drawing.save(page, options.output_dir / f"{run.name}-{name}.png", show=options.show)
    drawing.save_table(confusion, options.output_dir / f"{run.name}-breakdown.csv")


if __name__ == "__main__":
    cli.run(main)
