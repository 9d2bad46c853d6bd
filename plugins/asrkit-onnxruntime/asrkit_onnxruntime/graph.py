"""An ONNX graph under construction."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from asrkit_onnxruntime.sizes import Size, SizeLike

__all__ = ["DTYPES", "IR_VERSION", "OPSET", "Graph", "current"]

OPSET, IR_VERSION = 21, 10
"""Pinned, so that a graph does not change under a newer onnx package."""

DTYPES = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.int32): TensorProto.INT32,
    np.dtype(np.int64): TensorProto.INT64,
    np.dtype(np.bool_): TensorProto.BOOL,
    np.dtype(np.uint8): TensorProto.UINT8,
    np.dtype(np.int8): TensorProto.INT8,
}

SMALL = 1024
"""Constants of up to so many bytes stand in the graph; larger ones stay where they are in memory."""


class Graph:
    """Nodes, inputs and constants; names are made up here."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.external: dict[str, np.ndarray] = {}
        """Large constants by name, which are not part of the graph's bytes."""
        self.before: dict[tuple[str, str], Any] = {}
        """What a value was before it was reshaped or turned, by ("Reshape" or "Transpose", name): doing either again
        can begin there."""
        self.turns: dict[str, list[int]] = {}
        """Order of the axes of each turned value."""
        self.sums: dict[str, tuple[str, str]] = {}
        """What was added to what, for sums of two values of one shape."""
        self.biased: dict[str, tuple[str, str]] = {}
        """Value and bias, for sums with a constant vector."""
        self.joins: dict[str, tuple[Any, Any]] = {}
        """Cache and what was put behind it, by the name of both together."""
        self._count = 0
        self._constants: dict[Any, str] = {}
        self._sizes: dict[Size, str] = {}
        self._origins: dict[str, tuple[str, int]] = {}
        self._kept: list[np.ndarray] = []
        self._emitted: dict[Any, tuple[str, ...]] = {}

    def input(self, dtype: np.dtype, shape: Sequence[SizeLike]) -> str:
        """A graph input; the named sizes in its shape are known from here on."""
        name = self._name("input")
        shown = [size if isinstance(size, int) else repr(size) for size in shape]
        self.inputs.append(helper.make_tensor_value_info(name, DTYPES[dtype], shown))
        for axis, size in enumerate(shape):
            if not isinstance(size, int):
                self._origins.setdefault(repr(size), (name, axis))
        return name

    def emit(self, op: str, inputs: Sequence[str], outputs: int = 1, domain: str = "", **attributes: Any) -> Any:
        """Add a node; the same node is never added twice. Gives its output's name, or a tuple of several."""
        key = (op, tuple(inputs), outputs, domain, repr(sorted(attributes.items())))
        if key not in self._emitted:
            names = tuple(self._name(op.lower()) for _ in range(outputs))
            self.nodes.append(helper.make_node(op, list(inputs), list(names), domain=domain, **attributes))
            self._emitted[key] = names
        names = self._emitted[key]
        return names[0] if outputs == 1 else names

    def take_over(
        self, names: Sequence[str], op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any
    ) -> str | None:
        """Add a node that also makes values which nodes of their own made so far; those nodes go.

        Args:
            names: of those values.
            outputs: of the new node behind its first, "" for what nobody wants.

        Returns:
            The name of its first output, or None, with nothing changed, if something read such a value already, or
            if what made it made more than that.
        """
        taken = set(names)
        makers = [node for node in self.nodes if taken & set(node.output)]
        if len(taken) < len(names) or any(set(node.output) - taken for node in makers):
            return None
        if any(taken & set(node.input) for node in self.nodes):
            return None
        self.nodes = [node for node in self.nodes if node not in makers]
        first = self._name(op.lower())
        self.nodes.append(helper.make_node(op, list(inputs), [first, *outputs], domain="com.microsoft", **attributes))
        return first

    def constant(self, values: np.ndarray) -> str:
        """A constant; one array in memory becomes one constant."""
        if values.nbytes <= SMALL:
            key: Any = (values.dtype.str, values.shape, values.tobytes())
        else:
            key = (values.__array_interface__["data"][0], values.dtype.str, values.shape, values.strides)
        if key not in self._constants:
            name = self._constants[key] = self._name("constant")
            self._kept.append(values)  # its address is the key
            if values.nbytes <= SMALL:
                data = np.ascontiguousarray(values).tobytes()
                tensor = helper.make_tensor(name, DTYPES[values.dtype], values.shape, data, raw=True)
            else:
                tensor = TensorProto(name=name, data_type=DTYPES[values.dtype], dims=values.shape)
                tensor.data_location = TensorProto.EXTERNAL
                self.external[name] = values
            self.initializers.append(tensor)
        return self._constants[key]

    def size(self, size: SizeLike) -> str:
        """A size as an int64 vector of one."""
        if isinstance(size, int):
            return self.constant(np.array([size], np.int64))
        if size not in self._sizes:
            self._sizes[size] = self._sum(size)
        return self._sizes[size]

    def shape(self, shape: Sequence[SizeLike]) -> str:
        """A shape as an int64 vector."""
        if all(isinstance(size, int) for size in shape):
            return self.constant(np.array(shape, np.int64))
        parts: list[str] = []
        fixed: list[int] = []
        for size in (*shape, None):
            if isinstance(size, int):
                fixed.append(size)
                continue
            if fixed:
                parts.append(self.constant(np.array(fixed, np.int64)))
                fixed = []
            if size is not None:
                parts.append(self.size(size))
        return parts[0] if len(parts) == 1 else self.emit("Concat", parts, axis=0)

    def prune(self, outputs: Sequence[str]) -> None:
        """Drop what no output needs: ONNX Runtime would compute it."""
        needed = set(outputs)
        kept = []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                kept.append(node)
        self.nodes = kept[::-1]
        self.initializers = [tensor for tensor in self.initializers if tensor.name in needed]
        self.external = {name: array for name, array in self.external.items() if name in needed}

    def _sum(self, size: Size) -> str:
        total = ""
        for product, count in size.terms.items():
            term = self.constant(np.array([count], np.int64)) if count != 1 or not product else ""
            for atom in product:
                value = self._atom(atom)
                term = self.emit("Mul", [term, value]) if term else value
            total = self.emit("Add", [total, term]) if total else term
        return total

    def _atom(self, atom: Any) -> str:
        if isinstance(atom, str):
            name, axis = self._origins[atom]
            return self.emit("Shape", [name], start=axis, end=axis + 1)
        dividend, divisor = atom
        return self.emit("Div", [self.size(dividend), self.constant(np.array([divisor], np.int64))])

    def _name(self, stem: str) -> str:
        self._count += 1
        return f"{stem}_{self._count}"


class _Tracing(threading.local):
    """The graph that this thread is tracing, for functions that make arrays out of sizes alone."""

    graph: Graph | None = None


current = _Tracing()
