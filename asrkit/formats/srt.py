"""SubRip (``srt``): numbered cues."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

from asrkit.subtitles import Layout, cues, only, timestamp
from asrkit.values import Transcript

__all__ = ["write"]


def write(transcripts: Iterable[Transcript], file: IO[str], *, layout: Layout | None = None) -> None:
    """Write the cues of one transcript; nothing if it has no text.

    Raises:
        UsageError: there are several transcripts.
    """
    transcript = only(transcripts, "srt")
    if transcript is None:
        return
    for n, cue in enumerate(cues(transcript, layout), start=1):
        # SubRip cannot escape, and readers may take any such arrow for that of a line of times.
        text = "\n".join(cue.lines).replace("-->", "→")
        blank = "\n" if n > 1 else ""
        file.write(f"{blank}{n}\n{timestamp(cue.start, ',')} --> {timestamp(cue.end, ',')}\n{text}\n")
    file.flush()
