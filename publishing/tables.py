"""Make the tables of the documents from the files in results/, in Markdown.

The table of a file is made by the function with its name. It takes what the file holds, as a pandas.DataFrame, and,
where a file has several tables, which one is wanted.
"""

import functools
import math
import re

import pandas as pd

from benchmarks import choose_recipe
from benchmarks.ablation import VARIANTS, of_85
from benchmarks.onednn_speed import BATCH_SIZES
from compare_models import networks
from convnets import paths
from convnets.data import datasets
from convnets.training import comparison

RESULTS = paths.RESULTS
NETWORKS = networks()
PUBLISHED = {network.run_name(network.dataset): network.published for network in NETWORKS.values()}
RUNS_OF_WANG = ["basic_model-cifar10", "improved_model-cifar10", "basic_model-mnist", "basic_model-digits"]
TABLES = {}  # those that a document can name


def with_tables(text):
    """Return a Markdown text with each of its tables made anew from what the comment before it names.

    <!-- training_speed.csv -->         a file in results/
    <!-- training_runs.csv: bernet -->  some of its rows: an article's, or a network's
    <!-- layers: bernet-best -->        a network's layers
    """

    def made(match):
        opening, name, ending, about = match.groups()
        results = [pd.read_csv(RESULTS / f"{name}.csv")] if ending else []
        table = TABLES[name](*results, *([about] if about else []))
        return f"{opening}\n{table}\n<!-- end -->"

    return re.sub(r"(<!-- (\w+)(\.csv)?(?:: ([\w' -]+))? -->).*?<!-- end -->", made, text, flags=re.DOTALL)


def of_a_document(function):
    TABLES[function.__name__] = function
    return function


def of_one_device(function):
    """Make a table of the rows of one device, that of most of them: those of different devices can't be compared."""

    @functools.wraps(function)
    def make(results, *about):
        return function(choose_recipe.of_device(results), *about)

    return make


# ---------------------------------------------------------------- parts of tables


