"""A backend that runs graph code but lets nothing pass that some other backend could not do.

Sizes read from ``x.shape`` are symbolic: arithmetic on them works, a decision about them does not. Arrays have no truth
value, cannot be written into, iterated, or turned into NumPy arrays; names outside the array subset do not exist; every
varying size of a tree that crosses ``compile`` must be named with ``asrkit.arrays.varying``. What is allowed computes
through ``array_api_strict``, which in turn refuses what the array API standard does not promise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import array_api_strict
import numpy as np

from asrkit.arrays import SUBSET, map_tree, named_sizes
from asrkit.backends.numpy import narrow, widen
from asrkit.errors import SeamError
from asrkit.interfaces import Capabilities
from asrkit.ops import Ops
from asrkit.quantize import QUANTIZED, Quantized, widened

__all__ = ["StrictArray", "StrictBackend", "StrictSize"]

Fn = TypeVar("Fn", bound=Callable[..., Any])

array_api_strict.set_array_api_strict_flags(api_version="2024.12")


def _refuse(what: str) -> Callable[..., NoReturn]:
    def refuse(self: Any, *args: Any) -> NoReturn:
        raise SeamError(f"{what}: graph code cannot do this on every backend")

    return refuse


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Say where array_api_strict found something that the standard does not promise."""
    try:
        yield
    except (IndexError, TypeError, ValueError) as error:
        raise SeamError(f"{what}: {' '.join(str(error).split())}") from error


class StrictSize:
    """A size of an array: it can be calculated with, but not looked at."""

    __slots__ = ("_value",)

    def __init__(self, value: int) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "<symbolic size>"

    def _with(self, other: Any, fn: Callable[[int, int], int]) -> Any:
        if isinstance(other, int | StrictSize) and not isinstance(other, bool):
            return StrictSize(fn(self._value, _plain(other)))
        return NotImplemented

    def __add__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a + b)

    def __sub__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a - b)

    def __rsub__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: b - a)

    def __mul__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a * b)

    def __floordiv__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a // b)

    def __neg__(self) -> Any:
        return StrictSize(-self._value)

    __radd__ = __add__
    __rmul__ = __mul__
    __bool__ = _refuse("a decision about a size")
    __int__ = __index__ = _refuse("a size as a Python int")
    __float__ = _refuse("a size as a Python float")
    __eq__ = __ne__ = _refuse("a comparison of sizes")
    __lt__ = __le__ = __gt__ = __ge__ = _refuse("a comparison of sizes")
    __hash__ = None  # type: ignore[assignment]  # Python's own way to say "not hashable"


class StrictArray:
    """An array with nothing but the subset: operators, ``shape``, ``dtype`` and slices."""

    __slots__ = ("_data", "_static")
    __array_ufunc__ = None  # NumPy arrays on the left must not swallow it

    def __init__(self, data: Any, static: bool = False) -> None:
        self._data = data
        self._static = static

    @property
    def shape(self) -> tuple[Any, ...]:
        """Sizes: plain ints for a weight, symbolic for everything that depends on an input."""
        sizes = self._data.shape
        return tuple(sizes) if self._static else tuple(StrictSize(size) for size in sizes)

    @property
    def dtype(self) -> Any:
        """The dtype."""
        return self._data.dtype

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):  # Python's own protocols look for these to see what something is
            raise AttributeError(name)
        raise SeamError(f"'.{name}' is not in the array subset: arrays have only .shape, .dtype and operators")

    def __getitem__(self, key: Any) -> StrictArray:
        keys = key if isinstance(key, tuple) else (key,)
        for item in keys:
            if not (item is None or item is ... or isinstance(item, int | slice | StrictSize)):
                raise SeamError(
                    f"an index of type {type(item).__name__}: graph code takes slices, None and '...', and "
                    "xp.take or xp.take_along_axis for arrays"
                )
        with _naming("an index"):
            return StrictArray(self._data[_plain(key)], self._static)

    __setitem__ = _refuse("an in-place write")
    __iadd__ = __isub__ = __imul__ = __itruediv__ = _refuse("an in-place operation")
    __ifloordiv__ = __ipow__ = __imatmul__ = _refuse("an in-place operation")
    __mod__ = __rmod__ = __divmod__ = __invert__ = __abs__ = _refuse("an operator outside the subset")
    __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = _refuse("an operator outside the subset")
    __lshift__ = __rshift__ = _refuse("an operator outside the subset")
    __bool__ = _refuse("a decision about a value")
    __int__ = __index__ = _refuse("a value as a Python int")
    __float__ = _refuse("a value as a Python float")
    __iter__ = __len__ = _refuse("iteration over an array")
    __array__ = _refuse("an array as a NumPy array")
    __hash__ = None  # type: ignore[assignment]  # Python's own way to say "not hashable"


def _operator(name: str) -> Callable[..., Any]:
    def operate(self: StrictArray, *others: Any) -> Any:
        if any(isinstance(other, np.ndarray | np.generic) for other in others):
            raise SeamError("a NumPy value among a backend's arrays: make it a weight or pass it in")
        with _naming(f"operator {name}"):
            result = getattr(self._data, name)(*(_plain(other) for other in others))
        return result if result is NotImplemented else StrictArray(result, _static((self, *others)))

    return operate


for _name in ("add", "sub", "mul", "truediv", "floordiv", "pow", "matmul"):
    setattr(StrictArray, f"__{_name}__", _operator(f"__{_name}__"))
    setattr(StrictArray, f"__r{_name}__", _operator(f"__r{_name}__"))
for _name in ("neg", "lt", "le", "gt", "ge", "eq", "ne"):
    setattr(StrictArray, f"__{_name}__", _operator(f"__{_name}__"))


