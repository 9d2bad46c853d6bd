"""Recordings: decoded in blocks, mixed to mono, resampled by soxr."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np
import soxr

from asrkit.audio_files import AudioInput, Decoder, describe, open_decoder
from asrkit.errors import AudioError, OptionError
from asrkit.values import Notice

__all__ = ["Audio", "Stream", "check_excerpt", "load", "open_audio"]

LOWEST_RATE, HIGHEST_RATE = 100, 10_000_000
"""Hz; beyond these, resampling means nothing or does not end."""

SLACK = 0.1
"""Seconds that an excerpt may be shorter than asked for without a word."""


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
    notices: tuple[Notice, ...] = ()
    """What a user should know about the file."""


class Stream:
    """A recording that is read in blocks; :func:`open_audio` makes one. It is a context manager.

    After the last block, ``duration`` and ``notices`` are those of the whole recording.
    """

    def __init__(
        self, name: str, rate: int, decoder: Decoder, channel: int | None, skip: float, length: float | None
    ) -> None:
        self.name = name
        self.rate = rate
        self.notices: tuple[Notice, ...] = ()
        self._decoder, self._channel = decoder, channel
        self._skip, self._length = round(skip * decoder.rate), length
        self._count = 0
        self._last: np.ndarray | None = None

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._decoder.close()

    @property
    def duration(self) -> float:
        """Seconds of the original that have been read."""
        return self._count / self._decoder.rate

    def blocks(self) -> Iterator[np.ndarray]:
        """(S,) float32 mono at ``rate``, one after another; S may be 0.

        Raises:
            AudioError: there are no samples, or NaN or infinity among them.
        """
        original = self._decoder.rate
        # The stream gives what resampling all of it at once would give.
        resampler = soxr.ResampleStream(original, self.rate, 1, "float32", "HQ") if original != self.rate else None
        for block in self._excerpt():
            mono = self._mono(block)
            self._count += len(mono)
            yield mono if resampler is None else resampler.resample_chunk(mono)
        if not self._count:
            why = self._decoder.problem
            raise AudioError(f"{self.name}: holds no samples{f' that can be decoded: {why}' if why else ''}")
        if resampler is not None:
            yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        self._complete()

    def _excerpt(self) -> Iterator[np.ndarray]:
        rest = None if self._length is None else max(round(self._length * self._decoder.rate), 1)
        skipped = 0
        for block in self._decoder.blocks():
            if skipped < self._skip:
                first = min(self._skip - skipped, len(block))
                skipped, block = skipped + first, block[first:]
            if rest is not None:
                block = block[:rest]
                rest -= len(block)
            if len(block):
                yield block
            if rest == 0:
                return
        if skipped == 0 or self._count:
            return
        begin, end = self._skip / self._decoder.rate, skipped / self._decoder.rate
        raise AudioError(f"{self.name}: was to be read from {begin:g} s on, its end is at {end:.2f} s")

    def _mono(self, block: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            if self._channel is not None:
                mono = block[:, self._channel - 1]
            else:
                mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)
        if not np.isfinite(mono).all():
            raise AudioError(f"{self.name}: holds NaN or infinite samples; it is damaged")
        return np.ascontiguousarray(mono, np.float32)

    def _complete(self) -> None:
        """Say so if there was less than there should have been."""
        problem = self._decoder.problem
        if self._length is not None:
            wanted = self._length
            if self.duration + SLACK < wanted:
                problem = f"{wanted:g} s were to be read, after {self.duration:.2f} s the recording ends"
            elif self.duration + 1 / self._decoder.rate >= wanted:
                problem = None  # the excerpt is whole, whatever the rest is like
        if problem is not None:
            text = f"only {self.duration:.2f} s could be read: {problem}"
            self.notices = (Notice("truncated", text),)


def load(
    source: AudioInput, rate: int, *, channel: int | None = None, offset: float = 0.0, duration: float | None = None
) -> Audio:
    """Read a recording as mono float32 at ``rate``; arguments and errors as for :func:`open_audio`."""
    with open_audio(source, rate, channel=channel, offset=offset, duration=duration) as stream:
        samples = np.concatenate(list(stream.blocks()))
        return Audio(samples, rate, stream.name, stream.duration, stream.notices)


def open_audio(
    source: AudioInput, rate: int, *, channel: int | None = None, offset: float = 0.0, duration: float | None = None
) -> Stream:
    """Open a recording to be read as mono float32 at ``rate`` Hz.

    Samples may be (S,) or (S, channels), float (full scale at ±1) or integer (full scale at the type's range).

    Args:
        channel: the one to take, from 1 on; None means the mean of all.
        offset: seconds from which it is read.
        duration: seconds that are read; None means to the end.

    Raises:
        AudioError: it cannot be read, or has no such channel.
        OptionError: an argument cannot be used for any recording.
    """
    check_excerpt(channel, offset, duration)
    name = describe(source)
    decoder = open_decoder(source, name, offset)
    try:
        if not LOWEST_RATE <= decoder.rate <= HIGHEST_RATE:
            text = f"rates from {LOWEST_RATE} to {HIGHEST_RATE} Hz can be resampled, found {decoder.rate}"
            raise AudioError(f"{name}: {text}")
        if channel is not None and channel > decoder.channels:
            there = "is 1 channel" if decoder.channels == 1 else f"are {decoder.channels} channels"
            raise AudioError(f"{name}: channel {channel} was asked for, there {there}")
        # ffmpeg starts where it is told to; the others are read and thrown away, which is exact in every format.
        return Stream(name, rate, decoder, channel, 0.0 if decoder.starts else offset, duration)
    except BaseException:
        decoder.close()
        raise


def check_excerpt(channel: Any, offset: Any, duration: Any) -> None:
    """Refuse what no recording has.

    Raises:
        OptionError: the first that cannot be.
    """
    if channel is not None and (type(channel) is not int or channel < 1):
        raise OptionError(f"a channel is a whole number from 1 on, found {channel!r}")
    for what, value in (("offset", offset), ("duration", 1 if duration is None else duration)):
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not number or not 0 <= value < 1e9 or (what == "duration" and value == 0):
            least = "above 0" if what == "duration" else "from 0 on"
            raise OptionError(f"{what} is a number of seconds {least}, found {value!r}")
