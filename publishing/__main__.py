"""Turn what was measured into what is published.

    python -m publishing basic_model-cifar10 basic_model-cifar10-seed2

Puts these finished runs of models/ into results/training_runs.csv (a row a run) and results/learning_curves.csv (a
row an epoch), copies those that visualisations fall back on to models/stashed/, and draws the documents' tables and
charts anew, from the files in results/ and, where one shows layers, from the network. Without a name it does only
the last.
"""

import argparse
import dataclasses
import json
import math
import re
import shutil

import keras
import pandas as pd

from benchmarks import choose_recipe
from benchmarks.ablation import VARIANTS, of_85
from benchmarks.onednn_speed import BATCH_SIZES
from compare_models import networks
from convnets import drawing, paths
from convnets.data import datasets
from convnets.training import checkpoints, comparison, comparison_figures

RESULTS = paths.RESULTS
NETWORKS = networks()
STASHED = ["basic_model-cifar10", "improved_model-cifar10", "basic_model-mnist", "basic_model-digits"]
FAST = ["fast_model-94-cifar10", "fast_model-95.5-cifar10"]  # stashed in half precision, since they are large
RUNS = list(dict.fromkeys([*STASHED, *FAST, *(network.run_name(network.dataset) for network in NETWORKS.values())]))
EPOCHS = {network.run_name(network.dataset): network.epochs for network in NETWORKS.values()}
PUBLISHED = {network.run_name(network.dataset): network.published for network in NETWORKS.values()}


def stash(folder, target):
    """Copies a run to the new folder `target` without what only further training needs, the optimizer's state."""
    model = checkpoints.load_model(folder)
    if folder.name in FAST:
        model = _in_half_precision(model)
    checkpoint, _ = checkpoints.newest(folder)
    target.mkdir(parents=True)
    for name in ("architecture.json", "run.json", "history.csv", "training_curves.png"):
        shutil.copy(folder / name, target)
    checkpoints.save_checkpoint(dataclasses.replace(checkpoint, folder=target), model)


def _in_half_precision(model):
    """The same network with float16 weights."""

    def half(part):
        return {**part, "config": {"name": "float16"}} if part.get("class_name") == "DTypePolicy" else part

    description = json.loads(model.to_json(), object_hook=half)
    halved = keras.models.model_from_json(json.dumps(description))
    halved.set_weights(model.get_weights())
    return halved


def trained_table(runs):
    """The table of what the two training scripts of wang's article reach, in Markdown."""
    lines = [
        "| run | epochs | seeds | test accuracy, last epoch | the article says | minutes |",
        "|---|---|---|---|---|---|",
    ]
    runs = runs[runs["run"].isin(STASHED)]
    for (name, epochs), group in runs.groupby(["run", "epochs"], sort=False):
        accuracy = 100 * group["test_accuracy"]
        spread = f" ({accuracy.min():.2f} to {accuracy.max():.2f})" if len(group) > 1 else ""
        lines.append(
            f"| `{name}` | {epochs} | {len(group)} | {accuracy.mean():.2f} %{spread} "
            f"| {PUBLISHED.get(name, '')} | {group['minutes'].min():.0f} |"
        )
    return "\n".join([*lines, "", _measured_on(runs)])


def article_table(runs, article):
    """Published against measured for the networks of an article, or, for "all", of all of them, in Markdown."""
    networks = [network for network in NETWORKS.values() if article in (network.article, "all")]
    runs = runs[runs["run"].isin([network.run_name(network.dataset) for network in networks])]
    table = comparison.printable(comparison.compare(runs, networks))
    if article != "all":
        table = table.drop(columns="article")
    return "\n".join([_markdown(table), "", _measured_on(runs)])


def epoch_table(epochs, which):
    """A network's means over the seeds after some epochs, in Markdown. which: "bernet-best 1 5 40"."""
    name, *wanted = which.split()
    network = NETWORKS[name]
    rows = epochs[(epochs["run"] == network.run_name(network.dataset)) & epochs["epoch"].isin(map(int, wanted))]
    means = rows.dropna(axis="columns", how="all").groupby("epoch").mean(numeric_only=True)
    table = pd.DataFrame({"after epoch": means.index})
    for quantity, text in (("accuracy", lambda share: f"{100 * share:.2f} %"), ("loss", "{:.3f}".format)):
        for prefix, images in (("", "training"), ("held_out_", "held-out"), ("val_", "test")):
            if prefix + quantity in means:
                table[f"{quantity}, {images} images"] = means[prefix + quantity].map(text).to_numpy()
    return _markdown(table)


