"""Train the article's first convnet: "Building your first model".

    python basic_model.py                      CIFAR-10 if available, else scikit-learn's digits
    python basic_model.py --dataset mnist      the same network on handwritten digits, 28x28
    python basic_model.py --epochs 80          continues to 80 epochs in all
    python basic_model.py --fresh --seed 1     starts anew, with other random numbers

70 epochs on CIFAR-10 take about 23 minutes on two CPU cores and reach a test accuracy of about 80.4 %.
With bfloat16 instructions (AMX), it takes about 13 minutes of training. Without AVX-512 instructions, as on many
laptops, it takes about 90 minutes.

Stop it with Ctrl-C at any time: the same command resumes after the last finished epoch, exactly as if
it had never been stopped. Weights, history and curves are in models/basic_model-DATASET/.
"""

from convnets import cli

EPOCHS = 70  # the article runs 200 and gets "about 80 %"
BATCH_SIZE = 128


def build_model(input_shape, num_classes):
    """Build the article's twelve layers, not counting dropout, flatten and softmax.

    The comments give each layer's output shape for a 32x32 colour image, as `model.summary()` prints it. (The article's
    own comments are wrong at CONV4, POOL2 and FC1.)
    """
    from keras import Input, Sequential
    from keras.layers import Activation, Conv2D, Dense, Dropout, Flatten, MaxPooling2D

    return Sequential(
        [
            Input(input_shape),  #                       32 x 32 x 3
            Conv2D(32, (3, 3), name="conv1"),  #         30 x 30 x 32
            Activation("relu"),
            Conv2D(32, (3, 3), name="conv2"),  #         28 x 28 x 32
            Activation("relu"),
            MaxPooling2D((2, 2), name="pool1"),  #       14 x 14 x 32
            Dropout(0.25),  # sets a random quarter of the values to 0 in training, against overfitting
            Conv2D(64, (3, 3), name="conv3"),  #         12 x 12 x 64
            Activation("relu"),
            Conv2D(64, (3, 3), name="conv4"),  #         10 x 10 x 64
            Activation("relu"),
            MaxPooling2D((2, 2), name="pool2"),  #       5 x 5 x 64
            Dropout(0.25),
            Flatten(),  #                                1600
            Dense(256, name="fc1"),  #                   256
            Activation("relu"),
            Dropout(0.5),
            Dense(num_classes, name="fc2"),  #           10
            Activation("softmax", dtype="float32"),  # ten probabilities, always in 32 bits
        ]
    )


def compile_model(model, steps_per_epoch=None):
    """Compile with Adam and Keras's default settings, as the article does."""
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])


def main(argv=None):
    parser = cli.training_options(
        "basic_model", description=__doc__, epochs=EPOCHS, batch_size=BATCH_SIZE, devices=True
    )
    options = parser.parse_args(argv)

    with cli.importing_keras(options):  # after the options, since importing Keras takes seconds
        import keras

        from convnets.data import datasets
        from convnets.training import autotune, devices, training
        from convnets.views import calibration

    # Data: images as bytes from 0 to 255. Batch by batch, pixels become numbers from 0 to 1, and labels one-hot.
    dataset = datasets.load(options.dataset, options.data_dir, image_size=options.image_size)
    training.describe(dataset)

    # Model
    run = options.run or cli.run_folder(f"basic_model-{dataset.name}")
    devices.spread(options.devices, options.batch_size, dataset)
    autotune.set_precision(options.precision, None if options.fresh else run)
    keras.utils.set_random_seed(options.seed)
    model = build_model(dataset.input_shape, dataset.num_classes)
    compile_model(model)
    model.summary()

    # Training
    recipe = training.Recipe(
        epochs=options.epochs,
        batch_size=options.batch_size,
        seed=options.seed,
        initial_weights=options.weights,
        class_weights=options.class_weights,
    )
    history = training.train(model, dataset, run, recipe, cli.run_options(options))
    training.report(history, run)
    calibration.keep(model, dataset, run)  # how far its probabilities can be trusted


if __name__ == "__main__":
    cli.run(main)
