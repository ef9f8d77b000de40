"""Two other explanations of a network's answer, to compare with occlusion: Grad-CAM and integrated gradients."""

import keras
import numpy as np

from convnets import backend
from convnets.errors import UserError
from convnets.views import introspection
from convnets.views.occlusion import background


def integrated_gradients(model, image, class_index, *, baseline="blur", steps=32):
    """Adds up the gradients of a score on the straight way from a baseline to the image.

    Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", 2017; the integral by Gauss and Legendre.
    model: its output `class_index` is the score; give it logits. baseline: as for occlusion.
    Returns (h, w, c) float32, which sums up to score(image) - score(baseline).
    """
    start = background(image, baseline)
    places, weights = np.polynomial.legendre.leggauss(steps)
    places, weights = (places + 1) / 2, weights / 2  # from [-1, 1] to [0, 1]
    way = start + places.reshape(-1, 1, 1, 1) * (image - start)
    _, gradients = backend.with_gradient(lambda x: model(x, training=False)[:, class_index])(way.astype("float32"))
    return ((image - start) * np.tensordot(weights, gradients, axes=1)).astype("float32")


def grad_cam(model, image, class_index):
    """Weighs the last convolution's feature maps by what they do for a score, and adds them up.

    Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", 2017.
    model: its output `class_index` is the score; give it logits.
    Returns (h, w) float32 of at least 0, smoothly enlarged to the image's size.
    """
    convolutions = introspection.convolutions(model)
    if not convolutions:
        raise UserError("Grad-CAM needs a convolution layer, and this network has none: leave out --compare")
    layers = introspection.unfused(model)
    _, last = introspection.around_activation(layers, convolutions[-1].name)
    features = keras.ops.convert_to_numpy(introspection.run(layers[: last + 1], image[None]))
    _, gradients = backend.with_gradient(lambda x: introspection.run(layers[last + 1 :], x)[:, class_index])(features)
    weights = gradients.mean(axis=(1, 2), keepdims=True)
    cam = np.maximum((weights * features).sum(axis=-1, keepdims=True), 0)
    return keras.ops.convert_to_numpy(keras.ops.image.resize(cam, image.shape[:2]))[0, :, :, 0]
