"""Where asrkit keeps what it can make again, and how files are written so that nobody ever reads half of one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import platformdirs

__all__ = ["KEPT", "cache_folder", "folder_size", "size_text", "write_whole"]

KEPT = ("onnxruntime", "quantized")
"""The folders in the cache."""


def cache_folder() -> Path:
    """``ASRKIT_CACHE``, or the platform's folder for caches. It may not exist yet."""
    chosen = os.environ.get("ASRKIT_CACHE")
    return Path(chosen) if chosen else platformdirs.user_cache_path("asrkit", appauthor=False)


def folder_size(folder: Path) -> int:
    """Bytes of all files in a folder; 0 if there is none."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def size_text(size: int) -> str:
    """A number of bytes for readers: ``731 MB``, ``3.7 GB``."""
    value, unit = float(size), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.1f} {unit}" if unit != "bytes" and value < 9.95 else f"{value:.0f} {unit}"


def write_whole(path: Path, content: bytes | Callable[[BinaryIO], None]) -> None:
    """Write a file that appears under its name only when it is complete; its folders are made.

    Args:
        content: the bytes, or what writes them.

    Raises:
        OSError: the disk refuses; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        with partial.open("xb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                content(file)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
