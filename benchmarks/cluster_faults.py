"""Train on a Ray cluster while its parts are killed, and check that nothing is lost.

    python -m benchmarks.cluster_faults                  120 faults, on clusters of 2, 4 and 8 nodes
    python -m benchmarks.cluster_faults --nodes 4 --dataset mnist --epochs 3 --faults 8 --pause 12    on MNIST

The nodes of a cluster are processes on this machine, each with one core for training. `compare_models.py --on-ray` is
the driver, in a process of its own. At random moments one of the faults below comes over them. At the end, every run
must be complete, and identical bit for bit with the same run trained alone. The runs are repeated, each time in an
empty folder, until there were enough faults.
"""

import argparse
import collections
import contextlib
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import ray
from ray.cluster_utils import Cluster

from benchmarks import cluster_speed
from benchmarks.kill_and_resume import differences
from benchmarks.results import record
from convnets import paths
from convnets.training import checkpoints

NETWORKS, SEEDS = ["scadamale-dense", "scadamale-one-conv"], 2
# There are more failures here than anybody will see.
DRIVER = "from convnets.training import cluster; cluster.MOST_FAILURES = 1000" + cluster_speed.DRIVER
NODE = {"num_cpus": 1, "object_store_memory": 1_000_000_000}  # Ray's default here, 150 MB, holds MNIST only twice
PATIENCE = 20  # seconds to wait for the moment at which a fault is to come


