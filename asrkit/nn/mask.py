"""Masks from lengths."""

from __future__ import annotations

from asrkit.arrays import Array
from asrkit.ops import Ops

__all__ = ["length_mask"]


def length_mask(ops: Ops, lengths: Array, size: int) -> Array:
    """(B, size) booleans: True at positions before each row's length (B,)."""
    return ops.xp.arange(size, dtype=ops.xp.int32)[None, :] < lengths[:, None]
