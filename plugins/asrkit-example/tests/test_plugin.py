from __future__ import annotations

import io
from pathlib import Path

import pytest

from asrkit import Segment, Transcript
from asrkit.cli import main
from asrkit.plugins import load_plugins, registry
from asrkit_example.lrc import write

SAMPLES = Path(__file__).parents[2] / "asrkit-demo/samples"


@pytest.fixture
def call(capsys):
    """Runs a command: (exit code, stdout, stderr)."""

    def call(*args):
        code = 0
        try:
            main([str(arg) for arg in args])
        except SystemExit as leave:
            code = leave.code or 0
        return (code, *capsys.readouterr())

    return call


def test_registers_what_the_tutorial_says():
    (plugin,) = [plugin for plugin in load_plugins().found if plugin.name == "example"]
    assert (plugin.distribution, plugin.error) == ("asrkit-example", None)
    for kind, name in (("strategy", "sampling"), ("model", "canary-demo-sampled"), ("format", "lrc")):
        assert registry().get(kind, name).plugin == "example"


def test_model(call):
    run = ("run", "--model", "canary-demo-sampled", "--language", "en", "-q", SAMPLES / "en-000.flac")
    assert call(*run, "-o", "temperature=0.01") == (0, "Martin never eats potatoes.\n", "")
    warm = {call(*run, "-o", "temperature=5", "-o", f"seed={seed}")[1] for seed in range(3)}
    assert len(warm) == 3


def test_wrong_option(call):
    code, out, err = call(
        "run", "-m", "canary-demo-sampled", "-l", "en", "-o", "temperature=0", SAMPLES / "en-000.flac"
    )
    assert (code, out) == (2, "")
    assert err.startswith("asrkit: error: strategy 'example:sampling': 'temperature' must be > 0")


def transcript(*segments):
    return Transcript(
        *("talk.wav", "m", "numpy", "fp32", "en", "en", "transcribe"), 100.0, "a b", "a b", segments, tokens=()
    )


@pytest.mark.parametrize(
    ("segments", "text"),
    [
        ((Segment("a", 0.0, 1.0), Segment(" b\nc", 61.239, 62.0)), "[00:00.00]a\n[01:01.24]b c\n"),
        ((Segment("late", 5999.999, 6000.0),), "[100:00.00]late\n"),
        ((), "[00:00.00]a b\n"),
    ],
)
def test_lrc(segments, text):
    file = io.StringIO()
    write([transcript(*segments)], file)
    assert file.getvalue() == text


def test_lrc_of_a_failed_recording_is_empty():
    file = io.StringIO()
    write([], file)
    assert file.getvalue() == ""


def test_lrc_on_the_command_line(call):
    code, out, _ = call("run", "-m", "canary-demo", "-l", "en", "--format", "lrc", "-q", SAMPLES / "en-000.flac")
    assert code == 0
    assert out.endswith("]Martin never eats potatoes.\n")


def test_duration(call, tmp_path):
    code, out, err = call("duration", SAMPLES / "en-000.flac")
    assert (code, err) == (0, "")
    assert 1 < float(out.split()[0]) < 5
    (tmp_path / "notes.txt").write_text("no audio")
    assert call("duration", tmp_path / "notes.txt") == (
        1,
        "",
        f"asrkit: error: {tmp_path / 'notes.txt'}: its length is not known without decoding it\n",
    )
