"""Occlusion, and the two explanations beside it, against numbers worked out by hand or by brute force."""

import keras
import numpy as np
import pytest
from keras import layers

from convnets import backend, paths
from convnets.data import datasets
from convnets.errors import UserError
from convnets.training import checkpoints
from convnets.views import attribution, introspection, occlusion


@pytest.fixture
def image():
    return np.random.default_rng(1).random((11, 9, 3), dtype="float32")


@pytest.fixture
def linear():
    """One linear layer on 11x9x3 pixels, with two outputs, and its weights (11, 9, 3, 2)."""
    keras.utils.set_random_seed(2)
    model = keras.Sequential([keras.Input((11, 9, 3)), layers.Flatten(), layers.Dense(2)])
    return model, keras.ops.convert_to_numpy(model.layers[-1].kernel).reshape(11, 9, 3, 2)


def outputs(model, images):
    return keras.ops.convert_to_numpy(model(images, training=False))


# ---------------------------------------------------------------- the maps


def test_a_linear_model_loses_weight_times_change_at_each_pixel(linear, image):
    model, weights = linear
    found = occlusion.occlusion_map(model, image, 1, patch=(1, 1), baseline=0.3, score="output")
    np.testing.assert_allclose(found, (weights[..., 1] * (image - 0.3)).sum(axis=-1), atol=1e-6)
    empty = np.full((1, 11, 9, 3), 0.3, dtype="float32")
    change = outputs(model, image[None])[0, 1] - outputs(model, empty)[0, 1]
    assert found.sum() == pytest.approx(change, abs=1e-5)


def test_a_toy_convolution_worked_out_by_hand():
    """Ones of 3x3, a 2x2 kernel of ones, all outputs added up: a pixel counts as often as the kernel covers it."""
    model = keras.Sequential(
        [keras.Input((3, 3, 1)), layers.Conv2D(1, 2, kernel_initializer="ones"), layers.Flatten(), layers.Dense(1)]
    )
    model.layers[-1].set_weights([np.ones((4, 1)), np.zeros(1)])
    ones = np.ones((3, 3, 1), dtype="float32")
    single = occlusion.occlusion_map(model, ones, 0, patch=(1, 1), baseline=0, score="output")
    np.testing.assert_allclose(single, [[1, 2, 1], [2, 4, 2], [1, 2, 1]], atol=1e-6)
    # Each 2x2 patch takes 1 + 2 + 2 + 4 away, so the mean over all patches at any pixel does so, too.
    double = occlusion.occlusion_map(model, ones, 0, patch=(2, 2), baseline=0, score="output")
    np.testing.assert_allclose(double, np.full((3, 3), 9), atol=1e-6)
    # Rows of 1x3: the upper and the lower one 1 + 2 + 1, the middle one 2 + 4 + 2.
    rows = occlusion.occlusion_map(model, ones, 0, patch=(1, 3), baseline=0, score="output")
    np.testing.assert_allclose(rows, [[4] * 3, [8] * 3, [4] * 3], atol=1e-6)


NETWORKS = {
    "valid": lambda: [layers.Conv2D(4, 3), layers.ReLU(), layers.Conv2D(4, 3, activation="relu")],
    "same": lambda: [layers.Conv2D(4, 3, padding="same"), layers.Activation("relu"), layers.MaxPooling2D(3, 2)],
    "strides": lambda: [layers.Conv2D(4, 3, strides=2, padding="same"), layers.Conv2D(4, (2, 3), strides=(1, 2))],
    "even kernels": lambda: [layers.Conv2D(4, 4, padding="same"), layers.Conv2D(4, 2, padding="same", use_bias=False)],
    "dilation": lambda: [layers.Conv2D(4, 3, dilation_rate=2, padding="same"), layers.LeakyReLU(negative_slope=0.1)],
    "means": lambda: [layers.AveragePooling2D(2, 1), layers.BatchNormalization(), layers.AveragePooling2D((3, 2))],
    "same pooling": lambda: [layers.Conv2D(4, 3), layers.MaxPooling2D(2, padding="same"), layers.Dropout(0.5)],
    "leftovers": lambda: [layers.MaxPooling2D(4), layers.Conv2D(4, 1)],
    "gaps and leftovers": lambda: [layers.Conv2D(4, 4, strides=5)],
    "no spatial layer": lambda: [layers.Rescaling(2, -1)],
}  # fmt: skip


