"""The line of a long run."""

from __future__ import annotations

import io
import os
import shutil

import pytest

from asrkit.cli import BEFORE_LINES, say
from asrkit.cli.progress import Progress, render
from asrkit.cli.results import Report
from asrkit.values import Transcript


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((0, 240, 0, None, 0), "0/240 files"),
        ((0, 1, 0, 60, 0), "0:00:00 of 0:01:00"),
        ((12, 240, 3753, 29400, 120.3), "12/240 files  1:02:33 of 8:10:00  31.2× real time  14 min left"),
        ((12, 240, 3753, None, 120.3), "12/240 files  1:02:33 of audio  31.2× real time"),
        ((1, 2, 10, 20, 1), "1/2 files  0:00:10 of 0:00:20  10.0× real time"),  # too early to tell
        ((1, 2, 10, 20, 10), "1/2 files  0:00:10 of 0:00:20  1.0× real time  10 s left"),
        ((1, 2, 10, 36010, 10), "1/2 files  0:00:10 of 10:00:10  1.0× real time  10 h 00 min left"),
        ((2, 2, 21, 20, 10), "2/2 files  0:00:21 of 0:00:21  2.1× real time"),
        ((1, 2, 0, 20, 10), "1/2 files  0:00:00 of 0:00:20"),  # it failed
    ],
)
def test_lines(arguments, line):
    assert render(*arguments) == line


def test_lines_fit():
    whole = render(12, 240, 3753, 29400, 120.3)
    for width in range(len(whole) + 5):
        line = render(12, 240, 3753, 29400, 120.3, width)
        assert len(line) <= width
        assert whole.startswith(line)
        assert width < len("12/240 files") or not line.endswith(" ")
        assert width < len("12/240 files") or whole[len(line) : len(line) + 2] in ("  ", "")
    assert line == whole


class Terminal(io.StringIO):
    """Knows what stands in its lines, as far as carriage returns go."""

    encoding = "utf-8"

    def isatty(self):
        return True

    def screen(self):
        lines = []
        for line in self.getvalue().split("\n"):
            shown = ""
            for piece in line.split("\r"):
                shown = piece + shown[len(piece) :]
            lines.append(shown.rstrip())
        return lines


@pytest.fixture
def clock():
    """A clock that is set by hand."""

    class Clock:
        now = 100.0

        def __call__(self):
            return self.now

    return Clock()


@pytest.fixture(autouse=True)
def _width(monkeypatch):
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((60, 24)))


def test_a_terminal_has_one_line(clock):
    terminal = Terminal()
    with Progress(3, 30.0, terminal, clock=clock) as progress:
        assert terminal.screen() == ["0/3 files  0:00:00 of 0:00:30"]
        clock.now += 10
        progress.advance(10.0)
        assert terminal.screen() == ["1/3 files  0:00:10 of 0:00:30  1.0× real time  20 s left"]
        clock.now += 5
        progress.advance(10.0)
        assert terminal.screen() == ["2/3 files  0:00:20 of 0:00:30  1.3× real time  8 s left"]
    assert terminal.screen() == [""]


def test_it_is_not_drawn_too_often(clock):
    terminal = Terminal()
    with Progress(1000, None, terminal, clock=clock) as progress:
        for _ in range(1000):
            clock.now += 0.01
            progress.advance(1.0)
        assert 50 <= terminal.getvalue().count("\r") <= 102
        assert terminal.screen()[0].startswith("1000/1000 files")


