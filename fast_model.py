"""How far a plain CONV-RELU-POOL-FC network goes: 94 % on CIFAR-10 in minutes, without a GPU.

    python fast_model.py --target 80           what basic_model.py reaches
    python fast_model.py --target 85           what improved_model.py reaches
    python fast_model.py                       94 %
    python fast_model.py --target 95.5         what the article calls a good model

The article's networks take many small steps. This one takes few, and wastes none: what follows the word "Trick" below
is what people have found in ten years of training on these images as fast as they could. docs/fast.md says what each
brings, measured, and where it comes from.

Stopping and going on works as in basic_model.py. By the target's last epoch the learning rate is 0, so --epochs
can only end a training early.
"""

import math
import sys

from convnets import cli, speed

# target: filters in the three blocks, epochs
RECIPES = {
    "80": ((32, 64, 64), 1),
    "85": ((32, 128, 128), 2),
    "94": ((64, 256, 256), 8),
    "95.5": ((128, 384, 384), 25),
}
BATCH_SIZE = 500


def build_model(input_shape, num_classes, filters=RECIPES["94"][0]):
    """Three blocks of two convolutions, then one dense layer; the shapes are those of a colour image, target 94."""
    from keras import Input, Sequential
    from keras.layers import Conv2D, Dense, GlobalMaxPooling2D, LeakyReLU, MaxPooling2D, Rescaling, Softmax

    from convnets.layers import BatchNormalization  # Keras's own, but faster on a CPU

    padding = "valid" if input_shape[0] >= 28 else "same"  # images of 8x8 pixels have none to lose
    whitening_filters = 8 * input_shape[-1]

    def conv(number, filters):  # without biases: the normalization would take them out again
        return Conv2D(filters, (3, 3), padding="same", use_bias=False, name=f"conv{number}")

    def norm(number):  # without factors: the next convolution has some
        return BatchNormalization(scale=False, momentum=0.6, name=f"norm{number}")

    return Sequential(
        [
            Input(input_shape),  #                                                    32 x 32 x 3
            Conv2D(whitening_filters, (2, 2), padding=padding, trainable=False, name="whitening"),  # 31 x 31 x 24
            LeakyReLU(0.1),
            conv(1, filters[0]),  #                           31 x 31 x 64
            MaxPooling2D((2, 2), padding=padding, name="pool1"),  #   15 x 15 x 64
            norm(1),
            LeakyReLU(0.1),
            conv(2, filters[0]),  #                           15 x 15 x 64
            norm(2),
            LeakyReLU(0.1),
            conv(3, filters[1]),  #                           15 x 15 x 256
            MaxPooling2D((2, 2), padding=padding, name="pool2"),  #   7 x 7 x 256
            norm(3),
            LeakyReLU(0.1),
            conv(4, filters[1]),  #                           7 x 7 x 256
            norm(4),
            LeakyReLU(0.1),
            conv(5, filters[2]),  #                           7 x 7 x 256
            MaxPooling2D((2, 2), padding=padding, name="pool3"),  #   3 x 3 x 256
            norm(5),
            LeakyReLU(0.1),
            conv(6, filters[2]),  #                           3 x 3 x 256
            norm(6),
            LeakyReLU(0.1),
            GlobalMaxPooling2D(name="pool4"),  #              256
            Dense(num_classes, use_bias=False, dtype="float32", name="fc1"),  # 10
            Rescaling(1 / 9, dtype="float32"),  # Trick: small logits, so that the network starts out unsure
            Softmax(dtype="float32"),
        ]
    )


