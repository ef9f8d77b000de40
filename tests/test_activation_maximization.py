import keras
import numpy as np
import pytest
from keras import layers

from convnets.errors import UserError
from convnets.views import activation_maximization, introspection
from convnets.views.activation_maximization import Waves, maximize


@pytest.fixture
def model():
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.Flatten(),
            layers.Dense(3, activation="softmax", name="dense"),
        ]
    )


def test_a_linear_unit_is_excited_most_by_its_own_weights():
    keras.utils.set_random_seed(2)
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(2, name="linear")])
    weights = keras.ops.convert_to_numpy(model.layers[-1].kernel)
    images, activations = maximize(model, "linear", [1], method="plain")
    assert np.corrcoef(images[0].ravel(), weights[:, 1])[0, 1] > 0.98  # pixels end at black and white
    assert activations[0] == pytest.approx(images[0].ravel() @ weights[:, 1], abs=1e-5)


@pytest.mark.parametrize("method", ["plain", "fourier"])
def test_the_ascent_ascends(method, model):
    noise = np.random.default_rng(0).uniform(0.45, 0.55, (50, 8, 8, 3)).astype("float32")
    (conv,) = introspection.convolutions(model)
    before = introspection.predict(introspection.graph(model).model(conv.output), noise).mean(axis=(1, 2))
    images, activations = maximize(model, "conv", method=method, steps=60)
    assert images.shape == (4, 8, 8, 3)
    assert images.dtype == np.float32
    assert images.min() >= 0
    assert images.max() <= 1
    assert (activations > before.max(axis=0)).all()


@pytest.mark.parametrize("method", ["plain", "fourier"])
def test_seed_units_and_batches(method, model):
    """The seed decides; a unit's image does not depend on the units beside it, nor on the batch."""
    whole, _ = maximize(model, "conv", method=method, steps=5, seed=3)
    again, _ = maximize(model, "conv", [2, 1], method=method, steps=5, seed=3)
    batches, _ = maximize(model, "conv", method=method, steps=5, seed=3, batch_size=3)
    other, _ = maximize(model, "conv", method=method, steps=5, seed=4)
    np.testing.assert_allclose(again, whole[[2, 1]], atol=1e-4)
    np.testing.assert_allclose(batches, whole, atol=1e-4)
    assert np.abs(other - whole).max() > 1e-3


def test_units_of_several_layers_ascend_together_as_they_do_alone(model):
    steps = []
    units = [("dense", 1), ("conv", 2), ("dense", 0)]
    together, activations = activation_maximization.maximize_units(
        model, units, steps=4, batch_size=2, on_step=lambda step, images: steps.append((step, len(images)))
    )
    for (layer, unit), image, activation in zip(units, together, activations, strict=True):
        (alone,), (expected,) = maximize(model, layer, [unit], steps=4)
        np.testing.assert_allclose(image, alone, atol=1e-4)
        assert activation == pytest.approx(expected, abs=1e-4)
    assert steps == [(step, size) for size in (2, 1) for step in (1, 2, 3, 4)]


def test_the_output_is_taken_before_the_activation(model):
    """The unit of a softmax is its logit, which, unlike a probability, may exceed 1."""
    kernel, bias = model.get_layer("dense").get_weights()
    model.get_layer("dense").set_weights([100 * kernel, bias])
    _, activations = maximize(model, "dense", steps=60)
    assert activations.max() > 1


def test_a_way_out_of_a_dead_start():
    """From grey, no path to the unit is active: it wants an image that is much brighter at one corner."""
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Conv2D(1, 1, activation="relu"), layers.Flatten(), layers.Dense(1, name="unit")]
    )
    model.set_weights([np.ones((1, 1, 1, 1)), np.array([-0.62]), np.ones((64, 1)), np.zeros(1)])
    _, (plain,) = maximize(model, "unit", method="plain", steps=1)
    _, (found,) = maximize(model, "unit", method="fourier", steps=60)
    assert plain < found
    assert found > 5


@pytest.fixture
def detectors():
    """The first layer's units find light, the dark, and nothing; the second layer adds them up, 1, 2 and 4 times."""
    model = keras.Sequential(
        [
            keras.Input((2, 2, 1)),
            layers.Conv2D(3, 1, name="conv"),
            layers.BatchNormalization(epsilon=0),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(2, activation="softmax", name="dense"),
        ]
    )
    kernel = np.tile([[1, 0], [2, 0], [4, 1]], (4, 1))
    conv = [np.array([1, -1, -1]).reshape(1, 1, 1, 3), np.array([0, 1, -2])]
    model.set_weights([*conv, np.ones(3), np.zeros(3), np.zeros(3), np.ones(3), kernel, np.zeros(2)])
    return model


