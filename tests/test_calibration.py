"""Calibrated probabilities, unfamiliar images, labels that look wrong."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

import visualize_results
from convnets import drawing, paths
from convnets.data import datasets
from convnets.errors import UserError
from convnets.training import checkpoints
from convnets.views import calibration, labels, runs


def fit(logits, truth, features=None):
    """Fit with the features that are given, or with random ones that say nothing."""
    features = np.random.default_rng(1).normal(0, 1, (len(truth), 3)) if features is None else features
    return calibration.fit(logits, features, truth, calibration.fit_centres(features))


@pytest.fixture
def logits_and_labels():
    """Logits of 4000 images in 4 classes, and labels drawn with just their probabilities."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 4))
    drawn = [rng.choice(4, p=each) for each in softmax(logits, axis=1)]
    return logits, np.array(drawn)


@pytest.mark.parametrize("temperature", [0.5, 1, 3])
def test_the_temperature_is_found(temperature, logits_and_labels):
    logits, truth = logits_and_labels
    fitted = fit(temperature * logits, truth)
    assert fitted.temperature == pytest.approx(temperature, rel=0.06)
    assert fitted.error_after < 0.03
    if temperature != 1:
        assert fitted.error_before > 3 * fitted.error_after
    np.testing.assert_allclose(
        fitted.calibrated(softmax(temperature * logits, axis=1)), softmax(logits, axis=1), atol=0.02
    )


def test_the_error_is_that_on_images_without_a_part_in_the_temperature(logits_and_labels):
    """Every other image is three times too certain: the temperature of one half is wrong for the other."""
    logits, truth = logits_and_labels
    fitted = fit(np.where(np.arange(len(truth)) % 2, 1, 3)[:, None] * logits, truth)
    assert fitted.error_after > 0.05


def test_few_images_say_nothing():
    """Two images that are classified correctly are no reason for confidence."""
    fitted = fit(np.array([[0.1, 0.0], [0.0, 0.1]]), np.array([0, 1]))
    assert fitted.temperature == 1


@pytest.mark.parametrize("count", [calibration.LEAST_IMAGES - 1, calibration.LEAST_IMAGES])
def test_the_temperature_stays_below_the_least_number_of_images(count, logits_and_labels):
    logits, truth = logits_and_labels
    fitted = fit(3 * logits[:count], truth[:count])
    assert (fitted.temperature == 1) == (count < calibration.LEAST_IMAGES)
    if fitted.temperature == 1:
        assert fitted.error_after == fitted.error_before


@pytest.mark.parametrize("truth", [0, 1])
def test_a_network_that_is_always_right_or_always_wrong_has_no_best_temperature(truth):
    """It would be 0, with which each guess is 100 % certain, or infinite."""
    logits = np.random.default_rng(0).normal(0, 0.2, (200, 2))
    logits[:, 0] = np.abs(logits[:, 0]) + logits[:, 1]
    assert fit(logits, np.full(200, truth)).temperature == 1


def test_no_prediction_changes(logits_and_labels):
    logits, truth = logits_and_labels
    probabilities = softmax(3 * logits, axis=1).astype("float32")
    calibrated = fit(3 * logits, truth).calibrated(probabilities)
    np.testing.assert_array_equal(calibrated.argmax(axis=1), probabilities.argmax(axis=1))
    np.testing.assert_allclose(calibrated.sum(axis=1), 1, rtol=1e-6)


def test_a_twentieth_of_the_held_out_images_is_unfamiliar(logits_and_labels):
    logits, truth = logits_and_labels
    features = np.random.default_rng(0).normal(0, 1, (len(truth), 3))
    unfamiliarity = fit(logits, truth, features).unfamiliarity(logits, features)
    assert (unfamiliarity > 0).mean() == pytest.approx(0.05, abs=0.001)


def test_energy_and_distance_by_hand():
    assert calibration.energy(np.zeros((1, 4)))[0] == pytest.approx(-np.log(4))
    assert calibration.energy(np.array([[1000.0, 0.0]]))[0] == pytest.approx(-1000)
    centres = np.array([[1, 0], [0, 1]], "float16")
    found = calibration.distance(np.array([[5.0, 0.0], [2.0, 2.0], [0.0, -1.0], [0.0, 0.0]]), centres)
    np.testing.assert_allclose(found, [0, 1 - np.sqrt(0.5), 1, 1], atol=1e-6)


