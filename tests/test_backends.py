"""The same arrays, and all four views, on each backend that Keras can compute with.

KERAS_BACKEND counts only before Keras is imported, so each backend has a process of its own, which calls `main` here.
"""

import functools
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from convnets import cli, paths

STASHED = paths.PRETRAINED


@pytest.fixture(params=["jax", "torch"])
def backend(request):
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed: pip install -r requirements-backends.txt")
    return request.param


def python(backend, *arguments):
    """Runs Python on a backend, on the CPU, since GPUs multiply with fewer digits (TF32) than the tests ask for."""
    settings = {"KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "-1", "KERAS_TORCH_DEVICE": "cpu"}
    result = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=paths.PROJECT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@functools.cache
def arrays_on(backend):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "arrays.npz"
        program = "import sys; sys.path.insert(0, 'tests'); import test_backends; test_backends.main(sys.argv[1])"
        assert python(backend, "-c", program, path).split() == [backend]
        with np.load(path) as arrays:
            return dict(arrays)


def test_every_backend_gives_the_same_arrays(backend):
    found, expected = arrays_on(backend), arrays_on("tensorflow")
    assert list(found) == list(expected)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-4, err_msg=name)


def test_every_view_on_every_backend(backend, tmp_path):
    views = {
        "visualize_results": [],
        "visualize_pixel_importance": ["--stride", "4"],
        "visualize_hidden_layer_activation": ["--units", "2", "--steps", "3"],
        "visualize_hidden_layer_output": [],
        "visualize_building_blocks": [],
    }
    program = """
import importlib, json, sys
for view, options in json.loads(sys.argv[1]).items():
    importlib.import_module(view).main([*options, *sys.argv[3:], "--output-dir", f"{sys.argv[2]}/{view}"])
"""
    options = ["--run", STASHED / "basic_model-digits", "--dataset", "digits", "--seed", 1]
    said = python(backend, "-c", program, json.dumps(views), tmp_path, *options)
    for view in views:
        pictures = list((tmp_path / view).glob("basic_model-digits-*.png"))
        assert pictures, view
        for picture in pictures:
            assert f"Picture: {picture}" in said
            assert np.asarray(Image.open(picture).convert("L")).std() > 5


def test_a_network_of_an_article_on_every_backend(backend, tmp_path):
    """Its images held out are evaluated amid a training, which each backend does in its own way."""
    program = """
import sys
from pathlib import Path
import compare_models
from convnets import paths
paths.MODELS = Path(sys.argv[1]) / "models"
compare_models.main(["scadamale-dense", "--dataset", "digits", "--epochs", "3", "--output-dir", sys.argv[1]])
"""
    said = python(backend, "-c", program, tmp_path)
    assert "Picture:" in said
    history = pd.read_csv(tmp_path / "models" / "scadamale-dense-digits" / "history.csv")
    assert history["loss"].is_monotonic_decreasing
    assert history["held_out_accuracy"].iloc[-1] > 0.5


def test_the_fast_network_trains_and_goes_on_on_every_backend(backend, tmp_path):
    options = ["--dataset", "digits", "--target", 85, "--run", tmp_path / "run"]
    python(backend, "fast_model.py", *options, "--epochs", 1)
    said = python(backend, "fast_model.py", *options)
    assert "as in the run that is there" in said
    assert "of the mean answer to 3 views" in said
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    assert history["loss"].is_monotonic_decreasing
    assert history["val_accuracy"].iloc[-1] > 0.5


# ---------------------------------------------------------------- in a process of its own


def two_steps_of_the_fast_network():
    """Yields (name, array) of its weights after two steps with Muon, from the same first weights."""
    import keras

    import fast_model
    from convnets.architectures.optimizers import Muon

    rng = np.random.default_rng(0)
    model = fast_model.build_model((16, 16, 1), 10, (8, 12, 128))
    model.set_weights(
        [
            rng.normal(0, 0.2, weight.shape) if "kernel" in weight.path else keras.ops.convert_to_numpy(weight)
            for weight in model.weights
        ]
    )
    model.compile(loss="categorical_crossentropy", optimizer=Muon(0.1, weight_decay=0.1))
    for _ in range(2):
        model.train_on_batch(
            rng.random((20, 16, 16, 1), dtype="float32"), np.eye(10, dtype="float32")[np.arange(20) % 10]
        )
    for number, weight in enumerate(model.weights):
        yield f"fast_model {number} {weight.name}", keras.ops.convert_to_numpy(weight)


