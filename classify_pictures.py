"""What is in a picture? Ask a trained network.

    python classify_pictures.py cat.jpg dog.png             the newest run, or else a pretrained network
    python classify_pictures.py holidays/                   all pictures in a folder
    python classify_pictures.py my_digits/ --run basic_model-mnist  handwritten digits, prepared as MNIST's were
    python classify_pictures.py holidays/ --csv answers.csv         also a table

Prints the three best guesses for each picture, and says when it is unlike anything that the network was trained on: a
network for cats and dogs calls a flower a cat or a dog. Draws the first 60 of them in figures/RUN-pictures.png.
A hundred pictures take about one second, besides starting Keras.
"""

from pathlib import Path

from convnets import cli
from convnets.errors import printable


def main(argv=None):
    parser = cli.view_options("classify_pictures", description=__doc__, random_choices=False)
    parser.add_argument("pictures", nargs="+", type=Path, metavar="FILE|FOLDER", help="pictures, or folders of them")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write the answers as a table")
    options = parser.parse_args(argv)

    with cli.importing_keras():  # after the options, since importing Keras takes seconds
        from convnets import drawing
        from convnets.data import image_files
        from convnets.views import classification, classification_figures, runs

    # Network and pictures
    run = runs.load(**cli.run_settings(options), data_needed=False, images=False)
    print(f"Network: {run.path}")
    pictures, broken = image_files.read_all(options.pictures, run.prepare, at_least=run.least_side)
    for path, reason in broken.items():
        print(printable(f"Left out: {path} ({reason})"))

    # Answers
    answers = classification.classify(run, pictures)
    for line in classification.lines(answers):
        print(line)
    if options.csv:
        drawing.save_table(answers.set_index("file"), options.csv, remedy="name another file with --csv")
    page = classification_figures.answers_figure(pictures, answers)
    drawing.save(page, options.output_dir / f"{run.name}-pictures.png", show=options.show)


if __name__ == "__main__":
    cli.run(main)