PATCHES_AND_STRIDES = [((1, 1), (1, 1)), ((3, 2), (1, 2)), ((4, 4), (3, 4)), ((11, 9), (5, 5))]
BASELINES = [0.5, (0.1, 0.9, 0.4), "mean", "blur"]
CASES = [  # each network with all patches and all baselines, and each patch with each baseline
    (name, patch, BASELINES[(number + place) % len(BASELINES)])
    for number, name in enumerate(NETWORKS)
    for place, patch in enumerate(PATCHES_AND_STRIDES)
]


@pytest.mark.parametrize(("name", "patch_and_stride", "baseline"), CASES)
def test_every_network_patch_and_baseline_against_brute_force(name, patch_and_stride, baseline, image):
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.Input((11, 9, 3)), *NETWORKS[name](), layers.Flatten(), layers.Dense(3), layers.Softmax()]
    )
    patch, stride = patch_and_stride
    hidden = occlusion.background(image, baseline)
    tops = sorted({*range(0, 11 - patch[0] + 1, stride[0]), 11 - patch[0]})
    lefts = sorted({*range(0, 9 - patch[1] + 1, stride[1]), 9 - patch[1]})
    total, count = np.zeros((11, 9)), np.zeros((11, 9))
    places = [np.s_[top : top + patch[0], left : left + patch[1]] for top in tops for left in lefts]
    images = np.repeat(image[None], len(places) + 1, axis=0)
    for occluded, covered in zip(images[1:], places, strict=True):
        occluded[covered] = hidden[covered]
    original, *scores = outputs(model, images)[:, 2]
    for covered, score in zip(places, scores, strict=True):
        total[covered] += original - score
        count[covered] += 1
    assert count.min() >= 1
    for batch_size in (5, 1000):
        found = occlusion.occlusion_map(
            model, image, 2, patch=patch, stride=stride, baseline=baseline, batch_size=batch_size
        )
        np.testing.assert_allclose(found, total / count, atol=1e-6)


def test_probability_and_logit(image):
    """With two classes, log(p / (1 - p)) is the difference of the logits."""
    keras.utils.set_random_seed(4)
    separate = keras.Sequential(
        [keras.Input((11, 9, 3)), layers.Flatten(), layers.Dense(2), layers.Activation("softmax")]
    )
    joint = keras.Sequential([keras.Input((11, 9, 3)), layers.Flatten(), layers.Dense(2, activation="softmax")])
    joint.set_weights(separate.get_weights())
    for model in (separate, joint):
        logits = outputs(introspection.logits(model), image[None])[0]
        probabilities = outputs(model, image[None])[0]
        assert np.log(probabilities[0] / probabilities[1]) == pytest.approx(logits[0] - logits[1], abs=1e-5)
        whole = {"patch": (11, 9), "baseline": 0}
        # With all of it hidden, the biases, which are zero, are left: both classes are equally probable.
        drop = occlusion.occlusion_map(model, image, 0, score="logit", **whole)
        np.testing.assert_allclose(drop, np.full((11, 9), logits[0]), atol=1e-5)
        drop = occlusion.occlusion_map(model, image, 0, score="probability", **whole)
        np.testing.assert_allclose(drop, np.full((11, 9), probabilities[0] - 0.5), atol=1e-6)


def test_logits_need_a_softmax(linear):
    with pytest.raises(UserError, match="not in a softmax"):
        introspection.logits(linear[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": (12, 4)}, "a patch of 12 pixels does not fit into 11"),
        ({"patch": (0, 4)}, "a patch of 0 pixels"),
        ({"stride": (1, 5)}, "a stride of 5 leaves pixels between patches of 4"),
        ({"stride": (0, 1)}, "a stride of 0"),
        ({"baseline": "white noise"}, "no baseline is called 'white noise'"),
    ],
)
def test_what_can_not_be_occluded(options, message, linear, image):
    with pytest.raises(UserError, match=message):
        occlusion.occlusion_map(linear[0], image, 0, score="output", **options)


