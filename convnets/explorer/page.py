"""The page: what it shows, as its address holds it, and how its parts stand together."""

import shlex
from pathlib import Path

import panel as pn
import param

from convnets import paths
from convnets.errors import UserError
from convnets.explorer.background import Background
from convnets.explorer.trainings import Trainings
from convnets.explorer.trainings import names as names_of_runs

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
    patch = param.Integer(4, bounds=(1, 32))
    baseline = param.Selector(objects=["grey", "black", "white", "mean colour", "blur"])
    trainings = param.ListSelector(default=[], objects=[])
    chosen = param.Parameter()

    def __init__(self, *, pictures=None, data_dir=None, default_run=None):
        super().__init__()
        self.pictures, self.data_dir, self._default = pictures, data_dir, default_run
        self.files = ["", *(sorted(_pictures_in(pictures)) if pictures else ())]
        self.param.file.objects = self.files
        self.message = pn.pane.Str("Starting Keras ...", styles={"white-space": "pre-wrap"}, css_classes=["message"])
        self.body = pn.Column(self.message, sizing_mode="stretch_width")
        self.background = Background(pn.state.curdoc, self.complain)
        self.sides = []

    def complain(self, text):
        """Show a line that says what went wrong."""
        self.message.object = text

    def load(self):
        """Load the network that the address names, in the background, and build the page with it."""
        wanted = pn.state.location.query_params.get("run")
        names = names_of_runs()
        self.param.run.objects, self.param.second.objects = names, ["", *names]
        self.param.trainings.objects = names
        name = wanted if wanted in names else self._default or default_run()
        self.background.start("network", lambda: _load(name, self.data_dir), self._build)

    def _build(self, network):
        from convnets.explorer.image import ImageChooser

        self.run = network.run.name
        self.trainings = [self.run]
        self.chooser = ImageChooser(self)
        self.trainings_part = Trainings(self)
        self.networks = pn.FlexBox()
        self.command = pn.pane.Str("", styles={"font-family": "monospace", "white-space": "pre-wrap"})
        sections = pn.widgets.RadioButtonGroup.from_param(self.param.section, name="Part of the page")
        header = pn.FlexBox(
            pn.widgets.Select.from_param(self.param.run, name="Network", width=230),
            pn.widgets.Select.from_param(self.param.second, name="Beside it", width=230),
            sections,
        )
        self.settings = pn.FlexBox(
            pn.widgets.IntInput.from_param(self.param.patch, name="Patch, pixels", width=110),
            pn.widgets.Select.from_param(self.param.baseline, name="Hidden by", width=130),
        )
        self._use([network])
        pn.state.location.sync(self, {name: name for name in IN_ADDRESS}, on_error=lambda values: None)
        self.param.watch(lambda event: self._look(), "chosen")
        self.param.watch(lambda event: self._choose_networks(), ["run", "second"])
        self.param.watch(lambda event: self._open(), "section")
        self.param.watch(lambda event: self._say_command(), IN_ADDRESS)
        self.body.objects = [
            header,
            self.message,
            pn.FlexBox(
                self.chooser.view,
                pn.Column(self.settings, self.networks, self.trainings_part.view, styles={"flex": "1 1 345px"}),
                flex_wrap="wrap",
                align_items="flex-start",
            ),
            pn.pane.HTML("<h2>The same from the terminal</h2>"),
            self.command,
        ]
        self.message.object = ""
        if self.second:
            self._choose_networks()
        self._look()

    def _choose_networks(self):
        names = [self.run, *([self.second] if self.second else [])]

        def show(networks):
            first, *others = networks
            for other in others:
                if other.run.trained_on != first.run.trained_on:
                    self.complain(f"{other.run.name} was trained on other images than {first.run.name}.")
                    self.second = ""
                    return
            self.complain("")
            self._use(networks)
            self._look()

        self.complain("Loading ...")
        self.background.start("network", lambda: [_load(name, self.data_dir) for name in names], show)

    def _use(self, networks):
        from convnets.explorer.side import Side

        if not self.sides or self.sides[0].network is not networks[0]:
            self.chooser.use(networks[0])
        self.sides = [Side(self, network, number) for number, network in enumerate(networks, 1)]
        self.networks.objects = [side.view for side in self.sides]

    def _look(self):
        if self.chosen is not None:
            for side in self.sides:
                side.look()
            self._open()

    def _open(self):
        for side in self.sides:
            side.open()
        self.settings.visible = self.section == "Why"
        self.trainings_part.view.visible = self.section == "Training"
        if self.section == "Training" and self.chosen is not None:
            self.trainings_part.update()
            self.trainings_part.show_epochs(self.sides[0])
        self._say_command()

    def _say_command(self):
        image = self.chosen.options if self.chosen else ()
        baseline = {"mean colour": "mean", "grey": "0.5"}.get(self.baseline, self.baseline)
        commands = {
            "Inside": [
                ("visualize_hidden_layer_output.py", *image, "--layer", self.layer1),
                ("visualize_hidden_layer_activation.py", "--layer", self.layer1, "--units", f"{self.channel1},"),
            ],
            "Why": [
                (
                    "visualize_pixel_importance.py",
                    *image,
                    "--patch",
                    str(self.patch),
                    "--baseline",
                    baseline,
                    "--compare",
                )
            ],
            "How good": [("visualize_results.py",)],
            "Training": [("compare_models.py", "--list")],
        }[self.section]
        self.command.object = "\n".join(
            f"$ python {shlex.join([script, *(['--run', self.run] if 'compare' not in script else []), *rest])}"
            for script, *rest in commands
        )


def _load(name, data_dir):
    from convnets import cli

    with cli.importing_keras():
        from convnets.explorer import network
    return network.load(name, data_dir)


def default_run():
    """Return the name of the newest run, or of the improved network that comes with the project."""
    names = [name for name in names_of_runs() if list((paths.MODELS / name).glob("epoch-*.json"))]
    return names[0] if names else "improved_model-cifar10"


def _pictures_in(folder):
    from convnets.data.image_files import ENDINGS

    try:
        return [path.name for path in Path(folder).iterdir() if path.suffix.lower() in ENDINGS and path.is_file()]
    except OSError as error:
        raise UserError(f"can't read {folder} ({error.strerror}): name a folder of pictures") from error
