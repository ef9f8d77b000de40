"""Start from what a network knows: "Transfer Learning".

    python transfer_model.py --dataset my_pictures               a folder with a subfolder for each class
    python transfer_model.py --dataset my_pictures --compare     also trains the same network from random weights
    python transfer_model.py --dataset my_pictures --from improved_model-cifar10
    python transfer_model.py --dataset my_pictures --from mobilenet_v2    trained on ImageNet; a download

With 20 pictures of each of ten kinds of fruit and flowers it takes one to three minutes on two CPU cores
(docs/own-pictures.md has the accuracies). Stop and resume it like basic_model.py. To train for more --epochs, start
anew with --fresh, since the learning rate ends with the epochs.

The first layers of a network find edges, colours and textures, which are useful for any photograph. Its last layers
distinguish the classes that it was trained on. So the script keeps the first layers and replaces the last ones.
"""

import math
import warnings

from convnets import cli

SOURCE = "fast_model-95.5-cifar10"
LEFT_OUT = 2  # convolutions at the end of a network that are not kept: features of the ones before serve other classes
LARGE = 48  # pixels, height and width of pictures that show more than 32 x 32 can
EPOCHS, BATCH_SIZE = 3, 50
STEPS = 120  # at least, in three epochs: of few pictures, an epoch has several passes


def build_model(source, input_shape, num_classes, **kept):
    """Build a network from the first layers of another one, and a new last layer.

    source, kept: what transfer.first_layers takes.
    """
    from keras import Input, Sequential
    from keras.layers import Dense, GlobalAveragePooling2D, Softmax

    from convnets.training import transfer

    return Sequential(
        [
            Input(input_shape),
            *transfer.first_layers(source, input_shape, leave_out=LEFT_OUT, **kept),
            GlobalAveragePooling2D(name="features"),  # any image size will do: each feature map becomes its mean
            Dense(num_classes, name="new", dtype="float32"),
            Softmax(dtype="float32"),
        ]
    )


def train_last_layer(model, images, labels, class_weights=None):
    """Train the new layer alone. It takes seconds, since the features are computed only once.

    images: (n, height, width, channels) uint8. labels: (n,) int. class_weights: None or "balanced". Logistic regression
    is what a dense layer with a softmax learns; scikit-learn finds its best weights without a learning rate.
    """
    import keras
    from sklearn import linear_model, preprocessing

    from convnets.training import transfer
    from convnets.views import introspection

    features = introspection.predict(keras.Model(model.inputs[0], model.get_layer("features").output), images)
    scaler = preprocessing.StandardScaler().fit(features)
    regression = linear_model.LogisticRegression(C=10 / features.shape[1], max_iter=1000, class_weight=class_weights)
    with warnings.catch_warnings(action="ignore"):  # of many classes with few images
        regression.fit(scaler.transform(features), labels)
    model.get_layer("new").set_weights(transfer.dense_weights(regression, scaler))


def compile_model(model, steps):
    """Compile for training all layers, at a low rate: what the network knows is to be adapted, not replaced.

    steps: of the whole training. The rate rises at first, while the optimizer gets to know the gradients, then falls.
    """
    import keras

    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=0.001, warmup_steps=max(1, steps // 10), alpha=0.01
    )
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)
    model.compile(loss=loss, optimizer=keras.optimizers.AdamW(rate, weight_decay=0.05), metrics=["accuracy"])


def main(argv=None):
    parser = cli.training_options(
        "transfer_model", description=__doc__, epochs=EPOCHS, batch_size=BATCH_SIZE, weights=False,
        dataset=None, image_size=f"{LARGE} if the pictures are large, else 32",
    )  # fmt: skip
    source = f"a run, or a network of keras.applications: mobilenet_v2, resnet50_v2 ... (default: {SOURCE})"
    parser.add_argument("--from", dest="source", default=SOURCE, metavar="NETWORK", help=source)
    layer = f"the last layer to keep (default: leave out the last {LEFT_OUT} convolutions; ImageNet's are all kept)"
    parser.add_argument("--layer", metavar="NAME", help=layer)
    parser.add_argument("--compare", action="store_true", help="also train from random weights, and draw both curves")
    cli.picture_options(parser)
    options = parser.parse_args(argv)

    with cli.importing_keras(options):  # after the options, since importing Keras takes seconds
        import keras

        from convnets import drawing
        from convnets.data import datasets, folders
        from convnets.data.augmentation import Augmentation
        from convnets.training import autotune, checkpoints, comparison_figures, training, transfer
        from convnets.views import calibration, evaluation

    source, channels, on_record = transfer.load_source(options.source)

    # Data: large pictures show more, so they are fitted to a larger size than the network was trained on.
    large = options.dataset not in datasets.SOURCES and folders.typical_side(options.dataset) >= 64
    size = options.image_size or (LARGE if large else None)
    dataset = datasets.load(options.dataset, options.data_dir, image_size=size, channels=channels)
    training.describe(dataset)
    steps_per_pass = math.ceil(len(dataset.x_train) / options.batch_size)
    passes = math.ceil(STEPS / EPOCHS / steps_per_pass)

    run = options.run or cli.run_folder(f"transfer_model-{dataset.name}")
    autotune.set_precision(options.precision, None if options.fresh else run)
    histories = {}
    trainings = {True: run, False: run.with_name(f"{run.name}-scratch")} if options.compare else {True: run}
    resumed = {folder: None if options.fresh else checkpoints.newest_sound(folder)[0] for folder in trainings.values()}
    transfer.refuse_other_epochs(resumed.values(), options.epochs)
    drawing.check_folder(options.output_dir)
    for knows, folder in trainings.items():  # knows: whether it starts from what a network knows
        # Model
        keras.utils.set_random_seed(options.seed)
        model = build_model(source, dataset.input_shape, dataset.num_classes, layer=options.layer, with_weights=knows)
        if knows and not resumed[folder]:
            train_last_layer(model, dataset.x_train, dataset.y_train, options.class_weights)
        compile_model(model, steps=options.epochs * passes * steps_per_pass)

        # Training
        recipe = training.Recipe(
            options.epochs, options.batch_size, options.seed, Augmentation(0.15, 0.1, dataset.flippable),
            class_weights=options.class_weights, starts_from=on_record if knows else None, passes=passes,
        )  # fmt: skip
        if options.fresh and knows:  # both runs, so that the same command without --fresh resumes them
            for old in trainings.values():
                training.set_aside(old)
        history = training.train(model, dataset, folder, recipe, cli.run_options(options, fresh=False))
        training.report(history, folder)
        calibration.keep(model, dataset, folder)
        print(f"Test accuracy with test-time augmentation: {evaluation.accuracy_with_tta(model, dataset):.2%}")
        histories["transferred" if knows else "random weights"] = [history]
    if options.compare:
        page = comparison_figures.learning_curves(histories, "accuracy")
        drawing.save(page, options.output_dir / f"{run.name}-accuracy.png", show=options.show)


if __name__ == "__main__":
    cli.run(main)
