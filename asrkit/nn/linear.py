"""Linear projections."""

from __future__ import annotations

from asrkit.arrays import Array
from asrkit.weights import Weights

__all__ = ["Linear", "Pointwise"]


class Linear:
    """``x @ W.T + b``: (..., I) to (..., O).

    Args:
        weights: the scope that holds ``weight`` and ``bias``, or the scopes in ``names`` that do.
        inputs: I.
        outputs: O.
        names: several projections of one input, joined into one product: (..., I) to (..., len(names) * O).
        bias: whether there is one. It is not guessed from the tensors: a lost bias would go unnoticed.
    """

    def __init__(
        self, weights: Weights, inputs: int, outputs: int, names: tuple[str, ...] = (), bias: bool = True
    ) -> None:
        self.ops = weights.ops
        prefixes = [f"{name}." for name in names] or [""]
        self.weight = weights.matrix(*(p + "weight" for p in prefixes), shape=self._shape(outputs, inputs))
        self.bias = weights.vector(*(p + "bias" for p in prefixes), shape=(outputs,)) if bias else None

    def _shape(self, outputs: int, inputs: int) -> tuple[int, ...]:
        return outputs, inputs

    def __call__(self, x: Array, scale: float = 1.0) -> Array:
        """Project the last axis; ``scale`` multiplies the result."""
        return self.ops.linear(x, self.weight, self.bias, scale)


class Pointwise(Linear):
    """A convolution of width 1, which is a linear projection stored with a third axis: ``weight`` (O, I, 1)."""

    def _shape(self, outputs: int, inputs: int) -> tuple[int, ...]:
        return outputs, inputs, 1
