"""How long training takes on a Ray cluster.

    python -m benchmarks.cluster_speed mnist       all networks on MNIST, with Ray and without
    python -m benchmarks.cluster_speed cores       how to share two cores: one training on both, or one on each
    python -m benchmarks.cluster_speed overhead    what Ray costs beyond the training, with 1 to 8 nodes

Nodes are processes on this machine. For the overhead the runs only sleep and write a file of 1 MB an epoch, so
that more of them than there are cores can run at once, and the engine's part is what is left.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.results import record
from convnets import cli, paths

SECONDS, EPOCHS = 0.5, 2  # of a stand-in's epoch, and how many
CLUSTERS = [(1, 10), (2, 10), (2, 100), (4, 100), (8, 100), (8, 1000)]  # nodes, queued runs
DRIVER = """
import sys
from pathlib import Path
import compare_models
from convnets import paths
paths.MODELS = Path(sys.argv[1])
compare_models.main(sys.argv[2:])
"""


def mnist(epochs, seeds):
    """Time `compare_models.py` on all MNIST networks with some seeds, for some epochs, with and without Ray."""
    import compare_models

    names = [name for name, network in compare_models.networks().items() if network.dataset == "mnist"]
    seconds = {}
    for way, more in (("without", []), ("with", ["--on-ray"])):
        with tempfile.TemporaryDirectory() as folder:
            options = [
                *names,
                "--seeds",
                str(seeds),
                "--epochs",
                str(epochs),
                "--output-dir",
                f"{folder}/figures",
                *more,
            ]
            seconds[way] = _seconds([sys.executable, "-c", DRIVER, f"{folder}/models", *options])
    row = {
        "networks": len(names),
        "seeds": seeds,
        "epochs": epochs,
        "seconds_without_ray": seconds["without"],
        "seconds_with_ray": seconds["with"],
        "ratio": seconds["with"] / seconds["without"],
    }
    record(paths.RESULTS / "cluster_mnist.csv", [row], ["seeds", "epochs"])


def cores(networks=("bernet-best", "scadamale-two-convs")):
    """Time an epoch of some networks in one process with all cores, and in two at once, with one core each or all."""
    import pandas as pd

    def start(folder, threads):
        environment = {**os.environ, **({"TF_NUM_INTRAOP_THREADS": str(threads)} if threads else {})}
        options = [f"{folder}/models", *networks, "--epochs", "1", "--output-dir", f"{folder}/figures"]
        command = [sys.executable, "-c", DRIVER, *options]
        return subprocess.Popen(command, cwd=paths.PROJECT, env=environment, stdout=subprocess.DEVNULL)

    def seconds(folders, threads=None):
        for process in [start(folder, threads) for folder in folders]:
            if process.wait():
                raise RuntimeError("a training failed")
        histories = ([pd.read_csv(path) for path in Path(folder).rglob("history.csv")] for folder in folders)
        return max(sum(history["seconds"].sum() for history in each) for each in histories)

    with tempfile.TemporaryDirectory() as folder:
        alone = seconds([f"{folder}/alone"])
        rows = [
            {
                "threads_of_each": str(threads or "all"),
                "seconds": (both := seconds(folders, threads)),
                "ratio": both / alone / 2,
            }
            for threads, folders in ((1, [f"{folder}/a", f"{folder}/b"]), (None, [f"{folder}/c", f"{folder}/d"]))
        ]
    record(paths.RESULTS / "cluster_cores.csv", [{**row, "seconds_alone": alone} for row in rows], ["threads_of_each"])


def _seconds(command):
    started = time.perf_counter()
    subprocess.run(command, cwd=paths.PROJECT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def stand_in(seconds, epochs, dataset, run_dir, options):
    """Do as training.train does, but sleep instead of training."""
    from convnets import files

    files.make_folder(run_dir)
    watcher = options.watchers[0]
    for epoch in range(epochs):
        time.sleep(seconds)
        files.write(run_dir / "weights.bin", bytes(1_000_000))
        files.write(run_dir / "run.json", '{"sessions": []}')
        rows = "".join(f"{number},0.5,{seconds}\n" for number in range(epoch + 1))
        files.write(run_dir / "history.csv", f"epoch,val_accuracy,seconds\n{rows}")
        watcher.on_epoch_end(epoch)


def overhead(clusters):
    """Time stand-ins on clusters of several sizes."""
    with cli.importing_keras():
        from ray.cluster_utils import Cluster

        from convnets.training import cluster

    cluster.MEMORY = 1  # a stand-in needs none
    receive, busy = cluster._Driver._receive, []

    def timed(*arguments):
        started = time.perf_counter()
        receive(*arguments)
        busy.append(time.perf_counter() - started)

    cluster._Driver._receive = timed
    for nodes, queued in clusters:
        machine = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        for _ in range(nodes - 1):
            machine.add_node(wait=False, num_cpus=1)
        machine.wait_for_nodes()
        with tempfile.TemporaryDirectory() as folder, cluster.connected(machine.address):
            warm = [_job(cluster, folder, f"warm-{number}") for number in range(nodes)]
            started = time.perf_counter()
            cluster.train_all(warm, stand_in, show_table=False)
            first = time.perf_counter() - started
            jobs = [_job(cluster, folder, f"run-{number}") for number in range(queued)]
            busy.clear()
            started = time.perf_counter()
            failed = cluster.train_all(jobs, stand_in, show_table=False)
            seconds = time.perf_counter() - started
        machine.shutdown()
        asked = SECONDS * EPOCHS * queued / nodes
        row = {
            "nodes": nodes,
            "queued": queued,
            "failed": len(failed),
            "seconds_asleep": asked,
            "seconds": seconds,
            "seconds_beyond_for_each": (seconds - asked) * nodes / queued,
            "seconds_of_the_driver_for_each": sum(busy) / queued,
            "seconds_until_each_node_has_trained_one": first,
        }
        record(paths.RESULTS / "cluster_overhead.csv", [row], ["nodes", "queued"])


def _job(cluster, folder, name):
    return cluster.Job(Path(folder).resolve() / name, None, (SECONDS, EPOCHS), epochs=EPOCHS)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["mnist", "cores", "overhead"])
    parser.add_argument("--epochs", type=int, default=2, help="of a training (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="of each network (default: %(default)s)")
    options = parser.parse_args()
    if options.what == "mnist":
        mnist(options.epochs, options.seeds)
    elif options.what == "cores":
        cores()
    else:
        overhead(CLUSTERS)


if __name__ == "__main__":
    main()
