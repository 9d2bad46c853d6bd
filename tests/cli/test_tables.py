"""Tables of the command line, on terminals and in pipes."""

from __future__ import annotations

import pytest

from asrkit.cli.tables import _lines, table

ROWS = [
    ("one", "a long text of several words that a narrow terminal has no room for"),
    ("", "short"),
    ("eleven", "/a/path/that/is/much/longer/than/the/terminal/is/wide/and/stays/whole"),
]


def test_a_pipe_gets_a_line_for_each_row():
    assert list(_lines(ROWS, None)) == [f"one     {ROWS[0][1]}", "one     short", f"eleven  {ROWS[2][1]}"]


@pytest.mark.parametrize("width", [36, 50, 200])
def test_a_terminal_wraps_the_last_cell(width):
    lines = list(_lines(ROWS[:2], width))
    assert max(map(len, lines)) <= width
    assert " ".join(" ".join(line.split()) for line in lines) == f"one {ROWS[0][1]} short"
    assert all(line.startswith("     ") for line in lines[1:])


def test_a_path_stays_whole():
    assert f"eleven  {ROWS[2][1]}" in list(_lines(ROWS, 40))


def test_headings_and_nothing():
    assert list(_lines([("Heading",), ("a", "b")], None)) == ["Heading", "a  b"]
    assert list(_lines([], 80)) == []


def test_width_is_asked_of_terminals_only(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "36")
    table(ROWS[:1])
    assert capsys.readouterr().out.count("\n") == 1
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    table(ROWS[:1])
    assert capsys.readouterr().out.count("\n") > 1
