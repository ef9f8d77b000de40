"""Networks that any Keras code may have saved: what is accepted, in which form the views get it, what is refused."""

import contextlib
import json
import shutil
import threading
import traceback
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import layers
from scipy.special import softmax

from convnets import paths
from convnets.data import datasets
from convnets.errors import UserError
from convnets.training import checkpoints, model_files
from convnets.views import (
    activation_maximization,
    attribution,
    classifiers,
    feature_maps,
    introspection,
    occlusion,
    runs,
    sliding_filter,
)

IMAGES = np.random.default_rng(0).random((3, 12, 12, 3), dtype="float32")


def sequential(*stack, shape=(12, 12, 3)):
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input(shape), *stack])


def residual(image):
    """A block with a skip connection, a concatenation and an operator."""
    first = layers.Conv2D(4, 3, padding="same", activation="relu", name="first")(image)
    second = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same", use_bias=False, name="second")(first))
    total = layers.ReLU(name="relu")(second + first)
    return layers.Concatenate()([total, layers.AveragePooling2D(1)(image)])


def functional(shape=(12, 12, 3), classes=3):
    keras.utils.set_random_seed(1)
    image = keras.Input(shape)
    pooled = layers.GlobalAveragePooling2D()(residual(image))
    return keras.Model(image, layers.Dense(classes, activation="softmax", name="answer")(pooled))


def nested():
    keras.utils.set_random_seed(1)
    image = keras.Input((12, 12, 3))
    block = keras.Model(image, residual(image), name="block")
    inner = keras.Sequential([keras.Input((12, 12, 3)), layers.Conv2D(3, 1, name="first"), block], name="inner")
    flat = layers.Flatten()(inner(image))
    return keras.Model(image, layers.Dense(3, activation="softmax")(flat))


def shared():
    """One layer that is called twice."""
    keras.utils.set_random_seed(1)
    image = keras.Input((12, 12, 3))
    conv = layers.Conv2D(3, 3, padding="same", activation="tanh", name="twice")
    return keras.Model(image, layers.Dense(3, activation="softmax")(layers.Flatten()(conv(conv(image)))))


def unusual():
    """Depthwise, separable, transposed and grouped convolutions, and other normalizations."""
    return sequential(
        layers.DepthwiseConv2D(3, padding="same", activation="relu", name="depthwise"),
        layers.SeparableConv2D(4, 3, activation="gelu", name="separable"),
        layers.GroupNormalization(2),
        layers.Conv2D(4, 3, groups=2, strides=2, name="grouped"),
        layers.LayerNormalization(),
        layers.Activation("silu"),
        layers.Conv2DTranspose(4, 2, strides=2, activation="relu", name="transposed"),
        layers.GlobalMaxPooling2D(),
        layers.Dense(3),
        layers.Softmax(),
    )


NETWORKS = {"functional": functional, "nested": nested, "shared": shared, "unusual": unusual}


@pytest.fixture(params=NETWORKS)
def network(request):
    return NETWORKS[request.param]()


def answers(model, images=IMAGES):
    return keras.ops.convert_to_numpy(model(images, training=False))


# ---------------------------------------------------------------- the graph


def test_the_graph_computes_what_the_network_does(network):
    graph = introspection.graph(network)
    np.testing.assert_allclose(introspection.predict(graph.model(graph.output), IMAGES), answers(network), atol=1e-6)
    logits = introspection.predict(introspection.logits(network), IMAGES)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(keras.ops.softmax(logits)), answers(network), atol=1e-6)


@pytest.mark.parametrize("saved_as", ["model.keras", "folder"])
def test_layers_may_have_any_name(saved_as, tmp_path):
    """JAX and PyTorch accept names that TensorFlow, a terminal or a file system can't handle."""

    def network(name, *names):
        keras.utils.set_random_seed(1)
        stack = [layers.Conv2D(3, 1, name=each) for each in names]
        inner = keras.Sequential([keras.Input((12, 12, 3)), *stack[3:]], name=names[3])
        stack[2] = layers.SpectralNormalization(stack[2], name=f"spectral {names[2]}")
        outer = [*stack[:3], inner, layers.Flatten(), layers.Dense(2, activation="softmax", name="answer")]
        return keras.Sequential([keras.Input((12, 12, 3), name=name), *outer], name=name)

    expected = answers(network("plain", "a", "b", "c", "d", "e"))
    model = network("My network \x1b[31m", "..\\..\\a:b", "n" * 300, "畳み込み", "conv 1", "conv_1")
    if saved_as == "folder":
        (tmp_path / saved_as).mkdir()
        (tmp_path / saved_as / "model.json").write_text(model.to_json())
        model.save_weights(tmp_path / saved_as / "model.weights.h5")
    else:
        model.save(tmp_path / saved_as)

    loaded = checkpoints.load_model(tmp_path / saved_as)
    assert [layer.name for layer in loaded.layers[:4]] == [".._.._a_b", "n" * 100, "spectral_____", "conv_1_2"]
    assert [layer.name for layer in loaded.layers[3].layers] == ["conv_1_3", "conv_1"]
    np.testing.assert_allclose(introspection.predict(loaded, IMAGES), expected, atol=1e-6)
    adapted = classifiers.as_classifier(loaded, "it", pixels="0..1")
    np.testing.assert_allclose(introspection.predict(adapted, IMAGES), expected, atol=1e-6)


def test_the_graph_follows_weights_that_change_later():
    model = functional()
    introspection.predict(introspection.logits(model), IMAGES)
    model.set_weights([2 * weight for weight in model.get_weights()])
    logits = introspection.predict(introspection.logits(model), IMAGES)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(keras.ops.softmax(logits)), answers(model), atol=1e-6)


