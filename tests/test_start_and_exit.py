"""How a script starts and ends: Keras's settings, missing packages, exit codes, stderr."""

import argparse
import json
import os
import platform
import subprocess
import sys

import keras
import pandas as pd
import pytest

from convnets import cli, paths
from convnets.data import datasets
from convnets.errors import Stopped, UserError


def run_python(*words, **environment):
    command = [sys.executable, *map(str, words)]
    return subprocess.run(
        command, cwd=paths.PROJECT, capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )


@pytest.mark.parametrize(
    ("error", "exit_code", "text"),
    [
        (UserError("this is wrong: do that"), 2, "error: this is wrong: do that.\n"),
        (KeyboardInterrupt(), 130, "\nStopped.\n"),
        (Stopped("Stopped; saved.", 143), 143, "\nStopped; saved. To resume: python x.py --epochs 3\n"),
    ],
)
def test_each_way_to_end_has_its_exit_code_and_message(error, exit_code, text, monkeypatch, capsys):
    def main():
        raise error

    monkeypatch.setattr(sys, "argv", ["x.py", "--fresh", "--epochs", "3"])
    with pytest.raises(SystemExit) as end:
        cli.run(main)
    assert end.value.code == exit_code
    assert capsys.readouterr().err == text


@pytest.mark.skipif(os.name != "posix", reason="needs head")
def test_a_closed_pipe_ends_a_script_without_a_traceback():
    program = "from convnets import cli; cli.run(lambda: [print(number) for number in range(10**6)])"
    result = subprocess.run(
        f'"{sys.executable}" -c "{program}" | head -1',
        shell=True, cwd=paths.PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (result.stdout, result.stderr) == ("0\n", "")


@pytest.mark.slow
def test_a_closed_pipe_ends_a_training_without_a_traceback(tmp_path):
    command = f'"{sys.executable}" basic_model.py --dataset digits --epochs 1 --run "{tmp_path / "run"}" | head -1'
    result = subprocess.run(command, shell=True, cwd=paths.PROJECT, capture_output=True, text=True, check=False)
    assert result.stdout.startswith("Data: digits")
    assert "Traceback" not in result.stderr


def test_without_network_and_data_the_first_command_trains_on_digits(tmp_path, monkeypatch):
    """On a machine where every connection fails at once; nothing on stderr looks like an error."""
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")  # which keeps TensorFlow quiet in the tests, as a reader has not set it
    result = run_python(
        "basic_model.py", "--epochs", 1, "--run", tmp_path / "run", "--data-dir", tmp_path / "data",
        KERAS_HOME=str(tmp_path / "home"), HTTPS_PROXY="http://127.0.0.1:9", https_proxy="http://127.0.0.1:9",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "CIFAR-10 is not on this machine and could not be downloaded" in result.stdout
    assert "Data: digits from scikit-learn, 1437 training and 360 test images" in result.stdout
    assert "Test accuracy" in result.stdout
    assert len(pd.read_csv(tmp_path / "run" / "history.csv")) == 1


OLD_SETTINGS = {"floatx": "float16", "epsilon": 1e-07, "image_data_format": "channels_first"}  # as Keras 1 left them


def test_a_backend_in_keras_json_that_is_gone_is_named(tmp_path):
    (tmp_path / "keras.json").write_text(json.dumps({**OLD_SETTINGS, "backend": "theano"}))
    result = run_python("basic_model.py", "--dataset", "digits", KERAS_HOME=str(tmp_path))
    assert result.returncode == 2
    assert result.stderr.startswith("error: Keras can't start")
    assert "theano" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_old_precision_and_axis_order_are_overridden():
    try:
        keras.config.set_floatx("float16")
        keras.config.set_image_data_format("channels_first")
        with cli.importing_keras(argparse.Namespace(precision="bfloat16")):
            pass
        assert (keras.config.floatx(), keras.config.image_data_format()) == ("float32", "channels_last")
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        with cli.importing_keras():
            pass
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.slow
def test_a_training_ignores_old_settings_in_keras_json(tmp_path):
    (tmp_path / "keras.json").write_text(json.dumps({**OLD_SETTINGS, "backend": "tensorflow"}))
    options = ["--dataset", "digits", "--epochs", 1, "--run", tmp_path / "run"]
    result = run_python("basic_model.py", *options, KERAS_HOME=str(tmp_path))
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="for these processors only")
@pytest.mark.parametrize("module", ["basic_model", "compare_models", "explore", "benchmarks", "publishing"])
@pytest.mark.parametrize(("asked", "got"), [(None, "1"), ("0", "0")])
def test_onednn_is_switched_on_before_tensorflow_is_imported(module, asked, got, monkeypatch):
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    environment = {"TF_ENABLE_ONEDNN_OPTS": asked} if asked else {}
    program = f"import os, sys, {module}; print('tensorflow' in sys.modules, os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    assert run_python("-c", program, **environment).stdout.split() == ["False", got]


def test_keras_is_imported_without_scikit_learn_and_without_garbage_collection_which_both_come_later():
    program = (
        "import gc, sys; from convnets import cli\n"
        "with cli.importing_keras(): import keras; print(gc.isenabled())\n"
        "print(gc.isenabled(), gc.get_freeze_count() > 100_000)\n"
        "print('sklearn' in sys.modules); import sklearn.cluster; print(sklearn.cluster.KMeans.__name__)"
    )
    assert run_python("-c", program).stdout.split() == ["False", "True", "True", "False", "KMeans"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"dataset": "auto", "data_dir": "d"}, ("cifar10", "d")),
        ({"dataset": "mnist", "data_dir": None}, ("mnist", None)),
        ({"dataset": None, "data_dir": None, "run": paths.PRETRAINED / "basic_model-mnist"}, ("mnist", None)),
        ({"dataset": None, "data_dir": None, "run": None}, ("cifar10", None)),  # no run yet
        ({"dataset": None, "data_dir": None, "run": paths.PROJECT / "model.keras"}, None),
        ({"dataset": "auto", "data_dir": None, "image": "cat.png"}, None),
        ({"dataset": str(paths.PROJECT), "data_dir": None}, None),
        ({"precision": "float32"}, None),
    ],
)
def test_the_images_that_a_script_needs_are_read_while_keras_is_imported(options, expected, monkeypatch):
    begun = []
    monkeypatch.setattr(datasets, "read_ahead", lambda *arguments: begun.append(arguments))
    with cli.importing_keras(argparse.Namespace(**options)):
        pass
    assert begun == ([] if expected is None else [expected])


def test_a_missing_package_is_named_with_the_command_that_installs_it():
    missing = ModuleNotFoundError("No module named 'keras'", name="keras")
    with pytest.raises(UserError, match=r"package keras is not installed: pip install -r"), cli.importing_keras():
        raise missing


def test_a_missing_backend_is_named(monkeypatch):
    missing = ModuleNotFoundError("No module named 'jax'", name="jax")
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    with pytest.raises(UserError, match=r"keras.json asks for jax, which is not installed"), cli.importing_keras():
        raise missing
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(UserError, match="KERAS_BACKEND asks for jax, which is not installed"), cli.importing_keras():
        raise missing


def test_a_broken_package_is_reported_with_its_error():
    broken = ImportError("DLL load failed while importing _pywrap_tensorflow_internal")
    with pytest.raises(UserError, match=r"can't be loaded .DLL load failed"), cli.importing_keras():
        raise broken
