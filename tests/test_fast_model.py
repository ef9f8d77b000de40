"""fast_model.py and what only it uses: the fused layer, the optimizer, the first weights, the fastest settings."""

import json
import os
import shutil
from unittest import mock

import keras
import numpy as np
import pandas as pd
import pytest

import fast_model
import visualize_hidden_layer_activation
import visualize_hidden_layer_output
import visualize_pixel_importance
import visualize_results
from benchmarks.kill_and_resume import differences
from convnets import backend
from convnets.architectures import fast_layers, optimizers
from convnets.data import augmentation, datasets
from convnets.errors import UserError
from convnets.training import autotune, checkpoints
from convnets.training.autotune import time_convolution  # not that of the tests, for which float32 is faster
from convnets.views import evaluation


@pytest.fixture
def rng():
    return np.random.default_rng(0)


# ---------------------------------------------------------------- batch normalization


TOLERANCES = {"float32": 1e-5, "mixed_bfloat16": 1e-2}  # as shares of the largest number; bfloat16 has 8 bits


def assert_close(ours, theirs, tolerance):
    ours, theirs = (keras.ops.convert_to_numpy(keras.ops.cast(x, "float32")) for x in (ours, theirs))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


@pytest.mark.parametrize("precision", TOLERANCES)
@pytest.mark.parametrize("scale", [True, False])
def test_the_fused_normalization_is_that_of_keras(scale, precision, rng):
    images = rng.normal(3, 2, (6, 5, 4, 3)).astype("float32")
    results = []
    for layer_class in (keras.layers.BatchNormalization, fast_layers.BatchNormalization):
        layer = layer_class(scale=scale, momentum=0.6, dtype=precision)
        layer.build(images.shape)
        layer.beta.assign([0.5, -1, 2])
        for _ in range(3):
            trained = layer(images, training=True)
        results.append([trained, layer(images, training=False), *layer.get_weights()])
    for theirs, ours in zip(*results, strict=True):
        assert_close(ours, theirs, TOLERANCES[precision])


@pytest.mark.parametrize("settings", [{"axis": 1}, {"axis": 2}, {"synchronized": True}])
def test_other_normalizations_are_left_to_keras(settings, monkeypatch):
    def call(self, inputs, training=None, mask=None):
        return "Keras's"

    monkeypatch.setattr(keras.layers.BatchNormalization, "call", call)
    layer = fast_layers.BatchNormalization(**settings)
    assert layer.call(np.ones((2, 3, 3, 3), "float32")) == "Keras's"
    assert fast_layers.BatchNormalization().call(np.ones((2, 3), "float32")) == "Keras's"


def test_the_fused_normalization_has_keras_gradients(rng):
    import tensorflow as tf

    images = tf.constant(rng.normal(3, 2, (6, 5, 4, 3)).astype("float32"))
    weights = tf.constant(rng.normal(0, 1, images.shape).astype("float32"))
    gradients = []
    for layer_class in (keras.layers.BatchNormalization, fast_layers.BatchNormalization):
        layer = layer_class()
        layer.build(images.shape)
        with tf.GradientTape() as tape:
            tape.watch(images)
            total = tf.reduce_sum(weights * layer(images, training=True))
        gradients.append(tape.gradient(total, [images, *(v.value for v in layer.trainable_variables)]))
    for theirs, ours in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_a_frozen_normalization_keeps_its_averages(rng):
    layer = fast_layers.BatchNormalization()
    layer.build((None, 4, 4, 3))
    layer.trainable = False
    images = rng.normal(3, 2, (6, 4, 4, 3)).astype("float32")
    np.testing.assert_allclose(layer(images, training=True), images, atol=2e-2)  # mean 0, variance 1, epsilon 0.001
    np.testing.assert_array_equal(layer.moving_mean, np.zeros(3))


# ---------------------------------------------------------------- convolution


