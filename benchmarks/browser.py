"""The Chromium that is installed, and where a place of a Bokeh plot is on its screen."""

import shutil

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PLACE = """([name, x, y]) => {
  const model = Bokeh.documents.map(each => each.get_model_by_name(name)).find(each => each)
  const view = Bokeh.index.find_one_by_id(model.id)
  const canvas = view.canvas_view.el.getBoundingClientRect()
  return [canvas.left + view.frame.x_scale.compute(x), canvas.top + view.frame.y_scale.compute(y)]
}"""


def start(playwright):
    """Start Chromium without a window. playwright: as sync_playwright() gives it."""
    return playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
