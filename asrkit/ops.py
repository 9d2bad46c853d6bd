"""The ops of the graph world, each written in the array subset: the reference that every backend is held to.

A backend inherits :class:`Ops` and overrides what it has faster. Weights come from ``Backend.weight`` and are handles:
only the ops of the same backend look into them. Activations are channels-last: (B, T, C) and (B, H, W, C).
Softmax, log-softmax and norms compute in float32 and return the dtype of their input.
"""

from __future__ import annotations

import math
from typing import Any

from asrkit.arrays import MASKED, Array

__all__ = ["Ops", "check_groups"]


class Ops:
    """Reference implementation over any namespace that offers the array subset.

    Args:
        xp: the namespace, see ``asrkit.arrays.SUBSET``.
    """

    def __init__(self, xp: Any) -> None:
        self.xp = xp

    # Products

    def linear(self, x: Array, weight: Array, bias: Array | None = None, scale: float = 1.0) -> Array:
        """``scale * (x @ weight.T + bias)``: (..., I) with a matrix (O, I) gives (..., O)."""
        y = x @ self.xp.matrix_transpose(weight)
        y = y if bias is None else y + bias
        return y if scale == 1.0 else y * scale

    def embed(self, ids: Array, table: Array) -> Array:
        """Rows of ``table`` (V, D) for ids (B, N) int32: (B, N, D). The caller has checked the ids' range."""
        rows, count = ids.shape
        flat = self.xp.take(table, self.xp.reshape(ids, (-1,)), axis=0)
        return self.xp.reshape(flat, (rows, count, flat.shape[-1]))

    def matmul(self, a: Array, b: Array) -> Array:
        """Batched matrix product of (..., N, K) and (..., K, M)."""
        return a @ b

    def conv1d(
        self,
        x: Array,
        kernel: Array,
        bias: Array | None = None,
        *,
        stride: int = 1,
        padding: tuple[int, int] = (0, 0),
        groups: int = 1,
    ) -> Array:
        """Cross-correlation over time: (B, T, C) with a kernel (O, C/groups, K) gives (B, T', O).

        Args:
            padding: zeros before and after.
            groups: 1, or C for a depthwise kernel (C, 1, K).
        """
        flat = self.xp.expand_dims(kernel, axis=2)
        y = self.conv2d(
            self.xp.expand_dims(x, axis=1),
            flat,
            bias,
            stride=(1, stride),
            padding=((0, 0), padding),
            groups=groups,
        )
        return self.xp.squeeze(y, axis=1)

    def conv2d(
        self,
        x: Array,
        kernel: Array,
        bias: Array | None = None,
        *,
        stride: tuple[int, int] = (1, 1),
        padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0)),
        groups: int = 1,
        relu: bool = False,
        valid: Array | None = None,
    ) -> Array:
        """Cross-correlation: (B, H, W, C) with a kernel (O, C/groups, KH, KW) gives (B, H', W', O).

        Args:
            padding: zeros before and after, for H and for W.
            groups: 1, or C for a depthwise kernel (C, 1, KH, KW).
            relu: whether what is below zero becomes zero, after the bias.
            valid: (B, H') booleans; all other rows of the result become zero.
        """
        depthwise = check_groups(groups, kernel.shape)
        x = self.pad(self.pad(x, 1, *padding[0]), 2, *padding[1])
        height = (x.shape[1] - kernel.shape[2]) // stride[0] + 1
        width = (x.shape[2] - kernel.shape[3]) // stride[1] + 1
        total: Array = None
        for i in range(kernel.shape[2]):
            for j in range(kernel.shape[3]):
                last = (i + stride[0] * (height - 1) + 1, j + stride[1] * (width - 1) + 1)
                window = x[:, i : last[0] : stride[0], j : last[1] : stride[1], :]
                tap = kernel[:, :, i, j]
                part = window * tap[:, 0] if depthwise else window @ self.xp.matrix_transpose(tap)
                total = part if total is None else total + part
        return self._finish(total if bias is None else total + bias, relu, valid)

    def _finish(self, y: Array, relu: bool, valid: Array | None) -> Array:
        """What :meth:`conv2d` does after the sums; for backends whose own convolution lacks it."""
        y = self.xp.maximum(y, 0.0) if relu else y
        if valid is None:
            return y
        return self.xp.where(valid[:, :, None, None], y, self.xp.asarray(0.0, dtype=y.dtype))

    # Norms and activations

    def layer_norm(self, x: Array, weight: Array, bias: Array, eps: float = 1e-5) -> Array:
        """Normalise the last axis with the population variance, then scale and shift."""
        xp = self.xp
        y = xp.astype(x, xp.float32)
        y = y - xp.mean(y, axis=-1, keepdims=True)
        y = y / xp.sqrt(xp.mean(y * y, axis=-1, keepdims=True) + eps)
        return xp.astype(y * weight + bias, x.dtype)

    def batch_norm(
        self, x: Array, mean: Array, variance: Array, weight: Array, bias: Array, eps: float = 1e-5
    ) -> Array:
        """Scale and shift each channel (last axis) by its running statistics."""
        xp = self.xp
        mean, variance, weight, bias = (xp.astype(value, xp.float32) for value in (mean, variance, weight, bias))
        scale = weight / xp.sqrt(variance + eps)
        return xp.astype((xp.astype(x, xp.float32) - mean) * scale + bias, x.dtype)

    def softmax(self, x: Array) -> Array:
        """Softmax over the last axis."""
        xp = self.xp
        y = xp.astype(x, xp.float32)
        y = xp.exp(y - xp.max(y, axis=-1, keepdims=True))
        return xp.astype(y / xp.sum(y, axis=-1, keepdims=True), x.dtype)

    def log_softmax(self, x: Array) -> Array:
        """Logarithm of the softmax over the last axis."""
        xp = self.xp
        y = xp.astype(x, xp.float32)
        y = y - xp.max(y, axis=-1, keepdims=True)
        return xp.astype(y - xp.log(xp.sum(xp.exp(y), axis=-1, keepdims=True)), x.dtype)

    def sigmoid(self, x: Array) -> Array:
        """Logistic function, by the hyperbolic tangent since ``exp(-x)`` overflows."""
        return self.xp.tanh(x * 0.5) * 0.5 + 0.5

    def silu(self, x: Array) -> Array:
        """``x * sigmoid(x)``, also called swish."""
        return x * self.sigmoid(x)

    def gelu(self, x: Array) -> Array:
        """Gaussian error linear unit in its tanh form."""
        inner = (x + x * x * x * 0.044715) * math.sqrt(2 / math.pi)
        return x * 0.5 * (self.xp.tanh(inner) + 1.0)

    def glu(self, x: Array) -> Array:
        """First half of the last axis times the sigmoid of the second half."""
        half = x.shape[-1] // 2
        return x[..., :half] * self.sigmoid(x[..., half:])

    # Attention and state

    def attention(
        self,
        q: Array,
        k: Array,
        v: Array,
        *,
        scale: float,
        mask: Array | None = None,
        bias: Array | None = None,
    ) -> Array:
        """Scaled dot-product attention: q (B, H, N, E), k and v (B, H, S, E) give (B, H, N, E).

        Args:
            scale: multiplies the scores, usually 1/sqrt(E).
            mask: boolean, broadcastable to (B, H, N, S); True may be attended to. A query without any True gets
                something finite.
            bias: added to the scaled scores, broadcastable like the mask.
        """
        scores = (q * scale) @ self.xp.matrix_transpose(k)
        if bias is not None:
            scores = scores + bias
        if mask is not None:
            scores = self.xp.where(mask, scores, self.xp.asarray(MASKED, dtype=scores.dtype))
        return self.softmax(scores) @ v

    def extend(self, store: Array, new: Array, used: Array) -> tuple[Array, Array]:
        """Append to a cache of keys or values.

        Args:
            store: (B, H, C, E), of which the first ``used`` positions hold something; it began with the room that
                ``Backend.bucket("past", ...)`` gives, and must not be used again.
            new: (B, H, N, E).
            used: (B,) int32. All rows of a batch advance together, so all entries are equal.

        Returns:
            The store for the next call, and what to attend to: an array (B, H, K, E) whose first ``used`` + N
            positions are the past and the new; what follows them is undefined and must be masked.
        """
        xp = self.xp
        count = new.shape[2]
        room = xp.arange(store.shape[2], dtype=xp.int32)[None, :] - used[:, None]
        inside = xp.logical_and(room >= 0, room < count)
        source = xp.where(inside, room, room * 0)
        index = xp.broadcast_to(source[:, None, :, None], store.shape)
        store = xp.where(inside[:, None, :, None], xp.take_along_axis(new, index, axis=2), store)
        return store, store

    def pad(self, x: Array, axis: int, before: int, after: int) -> Array:
        """Zeros before and after along one axis."""

        def zeros(count: int) -> list[Array]:
            shape = tuple(count if i == axis % len(x.shape) else size for i, size in enumerate(x.shape))
            return [self.xp.zeros(shape, dtype=x.dtype)] if count else []

        return self.xp.concat([*zeros(before), x, *zeros(after)], axis=axis)

    def top_k(self, x: Array, count: int) -> tuple[Array, Array]:
        """The ``count`` largest of the last axis, in falling order: values and int32 indices, ties by index."""
        xp = self.xp
        slots = xp.arange(x.shape[-1], dtype=xp.int32)
        below = xp.min(x, axis=-1, keepdims=True)
        below = below - xp.abs(below) - 1.0
        free = xp.ones(x.shape, dtype=xp.bool)
        values, indices = [], []
        for _ in range(count):
            # A taken slot gets less than the smallest value, so that it never wins again.
            best = xp.argmax(xp.where(free, x, below), axis=-1, keepdims=True)
            best = xp.astype(best, xp.int32)
            values.append(xp.take_along_axis(x, best, axis=-1))
            indices.append(best)
            free = xp.logical_and(free, slots != best)
        return xp.concat(values, axis=-1), xp.concat(indices, axis=-1)

    def lstm(
        self, x: Array, hidden: Array, cell: Array, inward: Array, recurrent: Array, bias: Array
    ) -> tuple[Array, Array]:
        """One step of an LSTM layer: x (B, I), state (B, H) each; gates in the order input, forget, cell, output.

        Args:
            inward: matrix (4H, I).
            recurrent: matrix (4H, H).
            bias: (4H,), the sum of both biases where a checkpoint has two.

        Returns:
            The new hidden and cell state.
        """
        xp = self.xp
        gates = self.linear(x, inward, bias) + self.linear(hidden, recurrent)
        size = hidden.shape[-1]
        i, f, g, o = (gates[:, n * size : (n + 1) * size] for n in range(4))
        cell = self.sigmoid(f) * cell + self.sigmoid(i) * xp.tanh(g)
        return self.sigmoid(o) * xp.tanh(cell), cell


def check_groups(groups: int, kernel: tuple[int, ...]) -> bool:
    """Whether a convolution is depthwise; raises ValueError for grouped ones in between, which no part needs."""
    if groups == 1:
        return False
    if groups == kernel[0] and kernel[1] == 1:
        return True
    raise ValueError(f"groups={groups} with a kernel of shape {tuple(kernel)}: only dense and depthwise exist")