@pytest.mark.parametrize("precision", TOLERANCES)
@pytest.mark.parametrize("kernel_size", [(3, 3), (2, 4)])
def test_the_convolution_and_its_gradients_are_those_of_keras(kernel_size, precision, monkeypatch):
    """Of Keras in float32, since its own gradient in bfloat16 is inexact on processors without instructions for it."""
    import tensorflow as tf

    ours_too, rng = mock.Mock(wraps=backend.convolve), np.random.default_rng(0)
    monkeypatch.setattr(backend, "convolve", ours_too)
    maps, weights, kernel = (
        tf.cast(tf.cast(rng.normal(size=shape), "bfloat16"), "float32")
        for shape in ((3, 5, 4, 128), (3, 5, 4, 7), (*kernel_size, 128, 7))
    )
    results = []
    for layer_class, computes_in in ((keras.layers.Conv2D, "float32"), (fast_layers.Conv2D, precision)):
        layer = layer_class(7, kernel_size, padding="same", use_bias=False, dtype=computes_in)
        layer.build(maps.shape)
        layer.set_weights([kernel])
        with tf.GradientTape() as tape:
            tape.watch(maps)
            outputs = layer(maps, training=True)
            total = tf.reduce_sum(weights * tf.cast(outputs, "float32"))
        results.append([outputs, *tape.gradient(total, [maps, layer.kernel.value])])
    for theirs, ours in zip(*results, strict=True):
        assert_close(ours, theirs, TOLERANCES[precision])
    in_use = precision == "mixed_bfloat16"  # in float32 the layer is Keras's
    assert ours_too.called == in_use


@pytest.mark.parametrize("kernel_size", [(3, 3), (2, 4)])
def test_the_kernel_gradient_in_float32_is_that_of_tensorflow(kernel_size, rng):
    """In float32 our gradient isn't used, but is right or wrong more clearly."""
    import tensorflow as tf

    maps = tf.constant(rng.normal(size=(3, 5, 4, 128)).astype("float32"))
    kernel = tf.constant(rng.normal(size=(*kernel_size, 128, 7)).astype("float32"))
    weights = tf.constant(rng.normal(size=(3, 5, 4, 7)).astype("float32"))
    gradients = []
    for convolution in (lambda maps, kernel: tf.nn.conv2d(maps, kernel, 1, "SAME"), backend.convolve):
        with tf.GradientTape() as tape:
            tape.watch([maps, kernel])
            total = tf.reduce_sum(weights * convolution(maps, kernel))
        gradients.append(tape.gradient(total, [maps, kernel]))
    for theirs, ours in zip(*gradients, strict=True):
        assert_close(ours, theirs, TOLERANCES["float32"])


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"strides": 2}, (6, 6, 128)),
        ({"dilation_rate": 2}, (6, 6, 128)),
        ({"groups": 2}, (6, 6, 128)),
        ({"padding": "valid"}, (6, 6, 128)),
        ({"activation": "relu"}, (6, 6, 128)),
        ({"use_bias": True}, (6, 6, 128)),
        ({"data_format": "channels_first"}, (6, 6, 128)),
        ({}, (6, 9, 128)),
        ({}, (6, 6, 127)),
        ({}, (None, None, 128)),
        ({"dtype": "float32"}, (6, 6, 128)),
    ],
)
def test_other_convolutions_are_left_to_keras(options, shape, monkeypatch):
    monkeypatch.setattr(backend, "convolve", lambda *_: "ours")
    monkeypatch.setattr(keras.layers.Conv2D, "call", lambda self, inputs: "Keras's")

    def result(shape, **options):
        layer = fast_layers.Conv2D(4, 3, **{"padding": "same", "use_bias": False, "dtype": "mixed_bfloat16", **options})
        layer.build((None, *shape))
        return layer.call(keras.Input(shape), training=True)

    assert result((6, 6, 128)) == "ours"
    assert result(shape, **options) == "Keras's"


# ---------------------------------------------------------------- Muon


def test_orthogonalized_keeps_directions_and_evens_out_sizes(rng):
    left, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    right, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    sizes = np.array([10, 5, 2, 1])
    matrix = (left[:, :4] * sizes) @ right.T
    result = keras.ops.convert_to_numpy(optimizers.orthogonalize(matrix.astype("float32"), steps=5))
    np.testing.assert_allclose(np.linalg.svd(result)[1], 1, atol=0.35)
    in_its_directions = left[:, :4].T @ result @ right
    np.testing.assert_allclose(in_its_directions, np.diag(np.diag(in_its_directions)), atol=1e-4)
    assert (np.diag(in_its_directions) > 0.6).all()
    wide = keras.ops.convert_to_numpy(optimizers.orthogonalize(matrix.T.astype("float32"), steps=5))
    np.testing.assert_allclose(wide, result.T, atol=1e-4)


