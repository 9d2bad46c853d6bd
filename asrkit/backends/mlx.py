"""The MLX backend: Apple GPUs through Metal, NVIDIA GPUs through CUDA, and for tests the CPU."""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any, TypeVar

import attrs
import mlx.core as mx
import numpy as np

from asrkit.arrays import MASKED, SUBSET, Array, leaves, map_tree
from asrkit.backends.numpy import narrow, widen
from asrkit.errors import BackendError
from asrkit.interfaces import Capabilities
from asrkit.ops import Ops
from asrkit.quantize import BLOCK, QUANTIZED, Quantized, joined, widened

__all__ = ["MLXBackend", "MLXOps"]

Fn = TypeVar("Fn", bound=Callable[..., Any])

CACHE_LIMIT = {"gpu": 1 << 30, "cpu": 1 << 28}
"""Bytes of freed buffers that MLX may keep; by itself it keeps one for every length it has met."""

SLOW = {
    "gpu": (),
    "cpu": ("no GPU here: on a CPU this backend is for testing, numpy is much faster",),
}

DTYPES = {"fp32": mx.float32, "fp16": mx.float16, "bf16": mx.bfloat16}


def _argmax(x: mx.array, axis: int | None = None, keepdims: bool = False) -> mx.array:
    return mx.argmax(x, axis=axis, keepdims=keepdims).astype(mx.int32)  # MLX gives uint32, which wraps


def _namespace() -> SimpleNamespace:
    """MLX's functions under the names of the array subset, and nothing else."""
    own = {"argmax": _argmax}
    functions = {name: own.get(name) or getattr(mx, name) for name in SUBSET}
    return SimpleNamespace(**functions, bool=mx.bool_, float32=mx.float32, int32=mx.int32)


@attrs.frozen
class _Quantized:
    """A matrix for ``mx.quantized_matmul``: w = scale * unsigned + offset, by groups of inputs."""

    values: mx.array
    scales: mx.array
    offsets: mx.array
    group: int
    bits: int

    @property
    def shape(self) -> tuple[int, int]:
        """(O, I)."""
        return self.values.shape[0], self.scales.shape[1] * self.group


