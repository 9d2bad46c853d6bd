"""Computes with array-api-strict, in float32."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, TypeVar

import array_api_strict as library
import numpy as np

from asrkit.arrays import DTYPES, SUBSET, Array, map_tree
from asrkit.interfaces import Capabilities
from asrkit.ops import Ops
from asrkit.quantize import widened

Fn = TypeVar("Fn", bound=Callable[..., Any])


class ArrayAPIOps(Ops):
    """The reference, but for what the library has by itself."""

    def matmul(self, a: Array, b: Array) -> Array:
        """See :meth:`asrkit.ops.Ops.matmul`."""
        return library.matmul(a, b)


class ArrayAPIBackend:
    """See :class:`asrkit.interfaces.Backend`."""

    name = "array-api"

    def __init__(self) -> None:
        self.xp = SimpleNamespace(**{name: getattr(library, name) for name in (*SUBSET, *DTYPES)})
        self.ops = ArrayAPIOps(self.xp)
        self.capabilities = Capabilities(
            "cpu",
            ("fp32", "int8", "int4"),
            rank=-1,
            reason="slow, an example",
            versions=(("array-api-strict", library.__version__),),
        )

    def asarray(self, values: np.ndarray) -> Array:
        """A host array as one of the library's."""
        kinds = {"i": np.int32, "u": np.int32, "f": np.float32, "b": np.bool_}
        values = np.asarray(values)
        return library.asarray(values.astype(kinds[values.dtype.kind]))

    def to_host(self, tree: Any) -> Any:
        """A tree of NumPy arrays."""

        def back(leaf: Array) -> np.ndarray:
            values = np.asarray(leaf)
            return values.astype(np.int64) if values.dtype.kind == "i" else values

        return map_tree(back, tree)

    def weight(self, role: str, precision: str, *tensors: Any) -> Array:
        """Joined along the first axis; matrices in few bits are widened."""
        return library.asarray(np.concatenate([np.asarray(tensor, np.float32) for tensor in widened(tensors)]))

    def layout(self, role: str, precision: str) -> str:
        """A table looks like a matrix, but where only one of them is in few bits."""
        return "matrix" if role == "table" and precision == "fp32" else role

    def dtype(self, precision: str) -> Any:
        """That of activations."""
        return library.float32

    def compile(self, fn: Fn) -> Fn:
        """The function itself."""
        return fn

    def bucket(self, axis: str, size: int) -> int:
        """The size itself: nothing is compiled for it."""
        return size

    def dispatch(self, tree: Any) -> None:
        """Nothing: all was computed when it was asked for."""

    def release(self) -> None:
        """Nothing: nothing is held."""