def test_layers_of_models_inside_a_model_are_named_once_each():
    names = [step.name for step in introspection.convolutions(nested())]
    assert len(names) == len(set(names)) == 3


def test_an_activation_function_may_follow_a_normalization():
    model = functional()
    graph = introspection.graph(model)
    first, second = introspection.convolutions(model)
    before, after = graph.around_activation(first)
    values = introspection.predict(graph.model({"before": before, "after": after}), IMAGES)
    assert values["before"].min() < 0
    np.testing.assert_allclose(values["after"], np.maximum(values["before"], 0), atol=1e-6)
    # The second one's normalization is followed by a sum, not by an activation function.
    assert graph.around_activation(second) == (second.output, second.output)


def test_predictions_do_not_depend_on_the_batch(network):
    images = np.random.default_rng(1).random((11, 12, 12, 3), dtype="float32")
    whole = introspection.predict(network, images)
    assert whole.shape == (11, 3)
    for batch_size in (1, 4, 5):
        np.testing.assert_allclose(introspection.predict(network, images, batch_size), whole, atol=1e-6)


# ---------------------------------------------------------------- all views


def test_occlusion_against_brute_force(network):
    found = occlusion.occlusion_map(network, IMAGES[0], 1, patch=(5, 4), stride=(3, 4))
    total, count = np.zeros((12, 12)), np.zeros((12, 12))
    for top in (0, 3, 6, 7):
        for left in (0, 4, 8):
            occluded, covered = IMAGES[0].copy(), np.s_[top : top + 5, left : left + 4]
            occluded[covered] = 0.5
            total[covered] += answers(network, IMAGES[:1])[0, 1] - answers(network, occluded[None])[0, 1]
            count[covered] += 1
    np.testing.assert_allclose(found, total / count, atol=1e-6)


def test_integrated_gradients_add_up(network):
    logits = introspection.logits(network)
    found = attribution.integrated_gradients(logits, IMAGES[0], 2, baseline=0)
    ends = introspection.predict(logits, np.stack([IMAGES[0], 0 * IMAGES[0]]))[:, 2]
    assert found.attributions.sum() == pytest.approx(ends[0] - ends[1], rel=0.011)
    assert found.gap <= 0.01


def test_grad_cam_by_finite_differences():
    """The map that is found by itself lies behind the skip connection, and its weights are the mean gradients."""
    model = functional()
    logits, graph = introspection.logits(model), introspection.graph(introspection.logits(model))
    tensor = attribution.last_feature_maps(graph)
    assert tuple(tensor.shape[1:]) == (12, 12, 7)  # the concatenation
    features = introspection.predict(graph.model(tensor), IMAGES[:1])
    # The rest of the network is a mean over the map and a dense layer: the gradient is its kernel over 144 places.
    kernel = model.get_layer("answer").get_weights()[0]
    expected = np.maximum((features[0] * kernel[:, 1] / 144).sum(axis=-1), 0)
    np.testing.assert_allclose(attribution.grad_cam(logits, IMAGES[0], 1), expected, atol=1e-6)


@pytest.mark.parametrize("ending", ["softmax", None, "sigmoid"])
def test_activation_functions_built_into_every_convolution(ending, capsys):
    """The views take graphs of graphs: of the classifier that a network becomes, and of its logits."""
    stack = [
        layers.Conv2D(4, 3, activation="relu", name="one"),
        layers.MaxPooling2D(2),
        layers.Conv2D(5, 3, activation="relu", name="two"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(1 if ending == "sigmoid" else 3, activation=ending, name="answer"),
    ]
    model = sequential(*stack)
    pooled = np.maximum(answers(keras.Sequential(stack[:1])), 0).reshape(3, 5, 2, 5, 2, 4).max((2, 4))
    maps = answers(keras.Sequential(stack[2:3]), pooled)
    assert (maps == 0).any()
    adapted = classifiers.as_classifier(model, "F", pixels="0..1")
    logits = introspection.logits(adapted)
    with pytest.raises(UserError, match="not in a softmax, so its logits are not known"):
        introspection.logits(logits)
    for part in (adapted, logits):
        found = feature_maps.layer_outputs(part, IMAGES)
        assert list(found) == ["one", "two"]
        np.testing.assert_allclose(found["two"], maps, atol=1e-5)
        assert feature_maps.receptive_fields(part)["two"] == (8, 8)
        units = introspection.graph(part).first_steps(introspection.has_units)
        assert [step.name for step in units][:3] == ["one", "two", "answer"]
    kernel = model.layers[-1].get_weights()[0]
    weights = kernel[:, 0] / 2 if ending == "sigmoid" else kernel[:, 1]  # of two classes, the second has half the logit
    expected = keras.ops.image.resize(np.maximum(maps[:1] @ weights[:, None] / 9, 0), (12, 12))
    np.testing.assert_allclose(attribution.grad_cam(logits, IMAGES[0], 1), expected[0, :, :, 0], atol=1e-5)


def test_layers_that_return_several_tensors():
    second, last = layers.Conv2D(4, 3, name="second"), layers.Dense(3, activation="softmax")

    def rest(maps):
        one, two = keras.ops.split(maps, 2, axis=-1)
        return layers.Flatten()(second(one * keras.ops.sigmoid(two)))

    image = keras.Input((12, 12, 3))
    model = keras.Model(image, last(rest(layers.Conv2D(4, 3, padding="same", name="first")(image))))
    adapted = classifiers.as_classifier(model, "F", pixels="0..1")
    np.testing.assert_allclose(answers(adapted), answers(model), atol=1e-6)
    found = feature_maps.layer_outputs(adapted, IMAGES)
    assert list(found) == ["first", "second"]
    maps, kernel = found["first"][0], last.get_weights()[0][:, 1]
    changes = 0.05 * np.eye(maps.size, dtype="float32").reshape(-1, *maps.shape)
    scores = [keras.ops.convert_to_numpy(rest(maps + sign * changes)) @ kernel for sign in (1, -1)]
    weights = ((scores[0] - scores[1]) / 0.1).reshape(maps.shape).mean(axis=(0, 1))
    importance = attribution.grad_cam(introspection.logits(adapted), IMAGES[0], 1, "first")
    np.testing.assert_allclose(importance, np.maximum(maps @ weights, 0), atol=1e-4)


def test_a_dictionary_of_one_output():
    image = keras.Input((12, 12, 3))
    model = keras.Model(image, {"label": layers.Dense(3, activation="softmax")(layers.Flatten()(image))})
    adapted = classifiers.as_classifier(model, "F", pixels="0..1")
    np.testing.assert_allclose(
        introspection.predict(adapted, IMAGES), model.predict_on_batch(IMAGES)["label"], atol=1e-6
    )


def test_dense_layers_on_tokens():
    image = keras.Input((12, 12, 3))
    tokens = layers.Reshape((9, 8))(layers.Conv2D(8, 4, strides=4)(image))
    tokens = layers.Dense(6, activation="relu", name="mixed")(tokens)
    model = keras.Model(image, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling1D()(tokens)))
    outputs = activation_maximization.unit_outputs(model, ["mixed"], IMAGES)["mixed"]
    whole = feature_maps.layer_outputs(model, IMAGES, ["mixed"])["mixed"]
    np.testing.assert_allclose(outputs, whole.mean(axis=1), atol=1e-6)
    images, activations = activation_maximization.maximize(model, "mixed", [1, 2], steps=3, method="plain")
    shown = activation_maximization.unit_outputs(model, ["mixed"], images)["mixed"]
    np.testing.assert_allclose(np.maximum(activations, 0), np.diag(shown[:, 1:3]), atol=1e-5)


