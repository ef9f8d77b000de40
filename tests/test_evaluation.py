import numpy as np
import pandas as pd
import pytest

from convnets import drawing
from convnets.views import evaluation_figures
from convnets.views.evaluation import Evaluation

NAMES = ("cat", "dog", "frog")


@pytest.fixture
def results():
    """Six images: three right, then two cats taken for dogs and a dog taken for a frog."""
    probabilities = np.array(
        [[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.0, 0.4, 0.6], [0.3, 0.7, 0.0], [0.0, 1.0, 0.0], [0.1, 0.4, 0.5]]
    )
    return Evaluation(probabilities, np.array([0, 1, 2, 0, 0, 1]), NAMES)


def test_accuracy(results):
    assert results.accuracy == 0.5
    expected = pd.Series([1 / 3, 1 / 2, 1.0], index=NAMES)
    pd.testing.assert_series_equal(results.accuracy_per_class, expected, check_names=False)


def test_mistakes_most_confident_first(results):
    assert results.mistakes().tolist() == [4, 3, 5]


def test_the_captions_of_a_prediction(results):
    """Image 3 is a cat, taken for a dog with 70 %."""
    figure = evaluation_figures.predictions_figure(np.zeros((6, 8, 8, 3), "uint8"), results, [3], "title")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["test image 3", "true: cat", "predicted: dog", "dog 70.0 %", "cat 30.0 %", "frog 0.0 %"]


def test_the_breakdown(results):
    breakdown = results.confusion_matrix()
    assert breakdown.to_numpy().tolist() == [[1, 2, 0], [0, 1, 1], [0, 0, 1]]
    assert breakdown.loc["cat", "dog"] == 2
    assert (breakdown.index.name, breakdown.columns.name) == ("true", "predicted")


def test_most_confused(results):
    table = results.most_confused()
    assert table[["true", "predicted", "count"]].to_numpy().tolist() == [["cat", "dog", 2], ["dog", "frog", 1]]
    assert table["share"].tolist() == [2 / 3, 1 / 2]
    assert len(results.most_confused(pairs=1)) == 1


def test_classes_of_the_same_name_are_apart(results):
    """ImageNet has two cranes, the bird and the machine."""
    table = Evaluation(results.probabilities, results.labels, ("crane", "crane", "frog")).most_confused()
    assert table.to_numpy().tolist() == [["crane", "crane", 2, 2 / 3], ["crane", "frog", 1, 1 / 2]]


def test_a_class_without_images(results):
    few = Evaluation(results.probabilities[:2], results.labels[:2], NAMES)
    assert few.confusion_matrix().shape == (3, 3)
    assert np.isnan(few.accuracy_per_class["frog"])


def test_calibration_worked_out_by_hand():
    """At 0.6 one of two is right, at 0.9 and 1.0 one of two: |0.6 - 0.5| and |0.95 - 0.5|, equally often."""
    probabilities = np.array([[0.6, 0.4], [0.4, 0.6], [0.9, 0.1], [1.0, 0.0]])
    table, error = Evaluation(probabilities, np.array([0, 0, 0, 1]), ("a", "b")).reliability(bins=4)
    assert table["images"].tolist() == [2, 2]
    assert table["from"].tolist() == [0.5, 0.75]
    assert table["to"].tolist() == [0.75, 1]
    np.testing.assert_allclose(table["confidence"], [0.6, 0.95])
    assert table["accuracy"].tolist() == [0.5, 0.5]
    assert error == pytest.approx((0.1 + 0.45) / 2)


def test_a_confidence_on_the_edge_belongs_to_the_lower_bin():
    table, _ = Evaluation(np.array([[0.75, 0.25]]), np.array([0]), ("a", "b")).reliability(bins=4)
    assert table["from"].tolist() == [0.5]


def test_a_perfectly_calibrated_network():
    """Of each ten images at 0.7, seven are right."""
    labels = np.array([0] * 7 + [1] * 3)
    _, error = Evaluation(np.array([[0.7, 0.3]] * 10), labels, ("a", "b")).reliability()
    assert error == pytest.approx(0, abs=1e-12)


def test_the_calibration_error_by_chance():
    """Of one image, it is the distance of its confidence from 0 or 1: 2 p (1 - p) on average."""
    one = Evaluation(np.array([[0.7, 0.3]]), np.array([0]), ("a", "b"))
    assert one.calibration_error_by_chance(times=2000) == pytest.approx(2 * 0.7 * 0.3, abs=0.02)
    many = Evaluation(np.tile([0.7, 0.3], (10_000, 1)), np.zeros(10_000, int), ("a", "b"))
    assert many.calibration_error_by_chance() == pytest.approx(np.sqrt(2 / np.pi * 0.7 * 0.3 / 10_000), rel=0.25)


def test_any_names_can_be_drawn(tmp_path, capsys, recwarn):
    """Long ones are cut, and what the font lacks, or is no text at all, ends neither the script nor fills stderr."""
    drawing._say_once.cache_clear()
    names = ("a" * 200, "猫", "caf\udce9")
    images = np.zeros((6, 32, 32, 3), "uint8")
    results = Evaluation(np.eye(3)[[0, 1, 2, 0, 1, 2]], np.array([0, 1, 2, 1, 2, 0]), names)
    suspicious = pd.DataFrame({"index": [0, 1], "label": names[:2], "suggested": names[1:]})
    for number, figure in enumerate(
        [
            evaluation_figures.predictions_figure(images, results, range(6), "title"),
            evaluation_figures.confusion_matrix_figure(results.confusion_matrix()),
            evaluation_figures.labels_figure(images, suspicious, "test"),
            evaluation_figures.accuracy_per_class_figure(results.accuracy_per_class, results.accuracy),
        ]
    ):
        texts = [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]
        assert max(len(text) for text in texts if "aaa" in text) <= 40
        drawing.save(figure, tmp_path / f"{number}.png")
    assert not recwarn.list
    assert capsys.readouterr().out.count("boxes stand for them") == 1


def test_names_of_equal_beginnings_are_apart():
    """Their bars are not drawn over one another."""
    shares = pd.Series([0.2, 0.8], index=["a" * 50 + "1", "a" * 50 + "2"])
    figure = evaluation_figures.accuracy_per_class_figure(shares, 0.5)
    assert sorted(bar.get_y() for bar in figure.axes[0].patches) == [-0.4, 0.6]


def test_as_many_classes_as_images_are_no_reason_to_warn(recwarn):
    results = Evaluation(np.eye(100), np.arange(100), tuple(map(str, range(100))))
    np.testing.assert_array_equal(results.confusion_matrix(), np.eye(100))
    assert not recwarn.list
