"""What was made of which recording: a file of JSON lines that several processes may add to."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

__all__ = ["Entry", "Journal"]


@attrs.frozen
class Entry:
    """How one output was made."""

    source: str
    stamp: list[int] | None
    """Size in bytes and time of the last change in nanoseconds of the recording; None where nobody knows."""
    arguments: dict[str, Any]
    digest: str
    """SHA-256 of the output."""


class Journal:
    """The journal of a folder of outputs. The file need not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._entries: dict[str, list[Entry]] = {}

    def entries(self, name: str) -> list[Entry]:
        """About one output, newest first, with those that other processes have added by now.

        Raises:
            OSError: it is there and cannot be read.
        """
        try:
            if self.path.stat().st_size > self._offset:
                self._read()
        except FileNotFoundError:
            pass
        return self._entries.get(name, [])[::-1]

    def append(
        self, source: str, stamp: list[int] | None, arguments: Mapping[str, Any], digests: Mapping[str, str]
    ) -> None:
        """Add a line in one piece, also while others do; what a killed process left of one is closed off.

        Args:
            digests: SHA-256 by output.

        Raises:
            OSError: it cannot be written whole.
        """
        line = {"source": source, "stamp": stamp, "arguments": arguments, "outputs": digests}
        content = json.dumps(line).encode() + b"\n"
        with self.path.open("a+b", buffering=0) as file:
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    content = b"\n" + content
            written = file.write(content)
        if written != len(content):
            raise OSError(f"{written} of {len(content)} bytes were written")

    def _read(self) -> None:
        with self.path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # being written, or left by a killed process: read when it has an end
                self._offset += len(line)
                self._take(line)

    def _take(self, line: bytes) -> None:
        """Add what a line tells; one that is no entry is passed over."""
        try:
            found = json.loads(line)
            about = found["source"], found["stamp"], dict(found["arguments"])
            for name, digest in found["outputs"].items():
                self._entries.setdefault(name, []).append(Entry(*about, digest))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            pass
