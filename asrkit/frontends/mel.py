"""Log-mel features as NeMo computes them.

Source: NeMo 3.0 ``AudioToMelSpectrogramPreprocessor`` in evaluation mode (no dither).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import numpy as np

from asrkit.arrays import Features
from asrkit.config import Config
from asrkit.errors import AudioError
from asrkit.weights import Weights

__all__ = ["LogMel", "MelConfig", "mel_filters", "read_log_mel"]

EPSILON = 1e-5
"""Added to the standard deviation itself."""

GUARDS = {"tiny": float(np.finfo(np.float32).tiny), "eps": float(np.finfo(np.float32).eps)}
"""Names that a configuration may give instead of the number added before the logarithm."""

NORMALIZATIONS = ("per_feature", "NA")


@attrs.frozen
class MelConfig:
    """The ``preprocessor`` section of a checkpoint, as far as inference depends on it."""

    rate: int = 16000
    hop: int = 160
    """Samples between frames."""
    window: int = 400
    """Samples in the window."""
    fft: int = 512
    preemphasis: float = 0.97
    log_guard: float = 2.0**-24
    """Added before the logarithm."""
    normalize: bool = True
    """Zero mean and unit deviation per bin over the clip."""
    pad_to: int = 0
    """The width of features is padded to a multiple of this; 0 is none."""
    edges: str = "zeros"
    """``zeros`` pads the signal with zeros and counts S // hop frames (NeMo 2.5 and later); ``reflect`` mirrors it and
    counts one more (before)."""

    @classmethod
    def read(cls, config: Config, edges: str = "zeros") -> MelConfig:
        """From the configuration; a setting that changes features and is not built here is a CheckpointError."""
        rate = config.integer("sample_rate", default=16000, least=1)
        # NeMo reads a null as "not at all", and an absent key as its default.
        normalized = "NA" if "normalize" in config.values else "per_feature"
        config.choice("window", "hann", default="hann")
        config.choice("log", True, default=True)
        config.choice("log_zero_guard_type", "add", default="add")
        config.choice("mag_power", 2.0, 2, default=2.0)
        config.choice("frame_splicing", 1, default=1)
        config.choice("exact_pad", False, default=False)
        config.choice("pad_value", 0, 0.0, default=0)
        # Sizes in seconds or in samples; NeMo cuts off where seconds do not give a whole number of samples.
        window, hop = (
            config.integer(samples, least=1)
            if samples in config
            else int(config.number(seconds, default=default, above=0) * rate)
            for samples, seconds, default in (
                ("n_window_size", "window_size", 0.02),
                ("n_window_stride", "window_stride", 0.01),
            )
        )
        if hop < 1:
            raise config.error("window_stride", "a stride of at least one sample")
        fft = config.integer("n_fft", default=1 << max(window - 1, 1).bit_length(), least=2)
        if not 1 <= window <= fft:
            raise config.error("n_fft", f"at least the {window} samples of a window")
        named = config.values.get("log_zero_guard_value")
        guard = GUARDS.get(named) if isinstance(named, str) else None
        return cls(
            rate=rate,
            hop=hop,
            window=window,
            fft=fft,
            preemphasis=config.number("preemph", default=0.0 if "preemph" in config.values else 0.97),
            log_guard=config.number("log_zero_guard_value", default=2.0**-24, above=0) if guard is None else guard,
            pad_to=config.integer("pad_to", default=16, least=0),
            normalize=config.choice("normalize", *NORMALIZATIONS, default=normalized) == "per_feature",
            edges=edges,
        )


def read_log_mel(weights: Weights, config: Config, edges: str = "zeros") -> LogMel:
    """Log-mel features as a checkpoint describes them.

    Args:
        weights: the scope ``preprocessor.featurizer``, which holds the filters ``fb`` and the ``window``.
        config: the ``preprocessor`` section.
        edges: see :class:`MelConfig`.
    """
    mel = MelConfig.read(config, edges)
    filters = weights.host("fb", shape=(1, config.integer("features", default=64), mel.fft // 2 + 1))
    return LogMel(mel, filters[0], weights.host("window", shape=(mel.window,)))


BLOCK = 64
"""Frames worked on at once."""


class LogMel:
    """Mono waveforms (S,) to features (B, T, F) with T = 1 + S // hop, of which S // hop frames are valid.

    Args:
        config: sizes.
        filters: (F, fft // 2 + 1) mel filters, as stored in the checkpoint.
        window: (W,) window, as stored in the checkpoint.
    """

    def __init__(self, config: MelConfig, filters: np.ndarray, window: np.ndarray) -> None:
        self.config = config
        self.rate = config.rate
        self.hop = config.hop / config.rate
        self.bins = len(filters)
        self._taps, self._gains, self._starts = _bands(np.asarray(filters, np.float32))
        padding = config.fft - len(window)
        self._window = np.pad(np.asarray(window, np.float32), (padding // 2, padding - padding // 2))

    def frames(self, samples: int) -> int:
        """T of a waveform alone."""
        frames = 1 + samples // self.config.hop
        return frames + -frames % self.config.pad_to if self.config.pad_to else frames

    def lead(self, samples: int) -> int:
        """No silence is put before a clip."""
        return 0

    def __call__(self, waveforms: Sequence[np.ndarray]) -> Features:
        """Features of a batch, padded with zeros to the longest; each row is what its waveform alone would give."""
        rows = [self._row(np.asarray(waveform, np.float32)) for waveform in waveforms]
        width = max(self.frames(len(waveform)) for waveform in waveforms)
        values = np.zeros((len(rows), width, self.bins), np.float32)
        for n, (row, _) in enumerate(rows):
            values[n, : len(row)] = row
        return Features(values, np.array([valid for _, valid in rows], np.int64))

    def _row(self, x: np.ndarray) -> tuple[np.ndarray, int]:
        config, half = self.config, self.config.fft // 2
        valid = len(x) // config.hop + (config.edges == "reflect")
        if config.preemphasis:
            with np.errstate(over="ignore"):
                x = np.concatenate([x[:1], x[1:] - np.float32(config.preemphasis) * x[:-1]])
        # Too short to be mirrored: as many zeros serve, there is nothing to hear.
        mirrored = config.edges == "reflect" and len(x) > half
        x = np.pad(x, half, mode="reflect") if mirrored else np.pad(x, half)
        windows = np.lib.stride_tricks.sliding_window_view(x, config.fft)[:: config.hop]
        features = np.empty((len(windows), self.bins), np.float32)
        # In blocks that stay in the processor's cache: fresh memory for all at once costs more than the transforms.
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, len(windows), BLOCK):
                spectrum = np.fft.rfft(windows[start : start + BLOCK] * self._window, axis=-1)
                power = np.ascontiguousarray((spectrum.real**2 + spectrum.imag**2).T)
                # Not a matrix product: most of the filters is zero, and the threads of NumPy's BLAS would go on
                # spinning for tens of milliseconds, in the way of whatever computes next.
                energies = np.add.reduceat(power[self._taps] * self._gains[:, None], self._starts, axis=0)
                features[start : start + BLOCK] = np.log(energies + np.float32(config.log_guard)).T
        if not np.isfinite(features).all():
            raise AudioError("samples are too large to compute with; full scale is 1")
        if config.normalize and valid:
            features[:valid] = _normalized(features[:valid])
        features[valid:] = 0.0
        return features, valid


def mel_filters(bins: int, fft: int = 512, rate: int = 16000) -> np.ndarray:
    """Triangular filters (F, fft // 2 + 1) on the Slaney mel scale with Slaney's area normalisation.

    Source: M. Slaney, Auditory Toolbox (1998): linear below 1 kHz, logarithmic above.
    """
    step, corner, log_step = 200.0 / 3, 1000.0, math.log(6.4) / 27

    def hertz(mel: np.ndarray) -> np.ndarray:
        return np.where(mel < 15, mel * step, corner * np.exp(log_step * (mel - 15)))

    top = 15 + math.log(rate / 2 / corner) / log_step
    edges = hertz(np.linspace(0, top, bins + 2))
    frequencies = np.linspace(0, rate / 2, fft // 2 + 1)
    rising = (frequencies - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - frequencies) / np.diff(edges)[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return (triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


def _bands(filters: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Filters (F, N) as lists: the bin of each tap, its gain, and where each filter's taps start."""
    taps = []
    for row in filters:
        used = np.flatnonzero(row)
        taps.append(np.arange(used[0], used[-1] + 1) if len(used) else np.array([0]))
    counts = [len(bins) for bins in taps]
    owners, bins = np.repeat(np.arange(len(filters)), counts), np.concatenate(taps)
    return bins, filters[owners, bins], np.cumsum([0, *counts[:-1]])


def _normalized(x: np.ndarray) -> np.ndarray:
    """(T, F) with zero mean and unit deviation per bin; the deviation has T - 1 in its denominator."""
    x = x - x.mean(axis=0, dtype=np.float64).astype(np.float32)
    deviation = np.zeros(x.shape[1], np.float32)
    if len(x) > 1:
        deviation = np.sqrt(np.square(x).sum(axis=0, dtype=np.float64) / (len(x) - 1)).astype(np.float32)
    return x / (deviation + np.float32(EPSILON))
