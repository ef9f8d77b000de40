"""Train the article's first convnet: "Building your first model".

    python basic_model.py                      CIFAR-10 if it can be had, else scikit-learn's digits
    python basic_model.py --dataset mnist      the same network on handwritten digits, 28x28
    python basic_model.py --epochs 80          goes on to 80 epochs in all
    python basic_model.py --fresh --seed 1     starts anew, with other random numbers

70 epochs on CIFAR-10 take about 24 minutes on two CPU cores
and reach a test accuracy of about 80.4 %.

Stop it with Ctrl-C whenever you like: the same command goes on after the last finished epoch, exactly
as if it had never been stopped. Weights, history and curves are in models/basic_model-DATASET/.
"""

from convnets import cli

EPOCHS = 70  # the article runs 200 and gets "about 80 %"
BATCH_SIZE = 128


def build_model(input_shape, num_classes):
    """The article's twelve layers: it does not count dropout, flatten and softmax.

    The shapes are those of a 32x32 colour image, as `model.summary()` prints them. (Where the comments in the
    article's code say otherwise, at CONV4, POOL2 and FC1, they are slips.)
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
            Dropout(0.25),  # in training, a random quarter of the values becomes 0: against overfitting
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
            Activation("softmax", dtype="float32"),  # the ten become probabilities, of 32 bits each
        ]
    )


def main(argv=None):
    parser = cli.training_options("basic_model", description=__doc__, epochs=EPOCHS, batch_size=BATCH_SIZE)
    options = parser.parse_args(argv)

    with cli.importing_keras(options.precision):  # after the options, since importing Keras takes seconds
        import keras

        from convnets.data import datasets
        from convnets.training import training

    # Data: images as bytes, 0 to 255; they become numbers from 0 to 1 batch by batch, labels become one-hot.
    dataset = datasets.load(options.dataset, options.data_dir)
    training.describe(dataset)

    # Model
    keras.utils.set_random_seed(options.seed)
    model = build_model(dataset.input_shape, dataset.num_classes)
    model.compile(loss="categorical_crossentropy", optimizer=keras.optimizers.Adam(), metrics=["accuracy"])
    model.summary()

    # Training
    run = options.run or cli.run_folder(f"basic_model-{dataset.name}")
    history = training.train(
        model,
        dataset,
        run,
        epochs=options.epochs,
        batch_size=options.batch_size,
        **cli.training_settings(options),
    )
    training.report(history, run)


if __name__ == "__main__":
    cli.run(main)
