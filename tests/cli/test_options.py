"""What the commands share: variables, options given twice, -v and -q, suggestions, and help that teaches."""

from __future__ import annotations

import logging
import re
import shlex

import click
import pytest

from asrkit.cli import COMMANDS, cli
from asrkit.cli.options import Command, option

LOG = logging.getLogger("asrkit")


def run(call, *args):
    return call("run", "-m", "speller", "--backend", "numpy", "-l", "en", *args)


# Variables


def test_variables_stand_for_options(call, model, recording, monkeypatch):
    for name, value in {"MODEL": "speller", "BACKEND": "numpy", "LANGUAGE": "de", "FORMAT": "jsonl"}.items():
        monkeypatch.setenv(f"ASRKIT_{name}", value)
    code, out, err = call("run", recording("one"))
    assert (code, err) == (0, "")
    assert '"language": "de"' in out


def test_an_option_goes_before_its_variable(call, model, recording, monkeypatch):
    monkeypatch.setenv("ASRKIT_FORMAT", "json")
    monkeypatch.setenv("ASRKIT_MODEL", "nothing-of-the-kind")
    assert run(call, recording("one"), "--format", "txt") == (0, "one\n", "")


def test_an_empty_variable_is_none(call, model, recording, monkeypatch):
    for name in ("MODEL", "BACKEND", "FORMAT", "THREADS", "DEVICE", "OUTPUT_DIR"):
        monkeypatch.setenv(f"ASRKIT_{name}", "")
    assert run(call, recording("one")) == (0, "one\n", "")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("MODEL", "spellar", "there is no model 'spellar' (did you mean 'speller'?); there is: speller; or "),
        ("MODEL", "no.nemo", "no.nemo: there is no such file or folder"),
        ("BACKEND", "nunpy", "there is no backend 'nunpy' (did you mean 'numpy'?)"),
        ("FORMAT", "xml", "there is no format 'xml'"),
        ("PRECISION", "fp8", "backend 'numpy' has no precision 'fp8'"),
        ("LANGUAGE", "fr", "no language 'fr'; there is: de, en"),
        ("THREADS", "4", "backend 'numpy' does not let threads be chosen"),
        ("DEVICE", "gpu", "backend 'numpy' has no device 'gpu'; it has: cpu"),
    ],
)
def test_a_bad_variable_is_named(call, model, monkeypatch, name, value, message):
    args = {"MODEL": "speller", "BACKEND": "numpy", "LANGUAGE": "en"}
    args.pop(name, None)
    monkeypatch.setenv(f"ASRKIT_{name}", value)
    code, out, err = call("run", "a.wav", *[part for key, arg in args.items() for part in (f"--{key.lower()}", arg)])
    assert (code, out) == (1 if value in ("no.nemo", "gpu") else 2, "")
    assert err.startswith(f"asrkit: error: {message}")
    assert err.endswith(f" (in the environment: ASRKIT_{name}={value})\n")


def test_a_variable_is_not_blamed_for_something_else(call, model, monkeypatch):
    monkeypatch.setenv("ASRKIT_BATCH_SIZE", "2")
    assert run(call, "a.wav", "-o", "sing=1")[2].endswith("it has: confidence, confidence_measure, language, limit\n")
    monkeypatch.setenv("ASRKIT_MODEL", "speller")
    monkeypatch.setenv("ASRKIT_LANGUAGE", "en")
    code, _, err = call("run", "--backend", "numpy", "-o", "model=1", "a.wav")
    assert (code, err) == (2, "asrkit: error: 'model' is not set with -o but with --model\n")


def test_a_bad_number_names_its_variable_only_if_it_comes_from_it(call, model, monkeypatch):
    monkeypatch.setenv("ASRKIT_THREADS", "many")
    assert "Invalid value for '--threads' (env var: 'ASRKIT_THREADS'): 'many'" in run(call, "a.wav")[2]
    assert "Invalid value for '--threads': 'few'" in run(call, "a.wav", "--threads", "few")[2]
    assert "ASRKIT_MODEL" in call("run", "a.wav")[2], "the variable would have helped"


