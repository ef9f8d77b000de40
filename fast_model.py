"""How far a plain stack of layers goes: 94 % on CIFAR-10 in minutes, without a GPU.

    python fast_model.py --target 80      about 12 seconds of training, 30 in all
    python fast_model.py --target 85      about 28 seconds, 48 in all
    python fast_model.py                  94 %: about 8 minutes, 9 in all
    python fast_model.py --target 95.5    about 69 minutes, 75 in all

Measured on two CPU cores that multiply bfloat16 numbers; float32 takes three times as long. For 94 and 95.5 the mean
answer to six views of each image counts. "Trick" marks what people have found in training as fast as they could, with
the points of accuracy that it adds to --target 85 (docs/fast.md). Stopping and going on works as in basic_model.py.
"""

import math
from collections import namedtuple

from convnets import cli
from convnets.training import autotune

# shift: images are moved by up to so many pixels; hole: the side of a grey square that hides a part of each, in pixels
Recipe = namedtuple("Recipe", ["filters", "epochs", "batch_size", "shift", "hole"], defaults=[2, 0])
RECIPES = {
    "80": Recipe((32, 64, 128), epochs=1, batch_size=500),
    "85": Recipe((32, 80, 128), epochs=2, batch_size=500),
    "94": Recipe((64, 256, 256), epochs=12, batch_size=1000, shift=4),
    "95.5": Recipe((128, 384, 384), epochs=50, batch_size=1000, shift=4, hole=12),
}


def build_model(input_shape, num_classes, filters=RECIPES["94"].filters):
    """Three blocks of two convolutions, then one dense layer; the shapes are those of a colour image, target 94."""
    from keras import Input, Sequential
    from keras.layers import Dense, GlobalMaxPooling2D, LeakyReLU, MaxPooling2D, Rescaling, Softmax

    from convnets.architectures.fast_layers import BatchNormalization, Conv2D  # as Keras's own, but faster on a CPU

    conv = {"padding": "same", "use_bias": False}  # a bias is of no use: the normalization takes it out
    norm = {"scale": False, "momentum": 0.6}  # its averages forget fast, as there are few steps
    layers = [
        Input(input_shape),  #                                              32 x 32 x 3
        Conv2D(8 * input_shape[-1], (2, 2), name="conv0", trainable=False),  # 31 x 31 x 24
        LeakyReLU(0.1),
    ]
    for block, width in enumerate(filters, start=1):  #                    64        256       256 filters
        layers += [
            Conv2D(width, (3, 3), **conv, name=f"conv{2 * block - 1}"),  # 31 x 31   15 x 15   7 x 7
            MaxPooling2D((2, 2), name=f"pool{block}"),  #                  15 x 15   7 x 7     3 x 3
            BatchNormalization(**norm),
            LeakyReLU(0.1),
            Conv2D(width, (3, 3), **conv, name=f"conv{2 * block}"),  #     15 x 15   7 x 7     3 x 3
            BatchNormalization(**norm),
            LeakyReLU(0.1),
        ]
    layers += [
        GlobalMaxPooling2D(name="pool4"),  #                               256
        Dense(num_classes, use_bias=False, name="fc1", dtype="float32"),  # 10
        Rescaling(1 / 9, dtype="float32"),  # Trick: it starts out unsure; without, it learns nothing
        Softmax(dtype="float32"),
    ]
    return Sequential(layers)


def set_first_weights(model, images):
    """Trick: the filters don't start at random. images: some training images, (n, height, width, channels), 0 to 1."""
    import numpy as np

    # 2.7 points: neighbouring pixels and the three colours are much alike. The first layer, never trained, undoes that:
    # its filters are the directions in which patches of 2x2 pixels vary, each divided by how far they vary in it.
    height, width, channels = images.shape[1:]
    corners = [images[:, y : y + height - 1, x : x + width - 1] for y in (0, 1) for x in (0, 1)]
    patches = np.stack(corners, axis=3).reshape(-1, 4 * channels)
    variances, directions = np.linalg.eigh(np.cov(patches, rowvar=False))
    filters = directions / np.sqrt(variances + 5e-4)
    filters = np.concatenate([filters, -filters], axis=1)  # both signs, for ReLU lets one of them through
    biases = -patches.mean(axis=0) @ filters
    model.get_layer("conv0").set_weights([filters.reshape(2, 2, channels, -1), biases])

    # In every other convolution, as many filters as it has inputs hand on one input each, so that nothing of the image
    # is lost on its way to the last layer, which a deep network would first have to learn.
    for number in range(1, 7):
        kernel = model.get_layer(f"conv{number}").get_weights()[0]
        copies = np.arange(min(kernel.shape[2:]))
        kernel[:, :, :, copies] = 0
        kernel[1, 1, copies, copies] = 1
        model.get_layer(f"conv{number}").set_weights([kernel])