def test_operations_of_the_network_keep_their_names(tmp_path):
    """A network that was loaded from a file has operations called mean, any and so on, as ours would be."""
    keras.utils.clear_session()
    image = keras.Input((12, 12, 3))
    maps = keras.ops.relu(layers.Conv2D(4, 3, name="first")(image))
    is_active = keras.ops.cast(keras.ops.any(keras.ops.not_equal(maps, 0), axis=(1, 2), keepdims=True), "float32")
    maps = layers.Conv2D(4, 3, name="second")(maps * keras.ops.mean(maps, axis=(1, 2), keepdims=True) * is_active)
    answer = keras.ops.softmax(layers.Dense(3, name="answer")(layers.Flatten()(keras.ops.relu(maps))))
    keras.Model(image, answer).save(tmp_path / "model.keras")
    keras.utils.clear_session()
    model = runs.load(tmp_path / "model.keras", data_needed=False, pixels="0..1").model
    maps = feature_maps.layer_outputs(model, IMAGES, ["second"])["second"]
    outputs = activation_maximization.unit_outputs(model, ["second"], IMAGES)["second"]
    np.testing.assert_allclose(outputs, np.maximum(maps, 0).mean(axis=(1, 2)), atol=1e-6)
    assert feature_maps.dead_channels(model, IMAGES)["second"] == np.flatnonzero((maps <= 0).all((0, 1, 2))).tolist()
    logits = introspection.predict(introspection.logits(model), IMAGES)
    np.testing.assert_allclose(softmax(logits, axis=1), introspection.predict(model, IMAGES), atol=1e-6)


def test_a_softmax_that_is_an_operation_gets_no_second_one(capsys):
    image = keras.Input((12, 12, 3))
    logits = layers.Dense(3)(layers.Flatten()(image))
    for answer in (keras.ops.softmax(logits), keras.activations.softmax(logits)):
        model = classifiers.as_classifier(keras.Model(image, answer), "model", pixels="0..1")
        np.testing.assert_array_equal(
            introspection.predict(model, IMAGES), introspection.predict(keras.Model(image, answer), IMAGES)
        )
    one = keras.ops.sigmoid(layers.Dense(1)(layers.Flatten()(image)))
    model = classifiers.as_classifier(keras.Model(image, one), "model", pixels="0..1")
    second = introspection.predict(keras.Model(image, one), IMAGES)[:, 0]
    np.testing.assert_allclose(introspection.predict(model, IMAGES), np.stack([1 - second, second], 1), atol=1e-6)
    assert "softmax is added" not in capsys.readouterr().out


def test_a_layer_keeps_its_activation_function_while_another_thread_looks_before_it():
    layer = layers.Conv2D(4, 3, activation="relu")
    layer.build((None, 12, 12, 3))
    layer.bias.assign([-1.0, 0.0, 0.0, 1.0])
    before = introspection.WithoutActivation(layer)
    seen = []

    class Watched(layers.Conv2D):
        def call(self, inputs):
            seen.append(layer.activation)
            return super().call(inputs)

    layer.__class__ = Watched
    outputs = keras.ops.convert_to_numpy(before(IMAGES))
    assert outputs.min() < 0
    np.testing.assert_allclose(np.maximum(outputs, 0), keras.ops.convert_to_numpy(layer(IMAGES)), atol=1e-6)
    assert seen == [keras.activations.relu] * 2


@pytest.mark.parametrize("name", [each.__name__ for each in introspection.TRAINING_ONLY])
def test_what_is_said_to_work_in_training_only_does_so(name):
    kind = getattr(layers, name)
    for arguments in ((), (0.1,), (4,), (0.1, 0.1)):
        with contextlib.suppress(TypeError, ValueError):
            layer = kind(*arguments)
            break
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(IMAGES, training=False)), IMAGES)