class Trial:
    """A driver that trains on a cluster, and the faults that can come over them.

    nodes: of the cluster. folder: of the runs. options: of the script. script: the driver's program, as text.
    """

    def __init__(self, folder, nodes, options, rng, script=DRIVER):
        self.folder, self.nodes, self.options, self.rng, self.script = Path(folder), nodes, options, rng, script
        self.scratch = Path(tempfile.mkdtemp(prefix="faults-"))
        self.tmpdir = os.environ.get("TMPDIR")
        os.environ["TMPDIR"] = str(self.scratch)  # where the workers keep their runs
        self.start_cluster()
        self.start_driver()

    def start_cluster(self):
        self.cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        for _ in range(self.nodes - 1):
            self.cluster.add_node(wait=False, **NODE)
        self.cluster.wait_for_nodes()

    def start_driver(self):
        """Start the driver, or start it again: the same command goes on."""
        command = [sys.executable, "-c", self.script, str(self.folder), *self.options, "--on-ray", self.cluster.address]
        with open(self.folder.with_name("driver.log"), "a") as log:
            self.driver = subprocess.Popen(command, cwd=paths.PROJECT, stdout=log, stderr=log)

    def close(self):
        self.driver.kill()
        self.driver.wait()
        self.cluster.shutdown()
        os.environ.pop("TMPDIR")
        if self.tmpdir is not None:
            os.environ["TMPDIR"] = self.tmpdir
        shutil.rmtree(self.scratch, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def ended(self):
        return self.driver.poll() is not None

    def workers(self):
        """Return the processes of this cluster that train."""
        found = []
        for node in self.cluster.list_all_nodes():
            for raylet in node.all_processes.get("raylet", ()):
                with contextlib.suppress(psutil.NoSuchProcess):
                    children = psutil.Process(raylet.process.pid).children(recursive=True)
                    found += [child for child in children if "_train_and_send" in " ".join(child.cmdline())]
        return found

    # ------------------------------------------------------------ faults; each returns whether it came

    def worker_killed(self):
        self._wait_for(self.workers)
        workers = self.workers()
        return self._kill(self.rng.sample(workers, 1) if workers else [])

    def workers_killed_amid_a_write(self):
        return self._wait_for(lambda: any(self.scratch.glob("*/*/.partial-*"))) and self._kill(self.workers())

    def node_removed(self):
        if not self.cluster.worker_nodes:
            return False
        node = self.rng.choice(sorted(self.cluster.worker_nodes, key=lambda node: node.unique_id))
        self.cluster.remove_node(node, allow_graceful=False)
        self.cluster.add_node(wait=False, **NODE)
        return True

    def driver_killed(self):
        return self._kill_driver()

    def driver_killed_amid_a_write(self):
        return self._wait_for(lambda: any(self.folder.glob("*/.partial-*"))) and self._kill_driver()

    def driver_stopped_by_ctrl_c(self):
        if self.ended:
            return False
        self.driver.send_signal(signal.SIGINT)
        self.driver.wait()
        self.start_driver()
        return True

    def folder_read_only(self):
        runs = [run for run in self.folder.glob("*") if run.is_dir()]
        with _read_only(runs):
            time.sleep(6)
        return bool(runs)

    def worker_frozen(self):
        """Stop a worker for some seconds, as a laptop does that sleeps."""
        workers = self.workers()
        if not workers:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            worker = self.rng.choice(workers)
            worker.suspend()
            time.sleep(5)
            worker.resume()
        return True

    def head_killed(self):
        """Kill the head, and with it the cluster; the reader makes another one and starts the same command."""
        self.driver.kill()
        self.driver.wait()
        self.cluster.shutdown()
        self.start_cluster()
        self.start_driver()
        return True

    def _wait_for(self, moment):
        deadline = time.monotonic() + PATIENCE
        while not self.ended and time.monotonic() < deadline:
            with contextlib.suppress(FileNotFoundError):  # a folder that goes while it is looked through
                if moment():
                    return True
            time.sleep(0.0005)
        return False

    def _kill(self, processes):
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        return bool(processes)

    def _kill_driver(self):
        if self.ended:
            return False
        self.driver.kill()
        self.driver.wait()
        self.start_driver()
        return True


FAULTS = {  # and how often each comes
    Trial.worker_killed: 6,
    Trial.workers_killed_amid_a_write: 6,
    Trial.node_removed: 4,
    Trial.driver_killed: 2,
    Trial.driver_killed_amid_a_write: 3,
    Trial.driver_stopped_by_ctrl_c: 1,
    Trial.folder_read_only: 3,
    Trial.worker_frozen: 3,
    Trial.head_killed: 1,
}


@contextlib.contextmanager
def _read_only(folders):
    """Let nobody write into folders, not even root, for whom permissions don't count."""
    as_root = os.geteuid() == 0
    commands = (["chattr", "+i"], ["chattr", "-i"]) if as_root else (["chmod", "a-w"], ["chmod", "u+w"])
    subprocess.run([*commands[0], *folders], check=bool(folders), capture_output=True)
    try:
        yield
    finally:
        subprocess.run([*commands[1], *folders], check=bool(folders), capture_output=True)


def train_alone(folder, options):
    """Train the same runs without Ray, on one thread, as a worker does."""
    environment = {**os.environ, "TF_NUM_INTRAOP_THREADS": "1"}
    command = [sys.executable, "-c", cluster_speed.DRIVER, str(folder), *options]
    subprocess.run(command, cwd=paths.PROJECT, env=environment, check=True, capture_output=True)


def compare_runs(alone, folder, epochs):
    """List what differs between the runs trained alone and those on the cluster."""
    found = []
    for run in sorted(path for path in alone.glob("*") if path.is_dir()):
        found += [f"{run.name}: {each}" for each in differences(run, folder / run.name, epochs)]
        checkpoint, _ = checkpoints.newest(folder / run.name)
        firsts = [session["first_epoch"] for session in checkpoint.run["sessions"]] if checkpoint else []
        if any(later <= first for first, later in itertools.pairwise(firsts)):
            found.append(f"{run.name}: trained twice, from epochs {firsts}")
    return found


def faults(*, nodes, dataset, epochs, count, seed, pause=6.0, kinds=FAULTS):
    """Train until `count` faults have come, with a wait of up to `pause` seconds before each.

    Returns (list of differences, Counter of the faults, number of trials).
    """
    rng, tally, found, trials = random.Random(seed), collections.Counter(), [], 0
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        options = [*NETWORKS, "--dataset", dataset, "--epochs", str(epochs), "--seeds", str(SEEDS)]
        options += ["--output-dir", str(folder / "figures")]
        train_alone(folder / "alone", options)
        while tally.total() < count:
            trials += 1
            runs = folder / f"trial-{trials}" / "models"
            runs.mkdir(parents=True)
            with Trial(runs, nodes, options, rng) as trial:
                while not trial.ended:
                    time.sleep(rng.uniform(0.5, pause))
                    if tally.total() < count and not trial.ended:
                        kind = rng.choices(list(kinds), list(kinds.values()))[0]
                        try:
                            came = kind(trial)
                        except (RuntimeError, ray.exceptions.RpcError):  # a head under this load may die by itself
                            kind = Trial.head_killed
                            came = kind(trial)
                        if came:
                            tally[kind.__name__] += 1
                            print(f"{tally.total()}: {kind.__name__.replace('_', ' ')}", flush=True)
                if trial.driver.returncode:
                    found.append(f"the driver ended with {trial.driver.returncode}: {_last_line(runs)}")
            found += compare_runs(folder / "alone", runs, epochs)
            print(f"Trial {trials}: {len(found)} differences", *found, sep="\n", flush=True)
            if found:
                break
    return found, tally, trials


def _last_line(runs):
    return runs.with_name("driver.log").read_text().strip().splitlines()[-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--dataset", choices=["digits", "mnist"], default="digits")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--faults", type=int, default=40, help="on each cluster (default: %(default)s)")
    parser.add_argument("--pause", type=float, default=6, help="most seconds before the next (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1337, help="of the random moments (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=paths.RESULTS / "cluster_faults.csv")
    options = parser.parse_args()
    differing = 0
    for nodes in options.nodes:
        found, tally, trials = faults(
            nodes=nodes,
            dataset=options.dataset,
            epochs=options.epochs,
            count=options.faults,
            seed=options.seed,
            pause=options.pause,
        )
        differing += len(found)
        row = {
            "dataset": options.dataset,
            "nodes": nodes,
            "seed": options.seed,
            "pause": options.pause,
            "faults": tally.total(),
            **{kind.__name__: tally[kind.__name__] for kind in FAULTS},
            "runs": len(NETWORKS) * SEEDS * trials,
            "epochs": options.epochs,
            "differences": len(found),
        }
        record(options.output, [row], ["dataset", "nodes", "seed"])
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()
