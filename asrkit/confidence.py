"""How sure a model was of each token, from the whole distribution that it was chosen from; for any strategy.

The measure is NeMo's default: Tsallis entropy with exponential normalisation. A distribution with all its mass on one
class has 1, an even one has 0. It is no probability of being right.

Source: NeMo 3.0 ``asr/parts/utils/asr_confidence_utils``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from asrkit.arrays import Array

__all__ = ["ALPHA", "least_confidence", "token_confidences"]

ALPHA = 0.33
"""Power of the probabilities in the entropy: below 1, improbable classes count for more."""


def token_confidences(xp: Any, log_probabilities: Array, size: int) -> Array:
    """Confidence of each distribution of (..., V) log-probabilities: (...) float32 from 0 to 1. Graph code.

    Args:
        xp: the backend's namespace.
        size: V.
    """
    total = xp.sum(xp.exp(log_probabilities * ALPHA), axis=-1)
    floor = math.exp((1 - size ** (1 - ALPHA)) / (1 - ALPHA))
    return (xp.exp((1.0 - total) * (1 / (1 - ALPHA))) - floor) * (1 / (1 - floor))


def least_confidence(confidences: Sequence[float]) -> float | None:
    """Confidence of a stretch of tokens: that of its least sure one, as NeMo has it; None without tokens."""
    return min(confidences, default=None)
