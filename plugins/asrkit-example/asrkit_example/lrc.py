"""LRC: lines with the time at which they begin, as players show the words of songs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

from asrkit import Transcript
from asrkit.subtitles import only, spans

__all__ = ["write"]


def write(transcripts: Iterable[Transcript], file: IO[str]) -> None:
    """Write one transcript; nothing if its recording failed."""
    transcript = only(transcripts, "lrc")
    if transcript is None:
        return
    for segment in spans(transcript):
        minutes, hundredths = divmod(round(100 * segment.start), 6000)
        file.write(f"[{minutes:02}:{hundredths / 100:05.2f}]{' '.join(segment.text.split())}\n")
