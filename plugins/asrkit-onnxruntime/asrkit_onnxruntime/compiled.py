"""A function as ONNX graphs: traced once for each kind of arguments, then run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime

from asrkit.arrays import AxisNames, map_tree, named_sizes
from asrkit.errors import SeamError
from asrkit_onnxruntime.array import OrtArray, plain
from asrkit_onnxruntime.graph import Graph, current
from asrkit_onnxruntime.sizes import symbol

__all__ = ["Compiled"]

OpenSession = Callable[[Graph, list[str]], onnxruntime.InferenceSession]


class Compiled:
    """A function and the sessions it was traced into, one per kind of arguments.

    Args:
        fn: graph code.
        open_session: makes a session of a finished graph and the names of its outputs.
    """

    def __init__(self, fn: Callable[..., Any], open_session: OpenSession) -> None:
        self._fn = fn
        self._open = open_session
        self._traces: dict[Any, tuple[onnxruntime.InferenceSession, list[str], list[str], Any]] = {}
        self._lock = threading.Lock()

    def __call__(self, *args: Any) -> Any:
        """Run it on trees of this backend's arrays."""
        leaves: list[OrtArray] = []
        parts: list[Any] = []
        _gather(args, None, leaves, parts)
        kind = tuple(parts)
        if kind not in self._traces:
            with self._lock:
                if kind not in self._traces:  # another thread may have been first
                    self._traces[kind] = self._trace(args)
        session, inputs, outputs, rebuild = self._traces[kind]
        feed = {name: leaf.value for name, leaf in zip(inputs, leaves, strict=True) if name}
        return rebuild(session.run(outputs, feed))

    def _trace(self, args: Any) -> Any:
        graph = Graph()
        names: list[str] = []
        axes = {id(leaf): names for _, leaf, names in named_sizes(args)}

        def enter(leaf: OrtArray) -> OrtArray:
            declared = axes[id(leaf)] or (None,) * len(leaf.shape)
            shape = [size if name is None else symbol(name) for name, size in zip(declared, leaf.shape, strict=True)]
            names.append(graph.input(leaf.dtype, shape))
            return OrtArray(None, graph, names[-1], leaf.dtype, shape)

        current.graph, before = graph, current.graph
        try:
            result = self._fn(*map_tree(enter, args))
        finally:
            current.graph = before
        # One value may stand in several places of the result, but is one output.
        outputs: dict[str, int] = {}
        places = map_tree(lambda leaf: outputs.setdefault(_output(graph, leaf), len(outputs)), result)
        session = self._open(graph, list(outputs))
        used = {value.name for value in session.get_inputs()}

        def rebuild(values: list[np.ndarray]) -> Any:
            return map_tree(lambda place: OrtArray(values[place]), places)

        return session, [name if name in used else "" for name in names], list(outputs), rebuild


def _output(graph: Graph, leaf: OrtArray) -> str:
    """A name that a graph can give out: inputs and constants pass through a node first."""
    name = plain(graph, leaf)
    given = {value.name for value in graph.inputs} | {tensor.name for tensor in graph.initializers}
    return graph.emit("Identity", [name]) if name in given else name


def _gather(tree: Any, names: AxisNames | None, leaves: list[OrtArray], kind: list[Any]) -> None:
    """The arrays of a tree in the order of ``asrkit.arrays.leaves``, and what tells one trace from another.

    In one pass, since this runs for every token: the kinds of trees, and the dtypes and sizes that do not vary.
    """
    if isinstance(tree, OrtArray) and tree.value is not None:
        leaves.append(tree)
        value = tree.value
        kind.append(value.dtype)
        if names is None:
            kind.append(value.shape)
        else:
            kind += [size for name, size in zip(names, value.shape, strict=True) if name is None]
    elif tree is None:
        kind.append(None)
    elif isinstance(tree, dict):
        kind.append(tuple(tree))
        for item in tree.values():
            _gather(item, names, leaves, kind)
    elif hasattr(tree, "_fields"):
        kind.append(type(tree))
        declared = getattr(tree, "axes", {})
        for field, item in zip(tree._fields, tree, strict=True):
            _gather(item, declared.get(field), leaves, kind)
    elif isinstance(tree, tuple | list):
        kind.append((type(tree), len(tree)))
        for item in tree:
            _gather(item, names, leaves, kind)
    else:
        raise SeamError(f"compiled code takes this backend's arrays, found {type(tree).__name__}")
