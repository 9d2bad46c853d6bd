"""The command line: exit codes, what goes to stdout, and that everything else is a line on stderr."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from asrkit import __version__
from asrkit.cli import COMMANDS


def failed(result, code, message):
    assert result == (code, "", f"asrkit: error: {message}\n")


# Without a model


def test_version(call):
    assert call("--version") == (0, f"asrkit, version {__version__}\n", "")


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help(call, flag):
    code, out, err = call(flag)
    assert (code, err) == (0, "")
    assert all(f"\n  {name}" in out for name in COMMANDS)


@pytest.mark.parametrize("name", [*COMMANDS, "models show"])
def test_help_of_each_command(call, name):
    code, out, err = call(*name.split(), "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: asrkit {name} ")


def test_backends(call, install):
    install(
        fake={"register_backends": lambda register: register("quantum", "a:b", lambda: "needs a flux capacitor")},
        broken={"register_part": lambda register: None},
    )
    code, out, err = call("backends")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    # Every line begins with the name of what it is about.
    assert list(dict.fromkeys(line.split()[0] for line in lines)) == ["numpy", "mlx", "quantum", "plugin"]
    assert lines[1].split(maxsplit=2) == ["numpy", "1.", "runs everywhere (auto)"]
    assert sum("(auto)" in line for line in lines) == 1
    assert f"numpy    cpu; fp32, int8, int4; numpy {np.__version__}" in lines
    assert "quantum  cannot run: needs a flux capacitor" in lines
    assert lines[-1].startswith("plugin 'broken' is broken: ")


def test_backends_with_one_that_cannot_be_loaded(call, install):
    """One backend's mistake must not hide the others."""
    install(fake={"register_backends": lambda register: register("aa", "nowhere_at_all:x", lambda: None)})
    code, out, _ = call("backends")
    assert code == 0
    assert "numpy  cpu;" in out
    assert "nowhere_at_all" in out


def test_plugins(call, install):
    install(
        fake={"register_formats": lambda register: register("poem", "a:b", ".txt")},
        broken={"register_part": lambda register: None},
    )
    code, out, err = call("plugins")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"asrkit  asrkit-core {__version__}"
    assert "asrkit  backend: mlx, numpy" in lines
    assert "fake    format: poem" in lines
    broken = [line for line in lines if line.startswith("broken")]
    assert broken[1].startswith("broken  plugin 'broken' is broken: PluginValidationError")


def test_models(call, model):
    assert call("models") == (0, "speller  en, de  none  spells\n", "")


def test_no_models(call, install):
    install()
    assert call("models") == (0, "", "asrkit: no installed plugin knows a model by name\n")


def test_models_show_a_name(call, model):
    code, out, err = call("models", "show", "speller")
    assert (code, err) == (0, "")
    shown = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert shown == {
        "name": "speller",
        "summary": "spells",
        "source": str(model),
        "languages": "en, de",
        "tasks": "transcribe",
        "translates": "en-de",
        "decoder": "attention, decoded by 'greedy'",
        "licence": "none",
    }


def test_models_show_a_path(call, model):
    code, out, err = call("models", "show", model)
    assert (code, err) == (0, "")
    shown = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert (shown["path"], shown["class"]) == (str(model), "x.Speller")
    assert (shown["tensors"], shown["features"]) == ("1, 1 values", "1000 Hz, 100 ms a frame")
    assert (shown["languages"], shown["options"]) == ("en, de", "confidence, confidence_measure, language, limit")


