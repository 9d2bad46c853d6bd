"""The ops as ONNX operators; on host arrays the NumPy backend's compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from asrkit.arrays import MASKED, Array
from asrkit.backends.numpy import NumpyOps
from asrkit.ops import Ops, check_groups
from asrkit.quantize import Quantized
from asrkit_onnxruntime.array import OrtArray, graph_of, plain, same
from asrkit_onnxruntime.graph import Graph
from asrkit_onnxruntime.integers import eight_bits, four_bits
from asrkit_onnxruntime.sizes import Size

__all__ = ["OrtOps"]

Padding = tuple[tuple[int, int], tuple[int, int]]


class OrtOps(Ops):
    """Ops that trace.

    Args:
        xp: the namespace of this backend.
        host: computes on arrays outside a graph.
    """

    def __init__(self, xp: Any, host: NumpyOps) -> None:
        super().__init__(xp)
        self._host = host

    def linear(self, x: Array, weight: Array, bias: Array | None = None, scale: float = 1.0) -> Array:
        """See :meth:`Ops.linear`: the matrix is used as it lies in the checkpoint, transposed by the operator."""
        graph = graph_of(x)
        if graph is None:
            return self._on_host("linear", x, weight, bias, scale)
        if bias is not None and scale != 1.0:
            bias = bias * scale
        shape = (*x.shape[:-1], weight.shape[0])
        if not isinstance(weight, Quantized):
            names = [plain(graph, x), plain(graph, weight)]
            name = graph.emit("FusedMatMul", names, domain="com.microsoft", transB=1, alpha=float(scale))
        else:
            if scale != 1.0:
                weight = Quantized(weight.values, weight.scales * np.float32(scale))
            name = four_bits(graph, x, weight) if weight.bits == 4 else eight_bits(graph, x, weight)
        y = _like(graph, name, x, shape)
        return y if bias is None else y + bias

    def embed(self, ids: Array, table: Array) -> Array:
        """See :meth:`Ops.embed`."""
        graph = graph_of(ids)
        if graph is None:
            return self._on_host("embed", ids, table)
        name = graph.emit("Gather", [plain(graph, table), plain(graph, ids)], axis=0)
        return _like(graph, name, table, (*ids.shape, table.shape[1]))

    def conv2d(
        self,
        x: Array,
        kernel: Array,
        bias: Array | None = None,
        *,
        stride: tuple[int, int] = (1, 1),
        padding: Padding = ((0, 0), (0, 0)),
        groups: int = 1,
        relu: bool = False,
        valid: Array | None = None,
    ) -> Array:
        """See :meth:`Ops.conv2d`: channels first inside the operator; ONNX Runtime cancels turns back and forth."""
        graph = graph_of(x)
        if graph is None:
            options = {"stride": stride, "padding": padding, "groups": groups, "relu": relu, "valid": valid}
            return self._on_host("conv2d", x, kernel, bias, **options)
        check_groups(groups, kernel.shape)
        (top, bottom), (left, right) = padding
        height = (x.shape[1] + (top + bottom - kernel.shape[2])) // stride[0] + 1
        width = (x.shape[2] + (left + right - kernel.shape[3])) // stride[1] + 1
        turned = self.xp.permute_dims(x, (0, 3, 1, 2))
        # Of an image with few channels the result is many times larger, and a pass over it for the mask is what costs.
        centred = padding == tuple(((size - 1) / 2,) * 2 for size in kernel.shape[2:])
        silenced = relu and valid is not None and kernel.shape[1] == 1 and groups == 1 and centred
        if silenced:
            turned, kernel = self._silenced(turned, kernel, valid, stride[0])
        inputs = [plain(graph, turned), plain(graph, kernel)]
        if bias is not None:
            inputs.append(plain(graph, bias))
        name = graph.emit(
            "Conv",
            inputs,
            strides=list(stride),
            pads=[top, left, bottom, right],
            group=groups,
            kernel_shape=list(kernel.shape[2:]),
        )
        if relu:
            name = graph.emit("Relu", [name])
        y = _like(graph, name, x, (x.shape[0], kernel.shape[0], height, width))
        if valid is not None and not silenced:
            y = self.xp.where(valid[:, None, :, None], y, 0.0)
        return self.xp.permute_dims(y, (0, 2, 3, 1))

    def _silenced(self, x: Array, kernel: Array, valid: Array, stride: int) -> tuple[Array, Array]:
        """Image (B, 1, H, W) and kernel (O, 1, KH, KW), each with a channel more that makes invalid rows very negative.

        The channel is 1 where the middle of the kernel meets a row to be silenced, and after the ReLU nothing is left
        of it. Valid rows get nought times the kernel's weight, which changes no bit.
        """
        xp = self.xp
        rows = xp.astype(xp.logical_not(valid), xp.float32)[:, :, None]
        rows = xp.concat([rows, *[rows * 0.0] * (stride - 1)], axis=2)
        rows = xp.reshape(rows, (rows.shape[0], rows.shape[1] * stride))[:, None, : x.shape[2], None]
        weights = np.zeros_like(kernel.value)
        weights[:, :, kernel.shape[2] // 2, kernel.shape[3] // 2] = -1e30
        image = xp.concat([x, xp.broadcast_to(rows, x.shape)], axis=1)
        return image, OrtArray(np.concatenate([kernel.value, weights], axis=1))

    def layer_norm(self, x: Array, weight: Array, bias: Array, eps: float = 1e-5) -> Array:
        """See :meth:`Ops.layer_norm`."""
        graph = graph_of(x)
        if graph is None:
            return self._on_host("layer_norm", x, weight, bias, eps)
        scales = [plain(graph, value) for value in (weight, bias)]
        if x.name in graph.sums and _few(x):
            # One node in place of three counts where there is one row. With many rows ONNX Runtime's norm that adds
            # is several times slower than a norm and a sum.
            a, b = graph.sums[x.name]
            b, shift = graph.biased.get(b, (b, ""))
            inputs = [a, b, *scales, *([shift] if shift else [])]
            name = graph.take_over([x.name], "SkipLayerNormalization", inputs, ["", "", x.name], epsilon=eps)
            if name is not None:
                return _like(graph, name, x)
        return _like(graph, graph.emit("LayerNormalization", [x.name, *scales], axis=-1, epsilon=eps), x)

    def softmax(self, x: Array) -> Array:
        """See :meth:`Ops.softmax`."""
        return self._unary("softmax", x, lambda graph, name: graph.emit("Softmax", [name], axis=-1))

    def log_softmax(self, x: Array) -> Array:
        """See :meth:`Ops.log_softmax`."""
        return self._unary("log_softmax", x, lambda graph, name: graph.emit("LogSoftmax", [name], axis=-1))

    def sigmoid(self, x: Array) -> Array:
        """See :meth:`Ops.sigmoid`."""
        return self._unary("sigmoid", x, lambda graph, name: graph.emit("Sigmoid", [name]))

    def gelu(self, x: Array) -> Array:
        """See :meth:`Ops.gelu`."""
        return self._unary("gelu", x, lambda graph, name: graph.emit("Gelu", [name], approximate="tanh"))

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
        """See :meth:`Ops.attention`: one operator for all of it, which takes rows as they come from a projection."""
        graph = graph_of(q, k, v)
        if graph is None:
            return self._on_host("attention", q, k, v, scale=scale, mask=mask, bias=bias)
        xp = self.xp
        added = bias
        if mask is not None:
            hidden = xp.where(mask, OrtArray(np.zeros((), np.float32)), MASKED)
            added = hidden if bias is None else bias + hidden
        heads = {"num_heads": q.shape[1], "scale": float(scale)}
        shown = ""
        if added is not None:
            # Of four axes the first two may be 1, the others must be there.
            front = (1,) * (4 - len(added.shape)) + tuple(added.shape)[:-2]
            shape = (*front[:2], q.shape[2], k.shape[2])
            full = len(added.shape) == 4 and all(map(same, added.shape, shape))
            shown = plain(graph, added if full else xp.broadcast_to(added, shape))
        name = self._grown(graph, q, k, v, shown, heads)
        if name is None:
            # Keys and values are also taken by heads, as a memory holds them; what was just turned is turned back.
            turned = all(("Transpose", x.name) in graph.before for x in (k, v))
            pair = [self._rows(graph, x) if turned else plain(graph, x) for x in (k, v)]
            inputs = [self._rows(graph, q), *pair, *(["", "", shown] if shown else [])]
            name = graph.emit("MultiHeadAttention", inputs, domain="com.microsoft", **heads)
        y = _like(graph, name, q, (q.shape[0], q.shape[2], q.shape[1] * v.shape[3]))
        return xp.permute_dims(xp.reshape(y, (*y.shape[:2], q.shape[1], v.shape[3])), (0, 2, 1, 3))

    def _grown(
        self, graph: Graph, q: OrtArray, k: OrtArray, v: OrtArray, shown: str, heads: dict[str, Any]
    ) -> str | None:
        """Attention that puts new keys and values behind those of a cache itself, if that is what k and v are."""
        if k.name not in graph.joins or v.name not in graph.joins:
            return None
        (keys, new_keys), (values, new_values) = graph.joins[k.name], graph.joins[v.name]
        if not all(("Transpose", new.name) in graph.before for new in (new_keys, new_values)):
            return None
        inputs = [self._rows(graph, x) for x in (q, new_keys, new_values)]
        inputs += ["", "", shown, plain(graph, keys), plain(graph, values)]
        return graph.take_over([k.name, v.name], "MultiHeadAttention", inputs, [k.name, v.name], **heads)

    def _rows(self, graph: Graph, x: OrtArray) -> str:
        """(B, H, N, E) as (B, N, H*E)."""
        turned = self.xp.permute_dims(x, (0, 2, 1, 3))
        return plain(graph, self.xp.reshape(turned, (*turned.shape[:2], x.shape[1] * x.shape[3])))

    def extend(self, store: Array, new: Array, used: Array) -> tuple[Array, Array]:
        """See :meth:`Ops.extend`: the store holds exactly what is used, and grows."""
        longer = self.xp.concat([store, new], axis=2)
        if longer.graph is not None and store.value is None and new.value is None:
            longer.graph.joins[longer.name] = store, new
        return longer, longer

    def top_k(self, x: Array, count: int) -> tuple[Array, Array]:
        """See :meth:`Ops.top_k`."""
        graph = graph_of(x)
        if graph is None:
            return super().top_k(x, count)
        names = graph.emit("TopK", [x.name, graph.constant(np.array([count], np.int64))], outputs=2)
        shape = (*x.shape[:-1], count)
        indices = OrtArray(None, graph, names[1], np.int64, shape)
        return _like(graph, names[0], x, shape), self.xp.astype(indices, np.int32)

    def _unary(self, op: str, x: Array, emit: Callable[[Graph, str], str]) -> Array:
        graph = graph_of(x)
        return self._on_host(op, x) if graph is None else _like(graph, emit(graph, x.name), x)

    def _on_host(self, op: str, *arrays: Any, **options: Any) -> Array:
        arrays = tuple(_value(array) for array in arrays)
        options = {name: _value(value) for name, value in options.items()}
        return OrtArray(np.asarray(getattr(self._host, op)(*arrays, **options)))


def _few(x: OrtArray) -> bool:
    """Whether it has a row for each new token: usually one, and one per recording of a batch."""
    names = [size.names for size in x.shape if isinstance(size, Size)]
    return bool(names) and set().union(*names) <= {"batch", "tokens"}


def _value(value: Any) -> Any:
    if isinstance(value, Quantized):
        return value.widen()
    return value.value if isinstance(value, OrtArray) else value


def _like(graph: Graph, name: str, x: OrtArray, shape: Any = None) -> OrtArray:
    return OrtArray(None, graph, name, x.dtype, x.shape if shape is None else shape)
