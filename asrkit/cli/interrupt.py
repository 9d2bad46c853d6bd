"""Ctrl-C that lets the work at hand come to an end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from asrkit.cli import say

__all__ = ["Stop", "stoppable"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether the user has asked to stop."""

    asked = False


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Inside, the first Ctrl-C or SIGTERM only sets ``asked``; the second one raises KeyboardInterrupt.

    Outside of the main thread, where Python allows no handlers, nothing changes; nor for a signal that is ignored, as
    under ``nohup``.
    """
    stop = Stop()

    def handle(number: int, frame: Any) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.asked = True
        # It may come in the middle of a line that is being written, which cannot be entered twice.
        with suppress(RuntimeError):
            say("finishing the current batch; Ctrl-C again stops at once")

    before: dict[signal.Signals, Any] = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    before[number] = signal.signal(number, handle)
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
