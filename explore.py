"""Look inside a network in the browser: its answers, its layers, what it depends on, its mistakes, its training.

    python explore.py                              the newest run, or else the improved network of this project
    python explore.py --run basic_model-mnist      another one
    python explore.py --pictures holidays/         also your own pictures, from a folder

Opens a page on this machine, which no other machine can see. It shows most of what the visualize_*.py scripts draw,
live: move a patch over the image and watch the answer, click a layer, a channel, a cell of the confusion matrix. While
another terminal trains, its curves grow. Ctrl-C ends it.
"""

import contextlib
import importlib.util
import os
from pathlib import Path

from convnets import cli
from convnets.errors import UserError


def main(argv=None):
    parser = cli.new_parser("explore", __doc__)
    parser.add_argument(
        "--run", metavar="NAME", help="a folder in models/ or models/stashed/ (default: the newest run)"
    )
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="your own pictures, to choose from on the page")
    parser.add_argument("--data-dir", type=Path, metavar="FOLDER", help="where the dataset is")
    parser.add_argument(
        "--port",
        type=cli.whole_number(1024, 65515),
        default=5006,
        metavar="N",
        help="port of the page; if it is in use, the next free one (default: 5006)",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on (default: 127.0.0.1)"
    )
    parser.add_argument("--no-browser", action="store_true", help="only serve the page, do not open it")
    options = parser.parse_args(argv)

    from convnets.explorer import addresses, at_hand, loading

    runs = at_hand.candidates(options.run)
    if options.pictures:
        at_hand.pictures_in(options.pictures)  # is there any?
    port = addresses.free_port(options.host, options.port)
    if options.host not in ("127.0.0.1", "localhost"):
        print(
            f"Warning: anyone who can reach {options.host} can see this page and your pictures, and use this machine."
        )

    for package in ("bokeh", "panel"):  # while Keras is imported, no error is shown
        if importlib.util.find_spec(package) is None:
            raise UserError(f"the package {package} is not installed: pip install -r requirements.txt")
    loading.ahead(runs, options.data_dir)  # while the page starts, and the browser

    from convnets.explorer import server

    with contextlib.suppress(KeyboardInterrupt):
        server.serve(
            host=options.host, port=port, open_browser=not options.no_browser,
            pictures=options.pictures, data_dir=options.data_dir, default_run=options.run,
        )  # fmt: skip
    print("\nStopped.", flush=True)
    os._exit(130)  # at once, whatever is being computed


if __name__ == "__main__":
    cli.run(main)