IMAGES = np.stack([np.full((2, 2, 1), 0.25), np.ones((2, 2, 1)), [[[0], [1]], [[0], [0]]]]).astype("float32")


def test_how_much_images_excite_units(detectors):
    outputs = activation_maximization.unit_outputs(detectors, ["conv", "dense"], IMAGES)
    np.testing.assert_allclose(outputs["conv"], [[0.25, 0.75, 0], [1, 0, 0], [0.25, 0.75, 0]], atol=1e-6)
    np.testing.assert_allclose(outputs["dense"], [[7, 0], [4, 0], [7, 0]], atol=1e-6)  # before the softmax


def test_made_images_beside_real_ones(detectors):
    units = [("conv", 0), ("conv", 2), ("dense", 0), ("conv", 1)]
    made = IMAGES[[1, 1, 0, 1]]
    table = activation_maximization.compare_activations(detectors, units, made, IMAGES[[0, 2, 2]], most=2)
    assert table["made"].tolist() == [1, 0, 7, 0]
    assert table["real"].tolist() == [0.25, 0, 7, 0.75]
    assert table["ratio"].tolist() == pytest.approx([4, np.nan, 1, 0], nan_ok=True)
    assert table["dead"].tolist() == [False, True, False, False]
    assert table["best"].tolist() == [[0, 1]] * 4  # all real images are equal: the first ones
    alone = activation_maximization.compare_activations(detectors, units, made)
    assert alone["real"].isna().all()
    assert alone["dead"].tolist() == [False, True, False, True]  # as far as these images tell


def test_the_colours_of_photographs_are_those_of_cifar10(real_dataset):
    covariance = activation_maximization.colour_covariance(real_dataset("cifar10").x_train)
    np.testing.assert_allclose(activation_maximization.PHOTOGRAPHS, covariance, atol=5e-5)


def test_waves_are_the_fourier_transform():
    waves = Waves((6, 9, 1))
    np.testing.assert_allclose(waves.rows @ waves.rows, np.eye(6), atol=1e-12)  # its own inverse
    row = np.random.default_rng(3).normal(size=9)
    transform = np.fft.fft(row)
    np.testing.assert_allclose(waves.columns @ row, (transform.real - transform.imag) / 3, atol=1e-12)
    # Strengths fall with the frequency, which is 1/6 cycles a pixel in the second row, 1/9 in the second column.
    ratio = waves.strengths[1, 0, 0] / waves.strengths[0, 1, 0]
    assert ratio == pytest.approx((1 / 9) / (1 / 6))


def test_images_are_sums_of_waves():
    waves = Waves((4, 5, 3), np.diag([0.05, 0.06, 0.07]) + 0.02)
    amplitudes = np.random.default_rng(5).normal(size=(2, 4, 5, 3))
    by_axis = np.einsum("hi,wj,nijc->nhwc", waves.rows, waves.columns, amplitudes * waves.strengths)
    expected = 1 / (1 + np.exp(-(by_axis @ waves.colours.T)))
    np.testing.assert_allclose(waves.images(amplitudes), expected, atol=1e-6)
    # The same images, the first one shifted by a row and two columns.
    shifted = activation_maximization.add_up(amplitudes.astype("float32"), *waves.matrices(np.array([[1, 2], [0, 0]])))
    np.testing.assert_allclose(shifted[0], np.roll(expected[0], (1, 2), axis=(0, 1)), atol=1e-6)
    np.testing.assert_allclose(shifted[1], expected[1], atol=1e-6)


def test_colours_go_together_as_in_the_covariance():
    covariance = np.array([[0.06, 0.05, 0.04], [0.05, 0.06, 0.05], [0.04, 0.05, 0.07]])
    waves = Waves((8, 8, 3), covariance)
    np.testing.assert_allclose(waves.colours @ waves.colours.T / covariance, np.full((3, 3), 1 / 0.07), rtol=1e-9)
    images = np.random.default_rng(4).integers(0, 256, (10, 4, 4, 3), dtype="uint8")
    pixels = images.reshape(-1, 3) / 255
    expected = (pixels - pixels.mean(axis=0)).T @ (pixels - pixels.mean(axis=0)) / (len(pixels) - 1)
    np.testing.assert_allclose(activation_maximization.colour_covariance(images), expected, atol=1e-12)
    assert activation_maximization.colour_covariance(images[..., :1]).shape == (1, 1)


@pytest.mark.parametrize(
    ("layer", "units", "message"),
    [
        ("conv7", None, "no layer 'conv7': it has conv, flatten"),
        ("flatten", None, "has no units: name a convolution"),
        ("conv", [4], "has the units 0 to 3"),
        ("conv", [], "no units to look at"),
    ],
)
def test_what_can_not_be_maximised(layer, units, message, model):
    model.layers[1].name = "flatten"
    with pytest.raises(UserError, match=message):
        maximize(model, layer, units)