def test_three_steps_lift_small_sizes_as_far_as_the_docstring_says():
    for size, lifted in ((0.01, 0.4), (0.02, 0.75)):
        result = optimizers.orthogonalize(np.diag([1, size, 0]).astype("float32"))
        assert float(result[1, 1]) == pytest.approx(lifted, abs=0.005)


def test_muon_on_a_number_is_worked_out_by_hand():
    """A convolution of one weight: its direction is all it has, so a step of any gradient has the same size."""
    kernel = keras.Variable(np.full((1, 1, 1, 1), 4.0, "float32"))
    optimizer = optimizers.Muon(0.1)
    optimizer.build([kernel])
    one = 1.0
    for _ in range(3):
        one = 3.4445 * one - 4.775 * one**3 + 2.0315 * one**5
    optimizer.apply([keras.ops.full((1, 1, 1, 1), 1e-3, "float32")])
    assert float(kernel.numpy().item()) == pytest.approx(1 - 0.1 * one, rel=1e-4)  # first 4 becomes 1
    optimizer.apply([keras.ops.full((1, 1, 1, 1), -5.0, "float32")])
    assert float(kernel.numpy().item()) == pytest.approx(1 + 0.1 * one, rel=1e-4)  # 0.93 becomes 1 first


def test_muon_on_a_convolution(rng):
    """The matrix has a column for each filter, and the filters a mean square length of 1."""
    start, gradient = (rng.normal(size=(3, 3, 2, 4)).astype("float32") for _ in range(2))
    kernel, optimizer = keras.Variable(start), optimizers.Muon(0.1)
    optimizer.build([kernel])
    optimizer.apply([keras.ops.convert_to_tensor(gradient)])
    step = keras.ops.convert_to_numpy(optimizers.orthogonalize(gradient.reshape(18, 4))).reshape(start.shape)
    mean_length = np.sqrt((np.linalg.norm(start.reshape(18, 4), axis=0) ** 2).mean())
    np.testing.assert_allclose(kernel.numpy(), start / mean_length - 0.1 * step, atol=1e-5)


@pytest.mark.parametrize(("shape", "rate"), [((3,), 0.2), ((2, 3), 0.1)])
def test_muon_moves_other_weights_like_keras_own_nesterov_momentum(shape, rate, rng):
    gradients, start = rng.normal(size=(5, *shape)).astype("float32"), rng.normal(size=shape).astype("float32")
    ours, theirs = keras.Variable(start), keras.Variable(start)
    muon = optimizers.Muon(0.01, dense_factor=10, offset_factor=20, other_momentum=0.85)
    sgd = keras.optimizers.SGD(rate, momentum=0.85, nesterov=True)
    for optimizer, variable in ((muon, ours), (sgd, theirs)):
        optimizer.build([variable])
        for gradient in gradients:
            optimizer.apply([keras.ops.convert_to_tensor(gradient)])
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_muon_has_momentum():
    with pytest.raises(ValueError, match="momentum above 0"):
        optimizers.Muon(momentum=0)


def test_muon_comes_back_from_its_configuration():
    muon = optimizers.Muon(0.3, momentum=0.5, dense_factor=7, offset_factor=8, other_momentum=0.4)
    assert keras.optimizers.deserialize(keras.optimizers.serialize(muon)).get_config() == muon.get_config()


# ---------------------------------------------------------------- first weights, shifts, views


@pytest.mark.parametrize("channels", [1, 3])
def test_the_first_layer_takes_out_what_neighbouring_pixels_have_in_common(channels, rng):
    smooth = rng.random((300, 5, 5, channels)).astype("float32").cumsum(axis=1).cumsum(axis=2) / 25
    images = np.repeat(np.repeat(smooth, 6, axis=1), 6, axis=2) + 0.1 * rng.random((300, 30, 30, channels))
    model = fast_model.build_model((30, 30, channels), 10, (4, 4, 4))
    fast_model.set_first_weights(model, images.astype("float32"))
    outputs = keras.ops.convert_to_numpy(model.get_layer("conv0")(images)).reshape(-1, 8 * channels)
    positive, negative = np.split(outputs, 2, axis=1)
    np.testing.assert_allclose(negative, -positive, atol=1e-4)
    covariance = np.cov(positive, rowvar=False)
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 0.02
    assert (np.diag(covariance) > 0.5).all()  # 1, but for directions in which hardly anything varies
    assert np.abs(positive.mean(axis=0)).max() < 0.02