@pytest.mark.parametrize("name", ["relu", "hard_silu", "tanh", "leaky_relu", "gelu", "softsign"])
def test_an_activation_function_may_be_an_operation(name):
    image = keras.Input((12, 12, 3))
    maps = layers.Conv2D(4, 3, name="conv")(image)
    after = getattr(keras.ops, name)(maps)
    model = keras.Model(image, layers.Dense(3, activation="softmax")(layers.Flatten()(after)))
    graph = introspection.graph(model)
    before, found = graph.around_activation(graph.find("conv"))
    both = introspection.predict(graph.model({"before": before, "after": found}), IMAGES)
    expected = keras.ops.convert_to_numpy(getattr(keras.ops, name)(both["before"]))
    np.testing.assert_allclose(both["after"], expected, atol=1e-6)
    assert not np.array_equal(both["before"], both["after"])


def test_augmentation_layers_inside_a_network_change_nothing():
    stack = [
        layers.RandomFlip(), layers.RandomRotation(0.1), layers.RandomZoom(0.1), layers.RandomContrast(0.1),
        layers.Rescaling(1 / 255), layers.Conv2D(4, 3, name="conv"), layers.Flatten(),
        layers.Dense(3, activation="softmax"),
    ]  # fmt: skip
    model = sequential(*stack)
    assert classifiers.guess_pixels(model) == "0..255"
    assert feature_maps.receptive_fields(model)["conv"] == (3, 3)
    assert not {layer.name for layer in stack[:4]} & set(feature_maps.map_layers(model))
    without = sequential(*stack[4:])
    np.testing.assert_array_equal(introspection.predict(model, IMAGES), introspection.predict(without, IMAGES))


def test_filters_that_are_larger_than_the_image():
    model = sequential(layers.Conv2D(4, 13, padding="same", name="wide"), layers.Flatten(), layers.Dense(3))
    with pytest.raises(UserError, match="the filters of wide are larger than the image"):
        sliding_filter.strongest(model, IMAGES[0], 2)


def test_names_of_classes_are_counted(tmp_path):
    for name in (None, "digits"):  # with and without a run of one's own
        with pytest.raises(UserError, match="has 10 classes, but --class-names has 2 names"):
            runs.load(paths.PRETRAINED / "basic_model-digits" if name is None else None, name, class_names=("a", "b"))


def test_networks_that_are_read_at_once_do_not_share_a_limit(tmp_path):
    add_weight, entered, leave = keras.layers.Layer.add_weight, threading.Event(), threading.Event()

    refused = []

    def read():
        with contextlib.suppress(UserError), model_files._limited_parameters(10, "one"):
            try:
                sequential(layers.Flatten(), layers.Dense(10))  # which is too much for it
            except UserError as error:
                refused.append(error)
            entered.set()
            leave.wait(10)

    one = threading.Thread(target=read)
    one.start()
    entered.wait(10)
    sequential(layers.Flatten(), layers.Dense(10_000))  # 4 million parameters, in this thread
    other = threading.Thread(target=read)
    other.start()
    leave.set()
    for thread in (one, other):
        thread.join(10)
    assert len(refused) == 2
    assert keras.layers.Layer.add_weight is add_weight


def test_layers_that_the_views_add_have_names_of_their_own():
    """In a fresh process Keras would name them as those of the network."""
    image = keras.Input((12, 12, 3))
    x = layers.Rescaling(1 / 255, name="rescaling")(image)
    x = layers.Add(name="add")([layers.Conv2D(3, 3, padding="same")(x), x])
    model = keras.Model(image, layers.Dense(2, name="softmax")(layers.Flatten()(x)))
    keras.utils.clear_session()
    adapted = classifiers.as_classifier(model, "F")
    keras.utils.clear_session()
    assert attribution.grad_cam(introspection.logits(adapted), IMAGES[0], 1).shape == (12, 12)


def test_grad_cam_of_a_layer_before_a_skip_connection():
    """The sum of the gradient's two paths, one of which passes the layer by, is that of the whole network."""
    model = functional()
    logits = introspection.logits(model)
    graph = introspection.graph(logits)
    _, after = graph.around_activation(graph.find("first"))
    features = introspection.predict(graph.model(after), IMAGES[:1])
    with_offset = graph.model_with_offset(after)

    def score(offset):
        return keras.ops.convert_to_numpy(with_offset([IMAGES[:1], offset]))[0, 0]

    means = []  # of the gradient, by finite differences: an offset to a whole feature map adds up its pixels' gradients
    for channel in range(features.shape[-1]):
        step = np.zeros_like(features)
        step[..., channel] = 1e-3
        means.append((score(step) - score(-step)) / 2e-3 / 144)
    expected = np.maximum((features[0] * means).sum(axis=-1), 0)
    assert expected.max() > 0
    cam = attribution.grad_cam(logits, IMAGES[0], 0, layer="first")
    np.testing.assert_allclose(cam, expected, atol=0.02 * expected.max())
    with pytest.raises(UserError, match="returns no feature maps"):
        attribution.grad_cam(logits, IMAGES[0], 0, layer="answer")


def test_activation_maximization_ascends(network):
    """Its images beat random ones."""
    graph, step = introspection.graph(network), introspection.convolutions(network)[-1]
    outputs = introspection.predict(graph.model(graph.around_activation(step)[0]), IMAGES)
    for method in ("plain", "fourier"):
        images, activations = activation_maximization.maximize(network, step.name, [0], steps=12, method=method)
        assert images.shape == (1, 12, 12, 3)
        assert activations[0] > outputs[..., 0].mean(axis=(1, 2)).max()


