"""Files of results: what they are called, and which of them a run that is repeated need not make again."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs

from asrkit.errors import UsageError
from asrkit.inputs import STDIN, Input
from asrkit.journal import Entry, Journal
from asrkit.naming import plan

__all__ = ["JOURNAL", "Outputs", "State"]

JOURNAL = ".asrkit.jsonl"
"""In the folder of the outputs: what was made of which recording with which arguments, one object a line."""

PART = ".asrkit-"
STALE = 3600.0
"""Seconds after which an unfinished file is a dead process's and not another one's at work."""


@attrs.frozen
class State:
    """What a recording still needs."""

    kind: Literal["new", "done", "kept"]
    """To be decoded; made before, by the same arguments; or in the way of something that stays."""
    reason: str = ""
    """Of ``kept``: one line for the user."""


class Outputs:
    """The files that a run writes into a folder.

    What is there already stays: it was made by the same arguments, and then the recording is done, or it is kept. A
    journal in the folder tells. Any moment is a good one to kill the process: files appear when they are complete, and
    the next run goes on.

    Args:
        folder: made if it is not there.
        inputs: the recordings.
        suffixes: of the files of each recording, such as ``.txt``.
        arguments: by name, what else the text depends on: model, revision, options, version; values that JSON has.
        overwrite: replace what is there, and do everything again.

    Raises:
        UsageError: an output would be written over a recording.
        OSError: the folder cannot be made or read.
    """

    def __init__(
        self,
        folder: Path,
        inputs: Sequence[Input],
        suffixes: Sequence[str],
        arguments: Mapping[str, Any],
        overwrite: bool = False,
    ) -> None:
        self.folder = folder
        self._suffixes = tuple(suffixes)
        self._arguments = dict(arguments)
        self._overwrite = overwrite
        self._names = dict(zip(inputs, plan(inputs, suffixes, (JOURNAL,)), strict=True))
        self._seen: dict[Input, list[int] | None] = {}
        recordings = {_real(one.source) for one in inputs if one.source != STDIN}
        for one in inputs:
            for path in self.paths(one).values():
                if _real(path) in recordings:
                    raise UsageError(f"{path} would be written over a recording; use another --output-dir")
        folder.mkdir(parents=True, exist_ok=True)
        self._journal = Journal(folder / JOURNAL)
        for place in {path.parent for one in inputs for path in self.paths(one).values()}:
            _sweep(place)

    def paths(self, one: Input) -> dict[str, Path]:
        """The files of a recording, by suffix."""
        return {suffix: self.folder / f"{self._names[one]}{suffix}" for suffix in self._suffixes}

    def state(self, one: Input) -> State:
        """What a recording needs; asked before it is read, since it may change afterwards.

        Raises:
            OSError: the journal cannot be read.
        """
        self._seen[one] = stamp = _stamp(one)
        if self._overwrite or (stamp is None and one.source != STDIN):
            return State("new")  # a recording that is not there fails in its own words
        done = True
        for suffix, path in self.paths(one).items():
            if not os.path.lexists(path):
                done = False
            elif problem := self._problem(one, path, self._names[one] + suffix):
                return State("kept", f"{path} {problem}")
        return State("done" if done else "new")

    def save(self, one: Input, texts: Mapping[str, str]) -> None:
        """Write the files of a recording, in UTF-8, and remember that it is done.

        Args:
            texts: by suffix, for all of them.

        Raises:
            OSError: with the name of the output that cannot be written.
        """
        paths = self.paths(one)
        # A lone surrogate stands for a byte of a file's name; JSON reads what becomes of it as the same.
        contents = {suffix: texts[suffix].encode("utf-8", "backslashreplace") for suffix in paths}
        parts: dict[Path, Path] = {}
        path = self.folder
        try:
            for suffix, path in paths.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                part = parts[path] = path.with_name(f"{PART}{secrets.token_hex(8)}.part")
                with part.open("xb") as file:
                    file.write(contents[suffix])
            path = self._journal.path
            # Before the files have their names: what has a name is always accounted for.
            stamp = self._seen[one] if one in self._seen else _stamp(one)
            digests = {self._names[one] + suffix: _digest(content) for suffix, content in contents.items()}
            self._journal.append(self._source(one), stamp, self._asked(one), digests)
            for path, part in parts.items():
                part.replace(path)
        except OSError as error:
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        finally:
            for part in parts.values():
                part.unlink(missing_ok=True)

    def _problem(self, one: Input, path: Path, name: str) -> str | None:
        """Why an output that is there is not the one to be made, and what to do."""
        if not path.is_file():
            return "exists and is no file: kept; move it away"
        try:
            digest = _digest(path.read_bytes())
        except OSError as error:
            return f"exists and cannot be read ({error.strerror}): kept; --overwrite replaces it"
        entries = self._journal.entries(name)
        # Not always the last one: its process may have been killed before the file got its name.
        differences = [self._difference(one, entry) for entry in entries if entry.digest == digest]
        if None in differences:
            return None
        reasons = [
            *differences,
            "was changed after it was made" if entries else "exists and was not made by this command",
        ]
        return f"{reasons[0]}: kept; --overwrite replaces it"

    def _difference(self, one: Input, entry: Entry) -> str | None:
        """Why what an entry tells about is not what is to be made."""
        if entry.source != self._source(one):
            return f"was made from another recording ({ascii(entry.source)[1:-1]})"
        if changes := _changes(entry.arguments, self._asked(one)):
            return f"was made with other arguments ({changes})"
        if one.source == STDIN:
            return "was made from standard input, which cannot be compared"
        return "was made before the recording changed" if entry.stamp != self._seen[one] else None

    def _asked(self, one: Input) -> dict[str, Any]:
        """All that the text depends on but the recording, as JSON gives it back."""
        asked = {**self._arguments, **one.options, "offset": one.offset, "duration": one.duration}
        return json.loads(json.dumps({name: value for name, value in asked.items() if value is not None}, default=str))

    def _source(self, one: Input) -> str:
        """The recording as seen from the folder, so that both may be moved together."""
        if one.source == STDIN:
            return STDIN
        source = os.path.realpath(one.source)
        try:
            return os.path.relpath(source, os.path.realpath(self.folder)).replace(os.sep, "/")
        except ValueError:  # on another drive
            return source.replace(os.sep, "/")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _real(path: str | Path) -> str:
    return os.path.normcase(os.path.realpath(path))


def _stamp(one: Input) -> list[int] | None:
    """Size in bytes and time of the last change in nanoseconds, as JSON gives them back."""
    try:
        found = None if one.source == STDIN else os.stat(one.source)
    except (OSError, ValueError):
        return None
    return None if found is None else [found.st_size, found.st_mtime_ns]


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    def value(arguments: Mapping[str, Any], name: str) -> str:
        return str(arguments[name]) if name in arguments else "not given"

    names = sorted({*before, *now})
    return ", ".join(
        f"{name} was {value(before, name)}, is {value(now, name)}"
        for name in names
        if before.get(name) != now.get(name)
    )


def _sweep(folder: Path) -> None:
    """Remove unfinished files of processes that are long dead."""
    try:
        for path in folder.glob(f"{PART}*.part"):
            if time.time() - path.stat().st_mtime > STALE:
                path.unlink()
    except OSError:
        return  # another run's sweep, or a folder that is not there yet; it does no harm