def test_convolutions_start_by_handing_on_what_they_get(rng):
    model = fast_model.build_model((32, 32, 3), 10, (32, 40, 16))
    fast_model.set_first_weights(model, rng.random((10, 32, 32, 3), dtype="float32"))
    for name, inputs, filters in (("conv1", 24, 32), ("conv4", 40, 40), ("conv5", 40, 16)):
        maps = rng.random((2, 6, 6, inputs), dtype="float32")
        passed_on = min(inputs, filters)
        outputs = keras.ops.convert_to_numpy(model.get_layer(name)(maps))
        np.testing.assert_array_equal(outputs[..., :passed_on], maps[..., :passed_on])
        assert (outputs[..., passed_on:] != 0).any() == (filters > inputs)


def test_shifts_move_by_whole_pixels_and_mirror_at_the_edges():
    image = np.arange(49, dtype="float32").reshape(1, 7, 7, 1)
    shifted = augmentation.ShiftAndCutOut(2)(np.repeat(image, 500, axis=0), np.random.default_rng(0))
    padded = np.pad(image[0, ..., 0], 2, "reflect")
    possible = {padded[y : y + 7, x : x + 7].tobytes() for y in range(5) for x in range(5)}
    assert {moved.tobytes() for moved in shifted} == possible
    np.testing.assert_array_equal(augmentation.ShiftAndCutOut(0)(image, np.random.default_rng(0)), image)


def test_cutout_is_a_grey_square_around_a_random_pixel():
    images = np.zeros((200, 8, 9, 3), dtype="float32")
    cut_out = augmentation.ShiftAndCutOut(shift=0, cutout=4)(images, np.random.default_rng(0))
    assert set(np.unique(cut_out)) == {0, 0.5}
    areas = (cut_out[..., 0] == 0.5).sum(axis=(1, 2))
    assert areas.max() == 16
    assert areas.min() == 4  # 2 x 2 of it are left in a corner
    np.testing.assert_array_equal(cut_out[..., 0], cut_out[..., 2])
    possible = {
        tuple(np.pad(np.full((4, 4), 0.5), ((top, 8 - top), (left, 9 - left)))[2:10, 2:11].ravel())
        for top in range(8)
        for left in range(9)
    }
    assert {tuple(image) for image in cut_out[..., 0].reshape(200, -1)} <= possible


def test_the_mean_over_views_is_worked_out_by_hand():
    """The network returns the pixel at the left edge of the middle row."""
    left = keras.Sequential([keras.Input((3, 3, 1)), keras.layers.Cropping2D(((1, 1), (0, 2))), keras.layers.Flatten()])
    images = np.zeros((1, 3, 3, 1), dtype="uint8")
    images[0, :, :, 0] = [[9, 51, 9], [255, 9, 0], [9, 102, 9]]
    # as it is 1; down and right 0.2, since the column beyond the edge mirrors the second one; up and left 0.4
    assert evaluation.predict_with_tta(left, images, flip=False) == pytest.approx((1 + 0.2 + 0.4) / 3)
    # the mirror images: 0, 0.2 and 0.4
    assert evaluation.predict_with_tta(left, images, flip=True) == pytest.approx((1 + 0.2 + 0.4 + 0 + 0.2 + 0.4) / 6)


# ---------------------------------------------------------------- the fastest settings


@pytest.mark.parametrize(
    ("bfloat16_seconds", "precision"), [(0.5, "bfloat16"), (0.76, "bfloat16"), (0.78, "float32"), (3, "float32")]
)
def test_the_faster_precision_is_taken_where_it_is_clearly_faster(bfloat16_seconds, precision, monkeypatch, capsys):
    monkeypatch.setattr(autotune, "time_convolution", lambda: {"float32": 1.0, "bfloat16": bfloat16_seconds})
    autotune.set_precision()
    assert keras.config.dtype_policy().name == {"bfloat16": "mixed_bfloat16"}.get(precision, "float32")
    said = f"Precision: {precision} (bfloat16 takes {bfloat16_seconds:.2f} times as long as float32 here)\n"
    assert capsys.readouterr().out == said


