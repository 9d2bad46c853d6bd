"""Linear projection."""

from __future__ import annotations

from asrkit.arrays import Array
from asrkit.weights import Weights

__all__ = ["Linear"]


class Linear:
    """``x @ W.T + b``: (..., I) to (..., O); without ``b`` where the checkpoint has none.

    Args:
        weights: the scope that holds ``weight`` and perhaps ``bias``, or the scopes in ``names`` that do.
        inputs: I.
        outputs: O, or None to take it from the checkpoint.
        names: several projections of one input, joined into one product: (..., I) to (..., len(names) * O).
    """

    def __init__(self, weights: Weights, inputs: int, outputs: int | None = None, names: tuple[str, ...] = ()) -> None:
        self.ops = weights.ops
        prefixes = [f"{name}." for name in names] or [""]
        self.weight = weights.matrix(*(p + "weight" for p in prefixes), shape=(outputs, inputs))
        self.bias = weights.optional_vector(*(p + "bias" for p in prefixes), shape=(outputs,))

    def __call__(self, x: Array) -> Array:
        """Project the last axis."""
        return self.ops.linear(x, self.weight, self.bias)
