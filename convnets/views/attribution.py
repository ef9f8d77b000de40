"""Explain a network's answer by its gradients, to compare with occlusion: Grad-CAM and integrated gradients."""

import functools
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from convnets import backend
from convnets.data.datasets import at_once
from convnets.errors import UserError
from convnets.views import introspection
from convnets.views.occlusion import background

SEGMENTS = 32  # of the path at first, and how many of them are halved at a time


@dataclass(frozen=True)
class IntegratedGradients:
    """What each value of an image adds to a score, and how exact that is.

    attributions: (h, w, c) float32. gap: how far their sum is from score(image) - score(baseline), as a share
    of it.
    """

    attributions: np.ndarray
    gap: float


def integrated_gradients(model, image, class_index, *, baseline="blur", tolerance=0.01, most_evaluations=1025):
    """Integrate the gradients of a score along the straight path from a baseline to the image.

    Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", 2017.
    The attributions should add up to score(image) - score(baseline). On each segment of the path, its part of that
    difference shows how far the trapezoidal rule is off. The worst segments are halved until the whole is within
    `tolerance`, or `most_evaluations` are reached.

    model: its output `class_index` is the score; pass a model that returns logits. image: (h, w, c) float32.
    baseline: as for occlusion. Returns IntegratedGradients.
    """
    start = background(image, baseline)
    difference = image - start
    scores_and_gradients, chosen = _score_and_gradient(model), _one_hot(class_index, model.output_shape[-1])

    def evaluate(places):
        size, parts = min(at_once(introspection.MOST_AT_ONCE, image.shape), SEGMENTS + 1), []
        filled = np.append(places, np.repeat(places[-1:], -len(places) % size))  # so that nothing is compiled twice
        for part in filled.reshape(-1, size, 1, 1, 1):
            parts.append(scores_and_gradients((start + part * difference).astype("float32"), chosen))
        return (np.concatenate(each)[: len(places)] for each in zip(*parts, strict=True))

    places = np.linspace(0, 1, SEGMENTS + 1)
    scores, gradients = evaluate(places)
    while True:
        lengths = np.diff(places).astype("float32")[:, None, None, None]  # in float64, large images take gigabytes
        segments = (gradients[1:] + gradients[:-1]) / 2 * lengths * difference
        errors = np.diff(scores) - segments.sum(axis=(1, 2, 3), dtype="float64")
        gap = abs(errors.sum()) / max(abs(scores[-1] - scores[0]), 1e-12)
        if gap <= tolerance or len(places) + SEGMENTS > most_evaluations:
            return IntegratedGradients(segments.sum(axis=0).astype("float32"), float(gap))
        worst = np.sort(np.argsort(-np.abs(errors))[:SEGMENTS])
        middles = (places[worst] + places[worst + 1]) / 2
        places = np.insert(places, worst + 1, middles)
        new_scores, new_gradients = evaluate(middles)
        scores = np.insert(scores, worst + 1, new_scores)
        gradients = np.insert(gradients, worst + 1, new_gradients, axis=0)


def grad_cam(model, image, class_index, layer=None):
    """Weigh a layer's feature maps by their gradients for a score, and add them up.

    Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", 2017.
    model: its output `class_index` is the score; pass a model that returns logits. image: (h, w, c) float32.
    layer: a layer's name. Default: the last feature maps of the last convolution's size.
    Returns (h, w) float32, at least 0, smoothly enlarged to the image's size.
    Raises UserError when there is no convolution, or the layer named returns no feature maps.
    """
    graph, tensor = introspection.graph(model), _feature_maps(model, layer)
    if len(tensor.shape) != 4:
        raise UserError(f"the layer {layer!r} returns no feature maps, which Grad-CAM needs: name another --layer")
    features = introspection.predict(graph.model(tensor), image[None])
    chosen = _one_hot(class_index, model.output_shape[-1])
    _, gradients = _gradient_by(model, layer)(np.zeros_like(features), image[None].astype("float32"), chosen)
    weights = gradients.mean(axis=(1, 2), keepdims=True)
    cam = np.maximum((weights * features).sum(axis=-1, keepdims=True), 0)
    return keras.ops.convert_to_numpy(keras.ops.image.resize(cam, image.shape[:2]))[0, :, :, 0]


def _one_hot(index, count):
    return np.eye(count, dtype="float32")[:, [index]]


@functools.lru_cache(maxsize=8)  # compiling takes longer than computing
def _score_and_gradient(model):
    """Compile a function of images (n, h, w, c) and a one-hot class (classes, 1): its scores and their gradients."""
    return backend.with_gradient(lambda x, chosen: ops.matmul(model(x, training=False), chosen)[:, 0])


@functools.lru_cache(maxsize=8)
def _gradient_by(model, layer):
    """Compile the same for the gradient by a layer's output: a function of an offset to it, images and a class."""
    graph = introspection.graph(model)
    with_offset = graph.model_with_offset(_feature_maps(model, layer))
    return backend.with_gradient(
        lambda offset, x, chosen: ops.matmul(with_offset([x, offset], training=False), chosen)[:, 0]
    )


def _feature_maps(model, layer):
    graph = introspection.graph(model)
    return graph.around_activation(graph.find(layer))[1] if layer else last_feature_maps(graph)


def last_feature_maps(graph):
    """Return the symbolic tensor of the last feature maps that are as large as the last convolution's.

    That is behind its normalization and activation function, and behind the sum that ends a residual block.
    """
    convolutions = graph.first_steps(introspection.is_convolution)
    if not convolutions:
        raise UserError("Grad-CAM needs a convolution layer, and this network has none: leave out --compare")
    step, following = convolutions[-1], graph.following(convolutions[-1])
    while following and len(following.shape) == 3 and following.shape[:2] == step.shape[:2]:
        step, following = following, graph.following(following)
    return step.output
