"""Search for a network with Ray Tune: Optuna's TPE proposes networks, ASHA ends those that fall behind.

A trial trains one network. It learns from all training images but the last ones, which are held out to test it. The
test images of the dataset are not looked at.

Sources: Bergstra et al., "Algorithms for hyper-parameter optimization", 2011 (TPE). Li et al., "A system for massively
parallel hyperparameter tuning", 2020 (ASHA).
"""

import dataclasses
import json
import math
import shutil
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
import optuna
import pandas as pd
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch

from convnets.architectures import search_space
from convnets.errors import UserError
from convnets.training import training

HELD_OUT = 0.1  # of the training images
FIRST_EPOCHS, KEPT = 2, 3  # ASHA: after 2, 6, 18 ... epochs, the best third goes on


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a network may cost. seconds_an_epoch: on one core. Networks beyond are given up at once."""

    parameters: int
    seconds_an_epoch: float


def held_out_dataset(dataset):
    """Return a Dataset whose test images are the last training images, which are no longer among the training ones."""
    kept = math.floor(len(dataset.x_train) * (1 - HELD_OUT))
    return dataclasses.replace(
        dataset,
        x_train=dataset.x_train[:kept],
        y_train=dataset.y_train[:kept],
        x_test=dataset.x_train[kept:],
        y_test=dataset.y_train[kept:],
    )


class _GiveUp(Exception):
    pass


class _Watch(keras.callbacks.Callback):
    """Report each epoch to Tune, with the run's folder, from which another machine can go on. End what is too slow."""

    def __init__(self, run_dir, limits, facts):
        super().__init__()
        self.run_dir, self.limits, self.facts = run_dir, limits, facts
        self._ends = []

    def on_train_batch_end(self, batch, logs=None):
        self._ends.append(time.perf_counter())
        if len(self._ends) == 30:
            seconds = np.median(np.diff(self._ends)) * self.params["steps"]
            if seconds > self.limits.seconds_an_epoch:
                raise _GiveUp(seconds)

    def on_epoch_end(self, epoch, logs=None):
        history = pd.read_csv(self.run_dir / "history.csv")
        tune.report(
            {
                **self.facts,
                "accuracy": logs["val_accuracy"],
                "training_accuracy": logs["accuracy"],
                "epochs": epoch + 1,
                "seconds_an_epoch": history["training_seconds"].median(),
                "curve": json.dumps(history["val_accuracy"].tolist()),
            },
            checkpoint=tune.Checkpoint.from_directory(self.run_dir),
        )


def _trial(config, dataset, epochs, limits, precision, seed):
    """Train the network of one choice. Tune calls this in a process of its own."""
    keras.config.set_dtype_policy(precision)
    choice = search_space.rounded(config)
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    model = search_space.build_model(choice, dataset.input_shape, dataset.num_classes)
    facts = {"parameters": model.count_params()}
    if facts["parameters"] > limits.parameters:
        tune.report({**facts, "accuracy": 0.0, "epochs": 0, "seconds_an_epoch": math.nan, "given_up": "parameters"})
        return
    steps = math.ceil(len(dataset.x_train) / choice["batch_size"])
    search_space.compile_model(choice, model, epochs, steps)
    augment = search_space.augmentation_for(choice, dataset.flippable)
    recipe = training.Recipe(epochs, choice["batch_size"], seed, augment)
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        if checkpoint := tune.get_checkpoint():
            with checkpoint.as_directory() as saved:
                shutil.copytree(saved, run_dir)
        options = training.RunOptions(verbose=0, watchers=(_Watch(run_dir, limits, facts),))
        try:
            training.train(model, dataset, run_dir, recipe, options)
        except _GiveUp as slow:
            tune.report(
                {**facts, "accuracy": 0.0, "epochs": 0, "seconds_an_epoch": slow.args[0], "given_up": "seconds"}
            )
        except UserError:  # the loss is no longer a number
            tune.report({**facts, "accuracy": 0.0, "epochs": 0, "seconds_an_epoch": math.nan, "given_up": "loss"})


def _space():
    return {
        **{name: tune.choice(values) for name, values in search_space.CHOICES.items()},
        **{name: tune.loguniform(*ends) for name, ends in search_space.RANGES.items()},
    }


def search(dataset, folder, *, minutes, epochs, limits, precision, seed, sampler="tpe"):
    """Search until `minutes` are over, or go on with the search that is in a folder.

    dataset: a datasets.Dataset. folder: of this search; a path, or a bucket such as s3://bucket/name. epochs: of a
    trial that is not ended early. limits: Limits. precision: a name of Keras's. sampler: "tpe" or "random".
    Returns a pandas.DataFrame, a row a trial, best first.
    """
    trainable = tune.with_resources(
        tune.with_parameters(
            _trial, dataset=held_out_dataset(dataset), epochs=epochs, limits=limits, precision=precision, seed=seed
        ),
        {"cpu": 1},
    )
    folder = Path(folder).resolve()
    if tune.Tuner.can_restore(str(folder)):
        tuner = tune.Tuner.restore(str(folder), trainable, resume_errored=True)
    else:
        samplers = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
        tuner = tune.Tuner(
            trainable,
            param_space=_space(),
            tune_config=tune.TuneConfig(
                metric="accuracy",
                mode="max",
                search_alg=OptunaSearch(sampler=samplers[sampler](seed=seed)),
                scheduler=ASHAScheduler(
                    time_attr="epochs", max_t=epochs, grace_period=FIRST_EPOCHS, reduction_factor=KEPT
                ),
                num_samples=-1,
                time_budget_s=60 * minutes,
            ),
            run_config=tune.RunConfig(
                name=folder.name,
                storage_path=str(folder.parent),
                failure_config=tune.FailureConfig(max_failures=3),
                checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
                verbose=1,
            ),
        )
    results = tuner.fit()
    return results
