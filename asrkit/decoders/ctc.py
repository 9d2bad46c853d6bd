"""The frame-by-frame classifier of CTC models: one projection."""

from __future__ import annotations

from asrkit.arrays import Array, Encoded
from asrkit.nn import Linear, Pointwise
from asrkit.weights import Weights

__all__ = ["CTCHead"]


class CTCHead:
    """Encoder states (B, S, D) to log-probabilities (B, S, V).

    Args:
        weights: the scope that holds ``weight``, (V, D) or (V, D, 1), and ``bias`` (V,).
        width: D.
        blank: id of the blank; by default the last class.

    Raises:
        WeightsError: there is no ``weight``.
    """

    def __init__(self, weights: Weights, width: int, blank: int | None = None) -> None:
        shape = weights.shape("weight")
        self.ops = weights.ops
        self.size = shape[0]
        self.blank = self.size - 1 if blank is None else blank
        projection = Pointwise if len(shape) == 3 else Linear
        self.projection = projection(weights, width, self.size)

    def __call__(self, encoded: Encoded) -> Array:
        """Classify every frame; those beyond a row's length mean nothing."""
        logits = self.projection(encoded.values)
        return self.ops.log_softmax(self.ops.xp.astype(logits, self.ops.xp.float32))