def set_first_weights(model, images):
    """Trick: the filters don't start at random. images: some training images, (n, height, width, channels), 0 to 1."""
    import numpy as np

    # Neighbouring pixels and the three colours are much alike. The first layer, which is not trained, takes that out:
    # its filters are the directions in which patches of 2x2 pixels vary, each divided by how far they vary in it.
    height, width, channels = images.shape[1:]
    corners = [images[:, y : y + height - 1, x : x + width - 1] for y in (0, 1) for x in (0, 1)]
    patches = np.stack(corners, axis=3).reshape(-1, 4 * channels)
    middle = patches.mean(axis=0)
    variances, directions = np.linalg.eigh(np.cov(patches, rowvar=False))
    filters = directions / np.sqrt(variances + 5e-4)
    filters = np.concatenate([filters, -filters], axis=1)  # both signs, for ReLU lets one of them through
    model.get_layer("whitening").set_weights([filters.reshape(2, 2, channels, -1), -middle @ filters])

    # Every other convolution starts by handing on what it gets: as many of its filters as it has inputs copy one
    # each. What a deep network learns in many epochs first, not to lose the image on its way, is given.
    for number in range(1, 7):
        layer = model.get_layer(f"conv{number}")
        kernel = layer.kernel.numpy()
        copies = np.arange(min(kernel.shape[2:]))
        kernel[:, :, :, copies] = 0
        kernel[1, 1, copies, copies] = 1
        layer.set_weights([kernel])


def main(argv=None):
    parser = cli.training_options(
        "fast_model", description=__doc__, epochs=None, batch_size=BATCH_SIZE, run="fast_model-TARGET-DATASET"
    )
    parser.add_argument("--target", choices=RECIPES, default="94", help="test accuracy in %% (default: %(default)s)")
    cli.speed_options(parser)
    options = parser.parse_args(argv)
    filters, epochs = RECIPES[options.target]

    speed.use_threads(options.threads)
    with cli.starting_keras():  # after the options, since importing Keras takes seconds
        import keras

        from convnets import augmentation, datasets, evaluation, training
        from convnets.optimizers import Muon

    # Data
    dataset = datasets.load(options.dataset, options.data_dir)
    training.describe(dataset)
    # Trick: each image is moved by up to 2 pixels, and mirrored in every other epoch instead of at random, so that
    # any two epochs show twice as many different images.
    is_photo = dataset.name == "cifar10"  # a mirrored cat is still a cat, but a mirrored 2 is no digit at all
    augment = augmentation.Shift(dataset.input_shape[0] // 16)

    # Model
    run = options.run or cli.run_folder(f"fast_model-{options.target}-{dataset.name}")
    speed.use_precision(options.precision, None if options.fresh else run)
    keras.utils.set_random_seed(options.seed)
    model = build_model(dataset.input_shape, dataset.num_classes, filters)
    set_first_weights(model, datasets.scale_pixels(dataset.x_train[:5000]))
    # Trick: large steps that shrink to nothing, and an optimizer that makes them in all directions.
    steps = epochs * math.ceil(len(dataset.x_train) / options.batch_size)
    optimizer = Muon(keras.optimizers.schedules.PolynomialDecay(0.24, steps, end_learning_rate=0))
    # Trick: nothing is certain. The right class shall get 82 %, and the others 2 % each.
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=0.2)
    model.compile(loss=loss, optimizer=optimizer, metrics=["accuracy"])
    model.summary()

    # Training
    history = training.train(
        model,
        dataset,
        run,
        epochs=options.epochs or epochs,
        batch_size=options.batch_size,
        seed=options.seed,
        augment=augment,
        alternate_flips=is_photo,
        initial_weights=options.weights,
        fresh=options.fresh,
        tensorboard=options.tensorboard,
        verbose=1 if sys.stdout.isatty() else 2,
    )
    training.report(history, run)

    # Trick: ask six times. Test images are shown as they are, moved by a pixel, and each of these mirrored.
    probabilities = evaluation.predict_views(model, dataset.x_test, mirror=is_photo)
    accuracy = (probabilities.argmax(axis=1) == dataset.y_test).mean()
    print(f"Test accuracy of the mean answer to six views of each image: {accuracy:.2%}")


if __name__ == "__main__":
    cli.run(main)
