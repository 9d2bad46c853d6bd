"""The array of this backend: a host array, or a value of a graph that is being traced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from asrkit.errors import SeamError
from asrkit_onnxruntime.graph import DTYPES, Graph, current
from asrkit_onnxruntime.sizes import Size, SizeLike

__all__ = ["OrtArray", "broadcast", "graph_of", "lifted", "plain", "same"]


class OrtArray:
    """An array.

    Args:
        value: the host array, for one that is known.
        graph: the graph, for one that is traced.
        name: its name there.
        dtype: its NumPy dtype.
        shape: its sizes, whole numbers or symbolic.
    """

    __slots__ = ("dtype", "graph", "name", "shape", "value")
    __array_ufunc__ = None  # NumPy arrays on the left must not swallow it

    def __init__(
        self,
        value: np.ndarray | None = None,
        graph: Graph | None = None,
        name: str = "",
        dtype: Any = None,
        shape: Sequence[SizeLike] = (),
    ) -> None:
        self.value = value
        self.graph = graph
        self.name = name
        self.dtype = np.dtype(dtype) if value is None else value.dtype
        self.shape: tuple[Any, ...] = tuple(shape) if value is None else value.shape

    def __repr__(self) -> str:
        return f"<{'traced' if self.value is None else 'host'} {self.dtype} {self.shape}>"

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        raise SeamError(f"'.{name}' is not in the array subset: arrays have only .shape, .dtype and operators")

    def __getitem__(self, key: Any) -> OrtArray:
        keys = key if isinstance(key, tuple) else (key,)
        if self.value is not None and not any(_symbolic(item) for item in keys):
            return OrtArray(self.value[key])
        return _sliced(self, keys)

    def _with(self, other: Any, op: str, host: Callable[..., Any], swap: bool = False) -> Any:
        if isinstance(other, bool | int | float):
            other = OrtArray(np.asarray(other, self.dtype))
        if isinstance(other, Size):
            other = lifted(other, self.dtype)
        if not isinstance(other, OrtArray):
            return NotImplemented
        a, b = (other, self) if swap else (self, other)
        if a.value is not None and b.value is not None:
            return OrtArray(np.asarray(host(a.value, b.value)))
        if a.dtype != b.dtype:
            raise SeamError(f"operator {op} of {a.dtype} and {b.dtype}: use xp.astype first")
        return binary(op, a, b)

    def __add__(self, other: Any) -> Any:
        return self._with(other, "Add", np.add)

    def __radd__(self, other: Any) -> Any:
        return self._with(other, "Add", np.add, swap=True)

    def __sub__(self, other: Any) -> Any:
        return self._with(other, "Sub", np.subtract)

    def __rsub__(self, other: Any) -> Any:
        return self._with(other, "Sub", np.subtract, swap=True)

    def __mul__(self, other: Any) -> Any:
        return self._with(other, "Mul", np.multiply)

    def __rmul__(self, other: Any) -> Any:
        return self._with(other, "Mul", np.multiply, swap=True)

    def __truediv__(self, other: Any) -> Any:
        return self._with(other, "Div", np.divide)

    def __rtruediv__(self, other: Any) -> Any:
        return self._with(other, "Div", np.divide, swap=True)

    def __floordiv__(self, other: Any) -> Any:
        return self._with(other, "FloorDiv", np.floor_divide)

    def __pow__(self, other: Any) -> Any:
        return self._with(other, "Pow", np.power)

    def __matmul__(self, other: Any) -> Any:
        return self._with(other, "MatMul", np.matmul)

    def __neg__(self) -> OrtArray:
        return self * -1

    def __lt__(self, other: Any) -> Any:
        return self._with(other, "Less", np.less)

    def __le__(self, other: Any) -> Any:
        return self._with(other, "LessOrEqual", np.less_equal)

    def __gt__(self, other: Any) -> Any:
        return self._with(other, "Greater", np.greater)

    def __ge__(self, other: Any) -> Any:
        return self._with(other, "GreaterOrEqual", np.greater_equal)

    def __eq__(self, other: object) -> Any:
        return self._with(other, "Equal", np.equal)

    def __ne__(self, other: object) -> Any:
        equal = self._with(other, "Equal", np.equal)
        if equal is NotImplemented or equal.value is not None:
            return equal if equal is NotImplemented else OrtArray(~equal.value)
        return OrtArray(None, equal.graph, equal.graph.emit("Not", [equal.name]), np.bool_, equal.shape)

    __hash__ = None  # type: ignore[assignment]  # Python's own way to say "not hashable"

    def __bool__(self) -> bool:
        if self.value is None:
            raise SeamError("a decision about a value: graph code cannot do this on every backend")
        return bool(self.value)

    def __len__(self) -> NoReturn:
        raise SeamError("iteration over an array: graph code cannot do this on every backend")

    __iter__ = __len__


def graph_of(*values: Any) -> Graph | None:
    """The graph of the first traced array among the values, also inside lists."""
    for value in values:
        if isinstance(value, OrtArray) and value.value is None:
            return value.graph
        if isinstance(value, tuple | list) and (found := graph_of(*value)):
            return found
    return None


def lifted(size: Size, dtype: Any) -> OrtArray:
    """A symbolic size as an array ()."""
    if current.graph is None:
        raise SeamError(f"the size {size!r} outlived the graph it was traced in")
    scalar = current.graph.emit("Squeeze", [current.graph.size(size)])
    name = current.graph.emit("Cast", [scalar], to=DTYPES[np.dtype(dtype)])
    return OrtArray(None, current.graph, name, dtype, ())


def plain(graph: Graph, value: OrtArray) -> str:
    """The name of an array in a graph; a host array becomes a constant of it."""
    if value.value is None:
        return value.name
    if value.value.dtype not in DTYPES:
        raise SeamError(f"an array of {value.value.dtype} in a graph")
    return graph.constant(value.value)


def broadcast(*shapes: Sequence[SizeLike]) -> tuple[SizeLike, ...]:
    """The common shape; of two symbolic sizes in one place the first is taken."""
    rank = max(len(shape) for shape in shapes)
    result: list[SizeLike] = []
    for axis in range(-rank, 0):
        sizes = [shape[axis] for shape in shapes if len(shape) >= -axis]
        known = [size for size in sizes if isinstance(size, int) and size != 1]
        symbolic = [size for size in sizes if isinstance(size, Size)]
        result.append(known[0] if known else symbolic[0] if symbolic else 1)
    return tuple(result)


def binary(op: str, a: OrtArray, b: OrtArray) -> OrtArray:
    """Emit an operator of two arrays."""
    graph = graph_of(a, b)
    assert graph is not None
    names = [plain(graph, a), plain(graph, b)]
    compares = op in ("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal")
    dtype = np.dtype(np.bool_) if compares else a.dtype
    if op == "MatMul":
        shape = (*broadcast(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
    else:
        shape = broadcast(a.shape, b.shape)
    if op == "FloorDiv":
        if a.dtype.kind == "f":
            name = graph.emit("Floor", [graph.emit("Div", names)])
        else:
            # Division of whole numbers truncates in ONNX; Mod has the sign of the divisor.
            rest = graph.emit("Mod", names)
            name = graph.emit("Div", [graph.emit("Sub", [names[0], rest]), names[1]])
    else:
        name = graph.emit(op, names)
    if op == "Add" and dtype == np.float32:
        _remember_sum(graph, name, a, b)
    return OrtArray(None, graph, name, dtype, shape)


def _remember_sum(graph: Graph, name: str, a: OrtArray, b: OrtArray) -> None:
    """Note a sum that a norm after it can take over."""
    if a.value is None and b.value is None:
        if len(a.shape) == len(b.shape) == 3 and all(map(same, a.shape, b.shape)):
            graph.sums[name] = (a.name, b.name)
    elif b.value is not None and b.shape == a.shape[-1:]:
        graph.biased[name] = (a.name, plain(graph, b))


def same(a: SizeLike, b: SizeLike) -> bool:
    """Whether two sizes are the same number or the same expression."""
    if isinstance(a, int) or isinstance(b, int):
        return isinstance(a, int) and isinstance(b, int) and a == b
    return a.same(b)


def _symbolic(item: Any) -> bool:
    if isinstance(item, slice):
        return any(isinstance(bound, Size) for bound in (item.start, item.stop, item.step))
    return isinstance(item, Size)


def _sliced(x: OrtArray, keys: tuple[Any, ...]) -> OrtArray:
    """Emit slices, indices and new axes."""
    graph = x.graph
    assert graph is not None, "sizes are symbolic only where something is traced"
    used = sum(item is not None and item is not ... for item in keys)
    if ... in [k for k in keys if k is ...]:
        at = next(n for n, item in enumerate(keys) if item is ...)
        keys = (*keys[:at], *[slice(None)] * (len(x.shape) - used), *keys[at + 1 :])
    else:
        keys = (*keys, *[slice(None)] * (len(x.shape) - used))
    starts: list[SizeLike] = []
    ends: list[SizeLike] = []
    axes: list[int] = []
    steps: list[int] = []
    dropped: list[int] = []
    added: list[int] = []
    shape: list[SizeLike] = []
    axis = 0
    for item in keys:
        if item is None:
            added.append(len(shape))
            shape.append(1)
            continue
        size = x.shape[axis]
        if isinstance(item, int):
            starts.append(item)
            ends.append(item + 1 if item != -1 else np.iinfo(np.int64).max)
            axes.append(axis)
            steps.append(1)
            dropped.append(axis)
        else:
            start, stop, count = _bounds(item, size)
            if not (start == 0 and item.stop is None and (item.step or 1) == 1):
                starts.append(start)
                ends.append(stop)
                axes.append(axis)
                steps.append(item.step or 1)
            shape.append(count)
        axis += 1
    name = x.name
    if axes:
        vectors = [graph.shape(starts), graph.shape(ends)]
        vectors += [graph.constant(np.array(values, np.int64)) for values in (axes, steps)]
        name = graph.emit("Slice", [name, *vectors])
    if dropped:
        name = graph.emit("Squeeze", [name, graph.constant(np.array(dropped, np.int64))])
    if added:
        name = graph.emit("Unsqueeze", [name, graph.constant(np.array(added, np.int64))])
    return OrtArray(None, graph, name, x.dtype, shape)


def _bounds(item: slice, size: SizeLike) -> tuple[SizeLike, SizeLike, SizeLike]:
    """Start, end and number of items of a slice; symbolic bounds are taken to lie inside."""
    step = item.step or 1
    if isinstance(size, int) and not _symbolic(item):
        first, end, _ = item.indices(size)
        return first, end, len(range(first, end, step))
    start: SizeLike = 0 if item.start is None else item.start
    if isinstance(start, int) and start < 0:
        start = size + start
    stop = item.stop
    if stop is None:
        bound: SizeLike = np.iinfo(np.int64).max
        last = size
    else:
        bound = last = size + stop if isinstance(stop, int) and stop < 0 else stop
    count = last - start
    if step != 1:
        count = (count + (step - 1)) // step
    return start, bound, count
