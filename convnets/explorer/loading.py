"""Load the networks of the page, and Keras before the first one. Imports neither Keras nor Panel at the start."""

import contextlib
import threading

from convnets import cli
from convnets.explorer import at_hand

_importing = threading.Lock()


def load(names, data_dir=None):
    """Return the network.Network of the first of these runs whose test images are on this machine, or of the first."""
    threading.Thread(target=at_hand.read_ahead, args=(names[0], data_dir), daemon=True).start()
    with _importing, cli.importing_keras():
        from convnets.explorer import network
    networks = (network.load(name, data_dir) for name in names)
    return next((each for each in networks if each.run.dataset), None) or network.load(names[0], data_dir)


def ahead(names, data_dir=None):
    """Begin to load what `load` will be asked for, in a thread. What goes wrong is reported by `load` itself."""

    def quietly():
        with contextlib.suppress(Exception):
            load(names, data_dir)

    threading.Thread(target=quietly, daemon=True).start()
