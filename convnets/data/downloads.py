"""Download a file from the first of several hosts that delivers it."""

import contextlib
import dataclasses
import os
import threading
from urllib.parse import urlsplit

import pooch
import requests
from tqdm import tqdm

from convnets.errors import UserError

pooch.get_logger().setLevel("WARNING")

CONNECT_SECONDS = 4  # to wait for a host's first answer, so three dead hosts take 12 s
READ_SECONDS = 15  # to wait for the next byte
GRACE_SECONDS = 15  # after which a host must reach
MINIMUM_BYTES_PER_SECOND = 200_000  # on average, unless it is the last host


@dataclasses.dataclass(frozen=True)
class Download:
    """A file that several hosts offer, identical in every byte. The official host comes first."""

    filename: str
    sha256: str
    urls: tuple[str, ...]


class Unavailable(UserError):
    """Raised if no host delivers the file, or it can't be stored.

    reason: why, in a few words. remedy: what to do about it, unless that is to go online.
    """

    def __init__(self, message, reason, remedy=""):
        super().__init__(message)
        self.reason, self.remedy = reason, remedy


allowed = True  # the page of explore.py sends nothing to other machines, so it turns downloads off


def fetch(download, folder):
    """Download a file into a folder and return its path. The file appears there complete or not at all.

    Raises Unavailable if no host delivers it, or the folder is not writable.
    """
    if not allowed:
        raise Unavailable(f"{download.filename} is not on this machine", "downloads are turned off")
    problems = []
    for url in download.urls:
        host = urlsplit(url).hostname
        is_last = url == download.urls[-1]
        try:
            _check_host(url)
            print(f"Downloading {download.filename} from {host} to {folder}")
            with _ProgressBar(minimum_speed=0 if is_last else MINIMUM_BYTES_PER_SECOND) as progress:
                path = pooch.create(
                    path=folder,
                    base_url="",
                    registry={download.filename: f"sha256:{download.sha256}"},
                    urls={download.filename: url},
                    retry_if_failed=1,
                ).fetch(
                    download.filename,
                    downloader=pooch.HTTPDownloader(
                        progressbar=progress, chunk_size=2**16, timeout=(CONNECT_SECONDS, READ_SECONDS)
                    ),
                )
            with contextlib.suppress(OSError):
                os.chmod(path, 0o644)  # in a folder that several people share; pooch's is for its owner alone
            return path
        except requests.RequestException as error:
            problems.append(f"{host}: {_short_reason(error)}")
        except _TooSlow as error:
            problems.append(f"{host}: {error}")
        except ValueError:  # pooch's error for a wrong checksum
            problems.append(f"{host}: sent a file with a wrong checksum")
        except OSError as error:
            reason = f"can't write to {folder}: {error.strerror or error}"
            remedy = "choose another folder with --data-dir"
            raise Unavailable(f"{reason}; {remedy}", reason, remedy) from error
    reason = "; ".join(problems)
    raise Unavailable(
        f"can't download {download.filename} ({reason}): go online, or put the file into {folder}", reason
    )


def _check_host(url):
    """Raise requests.RequestException unless the host answers within CONNECT_SECONDS.

    The request runs in a thread, since the name look-up, which is part of it, has no timeout of its own.
    """
    outcome = [requests.ConnectTimeout()]

    def request():
        try:
            with requests.get(url, stream=True, timeout=CONNECT_SECONDS) as response:
                response.raise_for_status()
            outcome[0] = None
        except requests.RequestException as error:
            outcome[0] = error
        except Exception as error:  # wrong settings of this machine can fail in any way
            outcome[0] = requests.RequestException(error)

    thread = threading.Thread(target=request, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    if outcome[0] is not None:
        raise outcome[0]


class _TooSlow(Exception):
    pass


class _ProgressBar(tqdm):
    """A progress bar that raises _TooSlow if the average speed is below a minimum, in bytes per second."""

    def __init__(self, minimum_speed):
        super().__init__(unit="B", unit_scale=True, ncols=79)
        self._minimum_speed = minimum_speed

    def __bool__(self):
        return True  # pooch asks before the total is known, when tqdm raises an error

    def update(self, n=1):
        elapsed = self.format_dict["elapsed"]
        if elapsed > GRACE_SECONDS and self.n < self._minimum_speed * elapsed:
            raise _TooSlow(f"{self.n / elapsed / 1000:.0f} kB/s is too slow")
        return super().update(n)


def _short_reason(error):
    if isinstance(error, requests.HTTPError):
        return f"answers {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "does not answer"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "closed the connection early"
    if isinstance(error, requests.exceptions.SSLError):
        return "has no certificate that this machine trusts"
    if isinstance(error, requests.exceptions.ProxyError):
        return "is unreachable through the proxy"
    if "timed out" in str(error):
        return "stopped sending"
    if type(error) is requests.RequestException:
        return f"request failed, {error}"
    return "is unreachable"
