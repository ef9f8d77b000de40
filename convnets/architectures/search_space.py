"""The networks among which search_models.py searches: a choice of settings, and its network.

They are Sequential networks of the articles' kind: blocks of convolutions, each block with pooling at its end, then
dense layers. What `layers` lists is both what `build_model` builds and what search_script.py writes, so they can't
differ.
"""

import hashlib
import math

# blocks: of convolutions, each followed by pooling. convolutions: in a block. filters: of the first block's ones.
# growth: each block has so many times the filters of the one before. kernel: its height and width. dropout: after each
# block. flatten: what the dense layers get, all values of the last feature maps or the mean of each. dense_layers:
# before the one that answers, each with so many units and dense_dropout.
CHOICES = {
    "blocks": (3, 4),
    "convolutions": (1, 2),
    "filters": (16, 24, 32),
    "growth": (1.5, 2.0),
    "kernel": (3, 5),
    "normalization": ("none", "batch"),
    "activation": ("relu", "leaky_relu", "silu"),
    "dropout": (0.0, 0.1, 0.2),
    "flatten": ("all", "mean"),
    "dense_layers": (0, 1, 2),
    "units": (128, 256),
    "dense_dropout": (0.0, 0.25, 0.5),
    "optimizer": ("adamw", "sgd"),
    "batch_size": (32, 64, 128),
    "augmentation": ("none", "flip", "flip and shift", "flip, shift and zoom"),
}
RANGES = {"learning_rate": (5e-4, 5e-3), "weight_decay": (1e-2, 0.3)}  # AdamW's, on a logarithmic scale
FIRST = {  # where the search begins: improved_model.py, as nearly as these choices have it
    "blocks": 3, "convolutions": 2, "filters": 32, "growth": 2.0, "kernel": 3, "normalization": "none",
    "activation": "relu", "dropout": 0.2, "flatten": "all", "dense_layers": 2, "units": 256, "dense_dropout": 0.5,
    "optimizer": "adamw", "batch_size": 64, "augmentation": "flip, shift and zoom",
    "learning_rate": 5e-4, "weight_decay": 0.1,
}  # fmt: skip
SGD_FACTOR = 20  # SGD takes as many times larger steps, with as many times smaller decay


def fingerprint():
    """Return a few characters that change with the networks that a search may find."""
    return hashlib.sha256(repr((CHOICES, RANGES)).encode()).hexdigest()[:8]


def is_possible(choice):
    """Return whether each setting of a choice, a dict or a row of a table, is one that a search can make."""
    ranges = ((choice.get(name), low, high) for name, (low, high) in RANGES.items())
    return all(_is_one_of(choice.get(name), values) for name, values in CHOICES.items()) and all(
        isinstance(value, float) and low <= value <= high for value, low, high in ranges
    )


def _is_one_of(value, values):
    """Whether a value is among others, with its type: a whole number in a script is none with a point."""
    value = value.item() if hasattr(value, "item") else value  # NumPy's
    return any(value == each and type(value) is type(each) for each in values)


def layers(choice, input_shape, num_classes):
    """Return a network's layers as [(name of the Keras class, positional arguments, keyword arguments)].

    choice: {setting: one of CHOICES, or a number within RANGES}. Small images get fewer blocks, since each halves them.
    """
    listed = []
    blocks = min(choice["blocks"], int(math.log2(min(input_shape[:2]))))
    normalized = choice["normalization"] == "batch"
    bias = {"use_bias": False} if normalized else {}  # the normalization would remove it

    def activate():
        if normalized:
            listed.append(("BatchNormalization", (), {"momentum": 0.9}))
        listed.append(("Activation", (choice["activation"],), {}))

    def drop(rate):
        if rate:
            listed.append(("Dropout", (rate,), {}))

    number = 0
    for block in range(blocks):
        filters = 8 * round(choice["filters"] * choice["growth"] ** block / 8)
        for _ in range(choice["convolutions"]):
            number += 1
            settings = {"padding": "same", **bias, "name": f"conv{number}"}
            listed.append(("Conv2D", (filters, (choice["kernel"], choice["kernel"])), settings))
            activate()
        listed.append(("MaxPooling2D", ((2, 2),), {"name": f"pool{block + 1}"}))
        drop(choice["dropout"])
    listed.append(("Flatten" if choice["flatten"] == "all" else "GlobalAveragePooling2D", (), {}))
    for number in range(1, choice["dense_layers"] + 1):
        listed.append(("Dense", (choice["units"],), {**bias, "name": f"fc{number}"}))
        activate()
        drop(choice["dense_dropout"])
    listed.append(("Dense", (num_classes,), {"name": f"fc{choice['dense_layers'] + 1}"}))
    listed.append(("Activation", ("softmax",), {"dtype": "float32"}))
    return listed


def build_model(choice, input_shape, num_classes):
    """Return the keras.Sequential network of a choice, not compiled."""
    import keras

    listed = layers(choice, input_shape, num_classes)
    made = [getattr(keras.layers, name)(*arguments, **settings) for name, arguments, settings in listed]
    return keras.Sequential([keras.Input(input_shape), *made])


def optimizer_settings(choice):
    """Return (the name of the optimizer's class, its highest learning rate, its other settings)."""
    rate, decay = choice["learning_rate"], choice["weight_decay"]
    if choice["optimizer"] == "adamw":
        return "AdamW", rate, {"weight_decay": decay}
    return (
        "SGD",
        _short(SGD_FACTOR * rate),
        {"momentum": 0.9, "nesterov": True, "weight_decay": _short(decay / SGD_FACTOR)},
    )


def compile_model(choice, model, epochs, steps_per_epoch):
    """Compile a network: the learning rate rises for an epoch, then falls along half a cosine to 0."""
    import keras

    name, rate, settings = optimizer_settings(choice)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=max(1, epochs - 1) * steps_per_epoch, warmup_target=rate, warmup_steps=steps_per_epoch
    )
    optimizer = getattr(keras.optimizers, name)(schedule, **settings)
    model.compile(loss="categorical_crossentropy", optimizer=optimizer, metrics=["accuracy"])


def augmentation_settings(choice, flippable):
    """Return the arguments of augmentation.Augmentation, or None for no augmentation."""
    words = choice["augmentation"]
    settings = {
        "zoom": 0.1 if "zoom" in words else 0.0,
        "shift": 0.1 if "shift" in words else 0.0,
        "horizontal_flip": flippable and "flip" in words,
    }
    return settings if any(settings.values()) else None


def rounded(choice):
    """Return a choice as a script prints it, with three significant digits: the network trained is the one printed."""
    return {name: _short(value) if name in RANGES else value for name, value in choice.items()}


def _short(value):
    return float(f"{value:.3g}")
