"""WebVTT (``vtt``)."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import IO

from asrkit.subtitles import Layout, cues, only, timestamp
from asrkit.values import Transcript

__all__ = ["write"]


def write(transcripts: Iterable[Transcript], file: IO[str], *, layout: Layout | None = None) -> None:
    """Write the cues of one transcript; the header alone if it has no text.

    Raises:
        UsageError: there are several transcripts.
    """
    transcript = only(transcripts, "vtt")
    if transcript is None:
        return
    file.write("WEBVTT\n")
    for cue in cues(transcript, layout):
        text = html.escape("\n".join(cue.lines), quote=False)
        file.write(f"\n{timestamp(cue.start, '.')} --> {timestamp(cue.end, '.')}\n{text}\n")
    file.flush()
