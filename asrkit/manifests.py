"""Manifests of recordings and what is said in them, in NeMo's format: JSON objects line by line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import attrs

from asrkit.errors import UsageError

__all__ = ["Pair", "Row", "read_manifest"]

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
    groups: dict[Pair, list[Row]] = {}
    folder = Path(path).parent
    try:
        with open(path, encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    try:
                        row = _row(number, line, folder, language, target_language)
                    except _WrongError as error:
                        raise UsageError(f"{path}, line {number}: {error}") from None
                    rows = groups.setdefault(row.languages, [])
                    if limit is None or len(rows) < limit:
                        rows.append(row)
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such file; give a manifest, one JSON object a line") from None
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read ({error.strerror}); give a manifest, one JSON object a line"
        ) from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: is not a text in UTF-8; give a manifest, one JSON object a line") from None
    if not groups:
        raise UsageError(f"{path}: holds no recordings; give a manifest, one JSON object a line")
    return groups


class _WrongError(Exception):
    """What is wrong with a line."""


def _row(number: int, line: str, folder: Path, language: str | None, target_language: str | None) -> Row:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise _WrongError(f"is not JSON, found {_short(line.strip())}; a manifest has one JSON object a line") from None
    if not isinstance(found, dict):
        raise _WrongError(f"is {_short(found)}; a manifest has one JSON object a line")
    file = _text(found, "audio_filepath")
    if not file or "\0" in file:
        raise _WrongError('has no "audio_filepath"; add the path of the recording')
    if found.get("offset"):
        raise _WrongError(f'has "offset" {_short(found["offset"])}; parts of recordings cannot be read: cut them out')
    duration = found.get("duration")
    if duration is not None and (type(duration) not in (int, float) or not 0 <= duration < math.inf):
        raise _WrongError(f'"duration" is {_short(duration)}; give seconds, or leave it out')
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
    return Row(number, str(folder / file), reference, (source, target), duration)


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