def table(header, rows, results=None):
    """Return a table of rows of texts below a header, "a | b", and on what device its results were measured."""
    lines = [f"| {header} |", "|" + "---|" * (header.count("| ") + 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines if results is None else [*lines, "", measured_on(results)])


def table_of(results, header, line):
    """Return a table with a line, "{row.script} | {row.seconds:.1f}", for each row of results."""
    return table(header, [[line.format(row=row)] for row in results.itertuples()], results)


def table_of_sums(results, header, group, columns):
    """Return a table of the sums of whole numbers in some columns for each group, and in all."""
    sums = results.groupby(group, sort=False)[columns].sum()
    sums.loc["**in all**"] = sums.sum()
    return table(header, [[name, *(f"{value:,}" for value in row)] for name, row in sums.iterrows()], results)


def table_of_cells(cells, results=None):
    """Return a table with the cells and the columns' names of a pandas.DataFrame."""
    return table(" | ".join(cells.columns), cells.astype(str).itertuples(index=False), results)


def measured_on(results):
    return f"Measured on: {'; '.join(results['device'].unique())}."


def processors(results):
    """Return the names of the processors on which results were measured, without how many cores they had."""
    return results["device"].str.split(": ").str[-1]


def mean_and_range(values, unit, digits=2):
    text = f"{values.mean():.{digits}f}{unit}"
    return text if len(values) == 1 else f"{text} ({values.min():.{digits}f} to {values.max():.{digits}f})"


def mean_with_interval(percentages):
    if len(percentages) == 1:
        return f"{percentages.iloc[0]:.2f} %"
    low, high = comparison.interval(percentages)
    return f"{percentages.mean():.2f} %, interval {low:.2f} to {high:.2f}"


# ---------------------------------------------------------------- the articles' networks


@of_a_document
def training_runs(runs, article=None):
    """Tabulate what the networks of an article, or of "all", reach; by default, those of wang's two scripts."""
    if article is None:
        return _runs_of_scripts(runs[runs["run"].isin(RUNS_OF_WANG)])
    networks = [network for network in NETWORKS.values() if article in (network.article, "all")]
    runs = runs[runs["run"].isin([network.run_name(network.dataset) for network in networks])]
    cells = comparison.printable(comparison.compare(runs, networks))
    return table_of_cells(cells if article == "all" else cells.drop(columns="article"), runs)


def _runs_of_scripts(runs):
    rows = [
        [
            f"`{name}`", f"{epochs}", f"{len(group)}", mean_and_range(100 * group["test_accuracy"], " %"),
            PUBLISHED.get(name, ""), f"{group['minutes'].min():.0f}",
        ]
        for (name, epochs), group in runs.groupby(["run", "epochs"], sort=False)
    ]  # fmt: skip
    return table("run | epochs | seeds | test accuracy, last epoch | the article says | minutes", rows, runs)


@of_a_document
def learning_curves(epochs, which):
    """Tabulate a network's means over the seeds after some epochs. which: "bernet-best 1 5 40"."""
    name, *wanted = which.split()
    network = NETWORKS[name]
    rows = epochs[(epochs["run"] == network.run_name(network.dataset)) & epochs["epoch"].isin(map(int, wanted))]
    means = rows.dropna(axis="columns", how="all").groupby("epoch").mean(numeric_only=True)
    cells = pd.DataFrame({"after epoch": means.index})
    for quantity, text in (("accuracy", lambda share: f"{100 * share:.2f} %"), ("loss", "{:.3f}".format)):
        for prefix, images in (("", "training"), ("held_out_", "held-out"), ("val_", "test")):
            if prefix + quantity in means:
                cells[f"{quantity}, {images} images"] = means[prefix + quantity].map(text).to_numpy()
    return table_of_cells(cells)


@of_a_document
def layers(name):
    """Tabulate a network's layers, with the shape of what each returns and how many parameters it has."""
    network = NETWORKS[name]
    model = network.build_model(datasets.INPUT_SHAPES[network.dataset], 10)
    rows = [
        [
            f"`{type(layer).__name__}`" + (f" {layer.name}" if layer.weights else ""),
            " x ".join(map(str, layer.output.shape[1:])),
            f"{layer.count_params():,}" if layer.weights else "",
        ]
        for layer in model.layers
    ]
    return table("layer | returns | parameters", [*rows, ["all", "", f"{model.count_params():,}"]])


@of_a_document
@of_one_device
def precision(runs, in_float32=None):
    """Tabulate what the article's networks reach in each precision.

    runs: those in bfloat16. in_float32: rows as in training_runs.csv, where they are by default.
    """
    if in_float32 is None:
        in_float32 = pd.read_csv(RESULTS / "training_runs.csv")
    rows, devices = [], [runs["device"]]
    for script, group in runs.groupby("script"):
        exact = in_float32[(in_float32["run"] == f"{script}-cifar10") & (in_float32["precision"] == "float32")]
        accuracies = [100 * exact["test_accuracy"], 100 * group["test_accuracy"]]
        apart = f"{accuracies[1].mean() - accuracies[0].mean():+.2f}"
        columns = (column for each in accuracies for column in (f"{len(each)}", mean_and_range(each, " %")))
        rows.append([f"`{script}.py`", *columns, apart])
        devices.append(exact["device"])
    header = "script | seeds in float32 | test accuracy | seeds in bfloat16 | test accuracy | points apart"
    return table(header, rows, pd.concat(devices).to_frame())


# ---------------------------------------------------------------- speed


@of_a_document
def training_speed(speeds):
    """Tabulate the overhead over plain Keras."""
    header = "network | measured | against | processor | epochs of each | ratio of seconds an epoch"
    line = "{row.network} | {row.measured} | {row.peer} | {row.processor} | {row.epochs} | {row.ratio:.2f}"
    return table_of(speeds.assign(processor=processors(speeds)), header, line)


@of_a_document
def onednn_speed(speeds):
    """Tabulate how much faster oneDNN is."""
    speeds = speeds.assign(order=speeds["network"].map(list(BATCH_SIZES).index))
    header = "network | batch | measured | seconds | without oneDNN | ratio"
    line = (
        "{row.network} | {row.batch_size} | {row.measured} | {row.seconds:.1f} | {row.seconds_without:.1f} "
        "| {row.ratio:.2f}"
    )
    return table_of(speeds.sort_values(["order", "measured"]), header, line)


@of_a_document
def first_step(steps):
    """Tabulate how much sooner a first training step ends."""
    line = "`{row.network}.py` | {row.seconds:.1f} | {row.plain_seconds:.1f} | {row.ratio:.2f}"
    return table_of(steps, "network | seconds | seconds, Keras alone | ratio", line)


@of_a_document
def view_speed(speeds):
    """Tabulate how fast the views compute what they show."""
    speeds = speeds.assign(difference=speeds["largest_difference"].map("{:.0e}".format, na_action="ignore").fillna(""))
    times = speeds["times_faster"].map(lambda times: f"{times:.0f}" if times >= 10 else f"{times:.1f}")
    header = "measured | seconds | against | seconds | calls of each | times faster | largest difference"
    line = (
        "{row.measured} | {row.seconds:.2f} | {row.peer} | {row.peer_seconds:.2f} | {row.repeats} "
        "| {row.times} | {row.difference}"
    )
    return table_of(speeds.assign(times=times), header, line)


@of_a_document
def script_seconds(scripts):
    """Tabulate how long the scripts that look into a network take."""
    header = (
        "script | processor | seconds | of them importing Keras and loading CIFAR-10 "
        "| `import keras`, then loading | `--help`"
    )
    line = (
        "`{row.script}.py` | {row.processor} | {row.seconds:.1f} "
        "| {row.importing_keras_and_loading_data_seconds:.1f} | {row.one_by_one_seconds:.1f} | {row.help_seconds:.2f}"
    )
    return table_of(scripts.assign(processor=processors(scripts)), header, line)


@of_a_document
def explorer_speed(measured):
    """Tabulate how fast the page of explore.py answers."""
    rows = [
        [
            row.what, row.processor, f"{row.median:.3g}",
            "" if math.isnan(row.percentile_95) else f"{row.percentile_95:.3g}",
        ]
        for row in measured.assign(processor=processors(measured)).itertuples()
    ]  # fmt: skip
    return table("what, in seconds unless it says otherwise | processor | median | 95th percentile", rows, measured)


@of_a_document
def picture_speed(measured):
    """Tabulate how long the reader's own pictures take."""
    return table_of(measured, "what | seconds besides importing Keras", "{row.measured} | {row.seconds:.1f}")


# ---------------------------------------------------------------- fast_model.py


@of_a_document
@of_one_device
def fast_model(runs):
    """Tabulate what fast_model.py reaches, and how fast. The interval is that of what counts."""
    rows = []
    for target, group in runs.groupby("target"):
        plain, views = 100 * group["test_accuracy"], 100 * group["test_accuracy_with_views"]
        low, high = comparison.interval(plain if target < 90 else views)
        rows.append([
            f"{target:g}", f"{len(group)}", mean_and_range(plain, " %"), mean_and_range(views, " %"),
            "" if len(group) == 1 else f"{low:.2f} to {high:.2f}", mean_and_range(group["training_seconds"], "", 1),
            f"{group['compilation_seconds'].median():.0f}", f"{group['process_seconds'].median():.0f}",
        ])  # fmt: skip
    header = "`--target` | seeds | test accuracy | with six views | 95 % interval of what counts | seconds of training"
    return table(f"{header} | compiling | whole program", rows, runs)


@of_a_document
def fast_attempts(runs):
    """Tabulate earlier recipes, with their test accuracies."""
    settings = ["target", "filters", "epochs", "batch_size", "shift", "cutout", "learning_rate"]
    rows = [
        [
            *(f"{value:g}" if isinstance(value, float) else str(value) for value in recipe), str(len(group)),
            *(mean_and_range(100 * group[f"test_accuracy{views}"], " %") for views in ("", "_with_views")),
            mean_and_range(group["training_seconds"], "", 0),
        ]
        for recipe, group in runs.groupby(settings)
    ]  # fmt: skip
    header = "target | filters | epochs | batch | shift | cutout | rate | seeds | test accuracy | with six views"
    return table(f"{header} | seconds of training", rows, runs)


@of_a_document
@of_one_device
def fast_startup(repeats):
    """Tabulate what comes before a training."""
    medians = repeats.drop(columns="repeat").median(numeric_only=True)
    rows = [[what, f"{seconds:.1f}"] for what, seconds in medians.items()]
    return table("before the first step | seconds", rows, repeats)


@of_a_document
@of_one_device
def fast_tutorials(runs):
    """Tabulate how long the article's networks take to what fast_model.py reaches in seconds."""
    ours = choose_recipe.of_device(pd.read_csv(RESULTS / "fast_model.csv"), runs["device"].iloc[0])
    ours = ours.groupby("target")["training_seconds"].mean()
    runs = runs.assign(ours=runs["target"].map(ours), seconds=runs["epochs"] * runs["seconds_an_epoch_bfloat16"])
    runs["times_faster"] = runs["seconds"] / runs["ours"]
    header = "to test accuracy | script | epochs | seconds an epoch | seconds | `fast_model.py` | times faster"
    line = (
        "{row.target} % | `{row.script}.py` | {row.epochs} | {row.seconds_an_epoch_bfloat16:.1f} | {row.seconds:.0f} "
        "| {row.ours:.0f} | {row.times_faster:.0f}"
    )
    return table_of(runs, header, line)


@of_a_document
def fast_peer(runs):
    """Tabulate an epoch of the network for 94 % here and in bare PyTorch."""
    names = {"autocast": "float32 weights, bfloat16 computations", "bfloat16": "bfloat16 throughout"}
    header = "bare PyTorch | batch | seconds an epoch | ours, in bfloat16 | ours / PyTorch"
    line = (
        "{row.precision} | {row.batch_size} | {row.seconds_an_epoch:.0f} "
        "| {row.our_seconds_an_epoch:.0f} | {row.ratio:.2f}"
    )
    return table_of(runs.replace({"precision": names}), header, line)


@of_a_document
@of_one_device
def fast_recipes(runs):
    """Tabulate airbench94's recipes and ours, trained in turn."""
    rows = [
        [
            "`fast_model.py`" if recipe == "ours" else f"airbench94, {recipe}", f"{epochs:.1f}", f"{len(group)}",
            f"{group['test_accuracy'].mean():.2%}", f"{group['test_accuracy_with_views'].mean():.2%}",
            f"{group['seconds'].mean():.0f}",
        ]
        for (recipe, epochs), group in runs.groupby(["recipe", "epochs"])
    ]  # fmt: skip
    return table("recipe | epochs | seeds | test accuracy | with six views | seconds", rows, runs)


@of_a_document
@of_one_device
def fast_gpu(runs):
    """Tabulate runs to 94 % on a GPU."""
    rows = [
        [
            f"`{recipe}`" if recipe.endswith(".py") else recipe, f"{group['epochs'].iloc[0]:.0f}", f"{len(group)}",
            f"{group['test_accuracy'].mean():.2%}", mean_with_interval(100 * group["test_accuracy_with_views"]),
            mean_and_range(group["seconds"], "", 1),
        ]
        for recipe, group in runs.groupby("recipe")
    ]  # fmt: skip
    return table("recipe | epochs | seeds | test accuracy | with six views | seconds", rows, runs)


@of_a_document
@of_one_device
def fast_profile(parts):
    """Tabulate where the time of a step of the network for 94 % goes."""
    gflops, peak = parts.iloc[0][["gflops", "peak_gflops"]]
    rows = [[row.part, f"{row.share_of_time:.0%}"] for row in parts.iloc[1:].itertuples()]
    speed = f"{gflops:.0f} GFLOP/s in bfloat16, {gflops / peak:.0%} of the matrix product's {peak:.0f}."
    return f"{speed}\n\n{table('part of a step | share of its time', rows, parts)}"


@of_a_document
@of_one_device
def fast_operations(variants):
    """Tabulate an epoch of the network for 94 % with other operations, in both precisions."""
    seconds = variants.pivot(index="variant", columns="precision", values="seconds_an_epoch")
    rows = [
        [name, *(f"{value:.0f} | {value / seconds[precision]['all tricks']:.2f}" for precision, value in row.items())]
        for name, row in seconds.reindex(VARIANTS).dropna().iterrows()
    ]
    header = " | ".join(f"seconds an epoch in {precision} | times as long" for precision in seconds)
    return table(f"| {header}", rows, variants)


@of_a_document
@of_one_device
def ablation(runs):
    """Tabulate what each trick brings in an earlier recipe for 85 %, and in longer runs."""
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
    return table(f"training with | {accuracies} | seconds of {trainings[0]} epochs | times as long", rows, runs)


@of_a_document
def recipe_trials(trials, target):
    """Tabulate the recipes tried for a target on held-out images, the fastest first."""
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
    return table(f"{header} | {columns}", rows, trials)


# ---------------------------------------------------------------- what is promised


@of_a_document
def kill_and_resume(trainings):
    """Tabulate runs to which something happened."""
    happened = ["stopped_and_continued", "wrong_clock", "disk_full", "folder_read_only", "out_of_memory"]
    names = " | ".join(name.replace("_", " ") for name in happened)
    return table_of_sums(
        trainings.assign(trainings=1).sort_values("case"),
        f"| runs | kills | of them amid a write | {names} | arrays that differ",
        "case",
        ["trainings", "kills", "killed_amid_a_write", *happened, "differences"],
    )


@of_a_document
def power_cuts(cuts):
    """Tabulate power cuts."""
    header = "epochs | operations on files | states of the disk | from the last epoch | from the one before | more lost"
    line = "{row.epochs} | {row.operations} | {row.states} "
    line += "| {row.from_the_last_epoch} | {row.from_the_one_before} | {row.lost_more}"
    return table_of(cuts, header, line)


@of_a_document
def hostile_files(kinds):
    """Tabulate hostile files."""
    header = "| cases | read correctly | other numbers | refused | failed"
    return table_of_sums(kinds, header, "kind", ["cases", "read", "other_numbers", "refused", "failed"])


@of_a_document
def versions(runs):
    """Tabulate the versions with which the tests pass."""
    header = "Python | requirements | TensorFlow | Keras | NumPy | tests | passed | skipped | processor | minutes"
    line = "{row.python} | {row.requirements} | {row.tensorflow} | {row.keras} | {row.numpy} | {row.tests} "
    line += "| {row.passed:,} | {row.skipped} | {row.processor} | {row.minutes:.0f}"
    return table_of(runs.assign(processor=processors(runs)), header, line)


# ---------------------------------------------------------------- the reader's own pictures


@of_a_document
@of_one_device
def transfer(runs):
    """Tabulate what networks reach on folders of pictures, from scratch and by transfer."""
    runs = runs.assign(network=runs["network"].replace({"transfer": "`transfer_model.py`"}))
    rows = []
    for (pictures, network), group in runs.groupby(["pictures", "network"], sort=False):
        accuracy, augmented = 100 * group["test_accuracy"], 100 * group["with_tta"].dropna()
        rows.append([
            pictures, network, f"{len(group)}", mean_and_range(accuracy, " %", 1),
            mean_and_range(augmented, " %", 1) if len(augmented) else "",
            f"{group['seconds'].min():.0f} to {group['seconds'].max():.0f}",
        ])  # fmt: skip
    header = "pictures | network | seeds | test accuracy | with test-time augmentation | seconds in all"
    return table(header, rows, runs)


@of_a_document
@of_one_device
def trust(measured, question):
    """Tabulate one of the questions of benchmarks/trust.py."""
    measured = measured[measured["question"] == question]
    if measured["measure"].nunique() == 1 and measured["network"].nunique() == 1:
        rows = [[row.case, f"{row.value:.1%}"] for row in measured.itertuples()]
        return table(f"case | {measured['measure'].iloc[0]}", rows, measured)
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
    return table(" | ".join([name, *wide.columns]), rows, measured)


# ---------------------------------------------------------------- many training runs, and searches


@of_a_document
def cluster_mnist(runs):
    """Tabulate all MNIST networks with Ray and without."""
    header = "networks | seeds | epochs | minutes without Ray | with Ray | ratio"
    line = (
        "{row.networks} | {row.seeds} | {row.epochs} | {row.minutes_without:.1f} | {row.minutes_with:.1f} "
        "| {row.ratio:.2f}"
    )
    minutes = {f"minutes_{way}": runs[f"seconds_{way}_ray"] / 60 for way in ("without", "with")}
    return table_of(runs.assign(**minutes), header, line)


@of_a_document
def cluster_faults(runs):
    """Tabulate what came over clusters, and what differed in the end."""
    kinds = list(runs.loc[:, "worker_killed":"head_killed"])
    rows = [[kind.replace("_", " "), *map(str, runs[kind])] for kind in kinds]
    totals = [("faults in all", "faults"), ("complete runs", "runs"), ("differences", "differences")]
    rows += [[f"**{name}**", *(f"**{value}**" for value in runs[column])] for name, column in totals]
    return table(" | ".join(["", *(f"{row.nodes} nodes, {row.dataset}" for row in runs.itertuples())]), rows, runs)


@of_a_document
@of_one_device
def cluster_overhead(runs):
    """Tabulate what training runs on a cluster cost beyond themselves."""
    header = (
        "nodes | runs queued | seconds asleep | seconds in all | beyond, for each run "
        "| of which the first laptop computes"
    )
    line = (
        "{row.nodes} | {row.queued} | {row.seconds_asleep:.0f} | {row.seconds:.0f} "
        "| {row.seconds_beyond_for_each:.2f} | {row.seconds_of_the_driver_for_each:.3f}"
    )
    most = runs.loc[runs["queued"].idxmax()]
    served = 30 / (most["seconds_of_the_driver_for_each"] / 2)  # two epochs each
    return (
        f"{table_of(runs, header, line)}\n\n"
        f"At the last row's figures, the first laptop keeps up with {served:,.0f} runs at once, if an epoch takes "
        "30 seconds and sends 1 MB."
    )


@of_a_document
@of_one_device
def search_trials(trials):
    """Tabulate what searches with different samplers found."""
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
    return table(header, rows, trials)


@of_a_document
@of_one_device
def found_model(runs):
    """Tabulate what the network that was found reaches, against improved_model.py."""
    seconds = choose_recipe.of_device(pd.read_csv(RESULTS / "found_model_seconds.csv")).set_index("precision")["ratio"]
    improved = choose_recipe.of_device(pd.read_csv(RESULTS / "precision.csv").query("script == 'improved_model'"))
    network = NETWORKS["wang-improved"]
    parameters = network.build_model(datasets.INPUT_SHAPES[network.dataset], 10).count_params()
    ratio = f"{seconds['float32']:.2f} in float32, {seconds['mixed_bfloat16']:.2f} in bfloat16"
    rows = [
        [
            "`improved_model.py`", f"{parameters:,}", f"{network.epochs}", f"{len(improved)}",
            mean_and_range(100 * improved["test_accuracy"], " %"), "1",
        ],
        [
            "`results/found_model.py`", f"{runs['parameters'].iloc[0]:,}", f"{runs['epochs'].iloc[0]}", f"{len(runs)}",
            mean_and_range(100 * runs["test_accuracy"], " %"), ratio,
        ],
    ]  # fmt: skip
    header = "script | parameters | epochs | seeds | test accuracy | time of training"
    return table(header, rows, pd.concat([improved, runs]))