def test_receptive_fields_by_the_gradient():
    """A pixel of a map depends on the pixels that its receptive field counts, and on no others."""
    from convnets import backend

    stack = [
        layers.Conv2D(2, (3, 5), strides=2, name="one"),
        layers.DepthwiseConv2D(2, name="two"),
        layers.Conv2D(2, 2, dilation_rate=2, name="three"),
    ]
    model = sequential(*stack, shape=(24, 24, 1))
    for layer in stack:
        layer.set_weights([np.abs(weight) + 0.1 for weight in layer.get_weights()])
    graph, fields = introspection.graph(model), feature_maps.receptive_fields(model)
    assert fields == {"one": (3, 5), "two": (5, 7), "three": (9, 11)}
    for name, field in fields.items():
        part = graph.model(graph.find(name).output)
        middle = part.output_shape[1] // 2
        _, gradients = backend.with_gradient(lambda x, m=middle, p=part: p(x)[:, m, m, 0])(
            np.ones((1, 24, 24, 1), "f4")
        )
        places = (np.flatnonzero(np.abs(gradients[0]).sum(axis=others)) for others in ((1, 2), (0, 2)))
        assert tuple(each[-1] - each[0] + 1 for each in places) == field


def test_the_receptive_field_is_the_whole_image_behind_global_pooling():
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, padding="same", name="conv")(image)
    squeezed = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Multiply(name="excited")([x, layers.Conv2D(4, 1, activation="sigmoid", name="squeeze")(squeezed)])
    other = layers.Conv2D(4, 1, name="other")(x[:, ::2, ::2] * 2 + 1)
    by_operations = layers.Conv2D(4, 1, name="by_operations")(keras.ops.mean(image, axis=(1, 2), keepdims=True))
    elementwise = layers.Conv2D(4, 1, name="elementwise")(keras.ops.relu(image * 2 + 1) / 3)
    half, _ = keras.ops.split(keras.ops.mean(elementwise[..., 1:], axis=-1, keepdims=True) * image[..., :2], 2, axis=-1)
    along_channels = layers.Conv2D(4, 1, name="along_channels")(half)
    parts = (x, other, by_operations, elementwise, along_channels)
    x = layers.Concatenate()([layers.Flatten()(each) for each in parts])
    fields = feature_maps.receptive_fields(keras.Model(image, layers.Dense(2, activation="softmax")(x)))
    assert (fields["conv"], fields["squeeze"], fields["excited"]) == ((3, 3), (16, 16), (16, 16))
    assert (fields["other"], fields["by_operations"], fields["elementwise"]) == ((16, 16), (16, 16), (1, 1))
    assert fields["along_channels"] == (1, 1)


@pytest.mark.parametrize(
    ("stack", "most"),
    [
        ([layers.UpSampling2D(4)], 4),
        ([layers.UpSampling2D(2)], 4),
        ([layers.UpSampling2D(2), layers.Conv2D(1, 2, kernel_initializer="ones")], 8),
        ([layers.Conv2DTranspose(1, 2, strides=2, kernel_initializer="ones")], 4),
        ([layers.Conv2DTranspose(1, 3, strides=2, kernel_initializer="ones")], 8),
        ([layers.Conv2DTranspose(1, 3, strides=2, padding="same", kernel_initializer="ones")], 8),
        ([layers.Conv2DTranspose(1, 3, strides=2, padding="same", output_padding=0, kernel_initializer="ones")], 8),
        ([layers.Conv2DTranspose(1, 5, strides=2, padding="same", output_padding=0, kernel_initializer="ones")], 12),
        ([layers.Softmax(axis=1)], 16),
        ([layers.ZeroPadding2D(1), layers.Conv2D(1, 2, kernel_initializer="ones")], 8),
        ([layers.UpSampling2D(4, interpolation="bilinear")], 16),  # not worked out: the whole image
        ([layers.Resizing(48, 48), layers.Conv2D(1, 1, strides=2, kernel_initializer="ones")], 16),
        ([layers.Concatenate(axis=1)], 16),
    ],
)
def test_the_fields_of_enlarged_maps_are_the_pixels_that_a_place_sees(stack, most):
    image = keras.Input((16, 16, 1))
    maps = layers.AveragePooling2D(4)(image)
    for layer in stack:
        maps = layer([maps, maps] if isinstance(layer, layers.Concatenate) else maps)
    model = keras.Model(image, layers.Dense(2, activation="softmax")(layers.Flatten()(maps)))
    field, part = feature_maps.fields(model)[stack[-1].name], keras.Model(image, maps)
    assert field.most == (most, most)
    changed = np.eye(256, dtype="float32").reshape(256, 16, 16, 1)
    seen = np.abs(introspection.predict(part, changed))[..., 0].reshape(16, 16, *part.output_shape[1:3]) > 0
    for row, column in np.ndindex(*part.output_shape[1:3]):
        top, left, height, width = field.box(row, column)
        if most == 16:
            assert (top, left, height, width) == (0, 0, 16, 16)
        else:
            expected = np.zeros((16, 16), bool)
            expected[top : top + height, left : left + width] = True
            np.testing.assert_array_equal(seen[:, :, row, column], expected)


def test_the_first_filters_behind_zero_padding():
    model = sequential(
        layers.Rescaling(2.0), layers.ZeroPadding2D(2), layers.Conv2D(3, 5, strides=2, name="conv"), layers.Flatten(),
        layers.Dense(2, activation="softmax"),
    )  # fmt: skip
    found = sliding_filter.strongest(model, IMAGES[0], 1)[0]
    assert found.picture.shape == found.image.shape == (16, 16, 3)
    np.testing.assert_allclose(found.image, 2 * found.picture, atol=1e-6)
    place = found.place
    response = (found.window(place) * found.kernel).sum() + found.bias
    assert response == pytest.approx(found.response[place], abs=1e-5)


# ---------------------------------------------------------------- one form for all


