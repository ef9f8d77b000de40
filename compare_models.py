"""Train the networks that the articles print, and see whether their numbers still hold.

    python compare_models.py --list                          the networks, what was published and what we measured
    python compare_models.py bernet-best scadamale-dropout   trains these two, unless they are trained already
    python compare_models.py --article bernet                all networks of one article
    python compare_models.py --all                           all networks of all articles
    python compare_models.py bernet-best --optimizer sgd     an experiment: the same network, another optimizer

On two CPU cores a network on MNIST takes at most 5 minutes, one on CIFAR-10 at most 60. The results are a table,
best first, a chart of what was published and what was measured, and the curves of accuracy and loss over the
epochs, in figures/comparison*.

Each network is a run of its own in models/, like any other: the visualize_*.py scripts show what it sees. Stop
with Ctrl-C whenever you like: the same command goes on in the midst of the network that was in progress.
The networks stand layer by layer in convnets/articles.py. To make one deeper or wider, change it there.
"""

import functools
import sys

from convnets import cli
from convnets.data import DATASETS

OPTIMIZERS = ["adadelta", "adagrad", "adam", "adamw", "nadam", "rmsprop", "sgd"]


def main(argv=None):
    parser = cli.new_parser("compare_models", __doc__)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="names as --list shows them")
    parser.add_argument("--article", choices=["bernet", "jeffries", "scadamale", "wang"], help="all of its networks")
    parser.add_argument("--all", action="store_true", help="all networks of all articles")
    parser.add_argument("--list", action="store_true", help="only list the networks with their articles' recipes")
    parser.add_argument(
        "--dataset", choices=["auto", *DATASETS], default="auto",
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
        "--seeds", type=cli.whole_number(1, 100), default=1, metavar="N",
        help="train each N times, with seeds 1337, 2, 3 ... (default: 1); the table counts all that are there",
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

    with cli.importing_keras():  # after the options, since importing Keras takes seconds
        import pandas as pd

        from convnets import drawing
        from convnets.architectures import articles
        from convnets.training import comparison, comparison_figures, training

    everything = options.all or not (options.networks or options.article)
    networks = articles.choose(options.networks, options.article, everything=everything, optimizer=options.optimizer)
    if options.list:
        print(comparison.overview(networks).to_string(index=False))
        return

    # What is there already. Whatever is wrong with it shall be known before hours of training.
    drawing.make_folder(options.output_dir)
    seeds = [articles.DEFAULT_SEED, *range(2, options.seeds + 1)]
    jobs = {}
    for network in networks:
        epochs = options.epochs or network.epochs
        name = network.dataset if options.dataset == "auto" else options.dataset
        finished = [comparison.finished_run(network, name, seed, epochs) for seed in seeds if not options.fresh]
        if options.fresh or None in finished:
            name = load_dataset(options.dataset, network.dataset, options.data_dir).name
            if options.fresh:  # all at once: so the same command without --fresh goes on after a stop
                for seed in seeds:
                    training.set_aside(cli.run_folder(network.run_name(name, seed)))
        jobs[network] = (name, epochs)

    # Training
    for network, (name, epochs) in jobs.items():
        for seed in seeds:
            if not comparison.finished_run(network, name, seed, epochs):
                print(f"\nNetwork: {network.name}, seed {seed}")
                train(network, load_dataset(options.dataset, network.dataset, options.data_dir), seed, epochs, options)

    # Comparison
    runs = {network: comparison.finished_runs(network, *job) for network, job in jobs.items()}
    rows = [comparison.run_row(run, jobs[network][1]) for network in networks for run in runs[network]]
    table = comparison.compare(pd.DataFrame(rows), networks)
    print(f"\n{comparison.printable(table).to_string(index=False)}\n")
    drawing.save_table(table.set_index("network"), options.output_dir / "comparison.csv")
    histories = {network.name: [pd.DataFrame(run.history) for run in runs[network]] for network in networks}
    pages = {
        "comparison": comparison_figures.comparison_chart(table),
        "comparison-accuracy": comparison_figures.learning_curves(histories, "accuracy", lowest=options.accuracy_from),
        "comparison-loss": comparison_figures.learning_curves(histories, "loss"),
    }
    for name, page in pages.items():
        drawing.save(page, options.output_dir / f"{name}.png", show=options.show)


@functools.cache
def load_dataset(wanted, of_the_article, data_dir):
    from convnets.data import datasets

    return datasets.load_or_digits(of_the_article, data_dir) if wanted == "auto" else datasets.load(wanted, data_dir)


def train(network, dataset, seed, epochs, options):
    """Trains a network as its article does, going on from what is saved."""
    import keras

    from convnets.training import training

    run = cli.run_folder(network.run_name(dataset.name, seed))
    if network.script:
        words = ["--dataset", dataset.name, "--run", f"{run}", "--epochs", f"{epochs}", "--seed", f"{seed}"]
        words += ["--data-dir", f"{options.data_dir}"] if options.data_dir else []
        network.script(words + (["--tensorboard"] if options.tensorboard else []))
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
        tensorboard=options.tensorboard,
        verbose=1 if sys.stdout.isatty() else 2,
    )
    training.report(history, run)


if __name__ == "__main__":
    cli.run(main)
