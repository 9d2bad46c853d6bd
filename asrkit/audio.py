"""Recordings: read by soundfile, mixed to mono, resampled by soxr."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, TypeAlias

import attrs
import numpy as np
import soundfile
import soxr

from asrkit.errors import AudioError

__all__ = ["Audio", "AudioInput", "load"]

AudioInput: TypeAlias = "str | os.PathLike[str] | bytes | IO[bytes] | tuple[np.ndarray, int]"
"""A path, the bytes of an audio file, a file object, or samples with their rate in Hz."""


@attrs.frozen(eq=False)
class Audio:
    """A recording in memory."""

    samples: np.ndarray
    """(S,) float32 mono, full scale at ±1."""
    rate: int
    """Hz."""
    name: str
    """Path as given, or a name for audio without one."""
    duration: float
    """Seconds of the original."""


def load(source: AudioInput, rate: int) -> Audio:
    """Read a recording as mono float32 at ``rate``.

    Samples may be (S,) or (S, channels), float (full scale at ±1) or integer (full scale at the type's range).

    Raises:
        AudioError: it cannot be read, holds no samples, or holds NaN or infinity.
    """
    name = describe(source)
    samples, original = _read(source, name)
    if samples.shape[0] == 0:
        raise AudioError(f"{name}: holds no samples")
    mono = samples.mean(axis=1, dtype=np.float32) if samples.ndim == 2 else samples
    if not np.isfinite(mono).all():
        raise AudioError(f"{name}: holds NaN or infinite samples; it is damaged")
    duration = len(mono) / original
    if original != rate:
        mono = soxr.resample(mono, original, rate, quality="HQ")
    return Audio(np.ascontiguousarray(mono, np.float32), rate, name, duration)


def describe(source: Any) -> str:
    """The name of a recording for results and messages."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    if isinstance(source, tuple):
        return "<samples>"
    if isinstance(source, bytes | bytearray | memoryview):
        return "<bytes>"
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "<file>"


def _read(source: Any, name: str) -> tuple[np.ndarray, int]:
    if isinstance(source, tuple):
        return _samples(source, name)
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if not path.exists():
            raise AudioError(f"{name}: there is no such file")
        if path.is_dir():
            raise AudioError(f"{name}: is a directory, not a recording")
    elif isinstance(source, bytes | bytearray | memoryview):
        source = io.BytesIO(source)
    elif hasattr(source, "read"):
        source = _content(source, name)
    else:
        kind = type(source).__name__
        raise AudioError(f"audio must be a path, bytes, a file object or (samples, rate), not {kind}")
    try:
        return soundfile.read(source, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError, TypeError) as error:
        reason = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
        raise AudioError(f"{name}: cannot be read as audio: {reason.strip().rstrip('.')}") from error


def _content(file: Any, name: str) -> io.BytesIO:
    """All of a file object: libsndfile calls back for pieces and can neither take a pipe nor report an error."""
    try:
        content = file.read()
    except (OSError, ValueError) as error:
        raise AudioError(f"{name}: cannot be read as audio: {error}") from error
    if not isinstance(content, bytes | bytearray | memoryview):
        raise AudioError(f"{name}: cannot be read as audio: the file object gives {type(content).__name__}, not bytes")
    return io.BytesIO(content)


def _samples(source: Sequence[Any], name: str) -> tuple[np.ndarray, int]:
    if len(source) != 2:
        raise AudioError(f"{name}: samples come as (array, rate), found a tuple of {len(source)}")
    array, rate = np.asarray(source[0]), source[1]
    if isinstance(rate, bool) or not isinstance(rate, int | np.integer) or rate <= 0:
        raise AudioError(f"{name}: the rate must be a whole number of Hz above 0, found {rate!r}")
    if array.ndim not in (1, 2):
        raise AudioError(f"{name}: samples have the shape (S,) or (S, channels), found {array.shape}")
    if array.dtype.kind == "i":
        array = array.astype(np.float32) / -float(np.iinfo(array.dtype).min)
    elif array.dtype.kind != "f":
        raise AudioError(f"{name}: samples are signed integers or floats, found {array.dtype}")
    return array.astype(np.float32, copy=False), int(rate)
