"""What becomes of transcripts on a command line: formats, files, and lines that say what happened."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from inspect import signature
from typing import IO, Any

import attrs

from asrkit.blame import blaming
from asrkit.cli import say
from asrkit.cli.progress import Progress
from asrkit.errors import PluginError, UsageError
from asrkit.plugins import registry
from asrkit.registry import Entry
from asrkit.values import Failure, Transcript

__all__ = ["ALL", "Format", "Report", "choose_formats"]

ALL = "all"
"""The word for every format that a file a recording makes sense in."""

NOT_IN_ALL = ("jsonl",)
"""The same as another one, for many recordings in one file."""

WITHOUT_HYPOTHESES = {"srt", "tsv", "txt", "vtt"}
"""The core's formats that have no place for alternatives and confidences; what those of plugins hold is theirs."""


@attrs.frozen
class Format:
    """A format with the options it was asked for with."""

    entry: Entry
    options: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What it is called."""
        return self.entry.name

    @property
    def suffix(self) -> str:
        """How its files end."""
        return self.entry.suffix

    @property
    def single(self) -> bool:
        """Whether a file of it holds one recording."""
        return self.entry.single

    def write(self, transcripts: Iterable[Transcript], file: IO[str]) -> None:
        """Write transcripts as they come.

        Raises:
            PluginError: the format failed, or left some of them out.
        """
        problems: list[Exception] = []
        rest: list[bool] = [True]

        def watched() -> Iterator[Transcript]:
            try:
                yield from transcripts
                rest.clear()
            except Exception as error:  # not the format's
                problems.append(error)
                raise

        try:
            with blaming(str(self.entry), OSError):
                self.entry.load()(watched(), file, **self.options)
        except PluginError:
            if problems:
                raise problems[0] from None
            raise
        if rest and not self.single:
            raise PluginError(f"{self.entry} did not ask for all recordings; those that are missing were not decoded")

    def text(self, transcript: Transcript) -> str:
        """One transcript as the content of a file."""
        file = io.StringIO()
        self.write([transcript], file)
        return file.getvalue()


def choose_formats(name: str, options: Mapping[str, Any]) -> list[Format]:
    """The formats that a name stands for.

    Args:
        name: of a format, or ``all``.
        options: keywords for ``write``, by name; None where nobody asked for one.

    Raises:
        UsageError: an option has no place in any of them.
    """
    given = {option: value for option, value in options.items() if value is not None}
    if name == ALL:
        entries = [entry for entry in registry().entries("format") if entry.name not in NOT_IN_ALL]
    else:
        entries = [registry().get("format", name)]
    loaded = [(entry, entry.load()) for entry in entries]
    for option in given:
        if not any(option in signature(write).parameters for _, write in loaded):
            raise UsageError(f"format {name!r} has no place for {_flag(option)}; {_others(option)}")
    return [
        Format(entry, {option: value for option, value in given.items() if option in signature(write).parameters})
        for entry, write in loaded
    ]


def _flag(option: str) -> str:
    return "lines of subtitles" if option == "layout" else f"--{option}"


def _others(option: str) -> str:
    names = [entry.name for entry in registry().entries("format") if option in signature(entry.load()).parameters]
    return f"use {' or '.join(names)}" if names else "no installed format has"


class Report:
    """Tells the user on stderr what happened to each recording."""

    def __init__(self, progress: Progress | None = None, formats: Iterable[str] = ()) -> None:
        names = set(formats)
        self._bare = names if names and names <= WITHOUT_HYPOTHESES else set()
        self.failed = 0
        self.done = 0
        """Recordings that came to an end, failures included."""
        self._told: set[str] = set()
        self._progress = progress

    def failure(self, message: str) -> None:
        """Count and tell one."""
        self.failed += 1
        say(f"error: {message}")

    def transcripts(self, outcomes: Iterable[Transcript | Failure]) -> Iterator[Transcript]:
        """The transcripts among the outcomes."""
        for outcome in outcomes:
            self.done += 1
            if self._progress is not None:
                self._progress.advance(0.0 if isinstance(outcome, Failure) else outcome.duration)
            if isinstance(outcome, Failure):
                self.failure(str(outcome.error))
                continue
            if self._bare and (outcome.alternatives or outcome.confidences):
                written = " and ".join(sorted(self._bare))
                say(f"warning: alternatives and confidences are in json and jsonl, and not in {written}", 0)
                self._bare = set()
            for notice in outcome.warnings:
                if notice.once and notice.code in self._told:
                    continue
                self._told.add(notice.code)
                say(f"warning: {notice.message}" if notice.once else f"warning: {outcome.file}: {notice.message}", 0)
            say(f"{outcome.file}: {outcome.duration:.1f} s of audio in {outcome.timing.total:.2f} s", 1)
            if self._progress is not None:
                self._progress.clear()  # the text may go to the same terminal
            yield outcome
            if self._progress is not None:
                self._progress.show()
