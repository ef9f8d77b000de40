"""Say how far a network's answers can be trusted: calibrated probabilities, and a warning of unfamiliar images.

What is fitted on images is fitted on the test images, which the network was not trained on, and kept in the run's
folder. It changes no prediction.

An image is unfamiliar if its energy is high, and if its features are far from those of the training images. Both are
measured in standard deviations over the test images, and added.

Sources: Guo et al., "On calibration of modern neural networks", 2017 (temperature scaling); Liu et al., "Energy-based
out-of-distribution detection", 2020; Sun et al., "Out-of-distribution detection with deep nearest neighbors", 2022
(distance of features, here to the centres of groups of them).
"""

import dataclasses
import hashlib
import io
import math

import numpy as np
from scipy.special import logsumexp, softmax

from convnets import files
from convnets.errors import UserError
from convnets.views import introspection
from convnets.views.evaluation import Evaluation

FILE, CENTRES_FILE = "calibration.json", "feature_centres.npy"  # in a run's folder
MOST_BYTES = 100_000_000  # of the centres
LEAST_IMAGES = 100  # fewer say nothing of a temperature, which stays 1
FAMILIAR = 0.95  # share of the test images whose unfamiliarity is below the threshold
LEAST_DEVIATION, NOT_USED = 1e-5, 1e12  # what hardly varies says nothing; divided by a large number, it counts as 0
TRAINING_IMAGES, CENTRES = 2000, 200  # of so many training images, features are grouped around so many centres


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What was fitted for a network.

    temperature: what logits are divided by; above 1 the network is overconfident. centres: (n, features) float16, of
    length 1, of groups of training images. energy_deviation, distance_deviation: standard deviations over the test
    images, or NOT_USED for what hardly varies. highest: an image with more unfamiliarity is unlike them. error_before,
    error_after: expected calibration error in [0, 1] without and with a temperature; for the latter, each half of the
    images has the temperature that was fitted on the other half. images: how many test images. weights: the SHA-256 of
    the network's weights.
    """

    temperature: float
    centres: np.ndarray = dataclasses.field(repr=False, compare=False)
    energy_deviation: float
    distance_deviation: float
    highest: float
    error_before: float
    error_after: float
    images: int
    weights: str

    def calibrated(self, probabilities):
        """Return probabilities (..., classes) as they are at this temperature, float32."""
        tiny = np.finfo("float32").tiny
        return softmax(np.log(np.maximum(probabilities, tiny)) / self.temperature, axis=-1).astype("float32")

    def unfamiliarity(self, logits, features):
        """Return how unfamiliar images are, (n,); above 0: more unfamiliar than 95 % of the test images.

        logits: (n, classes). features: (n, features), as introspection.logits_and_features returns them. Raises
        UserError if the centres have another number of features.
        """
        if features.shape[1] != self.centres.shape[1]:
            raise UserError(f"{CENTRES_FILE} in the run's folder is not this network's: delete it, and it is made anew")
        scores = energy(logits) / self.energy_deviation + distance(features, self.centres) / self.distance_deviation
        return scores - self.highest


def energy(logits):
    """Return the energy, -log(sum(exp(logits))), for logits (n, classes). Unfamiliar images have more."""
    return -logsumexp(logits, axis=-1)


def distance(features, centres):
    """Return how far features (n, features) are from the nearest of the centres: 1 - the cosine of their angle."""
    return 1 - (_of_length_1(features) @ centres.astype("float32").T).max(axis=1)


def _of_length_1(features):
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def fit_centres(features):
    """Return the centres of groups of training images, (at most 200, features) float16. features: (n, features)."""
    from sklearn.cluster import MiniBatchKMeans

    features = _of_length_1(features)
    if len(features) > CENTRES:
        features = MiniBatchKMeans(CENTRES, random_state=0, n_init=1, batch_size=2048).fit(features).cluster_centers_
    return _of_length_1(features).astype("float16")


def fit(logits, features, labels, centres, weights=""):
    """Fit a Calibration.

    logits: (n, classes) and features: (n, features) of held-out images. labels: (n,) int. centres, weights: see there.
    """
    halves = np.arange(len(labels)) % 2 == 0
    enough = len(labels) >= LEAST_IMAGES
    temperatures = [_temperature(logits[half], labels[half]) if enough else 1.0 for half in (halves, ~halves)]
    crossed = np.where(halves, *reversed(temperatures))[:, None]
    deviations = [float(scores.std()) for scores in (energy(logits), distance(features, centres))]
    deviations = [each if each > LEAST_DEVIATION else NOT_USED for each in deviations]
    fitted = Calibration(
        temperature=_temperature(logits, labels) if enough else 1.0,
        centres=centres,
        energy_deviation=deviations[0],
        distance_deviation=deviations[1],
        highest=0.0,
        error_before=_error(logits, labels),
        error_after=_error(logits / crossed, labels),
        images=len(labels),
        weights=weights,
    )
    return dataclasses.replace(fitted, highest=float(np.quantile(fitted.unfamiliarity(logits, features), FAMILIAR)))


def _temperature(logits, labels):
    """Return the temperature at which the probability of the best guess best says whether that guess is right.

    Its mean cross-entropy with "right or wrong" is minimised. (With that of all classes, as in Guo et al., the error is
    larger for each network of this project but one.)
    """
    from scipy.optimize import minimize_scalar  # here, since it takes a moment

    right = logits.argmax(axis=1) == labels
    if right.all() or not right.any():  # the best temperature would be 0, or infinite
        return 1.0

    def cross_entropy(log_temperature):
        confidence = softmax(logits / np.exp(log_temperature), axis=1).max(axis=1).clip(1e-7, 1 - 1e-7)
        return -np.log(np.where(right, confidence, 1 - confidence)).mean()

    return float(np.exp(minimize_scalar(cross_entropy, bounds=(-3, 3), method="bounded").x))


def _error(logits, labels):
    return Evaluation(softmax(logits, axis=1), labels, tuple(range(logits.shape[1]))).reliability()[1]


def keep(model, dataset, folder):
    """Return a network's Calibration: the one in the run's folder, or else fit it on the test images and keep it."""
    kept = load(folder, model)
    if kept:
        return kept
    outputs = introspection.logits_and_features(model)
    chosen = np.random.default_rng(0).permutation(len(dataset.x_train))[:TRAINING_IMAGES]
    centres = fit_centres(introspection.predict(outputs, dataset.x_train[np.sort(chosen)])["features"])
    tested = introspection.predict(outputs, dataset.x_test)
    fitted = fit(tested["logits"], tested["features"], dataset.y_test, centres, _weights(model))
    numbers = {name: value for name, value in vars(fitted).items() if name != "centres"}
    array = io.BytesIO()
    np.save(array, centres)
    try:
        files.write(folder / CENTRES_FILE, array.getvalue())
        files.write(folder / FILE, files.to_json(numbers))  # last: it makes the other one valid
    except UserError as error:  # it can be fitted again
        print(f"Warning: {error}.")
    return fitted


def load(folder, model):
    """Return the Calibration that is kept in a run's folder, or None if there is none of the model's weights."""
    try:
        numbers = files.read_json(folder / FILE)
        centres = files.read_array(folder / CENTRES_FILE, MOST_BYTES, mmap_mode="r")  # refuses one that is cut off
        kept = Calibration(**numbers, centres=np.array(centres))
        sound = all(math.isfinite(value) for name, value in numbers.items() if name != "weights")
        sound &= min(kept.temperature, kept.energy_deviation, kept.distance_deviation) > 0
        sound &= kept.centres.ndim == 2 and kept.centres.size > 0 and kept.centres.dtype.kind == "f"
        sound &= bool(np.isfinite(kept.centres).all())
    except (OSError, ValueError, TypeError, OverflowError):
        return None
    return kept if sound and kept.weights == _weights(model) else None


def _weights(model):
    return hashlib.sha256(b"".join(np.ascontiguousarray(each) for each in model.get_weights())).hexdigest()