@pytest.mark.parametrize("ratio", [1.9, 12.0])
def test_a_run_goes_on_in_its_own_precision_and_says_if_that_is_slow_here(ratio, monkeypatch, tmp_path, capsys):
    history = [{"epoch": 1, "accuracy": 0.5, "loss": 1.0, "seconds": 1.0}]
    for recorded, policy in (("mixed_bfloat16", "mixed_bfloat16"), ("float32", "float32"), (None, "float32")):
        seconds = {"float32": 1.0, "bfloat16": ratio}
        measure = (lambda seconds=seconds: seconds) if recorded == "mixed_bfloat16" else (lambda: pytest.fail("why?"))
        monkeypatch.setattr(autotune, "time_convolution", measure)
        run = {
            "options": {"optimizer": {}, **({"precision": recorded} if recorded else {})},
            "sessions": [],
            "class_names": [],
            "dataset": "x",
        }
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        (tmp_path / "run").mkdir()
        checkpoints.save(
            tmp_path / "run", keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]), run=run, history=history
        )
        autotune.set_precision(run_dir=tmp_path / "run")
        assert keras.config.dtype_policy().name == policy
        slow = recorded == "mixed_bfloat16" and ratio > 2
        said = capsys.readouterr().out
        assert ("It takes about 12 times as long as float32 here" in said, "--fresh" in said) == (slow, slow)


def test_the_gradient_counts_too_and_each_precision_by_its_best_round(monkeypatch):
    clock = mock.Mock(perf_counter=mock.Mock(return_value=0))

    def operation(float32, bfloat16):
        seconds = {"float32": float32, "bfloat16": bfloat16}

        def call(images, filters, padding):
            each = seconds[images.dtype.name]
            clock.perf_counter.return_value += each.pop(0) if len(each) > 1 else each[0]
            return images

        return call

    monkeypatch.setattr(autotune, "time", clock)
    monkeypatch.setattr(keras.ops, "conv", operation([50, 9, 9, 9, 1], [50, 1]))
    monkeypatch.setattr(keras.ops, "conv_transpose", operation([1], [20]))
    assert time_convolution() == {"float32": 2, "bfloat16": 21}


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setattr(autotune, "CACHE", tmp_path / "threads.json")
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "")
    return tmp_path / "threads.json"


@pytest.mark.slow
def test_the_trial_of_threads_really_runs(cache, capsys):
    assert autotune._fastest_thread_count(1, 2) in (1, 2)
    assert set(json.loads(cache.read_text()).values()) <= {1, 2}  # it is kept only if both trials ran


def test_where_a_core_runs_two_threads_the_faster_number_is_found_out_once(cache, monkeypatch, capsys):
    class Result:
        def __init__(self, seconds):
            self.stdout = f"a greeting\n{seconds}\n"

    tried = []

    def run(command, *, env, **_):
        tried.append(env["TF_NUM_INTRAOP_THREADS"])
        return Result({"2": 0.3, "4": 0.5}[tried[-1]])

    monkeypatch.setattr(autotune, "cores", lambda: (2, 4))
    monkeypatch.setattr(autotune.subprocess, "run", run)
    for _ in range(2):
        monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "0")  # which means nothing
        autotune.set_threads()
        assert os.environ["TF_NUM_INTRAOP_THREADS"] == "2"
        assert "Threads: 2, the faster of 2 and 4 here" in capsys.readouterr().out
    assert tried == ["2", "4"]
    monkeypatch.setattr(autotune, "cores", lambda: (2, 8))  # another machine, with which the folder is shared
    monkeypatch.setattr(
        autotune.subprocess, "run", lambda *_, env, **__: Result(1 / int(env["TF_NUM_INTRAOP_THREADS"]))
    )
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "")
    autotune.set_threads()
    assert os.environ["TF_NUM_INTRAOP_THREADS"] == "8"
    assert sorted(json.loads(cache.read_text()).values()) == [2, 8]
    monkeypatch.setattr(autotune, "cores", lambda: (2, 4))
    cache.write_text("no JSON")
    monkeypatch.setattr(autotune.subprocess, "run", lambda *_, **__: Result("an error"))
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "")
    autotune.set_threads()
    assert os.environ["TF_NUM_INTRAOP_THREADS"] == "4"  # TensorFlow's own choice


