"""A decoder without a checkpoint, for whoever writes a strategy."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from asrkit.arrays import Array, Encoded, varying
from asrkit.interfaces import Backend
from asrkit.nn import length_mask

__all__ = ["SmallDecoder"]


@varying(used=("batch",), sums=("batch", None))
class _Past(NamedTuple):
    used: Array
    """(B,) int32 tokens so far; of the memory, valid states."""
    sums: Array
    """(B, V) float32."""


class SmallDecoder:
    """An attention decoder with random weights that are always the same, for states of width 4.

    Its scores depend on all tokens so far, on the last one, and on the mean of the valid states: a strategy that mixes
    up rows, caches or tokens gets other ones.

    Args:
        backend: that it is built for.
    """

    size, max_tokens, width = 11, 50, 4

    def __init__(self, backend: Backend) -> None:
        rng = np.random.default_rng(8)
        self.backend, self.xp, self.ops = backend, backend.xp, backend.ops
        self.table = backend.weight("table", "fp32", rng.standard_normal((self.size, self.size)).astype(np.float32))
        self.matrix = backend.weight("matrix", "fp32", rng.standard_normal((self.size, self.width)).astype(np.float32))

    def mean(self, encoded: Encoded) -> Array:
        """(B, D) mean of the valid states."""
        mask = length_mask(self.ops, encoded.lengths, encoded.values.shape[1])[:, :, None]
        total = self.xp.sum(self.xp.where(mask, encoded.values, encoded.values * 0.0), axis=1)
        return total / self.xp.astype(encoded.lengths, self.xp.float32)[:, None]

    def memorize(self, encoded: Encoded) -> Any:
        """See :class:`asrkit.interfaces.AttentionDecoder`."""
        return _Past(encoded.lengths, self.ops.linear(self.mean(encoded), self.matrix))

    def start(self, rows: int, room: int) -> Any:
        """See :class:`asrkit.interfaces.AttentionDecoder`."""
        zeros = np.zeros((rows, self.size), np.float32)
        return _Past(self.backend.asarray(zeros[:, 0].astype(np.int32)), self.backend.asarray(zeros))

    def past(self, cache: Any, tokens: Array) -> Array:
        """(B, V) sum of what the tokens so far stand for."""
        return cache.sums + self.xp.sum(self.ops.embed(tokens, self.table), axis=1)

    def step(self, memory: Any, cache: Any, tokens: Array) -> tuple[Array, Any]:
        """See :class:`asrkit.interfaces.AttentionDecoder`."""
        sums = self.past(cache, tokens)
        last = self.ops.embed(tokens[:, -1:], self.table)[:, 0, :]
        return self.xp.sin(sums * 3.0) + memory.sums + last * 2.0, _Past(cache.used + tokens.shape[1], sums)
