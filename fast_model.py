"""How far a plain stack of layers goes: 94 % on CIFAR-10 in minutes, without a GPU.

    python fast_model.py --target 80      about 9 seconds of training, 22 in all
    python fast_model.py --target 85      about 23 seconds, 38 in all
    python fast_model.py                  94 %: about 8 minutes, 9 in all
    python fast_model.py --target 95.5    about 69 minutes, 75 in all

Measured on two CPU cores with bfloat16 instructions; float32 takes three times as long, without AVX-512 eight times.
For 94 and 95.5 the accuracy is that with test-time augmentation. Stop and resume it like basic_model.py. In the code,
"Trick" marks published techniques, some with the points of accuracy that they add in two epochs (docs/fast.md).
"""

import math
from collections import namedtuple

from convnets import cli
from convnets.training import autotune

FIELDS = "filters epochs batch_size shift cutout highest_rate weight_decay label_smoothing"
# In pixels: shift, the largest random shift of an image; cutout, the side of the grey square that hides a part of it
Recipe = namedtuple("Recipe", FIELDS, defaults=[2, 0, 0.24, 0.1, 0.2])
RECIPES = {
    "80": Recipe((32, 64, 64), epochs=1, batch_size=500, shift=0, weight_decay=0),
    "85": Recipe((32, 80, 128), epochs=2, batch_size=500, shift=0, weight_decay=0, label_smoothing=0.1),
    "94": Recipe((64, 256, 256), epochs=12, batch_size=1000, shift=4),
    "95.5": Recipe((128, 384, 384), epochs=50, batch_size=1000, shift=4, cutout=12),
}


def build_model(input_shape, num_classes, filters=RECIPES["94"].filters):
    """Build three blocks of two convolutions, and one dense layer. The comments give output shapes for target 94."""
    from keras import Input, Sequential
    from keras.layers import Dense, GlobalMaxPooling2D, LeakyReLU, MaxPooling2D, Rescaling, Softmax

    from convnets.architectures.fast_layers import BatchNormalization, Conv2D  # like Keras's own, but faster on a CPU

    conv = {"padding": "same", "use_bias": False}  # the normalization would remove a bias
    norm = {"scale": False, "momentum": 0.6}  # short moving averages, since there are few steps
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
        Rescaling(1 / 9, dtype="float32"),  # Trick: small logits at first; without, it learns nothing
        Softmax(dtype="float32"),
    ]
    return Sequential(layers)


def set_first_weights(model, images):
    """Trick: initialise the filters by design. images: some training images, (n, height, width, channels), 0 to 1."""
    import numpy as np

    # Whitening, 2.7 points: neighbouring pixels and the three colours are strongly correlated. The first layer, never
    # trained, removes that: its filters are the principal components of 2x2 patches, scaled to about equal variance.
    height, width, channels = images.shape[1:]
    corners = [images[:, y : y + height - 1, x : x + width - 1] for y in (0, 1) for x in (0, 1)]
    patches = np.stack(corners, axis=3).reshape(-1, 4 * channels)
    variances, directions = np.linalg.eigh(np.cov(patches, rowvar=False))
    filters = directions / np.sqrt(variances + 5e-4)  # which keeps the weakest ones, mostly noise, small
    filters = np.concatenate([filters, -filters], axis=1)  # both signs, since ReLU passes only one
    biases = -patches.mean(axis=0) @ filters
    model.get_layer("conv0").set_weights([filters.reshape(2, 2, channels, -1), biases])

    # Identity (Dirac) initialisation: in all other convolutions, each of the first filters passes on one input channel
    # unchanged, so that the image reaches the last layer before anything is learned.
    for number in range(1, 7):
        kernel = model.get_layer(f"conv{number}").get_weights()[0]
        copies = np.arange(min(kernel.shape[2:]))
        kernel[:, :, :, copies] = 0
        kernel[1, 1, copies, copies] = 1
        model.get_layer(f"conv{number}").set_weights([kernel])


def compile_model(model, steps, recipe=RECIPES["94"]):
    """Compile with the Muon optimizer and label smoothing. steps: of the whole training. recipe: a Recipe."""
    import keras

    from convnets.architectures.optimizers import Muon

    # Trick, 3.5 points over Nesterov's momentum (not tuned): steps that are large in all directions, and shrink to 0.
    rate = keras.optimizers.schedules.PolynomialDecay(recipe.highest_rate, steps, end_learning_rate=0)
    # Trick: label smoothing. At 0.2, the right class gets 82 %, and each of the others 2 %.
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)
    model.compile(loss=loss, optimizer=Muon(rate, weight_decay=recipe.weight_decay), metrics=["accuracy"])


def main(argv=None):
    by_target = {"epochs": None, "batch_size": None, "run": "fast_model-TARGET-DATASET"}
    parser = cli.training_options("fast_model", description=__doc__, **by_target)
    parser.add_argument("--target", choices=RECIPES, default="94", help="test accuracy in %% (default: %(default)s)")
    cli.threads_option(parser)
    options = parser.parse_args(argv)
    recipe = RECIPES[options.target]
    if options.epochs and options.epochs > recipe.epochs:
        parser.error(f"the learning rate of target {options.target} is 0 after {recipe.epochs} epochs: train no longer")

    with cli.importing_keras(options):  # after the options, since importing Keras takes seconds
        autotune.set_threads(options.threads)
        import keras

        from convnets.data import augmentation, datasets
        from convnets.training import training
        from convnets.views import calibration, evaluation

    # Data
    dataset = datasets.load(options.dataset, options.data_dir, image_size=options.image_size)
    training.describe(dataset)
    height = dataset.input_shape[0]
    most = datasets.at_once(recipe.batch_size, dataset.input_shape)  # larger images take more memory
    batch_size = options.batch_size or min(most, math.ceil(len(dataset.x_train) / 20))  # for some steps at least
    augment = augmentation.ShiftAndCutOut(recipe.shift * height // 32, recipe.cutout * height // 32)

    # Model
    run = options.run or cli.run_folder(f"fast_model-{options.target}-{dataset.name}")
    autotune.set_precision(options.precision, None if options.fresh else run)
    keras.utils.set_random_seed(options.seed)
    model = build_model(dataset.input_shape, dataset.num_classes, recipe.filters)
    set_first_weights(model, datasets.scale_pixels(dataset.some(dataset.x_train, 1000)))
    compile_model(model, recipe.epochs * math.ceil(len(dataset.x_train) / batch_size), recipe)
    model.summary()

    # Training
    settings = {"initial_weights": options.weights, "class_weights": options.class_weights}
    settings["alternate_flips"] = dataset.flippable
    to_learn = training.Recipe(options.epochs or recipe.epochs, batch_size, options.seed, augment, **settings)
    history = training.train(model, dataset, run, to_learn, cli.run_options(options, test_each_epoch=False))
    training.report(history, run)
    calibration.keep(model, dataset, run)  # how far its probabilities can be trusted

    # Trick, 1.2 points: test-time augmentation, the mean over the image, two shifts of it, and their flips.
    print("Evaluating with test-time augmentation ...")
    print(f"Test accuracy with test-time augmentation: {evaluation.accuracy_with_tta(model, dataset):.2%}")


if __name__ == "__main__":
    cli.run(main)
