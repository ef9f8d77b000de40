"""The page: what it shows, as its address holds it, and how its parts stand together."""

import contextlib

import panel as pn
import param

from convnets import cli
from convnets.errors import UserError
from convnets.explorer import at_hand, loading, plots
from convnets.explorer.background import Background
from convnets.explorer.trainings import Trainings

FIRST_DRAWING = 5000  # milliseconds to wait for the browser to say that it has drawn the first answer
SENT, DRAWN = 1, 2  # values of a number that the server sends after the first answer, and the browser returns
RETURN = f"if (cb_obj.value == {SENT}) requestAnimationFrame(() => setTimeout(() => {{ cb_obj.value = {DRAWN} }}))"
SECTIONS = ["Inside", "Why", "How good", "Training"]
IN_ADDRESS = [
    "section",
    "show",
    "index",
    "file",
    "layer1",
    "channel1",
    "layer2",
    "channel2",
    "patch",
    "baseline",
    "trainings",
    "run",
    "second",
]


class Page(param.Parameterized):
    """The state of one tab of the browser; all but `chosen` stands in its address.

    run, second: names of runs; second may be "". show: which images the gallery shows. index: of the test image.
    file: the name of a picture in the folder `pictures`, or "". chosen: the image.Chosen that all parts look at.
    """

    run = param.Selector(objects=[""])
    second = param.Selector(objects=[""])
    section = param.Selector(objects=SECTIONS)
    show = param.Selector(objects=["all"])
    index = param.Integer(0, bounds=(0, None))
    file = param.Selector(objects=[""])
    layer1, layer2 = param.String(""), param.String("")
    channel1, channel2 = param.Integer(0, bounds=(0, None)), param.Integer(0, bounds=(0, None))
    patch = param.Selector(default=4, objects=list(range(1, 17)))
    baseline = param.Selector(objects=["grey", "black", "white", "mean colour", "blur"])
    trainings = param.ListSelector(default=[], objects=[])
    chosen = param.Parameter()

    def __init__(self, *, pictures=None, data_dir=None, default_run=None):
        super().__init__()
        self.pictures, self.data_dir, self._default = pictures, data_dir, default_run
        with contextlib.suppress(UserError):  # a folder that is empty by now
            self.param.file.objects = ["", *(at_hand.pictures_in(pictures) if pictures else ())]
        self.message = plots.Text("Starting Keras ...")
        self.background = Background(pn.state.curdoc, self.complain)
        self.sides, self._opened = [], False
        self._echo = pn.widgets.IntInput(visible=False)
        self._echo.jscallback(value=RETURN)  # no other widgets in it: Panel would keep them, and so this page, for ever
        self.background.when(self._echo, lambda: self._echo.value == DRAWN and self._open_first())
        self._content = pn.Column(self.message, sizing_mode="stretch_width")
        self.body = pn.Column(self._content, self._echo, sizing_mode="stretch_width")

    def complain(self, text):
        """Show a line that says what went wrong."""
        self.message.say(text)

    def load(self):
        """Load the network that the address names, in the background, and build the page with it."""
        if self.sides:  # a browser that connects again
            return
        wanted = pn.state.location.query_params.get("run")
        names = at_hand.names()
        self.param.run.objects, self.param.second.objects = names, ["", *names]
        self.param.trainings.objects = names

        def load():
            return loading.load([wanted] if wanted in names else at_hand.candidates(self._default), self.data_dir)

        self.background.start("network", load, self._build)

    def _build(self, network):
        from convnets.explorer.image import ImageChooser

        self.run = network.run.name
        self.trainings = [self.run]
        self.chooser = ImageChooser(self)
        self.trainings_part = Trainings(self)
        self.networks = plots.flow()
        self.command = plots.Text(**{"font-family": "monospace"})
        sections = pn.widgets.RadioButtonGroup.from_param(self.param.section, name="Part of the page")
        header = plots.flow(
            pn.widgets.Select.from_param(self.param.run, name="Network", width=230),
            pn.widgets.Select.from_param(self.param.second, name="Beside it", width=230),
            sections,
        )
        self.settings = plots.flow(
            pn.widgets.Select.from_param(self.param.patch, name="Patch, pixels", width=110),
            pn.widgets.Select.from_param(self.param.baseline, name="Hidden by", width=130),
        )
        self.chooser.use(network)
        pn.state.location.sync(self, {name: name for name in IN_ADDRESS}, on_error=self._take_each)
        self.chooser.follow()
        self._show_sides([network])
        self.chooser.start()
        self.param.watch(lambda event: self._look(), "chosen")
        self.background.when(self, self._choose_networks, ["run", "second"])
        self.background.when(self, self._open, ["section", "patch", "baseline"])
        self.param.watch(lambda event: self._say_command(), IN_ADDRESS)
        self._content.objects = [
            header,
            self.message,
            plots.flow(
                self.chooser.view,
                pn.Column(self.settings, self.networks, self.trainings_part.view, styles={"flex": "1 1 345px"}),
                flex_wrap="wrap",
                align_items="flex-start",
            ),
            pn.pane.HTML("<h2>The same from the terminal</h2>"),
            self.command,
        ]
        if self.chosen:
            self.message.say("")
        if self.second:
            self._choose_networks()
        self._look()

    def _take_each(self, values):
        """Take what is valid of an address."""
        for name, value in values.items():
            with contextlib.suppress(ValueError, TypeError):
                self.param.update(**{name: value})

    def _choose_networks(self):
        names = [self.run, *([self.second] if self.second else [])]
        if names == [side.network.run.name for side in self.sides]:
            self.background.stop("network")
            return

        def show(networks):
            first, *others = networks
            self.complain("")
            fitting = [other for other in others if first.has_test_images_of(other)]
            before = self.chosen
            self._use([first, *fitting])
            if self.chosen is before:  # else that was a change, too
                self._look()
            if fitting != others:
                self.second = ""
                missing = [each.run.name for each in (first, *others) if each.run.dataset is None]
                what = (
                    f"the test images of {missing[0]} are not on this machine" if missing else "theirs are not the same"
                )
                self.complain(f"{others[0].run.name} can't stand beside {first.run.name}: {what}.")

        self.complain("Loading ...")
        self.background.start("network", lambda: [loading.load([name], self.data_dir) for name in names], show)

    def _use(self, networks):
        is_other = self.sides[0].network is not networks[0]
        if is_other:
            self.background.stop("epochs")
            self.chooser.use(networks[0])
        self._show_sides(networks)
        if is_other:
            self.chooser.start()

    def _show_sides(self, networks):
        from convnets.explorer.side import Side

        kept = {(side.number, side.network): side for side in self.sides}
        self.sides = [kept.get(key) or Side(self, key[1], key[0]) for key in enumerate(networks, 1)]
        self.networks.objects = [side.view for side in self.sides]

    def _look(self):
        if self.chosen is not None:
            for side in self.sides:
                side.look()
            if self._opened:
                self.background.soon(self._open)
            else:  # what is computed and drawn next would make the browser slower
                self._echo.value = SENT
                self.background.soon(self._open_first, milliseconds=FIRST_DRAWING)

    def _open_first(self):
        if not self._opened:
            self._open()

    def _open(self):
        self._opened = True
        for side in self.sides:
            side.open()
        self.settings.visible = self.section == "Why"
        self.trainings_part.view.visible = self.section == "Training"
        if self.section == "Training" and self.chosen is not None:
            self.trainings_part.update()
            self.trainings_part.show_epochs(self.sides[0])
        self._say_command()

    def _say_command(self):
        """Show the command lines of the scripts that draw the same."""
        if not self.sides:
            return
        run, image = ("--run", self.run), self.chosen.options if self.chosen else ()
        run += ("--data-dir", str(self.data_dir)) if self.data_dir else ()
        side, patch = self.sides[0], ("--patch", str(self.patch))
        layer, compare = ("--layer", side.layer), ["--compare"] if side.network.has_convolutions else []
        outputs = ("visualize_hidden_layer_output.py", *run, *image, *layer)
        units = ("--units", f"{self.channel1},", "--seed", "0")
        activation = ("visualize_hidden_layer_activation.py", *run, *layer, *units)
        baseline = ("--baseline", {"mean colour": "mean", "grey": "0.5"}.get(self.baseline, self.baseline))
        commands = {
            "Inside": [
                *([outputs] if side.layer in side.network.with_maps else []),
                *([activation] if side.layer in side.network.with_units else []),
            ],
            "Why": [("visualize_pixel_importance.py", *run, *image, *patch, *baseline, *compare)],
            "How good": [("visualize_results.py", *run)],
            "Training": [("visualize_results.py", *run)],
        }[self.section]
        self.command.say("\n".join(f"$ python {cli.command_line(command)}" for command in commands))
