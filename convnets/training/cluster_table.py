"""The live table of runs on a cluster: which trains where, how far it is, and the time left for all."""

import statistics
import time

import pandas as pd
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from convnets import provenance, records
from convnets.errors import duration

MOST_ROWS = 20
WIDTH_IN_A_FILE = 160
SECONDS_BETWEEN_PRINTS = 60  # where the output is a file


class ProgressTable:
    """Show jobs on a terminal as a table that changes, and in a file as a table every minute and at the end."""

    def __init__(self, jobs, shown):
        self.jobs = jobs
        self.console = Console(quiet=not shown, highlight=False, markup=False, emoji=False)
        if not self.console.is_terminal:
            self.console.width = WIDTH_IN_A_FILE
        self.live = Live(console=self.console, auto_refresh=False) if self.console.is_terminal else None
        self._printed = time.monotonic()

    def __enter__(self):
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_):
        if self.live:
            self.live.update(self._drawn(), refresh=True)
            self.live.stop()
        else:
            self.console.print(self._drawn())
        for job in self.jobs:
            for note in job.notes:
                self.console.print(f"{job.run_dir.name}: {note}", soft_wrap=True)

    def update(self):
        if self.live:
            self.live.update(self._drawn(), refresh=True)
        elif time.monotonic() - self._printed > SECONDS_BETWEEN_PRINTS:
            self._printed = time.monotonic()
            self.console.print(self._drawn())

    def read(self, job):
        """Read how far a job is from its folder."""
        history = records.read_history(job.run_dir)
        if history is None:  # what can be made again need not be there
            return
        job.epoch, job.seconds = len(history), history["seconds"].median()
        tested = history.get("val_accuracy", pd.Series()).dropna()  # not all runs are tested after each epoch
        job.accuracy = tested.iloc[-1] if len(tested) else None
        sessions = records.entry(job.run_dir, "sessions") or ()
        for change in provenance.changes(*sessions[-2:]) if len(sessions) > 1 else ():
            note = f"{change}: the result may differ slightly from that of an uninterrupted run"
            job.notes += [] if note in job.notes else [note]

    def _drawn(self):
        table = Table("run", "machine", "epoch", "accuracy", "state", box=None, pad_edge=False)
        order = {"training": 0, "failed": 1, "waiting": 2, "done": 3}
        jobs = sorted(self.jobs, key=lambda job: order[job.state])
        for job in jobs[:MOST_ROWS]:
            accuracy = "" if job.accuracy is None else f"{job.accuracy:.2%}"
            note = f", {job.notes[-1]}" if job.notes and job.state != "done" else ""
            table.add_row(job.run_dir.name, job.machine, f"{job.epoch}/{job.epochs}", accuracy, job.state + note)
        counts = [f"{sum(job.state == state for job in jobs)} {state}" for state in order]
        more = f"{len(jobs) - MOST_ROWS} more runs; " if len(jobs) > MOST_ROWS else ""
        return Group(table, f"{more}{', '.join(counts)}{self._time_left()}")

    def _time_left(self):
        """Return the time that all jobs will still take, if those of which nothing is known are like the others."""
        known = [job.seconds * job.epochs for job in self.jobs if job.seconds]
        training = sum(job.state == "training" for job in self.jobs)
        if not known or not training:
            return ""
        mean = statistics.mean(known)
        unfinished = [job for job in self.jobs if job.state in ("training", "waiting")]
        left = [(job.seconds or mean / job.epochs) * (job.epochs - job.epoch) for job in unfinished]
        return f"; about {duration(max(max(left), sum(left) / training))} left"
