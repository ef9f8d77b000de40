"""Report what a comparison of training runs found: a table, and charts of it."""

import pandas as pd

from convnets import drawing
from convnets.training import comparison, comparison_figures


def report(runs, jobs, options):
    """Print the table of all runs, and draw the charts.

    runs: {network: list of Checkpoint}. jobs: {network: (dataset, epochs)}. options: of compare_models.py.
    """
    if not runs:
        return
    rows = []
    for network, its_runs in runs.items():
        dataset, epochs = jobs[network]
        name = network.run_name(dataset.name)  # a folder of pictures may be called flowers-seed1
        rows += [{**comparison.run_row(run, epochs), "run": name} for run in its_runs]
    of_folders = [dataset for dataset, _ in jobs.values() if dataset.folder]
    table = comparison.compare(pd.DataFrame(rows), list(runs), of_folders)
    print(f"\n{comparison.printable(table).to_string(index=False)}\n")
    drawing.save_table(table.set_index("network"), options.output_dir / "comparison.csv")
    histories = {network.name: [pd.DataFrame(run.history) for run in runs[network]] for network in runs}
    pages = {
        "comparison": comparison_figures.comparison_chart(table),
        "comparison-accuracy": comparison_figures.learning_curves(histories, "accuracy", lowest=options.accuracy_from),
        "comparison-loss": comparison_figures.learning_curves(histories, "loss"),
    }
    for name, page in pages.items():
        drawing.save(page, options.output_dir / f"{name}.png", show=options.show)