def test_backgrounds(image):
    np.testing.assert_allclose(occlusion.background(image, "mean")[3, 4], image.mean(axis=(0, 1)), atol=1e-6)
    plain = np.full((8, 8, 3), 0.25, dtype="float32")
    np.testing.assert_allclose(occlusion.background(plain, "blur"), plain, atol=1e-6)
    dot = np.zeros((13, 13, 1), dtype="float32")
    dot[6, 6] = 1
    blurred = occlusion.background(dot, "blur")[..., 0]
    np.testing.assert_allclose(blurred, blurred.T, atol=1e-7)
    np.testing.assert_allclose(blurred, blurred[::-1, ::-1], atol=1e-7)
    assert blurred.max() == blurred[6, 6] < 0.1


def test_a_network_that_has_learned_nothing_gives_another_map():
    """The sanity check of Adebayo et al., 2018: a map that does not depend on the weights explains nothing."""
    dataset = datasets.load("digits")
    trained = checkpoints.load_model(paths.PRETRAINED / "basic_model-digits")
    keras.utils.set_random_seed(6)
    random = keras.models.clone_model(trained)
    digit = dataset.x_test[0] / np.float32(255)
    one, other = (
        occlusion.occlusion_map(model, digit, int(dataset.y_test[0]), stride=(2, 2), score="logit").ravel()
        for model in (trained, random)
    )
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.5


# ---------------------------------------------------------------- gradients


def test_the_gradient_of_a_linear_model_is_its_weights(linear, image):
    model, weights = linear
    climb = backend.with_gradient(lambda x, factor: factor * model(x)[:, 1])
    scores, gradients = climb(np.stack([image, 0 * image]), np.float32(2))
    np.testing.assert_allclose(scores, 2 * outputs(model, np.stack([image, 0 * image]))[:, 1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradients, 2 * np.stack([weights[..., 1]] * 2), rtol=1e-5)


def test_integrated_gradients_of_a_linear_model_are_weight_times_change(linear, image):
    model, weights = linear
    found = attribution.integrated_gradients(model, image, 1, baseline=0.3)
    np.testing.assert_allclose(found.attributions, weights[..., 1] * (image - 0.3), atol=1e-6)


def test_integrated_gradients_are_complete(image):
    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [keras.Input((11, 9, 3)), layers.Conv2D(6, 3, activation="tanh"), layers.Flatten(), layers.Dense(4)]
    )
    for baseline in (0, "blur"):
        found = attribution.integrated_gradients(model, image, 3, baseline=baseline, tolerance=1e-4)
        start = occlusion.background(image, baseline)
        change = outputs(model, np.stack([image, start]))[:, 3]
        assert found.attributions.shape == image.shape
        assert found.gap <= 1e-4
        assert found.attributions.sum() == pytest.approx(change[0] - change[1], rel=2e-4)


def test_grad_cam_worked_out_by_hand():
    """Two 1x1 filters, red and green; the score is 3 times the mean of red minus the mean of green."""
    model = keras.Sequential(
        [keras.Input((4, 4, 3)), layers.Conv2D(2, 1), layers.ReLU(), layers.GlobalAveragePooling2D(), layers.Dense(1)]
    )
    model.set_weights([np.eye(3, 2).reshape(1, 1, 3, 2), np.zeros(2), np.array([[3.0], [-1.0]]), np.zeros(1)])
    image = np.random.default_rng(6).random((4, 4, 3), dtype="float32")
    expected = np.maximum(3 * image[..., 0] - image[..., 1], 0) / 16
    np.testing.assert_allclose(attribution.grad_cam(model, image, 0), expected, atol=1e-6)


def test_small_maps_are_enlarged_to_the_image():
    """Of 2x2 places, the one at the lower left sees something bright."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(1, 4, strides=4, kernel_initializer="ones"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(1, kernel_initializer="ones"),
        ]
    )
    image = np.zeros((8, 8, 1), dtype="float32")
    image[4:, :4] = 1
    cam = attribution.grad_cam(model, image, 0)
    assert cam[4:, :4].min() > max(cam[:4].max(), cam[:, 4:].max())


def test_the_classes_predicted_with_each_patch_hidden():
    corners = np.array([(top, left) for top in (0, 2) for left in (0, 2, 4)])
    found = occlusion.Occlusion(np.zeros(6), np.eye(6), corners, (2, 2), (4, 6))
    assert found.predictions().tolist() == [[0, 1, 2], [3, 4, 5]]


def test_grad_cam_needs_a_convolution(linear, image):
    with pytest.raises(UserError, match="needs a convolution layer"):
        attribution.grad_cam(linear[0], image, 0)
