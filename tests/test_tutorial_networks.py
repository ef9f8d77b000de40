"""The networks of basic_model.py and improved_model.py, layer by layer."""

import pandas as pd
import pytest

import basic_model
import improved_model
from convnets.errors import UserError
from convnets.training import autotune, checkpoints


def shapes(model):
    return [
        (layer.name, layer.output.shape[1:]) for layer in model.layers if layer.name.startswith(("conv", "pool", "fc"))
    ]


def test_the_basic_network_is_the_article_s():
    model = basic_model.build_model((32, 32, 3), 10)
    assert shapes(model) == [
        ("conv1", (30, 30, 32)), ("conv2", (28, 28, 32)), ("pool1", (14, 14, 32)),
        ("conv3", (12, 12, 64)), ("conv4", (10, 10, 64)), ("pool2", (5, 5, 64)),
        ("fc1", (256,)), ("fc2", (10,)),
    ]  # fmt: skip
    assert [layer.rate for layer in model.layers if hasattr(layer, "rate")] == [0.25, 0.25, 0.5]
    # Weights and biases: 3x3 kernels, then the two dense layers.
    convolutions = (3 * 9 + 1) * 32 + (32 * 9 + 1) * 32 + (32 * 9 + 1) * 64 + (64 * 9 + 1) * 64
    assert model.count_params() == convolutions + (1600 + 1) * 256 + (256 + 1) * 10


def test_the_basic_network_takes_mnist():
    model = basic_model.build_model((28, 28, 1), 10)
    assert dict(shapes(model))["pool2"] == (4, 4, 64)
    assert model.output_shape == (None, 10)


def test_the_improved_network_is_the_published_one():
    model = improved_model.build_model((32, 32, 3), 10)
    assert shapes(model) == [
        ("conv1", (32, 32, 32)), ("conv2", (32, 32, 32)), ("pool1", (16, 16, 32)),
        ("conv3", (16, 16, 64)), ("conv4", (16, 16, 64)), ("pool2", (8, 8, 64)),
        ("conv5", (8, 8, 128)), ("conv6", (8, 8, 128)), ("pool3", (4, 4, 128)),
        ("fc1", (512,)), ("fc2", (256,)), ("fc3", (10,)),
    ]  # fmt: skip
    assert [layer.rate for layer in model.layers if hasattr(layer, "rate")] == [0.25, 0.25, 0.25, 0.5, 0.5]


@pytest.mark.slow
@pytest.mark.parametrize("script", [basic_model, improved_model])
def test_a_network_learns_in_bfloat16_and_its_run_keeps_this_precision(script, tmp_path, monkeypatch):
    options = ["--dataset", "digits", "--run", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        patch.setattr(autotune, "time_convolution", lambda: {"float32": 1.0, "bfloat16": 0.5})
        script.main([*options, "--epochs", "1"])
    with pytest.raises(UserError, match="precision was mixed_bfloat16, now float32"):
        script.main([*options, "--epochs", "2", "--precision", "float32"])
    script.main([*options, "--epochs", "2"])  # float32 would be faster now
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    assert len(history) == 2
    assert history["loss"].is_monotonic_decreasing
    script.main([*options, "--epochs", "1", "--fresh"])
    assert checkpoints.newest(tmp_path / "run")[0].run["options"]["precision"] == "float32"


def test_preview_draws_augmented_images(tmp_path, capsys):
    improved_model.main(["--dataset", "digits", "--preview", "--output-dir", str(tmp_path / "here")])
    picture = tmp_path / "here" / "augmentation-digits.png"
    assert f"Picture: {picture}" in capsys.readouterr().out
    assert picture.read_bytes()[:4] == b"\x89PNG"