def test_a_plugins_command(call, install):
    import click

    @click.command("sing")
    def sing():
        """Sing."""
        click.echo("la")

    install(fake={"register_commands": lambda cli: cli.add_command(sing)})
    assert call("sing") == (0, "la\n", "")
    assert "\n  sing " in call("--help")[1]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["sing"], "No such command 'sing'"),
        (["--loud"], "No such option '--loud'"),
        (["run"], "Missing option '--model'"),
        (["run", "a.wav"], "Missing option '--model'"),
        (["run", "a.wav", "-m", "m", "--loud"], "No such option '--loud'"),
        (["run", "a.wav", "-m", "m", "--batch-size", "0"], "Invalid value for '--batch-size'"),
        (["run", "a.wav", "-m", "m", "--batch-size", "x"], "Invalid value for '--batch-size'"),
        (["run", "a.wav", "-m", "m", "--task", "sing"], "Invalid value for '--task'"),
        (["run", "a.wav", "-m", "m", "--output-dir", __file__], "Invalid value for '--output-dir'"),
        (["models", "shw"], "No such command 'shw'"),
        (["models", "show"], "Missing argument 'MODEL'"),
        (["convert", "m"], "Missing argument 'DIRECTORY'"),
        (["backends", "extra"], "Got unexpected extra argument (extra)"),
    ],
)
def test_wrong_usage_that_click_finds(call, args, message):
    code, out, err = call(*args)
    assert (code, out) == (2, "")
    assert err.startswith("Usage: asrkit")
    assert err.splitlines()[-1].replace("option: --", "option '--").startswith(f"Error: {message}"[:-1])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["-o", "beam"], "-o takes NAME=VALUE, found 'beam'"),
        (["-o", "backend=mlx"], "'backend' is not set with -o but with --backend"),
        (["-o", "output-dir=x"], "'output_dir' is not set with -o but with --output-dir"),
        (["-o", "rate=1"], "'rate' is for arrays of samples in Python; files bring their own"),
        (["-o", "=3"], "-o takes NAME=VALUE, found '=3'"),
        (["-o", "a-b=1", "-o", "a_b=2"], "option 'a_b' is given twice"),
        (["-l", "de", "-o", "language=en"], "option 'language' is given twice: as a flag and with -o"),
        (["--tokens"], "format 'txt' has no place for --tokens; use json or jsonl"),
        (["--overwrite"], "--overwrite is about files; it needs --output-dir"),
        (["--format", "all"], "--format all writes several files a recording; it needs --output-dir"),
        (["-", "-"], "- is given more than once; standard input is read once, as a recording or as a list of paths"),
        (
            ["--files-from", "no.txt"],
            "no.txt: cannot be read (No such file or directory); give a file with one path a line",
        ),
        (
            ["-o", "sing=1"],
            "model 'speller' with strategy 'greedy' and segmenter 'whole' has no option 'sing'; "
            "it has: confidence, confidence_measure, language, limit",
        ),
        (["-l", "fr"], "no language 'fr'; there is: de, en"),
    ],
)
def test_wrong_usage_that_asrkit_finds(call, model, args, message):
    failed(call("run", "a.wav", "-m", "speller", "--backend", "numpy", *args), 2, message)


def test_no_arguments(call):
    code, out, err = call()
    assert (code, out) == (2, "")
    assert "Usage: asrkit" in err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["models", "show", "spellar"],
            "there is no model 'spellar' (did you mean 'speller'?); there is: speller; "
            "or give the path of a .nemo file, or owner/repo of a model on the Hugging Face hub",
        ),
        (
            ["run", "a.wav", "-m", "spellar"],
            "there is no model 'spellar' (did you mean 'speller'?); there is: speller; "
            "or give the path of a .nemo file, or owner/repo of a model on the Hugging Face hub",
        ),
        (
            ["run", "a.wav", "-m", "speller", "--backend", "x"],
            "there is no backend 'x'; there is: mlx, numpy; more come with plugins, such as asrkit-onnxruntime",
        ),
        (
            ["run", "a.wav", "-m", "speller", "--format", "xml"],
            "there is no format 'xml'; there is: json, jsonl, srt, tsv, txt, vtt",
        ),
        (
            ["run", "a.wav", "-m", "speller", "--strategy", "x"],
            "there is no strategy 'x'; there is: attention-beam, ctc-beam, ctc-greedy, greedy, transducer-beam, "
            "transducer-greedy",
        ),
        (
            ["run", "a.wav", "-m", "speller", "--precision", "fp8", "--backend", "numpy"],
            "backend 'numpy' has no precision 'fp8'; it has: fp32, int8, int4",
        ),
    ],
)
def test_what_is_not_there_to_be_asked_for(call, model, args, message):
    failed(call(*args), 2, message)


@pytest.mark.parametrize(
    "args",
    [
        ["run", "a.wav", "-m", "no.nemo"],
        ["models", "show", "no.nemo"],
        ["convert", "no.nemo", "out"],
    ],
)
def test_missing_file(call, model, args):
    failed(call(*args), 1, "no.nemo: there is no such file or folder")


def test_interrupted(call, monkeypatch, model):
    import asrkit.loading

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(asrkit.loading, "load_model", interrupt)
    code, out, err = call("run", "a.wav", "-m", "speller")
    assert (code, out, err.strip()) == (130, "", "asrkit: interrupted")


def test_as_a_module():
    command = [sys.executable, "-m", "asrkit", "run", "a.wav", "-m", "no.nemo"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "asrkit: error: no.nemo: there is no such file or folder\n"
