"""Transfer learning: the first layers of one network in another."""

import dataclasses

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import basic_model
import transfer_model
from convnets import cli
from convnets.data import datasets
from convnets.errors import UserError
from convnets.training import checkpoints, transfer


@pytest.fixture
def source():
    """basic_model.py's network, with random weights."""
    import keras

    keras.utils.set_random_seed(0)
    return basic_model.build_model((32, 32, 3), 10)


@pytest.fixture
def three_hundred_digits(monkeypatch):
    """Make the dataset digits small: 300 training and 100 test images."""
    digits = datasets.load("digits")
    few = dataclasses.replace(
        digits, x_train=digits.x_train[:300], y_train=digits.y_train[:300], x_test=digits.x_test[:100],
        y_test=digits.y_test[:100],
    )  # fmt: skip
    monkeypatch.setattr(datasets, "load", lambda *args, **options: few)


def test_the_first_layers_compute_what_they_did(source):
    import keras

    images = np.random.default_rng(0).random((3, 32, 32, 3), dtype="float32")
    kept = transfer.first_layers(source, (32, 32, 3), leave_out=2)
    assert [layer.name for layer in kept if layer.weights] == ["conv1", "conv2"]
    expected = keras.Model(source.inputs[0], source.layers[len(kept) - 1].output)(images)
    np.testing.assert_allclose(keras.Sequential(kept)(images), expected, atol=1e-6)


def test_kept_layers_take_larger_images_and_another_precision(source):
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = transfer_model.build_model(source, (48, 48, 3), 4)
    finally:
        keras.config.set_dtype_policy(before)
    assert model.output_shape == (None, 4)
    assert model.get_layer("conv1").compute_dtype == "bfloat16"
    np.testing.assert_array_equal(model.get_layer("conv1").get_weights()[0], source.get_layer("conv1").get_weights()[0])


def test_without_weights_all_layers_are_new_and_trainable():
    source, channels, on_record = transfer.load_source("fast_model-94-cifar10")
    assert channels == 3
    assert on_record.startswith("fast_model-94-cifar10 (")
    kept = transfer.first_layers(source, (32, 32, 3))
    new = transfer.first_layers(source, (32, 32, 3), with_weights=False)
    assert not kept[0].trainable
    assert not any(layer.trainable for layer in kept if "normalization" in layer.name)
    assert all(layer.trainable for layer in new)
    assert not np.array_equal(kept[0].get_weights()[0], new[0].get_weights()[0])


def test_the_last_layer_to_keep_can_be_named(source):
    assert transfer.first_layers(source, (32, 32, 3), layer="pool1")[-1].name == "pool1"
    with pytest.raises(UserError, match="no layer 'pool9': it has conv1"):
        transfer.first_layers(source, (32, 32, 3), layer="pool9")


@pytest.mark.parametrize(
    ("size", "layer", "message"),
    [(24, "conv4", "too small"), (32, "fc1", "returns no feature maps"), (48, "fc1", "returns no feature maps")],
)
def test_layers_that_can_not_be_kept(size, layer, message, source):
    import keras

    if size == 24:  # a network that shrinks its images more than any of ours
        source = keras.Sequential([keras.Input((96, 96, 3)), keras.layers.Conv2D(2, 40, name="conv4")])
    with pytest.raises(UserError, match=message):
        transfer.first_layers(source, (size, size, 3), layer=layer)


def test_a_layer_of_a_network_of_keras_applications_can_not_be_named():
    with pytest.raises(UserError, match="--layer is for runs; of mobilenet_v2 all layers are kept"):
        transfer.first_layers("mobilenet_v2", (96, 96, 3), layer="block_6_expand")