def test_logits_get_a_softmax(capsys):
    model = sequential(layers.Flatten(), layers.Dense(3))
    adapted = classifiers.as_classifier(model, "F", pixels="0..1")
    np.testing.assert_allclose(answers(adapted), keras.ops.softmax(answers(model)), atol=1e-6)
    assert "returns logits: a softmax is added" in capsys.readouterr().out


def test_logits_behind_a_linear_activation():
    """As Keras's guide to mixed precision recommends."""
    model = sequential(layers.Flatten(), layers.Dense(3), layers.Activation("linear", dtype="float32"))
    adapted = classifiers.as_classifier(model, "F", pixels="0..1")
    np.testing.assert_allclose(answers(adapted), keras.ops.softmax(answers(model)), atol=1e-6)


@pytest.mark.parametrize(("classes", "activation"), [(3, "softmax"), (1, "sigmoid")])
def test_probabilities_that_are_a_mean_of_two_networks_get_no_second_softmax(classes, activation, capsys):
    keras.utils.set_random_seed(1)
    image = keras.Input((12, 12, 3))
    each = [layers.Dense(classes, activation=activation)(layers.Flatten()(image)) for _ in range(2)]
    model = keras.Model(image, layers.Average()(each))
    adapted = classifiers.as_classifier(model, "F", pixels="0..1")
    wanted = answers(model) if classes > 1 else np.concatenate([1 - answers(model), answers(model)], axis=1)
    np.testing.assert_allclose(answers(adapted), wanted, atol=1e-5)
    assert "The network returns probabilities" in capsys.readouterr().out


def test_the_probability_of_the_second_of_two_classes():
    image = keras.Input((12, 12, 3))
    both = layers.Dense(2, activation="softmax")(layers.Flatten()(image))
    adapted = classifiers.as_classifier(keras.Model(image, both[:, 1:]), "F", pixels="0..1")
    np.testing.assert_allclose(answers(adapted), answers(keras.Model(image, both)), atol=1e-5)


def test_one_logit_between_0_and_1_is_no_probability():
    """A sigmoid elsewhere in the network, as in squeeze-and-excitation, means nothing."""
    image = keras.Input((12, 12, 3))
    maps = layers.Conv2D(4, 3, name="maps")(image)
    gate = layers.Dense(4, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(maps))
    logit = layers.Dense(1, name="logit")(layers.GlobalAveragePooling2D()(layers.Multiply()([maps, gate])))
    model = keras.Model(image, layers.Activation("linear", dtype="float32")(logit))
    model.get_layer("logit").set_weights([np.full((4, 1), 1e-3, "f4"), np.array([0.5], "f4")])
    adapted = classifiers.as_classifier(model, "F", pixels="0..1")
    p = 1 / (1 + np.exp(-answers(model)))
    assert 0.6 < p.min() < p.max() < 0.65
    np.testing.assert_allclose(answers(adapted), np.concatenate([1 - p, p], axis=1), atol=1e-5)


def test_half_the_sum_of_two_softmaxes_is_probabilities_and_their_sum_is_not(capsys):
    keras.utils.set_random_seed(1)
    image = keras.Input((12, 12, 3))
    one, two = (layers.Dense(3, activation="softmax")(layers.Flatten()(image)) for _ in range(2))
    for half in ((one + two) / 2, keras.ops.mean(keras.ops.stack([one, two]), axis=0)):
        adapted = classifiers.as_classifier(keras.Model(image, half), "F", pixels="0..1")
        np.testing.assert_allclose(answers(adapted), answers(keras.Model(image, half)), atol=1e-5)
        assert "The network returns probabilities" in capsys.readouterr().out
    classifiers.as_classifier(keras.Model(image, one + two), "F", pixels="0..1")
    assert "a softmax is added" in capsys.readouterr().out


def test_probabilities_that_no_layer_called_softmax_computes(capsys):
    image = keras.Input((12, 12, 3))
    flat = layers.Flatten()(image)
    evidence = layers.Dense(3, activation="softplus")(flat)
    for probabilities in (
        layers.EinsumDense("ab,bc->ac", output_shape=3, activation="softmax")(flat),
        evidence / keras.ops.sum(evidence, axis=-1, keepdims=True),
        keras.ops.exp(keras.ops.log_softmax(layers.Dense(3)(flat))),
    ):
        model = keras.Model(image, probabilities)
        np.testing.assert_allclose(
            answers(classifiers.as_classifier(model, "F", pixels="0..1")), answers(model), atol=1e-5
        )
        assert "The network returns probabilities" in capsys.readouterr().out


@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_one_output_becomes_two_classes(activation):
    model = sequential(layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(1, activation=activation))
    adapted = classifiers.as_classifier(model, "F", pixels="0..1")
    p = answers(model)[:, 0] if activation else keras.ops.convert_to_numpy(keras.ops.sigmoid(answers(model)[:, 0]))
    np.testing.assert_allclose(answers(adapted), np.stack([1 - p, p], axis=1), atol=1e-6)
    drop = occlusion.occlusion_map(adapted, IMAGES[0], 1, patch=(12, 12), stride=(12, 12))
    gone = classifiers.as_classifier(model, "F", pixels="0..1")
    assert drop[0, 0] == pytest.approx(p[0] - answers(gone, np.full((1, 12, 12, 3), 0.5, "f4"))[0, 1], abs=1e-6)


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ([layers.Rescaling(1 / 255)], "0..255"),
        ([layers.Rescaling(1 / 127.5, offset=-1)], "0..255"),
        ([layers.Normalization(mean=[120.0, 115.0, 100.0], variance=[3600.0] * 3)], "0..255"),
        ([layers.Normalization(mean=[0.5] * 3, variance=[0.05] * 3)], None),
        ([layers.Resizing(8, 8), layers.CenterCrop(6, 6), layers.Rescaling(1 / 255)], "0..255"),
        ([layers.Rescaling(255)], None),
        ([layers.Conv2D(2, 3), layers.Rescaling(1 / 255)], None),
    ],
)
def test_the_range_of_pixels_is_guessed_from_the_first_layers(first, expected):
    model = sequential(*first, layers.Flatten(), layers.Dense(3, activation="softmax"))
    assert classifiers.guess_pixels(model) == expected
    adapted = classifiers.as_classifier(model, "F")
    scale = 255 if expected else 1
    np.testing.assert_allclose(answers(adapted), answers(model, scale * IMAGES), atol=1e-5)


