"""JSON: ``json`` is one array, ``jsonl`` one object a line. The keys are those of ``asrkit.values.Transcript``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import IO, Any

import attrs

from asrkit.values import Segment, Transcript

__all__ = ["as_dict", "write", "write_lines"]


def as_dict(transcript: Transcript, tokens: bool = False) -> dict[str, Any]:
    """A transcript as plain data, in a stable order of keys.

    Args:
        tokens: whether to add ``tokens``, the ids without the prompt.
    """
    names = (
        *("file", "model", "backend", "precision", "revision"),
        *("language", "target_language", "task", "duration"),
    )
    result: dict[str, Any] = {name: getattr(transcript, name) for name in names}
    result["text"] = transcript.text
    result["raw_text"] = transcript.raw_text
    result["segments"] = [_segment(segment) for segment in transcript.segments]
    result["warnings"] = [{"code": n.code, "message": n.message} for n in transcript.warnings]
    result["timing"] = attrs.asdict(transcript.timing)
    if tokens:
        result["tokens"] = list(transcript.tokens)
    return result


def _segment(segment: Segment) -> dict[str, Any]:
    result: dict[str, Any] = {"start": segment.start, "end": segment.end, "text": segment.text}
    if segment.words:
        result["words"] = [{"start": w.start, "end": w.end, "text": w.text} for w in segment.words]
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