def _plain(value: Any) -> Any:
    """What array_api_strict understands."""
    if isinstance(value, StrictSize):
        return value._value
    if isinstance(value, StrictArray):
        return value._data
    if isinstance(value, slice):
        return slice(_plain(value.start), _plain(value.stop), _plain(value.step))
    if isinstance(value, tuple | list):
        return type(value)(_plain(item) for item in value)
    return value


def _static(values: Any) -> bool:
    """Whether something is made from weights and literals alone."""
    if isinstance(values, tuple | list):
        return all(_static(value) for value in values)
    if isinstance(values, slice):
        return _static((values.start, values.stop, values.step))
    return values._static if isinstance(values, StrictArray) else not isinstance(values, StrictSize)


class _Namespace:
    """The array subset by name; anything else says so."""

    bool = array_api_strict.bool
    float32 = array_api_strict.float32
    int32 = array_api_strict.int32

    def __init__(self) -> None:
        for name in SUBSET:
            setattr(self, name, self._wrap(name))

    @staticmethod
    def _wrap(name: str) -> Callable[..., StrictArray]:
        function = getattr(array_api_strict, name)

        def call(*args: Any, **kwargs: Any) -> StrictArray:
            values = (*args, *kwargs.values())
            if any(isinstance(value, np.ndarray) for value in values):
                raise SeamError(f"xp.{name} was given a NumPy array: make it a weight or pass it in")
            with _naming(f"xp.{name}"):
                result = function(*_plain(args), **{key: _plain(value) for key, value in kwargs.items()})
            return StrictArray(result, _static(values))

        return call

    def __getattr__(self, name: str) -> NoReturn:
        raise SeamError(f"'xp.{name}' is not in the array subset, see asrkit.arrays.SUBSET")


class _StrictOps(Ops):
    """The reference ops; a name that is not among them says so."""

    def __getattr__(self, name: str) -> NoReturn:
        raise SeamError(f"'ops.{name}' is not among the ops, see asrkit.arrays.OPS")


class StrictBackend:
    """The backend every part is checked with first; slow, and only for that."""

    name = "strict"

    def __init__(self, device: str | None = None) -> None:
        self.xp = _Namespace()
        self.ops: Ops = _StrictOps(self.xp)
        versions = (("array-api-strict", array_api_strict.__version__),)
        self.capabilities = Capabilities("cpu", ("fp32", *QUANTIZED), ahead=True, versions=versions)

    def asarray(self, values: np.ndarray) -> StrictArray:
        """See :class:`asrkit.interfaces.Backend`."""
        return StrictArray(array_api_strict.asarray(narrow(np.asarray(values))))

    def to_host(self, tree: Any) -> Any:
        """See :class:`asrkit.interfaces.Backend`."""
        return map_tree(lambda leaf: widen(np.asarray(leaf._data._array)), tree)

    def weight(self, role: str, precision: str, *tensors: np.ndarray | Quantized) -> StrictArray:
        """See :class:`asrkit.interfaces.Backend`."""
        joined = np.concatenate([np.asarray(tensor, np.float32) for tensor in widened(tensors)])
        return StrictArray(array_api_strict.asarray(joined), static=True)

    def layout(self, role: str, precision: str) -> str:
        """See :class:`asrkit.interfaces.Backend`."""
        return "matrix" if role == "table" and precision not in QUANTIZED else role

    def dtype(self, precision: str) -> Any:
        """See :class:`asrkit.interfaces.Backend`."""
        return array_api_strict.float32

    def compile(self, fn: Fn) -> Fn:
        """See :class:`asrkit.interfaces.Backend`; checks the sizes of what goes in and comes out."""
        label = getattr(fn, "__qualname__", type(fn).__name__)
        before, after = _Sizes(f"{label}, argument"), _Sizes(f"{label}, result")

        def run(*args: Any) -> Any:
            before.check(args)
            result = fn(*args)
            after.check(result)
            return result

        return run  # type: ignore[return-value]  # same signature, seen from outside

    def bucket(self, axis: str, size: int) -> int:
        """See :class:`asrkit.interfaces.Backend`: something larger, so that padding is always met."""
        return size + 1

    def dispatch(self, tree: Any) -> None:
        """See :class:`asrkit.interfaces.Backend`."""

    def release(self) -> None:
        """See :class:`asrkit.interfaces.Backend`."""


class _Sizes:
    """Holds every call of a compiled function to the sizes its trees declare."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._fixed: dict[str, tuple[int | None, ...]] = {}

    def check(self, tree: Any) -> None:
        varying: dict[str, tuple[int, str]] = {}
        for path, leaf, names in named_sizes(tree):
            if not isinstance(leaf, StrictArray):
                raise SeamError(f"{self._label} {path}: {type(leaf).__name__} instead of a backend's array")
            sizes = leaf._data.shape
            if names is None or len(names) != len(sizes):
                raise SeamError(
                    f"{self._label} {path}: its {len(sizes)} sizes are not named; put it into a NamedTuple "
                    "declared with asrkit.arrays.varying"
                )
            for name, size in zip(names, sizes, strict=True):
                if name is not None and varying.setdefault(name, (size, path))[0] != size:
                    other = varying[name]
                    raise SeamError(f"{self._label} {path}: {name!r} is {size} here and {other[0]} in {other[1]}")
            fixed = tuple(None if name else size for name, size in zip(names, sizes, strict=True))
            if self._fixed.setdefault(path, fixed) != fixed:
                raise SeamError(
                    f"{self._label} {path}: sizes {fixed} differ from an earlier call's {self._fixed[path]} "
                    "(None stands for those declared as varying)"
                )
