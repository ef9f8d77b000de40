"""How fast does the page of explore.py answer? Measured through a real browser. Writes results/explorer_speed.csv.

    python -m benchmarks.explorer_speed       about five minutes; needs Chromium, CIFAR-10 and MNIST

The page shows the improved network on CIFAR-10, and for strokes the network for MNIST. Times run from the event in the
browser, a move of the mouse perhaps, to new numbers in the plot that shows the answer. The start counts from the
command to the first answer, without the seconds of a process that only imports Keras.
"""

import argparse
import contextlib
import random
import signal
import subprocess
import sys
import time

import numpy as np

from benchmarks import results
from benchmarks.browser import PLACE, start
from convnets import paths

RESULTS = paths.RESULTS / "explorer_speed.csv"
TIMES, MANY = 40, 1500
IMPORTS = "from convnets import cli\nwith cli.importing_keras(): import keras"
WATCH = """([name, event]) => {
  const model = Bokeh.documents.map(each => each.get_model_by_name(name)).find(each => each)
  const source = model.renderers[0].data_source
  const order = window.order = (window.order ?? 0) + 1  // so that earlier calls no longer count
  window.seconds = null
  let started = null
  window.addEventListener(event, () => { started ??= performance.now() }, {capture: true, once: true})
  const seen = () => {
    if (order !== window.order || started === null || window.seconds !== null) return
    window.seconds = (performance.now() - started) / 1000
  }
  source.connect(source.properties.data.change, seen)
}"""


SIZE = """name => {
  const model = Bokeh.documents.map(each => each.get_model_by_name(name)).find(each => each)
  return [model.x_range.end, model.y_range.start]
}"""


@contextlib.contextmanager
def page(browser, run, query=""):
    """Start explore.py on a run, and open its page. Gives the browser's page, the process and the seconds it took."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "explore.py", "--no-browser", "--run", run],
        cwd=paths.PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )
    tab = browser.new_page(viewport={"width": 1440, "height": 2400})
    try:
        address = process.stdout.readline().removeprefix("The page is at ").split(";")[0]
        tab.goto(f"{address}/{query}")
        tab.get_by_text("Unfamiliarity").first.wait_for(timeout=120_000)
        seconds = time.perf_counter() - started
        yield tab, process, seconds
    finally:
        tab.close()
        process.send_signal(signal.SIGINT)
        process.wait()


def measure(tab, plot, event, act):
    """Return the seconds from an event in the browser, which act() causes, until a plot has other data."""
    tab.evaluate(WATCH, [plot, event])
    act()
    end = time.monotonic() + 5
    while (seconds := tab.evaluate("window.seconds")) is None and time.monotonic() < end:
        tab.wait_for_timeout(5)
    return np.nan if seconds is None else seconds


def place(tab, plot, x, y):
    return tab.evaluate(PLACE, [plot, x, y])


def row(what, seconds):
    """Return a row of the table: median and 95th percentile, of the times at which something changed."""
    seen = np.array(seconds)[~np.isnan(seconds)]
    percentile = float(np.quantile(seen, 0.95))
    return {"what": what, "times": len(seen), "median": float(np.median(seen)), "percentile_95": percentile}


def resident(pid):
    """Return the memory of a process in GB."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1e6


def measure_start(browser):
    def importing():
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", IMPORTS], cwd=paths.PROJECT, check=True, capture_output=True)
        return time.perf_counter() - started

    whole, keras = [], []
    for _ in range(3):
        with page(browser, "improved_model-cifar10") as (_, _, seconds):
            whole.append(seconds)
        keras.append(importing())
    beyond = float(np.median(whole) - np.median(keras))
    return {"what": "start, beyond importing Keras", "times": 3, "median": beyond, "percentile_95": np.nan}


def measure_clicks(tab):
    layers, channels, maps = [], [], []
    for number in range(1, TIMES + 1):
        column, line = number % 4, number // 4 % 4
        x, y = place(tab, "strip1", 17 * column + 8, 17 * line + 8)
        layers.append(measure(tab, "maps1", "pointerdown", lambda x=x, y=y: tab.mouse.click(x, y)))
        width, height = tab.evaluate(SIZE, "maps1")  # another channel each time, in the upper half of the plot
        tab.wait_for_timeout(1000)
        x, y = place(tab, "maps1", width * (0.1 + 0.2 * (number % 5)), height * (0.1 + 0.1 * (number % 4)))
        channels.append(measure(tab, "map1", "pointerdown", lambda x=x, y=y: tab.mouse.click(x, y)))
        tab.wait_for_timeout(1000)
    tab.get_by_role("button", name="Why", exact=True).click()
    tab.wait_for_timeout(15_000)
    for name in ["cat", "dog", "frog", "ship", "deer", "bird", "truck", "horse"] * 2:
        choose = lambda name=name: tab.get_by_label("Explain").select_option(name)  # noqa: E731
        maps.append(measure(tab, "Occlusion1", "input", choose))
        tab.wait_for_timeout(4000)
    return [
        row("click on a layer", layers),
        row("click on a channel", channels),
        row("occlusion map of 841 places", maps),
    ]


def main(argv=None):
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(argv)
    from playwright.sync_api import sync_playwright

    chance, rows = random.Random(0), []

    def random_place(side):
        return chance.uniform(2, side), chance.uniform(2, side)

    with sync_playwright() as playwright:
        browser = start(playwright)
        rows.append(measure_start(browser))
        with page(browser, "improved_model-cifar10") as (tab, process, _):
            tab.wait_for_timeout(8000)
            rows += measure_clicks(tab)
            moves = []
            for number in range(MANY):
                x, y = place(tab, "hidden1", *random_place(30))
                if number < 4 * TIMES:
                    moves.append(measure(tab, "answer1", "mousemove", lambda x=x, y=y: tab.mouse.move(x, y)))
                else:
                    tab.mouse.move(x, y)
            rows.append(row("patch moved", moves))
            memory = resident(process.pid)
        with page(browser, "basic_model-mnist") as (tab, _, _):
            tab.wait_for_timeout(5000)
            strokes = []
            for _ in range(TIMES):
                (x, y), (to_x, to_y) = (place(tab, "pad", *random_place(270)) for _ in range(2))
                tab.mouse.move(x, y)
                tab.mouse.down()
                tab.mouse.move((x + to_x) / 2, (y + to_y) / 2)
                tab.mouse.move(to_x, to_y)
                strokes.append(measure(tab, "answer1", "mouseup", tab.mouse.up))
                tab.wait_for_timeout(500)
            rows.append(row("stroke drawn", strokes))
        browser.close()
    keras = subprocess.run(
        [sys.executable, "-c", f"{IMPORTS}\nimport os; print(os.getpid()); print(open('/proc/self/status').read())"],
        cwd=paths.PROJECT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    baseline = next(int(line.split()[1]) for line in keras.splitlines() if line.startswith("VmRSS")) / 1e6
    rows.append({"what": f"memory beyond Keras after {MANY} moves, GB", "times": 1, "median": memory - baseline,
                 "percentile_95": np.nan})  # fmt: skip
    results.record(RESULTS, rows, ["what"])


if __name__ == "__main__":
    main()
