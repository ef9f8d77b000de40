"""Train the networks that the articles print, and check whether their numbers still hold.

    python compare_models.py --list                          the networks, published and measured accuracies
    python compare_models.py bernet-best scadamale-dropout   trains these two, unless they are trained already
    python compare_models.py --article bernet                all networks of one article
    python compare_models.py --all                           all networks of all articles
    python compare_models.py bernet-best --optimizer sgd     an experiment: the same network, another optimizer
    python compare_models.py --all --seeds 5 --on-ray        many runs at once, on one machine or several

On two CPU cores a network on MNIST takes at most 8 minutes, one on CIFAR-10 at most 60. (Without AVX-512 instructions,
several times that.) The results are a table, best first, a chart, and learning curves, in figures/comparison*.

Each network is a run of its own in models/, and the visualize_*.py scripts show what it sees. Stop with Ctrl-C at any
time: the same command resumes with the network that was in progress. The networks are in convnets/architectures/, layer
by layer. To make one deeper or wider, change it there.
"""

import functools
import math

from convnets import cli
from convnets.errors import UserError

OPTIMIZERS = ["adadelta", "adagrad", "adam", "adamw", "nadam", "rmsprop", "sgd"]


@functools.cache
def networks():
    """Return all networks of all articles, {name: Network}: wang's two are those of the other training scripts."""
    import basic_model
    import improved_model
    from convnets.architectures.articles import NETWORKS
    from convnets.architectures.dictionary import with_dictionary
    from convnets.architectures.network import Network

    wang = [
        Network(
            "wang-basic", basic_model.build_model, "cifar10", basic_model.EPOCHS, basic_model.BATCH_SIZE,
            section="Building your first model", published="about 80 %", low=80, high=80, script="basic_model",
            compile_model=basic_model.compile_model, article_epochs=200,
        ),
        Network(
            "wang-improved", improved_model.build_model, "cifar10", improved_model.EPOCHS, improved_model.BATCH_SIZE,
            section="Improving your model", published="about 85 %", low=85, high=85, script="improved_model",
            optimizer="adamw", compile_model=improved_model.compile_model,
            augmentation_for=improved_model.augmentation_for, article_epochs=50,
        ),
    ]  # fmt: skip
    return {**NETWORKS, **{network.name: network for network in [*wang, with_dictionary(wang[0], "wang-sparse")]}}


def main(argv=None):
    parser = cli.new_parser("compare_models", __doc__)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="names as --list shows them")
    parser.add_argument("--article", choices=["bernet", "jeffries", "scadamale", "wang"], help="all of its networks")
    parser.add_argument("--all", action="store_true", help="all networks of all articles")
    parser.add_argument("--list", action="store_true", help="only list the networks with their articles' recipes")
    cli.dataset_options(parser, "(default: each article's own if available, else digits)")
    parser.add_argument("--optimizer", choices=OPTIMIZERS, help="instead of the article's, with Keras's defaults")
    parser.add_argument("--epochs", type=cli.number_of_epochs, metavar="N", help="in all (default: as --list says)")
    seeds = "train each N times, with seeds 1337, 2, 3 ... (default: 1); the table counts all runs that are there"
    parser.add_argument("--seeds", type=cli.whole_number(1, 100), default=1, metavar="N", help=seeds)
    cli.common_training_options(parser)
    cli.ray_option(parser)
    cli.picture_options(parser)
    parser.add_argument("--accuracy-from", type=cli.whole_number(0, 99), metavar="P", help="accuracy axes from P %%")
    options = parser.parse_args(argv)
    if options.on_ray and options.tensorboard:
        parser.error("--tensorboard and --on-ray can't be combined")
    if not (options.networks or options.article or options.all or options.list):
        parser.error("name networks (before --on-ray), or give --article, --all or --list")

    with cli.importing_keras():  # after the options, since importing Keras takes seconds
        from convnets import drawing
        from convnets.architectures import articles
        from convnets.architectures.network import DEFAULT_SEED
        from convnets.training import comparison, comparison_report, training

        if options.on_ray:
            from convnets.training import cluster

    which = {"everything": options.all or not (options.networks or options.article), "optimizer": options.optimizer}
    chosen = articles.choose(networks(), options.networks, options.article, **which)
    if options.list:
        print(comparison.overview(chosen).to_string(index=False))
        return

    # Which runs are there already? Fail before training, not after.
    drawing.check_folder(options.output_dir)
    seeds = [DEFAULT_SEED, *range(2, options.seeds + 1)]
    replaced = seeds if options.fresh else ()
    load_dataset, jobs = functools.cache(comparison.load_dataset), {}  # one copy of the images for all networks
    for network in chosen:
        epochs = options.epochs or network.epochs
        wanted = options.dataset, network.dataset, options.data_dir, options.image_size
        dataset = comparison.load_dataset(*wanted, images=False)
        kept = comparison.finished_runs(network, dataset, epochs, without_seeds=replaced)
        jobs[network] = (dataset if kept.keys() >= set(seeds) else load_dataset(*wanted), epochs)
    done = {network: comparison.finished_runs(network, *job, without_seeds=replaced) for network, job in jobs.items()}
    if options.fresh:  # all at once, so that the same command without --fresh resumes
        for network, (dataset, _) in jobs.items():
            for seed in seeds:
                training.set_aside(cli.run_folder(network.run_name(dataset.name, seed)))

    # Training, one run after the other, or many at once with Ray
    unfinished = [
        (cli.run_folder(network.run_name(dataset.name, seed)), dataset, (network, seed, epochs))
        for network, (dataset, epochs) in jobs.items()
        for seed in seeds
        if seed not in done[network]
    ]
    failed = []
    if options.on_ray:
        with cluster.connected(options.on_ray):
            failed = cluster.train_all([cluster.Job(*job, epochs=job[-1][-1]) for job in unfinished], train)
    else:
        for run, dataset, (network, seed, epochs) in unfinished:
            print(f"\nNetwork: {network.name}, seed {seed}")
            train(network, seed, epochs, dataset, run, cli.run_options(options, fresh=False))  # set aside above

    # Comparison
    runs = {network: comparison.finished_runs(network, *job) for network, job in jobs.items()}
    comparison_report.report({network: list(each.values()) for network, each in runs.items() if each}, jobs, options)
    if failed:
        raise UserError(f"not completed: {cluster.summary(failed)}; the same command tries again")


def train(network, seed, epochs, dataset, run, run_options):
    """Train a network as its article does, or resume its training."""
    import keras

    from convnets.data import datasets
    from convnets.training import autotune, comparison, training
    from convnets.views import calibration

    training.describe(dataset)
    keras.utils.clear_session()  # one network at a time in memory
    cli.set_keras_up(autotune.recorded_precision(run) or "float32")
    keras.utils.set_random_seed(seed)
    steps = math.ceil(len(dataset.x_train) / network.batch_size)
    model = network.compiled(dataset.input_shape, dataset.num_classes, steps)
    if network.first_weights:
        network.first_weights(model, datasets.scale_pixels(dataset.some(dataset.x_train, 5000)))
    recipe = comparison.recipe_of(network, dataset, seed, epochs)
    training.report(training.train(model, dataset, run, recipe, run_options), run)
    calibration.keep(model, dataset, run)  # how far its probabilities can be trusted


if __name__ == "__main__":
    cli.run(main)
