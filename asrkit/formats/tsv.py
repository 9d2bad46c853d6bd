"""Tab-separated values (``tsv``), with the columns that Whisper's tools write."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

from asrkit.subtitles import only, spans
from asrkit.values import Transcript

__all__ = ["write"]


def write(transcripts: Iterable[Transcript], file: IO[str]) -> None:
    """Write one row a segment of one transcript: start and end in milliseconds, text.

    Raises:
        UsageError: there are several transcripts.
    """
    transcript = only(transcripts, "tsv")
    if transcript is None:
        return
    file.write("start\tend\ttext\n")
    for segment in spans(transcript):
        text = " ".join(segment.text.replace("\t", " ").splitlines())
        file.write(f"{round(segment.start * 1000)}\t{round(segment.end * 1000)}\t{text}\n")
    file.flush()
