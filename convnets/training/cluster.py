"""Train many runs at once on the machines of a Ray cluster, whatever happens to these machines.

The process that the reader started, Ray's driver, alone reads and writes models/. A worker trains in a folder of its
own and sends what has changed there after each epoch. So nothing has to be shared between the machines, a worker that
was taken for dead can't spoil a run, and the driver's folder is always that of a run that was trained here.

A training that dies is started again, on any machine, from the last epoch that the driver has. Ray decides where.

Sources: Moritz et al., "Ray: a distributed framework for emerging AI applications", 2018.
"""

import contextlib
import dataclasses
import os
import platform
import queue
import re
import tempfile
import threading
import time
from pathlib import Path

import keras
import ray

from convnets import cli, files, paths
from convnets.errors import NotFinite, Stopped, UserError, one_line
from convnets.training import autotune, callbacks, checkpoints, run_copies, training
from convnets.training.cluster_table import ProgressTable

MOST_FAILURES = 3  # of a run in a row, without an epoch between them
MEMORY = 1.2e9  # bytes for one training (results/peak_memory.csv): Ray starts no more than fit
SECONDS_TO_WRITE = 120  # for which the driver goes on trying to write, after the last training


@dataclasses.dataclass(eq=False)
class Job:
    """A run to train, and how it stands.

    run_dir: its folder. dataset: a datasets.Dataset. arguments: more for the function that trains it. epochs: in all.
    state: "waiting", "training", "done" or "failed". machine: where it trains. epoch: the last one saved. accuracy: of
    the last one tested. seconds: the median of an epoch. failures: since the last one saved. not_finite: whether it
    failed because its loss became NaN, as it would again. notes: what went wrong. unwritten: what the driver could not
    write yet. lock: of the run, from its start to its end.
    """

    run_dir: Path
    dataset: object
    arguments: tuple
    epochs: int
    state: str = "waiting"
    machine: str = ""
    epoch: int = 0
    accuracy: float | None = None
    seconds: float | None = None
    failures: int = 0
    not_finite: bool = False
    notes: list = dataclasses.field(default_factory=list)
    unwritten: dict = dataclasses.field(default_factory=dict)
    lock: contextlib.ExitStack = dataclasses.field(default_factory=contextlib.ExitStack)


@contextlib.contextmanager
def connected(address):
    """Connect to the Ray cluster at an address, or, for "local", start one of this machine's cores, for this block."""
    environment = {  # of the workers
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",  # a GPU is not for several runs at once
        "KERAS_BACKEND": keras.backend.backend(),
        **{name: os.environ[name] for name in ["TF_ENABLE_ONEDNN_OPTS"] if name in os.environ},
    }
    options = {
        "address": address,
        "log_to_driver": False,
        "logging_level": "ERROR",
        "runtime_env": {"env_vars": environment},
    }
    if address == "local":
        options |= {"num_cpus": autotune.cores()[0], "include_dashboard": False}
    else:
        # The other machines get this code, and nothing else that is here.
        others = [path.name for path in paths.PROJECT.iterdir() if path.name != "convnets" and path.suffix != ".py"]
        options["runtime_env"] |= {
            "working_dir": str(paths.PROJECT),
            "excludes": ["__pycache__", *(f"/{name}" for name in others)],
        }
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
        raise UserError(
            f"can't use Ray at {address} ({one_line(error)}): start it, and set RAY_AUTH_MODE=token here if it is set "
            "there, as docs/many-machines.md says"
        ) from error
    try:
        most = max((node["Resources"].get("memory", 0) for node in ray.nodes() if node["Alive"]), default=0)
        if most < MEMORY:
            raise UserError(
                f"a training needs {MEMORY / 1e9} GB of memory, and Ray has {most / 1e9:.1f}: close other programs"
            )
        yield
    finally:
        ray.shutdown()


def machines():
    """Return how many machines the connected cluster has."""
    return sum(node["Alive"] for node in ray.nodes())


# ---------------------------------------------------------------- in a worker


def _train_and_send(train, dataset, arguments, name, files):
    """Train a run from the files of its last epoch. Yields (machine, changes of its folder), first and each epoch.

    A thread trains, since Ray takes what this generator yields only when it asks for the next.
    """
    sent = queue.SimpleQueue()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        run_dir = Path(folder).resolve() / name
        run_copies.write(run_dir, files)
        changes, failure = run_copies.Changes(run_dir), []

        def body():
            try:
                cli.set_keras_up()
                watcher = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: sent.put(changes()))
                options = training.RunOptions(verbose=0, watchers=(watcher,))
                train(*arguments, dataset, run_dir, options)
                sent.put(changes())
            except BaseException as error:
                failure.append(error)
            sent.put(None)

        yield platform.node(), {}
        threading.Thread(target=body, daemon=True).start()
        while (changed := sent.get()) is not None:
            yield platform.node(), changed
        if failure:
            raise failure[0]


# ---------------------------------------------------------------- in the driver


