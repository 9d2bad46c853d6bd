"""The array subset: on host arrays NumPy computes, on traced ones nodes are added to the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from asrkit.errors import SeamError
from asrkit_onnxruntime.array import OrtArray, broadcast, graph_of, lifted, plain, same
from asrkit_onnxruntime.graph import DTYPES, Graph, current
from asrkit_onnxruntime.sizes import Size, SizeLike

__all__ = ["Namespace"]


class Namespace:
    """``xp`` of this backend."""

    bool = np.bool_
    float32 = np.float32
    int32 = np.int32

    def __getattr__(self, name: str) -> Any:
        raise SeamError(f"'xp.{name}' is not in the array subset, see asrkit.arrays.SUBSET")

    # Creation

    def zeros(self, shape: Any, dtype: Any = np.float32) -> OrtArray:
        """Zeros of a shape."""
        return self.full(shape, 0, dtype)

    def ones(self, shape: Any, dtype: Any = np.float32) -> OrtArray:
        """Ones of a shape."""
        return self.full(shape, 1, dtype)

    def full(self, shape: Any, fill_value: Any, dtype: Any = np.float32) -> OrtArray:
        """One value in a shape."""
        shape = (shape,) if isinstance(shape, int | Size) else tuple(shape)
        if all(isinstance(size, int) for size in shape):
            return OrtArray(np.full(shape, fill_value, dtype))
        graph = _graph(shape)
        value = graph.constant(np.full((1,), fill_value, dtype))
        return OrtArray(None, graph, graph.emit("Expand", [value, graph.shape(shape)]), dtype, shape)

    def arange(self, start: Any, stop: Any = None, step: int = 1, dtype: Any = np.int32) -> OrtArray:
        """Whole numbers from start to stop."""
        if stop is None:
            start, stop = 0, start
        if isinstance(start, int) and isinstance(stop, int):
            return OrtArray(np.arange(start, stop, step).astype(dtype))
        if step != 1:
            raise SeamError("xp.arange with a symbolic bound takes steps of 1")
        graph = _graph((start, stop))
        bounds = [graph.emit("Squeeze", [graph.size(bound)]) for bound in (start, stop)]
        name = graph.emit("Range", [*bounds, graph.constant(np.array(1, np.int64))])
        name = graph.emit("Cast", [name], to=DTYPES[np.dtype(dtype)])
        return OrtArray(None, graph, name, dtype, (stop - start,))

    def asarray(self, value: Any, dtype: Any = None) -> OrtArray:
        """A constant, or a size as an array."""
        if isinstance(value, OrtArray):
            return value if dtype is None else self.astype(value, dtype)
        if isinstance(value, Size):
            return lifted(value, dtype)
        return OrtArray(np.asarray(value, dtype))

    # Shape

    def reshape(self, x: OrtArray, shape: Any) -> OrtArray:
        """The same values in another shape; one size may be -1."""
        shape = (shape,) if isinstance(shape, int | Size) else tuple(shape)
        if x.value is not None and all(isinstance(size, int) for size in shape):
            return OrtArray(x.value.reshape(shape))
        graph = _graph(shape, x)
        _, result = _reshaped(x.shape, shape)
        # Only the first and the last of several shapes matter.
        x = graph.before.get(("Reshape", x.name), x)
        if len(result) == len(x.shape) and all(map(same, result, x.shape)):
            return x
        target, _ = _reshaped(x.shape, result)
        name = graph.emit("Reshape", [plain(graph, x), graph.shape(target)])
        graph.before["Reshape", name] = x
        return OrtArray(None, graph, name, x.dtype, result)

    def permute_dims(self, x: OrtArray, axes: Sequence[int]) -> OrtArray:
        """Axes in another order."""
        if x.value is not None:
            return OrtArray(np.transpose(x.value, axes))
        graph = x.graph
        assert graph is not None
        source = graph.before.get(("Transpose", x.name))
        if source is not None:
            earlier = graph.turns[x.name]
            x, axes = source, [earlier[axis] for axis in axes]
        if list(axes) == list(range(len(axes))):
            return x
        name = graph.emit("Transpose", [x.name], perm=list(axes))
        graph.before["Transpose", name], graph.turns[name] = x, list(axes)
        return OrtArray(None, graph, name, x.dtype, [x.shape[axis] for axis in axes])

    def matrix_transpose(self, x: OrtArray) -> OrtArray:
        """The last two axes exchanged."""
        axes = list(range(len(x.shape)))
        if len(axes) < 2:
            raise SeamError("xp.matrix_transpose takes at least two axes")
        return self.permute_dims(x, [*axes[:-2], axes[-1], axes[-2]])

    def expand_dims(self, x: OrtArray, axis: int = 0) -> OrtArray:
        """A new axis of size 1."""
        if x.value is not None:
            return OrtArray(np.expand_dims(x.value, axis))
        axis = axis % (len(x.shape) + 1)
        return x[(*[slice(None)] * axis, None)]

    def squeeze(self, x: OrtArray, axis: Any) -> OrtArray:
        """Without axes of size 1."""
        axes = [a % len(x.shape) for a in (axis if isinstance(axis, tuple) else (axis,))]
        if x.value is not None:
            return OrtArray(np.squeeze(x.value, tuple(axes)))
        assert x.graph is not None
        name = x.graph.emit("Squeeze", [x.name, x.graph.constant(np.array(axes, np.int64))])
        return OrtArray(None, x.graph, name, x.dtype, [s for n, s in enumerate(x.shape) if n not in axes])

    def concat(self, arrays: Sequence[OrtArray], axis: int = 0) -> OrtArray:
        """Arrays one after another along an axis."""
        graph = graph_of(*arrays)
        if graph is None:
            return OrtArray(np.concatenate([_host(array) for array in arrays], axis))
        axis = axis % len(arrays[0].shape)
        name = graph.emit("Concat", [plain(graph, array) for array in arrays], axis=axis)
        total: SizeLike = 0
        for array in arrays:
            total = total + array.shape[axis]
        shape = [
            total if n == axis else _first_symbolic(a.shape[n] for a in arrays) for n in range(len(arrays[0].shape))
        ]
        return OrtArray(None, graph, name, arrays[0].dtype, shape)

    def stack(self, arrays: Sequence[OrtArray], axis: int = 0) -> OrtArray:
        """Arrays side by side along a new axis."""
        return self.concat([self.expand_dims(array, axis) for array in arrays], axis % (len(arrays[0].shape) + 1))

    def broadcast_to(self, x: OrtArray, shape: Any) -> OrtArray:
        """Repeated to a shape."""
        shape = tuple(shape)
        if x.value is not None and all(isinstance(size, int) for size in shape):
            return OrtArray(np.broadcast_to(x.value, shape))
        graph = _graph(shape, x)
        name = graph.emit("Expand", [plain(graph, x), graph.shape(shape)])
        return OrtArray(None, graph, name, x.dtype, shape)

    # Choosing

    def take(self, x: OrtArray, indices: OrtArray, axis: int) -> OrtArray:
        """Items along an axis."""
        graph = graph_of(x, indices)
        if graph is None:
            return OrtArray(np.take(_host(x), _host(indices), axis))
        axis = axis % len(x.shape)
        name = graph.emit("Gather", [plain(graph, x), plain(graph, indices)], axis=axis)
        return OrtArray(None, graph, name, x.dtype, (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))

    def take_along_axis(self, x: OrtArray, indices: OrtArray, axis: int = -1) -> OrtArray:
        """Items along an axis, others at each place."""
        graph = graph_of(x, indices)
        if graph is None:
            return OrtArray(np.take_along_axis(_host(x), _host(indices), axis))
        axis = axis % len(x.shape)
        name = graph.emit("GatherElements", [plain(graph, x), plain(graph, indices)], axis=axis)
        return OrtArray(None, graph, name, x.dtype, indices.shape)

    def where(self, condition: OrtArray, a: Any, b: Any) -> OrtArray:
        """Chosen by a condition."""
        dtype = next(value.dtype for value in (a, b) if isinstance(value, OrtArray))
        a, b = (value if isinstance(value, OrtArray) else OrtArray(np.asarray(value, dtype)) for value in (a, b))
        graph = graph_of(condition, a, b)
        if graph is None:
            return OrtArray(np.where(_host(condition), _host(a), _host(b)))
        if a.dtype != b.dtype:
            raise SeamError(f"xp.where between {a.dtype} and {b.dtype}: use xp.astype first")
        name = graph.emit("Where", [plain(graph, value) for value in (condition, a, b)])
        return OrtArray(None, graph, name, dtype, broadcast(condition.shape, a.shape, b.shape))

    # Reductions and the rest

    def argmax(self, x: OrtArray, axis: int = -1, keepdims: Any = False) -> OrtArray:
        """Index of the largest, int64; the first of equals."""
        if x.value is not None:
            return OrtArray(np.argmax(x.value, axis=axis, keepdims=keepdims).astype(np.int64))
        assert x.graph is not None
        axis = axis % len(x.shape)
        name = x.graph.emit("ArgMax", [x.name], axis=axis, keepdims=int(keepdims))
        return OrtArray(None, x.graph, name, np.int64, _reduced(x.shape, (axis,), keepdims))

    def cumulative_sum(self, x: OrtArray, axis: int) -> OrtArray:
        """Running sum along an axis."""
        if x.value is not None:
            return OrtArray(np.cumulative_sum(x.value, axis=axis))
        assert x.graph is not None
        name = x.graph.emit("CumSum", [x.name, x.graph.constant(np.array(axis, np.int64))])
        return OrtArray(None, x.graph, name, x.dtype, x.shape)

    def astype(self, x: OrtArray, dtype: Any) -> OrtArray:
        """In another dtype."""
        if x.dtype == np.dtype(dtype):
            return x
        if x.value is not None:
            return OrtArray(x.value.astype(dtype))
        assert x.graph is not None
        return OrtArray(None, x.graph, x.graph.emit("Cast", [x.name], to=DTYPES[np.dtype(dtype)]), dtype, x.shape)


def _unary(op: str, host: Callable[..., Any]) -> Callable[[Namespace, OrtArray], OrtArray]:
    def call(self: Namespace, x: OrtArray) -> OrtArray:
        if x.value is not None:
            return OrtArray(host(x.value))
        assert x.graph is not None
        name = x.graph.emit("Mul", [x.name, x.name]) if op == "Square" else x.graph.emit(op, [x.name])
        return OrtArray(None, x.graph, name, x.dtype, x.shape)

    return call


def _binary(op: str, host: Callable[..., Any]) -> Callable[[Namespace, Any, Any], OrtArray]:
    def call(self: Namespace, a: Any, b: Any) -> OrtArray:
        dtype = next(value.dtype for value in (a, b) if isinstance(value, OrtArray))
        a, b = (value if isinstance(value, OrtArray) else OrtArray(np.asarray(value, dtype)) for value in (a, b))
        graph = graph_of(a, b)
        if graph is None:
            return OrtArray(np.asarray(host(_host(a), _host(b))))
        name = graph.emit(op, [plain(graph, a), plain(graph, b)])
        return OrtArray(None, graph, name, dtype, broadcast(a.shape, b.shape))

    return call


def _reduction(op: str, host: Callable[..., Any]) -> Callable[..., OrtArray]:
    def call(self: Namespace, x: OrtArray, axis: Any = None, keepdims: bool = False) -> OrtArray:
        axes = tuple(range(len(x.shape))) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        axes = tuple(a % len(x.shape) for a in axes)
        if x.value is not None:
            return OrtArray(np.asarray(host(x.value, axis=axes, keepdims=keepdims)))
        assert x.graph is not None
        vector = x.graph.constant(np.array(axes, np.int64))
        name = x.graph.emit(op, [x.name, vector], keepdims=int(keepdims))
        return OrtArray(None, x.graph, name, x.dtype, _reduced(x.shape, axes, keepdims))

    return call


for _name, _op in {
    "exp": "Exp",
    "log": "Log",
    "sqrt": "Sqrt",
    "square": "Square",
    "abs": "Abs",
    "sin": "Sin",
    "cos": "Cos",
    "tanh": "Tanh",
    "logical_not": "Not",
}.items():
    setattr(Namespace, _name, _unary(_op, getattr(np, _name)))
for _name, _op in {"maximum": "Max", "minimum": "Min", "logical_and": "And", "logical_or": "Or"}.items():
    setattr(Namespace, _name, _binary(_op, getattr(np, _name)))
for _name, _op in {"sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax", "min": "ReduceMin"}.items():
    setattr(Namespace, _name, _reduction(_op, getattr(np, _name)))


def _graph(sizes: Sequence[Any], *arrays: OrtArray) -> Graph:
    """The graph that symbolic sizes or traced arrays belong to."""
    graph = graph_of(*arrays) or current.graph
    if graph is None:
        raise SeamError(f"sizes {tuple(sizes)!r} outlived the graph they were traced in")
    return graph


def _host(x: OrtArray) -> np.ndarray:
    assert x.value is not None
    return x.value


def _reshaped(old: Sequence[SizeLike], new: Sequence[Any]) -> tuple[list[SizeLike], list[SizeLike]]:
    """A reshape's target with as little arithmetic at run time as possible, and the resulting shape.

    A size that stays in its place is copied (0), one other unknown size is inferred (-1).
    """
    result = list(new)
    if -1 in [size for size in new if isinstance(size, int)]:
        at = next(n for n, size in enumerate(new) if isinstance(size, int) and size == -1)
        result[at] = _inferred(old, [size for n, size in enumerate(new) if n != at])
    target: list[SizeLike] = []
    for n, size in enumerate(new):
        kept = isinstance(size, Size) and n < len(old) and isinstance(old[n], Size) and size.same(old[n])
        target.append(0 if kept else size)
    unknown = [n for n, size in enumerate(target) if isinstance(size, Size)]
    if len(unknown) == 1 and -1 not in [size for size in target if isinstance(size, int)]:
        target[unknown[0]] = -1
    return target, result


def _inferred(old: Sequence[SizeLike], others: Sequence[SizeLike]) -> SizeLike:
    """The size that -1 stands for."""
    left = list(old)
    for size in others:
        if isinstance(size, int) and size == 1:
            continue
        for n, have in enumerate(left):
            if (
                have == size
                if isinstance(have, int) and isinstance(size, int)
                else isinstance(have, Size) and have.same(size)
            ):
                del left[n]
                break
        else:
            left.append(0)
    if 0 in [size for size in left if isinstance(size, int)]:
        raise SeamError(f"xp.reshape of {tuple(old)!r} with -1: the size it stands for is not clear")
    total: SizeLike = 1
    for size in left:
        total = total * size
    return total


def _reduced(shape: Sequence[SizeLike], axes: Sequence[int], keepdims: bool) -> list[SizeLike]:
    if keepdims:
        return [1 if n in axes else size for n, size in enumerate(shape)]
    return [size for n, size in enumerate(shape) if n not in axes]


def _first_symbolic(sizes: Any) -> SizeLike:
    """Of sizes that must agree: a known one if there is one."""
    found = list(sizes)
    return next((size for size in found if isinstance(size, int)), found[0])
