"""Decoders of recordings: libsndfile, ffmpeg, and arrays of samples, all read in blocks."""

from __future__ import annotations

import io
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import IO, Any, Protocol, TypeAlias

import numpy as np
import soundfile

from asrkit.errors import AudioError
from asrkit.ffmpeg import FFmpeg, find_ffmpeg

__all__ = ["AudioInput", "Decoder", "describe", "open_decoder", "seconds_of"]

AudioInput: TypeAlias = "str | os.PathLike[str] | bytes | IO[bytes] | tuple[np.ndarray, int]"
"""A path, the bytes of an audio file, a file object, or samples with their rate in Hz."""

MOST_CHANNELS = 64
"""More are taken for an array the wrong way round."""

BLOCK = 1 << 16
"""Samples that are decoded at once."""

IN_MEMORY = 1 << 26
"""Bytes of a pipe that are kept in memory; more go to a temporary file."""

MISSING = 0.1
"""Seconds that a file may be shorter than it promises without a word."""

# What libsndfile's log says of a file that ends before its header says so: what is promised, what is there.
PROMISES = (
    re.compile(r"^\s*(?:data|Data Size|SSND|riff)\s*: (?P<promised>\d+) \(should be (?P<there>\d+)\)", re.MULTILINE),
    re.compile(r"Calculated frame count (?P<there>\d+) does not match value from 'ds64' chunk of (?P<promised>\d+)"),
)
ENDLESS = 0x7FFFFF00
"""Lengths from here on are what programs write that do not know the length: a header of a pipe."""
UNENDED = re.compile(r"end-of-stream bit|without an End-Of-Stream flag", re.IGNORECASE)


class Decoder(Protocol):
    """Where samples come from."""

    rate: int
    channels: int
    starts: bool
    """Whether it begins at the offset that was asked for; else everything before is to be thrown away."""

    @property
    def problem(self) -> str | None:
        """Why there is less than there should be, known when all blocks have been read."""
        ...

    def blocks(self) -> Iterator[np.ndarray]:
        """(S, channels) float32."""
        ...

    def close(self) -> None:
        """Let go of the file or process."""
        ...


def describe(source: Any) -> str:
    """The name of a recording for results and messages; bytes that are no UTF-8 are written out."""
    if isinstance(source, str | os.PathLike):
        return os.fsdecode(source).encode("utf-8", "backslashreplace").decode()
    if isinstance(source, tuple | np.ndarray):
        return "<samples>"
    if isinstance(source, bytes | bytearray | memoryview):
        return "<bytes>"
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "<file>"


def seconds_of(path: str, offset: float = 0.0, duration: float | None = None) -> float | None:
    """Seconds that will be read of a file, as its header has it; None if that cannot be told cheaply."""
    if not os.path.isfile(path):  # a pipe can be read only once; and libsndfile takes "-" for standard input
        return duration
    try:
        length = soundfile.info(path).duration - offset
    except (soundfile.SoundFileError, RuntimeError, OSError, TypeError, ValueError):
        return duration
    return max(length if duration is None else min(duration, length), 0.0)


class _Array:
    """Samples that are in memory."""

    problem: str | None = None
    starts = False

    def __init__(self, samples: np.ndarray, rate: int) -> None:
        self._samples, self.rate = samples, rate
        self.channels = samples.shape[1]

    def blocks(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self._samples), BLOCK):
            yield self._samples[start : start + BLOCK]

    def close(self) -> None:
        pass


class _Blocks:
    """Samples that come bit by bit; the first of them are waited for at once."""

    problem: str | None = None
    starts = False

    def __init__(self, blocks: Iterator[Any], rate: Any, name: str) -> None:
        self._name, self._blocks = name, blocks
        self.rate, self.channels = rate, 1
        self._first = next(self._samples(), np.zeros((0, 1), np.float32))
        self.channels = self._first.shape[1]

    def _samples(self) -> Iterator[np.ndarray]:
        """Blocks that are not empty, as copies: whoever makes them may use the same room for each."""
        while True:
            try:
                block = next(self._blocks, None)
            except Exception as error:  # anything a microphone or a socket may raise
                kind = type(error).__name__
                raise AudioError(f"{self._name}: the blocks of samples broke off: {kind}: {error}") from error
            if block is None:
                return
            samples, self.rate = _samples((block, self.rate), self._name)
            if len(samples):
                yield samples.copy()

    def blocks(self) -> Iterator[np.ndarray]:
        yield self._first
        for samples in self._samples():
            if samples.shape[1] != self.channels:
                text = f"a block has {samples.shape[1]} channels, the first had {self.channels}"
                raise AudioError(f"{self._name}: {text}")
            yield samples

    def close(self) -> None:
        pass


class _SoundFile:
    """What libsndfile reads. ``held`` is closed with it."""

    starts = False

    def __init__(self, file: soundfile.SoundFile, held: ExitStack) -> None:
        self._file, self._held = file, held
        self.rate: int = file.samplerate
        self.channels: int = file.channels
        self.problem: str | None = None
        self._log: str = file.extra_info  # as it is after opening: reading to the end writes more of the same

    def blocks(self) -> Iterator[np.ndarray]:
        count = 0
        try:
            while True:
                room = np.full((BLOCK, self.channels), np.nan, np.float32)
                block = self._file.read(out=room)
                if not len(block):
                    break
                count += len(block)
                yield block
        except (soundfile.SoundFileError, RuntimeError, OSError) as error:
            # What came before the damage is worth having; the result says that it is not all.
            read = int(np.argmax(np.isnan(room[:, 0])))
            if read:
                yield room[:read]
            self.problem = f"the rest is damaged or missing ({_reason(error)})"
            return
        self.problem = self._shortfall(count)

    def _shortfall(self, count: int) -> str | None:
        promised = float(self._file.frames)
        for found in (match for pattern in PROMISES for match in pattern.finditer(self._log)):
            wanted, there = int(found["promised"]), int(found["there"])
            if 0 < there < wanted < ENDLESS:
                promised = max(promised, count * wanted / there)
        if promised - count > MISSING * self.rate:
            return f"the file promises {promised / self.rate:.2f} s; it was cut off, or is still being written"
        return "the file has no end; it was cut off, or is still being written" if UNENDED.search(self._log) else None

    def close(self) -> None:
        self._file.close()
        self._held.close()