def train_all(jobs, train, *, show_table=True):
    """Train runs on the connected cluster until all are complete, and return the jobs that could not be completed.

    jobs: list of Job. train: a function (*arguments of the job, dataset, run_dir, training.RunOptions), which trains a
    run or resumes it. Other processes can't train a run meanwhile.
    Raises Stopped after Ctrl-C or SIGTERM: nothing but the epochs in progress is lost.
    """
    driver = _Driver(jobs, train, show_table)
    with contextlib.ExitStack() as locks, driver.stop.catching(), driver.table:
        for job in jobs:
            locks.push(job.lock)
        driver.run()
    return [job for job in jobs if job.state == "failed"]


def summary(jobs):
    """Return the names of jobs, each with the last thing that went wrong."""
    return "; ".join(f"{job.run_dir.name} ({job.notes[-1]})" for job in jobs)


class _Driver:
    def __init__(self, jobs, train, show_table):
        self.jobs = jobs
        self.stop = callbacks.StopOnSignal(self)
        self.table = ProgressTable(jobs, show_table)
        self.work = ray.remote(_train_and_send).options(num_cpus=1, memory=MEMORY, max_retries=0)
        self.train = ray.put(train)
        self.datasets = {}  # {id: reference}: each is sent once to each machine
        self.waiting = list(reversed(jobs))
        self.running = {}  # {stream of what a worker sends: its job}

    @property
    def saved(self):
        for job in self.jobs:
            if job.unwritten:
                self._write(job)
        done = sum(job.state == "done" for job in self.jobs)
        lost = ", ".join(job.run_dir.name for job in self.jobs if job.unwritten)
        but = f", but for {lost}: the last epochs could not be written" if lost else ""
        return f"{done} of {len(self.jobs)} runs are complete, and the others are saved up to their last epoch{but}"

    def run(self):
        given_up = None
        while self.waiting or self.running or any(job.unwritten for job in self.jobs):
            self._submit_some()
            if self.running:
                streams, _ = ray.wait(list(self.running), timeout=0.5, fetch_local=False)
                for stream in streams:
                    self._receive(stream)
            else:
                given_up = given_up or time.monotonic() + SECONDS_TO_WRITE
                time.sleep(0.5)
            for job in self.jobs:
                if job.unwritten:
                    self._write(job)
                    if job.unwritten and given_up and time.monotonic() > given_up:
                        job.unwritten = {}
                        self._end(job, "failed")
            self.stop.stop_if_asked()
            self.table.update()

    def _submit_some(self):
        """Give Ray twice as many runs as it has cores for, so that it never waits for more."""
        while self.waiting and len(self.running) < 2 * max(1, ray.cluster_resources().get("CPU", 0)):
            job = self.waiting.pop()
            try:
                job.lock.enter_context(training.locked(job.run_dir))
                checkpoints.refuse_other_files(job.run_dir)
                files.remove_partial(job.run_dir)
                self.table.read(job)
                self._submit(job)
            except UserError as error:
                self._end(job, "failed", error)

    def _submit(self, job):
        key = id(job.dataset)
        if key not in self.datasets:
            self.datasets[key] = ray.put(job.dataset)
        files = {**run_copies.read(job.run_dir), **job.unwritten}
        files = {name: content for name, content in files.items() if content is not None}
        job.state, job.machine = "waiting", ""
        stream = self.work.remote(self.train, self.datasets[key], job.arguments, job.run_dir.name, files)
        self.running[stream] = job

    def _receive(self, stream):
        job = self.running[stream]
        try:
            job.machine, changes = ray.get(next(stream))
        except StopIteration:
            del self.running[stream]
            self._end(job, "done")
        except Stopped:
            raise
        except Exception as error:  # whatever it was, another worker tries again
            del self.running[stream]
            if not isinstance(error, ray.exceptions.RayTaskError):  # then it has ended, and its worker does other work
                ray.cancel(stream, force=True)
            reason = getattr(error, "cause", None) or error
            job.failures += 1
            job.not_finite = isinstance(reason, NotFinite)
            if job.failures >= MOST_FAILURES or job.not_finite:
                self._end(job, "failed", reason)
            else:
                job.notes.append(f"started again: {one_line(reason)}")
                try:
                    self._submit(job)
                except UserError as error:
                    self._end(job, "failed", error)
        else:
            job.state = "training"
            if changes:
                job.failures = 0
                job.unwritten |= changes
                self._write(job)

    def _write(self, job):
        """Write what a worker has sent. If the system refuses, it stays in memory, and is tried again later."""
        try:
            run_copies.write(job.run_dir, job.unwritten)
        except UserError as error:
            if str(error) not in job.notes:
                job.notes.append(str(error))
            return
        job.unwritten = {}
        self.table.read(job)
        self._end(job, job.state)

    def _end(self, job, state, reason=None):
        job.state = state
        if reason:  # a worker knows the run by a folder of its own
            elsewhere = r"\S*[\\/]tmp\w+[\\/]" + re.escape(job.run_dir.name)
            job.notes.append(re.sub(elsewhere, lambda _: str(job.run_dir), one_line(reason)))
        if state in ("done", "failed") and not job.unwritten:
            job.lock.close()