def test_small_logits_make_an_image_unfamiliar(logits_and_labels):
    """Of two images with the same features, the one of which the network is less certain."""
    fitted = fit(*logits_and_labels)
    certain, uncertain = fitted.unfamiliarity(np.array([[9.0, 0, 0, 0], [0, 0, 0, 0]]), np.ones((2, 3)))
    assert uncertain > certain + 1


def test_far_features_make_an_image_unfamiliar(logits_and_labels):
    """Of two images with the same logits, the one in a direction where no training image is."""
    logits, truth = logits_and_labels
    directions = np.random.default_rng(0).normal(0, 1, (len(truth), 3)) * 0.2 + [1, 0, 0]
    fitted = fit(logits, truth, directions)
    assert len(fitted.centres) == calibration.CENTRES
    with pytest.raises(UserError, match=r"feature_centres.npy .* delete it"):
        fitted.unfamiliarity(logits[:1], np.ones((1, 4)))
    near, far = fitted.unfamiliarity(logits[[0, 0]], np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]))
    assert far > near + 5


def test_it_is_kept_and_belongs_to_its_weights(tmp_path, tiny_dataset, build_tiny_model, monkeypatch):
    model = build_tiny_model()
    fitted = calibration.keep(model, tiny_dataset, tmp_path)
    assert calibration.load(tmp_path, model) == fitted
    np.testing.assert_array_equal(calibration.load(tmp_path, model).centres, fitted.centres)

    with monkeypatch.context() as patch:
        patch.setattr(calibration, "fit", None)  # it is not fitted again
        assert calibration.keep(model, tiny_dataset, tmp_path) == fitted
    model.set_weights([weight + 0.1 for weight in model.get_weights()])
    assert calibration.load(tmp_path, model) is None
    assert calibration.keep(model, tiny_dataset, tmp_path).weights != fitted.weights
    kept = (tmp_path / calibration.FILE).read_text()
    (tmp_path / calibration.FILE).write_text("{}")
    assert calibration.load(tmp_path, model) is None
    (tmp_path / calibration.FILE).write_text(kept)
    assert calibration.load(tmp_path, model) is not None
    content = (tmp_path / calibration.CENTRES_FILE).read_bytes()
    (tmp_path / calibration.CENTRES_FILE).write_bytes(content[:-10])
    assert calibration.load(tmp_path, model) is None
    (tmp_path / calibration.CENTRES_FILE).unlink()
    assert calibration.load(tmp_path, model) is None


@pytest.mark.parametrize("folder", sorted(path.name for path in paths.PRETRAINED.glob("[!.]*")))
def test_the_pretrained_networks_are_calibrated(folder):
    kept = calibration.load(paths.PRETRAINED / folder, checkpoints.load_model(paths.PRETRAINED / folder))
    assert kept.error_after < 0.03
    assert kept.error_after <= kept.error_before + 0.003


def test_calibration_can_be_left_out():
    name = str(paths.PRETRAINED / "basic_model-digits")
    assert runs.load(paths.Path(name)).calibration.temperature > 1
    assert runs.load(paths.Path(name), calibrate=False).calibration is None


def test_what_hardly_varies_says_nothing():
    """Logits that are logarithms of probabilities have an energy of 0."""
    rng = np.random.default_rng(0)
    logits = np.log(rng.dirichlet(np.ones(3), 200)).astype("float32")
    features = rng.random((200, 5), dtype="float32")
    fitted = calibration.fit(logits, features, rng.integers(0, 3, 200), calibration.fit_centres(features[:20]))
    scores = fitted.unfamiliarity(logits, features) + fitted.highest
    distances = calibration.distance(features, fitted.centres)
    np.testing.assert_allclose(scores, distances / distances.std(), atol=1e-6)


# ---------------------------------------------------------------- labels


def test_exchanged_labels_come_first():
    rng = np.random.default_rng(0)
    truth = np.arange(500) % 5
    probabilities = softmax(rng.normal(0, 1, (500, 5)) + 5 * np.eye(5)[truth], axis=1)
    wrong = rng.choice(500, 10, replace=False)
    given = truth.copy()
    given[wrong] = (given[wrong] + 1) % 5
    table = labels.rank([probabilities, probabilities], given, list("abcde"))
    assert len(set(table["index"][:12]) & set(wrong)) >= 9
    assert table.columns[0] == "index"
    assert table["label_probability"].is_monotonic_increasing
    assert table.set_index("index").loc[wrong, "issue"].mean() >= 0.8
    assert table["issue"].sum() < 40


