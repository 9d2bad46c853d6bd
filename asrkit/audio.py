"""Recordings: read by soundfile, mixed to mono, resampled by soxr."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import IO, Any, TypeAlias

import attrs
import numpy as np
import soundfile
import soxr

from asrkit.errors import AudioError

__all__ = ["Audio", "AudioInput", "load"]

AudioInput: TypeAlias = "str | os.PathLike[str] | bytes | IO[bytes] | tuple[np.ndarray, int]"
"""A path, the bytes of an audio file, a file object, or samples with their rate in Hz."""


MOST_CHANNELS = 64
"""More are taken for an array the wrong way round."""

LOWEST_RATE, HIGHEST_RATE = 100, 10_000_000
"""Hz; beyond these, resampling means nothing or does not end."""


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
    if not LOWEST_RATE <= original <= HIGHEST_RATE:
        raise AudioError(f"{name}: rates from {LOWEST_RATE} to {HIGHEST_RATE} Hz can be resampled, found {original}")
    if samples.shape[0] == 0:
        raise AudioError(f"{name}: holds no samples")
    with np.errstate(over="ignore", invalid="ignore"):
        mono = samples.mean(axis=1, dtype=np.float32) if samples.ndim == 2 else samples
    if not np.isfinite(mono).all():
        raise AudioError(f"{name}: holds NaN or infinite samples; it is damaged")
    duration = len(mono) / original
    if original != rate:
        mono = soxr.resample(mono, original, rate, quality="HQ")
    return Audio(np.ascontiguousarray(mono, np.float32), rate, name, duration)


def describe(source: Any) -> str:
    """The name of a recording for results and messages; bytes that are no UTF-8 are written out."""
    if isinstance(source, str | os.PathLike):
        return os.fsdecode(source).encode("utf-8", "backslashreplace").decode()
    if isinstance(source, tuple):
        return "<samples>"
    if isinstance(source, bytes | bytearray | memoryview):
        return "<bytes>"
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "<file>"


def _read(source: Any, name: str) -> tuple[np.ndarray, int]:
    if isinstance(source, tuple):
        return _samples(source, name)
    if isinstance(source, bytes | bytearray | memoryview):
        return _decode(io.BytesIO(source), name)
    if hasattr(source, "read"):
        return _decode(_content(source, name), name)
    if not isinstance(source, str | os.PathLike):
        kind = type(source).__name__
        raise AudioError(f"audio must be a path, bytes, a file object, (samples, rate), or a list of these, not {kind}")
    try:
        # Opened here and not by libsndfile, which knows neither all names nor why a file cannot be read.
        with open(source, "rb") as file:
            # A pipe cannot be read back and forth.
            return _decode(file if file.seekable() else _content(file, name), name)
    except FileNotFoundError:
        raise AudioError(f"{name}: there is no such file") from None
    except IsADirectoryError:
        raise AudioError(f"{name}: is a directory, not a recording") from None
    except (OSError, ValueError) as error:
        raise AudioError(f"{name}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _decode(file: IO[bytes], name: str) -> tuple[np.ndarray, int]:
    try:
        return soundfile.read(file, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, TypeError) as error:
        reason = getattr(error, "error_string", None) or str(error)
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
    try:
        array, rate = np.asarray(source[0]), source[1]
    except ValueError as error:
        raise AudioError(f"{name}: samples have the shape (S,) or (S, channels): {error}") from error
    if isinstance(rate, np.ndarray | list | tuple | str):
        raise AudioError(
            f"{name}: samples come as (array, rate), found ({type(source[0]).__name__}, {type(rate).__name__})"
        )
    if isinstance(rate, float | np.floating) and float(rate).is_integer():
        rate = int(rate)
    if isinstance(rate, bool) or not isinstance(rate, int | np.integer) or rate <= 0:
        raise AudioError(f"{name}: the rate must be a whole number of Hz above 0, found {rate!r}")
    if array.ndim not in (1, 2) or (array.ndim == 2 and not 1 <= array.shape[1] <= MOST_CHANNELS):
        raise AudioError(
            f"{name}: samples have the shape (S,) or (S, channels) with 1 to {MOST_CHANNELS} channels, "
            f"found {array.shape}"
        )
    if array.dtype.kind == "i":
        array = array.astype(np.float32) / -float(np.iinfo(array.dtype).min)
    elif array.dtype.kind != "f":
        raise AudioError(f"{name}: samples are signed integers or floats, found {array.dtype}")
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False), int(rate)
