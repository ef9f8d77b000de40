"""Draw pictures with what a network says of them."""

import math
from pathlib import Path

from matplotlib.figure import Figure

from convnets import drawing
from convnets.views import classification

COLUMNS, MOST = 6, 60
CELL, SIDE = (1.63, 2.35), 1.5  # inches: width and height of a picture with its texts, and the side of the picture


@drawing.styled()
def answers_figure(pictures, answers):
    """Draw pictures as the network sees them, each with its guesses, and its note if there is one.

    pictures: list of image_files.Picture. answers: what classification.classify returns; at most 60 are drawn.
    """
    shown = min(len(pictures), MOST)
    height = CELL[1] * math.ceil(shown / COLUMNS) + 0.7
    unfamiliar = int((answers["unfamiliarity"] > 0).sum())
    is_known = answers["unfamiliarity"].notna().any()
    notes = [f"orange: unlike the images it was trained on ({unfamiliar} of {len(answers)})"] if is_known else []
    notes += [f"the first {MOST} of {len(answers)} pictures"] if len(answers) > MOST else []
    title = "\n".join(["What the network sees", *(["; ".join(notes)] if notes else [])])
    figure = Figure(figsize=(10, height))
    drawing.heading(figure, title)
    axes = figure.add_axes((0, 0, 1, 1))  # one for all pictures, in inches: one for each takes seconds
    for place, (picture, answer) in enumerate(zip(pictures[:shown], answers.to_dict("records"), strict=False)):
        left, top = 0.12 + CELL[0] * (place % COLUMNS), 0.95 + CELL[1] * (place // COLUMNS)
        drawing.draw_image(axes, picture.image, extent=(left, left + SIDE, top + SIDE, top))
        axes.text(left, top - 0.05, drawing.short(Path(answer["file"]).name, 20), fontsize=8)
        notes = [answer["note"].split(":")[0]] if answer["note"] else []  # "2 digits in it: expected one"
        guesses = "\n".join(drawing.short(line, 22) for line in [*classification.guesses(answer), *notes])
        colour = drawing.WRONG if answer["unfamiliarity"] > 0 else "black"
        axes.text(left, top + SIDE + 0.05, guesses, va="top", fontsize=8, color=colour)
    axes.set(xlim=(0, 10), ylim=(height, 0))
    return figure
