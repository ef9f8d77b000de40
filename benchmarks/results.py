"""Record measurements in results/. What one machine measured is never overwritten by another one."""

import concurrent.futures
import subprocess

import pandas as pd

from convnets import cli, files, paths


def record(path, rows, key):
    """Add measurements to a CSV file and print them. Earlier ones with the same key and device are replaced.

    rows: list of dicts. key: the columns that say what was measured; several rows may share a key.
    Each row also gets the device and the revision of the code. Floats are rounded to six significant digits.
    Earlier rows that name no device count as measured on this one.
    """
    with cli.importing_keras():  # not at the top, since some benchmarks time this import
        from convnets import provenance

    key, device = [*key, "device"], provenance.device()
    table = pd.DataFrame(rows).map(lambda value: float(f"{value:.6g}") if isinstance(value, float) else value)
    table = table.assign(device=device, revision=revision())
    print(table.to_string(index=False))
    if path.exists():
        old = pd.read_csv(path, dtype={"device": str, "revision": str})
        measured = old.fillna({"device": device}).set_index(key).index
        table = pd.concat([old[~measured.isin(table.set_index(key).index)], table])
    files.write(path, table.sort_values(key, kind="stable").to_csv(index=False))


def recorded(path, key):
    """Return what `record` has recorded on this device, as a set of tuples of the columns `key`."""
    from convnets import provenance

    if not path.exists():
        return set()
    rows = pd.read_csv(path)
    return set(rows.loc[rows["device"] == provenance.device(), key].itertuples(index=False, name=None))


def as_they_end(function, calls, jobs):
    """Yield function(*arguments) for each of `calls`, so many at once, as they end. After a failure, no more begin."""
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        try:
            for ended in concurrent.futures.as_completed([pool.submit(function, *arguments) for arguments in calls]):
                yield ended.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def revision():
    """Return the commit of the code, with "-dirty" if files have changed since, or "" outside a Git repository.

    Changes of the results themselves do not count: a benchmark that records several rows makes them.
    """
    try:
        return _git("describe", "--always") + "-dirty" * bool(
            _git("status", "--short", "--untracked-files=no", "--", ":!results/*.csv")
        )
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*words):
    command = ["git", *words]
    return subprocess.run(command, cwd=paths.PROJECT, capture_output=True, text=True, check=True).stdout.strip()
