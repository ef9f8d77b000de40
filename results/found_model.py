"""Train the network that search_models.py found.

    python found_model.py --dataset cifar10

Found on CIFAR-10 by search_models.py, among 37 networks in 45 minutes.
Copied to the project's folder, it runs like the other scripts; here it is `python -m results.found_model`.

Stop and resume it like basic_model.py. To make the network deeper or wider, change it here, and start with --fresh.
"""

import math

from convnets import cli

EPOCHS = 24
BATCH_SIZE = 128
PRECISION = "bfloat16"  # as in the search


def build_model(input_shape, num_classes):
    """Build the network. The comments give each layer's output shape for a 32x32 colour image."""
    from keras import Input, Sequential
    from keras.layers import Activation, BatchNormalization, Conv2D, Dense, Flatten, MaxPooling2D

    return Sequential(
        [
            Input(input_shape),  #                                                32 x 32 x 3
            Conv2D(32, (5, 5), padding="same", use_bias=False, name="conv1"),  #  32 x 32 x 32
            BatchNormalization(momentum=0.9),
            Activation("leaky_relu"),
            MaxPooling2D((2, 2), name="pool1"),  #                                16 x 16 x 32
            Conv2D(64, (5, 5), padding="same", use_bias=False, name="conv2"),  #  16 x 16 x 64
            BatchNormalization(momentum=0.9),
            Activation("leaky_relu"),
            MaxPooling2D((2, 2), name="pool2"),  #                                8 x 8 x 64
            Conv2D(128, (5, 5), padding="same", use_bias=False, name="conv3"),  # 8 x 8 x 128
            BatchNormalization(momentum=0.9),
            Activation("leaky_relu"),
            MaxPooling2D((2, 2), name="pool3"),  #                                4 x 4 x 128
            Conv2D(256, (5, 5), padding="same", use_bias=False, name="conv4"),  # 4 x 4 x 256
            BatchNormalization(momentum=0.9),
            Activation("leaky_relu"),
            MaxPooling2D((2, 2), name="pool4"),  #                                2 x 2 x 256
            Flatten(),  #                                                         1024
            Dense(num_classes, name="fc1"),  #                                    10
            Activation("softmax", dtype="float32"),
        ]
    )


def compile_model(model, steps_per_epoch):
    """Compile with SGD. Its learning rate rises for an epoch, then falls along half a cosine to 0."""
    import keras

    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=(EPOCHS - 1) * steps_per_epoch, warmup_target=0.0902, warmup_steps=steps_per_epoch
    )
    optimizer = keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True, weight_decay=0.00467)
    model.compile(loss="categorical_crossentropy", optimizer=optimizer, metrics=["accuracy"])


def augmentation_for(flippable):
    """Return the random augmentation. flippable: a flipped cat is still a cat, but a flipped 2 is no digit."""
    from convnets.data.augmentation import Augmentation

    return Augmentation(zoom=0.0, shift=0.1, horizontal_flip=flippable)


def main(argv=None):
    defaults = {"epochs": EPOCHS, "batch_size": BATCH_SIZE, "precision": PRECISION}
    parser = cli.training_options("found_model", description=__doc__, **defaults)
    options = parser.parse_args(argv)
    if options.epochs > EPOCHS:
        parser.error(f"the learning rate is 0 after {EPOCHS} epochs: train no longer, or change EPOCHS")

    with cli.importing_keras(options):  # after the options, since importing Keras takes seconds
        import keras

        from convnets.data import datasets
        from convnets.training import training
        from convnets.views import calibration

    # Data
    dataset = datasets.load(options.dataset, options.data_dir, image_size=options.image_size)
    training.describe(dataset)
    augment = augmentation_for(dataset.flippable)

    # Model
    keras.utils.set_random_seed(options.seed)
    model = build_model(dataset.input_shape, dataset.num_classes)
    compile_model(model, steps_per_epoch=math.ceil(len(dataset.x_train) / options.batch_size))
    model.summary()

    # Training
    run = options.run or cli.run_folder(f"found_model-{dataset.name}")
    settings = {"initial_weights": options.weights, "class_weights": options.class_weights}
    recipe = training.Recipe(options.epochs, options.batch_size, options.seed, augment, **settings)
    # Tested after the last epoch only: no test accuracy is seen while something could still be changed.
    history = training.train(model, dataset, run, recipe, cli.run_options(options, test_each_epoch=False))
    training.report(history, run)
    calibration.keep(model, dataset, run)  # how far its probabilities can be trusted


if __name__ == "__main__":
    cli.run(main)
