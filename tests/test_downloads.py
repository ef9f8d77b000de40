import contextlib
import hashlib
import http.server
import os
import socket
import threading
import time

import pytest

from convnets.data import cifar10, downloads, mnist
from convnets.errors import UserError

CONTENT = bytes(range(256)) * 2000
OFFICIAL = (cifar10.DOWNLOAD, mnist.DOWNLOAD)  # as they are before a test changes them
CONNECT_SECONDS = downloads.CONNECT_SECONDS


class Handler(http.server.BaseHTTPRequestHandler):
    """A host that behaves as the requested path says."""

    def do_GET(self):
        self.server.requests.append(self.path)
        getattr(self, self.path.strip("/").replace("-", "_"))()

    def reply(self, content, *, status=200, promised=None, location=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if promised is None else promised))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # the check of the host hangs up early
            self.wfile.write(content)

    def sound(self):
        self.reply(CONTENT)

    def missing(self):
        self.reply(b"not here", status=404)

    def out_of_order(self):
        self.reply(b"try later", status=503)

    def wrong(self):
        self.reply(b"<html>log in to this network first</html>")

    def cut_off(self):
        self.reply(CONTENT[:1000], promised=len(CONTENT))
        self.close_connection = True

    def cut_off_once(self):
        if self.server.requests.count("/cut-off-once") <= 2:  # the check of the host, then the first download
            self.cut_off()
        else:
            self.sound()

    def redirected(self):
        self.reply(b"", status=302, location="/sound")

    def redirected_in_a_circle(self):
        self.reply(b"", status=302, location="/redirected-in-a-circle")

    def silent(self):
        self.server.closing.wait(20)

    def stalled(self):
        self.reply(CONTENT[:1000], promised=len(CONTENT))
        self.server.closing.wait(20)

    def log_message(self, *_):
        pass


@pytest.fixture
def impatient(monkeypatch):
    """Wait for a host for a second only."""
    monkeypatch.setattr(downloads, "CONNECT_SECONDS", 1)
    monkeypatch.setattr(downloads, "READ_SECONDS", 1)


@pytest.fixture
def host(monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)  # pooch's pause before a second try
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.requests, server.closing = [], threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    thread.join()
    server.server_close()


def offer(host, *paths):
    address = f"http://127.0.0.1:{host.server_port}"
    return downloads.Download("data.bin", hashlib.sha256(CONTENT).hexdigest(), tuple(f"{address}/{p}" for p in paths))


@pytest.mark.parametrize(
    ("paths", "answered"),
    [
        (["sound", "missing"], "/sound"),
        (["redirected"], "/sound"),
        (["missing", "sound"], "/sound"),
        (["out-of-order", "sound"], "/sound"),
        (["wrong", "sound"], "/sound"),
        (["cut-off", "sound"], "/sound"),
        (["redirected-in-a-circle", "sound"], "/sound"),
        (["cut-off-once"], "/cut-off-once"),
    ],
)
def test_the_first_host_that_really_delivers_is_taken(paths, answered, host, tmp_path):
    downloads.fetch(offer(host, *paths), tmp_path / "new" / "folder")
    if os.name == "posix":  # other users of a shared folder can read it
        assert (tmp_path / "new" / "folder" / "data.bin").stat().st_mode & 0o444 == 0o444
    assert (tmp_path / "new" / "folder" / "data.bin").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["data.bin"]
    assert host.requests[-1] == answered


def test_the_official_host_is_asked_first_and_the_mirror_not_at_all(host, tmp_path):
    downloads.fetch(offer(host, "sound", "missing"), tmp_path)
    assert set(host.requests) == {"/sound"}


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("missing", "answers 404"),
        ("out-of-order", "answers 503"),
        ("wrong", "wrong checksum"),
        ("cut-off", "closed the connection early"),
    ],
)
def test_no_host_delivers(path, reason, host, tmp_path):
    with pytest.raises(downloads.Unavailable, match=rf"can't download data.bin \(127.0.0.1: .*{reason}"):
        downloads.fetch(offer(host, path), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("path", "reason"), [("silent", "does not answer"), ("stalled", "stopped sending")])
def test_nobody_waits_for_ever(path, reason, host, impatient, tmp_path):
    with pytest.raises(downloads.Unavailable, match=rf"can't download data.bin \(127.0.0.1: .*{reason}"):
        downloads.fetch(offer(host, path), tmp_path)
    assert list(tmp_path.iterdir()) == []
    downloads.fetch(offer(host, path, "sound"), tmp_path)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT


def test_nobody_listens(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/sound"
        with pytest.raises(downloads.Unavailable, match="is unreachable"):
            downloads.fetch(downloads.Download("data.bin", "0" * 64, (url,)), tmp_path)


def test_a_setting_of_this_machine_that_is_wrong_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "no-such-certificates.pem"))
    with pytest.raises(downloads.Unavailable, match=r"request failed, .*no-such-certificates\.pem"):
        downloads.fetch(downloads.Download("data.bin", "0" * 64, ("https://127.0.0.1:9/sound",)), tmp_path)


def test_a_slow_host_is_given_up_unless_it_is_the_last(host, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(downloads, "GRACE_SECONDS", 0)
    monkeypatch.setattr(downloads, "MINIMUM_BYTES_PER_SECOND", float("inf"))
    downloads.fetch(offer(host, "redirected", "sound"), tmp_path)
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert host.requests[-2:] == ["/sound", "/sound"]  # check and download from the second host
    assert capsys.readouterr().out.count("Downloading data.bin") == 2


def test_dead_hosts_cost_at_most_15_seconds(host, tmp_path, impatient):
    """A host that never answers is asked once. The official host comes first."""
    with pytest.raises(downloads.Unavailable):
        downloads.fetch(offer(host, "silent", "silent", "silent"), tmp_path)
    assert host.requests == ["/silent"] * 3
    for download in OFFICIAL:
        assert len(download.urls) >= 2
        assert len(download.urls) * CONNECT_SECONDS <= 15
    assert [download.urls[0].split("/")[2] for download in OFFICIAL] == ["www.cs.toronto.edu", "storage.googleapis.com"]


def test_a_folder_that_can_not_be_written_to(host, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"can't write to .*file.*--data-dir") as refused:
        downloads.fetch(offer(host, "sound"), tmp_path / "file")
    assert refused.value.remedy == "choose another folder with --data-dir"
