"""The networks of keras.applications, with random weights, in all views and on all backends."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from convnets import paths
from convnets.training import checkpoints
from convnets.views import (
    activation_maximization,
    attribution,
    classifiers,
    feature_maps,
    introspection,
    occlusion,
    sliding_filter,
)

pytestmark = pytest.mark.slow

NAMES = ["ResNet50", "MobileNetV2", "EfficientNetV2B0", "DenseNet121", "ConvNeXtTiny"]


def picture():
    noise = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype="uint8")
    return Image.fromarray(noise).resize((96, 96), Image.Resampling.BICUBIC)


def views(path):
    """Yield (name, array) for all that the views compute of a network, in small."""
    model = classifiers.as_classifier(checkpoints.load_model(path), path)
    image, logits = np.asarray(picture(), "float32") / 255, introspection.logits(model)
    yield "logits", introspection.predict(logits, image[None])
    yield "occlusion", occlusion.occlusion_map(model, image, 0, patch=(48, 48), stride=(48, 48), score="logit")
    gradients = attribution.integrated_gradients(logits, image, 0, most_evaluations=33)
    yield "integrated gradients", gradients.attributions
    yield "Grad-CAM", attribution.grad_cam(logits, image, 0)
    layers = [step.name for step in introspection.convolutions(model)][:2]
    yield from feature_maps.layer_outputs(model, image[None], layers).items()
    yield "filter", sliding_filter.strongest(model, image, 1)[0].response
    images, _ = activation_maximization.maximize(model, layers[-1], [0], steps=1, method="plain")
    yield "maximised", images


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """{name: the network's .keras file}. Its last biases are random too, so that the two classes differ."""
    folder = tmp_path_factory.mktemp("applications")
    keras.utils.set_random_seed(1)
    for name in NAMES:
        getattr(keras.applications, name)(weights=None, input_shape=(96, 96, 3), classes=2).save(
            folder / f"{name}.keras"
        )
    return {name: folder / f"{name}.keras" for name in NAMES}


@pytest.fixture(scope="module")
def with_tensorflow(saved):
    return {f"{name} {view}": array for name in NAMES for view, array in views(saved[name])}


@pytest.mark.parametrize("name", NAMES)
def test_occlusion_against_brute_force(name, saved):
    model = classifiers.as_classifier(checkpoints.load_model(saved[name]), name)
    image = np.asarray(picture(), "float32") / 255
    logits, expected = introspection.logits(model), np.zeros((96, 96))
    for rows in (slice(0, 48), slice(48, 96)):
        for columns in (slice(0, 48), slice(48, 96)):
            occluded = image.copy()
            occluded[rows, columns] = 0.5
            pair = keras.ops.convert_to_numpy(logits(np.stack([image, occluded]), training=False))
            expected[rows, columns] = pair[0, 0] - pair[1, 0]
    found = occlusion.occlusion_map(model, image, 0, patch=(48, 48), stride=(48, 48), score="logit")
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_views_compute_the_same_on_every_backend(backend, saved, with_tensorflow, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: pip install -r requirements-backends.txt")
    command = [sys.executable, __file__, str(tmp_path / "arrays.npz"), *map(str, saved.values())]
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(paths.PROJECT)}
    subprocess.run(command, check=True, env=environment, cwd=paths.PROJECT)
    arrays = np.load(tmp_path / "arrays.npz")
    assert set(arrays.files) == set(with_tensorflow)
    for name, array in with_tensorflow.items():
        scale = np.abs(array).max() + 1e-6
        difference = np.abs(arrays[name] - array)
        # An edge of a ReLU may go either way in a gradient, so a few of its values may differ.
        assert np.quantile(difference, 0.95) <= 2e-2 * scale, name


@pytest.mark.parametrize("name", ["MobileNetV2"])
def test_the_scripts_draw_it(name, saved, tmp_path):
    """From the terminal's point of view: a .keras file, a picture, class names in a file."""
    import visualize_building_blocks
    import visualize_hidden_layer_activation
    import visualize_hidden_layer_output
    import visualize_pixel_importance

    (tmp_path / "names.txt").write_text("cat\ndog\n")
    picture().save(tmp_path / "mine.png")
    run = ["--run", str(saved[name]), "--output-dir", str(tmp_path / "figures")]
    one = [*run, "--image", str(tmp_path / "mine.png"), "--class-names", str(tmp_path / "names.txt")]
    visualize_pixel_importance.main([*one, "--compare", "--patch", "24", "--stride", "24"])
    visualize_hidden_layer_output.main(one)
    visualize_building_blocks.main(one)
    visualize_hidden_layer_activation.main([*run, "--units", "1", "--steps", "2", "--seed", "1"])
    drawn = {path.name for path in (tmp_path / "figures").glob("*.png")}
    assert {f"{name}-importance-mine.png", f"{name}-comparison-mine.png", f"{name}-window.png"} <= drawn
    assert len([picture for picture in drawn if "-output-" in picture]) == 24


if __name__ == "__main__":
    target, *files = map(Path, sys.argv[1:])
    np.savez(target, **{f"{file.stem} {view}": array for file in files for view, array in views(file)})
