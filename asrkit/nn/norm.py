"""Layer normalisation."""

from __future__ import annotations

from asrkit.arrays import Array
from asrkit.weights import Weights

__all__ = ["LayerNorm"]


class LayerNorm:
    """Normalise the last axis (size D), then scale by ``weight`` and shift by ``bias``."""

    def __init__(self, weights: Weights, size: int, eps: float = 1e-5) -> None:
        self.ops = weights.ops
        self.eps = eps
        self.weight = weights.vector("weight", shape=(size,))
        self.bias = weights.vector("bias", shape=(size,))

    def __call__(self, x: Array) -> Array:
        """Normalise (..., D)."""
        return self.ops.layer_norm(x, self.weight, self.bias, self.eps)
