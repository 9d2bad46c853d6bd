"""How far a run has come: a line that is drawn anew on a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import IO

from asrkit.cli import BEFORE_LINES

__all__ = ["Progress", "render"]

REDRAW = 0.1
"""Seconds between two drawings on a terminal."""
REPEAT = 30.0
"""Seconds between two plain lines."""
SETTLED = 5.0
"""Seconds after which the speed says something about what is left."""


class Progress:
    """Tells on a stream how many recordings are done; a context manager, since the line has to go in the end.

    While it is open, ``asrkit.cli.say`` takes its line away first, so that warnings stand for themselves.

    Args:
        files: how many recordings there are to do.
        seconds: how long they are together; None if that is not known.
        stream: where to; None for nowhere.
        quiet: say nothing.
        verbose: where there is no terminal, a line for every recording.
        clock: seconds from any start.
    """

    def __init__(
        self,
        files: int,
        seconds: float | None,
        stream: IO[str] | None,
        *,
        quiet: bool = False,
        verbose: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._files, self._seconds = files, seconds
        self._stream = None if quiet else stream
        self._terminal = stream is not None and stream.isatty()
        self._verbose = verbose
        self._clock = clock
        self._started = self._told = clock()
        self._done, self._heard = 0, 0.0
        self._reached: dict[int, float] = {}
        """How far recordings are that have begun."""
        self._drawn = ""

    def __enter__(self) -> Progress:
        BEFORE_LINES.append(self.clear)
        if self._terminal and self._files > 1:  # a single one may be done before anybody has read the line
            self._draw()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()
        BEFORE_LINES.remove(self.clear)

    def reach(self, index: int, seconds: float) -> None:
        """A recording has come so far.

        Args:
            index: its place among all, from 0 on.
            seconds: of it that are transcribed.
        """
        if index >= self._done:
            self._reached[index] = max(seconds, self._reached.get(index, 0.0))
        self._tell(last=False)

    def advance(self, seconds: float = 0.0) -> None:
        """The next recording is done, or has failed.

        Args:
            seconds: of audio that were transcribed.
        """
        self._reached.pop(self._done, None)
        self._done += 1
        self._heard += seconds
        self._tell(last=True)

    def _tell(self, last: bool) -> None:
        """Draw, or write a line, if it is time.

        Args:
            last: whether a recording has come to its end.
        """
        since = self._clock() - self._told
        if self._terminal:
            if since >= REDRAW or self._done == self._files:
                self._draw()
        elif (self._verbose and last and self._files > 1) or since >= REPEAT:
            self._write(f"asrkit: {self._text(None)}\n")

    def show(self) -> None:
        """Draw the line again on a terminal, after :meth:`clear`."""
        if self._terminal and not self._drawn:
            self._draw()

    def clear(self) -> None:
        """Take the line away, before something else is written to the terminal."""
        if self._drawn:
            self._write(f"\r{' ' * len(self._drawn)}\r")
            self._drawn = ""

    def _draw(self) -> None:
        # In the last column some terminals begin a new line.
        text = self._text(shutil.get_terminal_size().columns - 1)
        self._write(f"\r{text}{' ' * (len(self._drawn) - len(text))}")
        self._drawn = text

    def _text(self, width: int | None) -> str:
        elapsed = self._clock() - self._started
        heard = self._heard + sum(self._reached.values())
        return render(self._done, self._files, heard, self._seconds, elapsed, width)

    def _write(self, text: str) -> None:
        self._told = self._clock()
        if self._stream is not None:
            # A terminal that has gone must not stop the work.
            with suppress(OSError, ValueError):
                try:
                    self._stream.write(text)
                except UnicodeEncodeError:
                    self._stream.write(text.replace("×", "x"))
                self._stream.flush()


def render(done: int, files: int, heard: float, seconds: float | None, elapsed: float, width: int | None = None) -> str:
    """The line, such as ``12/240 files  1:02:33 of 8:10:00  31.2× real time  14 min left``.

    Args:
        done: recordings so far.
        files: recordings in all.
        heard: seconds of audio so far.
        seconds: of audio in all, or None.
        elapsed: seconds since the start.
        width: columns that it may take; what does not fit is left out from the end.
    """
    fields = [f"{done}/{files} files"] if files > 1 else []
    if seconds is not None:
        # Manifests round their durations; nobody wants to read 1:00:01 of 1:00:00.
        fields.append(f"{_clock(heard)} of {_clock(max(seconds, heard))}")
    elif heard:
        fields.append(f"{_clock(heard)} of audio")
    elif not fields:
        fields.append("0:00:00 of audio")
    if heard and elapsed > 0:
        fields.append(f"{heard / elapsed:.1f}× real time")
        if seconds is not None and elapsed >= SETTLED and done < files:
            fields.append(f"{_span(max(seconds - heard, 0.0) * elapsed / heard)} left")
    while width is not None and len(fields) > 1 and len("  ".join(fields)) > width:
        fields.pop()
    text = "  ".join(fields)
    return text if width is None else text[: max(width, 0)]


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def _span(seconds: float) -> str:
    if seconds < 60:
        return f"{max(round(seconds), 1)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"