@pytest.mark.parametrize(
    ("scaled", "expected"),
    [
        (lambda image: image / 127.5 - 1.0, "0..255"),
        (lambda image: image / np.array([255.0] * 3, "float32"), "0..255"),
        (lambda image: image * (1 / 255), "0..255"),
        (lambda image: (image - np.float32(127.5)) / 127.5, "0..255"),
        (lambda image: image / 0.5, None),
        (lambda image: (image - 0.5) * 2, None),
        (lambda image: image * keras.ops.mean(image, axis=-1, keepdims=True), None),
    ],
)
def test_the_range_of_pixels_is_guessed_from_operations(scaled, expected):
    image = keras.Input((12, 12, 3))
    answer = layers.Dense(3, activation="softmax")(layers.Flatten()(scaled(image)))
    assert classifiers.guess_pixels(keras.Model(image, answer)) == expected


def test_the_range_of_pixels_can_be_named():
    model = sequential(layers.Flatten(), layers.Dense(3, activation="softmax"))
    adapted = classifiers.as_classifier(model, "F", pixels="-1..1")
    np.testing.assert_allclose(answers(adapted), answers(model, 2 * IMAGES - 1), atol=1e-5)


def test_a_network_for_images_of_any_size():
    model = functional(shape=(None, None, 3))
    assert classifiers.as_classifier(model, "F", image_size=12).input_shape == (None, 12, 12, 3)
    adapted = classifiers.as_classifier(model, "F", image_size=12)
    np.testing.assert_allclose(answers(adapted), answers(model), atol=1e-6)
    assert classifiers.as_classifier(model, "F").input_shape == (None, 96, 96, 3)
    with pytest.raises(UserError, match="takes images of 12 x 12 pixels: leave out --image-size"):
        classifiers.as_classifier(functional(), "F", image_size=20)


def two_inputs():
    images = [keras.Input((12, 12, 3)), keras.Input((12, 12, 3))]
    return keras.Model(images, layers.Dense(2, activation="softmax")(layers.Flatten()(layers.Add()(images))))


def two_outputs():
    image = keras.Input((12, 12, 3))
    flat = layers.Flatten()(image)
    return keras.Model(image, [layers.Dense(2)(flat), layers.Dense(2)(flat)])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (two_inputs, "has 2 inputs and 1 outputs: expected one image"),
        (two_outputs, "has 1 inputs and 2 outputs"),
        (lambda: sequential(layers.Dense(2), shape=(5,)), "it takes 5 values, not an image"),
        (
            lambda: sequential(layers.Flatten(), layers.Dense(2), shape=(8, 8, 4)),
            "takes 8 x 8 x 4 values, not an",
        ),
        (lambda: sequential(layers.Conv2D(2, 3)), "returns 10 x 10 x 2 values for an image"),
        (
            lambda: sequential(layers.Flatten(), layers.Dense(3, activation="sigmoid")),
            "must end in a softmax, in log",
        ),
        (lambda: keras.Sequential([layers.Flatten(), layers.Dense(3)]), "expected a Sequential or Functional model"),
        (lambda: sequential(layers.UpSampling2D(4000), layers.GlobalMaxPooling2D()), "too large: up_sampling2d"),
    ],
)
def test_what_is_no_image_classifier(build, message):
    model = build()
    assert not classifiers.takes_any_size(model)
    with pytest.raises(UserError, match=message):
        classifiers.as_classifier(model, "F", pixels="0..1")


# ---------------------------------------------------------------- files


def test_a_keras_file(tmp_path, capsys):
    model = functional()
    model.save(tmp_path / "mine.keras")
    run = runs.load(tmp_path / "mine.keras", data_needed=False, class_names=("a", "b", "c"))
    assert (run.name, run.class_names, run.dataset) == ("mine", ("a", "b", "c"), None)
    np.testing.assert_allclose(run.predictions(IMAGES), answers(model), atol=1e-6)
    assert "Pixels: the network takes 0..1, an assumption" in capsys.readouterr().out
    with pytest.raises(UserError, match="has 3 classes, but --class-names has 2 names"):
        runs.load(tmp_path / "mine.keras", data_needed=False, class_names=("a", "b"))
    with pytest.raises(UserError, match=r"does not say on what images of 12 x 12 x 3 it was trained"):
        runs.load(tmp_path / "mine.keras")


