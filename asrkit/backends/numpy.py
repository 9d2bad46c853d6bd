"""The NumPy backend: runs everywhere, computes in float32, and uses weights where the checkpoint file maps them."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np

from asrkit.arrays import MASKED, SUBSET, Array, map_tree
from asrkit.errors import BackendError
from asrkit.interfaces import Capabilities
from asrkit.ops import Ops, check_groups
from asrkit.quantize import QUANTIZED, Quantized, widened

__all__ = ["NumpyBackend", "NumpyOps", "narrow", "widen"]

Fn = TypeVar("Fn", bound=Callable[..., Any])


def _take_along_axis(x: np.ndarray, indices: np.ndarray, axis: int) -> np.ndarray:
    return np.take_along_axis(x, indices, axis)


def _namespace() -> SimpleNamespace:
    """NumPy's functions under the names of the array subset, and nothing else."""
    own = {"take_along_axis": _take_along_axis, "cumulative_sum": np.cumulative_sum}
    functions = {name: own.get(name) or getattr(np, name) for name in SUBSET}
    return SimpleNamespace(**functions, bool=np.bool_, float32=np.float32, int32=np.int32)


CACHED = 1 << 20
"""Bytes of a convolution's result that are worked on at once."""


def _window(x: np.ndarray, first: int, shape: tuple[int, ...], i: int, j: int, stride: tuple[int, int]) -> np.ndarray:
    """What tap (i, j) of a kernel sees for the results of ``shape`` (B, H, W, ...) from row ``first`` on: a view."""
    top, left = i + stride[0] * first, j
    bottom, right = top + stride[0] * (shape[1] - 1) + 1, left + stride[1] * (shape[2] - 1) + 1
    return x[:, top : bottom : stride[0], left : right : stride[1]]


