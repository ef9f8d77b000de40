import keras
import numpy as np
import pytest
from keras import layers

from convnets.errors import UserError
from convnets.views import sliding_filter


def network(*layers_, shape=(6, 6, 1)):
    return keras.Sequential([keras.Input(shape), *layers_, layers.Flatten(), layers.Dense(2, activation="softmax")])


@pytest.fixture
def step():
    """Dark on the left, light from the fourth column on."""
    image = np.zeros((6, 6, 1), dtype="float32")
    image[:, 3:] = 1
    return image


@pytest.fixture
def edges():
    """A network whose first convolution has a filter for dark-to-light edges, and one for the opposite."""
    model = network(layers.Conv2D(2, 3, activation="relu"))
    vertical = np.array([[-1, 0, 1]] * 3, dtype="float32")
    model.layers[0].set_weights([np.stack([-vertical, vertical], axis=-1)[:, :, None, :], np.array([0.25, 0.5])])
    return model


def test_an_edge_worked_out_by_hand(edges, step):
    found, opposite = sliding_filter.strongest(edges, step, 5)
    assert (found.unit, opposite.unit) == (1, 0)
    # Three rows of -1, 0, 1: 3 where the right column is light and the left one dark; and the bias.
    np.testing.assert_array_equal(found.response, [[0.5, 3.5, 3.5, 0.5]] * 4)
    np.testing.assert_array_equal(opposite.response, [[0.25, -2.75, -2.75, 0.25]] * 4)  # before the ReLU
    assert found.place == (0, 1)
    assert found.corner(found.place) == (0, 1)
    np.testing.assert_array_equal(found.window(found.place)[..., 0], [[0, 0, 1]] * 3)
    assert len(sliding_filter.strongest(edges, step, 1)) == 1


@pytest.mark.parametrize("kernel_size", [2, 3, (4, 5)])
@pytest.mark.parametrize("strides", [1, 2, 3])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_each_response_is_the_sum_of_its_window_times_the_filter(kernel_size, strides, padding):
    keras.utils.set_random_seed(3)
    model = network(
        layers.Rescaling(2),
        layers.Conv2D(3, kernel_size, strides=strides, padding=padding, bias_initializer="normal"),
        shape=(11, 14, 3),
    )
    image = np.random.default_rng(0).random((11, 14, 3), dtype="float32")
    for filtered in sliding_filter.strongest(model, image, 3):
        np.testing.assert_array_equal(filtered.image, 2 * image)
        for place in np.ndindex(filtered.response.shape):
            total = (filtered.window(place) * filtered.kernel).sum() + filtered.bias
            assert filtered.response[place] == pytest.approx(total, abs=1e-5)
        on_image = [
            filtered.response[place]
            for place in np.ndindex(filtered.response.shape)
            if min(filtered.corner(place)) >= 0
            and all(np.add(filtered.corner(place), filtered.kernel.shape[:2]) <= (11, 14))
        ]
        assert filtered.response[filtered.place] == max(on_image)


def test_the_film_ends_with_the_whole_response_and_its_last_window(edges, step):
    filtered = sliding_filter.strongest(edges, step, 1)[0]
    film = sliding_filter.sliding(filtered)
    assert film.shape == (8 + 2, 2, 6, 6, 3)  # two rows place by place, two at once
    np.testing.assert_allclose(film[-1, 1, 1:5, 1:5, 0], 0.5 + filtered.response / 7)
    np.testing.assert_array_equal(film[0, 1, 1, 2:5], 1)  # not there yet
    framed = (film[-1, 0] != step).any(axis=-1)
    assert framed[3:, 3:].all()
    assert framed.sum() == 9
    assert film.min() >= 0
    assert film.max() <= 1


def test_the_film_of_a_large_image_leaves_out_places(edges, step, monkeypatch):
    filtered = sliding_filter.strongest(edges, step, 1)[0]
    whole = sliding_filter.sliding(filtered)
    for limit, least in (("MOST_FRAMES", 4), ("LARGEST_FILM", 4 * whole[0, ..., 0].size)):
        with monkeypatch.context() as patch:
            patch.setattr(sliding_filter, limit, least)
            np.testing.assert_array_equal(sliding_filter.sliding(filtered), whole[[0, 3, 6, 9]])


def test_a_network_without_filters_that_slide(step):
    for layer in (layers.Activation("relu"), layers.DepthwiseConv2D(3), layers.Conv2D(1, 3, dilation_rate=2)):
        with pytest.raises(UserError, match="need an ordinary convolution"):
            sliding_filter.strongest(network(layer), step, 1)
    with pytest.raises(UserError, match=r"6 x 6 filters of .* are never wholly inside the .* image"):
        sliding_filter.strongest(network(layers.Conv2D(1, 6, strides=4, padding="same")), step, 1)
    for layer in (layers.Dense(3), layers.MaxPooling2D(2)):
        with pytest.raises(UserError, match="is no longer an image"):
            sliding_filter.strongest(network(layer, layers.Conv2D(1, 2)), step, 1)


def test_the_improved_network_s_filters_are_shown_before_the_activation():
    import improved_model

    image = np.random.default_rng(0).random((32, 32, 3), dtype="float32")
    model = improved_model.build_model((32, 32, 3), 10)
    filtered = sliding_filter.strongest(model, image, 1)[0]
    expected = keras.ops.convert_to_numpy(model.layers[0](image[None]))[0, ..., filtered.unit]
    np.testing.assert_allclose(filtered.response, expected, atol=1e-6)
