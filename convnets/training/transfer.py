"""Take the first layers of a trained network into a new one.

Yosinski et al., "How transferable are features in deep neural networks?", 2014: first layers serve any photographs,
last ones the classes that they were trained on.
"""

import argparse
import functools
import os
import warnings

import keras
import numpy as np
from keras import layers

from convnets import cli
from convnets.errors import UserError, count, one_line
from convnets.training import checkpoints

# Networks of keras.applications: their class, the scale and offset of pixels from [0, 1] that they take, the least size
APPLICATIONS = {
    "mobilenet_v2": ("MobileNetV2", 2, -1, 32),
    "efficientnet_v2_b0": ("EfficientNetV2B0", 255, 0, 32),
    "convnext_tiny": ("ConvNeXtTiny", 255, 0, 32),
    "resnet50_v2": ("ResNet50V2", 2, -1, 32),
    "inception_v3": ("InceptionV3", 2, -1, 75),
}


def load_source(name):
    """Return (source, its number of channels, what it is for the record).

    name: one of APPLICATIONS, which is returned as it is; or a run, as a keras.Sequential.
    Raises UserError if there is no such network, or it is not a keras.Sequential.
    """
    if name in APPLICATIONS:
        return name, 3, f"{name} (ImageNet)"
    try:
        path = cli.trained_run(name)
    except argparse.ArgumentTypeError as error:
        raise UserError(f"--from: {error}") from error
    if not os.path.exists(path):
        raise UserError(
            f"there is no network {name}: name a run of models/ with --from, or one of {', '.join(APPLICATIONS)}"
        )
    model = checkpoints.load_model(path)
    if not isinstance(model, keras.Sequential):
        raise UserError(f"--from {name} is not a Sequential model: its layers can't be taken one by one")
    checkpoint, _ = checkpoints.newest(path) if path.is_dir() else (None, [])
    sha256 = f" ({checkpoint.weights_sha256[:16]})" if checkpoint else ""
    return model, model.input_shape[-1], f"{path.name}{sha256}"


def refuse_other_epochs(resumed, epochs):
    """Raise UserError if a run to resume was planned for another number of epochs: its learning rate depends on it.

    resumed: a checkpoints.Checkpoint of each run, or None if there is none yet.
    """
    for checkpoint in resumed:
        sessions = checkpoint.run["sessions"] if checkpoint else ()
        planned = sessions[0].get("epochs", epochs) if sessions else epochs
        if planned != epochs:
            raise UserError(
                f"the learning rate of {checkpoint.folder} was planned for {count(planned, 'epoch')}, not {epochs}: "
                f"--epochs {planned} resumes it, --fresh starts anew, --run names another run"
            )


def first_layers(source, input_shape, *, layer=None, leave_out=2, with_weights=True):
    """Return new layers like the first ones of a network, built for images of `input_shape`, as a list.

    source: as `load_source` returns it. layer: the name of the last layer to take. Default: of a run, the one before
    the last `leave_out` convolutions; of keras.applications, all but the classifier.
    with_weights: whether with the source's weights, or with new random ones, all of which are then trainable.
    Normalization keeps the means and variances that the source learned: those of a few pictures are poor.
    Raises UserError if there is no such layer, the images have other channels, or the weights can't be downloaded.
    """
    if isinstance(source, str):
        if layer is not None:
            raise UserError(f"--layer is for runs; of {source} all layers are kept: leave it out")
        return _application(source, input_shape, with_weights)
    if input_shape[-1] != source.input_shape[-1]:
        raise UserError(
            f"the network of --from takes images of {source.input_shape[-1]} channels, and the dataset's have "
            f"{input_shape[-1]}: name another network with --from"
        )
    taken, image = [], keras.Input(input_shape)
    for old in source.layers[: _count(source, layer, leave_out)]:
        config = {**old.get_config(), "dtype": keras.config.dtype_policy()}
        if not with_weights:
            config["trainable"] = True
        new = type(old).from_config(config)
        try:
            image = new(image)
        except ValueError as error:
            raise UserError(
                f"images of {input_shape[0]} x {input_shape[1]} pixels are too small for the layer {old.name} of "
                "--from: give a larger --image-size, or an earlier --layer"
            ) from error
        if len(image.shape) != 4:
            raise UserError(f"the layer {old.name} returns no feature maps: name an earlier one with --layer")
        if with_weights:
            new.set_weights([weight.astype("float32") for weight in old.get_weights()])
            new.trainable &= not isinstance(new, layers.BatchNormalization)
        taken.append(new)
    return taken


def _count(source, layer, leave_out):
    """Return how many layers of a keras.Sequential to take."""
    names = [each.name for each in source.layers]
    if layer is not None:
        if layer not in names:
            raise UserError(f"the network has no layer {layer!r}: it has {', '.join(names)}")
        return names.index(layer) + 1
    convolutions = [place for place, each in enumerate(source.layers) if isinstance(each, layers.Conv2D)]
    if len(convolutions) <= leave_out:
        raise UserError(
            f"the network of --from has {len(convolutions)} convolutions: name the last layer to keep with --layer"
        )
    return convolutions[-leave_out]


def _application(name, input_shape, with_weights):
    constructor, scale, offset, least = APPLICATIONS[name]
    if min(input_shape[:2]) < least:
        raise UserError(f"{name} takes images from {least} pixels on: give --image-size {least} or more")
    if with_weights and input_shape[-1] != 3:
        raise UserError(f"{name} takes colour images, and the dataset's are grey: name another network with --from")
    build = functools.partial(getattr(keras.applications, constructor), include_top=False, input_shape=input_shape)
    try:
        with warnings.catch_warnings(action="ignore"):  # of another size than in training, which is intended
            network = build(weights="imagenet" if with_weights else None)
    except Exception as error:  # Keras raises a bare Exception if a download fails
        raise UserError(
            f"the weights of {name} could not be downloaded ({one_line(error)}): go online, or leave out --from"
        ) from error
    if with_weights:
        for each in network.layers:
            each.trainable &= not isinstance(each, layers.BatchNormalization)
    return [layers.Rescaling(scale, offset, name="pixels_in_range"), network]


def dense_weights(regression, scaler):
    """Return the weights [kernel (features, classes), bias (classes,)] of a dense layer that does what these two do.

    regression: a fitted sklearn LogisticRegression of features that the fitted StandardScaler `scaler` has scaled.
    """
    kernel, bias = regression.coef_.T, regression.intercept_
    if len(bias) == 1:  # two classes: scikit-learn keeps only the difference of their logits
        kernel, bias = np.concatenate([-kernel, kernel], axis=1) / 2, np.array([-bias[0], bias[0]]) / 2
    kernel = kernel / scaler.scale_[:, None]
    return [kernel, bias - scaler.mean_ @ kernel]