def test_the_new_last_layer_counts_each_class_as_much_if_asked_to(source):
    """Images of noise: without weights the answer for all is the class with nine times as many images."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (100, 32, 32, 3), "uint8"), np.repeat([0, 1], [90, 10])
    model, shares = transfer_model.build_model(source, (32, 32, 3), 2), {}
    for weights in (None, "balanced"):
        transfer_model.train_last_layer(model, images, labels, weights)
        shares[weights] = model.predict_on_batch(images / np.float32(255))[:, 1].mean()
    assert shares[None] == pytest.approx(0.1, abs=0.02)
    assert shares["balanced"] > 0.25


def test_other_channels_are_refused(source):
    with pytest.raises(UserError, match="takes images of 3 channels, and the dataset's have 1"):
        transfer.first_layers(source, (32, 32, 1))


@pytest.mark.parametrize("classes", [2, 3])
def test_a_dense_layer_does_what_logistic_regression_does(classes):
    rng = np.random.default_rng(0)
    labels = np.arange(60) % classes
    features = rng.normal(3, 2, (60, 5)) + labels[:, None]
    scaler = StandardScaler().fit(features)
    regression = LogisticRegression().fit(scaler.transform(features), labels)
    kernel, bias = transfer.dense_weights(regression, scaler)
    logits = features @ kernel + bias
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, regression.predict_proba(scaler.transform(features)), atol=1e-6)


def test_a_network_of_keras_applications():
    """With random weights: the pixels' range, the frozen normalization, and the least size."""
    rescaling, network = transfer.first_layers("mobilenet_v2", (32, 32, 3), with_weights=False)
    assert (rescaling.scale, rescaling.offset) == (2, -1)
    model = transfer_model.build_model("mobilenet_v2", (32, 32, 3), 5, with_weights=False)
    assert model.output_shape == (None, 5)
    assert network.output_shape[-1] == 1280
    with pytest.raises(UserError, match="from 75 pixels on"):
        transfer.first_layers("inception_v3", (32, 32, 3))
    with pytest.raises(UserError, match="mobilenet_v2 takes colour images, and the dataset's are grey"):
        transfer.first_layers("mobilenet_v2", (32, 32, 1))


def test_weights_that_can_not_be_downloaded(monkeypatch, recwarn):
    """That is said in one line, and Keras's warnings are not."""
    import warnings

    import keras

    def fail(*args, **options):
        warnings.warn("`input_shape` is undefined or non-square", stacklevel=1)
        raise Exception("URL fetch failure on https://example.com")

    monkeypatch.setattr(keras.applications, "MobileNetV2", fail)
    with pytest.raises(UserError, match=r"weights of mobilenet_v2 could not be downloaded \(URL fetch failure"):
        transfer.first_layers("mobilenet_v2", (96, 96, 3))
    assert not recwarn.list


def test_the_script_trains_compares_and_resumes(three_hundred_digits, tmp_path, monkeypatch, capsys):
    """From the digits' network to the digits: the new last layer alone reads most of them."""
    monkeypatch.setattr(transfer_model, "STEPS", 1)
    options = ["--dataset", "digits", "--from", "basic_model-digits", "--precision", "float32", "--batch-size", "500"]
    options += ["--epochs", "1", "--output-dir", str(tmp_path)]
    transfer_model.main([*options, "--compare"])
    run = cli.run_folder("transfer_model-digits")
    first = checkpoints.newest(run)[0]
    assert first.run["options"]["starts_from"].startswith("basic_model-digits (")
    scratch = checkpoints.newest(run.with_name("transfer_model-digits-scratch"))[0]
    assert first.history[0]["val_accuracy"] > scratch.history[0]["val_accuracy"] + 0.15
    assert (tmp_path / "transfer_model-digits-accuracy.png").is_file()
    transfer_model.main(options)
    assert "Resuming after epoch 1" in capsys.readouterr().out
    with pytest.raises(UserError, match="was planned for 1 epoch, not 2: --epochs 1 resumes it, --fresh starts anew"):
        transfer_model.main([*options, "--epochs", "2"])
    (run.with_name("transfer_model-digits-scratch") / "epoch-0001.json").write_text("{")
    with monkeypatch.context() as patch:
        patch.setattr(transfer_model, "build_model", pytest.fail)  # it is refused before the first training
        with pytest.raises(UserError, match=r"no sound checkpoint is left in .*-scratch"):
            transfer_model.main([*options, "--compare"])
    with pytest.raises(UserError, match="starts from was basic_model-digits"):
        transfer_model.main([*options[:2], "--from", "basic_model-mnist", *options[4:]])


