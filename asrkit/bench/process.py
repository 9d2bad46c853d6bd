"""The parent's side of a worker process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from asrkit.errors import AsrkitError, UsageError

__all__ = ["WorkerProcess"]

# Without -P a file numpy.py in the user's folder would be taken for NumPy.
COMMAND = (sys.executable, "-P", "-m", "asrkit.bench.worker")
PATIENCE = 10
"""Seconds that a process whose input has ended is given to leave."""


class WorkerProcess:
    """A worker in a process of its own, which ends with the ``with`` block.

    Args:
        label: what it measures, for messages.
        folder: an empty folder: asrkit's cache for this process, and a file with what it writes to stderr.
        command: the program and its arguments.
    """

    def __init__(self, label: str, folder: Path, command: Sequence[str] = COMMAND) -> None:
        self._label = label
        self._complaints = folder / "stderr.txt"
        with self._complaints.open("ab") as complaints:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,  # a file: nobody needs to read it while the process runs
                env={**os.environ, "ASRKIT_CACHE": str(folder / "cache")},
                text=True,
                encoding="utf-8",
            )

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: TracebackType | None) -> None:
        if kind is not None:
            self._process.kill()
        try:
            self._process.communicate(timeout=PATIENCE)  # which closes its input
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Send a message and wait for its answer.

        Raises:
            AsrkitError: the worker answered with an error, or ended. A UsageError if the call was wrong.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise (UsageError if answer["usage"] else AsrkitError)(answer["error"])
        return answer

    def _ended(self) -> AsrkitError:
        """What became of it, with the last line of its stderr, where Python names the exception."""
        code = self._process.wait()
        how = signal.strsignal(-code) or f"signal {-code}" if code < 0 else f"exit code {code}"
        lines = self._complaints.read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing on stderr")
        return AsrkitError(f"the process that measured {self._label} ended ({how}): {last}")
