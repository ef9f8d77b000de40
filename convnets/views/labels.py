"""Find images whose label is probably wrong, by confident learning.

Source: Northcutt et al., "Confident learning: estimating uncertainty in dataset labels", 2021. An image is suspicious
if networks that were not trained on it are confident that it shows another class; "confident" is measured against how
confident they are of that class on average. The library cleanlab does it.
"""

import warnings

import keras
import numpy as np
import pandas as pd
from scipy.special import softmax

from convnets import paths
from convnets.training import checkpoints
from convnets.views import introspection

PREDICTIONS = "test_probabilities.npy"  # of a pretrained network; see publishing
FEATURES_FROM = "fast_model-95.5-cifar10"
FOLDS = 5
MOST_ERRORS = 1.5  # times as many as the best network makes; a network with more doesn't vote
RELIABLE = 0.2  # share of errors; of a network with more, most disagreements are its own mistakes


def rank(probabilities, labels, class_names, *, most_errors=MOST_ERRORS):
    """Rank images by how suspicious their labels are.

    probabilities: list of (n, classes), one from each network; none of them was trained on the images. Those of the
    networks that are about as accurate as the best one are combined by their geometric mean: a network that errs often
    points at difficult images, not at wrong labels. labels: (n,) int. most_errors: how many times as many errors as the
    best network a network may make.
    Returns a pandas.DataFrame, most suspicious first: index, label, suggested (class names), label_probability,
    suggested_probability, issue (bool: whether confident learning calls the label wrong).
    """
    from cleanlab.filter import find_label_issues

    errors = np.array([(each.argmax(axis=1) != labels).mean() for each in probabilities])
    voters = [each for each, error in zip(probabilities, errors, strict=True) if error <= most_errors * errors.min()]
    logs = [np.log(np.maximum(each, 1e-7)) for each in voters]
    combined = softmax(np.mean(logs, axis=0), axis=1)
    present = np.unique(labels)  # cleanlab needs an image of each class
    with warnings.catch_warnings(action="ignore"):  # it warns of each class with few images
        issues = find_label_issues(np.searchsorted(present, labels), _normalized(combined[:, present]), n_jobs=1)
    images = np.arange(len(labels))
    given = combined[images, labels]
    suggested = combined.argmax(axis=1)
    order = np.argsort(given, kind="stable")
    names = np.asarray(class_names, dtype=object)
    table = pd.DataFrame(
        {
            "index": images,
            "label": names[labels],
            "suggested": names[suggested],
            "label_probability": given.round(6),
            "suggested_probability": combined.max(axis=1).round(6),
            "issue": issues,
        }
    )
    return table.iloc[order].reset_index(drop=True)


def _normalized(probabilities):
    return probabilities / probabilities.sum(axis=1, keepdims=True)


def of_pretrained_networks(dataset):
    """Return what the networks that come with the project say of a dataset's test images.

    Returns {the network's folder: probabilities (n, classes)}, empty for a dataset that none was trained on.
    """
    found = {}
    for folder in sorted(paths.PRETRAINED.glob(f"*-{dataset.key}")) if dataset.folder is None else []:
        kept = np.load(folder / PREDICTIONS).astype("float32") if (folder / PREDICTIONS).is_file() else None
        if kept is not None and kept.shape == (len(dataset.x_test), dataset.num_classes):
            found[folder] = kept
    return found


def rank_test_images(run, probabilities):
    """Rank a run's test images by how suspicious their labels are to it and to the pretrained networks.

    run: a runs.Run. probabilities: (n, classes), what it says of them. Returns what `rank` returns.
    """
    opinions = {run.path.resolve(): probabilities, **of_pretrained_networks(run.dataset)}  # it may be one of these
    return rank(list(opinions.values()), run.dataset.y_test, run.class_names)


def summary(table, part):
    """Return a line on how many labels are probably wrong. table: as of `rank`. part: "test" or "training"."""
    issues, errors = int(table["issue"].sum()), (table["label"] != table["suggested"]).mean()
    if errors > RELIABLE:
        return (
            f"{issues} labels of {len(table)} {part} images look wrong, but the predictions differ from {errors:.0%} "
            "of all labels, so they are too inaccurate to judge them."
        )
    return f"{issues} labels of {len(table)} {part} images are probably wrong."


def rank_training_images(dataset):
    """Rank a dataset's training images by how suspicious their labels are, by cross-validation.

    A class with a single training image can't be checked, since no classifier can be trained without that image.
    Returns (table as of `rank`, or None if fewer than two classes can be checked; the names of the others).
    """
    counts = np.bincount(dataset.y_train, minlength=dataset.num_classes)
    classes = np.flatnonzero(counts > 1)
    left_out = [dataset.class_names[number] for number in np.flatnonzero(counts == 1)]
    if len(classes) < 2:
        return None, left_out
    checked = np.flatnonzero(counts[dataset.y_train] > 1)
    labels = np.searchsorted(classes, dataset.y_train[checked])
    probabilities = cross_validated(dataset.x_train[checked], labels)
    table = rank([probabilities], labels, [dataset.class_names[number] for number in classes])
    return table.assign(index=checked[table["index"]]), left_out


def cross_validated(images, labels):
    """Predict each image by a classifier that was trained on other images.

    Features of a pretrained network, which must not have been trained on the images, and logistic regression on four
    fifths of them at a time. images: (n, h, w, 1 or 3) uint8, at least two of each class. labels: (n,) int, below the
    number of classes. Returns probabilities (n, classes).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features = _features(images)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=10 / features.shape[1], max_iter=200))
    folds = min(FOLDS, np.bincount(labels).max())
    with warnings.catch_warnings(action="ignore"):  # of classes with fewer images than folds, and of many classes
        return cross_val_predict(classifier, features, labels, cv=folds, method="predict_proba")


def _features(images):
    """Return the mean of each feature map of a pretrained network, from all depths, (n, features) float32."""
    model = checkpoints.load_model(paths.PRETRAINED / FEATURES_FROM)
    image = keras.Input((*images.shape[1:3], 3))
    outputs, tensor = [], image
    for layer in model.layers:
        if isinstance(layer, keras.layers.GlobalMaxPooling2D):
            break
        tensor = layer(tensor)
        if isinstance(layer, keras.layers.LeakyReLU):
            outputs.append(keras.ops.mean(tensor, axis=(1, 2)))
    extractor = keras.Model(image, keras.ops.concatenate(outputs, axis=-1))
    colour = images if images.shape[-1] == 3 else images.repeat(3, axis=-1)
    return introspection.predict(extractor, colour)


def with_files(table, dataset, part):
    """Add the column "file" to a table of `rank` if the dataset is a folder of pictures. part: "training" or "test"."""
    if dataset.pictures is None:
        return table
    offset = len(dataset.x_train) if part == "test" else 0
    return table.assign(file=dataset.pictures["file"].to_numpy()[table["index"] + offset])