class NumpyOps(Ops):
    """The ops where NumPy has something better than their reference."""

    def linear(self, x: Array, weight: Array, bias: Array | None = None, scale: float = 1.0) -> Array:
        """See :meth:`Ops.linear`; a joined weight is several matrices, each used where the file maps it."""
        matrices = weight if isinstance(weight, tuple) else (weight,)
        flat = x.reshape(-1, x.shape[-1])
        y = np.empty((flat.shape[0], sum(m.shape[0] for m in matrices)), np.float32)
        done = 0
        for matrix in matrices:
            np.matmul(flat, matrix.T, out=y[:, done : done + matrix.shape[0]])
            done += matrix.shape[0]
        if bias is not None:
            y += bias
        if scale != 1.0:
            y *= np.float32(scale)
        return y.reshape(*x.shape[:-1], y.shape[-1])

    def embed(self, ids: Array, table: Array) -> Array:
        """See :meth:`Ops.embed`."""
        return table[ids]

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
        """See :meth:`Ops.conv2d`: some rows at a time, which stay in the processor's cache until they are finished."""
        depthwise = check_groups(groups, kernel.shape)
        outputs, _, rows, columns = kernel.shape
        if any(padding[0]) or any(padding[1]):
            x = np.pad(x, ((0, 0), padding[0], padding[1], (0, 0)))
        height = (x.shape[1] - rows) // stride[0] + 1
        width = (x.shape[2] - columns) // stride[1] + 1
        y = np.empty((len(x), height, width, outputs), np.float32)
        taps = [(i, j) for i in range(rows) for j in range(columns)]
        weights = [np.ascontiguousarray(kernel[:, 0, i, j]) for i, j in taps] if depthwise else None
        matrix = None if depthwise else kernel.transpose(0, 2, 3, 1).reshape(outputs, -1)
        step = max(1, CACHED // max(1, y[:, :1].nbytes))
        for first in range(0, height, step):
            part = y[:, first : first + step]
            windows = [_window(x, first, part.shape, i, j, stride) for i, j in taps]
            if weights is not None:
                np.multiply(windows[0], weights[0], out=part)
                product = np.empty_like(part)
                for window, weight in zip(windows[1:], weights[1:], strict=True):
                    part += np.multiply(window, weight, out=product)
            else:
                # (taps x C) columns against (O, taps x C); a 1x1 kernel needs no copy.
                part[...] = self.linear(windows[0] if len(taps) == 1 else np.concatenate(windows, axis=-1), matrix)
            if bias is not None:
                part += bias
            if relu:
                np.maximum(part, 0, out=part)
        if valid is not None:
            y[~valid] = 0
        return y

    def layer_norm(self, x: Array, weight: Array, bias: Array, eps: float = 1e-5) -> Array:
        """See :meth:`Ops.layer_norm`; works in place on its own copy."""
        y = x - x.mean(axis=-1, keepdims=True)
        variance = np.einsum("...d,...d->...", y, y)[..., None] / np.float32(x.shape[-1])
        y /= np.sqrt(variance + np.float32(eps))
        y *= weight
        y += bias
        return y

    def softmax(self, x: Array) -> Array:
        """See :meth:`Ops.softmax`."""
        y = x - x.max(axis=-1, keepdims=True)
        np.exp(y, out=y)
        y /= y.sum(axis=-1, keepdims=True)
        return y

    def sigmoid(self, x: Array) -> Array:
        """See :meth:`Ops.sigmoid`."""
        y = np.multiply(x, np.float32(0.5))
        np.tanh(y, out=y)
        y *= np.float32(0.5)
        y += np.float32(0.5)
        return y

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
        """See :meth:`Ops.attention`."""
        scores = np.matmul(q * np.float32(scale), np.swapaxes(k, -1, -2))
        if bias is not None:
            scores += bias
        if mask is not None:
            np.copyto(scores, np.float32(MASKED), where=~mask)
        return np.matmul(self.softmax(scores), v)

    def extend(self, store: Array, new: Array, used: Array) -> tuple[Array, Array]:
        """See :meth:`Ops.extend`: writes into the store, attends to the filled part of it."""
        first = int(used[0]) if used.size else 0
        last = first + new.shape[2]
        store[:, :, first:last] = new
        return store, store[:, :, :last]


class NumpyBackend:
    """Runs graph code as it stands, on NumPy arrays.

    Args:
        device: only ``cpu``.
    """

    name = "numpy"

    def __init__(self, device: str | None = None) -> None:
        if device not in (None, "cpu"):
            raise BackendError(f"backend 'numpy' has no device {device!r}; it has: cpu")
        self.xp = _namespace()
        self.ops: Ops = NumpyOps(self.xp)
        self.capabilities = Capabilities(
            "cpu", ("fp32", *QUANTIZED), reason="runs everywhere", versions=(("numpy", np.__version__),)
        )

    def asarray(self, values: np.ndarray) -> Array:
        """See :class:`asrkit.interfaces.Backend`."""
        return narrow(np.asarray(values))

    def to_host(self, tree: Any) -> Any:
        """See :class:`asrkit.interfaces.Backend`."""
        return map_tree(widen, tree)

    def weight(self, role: str, precision: str, *tensors: np.ndarray | Quantized) -> Array:
        """See :class:`asrkit.interfaces.Backend`; float32 tensors stay views of the checkpoint file, quantised ones are
        widened: NumPy has no fast product of integers."""
        # An unaligned view would be copied again by every product.
        arrays = [np.require(tensor, np.float32, "A") for tensor in widened(tensors)]
        if len(arrays) == 1:
            return arrays[0]
        return tuple(arrays) if role == "matrix" else np.concatenate(arrays)

    def layout(self, role: str, precision: str) -> str:
        """See :class:`asrkit.interfaces.Backend`."""
        return "matrix" if role == "table" and precision not in QUANTIZED else role

    def dtype(self, precision: str) -> Any:
        """See :class:`asrkit.interfaces.Backend`."""
        return np.float32

    def compile(self, fn: Fn) -> Fn:
        """See :class:`asrkit.interfaces.Backend`: the function itself."""
        return fn

    def bucket(self, axis: str, size: int) -> int:
        """See :class:`asrkit.interfaces.Backend`: any size is as good as another."""
        return size

    def dispatch(self, tree: Any) -> None:
        """See :class:`asrkit.interfaces.Backend`: results are there already."""

    def release(self) -> None:
        """See :class:`asrkit.interfaces.Backend`: nothing is held."""


def narrow(values: np.ndarray) -> np.ndarray:
    """A host array of the dtypes graph code uses: int32, float32 or bool."""
    if values.dtype.kind in "iu":
        return values.astype(np.int32, copy=False)
    return values if values.dtype.kind == "b" else values.astype(np.float32, copy=False)


def widen(values: Any) -> np.ndarray:
    """A host array of the dtypes the host world uses: int64, float32 or bool."""
    array = np.asarray(values)
    if array.dtype.kind in "iu":
        return array.astype(np.int64, copy=False)
    return array if array.dtype.kind == "b" else array.astype(np.float32, copy=False)
