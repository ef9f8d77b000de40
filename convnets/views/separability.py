"""How well the layers of a network tell two classes apart."""

import numpy as np

from convnets.errors import UserError
from convnets.views import introspection

MOST_IMAGES = 500  # of each class, of the training images and of the test images


def by_layer(model, dataset, classes, layers):
    """Return {layer: share of the test images of two classes that the layer's output tells apart}, in [0, 1].

    An image belongs to the class whose mean output is nearer: the mean of each feature map, in standard deviations,
    averaged over training images. The share is the mean of those of the two classes, so 0.5 is chance. The first layer
    with a high share is where the classes part; if none has one, the network confuses them throughout.
    model: a keras.Model. dataset: a datasets.Dataset. classes: their two numbers. layers: names. Raises UserError if
    a class has no training or no test images.
    """
    graph = introspection.graph(model)
    of_means = graph.model(graph.means({name: graph.layer_output(graph.find(name)) for name in layers}))
    parts = {}
    for part, images, labels in (
        ("training", dataset.x_train, dataset.y_train),
        ("test", dataset.x_test, dataset.y_test),
    ):
        of_each = [np.flatnonzero(labels == number)[:MOST_IMAGES] for number in classes]
        if not all(map(len, of_each)):
            raise UserError(f"there are no {part} images of one of these two classes")
        chosen = np.concatenate(of_each)
        parts[part] = introspection.predict(of_means, images[np.sort(chosen)]), labels[np.sort(chosen)]
    shares = {}
    for name in layers:
        (train, train_labels), (test, test_labels) = ((values[name], labels) for values, labels in parts.values())
        spread = train.std(axis=0) + 1e-6
        first, second = (train[train_labels == number].mean(axis=0) / spread for number in classes)
        nearer_first = ((test / spread - first) ** 2).sum(axis=1) <= ((test / spread - second) ** 2).sum(axis=1)
        right = nearer_first == (test_labels == classes[0])
        shares[name] = float(np.mean([right[test_labels == number].mean() for number in classes]))
    return shares
