from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from asrkit.cli.layout import layout_options, take_layout
from asrkit.subtitles import Layout


@pytest.fixture
def parse():
    """The layout that arguments make, and what is left of the command's values; or click's result if it refuses."""

    def parse(*args):
        found = []

        @click.command()
        @click.option("--other")
        @layout_options
        def command(**values):
            found.extend((take_layout(values), values))

        result = CliRunner().invoke(command, args)
        return tuple(found) if found else result

    return parse


def test_nothing_given_is_no_layout(parse):
    assert parse("--other", "x") == (None, {"other": "x"})


@pytest.mark.parametrize(
    ("args", "layout"),
    [
        (["--max-line-width", "30"], Layout(max_line_width=30)),
        (["--max-line-count", "1", "--max-words-per-line", "3"], Layout(max_line_count=1, max_words_per_line=3)),
        (["--max-line-width", "42"], Layout()),
    ],
)
def test_what_is_given_is_in_the_layout(parse, args, layout):
    assert parse(*args) == (layout, {"other": None})


@pytest.mark.parametrize("option", ["--max-line-width", "--max-line-count", "--max-words-per-line"])
@pytest.mark.parametrize("value", ["0", "-1", "wide", "1.5"])
def test_numbers_are_checked(parse, option, value):
    result = parse(option, value)
    assert result.exit_code == 2
    assert f"Invalid value for '{option}'" in result.stderr


def test_help_names_the_defaults(parse):
    text = " ".join(parse("--help").stdout.split())
    places = [text.index(option) for option in ("--max-line-width", "--max-line-count", "--max-words-per-line")]
    assert places == sorted(places)
    for default in ("42", "2", "no limit"):
        assert f"default: {default}" in text.replace("(", "")


def test_run_writes_subtitles(call, model, recording, tmp_path):
    args = ("run", "-m", "speller", "--backend", "numpy", "-l", "en")
    code, out, err = call(*args, "--format", "srt", recording("hello"))
    assert (code, err) == (0, "")
    assert out.startswith("1\n00:00:00,000 --> 00:00:0")
    assert out.endswith("\nhello\n")
    code, out, err = call(
        *args, "--format", "vtt", "--output-dir", tmp_path / "out", recording("one"), recording("two"), "-q"
    )
    assert (code, out, err) == (0, "", "")
    assert [path.read_text().split()[-1] for path in sorted((tmp_path / "out").glob("*.vtt"))] == ["one", "two"]
    assert call(*args, "--format", "srt", "no.wav")[:2] == (1, "")