def test_all_are_set_aside_at_once_so_that_a_fresh_comparison_goes_on(
    three_hundred_digits, tmp_path, monkeypatch, capsys
):
    """Stopped in the first training, whose resuming has no --fresh: the second one must be new, too."""
    from convnets.training import autotune, training

    monkeypatch.setattr(transfer_model, "STEPS", 1)
    monkeypatch.setattr(autotune, "set_precision", lambda *_: None)
    runs = [cli.run_folder(f"transfer_model-digits{ending}") for ending in ("", "-scratch")]
    for run in runs:
        run.mkdir(parents=True)
        (run / "epoch-0001.json").write_text("{}")

    def stop(*_, **__):
        assert not any(run.exists() for run in runs)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", stop)
    options = ["--dataset", "digits", "--from", "basic_model-digits", "--batch-size", "500", "--epochs", "1"]
    with pytest.raises(KeyboardInterrupt):
        transfer_model.main([*options, "--compare", "--fresh", "--output-dir", str(tmp_path)])
    assert capsys.readouterr().out.count("The old run is kept in") == 2


def test_an_interrupted_transfer_ends_in_the_same_bits(three_hundred_digits, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(transfer_model, "STEPS", 1)
    options = ["--dataset", "digits", "--from", "basic_model-digits", "--precision", "float32", "--batch-size", "500"]
    options += ["--epochs", "2"]
    transfer_model.main([*options, "--run", str(tmp_path / "whole")])

    from convnets.errors import Stopped
    from convnets.training import callbacks

    real = callbacks.SaveCheckpoint.on_epoch_end

    def stop_after_first(self, epoch, logs=None):
        real(self, epoch, logs)
        raise Stopped("stopped", 130)

    monkeypatch.setattr(callbacks.SaveCheckpoint, "on_epoch_end", stop_after_first)
    with pytest.raises(Stopped):
        transfer_model.main([*options, "--run", str(tmp_path / "broken")])
    monkeypatch.setattr(callbacks.SaveCheckpoint, "on_epoch_end", real)
    capsys.readouterr()
    transfer_model.main([*options, "--run", str(tmp_path / "broken")])
    assert "Resuming after epoch 1" in capsys.readouterr().out
    one, other = (checkpoints.load_model(tmp_path / name).get_weights() for name in ("whole", "broken"))
    for ours, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_a_network_of_keras_applications_trains_resumes_and_classifies(tmp_path, monkeypatch, capsys):
    """With random weights, since ImageNet's are a download."""
    import keras
    from PIL import Image

    import classify_pictures

    real, width = keras.applications.MobileNetV2, {"alpha": 0.35}
    monkeypatch.setattr(
        keras.applications, "MobileNetV2", lambda **options: real(**{**options, "weights": None, **width})
    )
    monkeypatch.setattr(transfer_model, "STEPS", 1)
    for number in range(40):
        path = tmp_path / "pets" / ("cats", "dogs")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 100, (32, 32, 3)) + 100 * (number % 2)
        Image.fromarray(noise.astype("uint8")).save(path)
    options = ["--dataset", str(tmp_path / "pets"), "--from", "mobilenet_v2", "--precision", "float32"]
    transfer_model.main([*options, "--epochs", "2"])
    transfer_model.main([*options, "--epochs", "2"])  # although Keras gives the layers other names
    assert "finished after 2 epochs. Its learning rate schedule has ended" in capsys.readouterr().out
    width["alpha"] = 0.5
    with pytest.raises(UserError, match="was trained with other options") as other:
        transfer_model.main([*options, "--epochs", "2"])
    assert len(str(other.value)) < 1000
    assert (
        checkpoints.newest(cli.run_folder("transfer_model-pets"))[0].run["options"]["starts_from"].startswith("mobile")
    )
    classify_pictures.main([str(path), "--run", "transfer_model-pets", "--output-dir", str(tmp_path)])
    assert f"{number}.png" in capsys.readouterr().out


def test_no_such_source():
    with pytest.raises(UserError, match="there is no network nowhere: name a run"):
        transfer_model.main(["--dataset", "digits", "--from", "nowhere"])


def test_weights_of_a_file_are_not_taken(capsys):
    with pytest.raises(SystemExit):
        transfer_model.main(["--dataset", "digits", "--weights", "some.weights.h5"])
    assert "unrecognized arguments: --weights" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["stashed", "..", "", "x" * 300])
def test_a_name_that_can_be_no_source(name):
    with pytest.raises(UserError, match="--from: "):
        transfer.load_source(name)


def test_a_folder_has_to_be_named(capsys):
    with pytest.raises(SystemExit) as ended:
        transfer_model.main([])
    assert ended.value.code == 2
    assert "required: --dataset" in capsys.readouterr().err
