"""Search for a network with Ray Tune: Optuna's TPE proposes networks, ASHA ends those that fall behind.

A trial trains one network for a few epochs on all training images but the last tenth, which is held out to judge it.
The finalists, the best of all trials, are then trained for longer, since what learns fastest need not be best in the
end. The test images of the dataset are not looked at.

Sources: Bergstra et al., "Algorithms for hyper-parameter optimization", 2011 (TPE). Li et al., "A system for massively
parallel hyperparameter tuning", 2020 (ASHA).
"""

import dataclasses
import json
import math
import os
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
from ray.tune.search.optuna import OptunaSearch
from ray.tune.stopper import TimeoutStopper

from convnets import cli
from convnets.architectures import search_space
from convnets.data import augmentation
from convnets.errors import NotFinite, Stopped, UserError, one_line
from convnets.training import cluster, training

os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # with its other reporter, Tune can be silent
os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
os.environ["TUNE_PRINT_ALL_TRIAL_ERRORS"] = "0"  # a trial whose machine died goes on elsewhere: no traceback
optuna.logging.set_verbosity(optuna.logging.WARNING)

HELD_OUT = 0.1  # of the training images
FIRST_EPOCHS, KEPT = 1, 2  # ASHA: after 1, 2, 4 ... epochs, the better half goes on
FINALISTS, LONGER = 4, 3  # the best four networks are trained anew, for three times as many epochs
STEPS_TO_TIME = 12
MOST_NETWORKS = -1  # no limit: until the time is over
MOST_GIVEN_UP = 20  # with so many, a search whose time is over ends, too, if no network has been trained to the end
MOST_TIMES_LONGER = 10  # than it was to take, in any case: perhaps every training fails
LEAST_TRIALS = 10  # fewer say nothing of what matters
SETTINGS = [*search_space.CHOICES, *search_space.RANGES]
GIVEN_UP = {"parameters": "too many parameters", "seconds": "an epoch takes too long", "loss": "its loss became NaN"}


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a network may cost. seconds_an_epoch: of the processor, with all training images, on one core."""

    parameters: int
    seconds_an_epoch: float


def held_out_dataset(dataset):
    """Return a Dataset whose test images are some training images, which are no longer among the training ones.

    See Dataset.split.
    """
    training_images, held_out = dataset.split(HELD_OUT)
    return dataclasses.replace(
        dataset,
        x_train=dataset.x_train[training_images],
        y_train=dataset.y_train[training_images],
        x_test=dataset.x_train[held_out],
        y_test=dataset.y_train[held_out],
    )


class _GiveUp(Exception):
    pass


class _Watch(keras.callbacks.Callback):
    """Report each epoch to Tune, with the run's folder, from which another machine can go on. End what is too slow."""

    def __init__(self, run_dir, limits, share):
        super().__init__()
        self.run_dir, self.limits, self.share = run_dir, limits, share
        self._seconds = []  # of each step

    def on_epoch_begin(self, epoch, logs=None):
        self._begun = time.process_time()  # of the processor, since others may use it, too

    def on_train_batch_end(self, batch, logs=None):
        now = time.process_time()
        self._seconds.append(now - self._begun)
        self._begun = now
        if len(self._seconds) == STEPS_TO_TIME:
            self._end_if_slow()

    def _end_if_slow(self):
        if self._seconds_an_epoch() > self.limits.seconds_an_epoch:
            raise _GiveUp("seconds", self._seconds_an_epoch())

    def _seconds_an_epoch(self):
        seconds = self._seconds[1:] or self._seconds  # the first step is also compiled
        average = np.mean if os.name == "nt" else np.median  # Windows counts in 1/64 s, so many steps seem to take none
        return float(average(seconds)) * self.params["steps"] / self.share

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0:
            self._end_if_slow()  # the first steps may have been faster than the rest
        history = pd.read_csv(self.run_dir / "history.csv")
        tune.report(
            {
                "parameters": self.model.count_params(),
                "accuracy": logs["val_accuracy"],
                "training_accuracy": logs["accuracy"],
                "epochs": epoch + 1,
                "seconds_an_epoch": self._seconds_an_epoch(),
                "curve": json.dumps(history["val_accuracy"].tolist()),
            },
            checkpoint=tune.Checkpoint.from_directory(self.run_dir),
        )


def train_choice(choice, epochs, precision, seed, dataset, run_dir, options, limits=None):
    """Train the network of a choice of settings, or resume its training. Raises _GiveUp if it has too many parameters.

    precision: "float32" or "bfloat16". dataset, run_dir, options: as for training.train.
    """
    keras.utils.clear_session()  # also forgets the precision
    cli.set_keras_up(precision)
    keras.utils.set_random_seed(seed)
    model = search_space.build_model(choice, dataset.input_shape, dataset.num_classes)
    if limits and model.count_params() > limits.parameters:
        raise _GiveUp("parameters", math.nan)
    steps = math.ceil(len(dataset.x_train) / choice["batch_size"])
    search_space.compile_model(choice, model, epochs, steps)
    settings = search_space.augmentation_settings(choice, dataset.flippable)
    augment = augmentation.Augmentation(**settings) if settings else None
    return training.train(
        model, dataset, run_dir, training.Recipe(epochs, choice["batch_size"], seed, augment), options
    )


