"""The same arrays, all views and training on each backend that Keras can compute with.

KERAS_BACKEND counts only before Keras is imported, so each backend has one process of its own, which calls `main` here.
"""

import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from convnets import cli, paths
from convnets.errors import UserError
from convnets.training import devices

VIEWS = {
    "visualize_results": [],
    "visualize_pixel_importance": ["--stride", "4"],
    "visualize_hidden_layer_activation": ["--units", "2", "--steps", "3"],
    "visualize_hidden_layer_output": [],
    "visualize_building_blocks": [],
}


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_backend_computes_what_tensorflow_does_draws_all_views_and_trains(backend, tmp_path):
    """In one process, on the CPU: GPUs multiply with fewer digits (TF32) than the comparison asks for."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: pip install -r requirements-backends.txt")
    program = "import sys; sys.path.insert(0, 'tests'); import test_backends; test_backends.main(sys.argv[1])"
    settings = {"KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "-1", "KERAS_TORCH_DEVICE": "cpu"}
    result = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=paths.PROJECT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert f"Backend: {backend}" in result.stdout

    expected = dict(all_arrays())
    with np.load(tmp_path / "arrays.npz") as found:
        assert list(found) == list(expected)
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-4, err_msg=name)

    for view in VIEWS:
        pictures = list((tmp_path / view).glob("basic_model-digits-*.png"))
        assert pictures, view
        for picture in pictures:
            assert f"Picture: {picture}" in result.stdout
            assert np.asarray(Image.open(picture).convert("L")).std() > 5

    # Held-out images are evaluated amid the training, which each backend does in its own way.
    history = pd.read_csv(tmp_path / "models" / "scadamale-dense-digits" / "history.csv")
    assert history["loss"].is_monotonic_decreasing
    assert history["held_out_accuracy"].iloc[-1] > 0.5

    assert "as in the run to resume" in result.stdout  # fast_model.py resumes in the precision of the first epoch
    assert "Test accuracy with test-time augmentation" in result.stdout
    history = pd.read_csv(tmp_path / "fast" / "history.csv")
    assert history["loss"].is_monotonic_decreasing
    assert history["val_accuracy"].iloc[-1] > 0.5


# ---------------------------------------------------------------- in the backend's process


def test_several_devices_need_jax(tiny_dataset):
    devices.spread(None, 10, tiny_dataset)
    with pytest.raises(UserError, match=r"--devices needs JAX: pip install -r requirements-backends\.txt"):
        devices.spread(2, 10, tiny_dataset)


@pytest.mark.slow
def test_three_devices_train_to_the_same_network_but_for_rounding(tmp_path):
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed: pip install -r requirements-backends.txt")
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    environment["XLA_FLAGS"] = "--xla_force_host_platform_device_count=3"

    def train(name, *options):
        command = [
            sys.executable,
            "basic_model.py",
            "--dataset",
            "digits",
            "--batch-size",
            "479",
            *options,
            "--precision",
            "float32",
        ]
        command += ["--run", str(tmp_path / name)]
        return subprocess.run(command, cwd=paths.PROJECT, env=environment, capture_output=True, text=True, check=False)

    refused = train("refused", "--devices", "3")
    assert refused.returncode == 2
    assert "batches of 479 among 1437 images leave one of 479, which does not divide evenly" in refused.stderr
    assert "there are only 3 (cpu:0, cpu:1, cpu:2)" in train("refused", "--devices", "4").stderr

    whole = ["--batch-size", "1437"]  # the last --batch-size counts
    assert train("one", *whole, "--epochs", "2").returncode == 0
    for epochs in ("1", "2"):  # stopped after the first epoch, and resumed
        trained = train("three", *whole, "--epochs", epochs, "--devices", "3")
        assert trained.returncode == 0, trained.stderr
        assert "Devices: cpu:0, cpu:1, cpu:2, 479 images of each batch on each" in trained.stdout
    one, three = (pd.read_csv(tmp_path / name / "history.csv") for name in ("one", "three"))
    np.testing.assert_allclose(three[["loss", "val_loss"]], one[["loss", "val_loss"]], rtol=1e-3)


def two_steps_of_the_fast_network():
    """Yields (name, array) of its weights after two steps with Muon, from the same first weights."""
    import keras

    import fast_model
    from convnets.architectures.optimizers import Muon

    rng = np.random.default_rng(0)
    model = without_edges(fast_model.build_model((16, 16, 1), 10, (8, 12, 128)))
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
        faithfulness,
        feature_maps,
        introspection,
        occlusion,
        sliding_filter,
    )

    model = checkpoints.load_model(paths.PRETRAINED / run)
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
    curves = faithfulness.deletion_insertion(model, image, answer, order)
    yield "deletion", curves.deletion
    yield "insertion", curves.insertion
    yield (
        "integrated_gradients",
        attribution.integrated_gradients(logits, image, answer, most_evaluations=33).attributions,
    )
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

    At the edge of a ReLU or a max pooling, rounding decides which way the gradient goes. One such pixel is enough to
    lead an optimizer elsewhere: Adam's first step takes little but the gradient's sign.
    """
    import keras

    def smooth(layer):
        config = layer.get_config()
        if isinstance(layer, keras.layers.MaxPooling2D):
            return keras.layers.AveragePooling2D.from_config(config)
        if isinstance(layer, keras.layers.GlobalMaxPooling2D):
            return keras.layers.GlobalAveragePooling2D.from_config(config)
        if isinstance(layer, keras.layers.LeakyReLU):
            return keras.layers.Activation("silu", name=layer.name)
        if getattr(layer, "activation", None) is keras.activations.relu:
            config["activation"] = "silu"
        return type(layer).from_config(config)

    smoothed = keras.models.clone_model(model, clone_function=smooth)
    smoothed.set_weights(model.get_weights())
    return smoothed


def all_arrays():
    """Yields (name, array) of all that the backends are compared by."""
    from convnets.data import datasets

    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (8, 5, 5, 3), dtype="uint8")
    smooth = np.stack([Image.fromarray(each).resize((32, 32), Image.Resampling.BICUBIC) for each in noise])
    images = {"basic_model-digits": datasets.load("digits").x_test, "improved_model-cifar10": smooth}
    for run in images:
        for name, array in every_view_as_arrays(run, images[run]):
            yield f"{run} {name}", array
    yield from two_steps_of_the_fast_network()


def main(folder):
    """Write into a folder: arrays.npz, the pictures of all views, two trained networks."""
    folder = Path(folder)
    paths.MODELS = folder / "models"
    with cli.importing_keras():
        import keras
    print(f"Backend: {keras.backend.backend()}")
    np.savez(folder / "arrays.npz", **dict(all_arrays()))

    run = ["--run", str(paths.PRETRAINED / "basic_model-digits"), "--seed", "1"]
    for view, options in VIEWS.items():
        importlib.import_module(view).main([*run, *options, "--output-dir", str(folder / view)])
    compare = ["scadamale-dense", "--dataset", "digits", "--epochs", "3", "--output-dir", str(folder)]
    importlib.import_module("compare_models").main(compare)
    fast = ["--dataset", "digits", "--target", "85", "--run", str(folder / "fast")]
    for epochs in (["--epochs", "1"], []):
        importlib.import_module("fast_model").main([*fast, *epochs])
