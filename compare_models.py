"""Train the networks that the articles print."""

import sys

from convnets import cli


def main(argv=None):
    parser = cli._parser("compare_models", __doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seed", type=int, default=1337)
    options = parser.parse_args(argv)
    with cli.starting_keras():
        from convnets import articles
    for name in options.names:
        train(articles.NETWORKS[name], options.seed)


def train(network, seed):
    import keras

    from convnets import datasets, training

    run = cli.run_folder(f"{network.name}-{network.dataset}" + ("" if seed == 1337 else f"-seed{seed}"))
    print(f"\n{run.name}", flush=True)
    dataset = datasets.load_or_digits(network.dataset)
    keras.utils.set_random_seed(seed)
    model = network.build_model(dataset.input_shape, dataset.num_classes)
    model.compile(loss="categorical_crossentropy", optimizer=network.optimizer, metrics=["accuracy"])
    history = training.train(
        model,
        dataset,
        run,
        epochs=network.epochs,
        batch_size=network.batch_size,
        seed=seed,
        validation_split=network.validation_split,
        verbose=2,
    )
    training.report(history, run)


if __name__ == "__main__":
    cli.run(main)