def main(argv=None):
    by_target = {"epochs": None, "batch_size": None, "precision": None, "run": "fast_model-TARGET-DATASET"}
    parser = cli.training_options("fast_model", description=__doc__, **by_target)
    parser.add_argument("--target", choices=RECIPES, default="94", help="test accuracy in %% (default: %(default)s)")
    threads = "how many of them TensorFlow computes with (default: what is faster here)"
    parser.add_argument("--threads", type=cli.whole_number(1, 1024), metavar="N", help=threads)
    options = parser.parse_args(argv)
    recipe = RECIPES[options.target]

    if options.epochs and options.epochs > recipe.epochs:
        parser.error(f"the learning rate of target {options.target} is 0 after {recipe.epochs} epochs: take no more")

    with cli.importing_keras():  # after the options, since importing Keras takes seconds
        autotune.set_threads(options.threads)
        import keras

        from convnets.architectures.optimizers import Muon
        from convnets.data import augmentation, datasets
        from convnets.training import training
        from convnets.views import evaluation

    # Data
    dataset = datasets.load(options.dataset, options.data_dir)
    training.describe(dataset)
    a_twentieth = math.ceil(len(dataset.x_train) / 20)
    batch_size = options.batch_size or min(recipe.batch_size, a_twentieth)  # for small datasets: 20 steps an epoch
    # For long trainings of wide networks: images are moved, mirrored in every other epoch, for 95.5 partly hidden.
    height = dataset.input_shape[0]
    is_photo = dataset.name == "cifar10"  # a mirrored cat is still a cat, but a mirrored 2 is no digit at all
    augment = augmentation.ShiftAndCutOut(shift=recipe.shift * height // 32, hole=recipe.hole * height // 32)

    # Model
    run = options.run or cli.run_folder(f"fast_model-{options.target}-{dataset.name}")
    autotune.set_precision(options.precision, None if options.fresh else run)
    keras.utils.set_random_seed(options.seed)
    model = build_model(dataset.input_shape, dataset.num_classes, recipe.filters)
    set_first_weights(model, datasets.scale_pixels(dataset.x_train[:1000]))
    # Trick, 3.5 points over Nesterov's momentum (not tuned): steps that are large in all directions, and shrink to 0.
    steps = recipe.epochs * math.ceil(len(dataset.x_train) / batch_size)
    rate = keras.optimizers.schedules.PolynomialDecay(0.24, steps, end_learning_rate=0)
    # Trick, 0.4 points: nothing is certain. The right class shall get 82 %, and the others 2 % each.
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=0.2)
    model.compile(loss=loss, optimizer=Muon(rate, weight_decay=0.1), metrics=["accuracy"])
    model.summary()

    # Training
    history = training.train(
        model,
        dataset,
        run,
        epochs=options.epochs or recipe.epochs,
        batch_size=batch_size,
        augment=augment,
        alternate_flips=is_photo,
        **cli.training_settings(options),
    )
    training.report(history, run)

    # Trick, 1.2 points: ask six times. Test images are shown as they are, moved by a pixel, and all that mirrored.
    print("Looking at the test images from all sides ...")
    answers = evaluation.predict_with_tta(model, dataset.x_test, mirror=is_photo).argmax(axis=1)
    accuracy = (answers == dataset.y_test).mean()
    print(f"Test accuracy of the mean answer to {6 if is_photo else 3} views of each image: {accuracy:.2%}")


if __name__ == "__main__":
    cli.run(main)