class _Program:
    """What ffmpeg reads. ``held`` is closed with it."""

    starts = True

    def __init__(self, program: FFmpeg, held: ExitStack) -> None:
        self._program, self._held = program, held
        self.rate, self.channels = program.rate, program.channels

    @property
    def problem(self) -> str | None:
        return self._program.problem and f"the rest is damaged or missing ({self._program.problem})"

    def blocks(self) -> Iterator[np.ndarray]:
        return self._program.blocks()

    def close(self) -> None:
        self._program.close()
        self._held.close()


def open_decoder(source: Any, name: str, offset: float = 0.0) -> Decoder:
    """Open a recording.

    Args:
        source: an AudioInput, or an iterator of arrays with their rate.
        name: for messages.
        offset: seconds from which it will be read, for a decoder that can start there.

    Raises:
        AudioError: it cannot be read as audio.
    """
    if isinstance(source, tuple):
        if len(source) == 2 and hasattr(source[0], "__next__"):
            return _Blocks(source[0], source[1], name)
        return _Array(*_samples(source, name))
    held = ExitStack()
    try:
        if isinstance(source, bytes | bytearray | memoryview):
            return _decoder(io.BytesIO(source), None, name, held, offset)
        if hasattr(source, "read"):
            return _decoder(_content(source, name, held), None, name, held, offset)
        if not isinstance(source, str | os.PathLike):
            kind = type(source).__name__
            raise AudioError(
                f"audio must be a path, bytes, a file object, (samples, rate), or a list of these, not {kind}"
            )
        # Opened here and not by libsndfile, which knows neither all names nor why a file cannot be read.
        file = held.enter_context(_opened(source, name))
        # A pipe cannot be read back and forth.
        if not file.seekable():
            return _decoder(_content(file, name, held), None, name, held, offset)
        return _decoder(file, os.path.abspath(os.fsdecode(source)), name, held, offset)
    except BaseException:
        held.close()
        raise


def _opened(source: Any, name: str) -> IO[bytes]:
    try:
        return open(source, "rb")
    except FileNotFoundError:
        raise AudioError(f"{name}: there is no such file") from None
    except (OSError, ValueError) as error:
        # Windows says "permission denied" of a folder.
        if isinstance(error, OSError) and os.path.isdir(source):
            raise AudioError(f"{name}: is a directory, not a recording") from None
        raise AudioError(f"{name}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _decoder(file: IO[bytes], path: str | None, name: str, held: ExitStack, offset: float) -> Decoder:
    """libsndfile if it can, else ffmpeg.

    Args:
        file: that can be read back and forth.
        path: its absolute path, if it has one.
    """
    try:
        if not file.read(1):
            raise AudioError(f"{name}: cannot be read as audio: it is empty")
        file.seek(0)
        opened = soundfile.SoundFile(file)
        if opened.frames:
            return _SoundFile(opened, held)
        # A header and nothing else, or an Ogg file without its end, of which libsndfile says the same.
        reason, empty = "", opened
    except (soundfile.SoundFileError, TypeError, OSError, ValueError) as error:
        reason, empty = _reason(error), None
    program = find_ffmpeg()
    try:
        if program is None:
            raise AudioError(
                "containers such as m4a, mp4 and webm are read with ffmpeg: install it, or imageio-ffmpeg with pip"
            )
        decoder = _Program(FFmpeg(program, path or _as_file(file, held), offset), held)
    except AudioError as error:
        if empty is not None:
            return _SoundFile(empty, held)
        how = error if program is None else f"and by ffmpeg: {error}"
        raise AudioError(f"{name}: cannot be read as audio: {reason}; {how}") from None
    if empty is not None:
        empty.close()
    return decoder


def _as_file(file: IO[bytes], held: ExitStack) -> str:
    """The path of a copy: some containers begin at their end, so ffmpeg cannot read them from a pipe."""
    folder = held.enter_context(tempfile.TemporaryDirectory(prefix="asrkit-", ignore_cleanup_errors=True))
    path = os.path.join(folder, "recording")
    file.seek(0)
    try:
        with open(path, "wb") as copy:
            shutil.copyfileobj(file, copy)
    except OSError as error:
        raise AudioError(f"a copy for it cannot be written: {path}: {error.strerror or error}") from error
    return path


def _reason(error: Exception) -> str:
    return str(getattr(error, "error_string", None) or error).strip().rstrip(".") or type(error).__name__


def _content(file: Any, name: str, held: ExitStack) -> IO[bytes]:
    """All of a file object: libsndfile calls back for pieces and can neither take a pipe nor report an error."""
    copy: Any = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  # closed with the decoder
    held.enter_context(copy)
    try:
        while data := file.read(1 << 20):
            if not isinstance(data, bytes | bytearray | memoryview):
                kind = type(data).__name__
                raise AudioError(f"{name}: cannot be read as audio: the file object gives {kind}, not bytes")
            copy.write(data)
    except (OSError, ValueError) as error:
        raise AudioError(f"{name}: cannot be read as audio: {error}") from error
    copy.seek(0)
    return copy


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
        array = array.astype(np.float32, copy=False)
    return array.reshape(len(array), -1) if len(array) else np.zeros((0, 1), np.float32), int(rate)
