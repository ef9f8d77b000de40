import keras
import numpy as np
import pytest
from keras import layers

from convnets import backend
from convnets.errors import UserError
from convnets.views import feature_maps


@pytest.fixture
def model():
    """A 3x3 convolution with two filters, a 1x1 one that is dead, a pooling, a dense layer."""
    model = keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            layers.Conv2D(2, 3, name="edges"),
            layers.Activation("relu", name="relu"),
            layers.Conv2D(2, 1, activation="relu", name="mix"),
            layers.MaxPooling2D(2, name="pool"),
            layers.Dropout(0.5, name="drop"),
            layers.Flatten(name="flat"),
            layers.Dense(2, name="dense"),
        ]
    )
    vertical = np.array([[-1, 0, 1]] * 3, dtype="float32")
    edges = np.stack([vertical, -vertical], axis=-1)[:, :, None, :]
    model.get_layer("edges").set_weights([edges, np.array([0, -100])])
    model.get_layer("mix").set_weights([np.eye(2).reshape(1, 1, 2, 2), np.array([0.5, -1])])
    return model


@pytest.fixture
def step():
    """Dark on the left, light from the fourth column on."""
    image = np.zeros((6, 6, 1), dtype="float32")
    image[:, 3:] = 1
    return image


def test_outputs_against_a_convolution_by_hand(model, step):
    found = feature_maps.layer_outputs(model, step[None])
    assert list(found) == ["edges", "mix"]
    # Three rows of -1, 0, 1 under the window: 3 where its right column is light and its left one dark.
    np.testing.assert_array_equal(found["edges"][0, :, :, 0], [[0, 3, 3, 0]] * 4)
    np.testing.assert_array_equal(found["edges"][0, :, :, 1], [[-100, -103, -103, -100]] * 4)
    np.testing.assert_array_equal(found["mix"][0, :, :, 0], [[0.5, 3.5, 3.5, 0.5]] * 4)
    pooled = feature_maps.layer_outputs(model, (255 * step[None]).astype("uint8"), ["pool"])["pool"]
    np.testing.assert_array_equal(pooled[0, :, :, 0], [[3.5, 3.5]] * 2)


def test_many_images_come_out_in_their_order(model):
    images = np.random.default_rng(0).random((250, 6, 6, 1), dtype="float32")
    whole = feature_maps.layer_outputs(model, images)["mix"]
    assert len(whole) == 250
    np.testing.assert_allclose(feature_maps.layer_outputs(model, images[240:])["mix"], whole[240:], atol=1e-6)


def test_dead_channels_are_those_that_stay_zero_after_the_activation(model, step):
    assert feature_maps.dead_channels(model, np.stack([step] * 3)) == {"edges": [1], "mix": [1]}
    assert feature_maps.dead_channels(model, np.stack([0 * step, step]))["edges"] == [1]
    assert feature_maps.dead_channels(model, step[None] * 0)["edges"] == [0, 1]


def test_steps_are_the_layers_that_change_the_image(model):
    assert feature_maps.map_layers(model) == ["edges", "relu", "mix", "pool"]


def test_receptive_fields():
    """The article's network: 3, then 5; pooling adds a pixel and doubles the step; 10, 14; 16."""
    import basic_model

    fields = feature_maps.receptive_fields(basic_model.build_model((32, 32, 3), 10))
    assert [fields[name] for name in ("conv1", "conv2", "pool1", "conv3", "conv4", "pool2")] == [
        (3, 3), (5, 5), (6, 6), (10, 10), (14, 14), (16, 16),
    ]  # fmt: skip
    dilated = keras.Sequential([keras.Input((32, 32, 3)), layers.Conv2D(1, (3, 5), dilation_rate=2, name="conv")])
    assert feature_maps.receptive_fields(dilated)["conv"] == (5, 9)


def test_where_the_pixels_are_that_a_place_sees():
    """Worked out on paper, and compared with the gradient: no other pixel has one."""
    keras.utils.set_random_seed(0)
    network = keras.Sequential(
        [
            keras.Input((11, 12, 1)),
            layers.Conv2D(1, 3, padding="same", name="same"),
            layers.MaxPooling2D(2, name="pool"),
            layers.ZeroPadding2D(((1, 0), (0, 1)), name="padded"),
            layers.Conv2D(1, (3, 2), strides=(2, 1), name="strided"),
            layers.Conv2D(1, 2, padding="same", dilation_rate=2, name="dilated"),
            layers.DepthwiseConv2D(3, strides=2, padding="same", name="depthwise"),
            layers.AveragePooling2D(2, strides=3, padding="same", name="average"),
        ]
    )
    fields = feature_maps.fields(network)
    assert fields["same"].box(0, 0) == (0, 0, 2, 2)  # the rest of its 3 x 3 pixels lies in the padding
    assert fields["same"].box(5, 11) == (4, 10, 3, 2)
    assert fields["pool"].box(1, 2) == (1, 3, 4, 4)
    assert fields["strided"].box(0, 0) == (0, 0, 5, 5)
    assert fields["strided"].box(1, 1) == (1, 1, 8, 6)
    for name in ("same", "pool", "strided", "dilated", "depthwise", "average"):
        top_layer = keras.Model(network.inputs, network.get_layer(name).output)
        height, width = top_layer.output_shape[1:3]
        at_place = backend.with_gradient(
            lambda x, place, model=top_layer: keras.ops.sum(model(x) * place, axis=(1, 2, 3))
        )
        for row, column in ((0, 0), (height - 1, width - 1), (height // 2, width // 2)):
            place = np.zeros((1, height, width, 1), dtype="float32")
            place[0, row, column] = 1
            seen = np.zeros((11, 12), bool)
            for seed in range(5):  # a maximum passes on one gradient of many
                image = np.random.default_rng(seed).random((1, 11, 12, 1), dtype="float32")
                seen |= at_place(image, place)[1][0, ..., 0] != 0
            top, left, down, across = fields[name].box(row, column)
            outside = seen.copy()
            outside[top : top + down, left : left + across] = False
            assert not outside.any(), name
            assert seen[top : top + down, left : left + across].mean() > 0.4, name


def test_an_unknown_layer_is_named_with_the_known_ones(model, step):
    with pytest.raises(UserError, match="no layer 'conv9': it has edges, relu, mix"):
        feature_maps.layer_outputs(model, step[None], ["conv9"])


def test_a_network_without_convolutions(step):
    dense = keras.Sequential([keras.Input((6, 6, 1)), layers.Flatten(), layers.Dense(2)])
    with pytest.raises(UserError, match="no convolution layer"):
        feature_maps.layer_outputs(dense, step[None])