def _quantized(matrix: Quantized) -> _Quantized | None:
    """The same values in MLX's form, or None where its groups do not fit the matrix."""
    inputs = matrix.shape[1]
    group = BLOCK if matrix.bits == 4 else next((size for size in (128, 64, 32) if inputs % size == 0), 0)
    if not group:
        return None
    if matrix.bits == 4:
        packed, scales, middle = matrix.values, matrix.scales, 8
    else:
        # One scale per output channel, said again for every group.
        packed = (np.ascontiguousarray(matrix.values.T).view(np.uint8)) ^ np.uint8(128)
        scales, middle = np.repeat(matrix.scales[:, None], inputs // group, axis=1), 128
    packed = np.ascontiguousarray(packed).view(np.uint32)
    return _Quantized(mx.array(packed), mx.array(scales), mx.array(scales * -middle), group, matrix.bits)


class MLXOps(Ops):
    """The ops where MLX has a kernel of its own."""

    def linear(self, x: Array, weight: Array, bias: Array | None = None, scale: float = 1.0) -> Array:
        """See :meth:`Ops.linear`."""
        if not isinstance(weight, _Quantized):
            y = x @ weight.T if bias is None else mx.addmm(bias, x, weight.T)
        else:
            y = mx.quantized_matmul(
                x, weight.values, weight.scales, weight.offsets, group_size=weight.group, bits=weight.bits
            )
            y = y if bias is None else y + bias
        return y if scale == 1.0 else y * scale

    def embed(self, ids: Array, table: Array) -> Array:
        """See :meth:`Ops.embed`."""
        return table[ids]

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
        """See :meth:`Ops.conv1d`."""
        if padding[0] != padding[1]:
            x, padding = self.pad(x, 1, *padding), (0, 0)
        y = mx.conv1d(x, kernel, stride=stride, padding=padding[0], groups=groups)
        return y if bias is None else y + bias

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
        """See :meth:`Ops.conv2d`."""
        if any(before != after for before, after in padding):
            x, padding = self.pad(self.pad(x, 1, *padding[0]), 2, *padding[1]), ((0, 0), (0, 0))
        y = mx.conv2d(x, kernel, stride=stride, padding=(padding[0][0], padding[1][0]), groups=groups)
        return self._finish(y if bias is None else y + bias, relu, valid)

    def layer_norm(self, x: Array, weight: Array, bias: Array, eps: float = 1e-5) -> Array:
        """See :meth:`Ops.layer_norm`."""
        return mx.fast.layer_norm(x, weight, bias, eps)

    def softmax(self, x: Array) -> Array:
        """See :meth:`Ops.softmax`."""
        return mx.softmax(x, axis=-1, precise=True)

    def sigmoid(self, x: Array) -> Array:
        """See :meth:`Ops.sigmoid`."""
        return mx.sigmoid(x)

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
        added = None
        if mask is not None:
            # A boolean mask would become -inf, and a fully masked row NaN.
            added = mx.where(mask, mx.array(0.0, q.dtype), mx.array(MASKED, q.dtype))
        if bias is not None:
            added = bias if added is None else added + bias
        return mx.fast.scaled_dot_product_attention(q, k, v, scale=scale, mask=added)

    def extend(self, store: Array, new: Array, used: Array) -> tuple[Array, Array]:
        """See :meth:`Ops.extend`."""
        store = mx.slice_update(store, new, used[:1], axes=(2,))
        return store, store


class MLXBackend:
    """Runs graph code on MLX arrays, compiled where there is a GPU.

    Args:
        device: ``gpu`` or ``cpu``; by default the GPU if there is one.
        compile: whether ``mx.compile`` is used; by default on a GPU only, since on a CPU its first call per shape
            builds C++ for a second.
    """

    name = "mlx"

    def __init__(self, device: str | None = None, compile: bool | None = None) -> None:
        available = [name for name in ("gpu", "cpu") if mx.is_available(mx.Device(getattr(mx, name)))]
        if device is not None and device not in available:
            raise BackendError(f"backend 'mlx' has no device {device!r} here; it has: {', '.join(available)}")
        chosen = device or available[0]
        self._device = mx.Device(getattr(mx, chosen))
        self._compiles = chosen == "gpu" if compile is None else compile
        self.xp = _namespace()
        self.ops: Ops = MLXOps(self.xp)
        self.capabilities = Capabilities(
            chosen,
            (*DTYPES, *QUANTIZED),
            rank=20 if chosen == "gpu" else -10,
            reason="computes on the GPU" if chosen == "gpu" else "slow on a CPU",
            ahead=True,
            versions=(("mlx", version("mlx")),),
            notes=SLOW[chosen],
        )
        mx.set_cache_limit(CACHE_LIMIT[chosen])

    def asarray(self, values: np.ndarray) -> Array:
        """See :class:`asrkit.interfaces.Backend`."""
        return mx.array(narrow(np.asarray(values)))

    def to_host(self, tree: Any) -> Any:
        """See :class:`asrkit.interfaces.Backend`."""
        return map_tree(lambda x: widen(x.astype(mx.float32) if x.dtype == mx.bfloat16 else x), tree)

    def weight(self, role: str, precision: str, *tensors: np.ndarray | Quantized) -> Array:
        """See :class:`asrkit.interfaces.Backend`; kernels become channels-last."""
        if isinstance(tensors[0], Quantized):
            quantized = _quantized(joined([tensor for tensor in tensors if isinstance(tensor, Quantized)]))
            if quantized is not None:
                mx.eval(quantized.values, quantized.scales, quantized.offsets)
                return quantized
        arrays = [np.asarray(tensor) for tensor in widened(tensors)]
        if role == "kernel":
            arrays = [np.ascontiguousarray(np.moveaxis(array, 1, -1)) for array in arrays]
        parts = [mx.array(array).astype(self.dtype(precision)) for array in arrays]
        value = parts[0] if len(parts) == 1 else mx.concatenate(parts)
        # Evaluated now: the mapped file is read once, and compiled code may only close over finished arrays.
        mx.eval(value)
        return value

    def layout(self, role: str, precision: str) -> str:
        """See :class:`asrkit.interfaces.Backend`."""
        return "matrix" if role == "table" and precision not in QUANTIZED else role

    def dtype(self, precision: str) -> Any:
        """See :class:`asrkit.interfaces.Backend`; activations beside quantised weights stay float32."""
        return DTYPES.get(precision, mx.float32)

    def compile(self, fn: Fn) -> Fn:
        """See :class:`asrkit.interfaces.Backend`."""
        inner = mx.compile(fn) if self._compiles else fn

        def run(*args: Any) -> Any:
            with mx.stream(self._device):
                return inner(*args)

        return run  # type: ignore[return-value]  # same signature, seen from outside

    def bucket(self, axis: str, size: int) -> int:
        """See :class:`asrkit.interfaces.Backend`: rows to powers of two, lengths to steps of an eighth or less."""
        if not self._compiles or size == 0:
            return size
        if axis == "batch":
            return 1 << (size - 1).bit_length()
        step = max(64, 1 << max(size.bit_length() - 4, 0))
        return -(-size // step) * step

    def dispatch(self, tree: Any) -> None:
        """See :class:`asrkit.interfaces.Backend`."""
        mx.async_eval(list(leaves(tree)))  # type: ignore[no-untyped-call]  # MLX has no types here

    def release(self) -> None:
        """See :class:`asrkit.interfaces.Backend`."""
        mx.clear_cache()
        if threading.current_thread() is not threading.main_thread():
            # MLX makes streams per thread, and aborts the process if it ends with those of a thread that has gone.
            mx.synchronize()
            mx.clear_streams()