def test_networks_are_combined_by_their_geometric_mean():
    rng = np.random.default_rng(0)
    truth = np.arange(500) % 5
    one, other = (softmax(rng.normal(0, 1, (500, 5)) + 2 * np.eye(5)[truth], axis=1) for _ in range(2))
    mean = np.sqrt(one * other)
    mean /= mean.sum(axis=1, keepdims=True)
    table = labels.rank([one, other], truth, list("abcde"), most_errors=2).sort_values("index")
    np.testing.assert_allclose(table["label_probability"], mean[np.arange(500), truth], atol=1e-5)


def test_a_class_without_images_is_no_obstacle():
    probabilities = softmax(np.random.default_rng(0).normal(0, 1, (20, 4)), axis=1)
    assert len(labels.rank([probabilities], np.arange(20) % 3, list("abcd"))) == 20


def test_the_frog_that_cifar10_calls_a_cat(real_dataset):
    """Several networks agree on test image 2405, a known error of CIFAR-10."""
    dataset = real_dataset("cifar10")
    found = labels.of_pretrained_networks(dataset)
    assert len(found) == 4
    for each in found.values():
        np.testing.assert_allclose(each.sum(axis=1), 1, atol=0.01)
    table = labels.rank(list(found.values()), dataset.y_test, dataset.class_names)
    assert table.iloc[0][["index", "label", "suggested"]].tolist() == [2405, "cat", "frog"]


def test_a_network_that_errs_often_does_not_vote():
    rng = np.random.default_rng(0)
    truth = np.arange(500) % 5
    good = softmax(rng.normal(0, 1, (500, 5)) + 5 * np.eye(5)[truth], axis=1)
    poor = softmax(5 * rng.normal(0, 1, (500, 5)), axis=1)
    pd.testing.assert_frame_equal(
        labels.rank([good, poor], truth, list("abcde")), labels.rank([good], truth, list("abcde"))
    )


def test_training_labels_are_checked_by_cross_validation(tmp_path, drawn, capsys, monkeypatch):
    """2 % of the digits' labels are exchanged: most are among the first 3 %."""
    import dataclasses

    dataset = datasets.load("digits")
    dataset = dataclasses.replace(
        dataset, x_train=dataset.x_train[:300], y_train=dataset.y_train[:300], x_test=dataset.x_test[:100],
        y_test=dataset.y_test[:100],
    )  # fmt: skip
    rng = np.random.default_rng(0)
    wrong = rng.choice(300, 6, replace=False)
    exchanged = dataset.y_train.copy()
    exchanged[wrong] = (exchanged[wrong] + rng.integers(1, 10, 6)) % 10
    changed = dataclasses.replace(dataset, y_train=exchanged)
    monkeypatch.setattr(datasets, "load", lambda *args, **options: changed)
    visualize_results.main(["--dataset", "digits", "--check-labels", "--output-dir", str(tmp_path)])

    table = pd.read_csv(tmp_path / "basic_model-digits-training-labels.csv")
    assert len(set(table["index"][:9]) & set(wrong)) >= 5
    assert "basic_model-digits-training-labels.png" in drawn
    assert "labels of 300 training images are probably wrong" in capsys.readouterr().out


def test_a_class_with_one_training_image_does_not_keep_the_others_from_being_checked(recwarn):
    """Of 40 dark and 40 light images, one each has the other label; a class of two is checked as well."""
    import dataclasses

    rng = np.random.default_rng(0)
    truth = np.array([0] * 40 + [1] * 40 + [2] + [3] * 2)
    images = rng.integers(0, 40, (83, 32, 32, 3)) + np.array([0, 60, 120, 180])[truth][:, None, None, None]
    given = truth.copy()
    given[[3, 50]] = 1, 0
    dataset = datasets.Dataset("d", ("a", "b", "single", "c"), images.astype("uint8"), given, images, given, "here")
    table, left_out = labels.rank_training_images(dataset)
    assert left_out == ["single"]
    assert set(table["index"]) == set(range(83)) - {80}
    assert table.loc[table["issue"], "index"].isin([3, 50]).sum() == 2
    assert table.set_index("index").loc[[3, 50], "suggested"].tolist() == ["a", "b"]
    assert not recwarn.list
    singles = dataclasses.replace(dataset, x_train=images[[0, 40, 80]], y_train=np.array([0, 1, 2]))
    assert labels.rank_training_images(singles) == (None, ["a", "b", "single"])


