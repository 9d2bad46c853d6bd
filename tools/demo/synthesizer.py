"""espeak-ng through its C library: text to samples and the start of each word."""

from __future__ import annotations

import ctypes
import ctypes.util
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

RATE = 16000
SYNCHRONOUS = 2
UTF8 = 1
WORD = 1
PARAMETERS = {"rate": 1, "volume": 2, "pitch": 3, "range": 4}
AUDIBLE = 0.02  # of a sentence's peak


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    ]


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True)
class Voice:
    """An accent's voice file, a variant, and the prosody."""

    accent: str
    variant: str
    rate: int = 175
    pitch: int = 50
    range: int = 50


@dataclass(frozen=True)
class Speech:
    """Samples at 16 kHz without silence at the ends, and start and end of every word in seconds."""

    samples: np.ndarray
    words: list[tuple[float, float]]


class Synthesizer:
    """The library, which knows one voice at a time."""

    def __init__(self) -> None:
        name = ctypes.util.find_library("espeak-ng")
        if name is None:
            raise RuntimeError("libespeak-ng is missing: apt-get install libespeak-ng1 espeak-ng-data")
        self._library = ctypes.CDLL(name)
        self._rate = self._library.espeak_Initialize(SYNCHRONOUS, 0, None, 0)
        if self._rate != 22050:
            raise RuntimeError(f"espeak-ng gave a rate of {self._rate}")
        self._callback = _CALLBACK(self._receive)
        self._library.espeak_SetSynthCallback(self._callback)
        path = ctypes.c_char_p()
        self._library.espeak_Info.restype = ctypes.c_char_p
        self.version = self._library.espeak_Info(ctypes.byref(path)).decode()
        data = Path((path.value or b"").decode())
        # An unknown variant is silently ignored by the library, so look for its file.
        self._variants = {file.name for file in (data / "voices" / "!v").iterdir()}
        self._accents = {f"{file.parent.name}/{file.name}" for file in (data / "lang").glob("*/*")}
        self._samples: list[np.ndarray] = []
        self._starts: list[tuple[int, float]] = []

    def say(self, text: str, voice: Voice) -> Speech:
        """Speak one sentence."""
        if voice.variant not in self._variants or voice.accent not in self._accents:
            raise ValueError(f"espeak-ng has no voice {voice.accent}+{voice.variant}")
        if self._library.espeak_SetVoiceByName(f"{voice.accent}+{voice.variant}".encode()):
            raise ValueError(f"espeak-ng refuses {voice.accent}+{voice.variant}")
        for name in ("rate", "pitch", "range"):
            self._library.espeak_SetParameter(PARAMETERS[name], getattr(voice, name), 0)
        self._samples, self._starts = [], []
        encoded = text.encode()
        self._library.espeak_Synth(encoded, ctypes.c_size_t(len(encoded) + 1), 0, 1, 0, UTF8, None, None)
        samples = np.concatenate(self._samples).astype(np.float32) / 32768
        samples = resample_poly(samples, 320, 441).astype(np.float32)
        first, last = audible(samples)
        starts = list(_word_starts(text, self._starts, len(samples) / RATE))
        samples = samples[first:last]
        words = _spans(samples, [start - first / RATE for start in starts])
        return Speech(samples, words)

    def _receive(self, wave: ctypes._Pointer, count: int, events: ctypes._Pointer) -> int:
        if count > 0:
            self._samples.append(np.ctypeslib.as_array(wave, (count,)).copy())
        index = 0
        while events[index].type != 0:
            event = events[index]
            if event.type == WORD:
                self._starts.append((event.text_position - 1, event.audio_position / 1000))
            index += 1
        return 0


def audible(samples: np.ndarray) -> tuple[int, int]:
    """Start and end of what is louder than a fiftieth of the peak; the whole of a silent clip."""
    loud = np.flatnonzero(np.abs(samples) > AUDIBLE * np.abs(samples).max(initial=1e-6))
    return (int(loud[0]), int(loud[-1]) + 1) if len(loud) else (0, len(samples))


def _word_starts(text: str, events: list[tuple[int, float]], end: float) -> Iterator[float]:
    """One start per word between spaces.

    The library merges some words into one event; those share its time by their length.
    """
    places, position = [], 0
    for word in text.split():
        position = text.index(word, position)
        places.append((position, len(word)))
        position += len(word)
    known: dict[int, float] = {}
    for character, time in events:
        index = max((number for number, (place, _) in enumerate(places) if place <= character), default=0)
        known.setdefault(index, time)
    known.setdefault(0, 0.0)
    marks = [*sorted(known.items()), (len(places), end)]
    for (index, time), (following, until) in itertools.pairwise(marks):
        lengths = [length for _, length in places[index:following]]
        for number in range(len(lengths)):
            yield time + (until - time) * sum(lengths[:number]) / sum(lengths)


def _spans(samples: np.ndarray, starts: list[float]) -> list[tuple[float, float]]:
    """Words from their starts: each ends where the sound before the next one ends."""
    bounds = [min(max(start, 0.0), len(samples) / RATE) for start in starts] + [len(samples) / RATE]
    spans = []
    for start, following in itertools.pairwise(bounds):
        part = samples[int(start * RATE) : int(following * RATE)]
        spans.append((start, start + audible(part)[1] / RATE if len(part) else following))
    return spans