def test_lines_that_are_said_stand_for_themselves(clock, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with Progress(2, None, terminal, clock=clock) as progress:
        say("warning: odd")
        clock.now += 1
        progress.advance()
        assert terminal.screen() == ["asrkit: warning: odd", "1/2 files"]
        progress.clear()
        terminal.write("a text\n")
    assert terminal.screen() == ["asrkit: warning: odd", "a text", ""]
    assert BEFORE_LINES == []
    say("the end")
    assert terminal.screen()[2] == "asrkit: the end"


def test_after_an_error_the_line_is_gone_too(clock):
    terminal = Terminal()
    with pytest.raises(KeyboardInterrupt), Progress(2, None, terminal, clock=clock):
        raise KeyboardInterrupt
    assert (terminal.screen(), BEFORE_LINES) == ([""], [])


def test_elsewhere_there_is_a_line_now_and_then(clock):
    stream = io.StringIO()
    with Progress(100, None, stream, clock=clock) as progress:
        for _ in range(100):
            clock.now += 1
            progress.advance(2.0)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "asrkit: 30/100 files  0:01:00 of audio  2.0× real time"
    assert len(lines) == 3


@pytest.mark.parametrize("terminal", [False, True])
def test_verbose_and_quiet(clock, terminal):
    loud, still = (Terminal() if terminal else io.StringIO() for _ in range(2))
    for stream, options in ((loud, {"verbose": True}), (still, {"quiet": True}), (None, {})):
        with Progress(2, None, stream, clock=clock, **options) as progress:
            progress.advance()
            progress.advance()
    assert still.getvalue() == ""
    if not terminal:
        assert loud.getvalue() == "asrkit: 1/2 files\nasrkit: 2/2 files\n"


def test_streams_that_take_little(clock):
    narrow = io.TextIOWrapper(io.BytesIO(), "ascii")
    with Progress(2, None, narrow, verbose=True, clock=clock) as progress:
        clock.now += 1
        progress.advance(1.0)
        narrow.flush()
        assert b"1.0x real time" in narrow.buffer.getvalue()

    class Gone(Terminal):
        def write(self, text):
            raise BrokenPipeError

    with Progress(2, None, Gone(), clock=clock) as progress:
        progress.advance()


def test_the_line_stands_while_the_next_recording_is_decoded(clock):
    """It goes away for a text that may be written to the same terminal, and comes back."""
    terminal = Terminal()
    transcript = Transcript("a", "m", "b", "fp32", None, None, None, 2.0, "text", "", (), ())
    seen = []

    def outcomes():
        for _ in range(3):
            seen.append(terminal.screen()[-1])
            clock.now += 0.01  # also when the last line was drawn a moment ago
            yield transcript

    with Progress(3, None, terminal, clock=clock) as progress:
        for _ in Report(progress).transcripts(outcomes()):
            assert terminal.screen()[-1] == ""
    assert [line[:9] for line in seen] == ["0/3 files", "1/3 files", "2/3 files"]


def test_a_single_recording_is_followed(clock):
    terminal = Terminal()
    with Progress(1, 60.0, terminal, clock=clock) as progress:
        assert terminal.screen() == [""], "it may be done before anybody has read the line"
        clock.now += 10
        progress.reach(0, 20.0)
        assert terminal.screen() == ["0:00:20 of 0:01:00  2.0× real time  20 s left"]
        clock.now += 10
        progress.reach(0, 15.0)
        assert terminal.screen()[0].startswith("0:00:20 of 0:01:00  1.0×"), "clips come in order of their lengths"
    assert terminal.screen() == [""]


def test_recordings_that_have_begun_count(clock):
    terminal = Terminal()
    with Progress(2, 60.0, terminal, clock=clock) as progress:
        clock.now += 10
        progress.reach(0, 20.0)
        assert terminal.screen()[0].startswith("0/2 files  0:00:20 of 0:01:00")
        clock.now += 10
        progress.advance(30.0)
        assert terminal.screen()[0].startswith("1/2 files  0:00:30 of 0:01:00")


def test_a_single_recording_elsewhere(clock):
    stream = io.StringIO()
    with Progress(1, 600.0, stream, clock=clock) as progress:
        for seconds in range(0, 100, 5):
            clock.now += 5
            progress.reach(0, float(seconds))
    assert stream.getvalue().splitlines()[0].startswith("asrkit: 0:00:25 of 0:10:00")
    assert len(stream.getvalue().splitlines()) == 3
