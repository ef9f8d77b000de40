"""Evaluate a network on images whose classes are known."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from convnets.views import introspection


@dataclass(frozen=True)
class Evaluation:
    """A network's predictions, and the true classes.

    probabilities: (n, classes) float32. labels: (n,) int. class_names: in the order of the classes.
    """

    probabilities: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]

    @property
    def predictions(self):
        """(n,) int: the most probable class of each image."""
        return self.probabilities.argmax(axis=1)

    @property
    def is_correct(self):
        """(n,) bool."""
        return self.predictions == self.labels

    @property
    def confidences(self):
        """(n,) float32: the probability of the predicted class."""
        return self.probabilities.max(axis=1)

    @property
    def accuracy(self):
        return self.is_correct.mean()

    @property
    def accuracy_per_class(self):
        """pandas.Series: the share of each class's images that is classified correctly."""
        correct = pd.Series(self.is_correct).groupby(self.labels).mean()
        return correct.reindex(range(len(self.class_names))).set_axis(self.class_names)

    def mistakes(self):
        """Return (m,) int: the indices of the misclassified images, the most confident mistake first."""
        wrong = np.flatnonzero(~self.is_correct)
        return wrong[np.argsort(-self.confidences[wrong], kind="stable")]

    def confusion_matrix(self):
        """Return a pandas.DataFrame (classes, classes) of counts: true classes in rows, predicted ones in columns."""
        names = list(self.class_names)
        counts = np.zeros((len(names), len(names)), int)
        np.add.at(counts, (self.labels, self.predictions), 1)
        return pd.DataFrame(counts, index=pd.Index(names, name="true"), columns=pd.Index(names, name="predicted"))

    def most_confused(self, pairs=5):
        """Return a pandas.DataFrame of the most frequent mistakes: true, predicted, count, share of the true class."""
        counts, names = self.confusion_matrix().to_numpy(), np.array(self.class_names, dtype=object)
        mistakes = counts * ~np.eye(len(counts), dtype=bool)
        true, predicted = np.divmod(np.argsort(-mistakes, axis=None, kind="stable")[:pairs], len(counts))
        count = mistakes[true, predicted]
        share = count / np.maximum(1, counts.sum(axis=1))[true]
        table = pd.DataFrame({"true": names[true], "predicted": names[predicted], "count": count, "share": share})
        return table[table["count"] > 0]

    def reliability(self, bins=15):
        """Compare the network's confidence with its accuracy.

        Returns (table, expected calibration error). The table is a pandas.DataFrame with a row for each of the equally
        wide bins of confidence that has images: from, to, images, confidence (mean), accuracy. The error is the mean
        distance between confidence and accuracy, weighted by images. Guo et al., "On Calibration of Modern Neural
        Networks", 2017.
        """
        edges, bin_of_image = np.linspace(0, 1, bins + 1), self._bins(bins)
        images = pd.DataFrame({"confidence": self.confidences, "accuracy": self.is_correct}).groupby(bin_of_image)
        table = images.mean().assign(images=images.size())
        table.insert(0, "from", edges[table.index])
        table.insert(1, "to", edges[table.index + 1])
        error = np.average((table["confidence"] - table["accuracy"]).abs(), weights=table["images"])
        return table.reset_index(drop=True), float(error)

    def calibration_error_by_chance(self, bins=15, times=50):
        """Return the mean expected calibration error of a perfectly calibrated network with these confidences."""
        rng, bin_of_image = np.random.default_rng(0), self._bins(bins)
        right = rng.random((times, len(self.labels))) < self.confidences
        errors = [np.abs(np.bincount(bin_of_image, self.confidences - each)).sum() for each in right]
        return float(np.mean(errors) / len(self.labels))

    def _bins(self, count):
        """Return the number of each image's bin, (n,) int, among `count` equally wide bins of confidence."""
        return np.digitize(self.confidences, np.linspace(0, 1, count + 1)[1:-1], right=True)


def predict_with_tta(model, images, *, flip):
    """Predict with test-time augmentation: average over each image and two diagonal shifts of it by one pixel.

    images: (n, height, width, channels) uint8. flip: whether to include the horizontal flips of these three.
    Returns probabilities, (n, classes) float32.
    """
    return np.mean([introspection.predict(model, view) for view in shifted_views(images, flip=flip)], axis=0)


def shifted_views(images, *, flip):
    """Return the views of images for `predict_with_tta`, whose arguments these are: a list of arrays like images."""
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect")
    views = [padded[:, move : move + height, move : move + width] for move in range(3)]
    return views + [view[:, :, ::-1] for view in views] if flip else views


def accuracy_with_tta(model, dataset):
    """Return the accuracy on a dataset's test images with test-time augmentation, in [0, 1]."""
    probabilities = predict_with_tta(model, dataset.x_test, flip=dataset.flippable)
    return (probabilities.argmax(axis=1) == dataset.y_test).mean()
