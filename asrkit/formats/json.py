"""JSON: ``json`` is one array, ``jsonl`` one object a line. The keys are those of ``asrkit.values.Transcript``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import IO, Any

import attrs

from asrkit.values import Alternative, Segment, Transcript, Word

__all__ = ["as_dict", "write", "write_lines"]

DIGITS = 4
"""Decimal places of scores, and significant digits of confidences: those of one model may all be tiny."""


def as_dict(transcript: Transcript, tokens: bool = False) -> dict[str, Any]:
    """A transcript as plain data, in a stable order of keys.

    Args:
        tokens: whether to add ``tokens``, the ids without the prompt, and what is known of each.
    """
    names = (
        *("file", "model", "backend", "precision", "revision"),
        *("language", "target_language", "task", "duration"),
    )
    result: dict[str, Any] = {name: getattr(transcript, name) for name in names}
    result["text"] = transcript.text
    result["raw_text"] = transcript.raw_text
    if transcript.confidence is not None:
        result["confidence"] = _digits(transcript.confidence)
    if transcript.alternatives:
        result["alternatives"] = [_alternative(one, tokens) for one in transcript.alternatives]
    result["segments"] = [_segment(segment) for segment in transcript.segments]
    result["warnings"] = [{"code": n.code, "message": n.message} for n in transcript.warnings]
    result["timing"] = attrs.asdict(transcript.timing)
    if tokens:
        result["tokens"] = list(transcript.tokens)
        if transcript.confidences:
            result["confidences"] = [_digits(one) for one in transcript.confidences]
    return result


def _alternative(found: Alternative, tokens: bool) -> dict[str, Any]:
    result: dict[str, Any] = {"score": round(found.score, DIGITS), "text": found.text}
    if tokens:
        result["tokens"] = list(found.tokens)
    return result


def _digits(confidence: float) -> float:
    return float(f"{confidence:.{DIGITS}g}")


def _segment(segment: Segment) -> dict[str, Any]:
    result: dict[str, Any] = {"start": segment.start, "end": segment.end, "text": segment.text}
    if segment.words:
        result["words"] = [_word(word) for word in segment.words]
    return result


def _word(word: Word) -> dict[str, Any]:
    result: dict[str, Any] = {"start": word.start, "end": word.end, "text": word.text}
    if word.confidence is not None:
        result["confidence"] = _digits(word.confidence)
    return result


def write(transcripts: Iterable[Transcript], file: IO[str], tokens: bool = False) -> None:
    """The ``json`` format: one array, written element by element."""
    separator = "["
    for transcript in transcripts:
        # One key a line: indented all the way down, hundreds of ids would take a line each.
        keys = [f"  {_dump(key)}: {_dump(value)}" for key, value in as_dict(transcript, tokens).items()]
        file.write(separator + "\n{\n" + ",\n".join(keys) + "\n}")
        file.flush()
        separator = ","
    file.write("[]\n" if separator == "[" else "\n]\n")


def write_lines(transcripts: Iterable[Transcript], file: IO[str], tokens: bool = False) -> None:
    """The ``jsonl`` format: one object a line."""
    for transcript in transcripts:
        file.write(_dump(as_dict(transcript, tokens)) + "\n")
        file.flush()


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