def test_variables_that_measuring_does_not_read(call, model, monkeypatch):
    """To compare languages, backends and precisions is what these commands are for."""
    found = {}
    for name in ("eval", "bench"):
        command = cli.get_command(click.Context(cli), name)
        found[name] = {param.envvar for param in command.params} - {None}
    assert "ASRKIT_LANGUAGE" not in found["eval"]
    assert found["bench"] == {"ASRKIT_MODEL", "ASRKIT_DEVICE", "ASRKIT_THREADS"}


# Given twice, and given empty


@pytest.mark.parametrize("args", [("-l", "de"), ("--language", "en"), ("--pnc", "--no-pnc"), ("--tokens", "--tokens")])
def test_an_option_given_twice_is_refused(call, model, args):
    code, out, err = run(call, "a.wav", *args)
    assert (code, out) == (2, "")
    name = "--language" if "-l" in args else args[0]
    assert err.splitlines()[-1] == f"Error: Option {name} is given 2 times."


def test_what_may_be_repeated_may_be(call, model, recording):
    assert run(call, recording("one"), "-v", "-v")[:2] == (0, "one\n")
    assert "given" not in run(call, "a.wav", "-o", "a=1", "-o", "b=1")[2]


@pytest.mark.parametrize("name", ["--model", "--language", "--backend", "--format", "--precision", "--output-dir"])
def test_an_empty_value_is_refused(call, name):
    code, out, err = call("run", name, "", "a.wav")
    assert (code, out) == (2, "")
    assert re.search(rf"Invalid value for '{name}'.*: it is empty; leave the option out for its default\n$", err)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_refuses_what_is_given_twice(name):
    command = cli.get_command(click.Context(cli), name)
    commands = [*command.commands.values()] if isinstance(command, click.Group) else [command]
    for one in commands:
        assert isinstance(one, Command) or not any(isinstance(param, click.Option) for param in one.params), one.name


# -v and -q


def test_quiet(call, model, recording):
    files = (recording("one"), "no.wav")
    default = call("run", "-m", "speller", "--backend", "numpy", *files)
    quiet = call("run", "-m", "speller", "--backend", "numpy", "-q", *files)
    assert default[2].splitlines() == ["asrkit: warning: assumed en", "asrkit: error: no.wav: there is no such file"]
    assert quiet == (1, "one\n", "asrkit: error: no.wav: there is no such file\n")


def test_quiet_and_verbose_contradict(call, model):
    for args in (("-q", "-v"), ("-vv", "--quiet")):
        code, out, err = run(call, "a.wav", *args)
        assert (code, out) == (2, "")
        assert err.splitlines()[-1] == "Error: --verbose and --quiet contradict each other."


def test_quiet_convert(call, model, tmp_path):
    assert call("convert", "-q", model, tmp_path / "folder") == (0, "", "")


@pytest.mark.parametrize(
    ("args", "shown"),
    [
        (("-q",), ["error: e"]),
        ((), ["warning: w", "error: e"]),
        (("-v",), ["i", "warning: w", "error: e"]),
        (("-vv",), ["d", "i", "warning: w", "error: e"]),
    ],
)
def test_log_records(call, monkeypatch, model, args, shown):
    import asrkit.loading

    def load_model(*_, **__):
        for level, text in ((10, "d"), (20, "i"), (30, "w"), (40, "e")):
            LOG.log(level, text)
        raise click.exceptions.Exit(0)

    monkeypatch.setattr(asrkit.loading, "load_model", load_model)
    assert run(call, "a.wav", *args) == (0, "", "".join(f"asrkit: {line}\n" for line in shown))