def _trial(config, dataset, share, epochs, limits, precision, seed):
    """Train the network of one choice on a share of the images. Tune calls this in a process of its own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        run_dir = Path(folder) / "run"
        if checkpoint := tune.get_checkpoint():
            with checkpoint.as_directory() as saved:
                shutil.copytree(saved, run_dir)
        options = training.RunOptions(verbose=0, watchers=(_Watch(run_dir, limits, share),))
        try:
            train_choice(search_space.rounded(config), epochs, precision, seed, dataset, run_dir, options, limits)
        except _GiveUp as reason:
            what, seconds = reason.args
            tune.report({"accuracy": 0.0, "epochs": 0, "seconds_an_epoch": seconds, "given_up": what})
        except NotFinite:
            tune.report({"accuracy": 0.0, "epochs": 0, "seconds_an_epoch": math.nan, "given_up": "loss"})


def _space():
    return {
        **{name: tune.choice(values) for name, values in search_space.CHOICES.items()},
        **{name: tune.loguniform(*ends) for name, ends in search_space.RANGES.items()},
    }


class _TimeIsOver(TimeoutStopper):
    """End a search after some seconds, but not before one network is trained to its last epoch: its result is needed.

    Where a reader's limits leave no network, none ever is; MOST_GIVEN_UP are enough to say so.
    """

    def __init__(self, seconds, epochs):
        super().__init__(seconds)
        self.at_the_latest = TimeoutStopper(MOST_TIMES_LONGER * seconds)
        self.epochs, self.trained, self.given_up = epochs, set(), set()

    def __call__(self, trial_id, result):
        if result["epochs"] >= self.epochs:
            self.trained.add(trial_id)
        if "given_up" in result:
            self.given_up.add(trial_id)
        return False  # this trial goes on

    def stop_all(self):
        over, at_the_latest = super().stop_all(), self.at_the_latest.stop_all()
        enough = self.trained or len(self.given_up) >= MOST_GIVEN_UP
        return bool(over and enough) or at_the_latest


class _Print(tune.Callback):
    """Print a line for each trial that ends, and what is the best so far."""

    def on_trial_complete(self, iteration, trials, trial, **info):
        ended = [each for each in trials if each is trial or each.is_finished()]  # this one's status changes later
        results = [each.last_result for each in ended if "accuracy" in (each.last_result or {})]
        result = trial.last_result or {}
        if "accuracy" not in result:
            return
        what = f"given up: {GIVEN_UP[result['given_up']]}" if result.get("given_up") else ""
        what = what or f"{result['accuracy']:.2%} of held-out images after epoch {result['epochs']}"
        best = max(each["accuracy"] for each in results)
        print(f"Network {len(results)}: {what}; best so far {best:.2%}", flush=True)

    def on_trial_error(self, iteration, trials, trial, **info):
        print(f"A network could not be trained: {one_line(trial.get_error() or 'unknown')}", flush=True)


def search(dataset, folder, *, minutes, epochs, limits, precision, seed, sampler="tpe"):
    """Search for some minutes, or go on with the search that is in a folder, on the connected Ray cluster.

    dataset: a datasets.Dataset. folder: of this search, a path or a bucket, such as s3://bucket/name, that all machines
    can reach. epochs: of a trial that is not ended early. limits: Limits. precision: as for `train_choice`.
    minutes: see _TimeIsOver. sampler: "tpe", which starts from search_space.FIRST, or "random".
    Returns what `table` returns. Raises Stopped after Ctrl-C.
    """
    part = held_out_dataset(dataset)
    settings = {"epochs": epochs, "limits": limits, "precision": precision, "seed": seed}
    trainable = tune.with_resources(
        tune.with_parameters(_trial, dataset=part, share=len(part.x_train) / len(dataset.x_train), **settings),
        {"cpu": 1, "memory": cluster.MEMORY},
    )
    parent, name = str(folder).rsplit("/", 1)
    try:
        started_before = tune.Tuner.can_restore(str(folder))
    except (OSError, ValueError) as error:
        raise UserError(f"can't use {folder} ({one_line(error)}): name another --storage") from error
    if started_before:
        tuner = tune.Tuner.restore(str(folder), trainable, resume_errored=True, param_space=_space())
    else:
        proposer = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}[sampler]
        first = {"tpe": [search_space.FIRST], "random": []}[sampler]
        tuner = tune.Tuner(
            trainable,
            param_space=_space(),
            tune_config=tune.TuneConfig(
                metric="accuracy",
                mode="max",
                search_alg=OptunaSearch(sampler=proposer(seed=seed), points_to_evaluate=first),
                scheduler=ASHAScheduler(
                    time_attr="epochs", max_t=epochs, grace_period=min(FIRST_EPOCHS, epochs), reduction_factor=KEPT
                ),
                num_samples=MOST_NETWORKS,
                trial_dirname_creator=lambda trial: trial.trial_id,  # else too long for some systems
            ),
            run_config=tune.RunConfig(
                name=name,
                storage_path=parent,
                failure_config=tune.FailureConfig(max_failures=cluster.MOST_FAILURES),
                checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
                callbacks=[_Print()],
                stop=_TimeIsOver(60 * minutes, epochs),
                verbose=0,
            ),
        )
    results = tuner.fit()
    if results.num_terminated + results.num_errors < len(results):
        raise Stopped("Stopped; the search is saved.", 130)
    return table(results)


def table(results):
    """Return what a search found, a pandas.DataFrame, a row a network, best first.

    accuracy: of held-out images, after so many epochs. seconds_an_epoch: as in Limits. curve: the accuracy after each
    epoch, as JSON. given_up: why a network was not trained, "parameters", "seconds" or "loss".
    """
    rows = [
        {
            **{name: result.metrics[name] for name in ("accuracy", "training_accuracy") if name in result.metrics},
            **{name: result.metrics.get(name) for name in ("epochs", "parameters", "seconds_an_epoch", "curve")},
            "given_up": result.metrics.get("given_up"),
            **search_space.rounded(result.config),
        }
        for result in results
        if result.metrics and "accuracy" in result.metrics
    ]
    if not any(row["curve"] for row in rows):
        raise UserError(
            "no network within the limits was trained for an epoch: start again with --fresh, and more --minutes or "
            "larger --max-parameters and --max-seconds-per-epoch"
        )
    return pd.DataFrame(rows).sort_values(["epochs", "accuracy"], ascending=False, ignore_index=True)


def judge_finalists(trials, dataset, folder, *, epochs, precision, seed):
    """Train the best networks of a search anew, LONGER times as long, on the connected Ray cluster.

    trials: what `search` returned. folder: of their runs. epochs: of a trial. precision, seed: as for `search`.
    Returns the trials with the best finalist first, and another column, finalist_accuracy: of the held-out images;
    missing for the others, and for those whose loss became NaN.
    """
    part, epochs = held_out_dataset(dataset), LONGER * epochs
    best = trials[trials["epochs"] > 0].head(FINALISTS)
    arguments = [(choice_of(row), epochs, precision, seed) for _, row in best.iterrows()]
    jobs = [
        cluster.Job(Path(folder).resolve() / f"finalist-{number}", part, each, epochs=epochs)
        for number, each in enumerate(arguments, 1)
    ]
    failed = [job for job in cluster.train_all(jobs, train_choice) if not job.not_finite]
    if failed:
        raise UserError(f"not completed: {cluster.summary(failed)}; the same command tries again")
    if all(job.not_finite for job in jobs):
        raise UserError(
            f"the loss of the best networks became NaN: {cluster.summary(jobs)}; --fresh starts a new search"
        )
    accuracies = {row: math.nan if job.not_finite else job.accuracy for row, job in zip(best.index, jobs, strict=True)}
    trials = trials.assign(finalist_accuracy=pd.Series(accuracies))
    return trials.sort_values("finalist_accuracy", ascending=False, kind="stable", ignore_index=True)


def choice_of(row):
    """Return the choice of settings in a row of `table`."""
    values = {name: row[name] for name in SETTINGS}
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}


def importances(trials):
    """Return how much each setting matters for the accuracy after the first epochs, {setting: share}, highest first.

    It is empty if there are too few networks to say, or if all are equally accurate.
    Source: Hutter et al., "An efficient approach for assessing hyperparameter importance", 2014 (fANOVA).
    """
    study = optuna.create_study(direction="maximize")
    distributions = {
        **{name: optuna.distributions.CategoricalDistribution(values) for name, values in search_space.CHOICES.items()},
        **{name: optuna.distributions.FloatDistribution(*ends, log=True) for name, ends in search_space.RANGES.items()},
    }
    for _, row in trials.iterrows():
        curve = json.loads(row["curve"]) if isinstance(row["curve"], str) else []
        if len(curve) >= FIRST_EPOCHS:
            trial = optuna.create_trial(
                params=choice_of(row), distributions=distributions, value=curve[FIRST_EPOCHS - 1]
            )
            study.add_trial(trial)
    if len(study.trials) < LEAST_TRIALS or len({trial.value for trial in study.trials}) == 1:
        return {}
    return optuna.importance.get_param_importances(study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0))


def front(trials):
    """Return the networks that no other one beats in accuracy without taking more seconds, fastest first."""
    longest = trials[trials["epochs"] == trials["epochs"].max()].sort_values("seconds_an_epoch")
    return longest[longest["accuracy"] >= longest["accuracy"].cummax()]
