"""What describes a network of an article: its layers, and the recipe by which the article trains it."""

import dataclasses
from collections.abc import Callable

DEFAULT_SEED = 1337  # jeffries'


@dataclasses.dataclass(frozen=True)
class Network:
    """A network of an article, and how it is trained there.

    name: "bernet-best"; its first word is the article.
    build_model: a function (input_shape, num_classes) -> keras.Sequential.
    dataset: "cifar10" or "mnist".
    epochs, batch_size: the article's. article_epochs: the article's number of epochs where `epochs` is smaller.
    optimizer: a name that Keras knows, with the article's settings, which are still Keras's defaults.
    validation_split: the share of the training images that the article holds out.
    published: what the article says of the test accuracy, "" where it gives no number.
    low, high: that as numbers, in percent; None where there is none.
    section: where in the article.
    script: the name of the script that trains it, where it has one of its own; then the optimizer is fixed.
    compile_model: a function (model, steps_per_epoch) of that script. augmentation_for: a function (flippable) of it.
    first_weights: a function (model, images) that sets weights before training, given training images in [0, 1].
    """

    name: str
    build_model: Callable
    dataset: str
    epochs: int
    batch_size: int
    section: str
    optimizer: str = "adam"
    validation_split: float = 0.0
    published: str = ""
    low: float | None = None
    high: float | None = None
    script: str | None = None
    compile_model: Callable | None = None
    augmentation_for: Callable | None = None
    first_weights: Callable | None = None
    article_epochs: int | None = None

    @property
    def article(self):
        return self.name.split("-")[0]

    def run_name(self, dataset, seed=DEFAULT_SEED):
        """Return the name of its run in models/. A network with a script of its own shares that script's run."""
        return f"{self.script or self.name}-{dataset}" + ("" if seed == DEFAULT_SEED else f"-seed{seed}")

    def compiled(self, input_shape, num_classes, steps_per_epoch):
        """Build the network and compile it, ready for training."""
        model = self.build_model(input_shape, num_classes)
        if self.compile_model:
            self.compile_model(model, steps_per_epoch)
        else:
            model.compile(loss="categorical_crossentropy", optimizer=self.optimizer, metrics=["accuracy"])
        return model

    def with_optimizer(self, optimizer, others=()):
        """Return the same network with another optimizer, with Keras's settings for it.

        others: networks, one of which is returned if it is just that.
        """
        if optimizer in (None, self.optimizer):
            return self
        experiment = dataclasses.replace(
            self, name=f"{self.name}-{optimizer}", optimizer=optimizer, published="", low=None, high=None
        )
        return next((network for network in others if network.training == experiment.training), experiment)

    @property
    def training(self):
        """All that decides what is trained."""
        return self.build_model, self.dataset, self.epochs, self.batch_size, self.optimizer, self.validation_split


def recipe(networks, **settings):
    """Decorate a function that builds a network: enter it into `networks`, under its own name with hyphens."""

    def enter(build_model):
        name = build_model.__name__.replace("_", "-")
        networks[name] = Network(name=name, build_model=build_model, **settings)
        return build_model

    return enter
