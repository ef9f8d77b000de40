"""Imports go one way: scripts, explorer, views, training, architectures and data, shared modules."""

import ast

import pytest

from convnets import paths

LEVELS = {
    "": 0,
    "data": 1,
    "architectures": 1,
    "training": 2,
    "views": 3,
    "explorer": 4,
}  # "" for the modules that all share
MODULES = sorted((paths.PROJECT / "convnets").rglob("*.py"))


def name_of(path):
    return ".".join(path.relative_to(paths.PROJECT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path):
    """The full names of all that a module imports, also within functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(name):
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in LEVELS else ""


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_nothing_from_above(path):
    above = {script.stem for script in paths.PROJECT.glob("*.py")} | {"benchmarks", "publishing", "tests"}
    for imported in imports_of(path):
        assert imported.split(".")[0] not in above, imported
        if imported.startswith("convnets.") and room(name_of(path)) != room(imported):
            light = imported == "convnets.data.DATASETS"  # the names of the datasets, for the options
            lazy = name_of(path) == "convnets.cli" and imported.startswith(
                ("convnets.training.training", "convnets.data.datasets")
            )
            assert LEVELS[room(imported)] < LEVELS[room(name_of(path))] or light or lazy, imported


def test_imports_make_no_circle():
    names = {name_of(path) for path in MODULES}
    uses = {
        name_of(path): {name for imported in imports_of(path) for name in (imported, imported.rpartition(".")[0])}
        & names - {name_of(path)}
        for path in MODULES
    }
    while uses:
        free = {name for name, used in uses.items() if not used & uses.keys()}
        assert free, sorted(uses)
        uses = {name: used for name, used in uses.items() if name not in free}
