"""Plain text: one line a recording."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

from asrkit.values import Transcript

__all__ = ["write"]


def write(transcripts: Iterable[Transcript], file: IO[str]) -> None:
    """Write the text of each transcript, as soon as it is there."""
    for transcript in transcripts:
        file.write(transcript.text + "\n")
        file.flush()
