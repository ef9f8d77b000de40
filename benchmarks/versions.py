"""Run the tests, and record with which versions of Python and of the packages they pass.

    python -m benchmarks.versions            the default tests, with what is installed
    python -m benchmarks.versions -m slow    other tests; further words are pytest's
    .ci/lowest python -m benchmarks.versions --requirements lowest    with the oldest versions allowed

Records nothing if a test fails.
"""

import argparse
import platform
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.results import record
from convnets import paths

RESULTS = paths.RESULTS / "versions.csv"
PACKAGES = ["tensorflow", "keras", "numpy"]


def counts(report):
    """Count what is in a report of pytest, a path to a JUnit XML file: {"passed": ..., "minutes": ...}."""
    suite = ElementTree.parse(report).getroot().find("testsuite")
    tests, failed, skipped = (int(suite.get(name)) for name in ("tests", "failures", "skipped"))
    failed += int(suite.get("errors"))
    return {
        "passed": tests - failed - skipped,
        "failed": failed,
        "skipped": skipped,
        "minutes": float(suite.get("time")) / 60,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requirements", choices=["newest", "lowest"], default="newest", help="what is installed")
    options, words = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", f"--junit-xml={report}", *words]
        exit_code = subprocess.run(command, cwd=paths.PROJECT, check=False).returncode
        if exit_code:
            sys.exit(exit_code)
        measured = counts(report)
    row = {
        "tests": " ".join(words) or "default",
        "python": platform.python_version(),
        "requirements": options.requirements,
        **{package: metadata.version(package) for package in PACKAGES},
        **measured,
    }
    record(RESULTS, [row], ["tests", "python", "requirements"])


if __name__ == "__main__":
    main()
