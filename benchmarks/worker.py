"""What all workers share: they read one JSON object a line from stdin and answer with one on stdout.

    {"run": true}   ->  {"seconds": {"features": ..., "encoder": ..., "decoder": ..., "all": ...}, "tokens": [...], ...}
    end of input    ->  the worker ends

The first answer, unasked, comes when the model is loaded. All answers have the peak memory so far.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np


class Stopwatch:
    """Times of the parts of one run: `lap(name)` ends the part that `name` is."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._start = self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """The part `name` ends here, and with it, so far, everything."""
        now = time.perf_counter()
        self.seconds[name] = now - self._last
        self.seconds["all"] = now - self._start
        self._last = now


Run = Callable[[np.ndarray, Stopwatch], list[int]]


def peak_memory() -> int:
    """Peak resident memory of this process in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not ru_maxrss: on Linux that starts with the size of the process that started this one.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def device_memory() -> int:
    """Peak of what MLX has allocated, which on a Mac need not count as the process's; 0 without MLX."""
    module = sys.modules.get("mlx.core")
    return int(module.get_peak_memory()) if module else 0


def versions(*names: str) -> dict[str, str]:
    """Python's version and those of the installed ones of these distributions."""
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def serve(load: Callable[[], tuple[Run, list[int], dict[str, Any]]], samples: str, packages: tuple[str, ...]) -> None:
    """Load a model, say so, then answer until there are no more questions.

    `load` returns how to run it, the ids of its prompt, and facts worth reporting.
    """
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(content: dict[str, Any]) -> None:
        memory = {"peak_bytes": peak_memory(), "mlx_peak_bytes": device_memory()}
        answers.write(json.dumps({**content, **memory}) + "\n")
        answers.flush()

    start = time.perf_counter()
    run, prompt, facts = load()
    seconds = time.perf_counter() - start
    answer({"load_seconds": seconds, "prompt": prompt, "facts": facts, "versions": versions(*packages)})
    wave = np.load(samples)
    for _ in sys.stdin:
        watch, computed = Stopwatch(), time.process_time()
        tokens = run(wave, watch)
        answer({"seconds": watch.seconds, "tokens": tokens, "cpu_seconds": time.process_time() - computed})
