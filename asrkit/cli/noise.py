"""What libraries written in C print by themselves, past Python, such as a decoder's doubts about every second mp3."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from asrkit.cli import verbosity

__all__ = ["without_noise"]


@contextmanager
def without_noise() -> Iterator[None]:
    """Only what Python writes reaches standard error; with ``-vv`` everything does.

    What such libraries print names no file and asks for nothing: whatever matters comes back as an error or a warning.
    """
    stream: Any = sys.stderr
    original: Any = sys.__stderr__
    # Only where standard error is what a shell has set up: whoever has replaced it, as tests do, knows better.
    if stream is None or stream is not original or stream.fileno() != 2 or verbosity() > 1:
        yield
        return
    stream.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    with open(kept, "w", encoding=stream.encoding, errors=stream.errors, buffering=1) as own:
        os.dup2(nowhere, 2)
        os.close(nowhere)
        sys.stderr = own
        try:
            yield
        finally:
            sys.stderr = stream
            own.flush()
            os.dup2(kept, 2)
