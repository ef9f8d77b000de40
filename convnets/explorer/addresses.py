"""Where the page is served. Imports no Panel."""

import contextlib
import os
import socket

from convnets.errors import UserError

PORTS = 20  # how many are tried


def names_of(host):
    """Return under which names a browser may ask for the page."""
    if host in ("127.0.0.1", "localhost"):
        return ["127.0.0.1", "localhost"]
    if host != "0.0.0.0":  # all addresses of this machine
        return [host.lower()]  # as browsers write it
    names = ["127.0.0.1", "localhost", socket.gethostname().lower()]
    with contextlib.suppress(OSError), socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing; the system says from which address it would
        names.append(probe.getsockname()[0])
    return names


def free_port(host, port):
    """Return the first free port from `port` on."""
    for tried in range(port, port + PORTS):
        with socket.socket() as probe:
            if os.name != "nt":  # where it would find ports free that are not
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, tried))
                return tried
            except OSError as error:
                reason = error.strerror
    raise UserError(
        f"can't listen on {host}, ports {port} to {port + PORTS - 1} ({reason}): name another --port or --host"
    )
