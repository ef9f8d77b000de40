"""Where things are: the project's folders."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
MODELS = PROJECT / "models"  # the reader's runs
PRETRAINED = MODELS / "stashed"  # trained networks that come with the project
RESULTS = PROJECT / "results"  # what was measured
FIGURES = PROJECT / "figures"  # where pictures go
