"""A scoped view over a checkpoint's tensors that hands them to one backend and accounts for every one of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import numpy as np

from asrkit.arrays import Array
from asrkit.errors import WeightsError, listed
from asrkit.interfaces import Backend
from asrkit.ops import Ops
from asrkit.quantize import QUANTIZED, Quantized, quantize

__all__ = ["Shape", "Weights"]

Shape = tuple[int | None, ...]
"""An expected shape; None fits any size."""


@attrs.define
class _Ledger:
    """What has been read so far, shared by all views of one checkpoint."""

    read: set[str] = attrs.field(factory=set)
    problems: list[str] = attrs.field(factory=list)
    handles: dict[Any, tuple[Array, list[np.ndarray | Quantized]]] = attrs.field(factory=dict)


class Weights:
    """The tensors below one scope, for one backend and precision.

    ``w / "encoder" / "layers" / 3`` narrows the scope; ``w.matrix("weight")`` reads a tensor in a role. Nothing is ever
    initialised: a tensor exists or :meth:`check` reports it. Missing tensors read as None until then, so that one
    error can name them all.

    Args:
        tensors: names to arrays, or to matrices already quantised, usually ``checkpoint.tensors()``. A mapping with
            a method ``quantized(name, precision)`` is asked for matrices in few bits and may remember them.
        backend: where the weights go.
        precision: how the backend stores and computes them.
        source: the checkpoint's name for messages.
    """

    def __init__(
        self,
        tensors: Mapping[str, np.ndarray | Quantized],
        backend: Backend,
        precision: str,
        source: str = "checkpoint",
    ) -> None:
        self.backend = backend
        self.precision = precision
        self.source = source
        self._tensors = tensors
        self._scope = ""
        self._ledger = _Ledger()

    def __truediv__(self, name: str | int) -> Weights:
        """The view one scope down."""
        view = object.__new__(Weights)
        view.__dict__.update(self.__dict__)
        view._scope = f"{self._scope}{name}."
        return view

    def at(self, precision: str) -> Weights:
        """The same view in another precision, for a part that is better off with it."""
        view = object.__new__(Weights)
        view.__dict__.update(self.__dict__)
        view.precision = precision
        return view

    def unquantised(self) -> Weights:
        """The same view in float32 where the precision has few bits, for a matrix that is not read at every call."""
        return self.at("fp32") if self.precision in QUANTIZED else self

    def __contains__(self, name: str) -> bool:
        """Whether a tensor of that name, or a scope with tensors, is there."""
        full = self._scope + name
        return full in self._tensors or any(key.startswith(full + ".") for key in self._tensors)

    @property
    def ops(self) -> Ops:
        """The ops of the backend."""
        return self.backend.ops

    @property
    def dtype(self) -> Any:
        """The dtype of activations."""
        return self.backend.dtype(self.precision)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, for parts that take their sizes from it.

        Raises:
            WeightsError: there is no such tensor.
        """
        if self._scope + name not in self._tensors:
            raise WeightsError(f"{self.source}: there is no tensor {self._scope + name!r}")
        return tuple(self._tensors[self._scope + name].shape)

    def matrix(self, *names: str, shape: Shape | None = None) -> Array:
        """A matrix (O, I) for ``ops.linear``; several names are joined along O. ``shape`` is that of each.

        Trailing axes of size 1 (a convolution of width 1) are dropped.
        """
        return self._read("matrix", names, shape)

    def table(self, name: str, shape: Shape | None = None) -> Array:
        """A table (V, D) for ``ops.embed``."""
        return self._read("table", (name,), shape)

    def kernel(self, name: str, shape: Shape | None = None) -> Array:
        """A kernel (O, C/groups, K...) for ``ops.conv1d`` or ``ops.conv2d``."""
        return self._read("kernel", (name,), shape)

    def vector(self, *names: str, shape: Shape | None = None) -> Array:
        """A vector or another small constant, which graph code may use directly."""
        return self._read("vector", names, shape)

    def host(self, name: str, shape: Shape | None = None) -> np.ndarray:
        """A tensor as a float32 host array, for constants that are worked out when the model is loaded.

        Raises:
            WeightsError: it is missing or has another shape.
        """
        tensor = self._find(self._scope + name, shape)
        if tensor is None:
            raise WeightsError(f"{self.source}: {self._ledger.problems[-1]}")
        if isinstance(tensor, Quantized):
            return tensor.widen()
        if tensor.dtype.kind != "f":
            raise WeightsError(f"{self.source}: {self._scope}{name} has dtype {tensor.dtype}, expected floats")
        return np.asarray(tensor, np.float32)

    def constant(self, role: str, values: np.ndarray) -> Array:
        """A weight worked out on the host, laid out like one that was read."""
        array = np.ascontiguousarray(values, np.float32)
        ready = quantize(array, self.precision) if role == "matrix" and self.precision in QUANTIZED else array
        return self.backend.weight(role, self.precision, ready)

    def ignore(self, names: Iterable[str]) -> None:
        """Declare tensors below this scope that inference does not need; a name may be a whole scope."""
        for name in names:
            full = self._scope + name
            self._ledger.read.update(key for key in self._tensors if key == full or key.startswith(full + "."))

    def check(self) -> None:
        """Account for the whole checkpoint.

        Raises:
            WeightsError: tensors are missing, have another shape than expected, or were left unread.
        """
        problems = list(self._ledger.problems)
        left = [f"{key} {_shape(self._tensors[key])}" for key in self._tensors if key not in self._ledger.read]
        if left:
            problems.append(f"not used by the model: {listed(left)}")
        if problems:
            shown = problems[:10] + ([f"and {len(problems) - 10} more"] if len(problems) > 10 else [])
            raise WeightsError(f"{self.source}: the tensors do not fit its configuration: {'; '.join(shown)}")

    def _find(self, full: str, shape: Shape | None) -> np.ndarray | Quantized | None:
        if full not in self._tensors:
            expected = f", expected {_fits(shape)}" if shape else ""
            self._ledger.problems.append(f"missing {full}{expected}")
            return None
        self._ledger.read.add(full)
        tensor = self._tensors[full]
        if shape is not None and isinstance(tensor, Quantized):
            shape = shape[: tensor.ndim]  # a convolution of width 1 is quantised as the matrix that it is
        if shape is not None and (
            len(shape) != tensor.ndim
            or any(want not in (None, size) for want, size in zip(shape, tensor.shape, strict=True))
        ):
            self._ledger.problems.append(f"{full} has shape {_shape(tensor)}, expected {_fits(shape)}")
            return None
        return tensor

    def _read(self, role: str, names: tuple[str, ...], shape: Shape | None) -> Array:
        full_names = [self._scope + name for name in names]
        found = [self._find(full, shape) for full in full_names]
        tensors = [tensor for tensor in found if tensor is not None]
        if len(tensors) < len(names):
            return None
        for full, tensor in zip(full_names, tensors, strict=True):
            if isinstance(tensor, Quantized):
                if role != "matrix" or self.precision not in QUANTIZED:
                    self._ledger.problems.append(f"{full} is quantised, which precision {self.precision!r} cannot use")
                    return None
            elif tensor.dtype.kind != "f":
                self._ledger.problems.append(f"{full} has dtype {tensor.dtype}, expected floats")
                return None
        # Tied tensors are two names for one storage: laid out once, also if one is a table and one a matrix.
        kind = self.backend.layout(role, self.precision)
        key = (kind, self.precision, *(_place(tensor) for tensor in tensors))
        if key not in self._ledger.handles:
            # The tensors are kept with the handle: an array that was made on access would be freed, and its address
            # taken by the next one.
            try:
                ready = [self._ready(role, full, tensor) for full, tensor in zip(full_names, tensors, strict=True)]
            except ValueError as error:
                self._ledger.problems.append(f"{listed(full_names)} cannot be quantised: {error}")
                return None
            self._ledger.handles[key] = (self.backend.weight(kind, self.precision, *ready), tensors)
        return self._ledger.handles[key][0]

    def _ready(self, role: str, full: str, tensor: np.ndarray | Quantized) -> np.ndarray | Quantized:
        """A tensor as the backend takes it: matrices with two axes, quantised if the precision says so."""
        if role != "matrix" or isinstance(tensor, Quantized):
            return tensor
        tensor = tensor.reshape(tensor.shape[:2])
        if self.precision not in QUANTIZED:
            return tensor
        remembered = getattr(self._tensors, "quantized", None)
        return remembered(full, self.precision) if remembered else quantize(tensor, self.precision)


def _place(tensor: np.ndarray | Quantized) -> Any:
    """Equal for tensors that share their storage."""
    values = tensor.values if isinstance(tensor, Quantized) else tensor
    return values.__array_interface__["data"][0], values.shape, values.strides, values.dtype.str


def _shape(tensor: np.ndarray | Quantized) -> str:
    return _fits(tensor.shape)


def _fits(shape: Shape) -> str:
    return "(" + ", ".join("*" if size is None else str(size) for size in shape) + ")"
