"""Weights in eight and four bits: the same values on every backend, and in files.

``int8``: one scale per output channel. ``int4``: one scale per block of 32 inputs of an output channel; matrices whose
inputs are no multiple of that stay in eight bits. Zero is always exact.

Source: the scale of a four-bit block (its largest magnitude becomes -8, so that all sixteen levels are used) is the
rule of llama.cpp's Q4_0.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

__all__ = ["BLOCK", "QUANTIZED", "Quantized", "joined", "quantize", "widened"]

QUANTIZED = ("int8", "int4")
"""The precisions whose matrices are :class:`Quantized`."""

BLOCK = 32
"""Inputs that share a scale in four bits."""

ROWS = 512
"""Output channels worked on at once, which bounds the memory needed on top."""


@attrs.frozen(eq=False)
class Quantized:
    """A matrix (O, I) in few bits."""

    values: np.ndarray
    """Eight bits: int8 (I, O), since products read it that way round. Four bits: uint8 (O, I/2), two values with 8
    added in each byte, the first in the lower half."""
    scales: np.ndarray
    """float32: (O,) in eight bits, (O, I/32) in four."""

    @property
    def bits(self) -> int:
        """8 or 4."""
        return 8 if self.scales.ndim == 1 else 4

    @property
    def shape(self) -> tuple[int, int]:
        """(O, I)."""
        rows, columns = self.values.shape
        return (columns, rows) if self.bits == 8 else (rows, 2 * columns)

    @property
    def ndim(self) -> int:
        """2."""
        return 2

    @property
    def size(self) -> int:
        """O * I."""
        return self.shape[0] * self.shape[1]

    def integers(self) -> np.ndarray:
        """int8 (O, I), without the scales."""
        if self.bits == 8:
            return self.values.T
        pairs = np.stack([self.values & 15, self.values >> 4], axis=-1)
        return pairs.reshape(self.shape).astype(np.int8) - np.int8(8)

    def widen(self) -> np.ndarray:
        """float32 (O, I), the values that it stands for."""
        if self.bits == 8:
            return (self.values * self.scales).T
        blocks = self.integers().reshape(len(self.values), -1, BLOCK)
        return (blocks * self.scales[:, :, None]).reshape(self.shape)


def quantize(matrix: np.ndarray, precision: str) -> Quantized:
    """A float matrix (O, I) in ``int8`` or ``int4``.

    Raises:
        ValueError: it holds NaN or infinity.
    """
    four = precision == "int4" and matrix.shape[1] % BLOCK == 0
    outputs, inputs = matrix.shape
    values = np.empty((outputs, inputs // 2), np.uint8) if four else np.empty((inputs, outputs), np.int8)
    scales = np.empty((outputs, inputs // BLOCK) if four else (outputs,), np.float32)
    for start in range(0, outputs, ROWS):
        part = slice(start, start + ROWS)
        if four:
            values[part], scales[part] = _four(np.asarray(matrix[part], np.float32))
        else:
            whole, scales[part] = _eight(np.asarray(matrix[part], np.float32))
            values[:, part] = whole.T
    if not np.isfinite(scales).all():
        raise ValueError("it holds NaN or infinity")
    return Quantized(values, scales)


def joined(parts: Sequence[Quantized]) -> Quantized:
    """Several matrices with the same inputs as one, along the outputs."""
    if len(parts) == 1:
        return parts[0]
    axis = 1 if parts[0].bits == 8 else 0
    return Quantized(np.concatenate([p.values for p in parts], axis), np.concatenate([p.scales for p in parts]))


def widened(tensors: Sequence[np.ndarray | Quantized]) -> list[np.ndarray]:
    """What :meth:`asrkit.interfaces.Backend.weight` is given, as float arrays, for backends that need them."""
    return [tensor.widen() if isinstance(tensor, Quantized) else tensor for tensor in tensors]


def _eight(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    largest = np.abs(rows).max(axis=1)
    scales = np.where(largest == 0, np.float32(1), largest / np.float32(127))
    if not np.isfinite(scales).all():
        return np.zeros(rows.shape, np.int8), scales
    return np.rint(rows / scales[:, None]).astype(np.int8), scales


def _four(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    blocks = rows.reshape(len(rows), -1, BLOCK)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=2)[:, :, None], axis=2)
    scales = np.where(largest == 0, np.float32(1), largest / np.float32(-8))
    if not np.isfinite(scales).all():
        return np.zeros((len(rows), rows.shape[1] // 2), np.uint8), scales[:, :, 0]
    whole = np.clip(np.rint(blocks / scales) + 8, 0, 15).astype(np.uint8).reshape(len(rows), -1)
    return whole[:, 0::2] | (whole[:, 1::2] << 4), scales[:, :, 0]
