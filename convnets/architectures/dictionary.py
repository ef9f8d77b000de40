"""A dictionary of image patches as a first layer: the wang article's suggestion to "apply sparse-encoding".

Source: Coates and Ng, "Learning feature representations with k-means", 2012. The ReLU behind the layer makes the code
sparse: a patch is described by the few entries of the dictionary that it is similar to.
"""

import dataclasses
import functools

import numpy as np

PATCHES = 100_000
REGULARIZATION = 0.01  # added to the variances of directions in which patches hardly vary


def with_dictionary(network, name):
    """Return a network.Network with another name, whose first layer is a dictionary that is not trained."""
    return dataclasses.replace(
        network, name=name, build_model=functools.partial(_build, network.build_model), first_weights=set_dictionary,
        section="Apply sparse-encoding", epochs=12, published="", low=None, high=None, article_epochs=None,
        script=None, compile_model=None,  # no script trains it, so --optimizer may replace its optimizer
    )  # fmt: skip


def _build(build_model, input_shape, num_classes):
    model = build_model(input_shape, num_classes)
    model.get_layer("conv1").trainable = False
    return model


def set_dictionary(model, images, seed=1337):
    """Set the first convolution's filters, and biases, to the entries of a dictionary learned from images.

    model: a keras.Sequential whose first layer, conv1, has a bias. images: (n, h, w, c) float32 in [0, 1].
    The patches are whitened and grouped by k-means. Over all patches, each filter's response has variance 1 and mean 0.
    """
    from sklearn.cluster import MiniBatchKMeans

    layer = model.get_layer("conv1")
    rng = np.random.default_rng(seed)
    windows = np.lib.stride_tricks.sliding_window_view(images, layer.kernel_size, axis=(1, 2))
    number, top, left = (rng.integers(0, size, PATCHES) for size in windows.shape[:3])
    patches = np.moveaxis(windows[number, top, left], 1, -1).reshape(PATCHES, -1)  # (n, height * width * channels)
    mean = patches.mean(axis=0)
    centred = patches - mean
    variances, directions = np.linalg.eigh(np.cov(patches, rowvar=False))
    whitening = directions / np.sqrt(variances + REGULARIZATION * variances.mean()) @ directions.T
    clusters = MiniBatchKMeans(layer.filters, random_state=seed, n_init=3, batch_size=4096).fit(centred @ whitening)
    filters = whitening @ clusters.cluster_centers_.T
    filters /= (centred @ filters).std(axis=0)
    layer.set_weights([filters.reshape(*layer.kernel.shape), -mean @ filters])
