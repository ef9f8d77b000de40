"""One file from the first of several hosts that really delivers it."""

import dataclasses
import threading
from urllib.parse import urlsplit

import pooch
import requests
from tqdm import tqdm

from convnets.errors import UserError

pooch.get_logger().setLevel("WARNING")

CONNECT_SECONDS = 4  # a host that has not begun to answer by then is passed over: three dead ones cost 12 s
STALLED_SECONDS = 15  # without a single byte
PATIENCE_SECONDS = 15  # after which a host has to reach
SLOWEST_BYTES_A_SECOND = 200_000  # this speed on average, if there is another host to turn to


@dataclasses.dataclass(frozen=True)
class Download:
    """A file that several hosts offer, byte for byte the same; the official host comes first."""

    filename: str
    sha256: str
    urls: tuple[str, ...]


class Unavailable(UserError):
    """The file can't be had: no host delivered it, or it can't be stored. `reason` says why in a few words."""

    def __init__(self, message, reason):
        super().__init__(message)
        self.reason = reason


def fetch(download, folder):
    """Downloads a file into `folder` and returns its path. Under its name there is all of it, or nothing.

    Raises Unavailable when no host delivers it, or when the folder can't be written to.
    """
    problems = []
    for url in download.urls:
        host = urlsplit(url).hostname
        is_last = url == download.urls[-1]
        try:
            _knock(url)
            print(f"Downloading {download.filename} from {host} to {folder}")
            with _PatientProgress(is_last) as progress:
                return pooch.create(
                    path=folder,
                    base_url="",
                    registry={download.filename: f"sha256:{download.sha256}"},
                    urls={download.filename: url},
                    retry_if_failed=1,
                ).fetch(
                    download.filename,
                    downloader=pooch.HTTPDownloader(
                        progressbar=progress, chunk_size=2**16, timeout=(CONNECT_SECONDS, STALLED_SECONDS)
                    ),
                )
        except requests.RequestException as error:
            problems.append(f"{host}: {_in_a_few_words(error)}")
        except _TooSlow as error:
            problems.append(f"{host}: {error}")
        except ValueError:  # pooch's word for a wrong checksum
            problems.append(f"{host}: sent a file with a wrong checksum")
        except OSError as error:
            reason = f"can't write to {folder}: {error.strerror or error}"
            raise Unavailable(f"{reason}; name another folder with --data-dir", reason) from error
    reason = "; ".join(problems)
    raise Unavailable(
        f"can't download {download.filename} ({reason}): go online, or put the file into {folder}", reason
    )


def _knock(url):
    """Raises requests.RequestException unless the host answers soon; the name look-up, without a timeout, counts."""
    outcome = [requests.ConnectTimeout()]

    def knock():
        try:
            with requests.get(url, stream=True, timeout=CONNECT_SECONDS) as response:
                response.raise_for_status()
            outcome[0] = None
        except requests.RequestException as error:
            outcome[0] = error
        except Exception as error:  # settings of this machine can be wrong in any way
            outcome[0] = requests.RequestException(error)

    thread = threading.Thread(target=knock, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    if outcome[0] is not None:
        raise outcome[0]


class _TooSlow(Exception):
    pass


class _PatientProgress(tqdm):
    """A progress bar that gives up a host which is far too slow, unless it is the last one."""

    def __init__(self, is_last):
        super().__init__(unit="B", unit_scale=True, ncols=79)
        self._is_last = is_last

    def __bool__(self):
        return True  # pooch asks before there is a total, where tqdm raises an error

    def update(self, n=1):
        elapsed = self.format_dict["elapsed"]
        if not self._is_last and elapsed > PATIENCE_SECONDS and self.n < SLOWEST_BYTES_A_SECOND * elapsed:
            raise _TooSlow(f"{self.n / elapsed / 1000:.0f} kB/s is too slow")
        return super().update(n)


def _in_a_few_words(error):
    if isinstance(error, requests.HTTPError):
        return f"answers {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "does not answer"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "broke off"
    if isinstance(error, requests.exceptions.SSLError):
        return "has no certificate that this machine trusts"
    if isinstance(error, requests.exceptions.ProxyError):
        return "can't be reached through the proxy"
    if "timed out" in str(error):
        return "stalled"
    if type(error) is requests.RequestException:
        return f"can't be asked, {error}"
    return "can't be reached"
