"""Classify the reader's own pictures."""

import numpy as np
import pandas as pd

from convnets.errors import printable

GUESSES = ("predicted", "second", "third")


def classify(run, pictures):
    """Classify pictures with a trained network.

    run: a runs.Run. pictures: list of image_files.Picture.
    Returns a pandas.DataFrame, a row for each picture: file, predicted, probability, second, second_probability, third,
    third_probability, unfamiliarity (see calibration.Calibration: above 0 it is unlike the images that the network was
    trained on; missing if the network's calibration is unknown), note.
    """
    images = np.stack([picture.image for picture in pictures])
    probabilities, unfamiliarity = run.answer(images)
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, : len(GUESSES)]
    table = {"file": [str(picture.path) for picture in pictures]}
    for place, guess in enumerate(GUESSES[: best.shape[1]]):
        table[guess] = [run.class_names[number] for number in best[:, place]]
        probability = np.take_along_axis(probabilities, best[:, [place]], axis=1)[:, 0]
        table["probability" if place == 0 else f"{guess}_probability"] = probability.round(4)
    table["unfamiliarity"] = np.nan if unfamiliarity is None else unfamiliarity
    table["note"] = [picture.note for picture in pictures]
    return pd.DataFrame(table).round({"unfamiliarity": 3})


def lines(answers):
    """Return a line of text for each row of a table of answers."""
    width = max(len(file) for file in answers["file"])
    for answer in answers.to_dict("records"):
        yield printable(f"{answer['file']:{width}}  {', '.join(guesses(answer))}{warning(answer)}")


def guesses(answer):
    """Return the guesses of an answer as texts, "cat 92.1 %", the best first."""
    probabilities = [name for name in answer if name.endswith("probability")]
    return [f"{answer[guess]} {100 * answer[name]:.1f} %" for guess, name in zip(GUESSES, probabilities, strict=False)]


def warning(answer):
    """Return what to know about an answer, or an empty text."""
    unlike = "unlike the images it was trained on" if answer["unfamiliarity"] > 0 else ""
    return "".join(f"  [{part}]" for part in (unlike, answer["note"]) if part)
