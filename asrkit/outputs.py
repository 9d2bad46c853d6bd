"""Files of results: what they are called, and which of them a run that is repeated need not make again."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import secrets
import time
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs

from asrkit.errors import UsageError
from asrkit.inputs import STDIN, Input

__all__ = ["JOURNAL", "Outputs", "State", "plan"]

JOURNAL = ".asrkit.jsonl"
"""In the folder of the outputs: what was made of which recording with which arguments, one object a line."""

PART = ".asrkit-"
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
STALE = 3600.0
"""Seconds after which an unfinished file is a dead process's and not another one's at work."""


@attrs.frozen
class State:
    """What a recording still needs."""

    kind: Literal["new", "done", "kept"]
    """To be decoded; made before, by the same arguments; or in the way of something that stays."""
    reason: str = ""
    """Of ``kept``: one line for the user."""


def plan(inputs: Sequence[Input], suffixes: Sequence[str]) -> list[str]:
    """Names for the outputs of each input, without suffix, with ``/`` between folders.

    No two of them meet, also where ``Talk`` and ``talk`` are one name. They depend on the inputs alone, and are such
    that every system takes them.
    """
    common = _common(inputs)
    # Excerpts that start at one place of a recording share its name; they are told apart last, by number.
    choices = {_place(one): _choices(one, common) for one in reversed(inputs)}
    levels = dict.fromkeys(choices, 0)
    while True:
        owners: dict[str, set[Any]] = {_key(JOURNAL): {None}}
        for place, level in levels.items():
            for suffix in suffixes:
                owners.setdefault(_key(choices[place][level] + suffix), set()).add(place)
        clashing = {place for group in owners.values() if len(group) > 1 for place in group if place is not None}
        movable = [place for place in clashing if levels[place] + 1 < len(choices[place])]
        if not movable:
            break
        for place in movable:
            levels[place] += 1
    used = {_key(JOURNAL)}
    names = []
    for one in inputs:
        name = choices[_place(one)][levels[_place(one)]]
        for count in itertools.count(1):
            numbered = name if count == 1 else f"{name}-{count}"
            keys = {_key(numbered + suffix) for suffix in suffixes}
            if not keys & used and (count == 1 or not keys & owners.keys()):
                break
        used |= keys
        names.append(numbered)
    return names


def _place(one: Input) -> tuple[str, float]:
    return one.source if one.source == STDIN else os.path.abspath(one.source), one.offset


def _common(inputs: Sequence[Input]) -> str:
    folders = {os.path.dirname(os.path.abspath(one.source)) for one in inputs if one.source != STDIN}
    try:
        return os.path.commonpath(folders) if folders else ""
    except ValueError:  # several drives
        return ""


def _choices(one: Input, common: str) -> list[str]:
    """Names from the shortest to the most telling one."""
    full = one.relative
    if one.source != STDIN:
        full = os.path.abspath(one.source)
        full = os.path.relpath(full, common) if common else full
    names = []
    for relative in (one.relative, full.replace(os.sep, "/")):
        *folders, name = [part for part in relative.split("/") if part]
        mark = f"-{one.offset:09.3f}" if one.offset else ""
        for stem in (os.path.splitext(name)[0], name):
            names.append("/".join([*(_safe(folder) for folder in folders), _safe(stem, inside=True) + mark]))
    return names


def _safe(name: str, inside: bool = False) -> str:
    """A name that Windows takes as well; ``inside`` if something follows that does not end in a dot."""
    name = re.sub(r'[\x00-\x1f<>:"/\\|?*]', "_", name)
    if not inside:
        name = re.sub(r"[. ]+$", lambda found: "_" * len(found[0]), name)
    base, dot, rest = name.partition(".")
    return f"{base}_{dot}{rest}" if base.rstrip().lower() in RESERVED else name


def _key(name: str) -> str:
    """The same for names that some file system does not tell apart."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


@attrs.frozen
class _Entry:
    """One line of the journal, as it tells about one output."""

    source: str
    stamp: list[int] | None
    arguments: dict[str, Any]
    digest: str


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
        self._names = dict(zip(inputs, plan(inputs, suffixes), strict=True))
        self._seen: dict[Input, list[int] | None] = {}
        recordings = {_real(one.source) for one in inputs if one.source != STDIN}
        for one in inputs:
            for path in self.paths(one).values():
                if _real(path) in recordings:
                    raise UsageError(f"{path} would be written over a recording; use another folder for the outputs")
        folder.mkdir(parents=True, exist_ok=True)
        self._entries = _entries(folder / JOURNAL)
        for place in {path.parent for one in inputs for path in self.paths(one).values()}:
            _sweep(place)

    def paths(self, one: Input) -> dict[str, Path]:
        """The files of a recording, by suffix."""
        return {suffix: self.folder / f"{self._names[one]}{suffix}" for suffix in self._suffixes}

    def state(self, one: Input) -> State:
        """What a recording needs; asked before it is read, since it may change afterwards."""
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
            path = self.folder / JOURNAL
            # Before the files have their names: what has a name is always accounted for.
            _append(path, self._line(one, contents))
            for path, part in parts.items():
                part.replace(path)
        except OSError as error:
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        finally:
            for part in parts.values():
                part.unlink(missing_ok=True)

    def _line(self, one: Input, contents: Mapping[str, bytes]) -> dict[str, Any]:
        return {
            "source": self._source(one),
            "stamp": self._seen[one] if one in self._seen else _stamp(one),
            "arguments": self._asked(one),
            "outputs": {
                self._names[one] + suffix: hashlib.sha256(content).hexdigest() for suffix, content in contents.items()
            },
        }

    def _problem(self, one: Input, path: Path, name: str) -> str | None:
        """Why an output that is there is not the one to be made, and what to do."""
        if not path.is_file():
            return "exists and is no file: kept; move it away"
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            return f"exists and cannot be read ({error.strerror}): kept; --overwrite replaces it"
        entries = self._entries.get(name, [])
        # Not always the last one: its process may have been killed before the file got its name.
        differences = [self._difference(one, entry) for entry in reversed(entries) if entry.digest == digest]
        if None in differences:
            return None
        reasons = [*differences, "was changed after it was made" if entries else "exists and was not made by asrkit"]
        return f"{reasons[0]}: kept; --overwrite replaces it"

    def _difference(self, one: Input, entry: _Entry) -> str | None:
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


def _append(path: Path, line: Mapping[str, Any]) -> None:
    """Add a line in one piece, also while others do; what a killed process left of one is closed off."""
    content = json.dumps(line).encode() + b"\n"
    with path.open("a+b", buffering=0) as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                content = b"\n" + content
        written = file.write(content)
    if written != len(content):
        raise OSError(f"{written} of {len(content)} bytes were written")


def _entries(path: Path) -> dict[str, list[_Entry]]:
    """What the journal tells about each output, oldest first; a line that is no entry is passed over."""
    entries: dict[str, list[_Entry]] = {}
    for line in _lines(path):
        try:
            found = json.loads(line)
            about = found["source"], found["stamp"], dict(found["arguments"])
            for name, digest in found["outputs"].items():
                entries.setdefault(name, []).append(_Entry(*about, digest))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
    return entries


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from file
    except FileNotFoundError:
        return


def _sweep(folder: Path) -> None:
    """Remove unfinished files of processes that are long dead."""
    try:
        for path in folder.glob(f"{PART}*.part"):
            if time.time() - path.stat().st_mtime > STALE:
                path.unlink()
    except OSError:
        return  # another run's sweep, or a folder that is not there yet; it does no harm
