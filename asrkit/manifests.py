"""Manifests of recordings and what is said in them, in NeMo's format: JSON objects line by line."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs

from asrkit.errors import UsageError

__all__ = ["Excerpt", "Pair", "Row", "read_excerpts", "read_manifest"]

Made = TypeVar("Made")

TASKS = {
    "asr": "transcribe",
    "transcribe": "transcribe",
    "ast": "translate",
    "s2t_translation": "translate",
    "translate": "translate",
}
"""asrkit's tasks, by the names that a manifest may have for them."""

SWITCHES = ("pnc", "itn", "timestamp")
"""Options that are "yes" or "no" in NeMo's manifests."""

Pair = tuple[str | None, str | None]
"""Languages: spoken and written; None where nobody says it."""


@attrs.frozen
class Row:
    """A recording and what is said in it."""

    line: int
    """Of the manifest, from 1."""
    file: str
    reference: str
    languages: Pair
    duration: float | None = None
    """Seconds, as the manifest has it."""
    offset: float | None = None
    """Seconds from which ``duration`` is read; None means that the row is about the whole recording."""


@attrs.frozen
class Excerpt:
    """A recording, or a part of one, and what is asked for it alone."""

    file: str
    offset: float = 0.0
    """Seconds from which it is read."""
    duration: float | None = None
    """Seconds that are read; None means to the end."""
    options: Mapping[str, Any] = attrs.field(factory=dict)
    """Of the model, by asrkit's names."""


def read_manifest(
    path: str, language: str | None = None, target_language: str | None = None, limit: int | None = None
) -> dict[Pair, list[Row]]:
    """The rows of a manifest by (spoken, written) language, in the order they come.

    Args:
        path: the file.
        language: what is spoken, whatever the manifest says.
        target_language: what is to be written, whatever the manifest says.
        limit: so many rows of each pair, the first ones.

    Raises:
        UsageError: a line cannot be used; the message has its number.
    """
    folder = Path(path).parent
    groups: dict[Pair, list[Row]] = {}
    for row in _read(path, lambda number, found: _row(number, found, folder, language, target_language)):
        rows = groups.setdefault(row.languages, [])
        if limit is None or len(rows) < limit:
            rows.append(row)
    return groups


def read_excerpts(path: str) -> list[Excerpt]:
    """The recordings, or parts of recordings, that a manifest asks to transcribe, in its order.

    Raises:
        UsageError: a line cannot be used; the message has its number.
    """
    folder = os.path.dirname(path)
    return list(_read(path, lambda _, found: _excerpt(found, folder)))


def _read(path: str, make: Callable[[int, dict[str, Any]], Made]) -> Iterator[Made]:
    """What is made of each line: its number and its object."""
    empty = True
    try:
        with open(path, encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    try:
                        made = make(number, _object(line))
                    except _WrongError as error:
                        raise UsageError(f"{path}, line {number}: {error}") from None
                    empty = False
                    yield made
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such file; give a manifest, one JSON object a line") from None
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read ({error.strerror}); give a manifest, one JSON object a line"
        ) from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: is not a text in UTF-8; give a manifest, one JSON object a line") from None
    if empty:
        raise UsageError(f"{path}: holds no recordings; give a manifest, one JSON object a line")


class _WrongError(Exception):
    """What is wrong with a line."""


def _object(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise _WrongError(f"is not JSON, found {_short(line.strip())}; a manifest has one JSON object a line") from None
    if not isinstance(found, dict):
        raise _WrongError(f"is {_short(found)}; a manifest has one JSON object a line")
    return found


def _row(number: int, found: dict[str, Any], folder: Path, language: str | None, target_language: str | None) -> Row:
    file = _file(found)
    duration, offset = _seconds(found, "duration"), _seconds(found, "offset")
    lang = _text(found, "lang")
    own_source = _text(found, "source_lang") or lang
    own_target = _text(found, "target_lang") or lang or own_source
    translates = own_target != own_source
    source = language or own_source
    target = target_language or (own_target if translates else source)
    # What is not translated is written in the language that is spoken, whatever that is called.
    fits = own_target == target or (not translates and source == target)
    spoken = not translates and source == target
    reference = _reference(found, own_target, target, fits, spoken)
    return Row(number, str(folder / file), reference, (source, target), duration, offset)


def _excerpt(found: dict[str, Any], folder: str) -> Excerpt:
    duration = _seconds(found, "duration")
    if duration == 0:
        raise _WrongError('"duration" is 0; give the seconds to read, or leave it out')
    language, lang = _text(found, "source_lang"), _text(found, "lang")
    options: dict[str, Any] = {"language": language or lang, "target_language": _text(found, "target_lang") or lang}
    task = found.get("taskname")
    if task is not None and not (isinstance(task, str) and task in TASKS):
        raise _WrongError(f'"taskname" is {_short(task)}; give one of {", ".join(TASKS)}, or leave it out')
    options["task"] = TASKS[task] if task is not None else None
    for key in SWITCHES:
        value = found.get(key)
        if value is not None and not (isinstance(value, bool) or value in ("yes", "no")):
            raise _WrongError(f'"{key}" is {_short(value)}; give "yes" or "no", or leave it out')
        options[key] = None if value is None else value in (True, "yes")
    options = {name: value for name, value in options.items() if value is not None}
    return Excerpt(os.path.join(folder, _file(found)), _seconds(found, "offset") or 0.0, duration, options)


def _file(found: dict[str, Any]) -> str:
    file = _text(found, "audio_filepath")
    if not file or "\0" in file:
        raise _WrongError('has no "audio_filepath"; add the path of the recording')
    return file


def _seconds(found: dict[str, Any], key: str) -> float | None:
    value = found.get(key)
    if value is not None and (type(value) not in (int, float) or not 0 <= value < math.inf):
        raise _WrongError(f'"{key}" is {_short(value)}; give seconds, or leave it out')
    return value


def _reference(found: dict[str, Any], own: str | None, target: str | None, fits: bool, spoken: bool) -> str:
    texts = found.get("texts")
    if texts is not None and not isinstance(texts, dict):
        raise _WrongError(f'"texts" is {_short(texts)}; give an object of texts by language')
    if spoken and found.get("text") is not None:
        reference = _text(found, "text")
    elif target is not None and texts and target in texts:
        reference = _text(texts, target)
    elif fits:
        reference = _text(found, "text")
    else:
        names = {*(texts or ()), *([own] if own and "text" in found else [])}
        has = ", ".join(sorted(ascii(name)[1:-1] for name in names)) or "none that is named"
        raise _WrongError(
            f"has no reference in {target!r}, its languages: {has}; "
            f'add {target!r} to "texts", or give a "text" with "target_lang" {target!r}'
        )
    if reference is None:
        raise _WrongError('has no "text"; add what is said, or an empty one where nothing is')
    return reference


def _text(found: dict[str, Any], key: str) -> str | None:
    """A text that can be written anywhere, or None."""
    value = found.get(key)
    if value is None:
        return None
    try:
        if isinstance(value, str) and value.encode() is not None:
            return value
    except UnicodeEncodeError:  # half of a pair, written as \ud8..
        raise _WrongError(f'"{key}" is {_short(value)}, which is no Unicode; write it in UTF-8') from None
    raise _WrongError(f'"{key}" is {_short(value)}; give a text')


def _short(value: Any) -> str:
    shown = ascii(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
