"""Draw the pictures of docs/explorer.md: start explore.py, use it in a browser, and photograph it.

    python -m publishing.explorer_pictures       some minutes

Needs Chromium and CIFAR-10.
"""

import io
import signal
import subprocess
import sys

from PIL import Image
from playwright.sync_api import sync_playwright

from benchmarks.browser import PLACE, start
from convnets import paths

DOCS = paths.PROJECT / "docs"
WIDTH = 1100  # pixels of the pictures


def photograph(page, name):
    """Save what the page shows, in few colours: they are enough for bars and small images."""
    png = page.screenshot(full_page=True)
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture = picture.resize((WIDTH, round(WIDTH * picture.height / picture.width)), Image.Resampling.LANCZOS)
    picture.quantize(200, dither=Image.Dither.NONE).save(DOCS / f"explorer-{name}.png", optimize=True)


def animate(page):
    """Save a patch that moves over the image while the bars follow."""
    frames = []
    for step in range(24):
        page.mouse.move(*page.evaluate(PLACE, ["hidden1", 4 + step, 17]))
        page.wait_for_timeout(150)
        parts = [page.locator(f'[data-plot="{plot}"]').screenshot() for plot in ("hidden1", "answer1")]
        pictures = [Image.open(io.BytesIO(part)).convert("RGB") for part in parts]
        frame = Image.new("RGB", (sum(each.width for each in pictures), pictures[0].height), "white")
        frame.paste(pictures[0], (0, 0))
        frame.paste(pictures[1], (pictures[0].width, 0))
        frames.append(frame.quantize(64, dither=Image.Dither.NONE))
    path = DOCS / "explorer-patch.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=120, loop=0, optimize=True)


def main():
    command = [sys.executable, "explore.py", "--no-browser", "--run", "improved_model-cifar10", "--port", "5400"]
    process = subprocess.Popen(command, cwd=DOCS.parent, stdout=subprocess.PIPE, text=True)
    address = process.stdout.readline().removeprefix("The page is at ").split(";")[0]
    try:
        with sync_playwright() as playwright:
            browser = start(playwright)
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            for name, query, seconds in (
                ("inside", "?index=16&layer1=conv4&channel1=20", 12),
                ("why", "?index=16&section=Why", 12),
                ("quality", "?section=How+good&show=cat,+taken+for+dog", 15),
                ("training", "?section=Training&trainings=['improved_model-cifar10','basic_model-cifar10']", 10),
                ("two", "?index=16&section=Why&second=fast_model-94-cifar10", 40),
            ):
                page.goto(f"{address}/{query}")
                page.get_by_text("Unfamiliarity").first.wait_for(timeout=120_000)
                page.wait_for_timeout(1000 * seconds)
                photograph(page, name)
            page.goto(f"{address}/?index=16&section=Why&patch=8")
            page.get_by_text("Unfamiliarity").first.wait_for()
            page.wait_for_timeout(8000)
            animate(page)
            browser.close()
    finally:
        process.send_signal(signal.SIGINT)


if __name__ == "__main__":
    main()
