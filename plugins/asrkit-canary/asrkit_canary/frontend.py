"""Canary's habit with short clips, around any frontend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from asrkit.arrays import Features
from asrkit.config import Config
from asrkit.interfaces import Frontend
from asrkit.plugins import registry
from asrkit.weights import Weights

__all__ = ["Centred", "read_frontend"]


def read_frontend(weights: Weights, config: Config, edges: str = "zeros") -> Centred:
    """Log-mel features behind centring; arguments as for ``asrkit.frontends.mel.read_log_mel``."""
    return Centred(registry().get("frontend", "log-mel").load()(weights, config, edges))


class Centred:
    """Centre clips that are shorter than a minimum in zeros before features are made.

    Source: NeMo 3.0, ``transcribe()`` of multitask models, which does so below one second.

    Args:
        frontend: makes the features.
        seconds: the minimum.
    """

    def __init__(self, frontend: Frontend, seconds: float = 1.0) -> None:
        self._frontend = frontend
        self._least = round(seconds * frontend.rate)
        self.rate = frontend.rate
        self.hop = frontend.hop

    def frames(self, samples: int) -> int:
        """T of a waveform alone."""
        return self._frontend.frames(max(samples, self._least))

    def lead(self, samples: int) -> int:
        """Zeros before a waveform."""
        return max(self._least - samples, 0) // 2

    def __call__(self, waveforms: Sequence[np.ndarray]) -> Features:
        """Features of a batch."""
        return self._frontend([self._centre(waveform) for waveform in waveforms])

    def _centre(self, waveform: np.ndarray) -> np.ndarray:
        missing = max(self._least - len(waveform), 0)
        return np.pad(waveform, (missing // 2, missing - missing // 2)) if missing else waveform