def test_logging_of_the_program_around_is_left_as_it_was(call, model, recording, monkeypatch):
    class Kept(logging.Handler):
        def emit(self, record):
            pass

    kept = Kept(logging.DEBUG)
    monkeypatch.setattr(LOG, "handlers", [kept])
    root = list(logging.getLogger().handlers)
    level = LOG.level
    LOG.setLevel(logging.ERROR)
    try:
        assert run(call, recording("one"), "-vv")[0] == 0
        assert (LOG.level, LOG.handlers, kept.level) == (logging.ERROR, [kept], logging.DEBUG)
    finally:
        LOG.setLevel(level)
    assert logging.getLogger().handlers == root


# Suggestions


@pytest.mark.parametrize(
    ("args", "near"),
    [
        (("rum", "a.wav"), "run"),
        (("docter",), "doctor"),
        (("run", "a.wav", "--modle", "x"), "--model"),
        (("run", "a.wav", "-m", "spellar"), "speller"),
        (("run", "a.wav", "-m", "speller", "--backend", "nunpy"), "numpy"),
        (("run", "a.wav", "-m", "speller", "--format", "jason"), "json"),
        (("run", "a.wav", "-m", "speller", "--strategy", "greddy"), "greedy"),
        (("run", "a.wav", "-m", "speller", "--backend", "numpy", "--precision", "int9"), "int8"),
        (("run", "a.wav", "-m", "speller", "--backend", "numpy", "-o", "limmit=1"), "limit"),
        (("models", "sow"), "show"),
        (("models", "show", "spelle"), "speller"),
    ],
)
def test_what_is_misspelt_is_recognised(call, model, args, near):
    code, out, err = call(*args)
    assert (code, out) == (2, "")
    assert re.search(rf"[Dd]id you mean.* '{near}'", err.splitlines()[-1])


# Help


def helps():
    found = []
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        context = click.Context(command, info_name=name, terminal_width=80, max_content_width=80)
        found.append(pytest.param(command.get_help(context), id=name))
    return [
        *found,
        pytest.param(cli.get_help(click.Context(cli, terminal_width=80, **cli.context_settings)), id="asrkit"),
    ]


@pytest.mark.parametrize("text", helps())
def test_help_fits_and_has_examples(text):
    assert max(map(len, text.splitlines())) <= 80
    assert "..." not in text.partition("Commands:")[2], "the first line of a command's help is cut off"
    if not text.startswith("Usage: models "):
        assert re.search(r"^  Examples:\n    .*asrkit ", text, re.MULTILINE)


@pytest.mark.parametrize("text", helps())
def test_examples_are_calls_that_parse(text):
    lines = re.findall(r"^    (?:\w+=\w+ )?(asrkit .*(?:(?<=\\)\n.*)?)$", text, re.MULTILINE)
    for line in lines:
        words = shlex.split(line.replace("\\\n", " "), comments=True)
        words = words[1 : next((n for n, word in enumerate(words) if word in (">", "|")), len(words))]
        command = cli.get_command(click.Context(cli), words[0])
        if "--help" not in words and not isinstance(command, click.Group):
            command.make_context(words[0], words[1:])


def test_wide_terminals_get_wide_help(call, monkeypatch):
    width = {}
    for columns in (60, 80, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        width[columns] = max(map(len, call("bench", "--help")[1].splitlines()))
    assert width[80] <= 80 < width[200] <= 120


def test_no_arguments_show_the_help(call):
    code, out, err = call()
    assert code == 2
    assert "Commands:" in out + err


def test_groups_of_options(call):
    out = call("run", "--help")[1]
    headings = re.findall(r"^(\w[\w ]*):$", out, re.MULTILINE)
    assert headings == [
        "Model",
        "Recordings",
        "Language and text",
        "Output",
        "Machine",
        "Long recordings",
        "Other options",
    ]


def test_a_plugins_command_may_use_the_same_options(call, install):
    @click.command("sing", cls=Command)
    @option("--key", help="Key.")
    def sing(key):
        """Sing."""
        click.echo(key)

    install(fake={"register_commands": lambda cli: cli.add_command(sing)})
    assert call("sing", "--key", "C") == (0, "C\n", "")
    assert call("sing", "--key", "C", "--key", "D")[0] == 2
    assert "\nOptions:\n  --key TEXT" in call("sing", "--help")[1]