def test_a_whole_model_of_keras_2(tmp_path):
    """Written by Keras 2 itself."""
    tf_keras = pytest.importorskip("tf_keras")
    tf_keras.utils.set_random_seed(1)
    model = tf_keras.Sequential(
        [
            tf_keras.layers.Conv2D(4, 3, activation="relu", input_shape=(12, 12, 3)),
            tf_keras.layers.MaxPooling2D(),
            tf_keras.layers.Flatten(),
            tf_keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.save(tmp_path / "old.h5", save_format="h5")
    loaded = checkpoints.load_model(tmp_path / "old.h5")
    np.testing.assert_allclose(answers(loaded), model(IMAGES).numpy(), atol=1e-6)


def lambda_model(path):
    image = keras.Input((12, 12, 3))
    x = layers.Lambda(lambda x: 2 * x, name="evil")(image)
    keras.Model(image, layers.Dense(2)(layers.Flatten()(x))).save(path)


def custom_layer_model(path):
    class Mine(layers.Layer):
        def call(self, x):
            return x

    sequential(Mine(), layers.Flatten(), layers.Dense(2)).save(path)


def greedy_model(path):
    """Declares a thousand million parameters and holds a few."""
    sequential(layers.Flatten(), layers.Dense(3, name="answer")).save(path)
    rewrite(path, "config.json", lambda content: content.replace(b'"units": 3', b'"units": 2000000'))


def rewrite(path, name, change):
    with zipfile.ZipFile(path) as archive:
        contents = {entry: archive.read(entry) for entry in archive.namelist()}
    contents[name] = change(contents[name])
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in contents.items():
            stored = entry == "model.weights.h5"  # as Keras does; the others may be compressed
            archive.writestr(entry, content, zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED)


def linked_model(path):
    functional().save(path)

    def link(content):
        (path.parent / "weights.h5").write_bytes(content)
        with h5py.File(path.parent / "weights.h5", "a") as file:
            file["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/")
        return (path.parent / "weights.h5").read_bytes()

    rewrite(path, "model.weights.h5", link)


def not_finite_model(path):
    model = functional()
    model.set_weights([np.nan * weight for weight in model.get_weights()])
    model.save(path)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda_model, "is refused: its Lambda 'evil' holds code that could do anything"),
        (custom_layer_model, "is not supported: Mine is not part of Keras"),
        (greedy_model, "declares more parameters than"),
        (linked_model, "its entry elsewhere is a link"),
        (not_finite_model, "not finite numbers"),
        (lambda path: path.write_bytes(b"PK nonsense"), "is damaged, or no .keras file"),
        (lambda path: zipfile.ZipFile(path, "w").close(), "holds no model: save it with model.save"),
        (lambda path: None, "no such file"),
    ],
)
def test_files_that_are_refused(write, message, tmp_path):
    write(tmp_path / "model.keras")
    with pytest.raises(UserError, match=message):
        checkpoints.load_model(tmp_path / "model.keras")


def test_no_control_character_of_a_record_reaches_the_terminal(tmp_path):
    shutil.copytree(paths.PRETRAINED / "basic_model-digits", tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    record["class_names"][3] = "three\x1b[2J"
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    assert runs.load(tmp_path / "run", data_needed=False, images=False).class_names[2:4] == ("2", "three [2J")


def test_no_vocabulary_is_read_from_another_file(tmp_path):
    (tmp_path / "secret.txt").write_text("a word\n")
    lookup = keras.saving.serialize_keras_object(layers.StringLookup(vocabulary=["a word"]))
    lookup["config"] |= {"vocabulary": str(tmp_path / "secret.txt"), "vocabulary_size": None}
    model = sequential(layers.Flatten(), layers.Dense(2))
    description = json.loads(model.to_json())
    description["config"]["layers"].append(lookup)
    changed = json.dumps(description).encode()

    model.save(tmp_path / "model.keras")
    rewrite(tmp_path / "model.keras", "config.json", lambda content: changed)
    model.save(tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5", "a") as file:
        file.attrs["model_config"] = changed
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "model.json").write_bytes(changed)
    model.save_weights(tmp_path / "folder" / "model.weights.h5")
    for path in (tmp_path / "model.keras", tmp_path / "model.h5", tmp_path / "folder"):
        with pytest.raises(UserError) as error:
            checkpoints.load_model(path)
        assert "a vocabulary file outside of the model archive" in "".join(traceback.format_exception(error.value))


def test_a_file_that_unpacks_to_more_than_the_disk_holds(tmp_path, monkeypatch):
    from convnets.training import model_files

    functional().save(tmp_path / "model.keras")
    rewrite(tmp_path / "model.keras", "metadata.json", lambda content: content + b" " * 1_000_000)
    monkeypatch.setattr(model_files, "MOST_EXPANDED", 100_000)
    with pytest.raises(UserError, match="unpacked it would take 1,"):
        checkpoints.load_model(tmp_path / "model.keras")


def test_an_architecture_with_more_parameters_than_its_weights(tmp_path):
    model = functional()
    model.save_weights(tmp_path / "mine.weights.h5")
    description = json.loads(model.to_json())
    description["config"]["layers"][-1]["config"]["units"] = 10**9
    (tmp_path / "mine.json").write_text(json.dumps(description))
    with pytest.raises(UserError, match="declares more parameters than"):
        checkpoints.load_model(tmp_path)


def test_weights_without_a_network(tmp_path):
    functional().save_weights(tmp_path / "mine.weights.h5")
    with pytest.raises(UserError, match="holds weights without a network: put it into a folder"):
        checkpoints.load_model(tmp_path / "mine.weights.h5")


def test_a_network_for_cifar10_of_another_project(tmp_path, real_dataset):
    real_dataset("cifar10")
    functional(shape=(32, 32, 3), classes=10).save(tmp_path / "mine.keras")
    run = runs.load(tmp_path / "mine.keras")
    assert run.dataset.name == "cifar10"
    assert run.class_names == datasets.SOURCES["cifar10"].CLASS_NAMES


def test_the_pretrained_networks_are_classifiers_as_they_are():
    for folder in sorted(paths.PRETRAINED.glob("[!.]*")):
        model = checkpoints.load_model(folder)
        images = np.random.default_rng(0).random((2, *model.input_shape[1:]), dtype="float32")
        adapted = classifiers.as_classifier(model, folder, pixels="0..1")
        np.testing.assert_array_equal(introspection.predict(adapted, images), introspection.predict(model, images))
