"""The scripts' options: what --help lists, which values are refused, and what names a run."""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import basic_model
import compare_models
from convnets import cli, paths
from convnets.errors import UserError

COMMON = ["--dataset", "--data-dir", "--help"]
TRAINING = [*COMMON, "--epochs", "--fresh", "--tensorboard"]
ONE_NETWORK = [*TRAINING, "--run", "--seed", "--batch-size", "--precision"]
VIEW = [*COMMON, "--run", "--output-dir", "--show"]
RANDOM_VIEW = [*VIEW, "--seed"]
OPTIONS = {
    "basic_model": [*ONE_NETWORK, "--weights", "--devices"],
    "improved_model": [*ONE_NETWORK, "--weights", "--devices"],
    "fast_model": [*ONE_NETWORK, "--weights", "--target", "--threads"],
    "compare_models": [
        *TRAINING,
        "--list",
        "--article",
        "--all",
        "--optimizer",
        "--seeds",
        "--output-dir",
        "--show",
        "--on-ray",
    ],
    "search_models": [
        *COMMON,
        "--minutes",
        "--max-parameters",
        "--max-seconds-per-epoch",
        "--epochs",
        "--seed",
        "--on-ray",
    ],
    "transfer_model": [*ONE_NETWORK, "--from", "--layer", "--compare", "--image-size", "--class-weights"],
    "classify_pictures": [*VIEW, "--csv", "--no-calibration"],
    "visualize_results": [*RANDOM_VIEW, "--check-labels"],
    "visualize_pixel_importance": RANDOM_VIEW,
    "visualize_hidden_layer_activation": RANDOM_VIEW,
    "visualize_hidden_layer_output": RANDOM_VIEW,
    "visualize_building_blocks": RANDOM_VIEW,
    "explore": ["--help", "--run", "--pictures", "--data-dir", "--port", "--host", "--no-browser"],
}


def test_the_list_of_scripts_is_complete():
    scripts = {path.stem for path in paths.PROJECT.glob("*.py")}
    assert {name for name in scripts if not name.startswith("found_model")} == set(OPTIONS)  # what readers have found


@pytest.fixture(scope="module")
def help_texts():
    """{script: what its --help prints}; in a new process, to see that none of them imports Keras for it."""
    program = """
import contextlib, importlib, io, json, sys
texts = {}
for script in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()) as text:
        try:
            importlib.import_module(script).main(["--help"])
        except SystemExit as end:
            assert end.code == 0
    texts[script] = text.getvalue()
    loaded = {"keras", "tensorflow", "numpy", "matplotlib", "sklearn"} & set(sys.modules)
    assert not loaded, (script, loaded)
print(json.dumps(texts))
"""
    command = [sys.executable, "-c", program, *OPTIONS]
    result = subprocess.run(command, cwd=paths.PROJECT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("script", OPTIONS)
def test_help_lists_the_options_without_loading_keras(script, help_texts):
    listed = listed_options(help_texts[script])
    assert listed >= set(OPTIONS[script])
    assert ("--seed" in listed) == ("--seed" in OPTIONS[script])


def listed_options(help_text):
    return set(re.findall(r"^  (?:-h, )?(--[a-z-]+)", help_text, flags=re.MULTILINE))


def test_the_documents_name_only_options_that_there_are(help_texts):
    pages = [paths.PROJECT / "README.md", *(paths.PROJECT / "docs").glob("*.md")]
    commands = [
        (page.name, script, option)
        for page in pages
        for script, words in re.findall(r"python (\w+)\.py ([^`|\n]*)", page.read_text(encoding="utf-8"))
        for option in re.findall(r"(--[a-z-]+)", words)
    ]
    assert len(commands) > 50
    for page, script, option in commands:
        assert option in listed_options(help_texts[script]), (page, script, option)


@pytest.mark.parametrize("script", OPTIONS)
def test_a_script_has_at_most_150_lines(script):
    assert len((paths.PROJECT / f"{script}.py").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--epochs", "0"], "'0' is not a whole number from 1 to"),
        (["--batch-size", "-3"], "'-3' is not a whole number from 1 to"),
        (["--seed", "x"], "'x' is not a whole number from 0 to"),
        (["--seed", "4294967296"], "'4294967296' is not a whole number from 0 to 4294967295"),
        (["--fre"], "unrecognized arguments: --fre"),
        (["--dataset", "imagenet"], "'imagenet' is neither cifar10, mnist, digits nor a folder"),
    ],
)
def test_bad_options_end_with_one_line_and_exit_code_2(options, complaint, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        basic_model.main([*options, "--run", str(tmp_path / "run")])
    assert end.value.code == 2
    errors = capsys.readouterr().err
    assert complaint in errors.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_too_many_epochs_are_refused_before_anything_is_renamed(capsys):
    with pytest.raises(SystemExit, match="2"):
        compare_models.main(["bernet-best", "--epochs", "30000", "--fresh"])
    assert "'30000' is not a whole number from 1 to 20000" in capsys.readouterr().err


def test_names_from_a_file_are_its_lines(tmp_path):
    """A name of ImageNet's may have a comma."""
    (tmp_path / "names.txt").write_text("tench, Tinca tinca\ngoldfish \n")
    assert cli.names(str(tmp_path / "names.txt")) == ("tench, Tinca tinca", "goldfish")
    assert cli.names("cat, dog") == ("cat", "dog")
    for nothing in ("", "\n\n", "cat\n\ndog"):
        (tmp_path / "names.txt").write_text(nothing)
        with pytest.raises(argparse.ArgumentTypeError, match="a name is empty"):
            cli.names(str(tmp_path / "names.txt"))


def test_missing_initial_weights_leave_no_run_behind(tmp_path):
    with pytest.raises(UserError, match=r"can't read nowhere.h5: No such file"):
        basic_model.main(["--dataset", "digits", "--weights", "nowhere.h5", "--run", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


def test_a_name_that_is_made_of_a_folder_s_may_be_too_long(capsys):
    with pytest.raises(SystemExit) as end:
        cli.run(lambda: cli.run_folder(f"basic_model-{'x' * 250}"))
    assert end.value.code == 2
    assert "is too long for the name of a folder" in capsys.readouterr().err


def test_a_run_is_a_name_or_a_path(tmp_path):
    assert cli.run_folder("mine") == paths.MODELS / "mine"
    assert cli.run_folder(str(tmp_path)) == tmp_path
    assert cli.run_folder("./mine") == Path("mine")


@pytest.mark.parametrize("name", ["", ".", "..", "../..", "stashed", "models/stashed"])
def test_some_folders_can_not_hold_a_run(name):
    with pytest.raises(argparse.ArgumentTypeError):
        cli.run_folder(name)


@pytest.mark.parametrize("name", ["", "nowhere", "x" * 300])
def test_what_is_no_dataset(name):
    with pytest.raises(argparse.ArgumentTypeError, match="is neither"):
        cli.dataset_name(name)
