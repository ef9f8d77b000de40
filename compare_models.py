"""Train the networks that the articles print, and see whether their numbers still hold.

    python compare_models.py --list                          the networks, what was published and what we measured
    python compare_models.py bernet-best scadamale-dropout   trains these two, unless they are trained already
    python compare_models.py --article bernet                all networks of one article
    python compare_models.py --all                           all networks of all articles
    python compare_models.py bernet-best --optimizer sgd     an experiment: the same network, another optimizer

A network on MNIST takes from half a minute to three minutes on two CPU cores, one on CIFAR-10 half an hour to
an hour. The results are a table, best first, a chart of what was published and what was measured, and the curves
of accuracy and loss over the epochs, in figures/comparison*.

Each network is a run of its own in models/, like any other: the four visualize_*.py scripts show what it sees. Stop
with Ctrl-C whenever you like: the same command goes on in the midst of the network that was in progress.
The networks stand layer by layer in convnets/articles.py. To make one deeper or wider, change it there.
"""

import functools
import sys

from convnets import cli
from convnets.errors import UserError

OPTIMIZERS = ["adadelta", "adagrad", "adam", "adamw", "nadam", "rmsprop", "sgd"]


def main(argv=None):
    parser = cli.new_parser("compare_models", __doc__)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="names as --list shows them")
    parser.add_argument("--article", choices=["bernet", "jeffries", "scadamale", "wang"], help="all of its networks")
    parser.add_argument("--all", action="store_true", help="all networks of all articles")
    parser.add_argument("--list", action="store_true", help="only list the networks, and what was measured")
    parser.add_argument(
        "--dataset", choices=["auto", "cifar10", "mnist", "digits"], default="auto",
        help="auto, the default, means each article's own where it can be had, else digits",
    )  # fmt: skip
    parser.add_argument(
        "--optimizer", choices=OPTIMIZERS, help="instead of the article's, with Keras's settings for it"
    )
    parser.add_argument(
        "--epochs", type=cli.whole_number(1), metavar="N",
        help="train each until N epochs in all (default: as many as its article)",
    )  # fmt: skip
    parser.add_argument(
        "--seeds", type=cli.whole_number(1), default=1, metavar="N",
        help="train each N times, with other random numbers: seeds 1337, 2, 3 ... (default: 1)",
    )  # fmt: skip
    cli.run_options(parser)
    cli.picture_options(parser)
    parser.add_argument(
        "--accuracy-from", type=cli.whole_number(0, 99), metavar="P",
        help="let the curves of accuracy begin at P percent, to see the last points better",
    )  # fmt: skip
    options = parser.parse_args(argv)

    if not (options.networks or options.article or options.all or options.list):
        parser.error("name networks, or give --article, --all or --list")

    with cli.starting_keras():  # after the options, since importing Keras takes seconds
        import pandas as pd

        from convnets import comparison, figures

    networks = chosen_networks(options)
    if options.list:
        print(comparison.overview(networks).to_string(index=False))
        return

    # Training
    runs = [run for network in networks for run in trained_runs(network, options)]

    # Comparison
    table = comparison.compare(pd.DataFrame(map(comparison.run_row, runs)), networks)
    print(f"\n{comparison.printable(table).to_string(index=False)}\n")
    figures.save_table(table.set_index("network"), options.output_dir / "comparison.csv")
    histories = comparison.histories(runs)
    pages = {
        "comparison": figures.comparison_chart(table),
        "comparison-accuracy": figures.learning_curves(histories, "accuracy", lowest=options.accuracy_from),
        "comparison-loss": figures.learning_curves(histories, "loss"),
    }
    for name, page in pages.items():
        figures.save(page, options.output_dir / f"{name}.png", show=options.show)


def chosen_networks(options):
    """The networks that the options name, with the optimizer that they ask for."""
    from convnets.articles import NETWORKS

    for name in options.networks:
        if name not in NETWORKS:
            raise UserError(f"there is no network {name}: python compare_models.py --list shows them all")
    everything = options.all or not (options.networks or options.article)
    chosen = [
        network
        for network in NETWORKS.values()
        if everything or network.article == options.article or network.name in options.networks
    ]
    for network in chosen:
        if network.script and options.optimizer not in (None, network.optimizer):
            raise UserError(
                f"{network.name} is trained by its own script, with the optimizer that stands there: change it in "
                f"{network.script.__module__}.py, or name other networks"
            )
    return list(dict.fromkeys(network.with_optimizer(options.optimizer) for network in chosen))


def trained_runs(network, options):
    """Trains a network, once for each seed, unless that is done already. Returns its finished runs."""
    from convnets import comparison

    epochs = options.epochs or network.epochs
    seeds = [1337, *range(2, options.seeds + 1)]
    dataset = network.dataset if options.dataset == "auto" else options.dataset
    if options.fresh or not all(comparison.finished_run(network, dataset, seed, epochs) for seed in seeds):
        dataset = load_dataset(options.dataset, network.dataset, options.data_dir)
        for seed in seeds:
            if options.fresh or not comparison.finished_run(network, dataset.name, seed, epochs):
                print(f"\nNetwork: {network.name}, seed {seed}")
                train(network, dataset, seed, epochs, options)
        dataset = dataset.name
    return comparison.finished_runs(network, dataset, epochs)


@functools.cache
def load_dataset(wanted, of_the_article, data_dir):
    from convnets import datasets

    return datasets.load_or_digits(of_the_article, data_dir) if wanted == "auto" else datasets.load(wanted, data_dir)


def train(network, dataset, seed, epochs, options):
    """Trains a network as its article does, going on from what is saved."""
    import keras

    from convnets import training

    run = cli.run_folder(network.run_name(dataset.name, seed))
    if network.script:
        words = ["--dataset", dataset.name, "--run", f"{run}", "--epochs", f"{epochs}", "--seed", f"{seed}"]
        words += ["--data-dir", f"{options.data_dir}"] if options.data_dir else []
        words += ["--fresh"] if options.fresh else []
        words += ["--tensorboard"] if options.tensorboard else []
        network.script(words)
        return
    training.describe(dataset)
    keras.utils.clear_session()  # one network at a time in memory
    keras.utils.set_random_seed(seed)
    model = network.build_model(dataset.input_shape, dataset.num_classes)
    model.compile(loss="categorical_crossentropy", optimizer=network.optimizer, metrics=["accuracy"])
    history = training.train(
        model,
        dataset,
        run,
        epochs=epochs,
        batch_size=network.batch_size,
        seed=seed,
        validation_split=network.validation_split,
        fresh=options.fresh,
        tensorboard=options.tensorboard,
        verbose=1 if sys.stdout.isatty() else 2,
    )
    training.report(history, run)


if __name__ == "__main__":
    cli.run(main)
