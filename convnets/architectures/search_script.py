"""Write a network that search_models.py found as a script of plain layers, like basic_model.py."""

from pathlib import Path

from convnets import cli
from convnets.architectures import search_space

FIRST_LINE = '"""Train the network that search_models.py found.'
SCRIPT = '''{first_line}

    python {name}.py --dataset {dataset}

{found}

Stop and resume it like basic_model.py. To make the network deeper or wider, change it here, and start with --fresh.
"""

import math

from convnets import cli

EPOCHS = {epochs}
BATCH_SIZE = {batch_size}
PRECISION = "{precision}"  # as in the search


def build_model(input_shape, num_classes):
    """Build the network. The comments give each layer's output shape for {image}."""
    from keras import Input, Sequential
    from keras.layers import {layer_names}

    return Sequential(
        [
{layers}
        ]
    )


def compile_model(model, steps_per_epoch):
    """Compile with {optimizer}. Its learning rate rises for an epoch, then falls along half a cosine to 0."""
    import keras

    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=(EPOCHS - 1) * steps_per_epoch, warmup_target={rate}, warmup_steps=steps_per_epoch
    )
    optimizer = keras.optimizers.{optimizer}(schedule, {settings})
    model.compile(loss="categorical_crossentropy", optimizer=optimizer, metrics=["accuracy"])
{augmentation}

def main(argv=None):
    defaults = {{"epochs": EPOCHS, "batch_size": BATCH_SIZE, "precision": PRECISION}}
    parser = cli.training_options("{name}", description=__doc__, **defaults)
    options = parser.parse_args(argv)
    if options.epochs > EPOCHS:
        parser.error(f"the learning rate is 0 after {{EPOCHS}} epochs: train no longer, or change EPOCHS")

    with cli.importing_keras(options):  # after the options, since importing Keras takes seconds
        import keras

        from convnets.data import datasets
        from convnets.training import training
        from convnets.views import calibration

    # Data
    dataset = datasets.load(options.dataset, options.data_dir, image_size=options.image_size)
    training.describe(dataset)
    augment = {augment}

    # Model
    keras.utils.set_random_seed(options.seed)
    model = build_model(dataset.input_shape, dataset.num_classes)
    compile_model(model, steps_per_epoch=math.ceil(len(dataset.x_train) / options.batch_size))
    model.summary()

    # Training
    run = options.run or cli.run_folder(f"{name}-{{dataset.name}}")
    recipe = training.Recipe(
        epochs=options.epochs,
        batch_size=options.batch_size,
        seed=options.seed,
        augment=augment,
        initial_weights=options.weights,
        class_weights=options.class_weights,
    )
    # Tested after the last epoch only: no test accuracy is seen while something could still be changed.
    history = training.train(model, dataset, run, recipe, cli.run_options(options, test_each_epoch=False))
    training.report(history, run)
    calibration.keep(model, dataset, run)  # how far its probabilities can be trusted


if __name__ == "__main__":
    cli.run(main)
'''

AUGMENTATION = '''

def augmentation_for(flippable):
    """Return the random augmentation. flippable: a flipped cat is still a cat, but a flipped 2 is no digit."""
    from convnets.data.augmentation import Augmentation

    return Augmentation({settings})
'''


def script(choice, dataset, *, name, epochs, precision, found):
    """Return the text of a script that trains the network of a choice.

    dataset: the datasets.Dataset of the search. name: of the file, without .py. epochs: of its training.
    precision: "float32" or "bfloat16". found: sentences on how it was found, for its docstring.
    """
    input_shape, num_classes = dataset.input_shape, dataset.num_classes
    listed = search_space.layers(choice, input_shape, num_classes)
    optimizer, rate, settings = search_space.optimizer_settings(choice)
    augmentation = search_space.augmentation_settings(choice, flippable=True)
    if augmentation:
        words = _arguments({**augmentation, "horizontal_flip": "flippable"}).replace('"flippable"', "flippable")
        augmentation = AUGMENTATION.format(settings=words)
    height, width, channels = input_shape
    key = cli.command_line([Path(dataset.key).as_posix()])
    return SCRIPT.format(
        first_line=FIRST_LINE,
        name=name,
        dataset=key.replace("\\", "\\\\").replace('"', '\\"'),  # it stands in a docstring, which """ would end
        precision=precision,
        found=found,
        epochs=epochs,
        batch_size=choice["batch_size"],
        image=f"a {height}x{width} {'colour' if channels == 3 else 'grey'} image",
        layer_names=", ".join(sorted({layer for layer, _, _ in listed})),
        layers=_with_shapes(listed, choice, input_shape, num_classes),
        optimizer=optimizer,
        rate=rate,
        settings=_arguments(settings),
        augmentation=augmentation or "",
        augment="augmentation_for(dataset.flippable)" if augmentation else "None",
    )


def _with_shapes(listed, choice, input_shape, num_classes):
    model = search_space.build_model(choice, input_shape, num_classes)
    rows = [("Input(input_shape),", _shape(input_shape))]
    for (name, arguments, settings), layer in zip(listed, model.layers, strict=True):
        words = [_text(argument) for argument in arguments] + ([_arguments(settings)] if settings else [])
        rows.append((f"{name}({', '.join(words)}),", _shape(layer.output.shape[1:])))
    rows[-2] = (rows[-2][0].replace(f"Dense({num_classes}", "Dense(num_classes"), rows[-2][1])
    width = max(len(code) for code, _ in rows)
    before, lines = None, []
    for code, shape in rows:  # a layer that keeps the shape has no comment
        comment = f"  # {' ' * (width - len(code))}{shape}" if shape != before else ""
        lines.append(f"            {code}{comment}")
        before = shape
    return "\n".join(lines)


def _arguments(settings):
    return ", ".join(f"{name}={_text(value)}" for name, value in settings.items())


def _text(value):
    return repr(value).replace("'", '"')


def _shape(sizes):
    return " x ".join(map(str, sizes))