def layer_table(name):
    """A network's layers, with the shape of what each returns and how many parameters it has, in Markdown."""
    network = NETWORKS[name]
    model = network.build_model(datasets.INPUT_SHAPES[network.dataset], 10)
    rows = [
        {
            "layer": f"`{type(layer).__name__}`" + (f" {layer.name}" if layer.weights else ""),
            "returns": " x ".join(map(str, layer.output.shape[1:])),
            "parameters": f"{layer.count_params():,}" if layer.weights else "",
        }
        for layer in model.layers
    ]
    rows.append({"layer": "all", "returns": "", "parameters": f"{model.count_params():,}"})
    return _markdown(pd.DataFrame(rows))


def _markdown(table):
    lines = [table.columns, ["---"] * len(table.columns), *table.itertuples(index=False)]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _table(header, rows, results=None):
    """A Markdown table of rows of texts below a header, "a | b", and on what device its results were measured."""
    lines = [f"| {header} |", "|" + "---|" * (header.count("| ") + 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines if results is None else [*lines, "", _measured_on(results)])


def _table_of(results, header, line):
    """A Markdown table with a line, "{row.script} | {row.seconds:.1f}", for each row of results."""
    rows = [[line.format(row=row)] for row in results.itertuples()]
    return _table(header, rows, results)


def speed_table(speeds):
    """The table of the overhead over plain Keras, in Markdown."""
    header = "network | measured | against | ratio of seconds an epoch"
    line = "{row.network} | {row.measured} | {row.peer} | {row.ratio:.2f}"
    return _table_of(speeds, header, line)


def onednn_table(speeds):
    """The table of how much faster oneDNN is, in Markdown."""
    speeds = speeds.assign(order=speeds["network"].map(list(BATCH_SIZES).index))
    header = "network | batch | measured | seconds | without oneDNN | ratio"
    line = (
        "{row.network} | {row.batch_size} | {row.measured} | {row.seconds:.1f} | {row.seconds_without:.1f} "
        "| {row.ratio:.2f}"
    )
    return _table_of(speeds.sort_values(["order", "measured"]), header, line)


def first_step_table(steps):
    """The table of how much sooner a first training step ends, in Markdown."""
    line = "`{row.network}.py` | {row.seconds:.1f} | {row.plain_seconds:.1f} | {row.ratio:.2f}"
    return _table_of(steps, "network | seconds | seconds, Keras alone | ratio", line)


def kill_table(trainings):
    """The table of trainings to which something happened, in Markdown."""
    first = ["kills", "killed_amid_a_write"]
    others = ["stopped_and_continued", "wrong_clock", "disk_full", "folder_read_only", "out_of_memory"]
    sums = trainings.groupby("case").agg({"seed": "size", **dict.fromkeys([*first, *others, "differences"], "sum")})
    sums.loc["**in all**"] = sums.sum()
    header = ["", "trainings", "kills", "of them amid a write", *(name.replace("_", " ") for name in others)]
    lines = [f"| {' | '.join([*header, 'arrays that differ'])} |", "|---" * (len(header) + 1) + "|"]
    for case, row in sums.iterrows():
        lines.append(f"| {case} | {' | '.join(f'{value:,}' for value in row)} |")
    return "\n".join([*lines, "", _measured_on(trainings)])


def power_cut_table(cuts):
    """The table of power cuts, in Markdown."""
    header = "epochs | operations on files | states of the disk | from the last epoch | from the one before | more lost"
    line = "{row.epochs} | {row.operations} | {row.states} "
    line += "| {row.from_the_last_epoch} | {row.from_the_one_before} | {row.lost_more}"
    return _table_of(cuts, header, line)


def hostile_table(kinds):
    """The table of hostile files, in Markdown."""
    sums = kinds.groupby("kind", sort=False)[["cases", "read", "other_numbers", "refused", "failed"]].sum()
    sums.loc["**in all**"] = sums.sum()
    lines = ["| | cases | read correctly | other numbers | refused | failed |", "|---|---|---|---|---|---|"]
    lines += [f"| {kind} | {' | '.join(f'{value:,}' for value in row)} |" for kind, row in sums.iterrows()]
    return "\n".join([*lines, "", _measured_on(kinds)])


def version_table(runs):
    """The table of the versions with which the tests pass, in Markdown."""
    header = "Python | requirements | TensorFlow | Keras | NumPy | tests | passed | skipped | failed | minutes"
    line = "{row.python} | {row.requirements} | {row.tensorflow} | {row.keras} | {row.numpy} | {row.tests} "
    line += "| {row.passed:,} | {row.skipped} | {row.failed} | {row.minutes:.0f}"
    return _table_of(runs, header, line)


def view_table(speeds):
    """The table of how fast the views compute what they show, in Markdown."""
    speeds = speeds.assign(difference=speeds["largest_difference"].map("{:.0e}".format, na_action="ignore").fillna(""))
    header = "measured | seconds | against | seconds | times faster | largest difference"
    line = (
        "{row.measured} | {row.seconds:.2f} | {row.peer} | {row.peer_seconds:.2f} "
        "| {row.times_faster:.2f} | {row.difference}"
    )
    return _table_of(speeds, header, line)


def script_table(scripts):
    """The table of how long the scripts that look into a network take, in Markdown."""
    header = (
        "script | seconds | of them importing Keras and loading CIFAR-10 | the same, one after the other | `--help`"
    )
    line = (
        "`{row.script}.py` | {row.seconds:.1f} "
        "| {row.importing_keras_and_loading_data_seconds:.1f} | {row.one_by_one_seconds:.1f} | {row.help_seconds:.2f}"
    )
    return _table_of(scripts, header, line)


def precision_table(runs, in_float32=None):
    """The table of what the article's networks reach in each precision, in Markdown.

    runs: those in bfloat16. in_float32: rows as in training_runs.csv, where they are by default.
    """
    if in_float32 is None:
        in_float32 = pd.read_csv(RESULTS / "training_runs.csv")
    rows, devices = [], [runs["device"]]
    for script, group in runs.groupby("script"):
        exact = in_float32[(in_float32["run"] == f"{script}-cifar10") & (in_float32["precision"] == "float32")]
        accuracies = [100 * exact["test_accuracy"], 100 * group["test_accuracy"]]
        apart = f"{accuracies[1].mean() - accuracies[0].mean():+.2f}"
        columns = (column for each in accuracies for column in (f"{len(each)}", _mean_and_range(each, " %")))
        rows.append([f"`{script}.py`", *columns, apart])
        devices.append(exact["device"])
    header = "script | seeds in float32 | test accuracy | seeds in bfloat16 | test accuracy | points apart"
    return _table(header, rows, pd.concat(devices).to_frame())


def fast_table(runs):
    """The table of what fast_model.py reaches, and how fast, in Markdown. The interval is that of what counts."""
    rows = []
    for target, group in runs.groupby("target"):
        plain, views = 100 * group["test_accuracy"], 100 * group["test_accuracy_with_views"]
        low, high = comparison.interval(plain if target < 90 else views)
        rows.append([
            f"{target:g}", f"{len(group)}", _mean_and_range(plain, " %"), _mean_and_range(views, " %"),
            "" if len(group) == 1 else f"{low:.2f} to {high:.2f}", _mean_and_range(group["training_seconds"], "", 1),
            f"{group['compilation_seconds'].mean():.0f}", f"{group['process_seconds'].mean():.0f}",
        ])  # fmt: skip
    header = "`--target` | seeds | test accuracy | with six views | 95 % interval of what counts | seconds of training"
    return _table(f"{header} | compiling | whole program", rows, runs)


def attempts_table(runs):
    """The table of earlier recipes, with their test accuracies, in Markdown."""
    settings = ["target", "filters", "epochs", "batch_size", "shift", "cutout", "learning_rate"]
    rows = [
        [
            *(f"{value:g}" if isinstance(value, float) else str(value) for value in recipe), str(len(group)),
            *(_mean_and_range(100 * group[f"test_accuracy{views}"], " %") for views in ("", "_with_views")),
            _mean_and_range(group["training_seconds"], "", 0),
        ]
        for recipe, group in runs.groupby(settings)
    ]  # fmt: skip
    header = "target | filters | epochs | batch | shift | cutout | rate | seeds | test accuracy | with six views"
    return _table(f"{header} | seconds of training", rows, runs)


def startup_table(repeats):
    """The table of what comes before a training, in Markdown."""
    medians = repeats.drop(columns="repeat").median(numeric_only=True)
    rows = [[what, f"{seconds:.1f}"] for what, seconds in medians.items()]
    return _table("before the first step | seconds", rows, repeats)


def ablation_table(runs):
    """The table of what each trick brings in an earlier recipe for 85 %, and in longer trainings, in Markdown."""
    runs = of_85(runs)
    runs = runs.assign(variant=pd.Categorical(runs["variant"], VARIANTS, ordered=True))
    means = runs.groupby(["epochs", "variant"], observed=True)[["test_accuracy", "training_seconds"]].mean()
    trainings = sorted(runs["epochs"].unique())
    whole = means.xs("all tricks", level="variant")
    rows = []
    for name in runs["variant"].sort_values().unique():
        row = [name]
        for epochs in trainings:
            accuracy = means["test_accuracy"].get((epochs, name))
            if accuracy is None:
                row += ["", ""]
            elif pd.isna(accuracy):
                row += ["does not learn", ""]
            else:
                row += [f"{accuracy:.2%}", f"{100 * (whole['test_accuracy'][epochs] - accuracy):.2f}"]
        seconds = means["training_seconds"].get((trainings[0], name), math.nan)
        share = seconds / whole["training_seconds"][trainings[0]]
        rows.append([*row, *(["", ""] if pd.isna(seconds) else [f"{seconds:.0f}", f"{share:.2f}"])])
    seeds = runs.groupby("epochs")["seed"].nunique()
    accuracies = " | ".join(f"{epochs} epochs (seeds: {seeds[epochs]}) | points lost" for epochs in trainings)
    return _table(f"training with | {accuracies} | seconds of {trainings[0]} epochs | times as long", rows, runs)


def choice_table(trials, target):
    """The table of the recipes tried for a target on held-out images, the fastest first, in Markdown."""
    trials = choose_recipe.of_device(trials[trials["target"] == float(target)])
    candidates = choose_recipe.summary(trials, target)
    best = choose_recipe.chosen(candidates, target)
    names = {"batch_size": "batch", "shift": "shifts, pixels", "highest_rate": "learning rate"}
    varied = [name for name in choose_recipe.SETTINGS if candidates[name].nunique() > 1]
    rows = [
        [
            *(f"{row[name]:g}" if isinstance(row[name], float) else str(row[name]) for name in varied),
            str(row["seeds"]), "does not learn" if pd.isna(row["accuracy"]) else f"{row['accuracy']:.2f} %",
            "" if pd.isna(row["low"]) else f"{row['low']:.2f} to {row['high']:.2f}", f"{row['seconds']:.1f}",
            "yes" if row.equals(best) else "",
        ]
        for _, row in candidates.iterrows()
    ]  # fmt: skip
    header = " | ".join(names.get(name, name.replace("_", " ")) for name in varied)
    columns = "seeds | accuracy, held-out images | 95 % interval | seconds of training | chosen"
    return _table(f"{header} | {columns}", rows, trials)


def operation_table(variants):
    """The table of an epoch of the network for 94 % with other operations, in both precisions, in Markdown."""
    seconds = variants.pivot(index="variant", columns="precision", values="seconds_an_epoch")
    rows = [
        [name, *(f"{value:.0f} | {value / seconds[precision]['all tricks']:.2f}" for precision, value in row.items())]
        for name, row in seconds.reindex(VARIANTS).dropna().iterrows()
    ]
    header = " | ".join(f"seconds an epoch in {precision} | times as long" for precision in seconds)
    return _table(f"| {header}", rows, variants)


def tutorial_table(runs):
    """The table of how long the article's networks take to what fast_model.py reaches in seconds, in Markdown."""
    ours = pd.read_csv(RESULTS / "fast_model.csv").groupby("target")["training_seconds"].mean()
    runs = runs.assign(ours=runs["target"].map(ours), seconds=runs["epochs"] * runs["seconds_an_epoch_float32"])
    runs["times_faster"] = runs["seconds"] / runs["ours"]
    runs["times_in_bfloat16"] = runs["epochs"] * runs["seconds_an_epoch_bfloat16"] / runs["ours"]
    header = (
        "to test accuracy | script | epochs | seconds an epoch | seconds | `fast_model.py` | times faster "
        "| an epoch in bfloat16 | times faster then"
    )
    line = (
        "{row.target} % | `{row.script}.py` | {row.epochs} | {row.seconds_an_epoch_float32:.1f} | {row.seconds:.0f} "
        "| {row.ours:.0f} | {row.times_faster:.0f} | {row.seconds_an_epoch_bfloat16:.1f} | {row.times_in_bfloat16:.0f}"
    )
    return _table_of(runs, header, line)


def peer_table(runs):
    """The table of an epoch of the network for 94 % here and in bare PyTorch, in Markdown."""
    names = {"autocast": "float32 weights, bfloat16 computations", "bfloat16": "bfloat16 throughout"}
    header = "bare PyTorch | batch | seconds an epoch | ours | ours / PyTorch"
    line = (
        "{row.precision} | {row.batch_size} | {row.seconds_an_epoch:.0f} "
        "| {row.our_seconds_an_epoch:.0f} | {row.ratio:.2f}"
    )
    return _table_of(runs.replace({"precision": names}), header, line)


def profile_table(parts):
    """The table of where the time of a step of the network for 94 % goes, in Markdown."""
    whole = parts.iloc[0]
    lines = [
        f"{whole['gflops']:.0f} of {whole['peak_gflops']:.0f} GFLOP/s, "
        f"{whole['gflops'] / whole['peak_gflops']:.0%} of the peak in bfloat16.",
        "",
        "| part of a step | share of its time |",
        "|---|---|",
    ]
    lines += [f"| {row.part} | {row.share_of_time:.0%} |" for row in parts.iloc[1:].itertuples()]
    return "\n".join([*lines, "", _measured_on(parts)])


def recipe_table(runs):
    """The table of airbench94's recipes and ours, trained in turn, in Markdown."""
    lines = ["| recipe | epochs | seeds | test accuracy | with six views | seconds |", "|---|---|---|---|---|---|"]
    names = {"ours": "`fast_model.py`"}
    for (recipe, epochs), group in runs.groupby(["recipe", "epochs"]):
        name = names.get(recipe, f"airbench94, {recipe}")
        lines.append(
            f"| {name} | {epochs:.1f} | {len(group)} | {group['test_accuracy'].mean():.2%} "
            f"| {group['test_accuracy_with_views'].mean():.2%} | {group['seconds'].mean():.0f} |"
        )
    return "\n".join([*lines, "", _measured_on(runs)])


def gpu_table(runs):
    """The table of trainings to 94 % on a GPU, in Markdown."""
    lines = ["| recipe | epochs | seeds | test accuracy | with six views | seconds |", "|---|---|---|---|---|---|"]
    for recipe, group in runs.groupby("recipe"):
        name = f"`{recipe}`" if recipe.endswith(".py") else recipe
        views, seconds = 100 * group["test_accuracy_with_views"], group["seconds"]
        lines.append(
            f"| {name} | {group['epochs'].iloc[0]:.0f} | {len(group)} | {group['test_accuracy'].mean():.2%} "
            f"| {mean_with_interval(views)} | {_mean_and_range(seconds, '', 1)} |"
        )
    return "\n".join([*lines, "", _measured_on(runs)])


def mean_with_interval(percentages):
    if len(percentages) == 1:
        return f"{percentages.iloc[0]:.2f} %"
    low, high = comparison.interval(percentages)
    return f"{percentages.mean():.2f} %, interval {low:.2f} to {high:.2f}"


def _mean_and_range(values, unit, digits=2):
    text = f"{values.mean():.{digits}f}{unit}"
    return text if len(values) == 1 else f"{text} ({values.min():.{digits}f} to {values.max():.{digits}f})"


def _measured_on(results):
    return f"Measured on: {'; '.join(results['device'].unique())}."


def transfer_table(runs):
    """The table of what networks reach on folders of pictures, from scratch and by transfer, in Markdown."""
    runs = runs.assign(network=runs["network"].replace({"transfer": "`transfer_model.py`"}))
    rows = []
    for (pictures, network), group in runs.groupby(["pictures", "network"], sort=False):
        accuracy, augmented = 100 * group["test_accuracy"], 100 * group["with_tta"].dropna()
        rows.append([
            pictures, network, f"{len(group)}", _mean_and_range(accuracy, " %", 1),
            _mean_and_range(augmented, " %", 1) if len(augmented) else "", _mean_and_range(group["seconds"], "", 0),
        ])  # fmt: skip
    header = "pictures | network | seeds | test accuracy | with test-time augmentation | seconds in all"
    return _table(header, rows, runs)


def picture_speed_table(measured):
    """How long the reader's own pictures take, in Markdown."""
    return _table_of(measured, "what | seconds besides importing Keras", "{row.measured} | {row.seconds:.1f}")


def explorer_speed_table(measured):
    """How fast the page of explore.py answers, in Markdown."""
    rows = [
        [
            row.what, row.device.split(": ")[-1], f"{row.median:.3g}",
            "" if math.isnan(row.percentile_95) else f"{row.percentile_95:.3g}",
        ]
        for row in measured.itertuples()
    ]  # fmt: skip
    return _table("what, in seconds unless it says otherwise | processor | median | 95th percentile", rows, measured)


def trust_table(measured, question):
    """The table of one of the questions of benchmarks/trust.py, in Markdown."""
    measured = measured[measured["question"] == question]
    one_number = measured["measure"].nunique() == 1 and measured["network"].nunique() == 1
    if one_number:
        rows = [[row.case, f"{row.value:.1%}"] for row in measured.itertuples()]
        return _table(f"case | {measured['measure'].iloc[0]}", rows, measured)
    if question == "labels judged by eye":
        index, column, name = "case", measured["measure"], "ranking by"
    else:
        index, column, name = "network", measured["case"] + ", " + measured["measure"], "network"
    wide = measured.assign(column=column)
    wide = wide.pivot(index=index, columns="column", values="value")[list(dict.fromkeys(wide["column"]))]

    def text(column, value):
        if "AUROC" in column:
            return f"{value:.3f}"
        if "error" in column:
            return f"{100 * value:.2f}"
        return f"{value:.0f}" if "wrong" in column else f"{value:.0%}"

    rows = [[name, *(text(*each) for each in row.items())] for name, row in wide.iterrows()]
    return _table(" | ".join([name, *wide.columns]), rows, measured)


def cluster_mnist_table(runs):
    """All MNIST networks with Ray and without, in Markdown."""
    header = "networks | seeds | epochs | minutes without Ray | with Ray | ratio"
    line = (
        "{row.networks} | {row.seeds} | {row.epochs} | {row.minutes_without:.1f} | {row.minutes_with:.1f} "
        "| {row.ratio:.2f}"
    )
    minutes = {f"minutes_{way}": runs[f"seconds_{way}_ray"] / 60 for way in ("without", "with")}
    return _table_of(runs.assign(**minutes), header, line)


def fault_table(runs):
    """What came over clusters, and what differed in the end, in Markdown."""
    kinds = list(runs.loc[:, "worker_killed":"head_killed"])
    rows = [[kind.replace("_", " "), *map(str, runs[kind])] for kind in kinds]
    totals = [("faults in all", "faults"), ("complete runs", "runs"), ("differences", "differences")]
    rows += [[f"**{name}**", *(f"**{value}**" for value in runs[column])] for name, column in totals]
    return _table(" | ".join(["", *(f"{row.nodes} nodes, {row.dataset}" for row in runs.itertuples())]), rows, runs)


def overhead_table(runs):
    """What trainings on a cluster cost beyond themselves, in Markdown."""
    header = (
        "nodes | trainings queued | seconds asleep | seconds in all | beyond, for each training "
        "| of which the first laptop computes"
    )
    line = (
        "{row.nodes} | {row.queued} | {row.seconds_asleep:.0f} | {row.seconds:.0f} "
        "| {row.seconds_beyond_for_each:.2f} | {row.seconds_of_the_driver_for_each:.3f}"
    )
    most = runs.loc[runs["queued"].idxmax()]
    served = 30 / (most["seconds_of_the_driver_for_each"] / 2)  # two epochs each
    return (
        f"{_table_of(runs, header, line)}\n\n"
        f"At the last row's figures, the first laptop keeps up with {served:,.0f} trainings at once, if an epoch takes "
        "30 seconds and sends 1 MB."
    )


def sampler_table(trials):
    """What searches with different samplers found, in Markdown."""
    names = {"tpe": "Optuna's TPE", "random": "random"}
    rows = []
    for sampler, group in trials.groupby("sampler", sort=False):
        within = group[group["given_up"].isna()]
        longest = within[within["epochs"] == within["epochs"].max()]
        rows.append([
            names[sampler], f"{group['minutes'].iloc[0]}", f"{len(group)}", f"{len(group) - len(within)}",
            f"{within['epochs'].sum():.0f}", f"{100 * longest['accuracy'].max():.1f} %",
            f"{100 * group['finalist_accuracy'].max():.1f} %",
        ])  # fmt: skip
    header = "networks proposed by | minutes | networks | given up at once | epochs trained | best | best finalist"
    return _table(header, rows, trials)


def found_table(runs):
    """What the network that was found reaches, against improved_model.py, in Markdown."""
    seconds = pd.read_csv(RESULTS / "found_model_seconds.csv").set_index("precision")["ratio"]
    improved = pd.read_csv(RESULTS / "training_runs.csv")
    improved = improved[improved["run"] == "improved_model-cifar10"]
    accuracy = 100 * improved["test_accuracy"]
    network = NETWORKS["wang-improved"]
    parameters = network.build_model(datasets.INPUT_SHAPES[network.dataset], 10).count_params()
    found = 100 * runs["test_accuracy"]
    ratio = f"{seconds['float32']:.2f} in float32, {seconds['mixed_bfloat16']:.2f} in bfloat16"
    rows = [
        [
            "`improved_model.py`", f"{parameters:,}", f"{network.epochs}", f"{len(improved)}",
            _mean_and_range(accuracy, " %"), "1",
        ],
        [
            "`results/found_model.py`", f"{runs['parameters'].iloc[0]:,}", f"{runs['epochs'].iloc[0]}",
            f"{len(found)}", _mean_and_range(found, " %"), ratio,
        ],
    ]  # fmt: skip
    return _table("script | parameters | epochs | seeds | test accuracy | time of training", rows, runs)


TABLES = {
    "cluster_mnist": cluster_mnist_table,
    "cluster_faults": fault_table,
    "cluster_overhead": overhead_table,
    "search_trials": sampler_table,
    "found_model": found_table,
    "training_runs": trained_table,
    "training_speed": speed_table,
    "onednn_speed": onednn_table,
    "first_step": first_step_table,
    "kill_and_resume": kill_table,
    "power_cuts": power_cut_table,
    "hostile_files": hostile_table,
    "versions": version_table,
    "view_speed": view_table,
    "script_seconds": script_table,
    "precision": precision_table,
    "fast_model": fast_table,
    "fast_attempts": attempts_table,
    "fast_startup": startup_table,
    "fast_tutorials": tutorial_table,
    "fast_peer": peer_table,
    "fast_recipes": recipe_table,
    "fast_gpu": gpu_table,
    "fast_profile": profile_table,
    "fast_operations": operation_table,
    "ablation": ablation_table,
    "transfer": transfer_table,
    "picture_speed": picture_speed_table,
    "explorer_speed": explorer_speed_table,
}
TABLES_ABOUT = {
    "trust": trust_table,
    "training_runs": article_table,
    "learning_curves": epoch_table,
    "recipe_trials": choice_table,
}
DOCS = paths.PROJECT / "docs"
DOCUMENTS = [paths.PROJECT / "README.md", *sorted(DOCS.glob("*.md"))]
CURVES = [  # article, what, where the axis begins
    ("wang", "accuracy", None),
    ("jeffries", "accuracy", None),
    ("scadamale", "loss", None),
    ("bernet", "accuracy", 95),
]


def with_tables(text):
    """A Markdown text with each of its tables drawn up anew from what the comment before it names.

    <!-- training_speed.csv -->         a file in results/
    <!-- training_runs.csv: bernet -->  some of its rows: an article's, or a network's
    <!-- layers: bernet-best -->        a network's layers
    """

    def drawn_up(match):
        opening, name, ending, about = match.groups()
        if not ending:
            table = layer_table(about)
        else:
            results = pd.read_csv(RESULTS / f"{name}.csv")
            table = TABLES_ABOUT[name](results, about) if about else TABLES[name](results)
        return f"{opening}\n{table}\n<!-- end -->"

    return re.sub(r"(<!-- (\w+)(\.csv)?(?:: ([\w' -]+))? -->).*?<!-- end -->", drawn_up, text, flags=re.DOTALL)


def draw_charts():
    """Draws the charts in docs/ from the files in results/."""
    runs, epochs = (pd.read_csv(RESULTS / f"{name}.csv") for name in ("training_runs", "learning_curves"))
    networks = list(NETWORKS.values())
    runs = runs[runs["run"].isin([network.run_name(network.dataset) for network in networks])]
    drawing.save(comparison_figures.comparison_chart(comparison.compare(runs, networks)), DOCS / "comparison.png")
    for article, quantity, lowest in CURVES:
        histories = {
            network.name: [seed for _, seed in group.dropna(axis="columns", how="all").groupby("seed")]
            for network in networks
            if network.article == article
            and not (group := epochs[epochs["run"] == network.run_name(network.dataset)]).empty
        }
        page = comparison_figures.learning_curves(histories, quantity, lowest=lowest)
        drawing.save(page, DOCS / f"{article}-{quantity}.png")


def draw_search():
    """Draw in docs/ what the search with Optuna's sampler found."""
    from convnets.training import search, search_figures

    trials = pd.read_csv(RESULTS / "search_trials.csv")
    trials = trials[trials["sampler"] == "tpe"].reset_index(drop=True)
    page = search_figures.search_page(trials, search.importances(trials), search.front(trials))
    drawing.save(page, DOCS / "search.png")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", metavar="RUN", help="the name of a finished run in models/")
    folders = [paths.MODELS / name for name in parser.parse_args().runs]
    for folder in folders:
        if comparison.without_seed(folder.name) not in RUNS:
            parser.error(f"{folder.name} is none of {', '.join(RUNS)}, with or without -seedN")

    if folders:
        runs = [checkpoints.newest(folder)[0] for folder in folders]
        for run in runs:
            precision = run.run["options"].get("precision", "float32")
            if run.folder.name not in FAST and precision != "float32":
                parser.error(f"{run.folder.name} was trained in bfloat16: train it with --precision float32")
            if run.epoch < EPOCHS.get(comparison.without_seed(run.folder.name), 0):
                parser.error(f"{run.folder.name} is not finished: it has {run.epoch} epochs")
        _add("training_runs", [comparison.run_row(run) for run in runs])
        _add("learning_curves", [epoch for run in runs for epoch in _epochs(run)])

    stashed = paths.PRETRAINED
    for folder in folders:
        if folder.name in [*STASHED, *FAST]:
            stash(folder, stashed / f".{folder.name}")  # whole before the old one goes
            shutil.rmtree(stashed / folder.name, ignore_errors=True)
            (stashed / f".{folder.name}").rename(stashed / folder.name)

    draw_charts()
    draw_search()
    for document in DOCUMENTS:
        document.write_text(with_tables(document.read_text(encoding="utf-8")), encoding="utf-8")


def _epochs(checkpoint):
    """The rows of a run in results/learning_curves.csv."""
    run, seed = comparison.without_seed(checkpoint.folder.name), checkpoint.run["options"]["seed"]
    return [{"run": run, "seed": seed, **row} for row in checkpoint.history]


def _add(name, rows):
    """Adds rows to a file in results/; what was there of the same runs goes."""
    path = RESULTS / f"{name}.csv"
    new, old = pd.DataFrame(rows), pd.read_csv(path) if path.exists() else pd.DataFrame(columns=["run", "seed"])
    of_the_same_runs = old.set_index(["run", "seed"]).index.isin(new.set_index(["run", "seed"]).index)
    table = pd.concat([old[~of_the_same_runs], new])  # the columns stay in their order
    table["run"] = pd.Categorical(table["run"], RUNS, ordered=True)
    for column in table.columns.intersection(["seed", "epoch"]):
        table[column] = table[column].astype(int)
    table.sort_values(["run", "seed"], kind="stable").round(5).to_csv(path, index=False)


if __name__ == "__main__":
    main()
