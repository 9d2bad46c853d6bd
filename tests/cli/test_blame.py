"""A mistake in a plugin's format or command is one line that names the plugin."""

from __future__ import annotations

import re

import click
import pytest

from asrkit.errors import AsrkitError


def parrot(transcripts, file):
    for transcript in transcripts:
        if "b" in transcript.text:
            raise ValueError("I do not say b")
        file.write(transcript.text + "\n")


def forgetful(transcripts, file):
    file.write(next(iter(transcripts)).text)


def failing(error):
    def write(transcripts, file):
        raise error

    return write


@pytest.fixture
def run(call, family, install, model, recording):
    """Runs recordings through a format of a plugin."""

    def run(write, *args, letters="abc"):
        install(
            fake={
                "register_models": lambda register: register(family.spec("speller", str(model))),
                "register_formats": lambda register: register("mine", write, ".mine"),
            }
        )
        paths = [recording(letter) for letter in letters]
        return call("run", "-m", "speller", "-l", "en", "--format", "mine", *args, *paths)

    return run


LINE = "asrkit: error: format 'mine' of plugin 'fake' failed: ValueError: I do not say b"


def test_format_on_stdout(run):
    code, out, err = run(parrot, "-q")
    assert (code, out, err.splitlines()) == (1, "a\n", [LINE])


def test_format_with_its_traceback(run):
    err = run(parrot, "-vv")[2]
    assert LINE in err
    assert re.search(r"asrkit: Traceback \(most recent call last\):\n.*, in parrot\n", err, re.DOTALL)


def test_format_into_files_goes_on(run, tmp_path):
    code, _, err = run(parrot, "--output-dir", tmp_path / "out", "-q")
    assert code == 1
    assert re.fullmatch(r"asrkit: error: .*b\.wav: format 'mine' .* failed: ValueError: I do not say b\n", err)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.mine")) == ["a.mine", "c.mine"]


def test_format_that_leaves_recordings_out(run):
    code, out, err = run(forgetful, "-q")
    assert (code, out) == (1, "a")
    assert err == (
        "asrkit: error: format 'mine' of plugin 'fake' did not ask for all recordings; those that are missing were "
        "not decoded\n"
    )


def test_a_full_disk_is_not_the_formats_mistake(run):
    full = OSError(28, "No space left on device")
    assert run(failing(full), "-q") == (1, "", "asrkit: error: output: No space left on device\n")


def test_a_mistake_of_our_own_is_not_the_formats(run, monkeypatch):
    from asrkit.cli.results import Report

    def broken(self, outcomes):
        yield 1 / 0

    monkeypatch.setattr(Report, "transcripts", broken)
    with pytest.raises(ZeroDivisionError):
        run(parrot)


def test_command(call, install):
    @click.command("sing")
    def sing():
        raise LookupError("no voice")

    @click.command("hum")
    def hum():
        raise AsrkitError("too late in the night")

    def register_commands(cli):
        cli.add_command(sing)
        cli.add_command(hum)

    install(fake={"register_commands": register_commands})
    assert call("sing") == (1, "", "asrkit: error: command 'sing' of plugin 'fake' failed: LookupError: no voice\n")
    assert call("fake:sing")[0] == 1
    assert call("hum") == (1, "", "asrkit: error: too late in the night\n")


def test_trace_has_the_traceback(call, install, monkeypatch):
    monkeypatch.setenv("ASRKIT_TRACE_PLUGINS", "1")
    install(fake={"register_commands": lambda cli: cli.add_command(click.Command("sing", callback=lambda: 1 / 0))})
    assert "\nZeroDivisionError: division by zero\n" in call("sing")[2]