def every_view_as_arrays(run, images):
    """Yields (name, array) of what the four views compute of a run's network; images: (n, h, w, c) uint8."""
    from convnets.training import checkpoints
    from convnets.views import (
        activation_maximization,
        attribution,
        feature_maps,
        introspection,
        occlusion,
        sliding_filter,
    )

    model = checkpoints.load_model(STASHED / run)
    logits = introspection.logits(model)
    probabilities = introspection.predict(model, images)
    yield "predict", probabilities

    # Where the network is least sure, hiding a patch changes the most.
    least_sure = probabilities.max(axis=1).argmin()
    image, answer = introspection.as_pixels(images[least_sure]), probabilities[least_sure].argmax()
    for score in ("probability", "logit"):
        for patch, stride in (((4, 4), (2, 2)), ((7, 5), (3, 4))):
            options = {"patch": patch, "stride": stride, "score": score}
            yield f"occlusion_map {options}", occlusion.occlusion_map(model, image, answer, **options)
    order = np.random.default_rng(0).random(image.shape[:2])
    removal = occlusion.removal(model, image, answer, order)
    yield "deletion", removal.deletion
    yield "insertion", removal.insertion
    yield "integrated_gradients", attribution.integrated_gradients(logits, image, answer)
    yield "grad_cam", attribution.grad_cam(logits, image, answer)

    for layer, outputs in feature_maps.layer_outputs(model, images[:8]).items():
        yield f"layer_outputs {layer}", outputs
    for filtered in sliding_filter.strongest(model, image, 3):
        yield f"filter {filtered.unit}", filtered.response
    for layer, channels in feature_maps.dead_channels(model, images).items():
        yield f"dead_channels {layer}", np.array(channels)

    # Few steps: even without edges rounding grows, most where a gradient is nearly zero and Adam asks for its sign.
    convolution, dense = (
        [layer.name for layer in layers][-1]
        for layers in (introspection.convolutions(model), [layer for layer in model.layers if layer.weights])
    )
    for layer in (convolution, dense):
        for method in ("plain", "fourier"):
            found = activation_maximization.maximize(without_edges(model), layer, [0, 3], steps=5, method=method)
            for kind, array in zip(("images", "activations"), found, strict=True):
                yield f"maximize {layer} {method} {kind}", array


def without_edges(model):
    """The same network with smooth activation functions and poolings.

    At an edge of a ReLU or of a max-pooling rounding decides which way the gradient goes, and one such pixel is
    enough to lead an ascent elsewhere: Adam's first step takes little but the gradient's sign.
    """
    import keras

    def smooth(layer):
        config = layer.get_config()
        if isinstance(layer, keras.layers.MaxPooling2D):
            return keras.layers.AveragePooling2D.from_config(config)
        if getattr(layer, "activation", None) is keras.activations.relu:
            config["activation"] = "silu"
        return type(layer).from_config(config)

    smoothed = keras.models.clone_model(model, clone_function=smooth)
    smoothed.set_weights(model.get_weights())
    return smoothed


def main(path):
    with cli.importing_keras():
        import keras

        from convnets.data import datasets

    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (8, 5, 5, 3), dtype="uint8")
    smooth = np.stack([Image.fromarray(each).resize((32, 32), Image.Resampling.BICUBIC) for each in noise])
    images = {"basic_model-digits": datasets.load("digits").x_test, "improved_model-cifar10": smooth}
    arrays = {f"{run} {name}": array for run in images for name, array in every_view_as_arrays(run, images[run])}
    np.savez(path, **arrays, **dict(two_steps_of_the_fast_network()))
    print(keras.backend.backend())