def test_other_threads_need_no_trial(cache, monkeypatch, capsys):
    monkeypatch.setattr(autotune, "_fastest_thread_count", lambda *_: pytest.fail("nothing to find out"))
    monkeypatch.setattr(autotune, "cores", lambda: (3, 3))
    for before, asked, threads in (("", None, "3"), ("5", None, "5"), ("5", 7, "7")):
        monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", before)
        autotune.set_threads(asked)
        assert os.environ["TF_NUM_INTRAOP_THREADS"] == threads
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    autotune.set_threads()
    with pytest.raises(UserError, match="--threads is for TensorFlow only"):
        autotune.set_threads(5)
    assert os.environ["TF_NUM_INTRAOP_THREADS"] == "7"
    said = "Threads: 3, one for each core", "Threads: 5, as TF_NUM_INTRAOP_THREADS says", "Threads: 7, as asked for"
    assert tuple(capsys.readouterr().out.splitlines()) == said


def test_a_system_that_does_not_count_its_cores(monkeypatch, capfd):
    from joblib.externals.loky.backend import context

    def not_found():
        try:
            raise OSError("no lscpu here")
        except OSError as error:
            return "not found", error

    monkeypatch.setattr(context, "_count_physical_cores", not_found)
    physical, logical = autotune.cores()
    assert physical == logical
    assert capfd.readouterr() == ("", "")


def test_both_precisions_can_be_measured():
    seconds = time_convolution(repeats=1)
    assert set(seconds) == {"float32", "bfloat16"}
    assert all(0 < value < 60 for value in seconds.values())


# ---------------------------------------------------------------- the script


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory):
    """A run of the target 85 on digits, two epochs in one go."""
    folder = tmp_path_factory.mktemp("fast") / "whole"
    options = ["--target", "85", "--dataset", "digits", "--precision", "float32", "--threads", "2"]
    fast_model.main([*options, "--run", str(folder)])
    return folder


