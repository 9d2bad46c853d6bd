"""What a figure means nothing without: the machine, the versions, the memory a process took."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["machine", "peak_memory"]

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""Environment variables with which libraries let their threads be chosen."""


def machine() -> dict[str, Any]:
    """The processor, its cores, the memory in bytes, the system, Python, NumPy, and settings of threads."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "memory": _memory(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "environment": {name: os.environ[name] for name in THREADS if name in os.environ},
    }


def peak_memory() -> int | None:
    """The most memory this process has had resident, in bytes; None where that is not measured.

    On Linux ``VmHWM``: what ``getrusage`` gives there may be what the parent had when it forked.
    """
    status = _read("/proc/self/status")
    if found := re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE):
        return int(found[1]) * 1024
    if sys.platform == "win32":
        return None
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _processor() -> str:
    if found := re.search(r"^model name\s*:\s*(.+)$", _read("/proc/cpuinfo"), re.MULTILINE):
        return found[1].strip()
    if sys.platform == "darwin":
        asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
        name = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
        if name:
            return name
    return platform.processor() or platform.machine()


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