@pytest.mark.parametrize(
    ("correct", "expected"), [(9, "are probably wrong."), (5, "so they are too inaccurate to judge them.")]
)
def test_an_inaccurate_network_does_not_call_labels_wrong(correct, expected):
    table = pd.DataFrame({"label": "a", "suggested": ["a"] * correct + ["b"] * (10 - correct), "issue": True})
    assert expected in labels.summary(table, "test")


def test_old_runs_are_calibrated_when_looked_at(tmp_path):
    """A run of the last version has no calibration yet."""
    import shutil

    old = paths.MODELS / "old"
    shutil.copytree(paths.PRETRAINED / "basic_model-digits", old)
    (old / calibration.FILE).unlink()
    expected = runs.load(paths.PRETRAINED / "basic_model-digits").calibration.temperature
    assert runs.load(old).calibration.temperature == pytest.approx(expected, rel=0.01)
    assert (old / calibration.FILE).is_file()
    assert checkpoints.newest(old)[0].epoch == 70


def test_a_calibration_of_other_weights_is_fitted_again(tmp_path):
    """Also where no images are asked for, as long as they are at hand."""
    import json
    import shutil

    old = paths.MODELS / "old"
    shutil.copytree(paths.PRETRAINED / "basic_model-digits", old)
    numbers = json.loads((old / calibration.FILE).read_text())
    (old / calibration.FILE).write_text(json.dumps({**numbers, "weights": "of another epoch", "temperature": 9.0}))
    assert runs.load(old, data_needed=False, images=False).calibration.temperature == pytest.approx(
        numbers["temperature"], rel=0.01
    )


def test_the_calibration_error_is_that_of_the_images_evaluated(tmp_path, capsys, monkeypatch):
    """On another dataset than its own it is measured; the stored one is of the network's own test images."""
    monkeypatch.setattr(drawing, "save", lambda *_, **__: None)  # drawing takes longer
    digits = datasets.load("digits")
    other = dataclasses.replace(digits, name="other", x_test=digits.x_test[:50, ::-1], y_test=digits.y_test[:50])
    stored = f"{100 * runs.load(paths.PRETRAINED / 'basic_model-digits').calibration.error_after:.2f} percentage"
    look = ["--run", "basic_model-digits", "--output-dir", str(tmp_path)]
    visualize_results.main(look)
    assert f"error: {stored} points (" in capsys.readouterr().out
    monkeypatch.setattr(datasets, "load", lambda *args, **options: other)
    visualize_results.main(look)
    printed = capsys.readouterr().out
    assert "percentage points\n" in printed
    assert stored not in printed


def test_a_network_has_one_vote_however_its_path_is_written(tmp_path, monkeypatch):
    dataset = datasets.load("digits")
    same = {paths.PRETRAINED / "basic_model-digits": np.full((len(dataset.x_test), 10), 0.1)}
    monkeypatch.setattr(labels, "of_pretrained_networks", lambda dataset: same)
    monkeypatch.setattr(drawing, "save", lambda *_, **__: None)  # drawing takes longer
    voters, real = [], labels.rank
    monkeypatch.setattr(labels, "rank", lambda opinions, *rest: voters.append(len(opinions)) or real(opinions, *rest))
    monkeypatch.chdir(paths.PROJECT)
    visualize_results.main(["--run", "models/stashed/basic_model-digits", "--output-dir", str(tmp_path)])
    assert voters == [1]


def test_the_training_labels_of_cifar10_are_not_checked(real_dataset):
    real_dataset("cifar10")
    with pytest.raises(UserError, match="can't judge CIFAR-10's training images"):
        visualize_results.main(["--run", "basic_model-cifar10", "--check-labels"])


def test_labels_that_are_predicted_are_not_drawn(tmp_path, drawn, capsys, monkeypatch):
    digits = datasets.load("digits")
    run = runs.load(paths.PRETRAINED / "basic_model-digits")
    right = run.predictions(digits.x_test).argmax(axis=1) == digits.y_test
    easy = dataclasses.replace(digits, x_test=digits.x_test[right], y_test=digits.y_test[right])
    monkeypatch.setattr(datasets, "load", lambda *args, **options: easy)
    visualize_results.main(["--run", "basic_model-digits", "--output-dir", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "No picture of labels" in printed
    assert "Most confused\nnone\n" in printed
    assert drawn
    assert "basic_model-digits-labels.png" not in drawn