def killed_in_the_second_epoch(whole, parts):
    """Copy of a run what a process that was killed in its second epoch leaves of it, or can make again."""
    shutil.copytree(whole, parts, ignore=lambda *_: ["history.csv", "training_curves.png", "calibration.json"])
    for path in parts.glob("epoch-0002.*"):
        path.unlink()


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bits(digits_run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(autotune, "time_convolution", lambda: {"float32": 1.0, "bfloat16": 0.5})
    killed_in_the_second_epoch(digits_run, tmp_path / "parts")
    options = ["--target", "85", "--dataset", "digits", "--threads", "2", "--run", str(tmp_path / "parts")]
    fast_model.main(options)  # at the precision that it was begun with, whatever is faster here
    assert differences(digits_run, tmp_path / "parts", 2) == []
    said = capsys.readouterr().out
    assert "Resuming after epoch 1" in said
    assert "Test accuracy with test-time augmentation" in said


@pytest.mark.slow
def test_a_killed_bfloat16_run_resumes_to_the_same_bits(tmp_path, capsys):
    """The wide network: its convolutions' gradients are computed by our own operation."""
    options = ["--target", "94", "--dataset", "digits", "--precision", "bfloat16", "--threads", "2"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    fast_model.main([*options, "--run", str(whole), "--epochs", "2"])
    killed_in_the_second_epoch(whole, parts)
    fast_model.main([*options, "--run", str(parts), "--epochs", "2"])
    assert "Resuming after epoch 1" in capsys.readouterr().out
    assert differences(whole, parts, 2) == []


def test_it_is_tested_after_its_last_epoch_only(digits_run):
    checkpoint, _ = checkpoints.newest(digits_run)
    assert [("val_accuracy" in row, "val_loss" in row) for row in checkpoint.history] == [(False, False), (True, True)]
    history = pd.read_csv(digits_run / "history.csv")
    assert history["val_accuracy"].isna().tolist() == [True, False]


def test_a_learning_rate_of_0_is_no_use(capsys):
    with pytest.raises(SystemExit) as end:
        fast_model.main(["--target", "85", "--epochs", "3"])
    assert end.value.code == 2
    assert "the learning rate of target 85 is 0 after 2 epochs: train no longer" in capsys.readouterr().err


def test_it_learns(digits_run):
    checkpoint, _ = checkpoints.newest(digits_run)
    assert checkpoint.history[-1]["val_accuracy"] > 0.9
    model = checkpoints.load_model(digits_run)
    dataset = datasets.load("digits")
    answers = model.predict(datasets.scale_pixels(dataset.x_test), verbose=0)
    assert (answers.argmax(axis=1) == dataset.y_test).mean() == pytest.approx(checkpoint.history[-1]["val_accuracy"])
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    "view",
    [
        visualize_results,
        visualize_pixel_importance,
        visualize_hidden_layer_activation,
        visualize_hidden_layer_output,
    ],
)
def test_all_views_can_look_at_it(view, digits_run, tmp_path, drawn):
    run = tmp_path / "fast"
    shutil.copytree(digits_run, run)
    options = ["--layer", "conv3", "--steps", "2"] if view is visualize_hidden_layer_activation else []
    view.main(["--run", str(run), "--seed", "1", "--output-dir", str(tmp_path / "figures"), *options])
    assert drawn


def test_the_recipe_to_use_is_the_fastest_one_whose_interval_lies_above_its_target():
    from benchmarks import choose_recipe

    candidates = {
        (32, 64, 128): (12.0, [0.815, 0.816, 0.817]),
        (24, 64, 128): (10.0, [0.805, 0.806, 0.807]),
        (16, 64, 128): (8.0, [0.79, 0.81, 0.83]),  # a mean of 81 %, and an interval from 76 %
        (16, 32, 128): (6.0, [0.81, 0.81, None]),  # one training failed
        (16, 16, 16): (2.0, [0.70, 0.70, 0.71]),
    }
    settings = choose_recipe.CANDIDATES["80"][0]
    trials = pd.DataFrame(
        {
            **choose_recipe.key("80", {**settings, "filters": filters}, seed),
            "held_out_accuracy": accuracy,
            "held_out_accuracy_with_views": accuracy and accuracy + 0.13,
            "training_seconds": seconds + seed,
        }
        for filters, (seconds, accuracies) in candidates.items()
        for seed, accuracy in enumerate(accuracies)
    )
    reached = choose_recipe.summary(trials, "80")
    assert list(reached["filters"]) == ["16-16-16", "16-32-128", "16-64-128", "24-64-128", "32-64-128"]
    assert list(reached["accuracy"].round(2)) == pytest.approx([70.33, np.nan, 81, 80.6, 81.6], nan_ok=True)
    assert reached["low"].iloc[3] == pytest.approx(80.6 - 4.3027 * 0.1 / 3**0.5, abs=1e-3)  # Student's t, 2 degrees
    best = choose_recipe.chosen(reached, "80")
    assert (best["filters"], best["seconds"]) == ("24-64-128", 11.0)
    best = choose_recipe.chosen(choose_recipe.summary(trials.assign(target=85.0), "85"), "85")
    assert best["filters"] == "32-64-128"  # none is above 85 %: the best one
    best = choose_recipe.chosen(choose_recipe.summary(trials[trials["seed"] == 1], "80"), "80")
    assert best["filters"] == "16-32-128"  # one seed each: the fastest one above 80 %
    # with test-time augmentation:
    best = choose_recipe.chosen(choose_recipe.summary(trials.assign(target=94.0), "94"), "94")
    assert (best["filters"], best["seconds"]) == ("32-64-128", 13.0)


@pytest.mark.parametrize("target", ["80", "85"])
def test_the_recipes_are_those_chosen_on_held_out_images(target):
    from benchmarks import choose_recipe

    trials = pd.read_csv(choose_recipe.TRIALS)
    trials = choose_recipe.of_device(trials[trials["target"] == float(target)])
    best = choose_recipe.chosen(choose_recipe.summary(trials, target), target)
    recipe = fast_model.RECIPES[target]._asdict()
    assert {name: best[name] for name in recipe} == {**recipe, "filters": "-".join(map(str, recipe["filters"]))}


def test_a_trial_of_another_device_is_made_again(tmp_path, monkeypatch):
    from benchmarks import choose_recipe

    trial = choose_recipe.key("80", choose_recipe.CANDIDATES["80"][0], 1337)
    monkeypatch.setattr(choose_recipe, "TRIALS", tmp_path / "trials.csv")
    assert not choose_recipe.done(trial)
    pd.DataFrame([{**trial, "device": "a GPU"}]).to_csv(tmp_path / "trials.csv", index=False)
    assert not choose_recipe.done(trial)
    monkeypatch.setattr(choose_recipe.provenance, "device", lambda: "a GPU")
    assert choose_recipe.done(trial)
    assert not choose_recipe.done({**trial, "shift": 4})
