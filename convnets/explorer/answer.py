"""What the network says: its probability for each class, and how familiar the image is to it."""

import panel as pn

from convnets.explorer import plots


class Answer:
    """The bars of one network; side: the side.Side that they belong to."""

    def __init__(self, side):
        self.side = side
        self.bars = plots.Bars(f"answer{side.number}", "What the network says", side.network.names)
        self.input = plots.Grid(f"input{side.number}", "The network's input", on_move=side.moved, on_leave=side.left)
        self.sentence = plots.Text(width="330px")
        self.view = plots.flow(self.input.plot, pn.Column(self.bars.plot, self.sentence))

    def show_input(self, image):
        self.input.show(plots.rgba(image[None]))

    def show(self, image, *, hidden=False):
        """Ask the network about an image (h, w, c). hidden: whether it is the image with a patch on it."""
        side = self.side
        probabilities, unfamiliarity = side.network.answer(image)
        best = int(probabilities.argmax())
        truth = side.page.chosen.truth(side.network)
        self.bars.show(probabilities, right=truth if truth is not None else best, wrong=best)
        if not hidden:
            side.predicted = best
        words = f"{side.network.names[best]} ({100 * probabilities[best]:.1f} %)"
        if truth is not None:
            words += ", right" if truth == best else f", wrong: it is {side.network.names[truth]}"
        if unfamiliarity is not None:
            words += (
                "\nUnlike the images that it was trained on: this answer means little."
                if unfamiliarity > 0
                else "\nFamiliar: like the images that it was trained on."
            )
            words += f" (Unfamiliarity {unfamiliarity:+.2f}.)"
        self.sentence.say(words + (f"\nNote: {side.note}." if side.note else ""))
