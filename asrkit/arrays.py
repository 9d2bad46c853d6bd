"""What graph-world code may use: the array subset, the ops, and the trees that cross ``Backend.compile``.

Graph-world code (encoders, decoders, layers) is written once against these names and runs on every backend.
A *tree* is made of NamedTuples, tuples, lists, dicts, arrays and None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias, TypeVar

__all__ = [
    "DTYPES",
    "MASKED",
    "OPS",
    "SUBSET",
    "Array",
    "AxisNames",
    "Encoded",
    "Features",
    "leaves",
    "map_tree",
    "named_sizes",
    "varying",
]

Array: TypeAlias = Any
"""An array of whatever backend is at work. Only the subset below may be used on it."""

DTYPES = ("bool", "float32", "int32")
"""The dtypes graph code may name. The compute dtype of a precision comes from the weights."""

SUBSET = (
    *("zeros", "ones", "full", "arange", "asarray"),
    *("reshape", "permute_dims", "matrix_transpose", "expand_dims", "squeeze", "concat", "stack", "broadcast_to"),
    *("take", "take_along_axis", "where"),
    *("exp", "log", "sqrt", "square", "abs", "sin", "cos", "tanh", "maximum", "minimum"),
    *("logical_and", "logical_or", "logical_not"),
    *("sum", "mean", "max", "min", "argmax", "cumulative_sum", "astype"),
)
"""Functions of a backend's ``xp``, with the signatures of the Python array API standard. Beside them graph code
may use the operators ``+ - * / // ** @``, comparisons, and slices, ``None`` and ``...`` in ``x[...]``."""

OPS = (
    *("linear", "embed", "matmul", "conv1d", "conv2d", "layer_norm", "batch_norm", "softmax", "log_softmax"),
    *("sigmoid", "silu", "gelu", "glu", "attention", "extend", "pad", "top_k", "lstm"),
)
"""Methods of a backend's ``ops``; :class:`asrkit.ops.Ops` says what each computes."""

MASKED = -1e4
"""The score of a masked position. Not -inf: a fully masked row would be NaN, and -1e9 is -inf in float16."""

AxisNames: TypeAlias = tuple[str | None, ...]
Tree = TypeVar("Tree", bound=tuple[Any, ...])


def varying(**axes: AxisNames) -> Callable[[type[Tree]], type[Tree]]:
    """Name the sizes of a NamedTuple's arrays that vary between calls; stored as its class attribute ``axes``.

    A string names a size that varies ("batch", "time", "frames", "tokens", "past"), None is a size that stays. A
    tracing backend makes exactly the named ones symbolic, so a size that varies without a name is an error.
    """

    def declare(cls: type[Tree]) -> type[Tree]:
        cls.axes = axes  # type: ignore[attr-defined]  # a NamedTuple's body takes no plain class attribute
        return cls

    return declare


@varying(values=("batch", "time", None), lengths=("batch",))
class Features(NamedTuple):
    """What a frontend makes of a batch of waveforms."""

    values: Array
    """(B, T, F) float32; frames at and beyond a row's length are zero."""
    lengths: Array
    """(B,) valid frames of each row."""


@varying(values=("batch", "frames", None), lengths=("batch",))
class Encoded(NamedTuple):
    """What an encoder makes of features."""

    values: Array
    """(B, S, D) encoder states; those at and beyond a row's length mean nothing."""
    lengths: Array
    """(B,) valid states of each row."""


def map_tree(fn: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """Apply ``fn`` to every array of ``tree`` (and the arrays at the same places of ``others``); None stays."""
    if tree is None:
        return None
    if not others and isinstance(tree, tuple | list):  # the usual case, at every token
        mapped = [map_tree(fn, item) for item in tree]
        return type(tree)(*mapped) if hasattr(tree, "_fields") else type(tree)(mapped)
    if isinstance(tree, dict):
        return {key: map_tree(fn, tree[key], *(other[key] for other in others)) for key in tree}
    if isinstance(tree, tuple | list):
        parts = [map_tree(fn, *items) for items in zip(tree, *others, strict=True)]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return fn(tree, *others)


def leaves(tree: Any) -> Iterator[Any]:
    """The arrays of a tree, in order."""
    for _, leaf, _ in named_sizes(tree):
        yield leaf


def named_sizes(
    tree: Any, path: str = "", names: AxisNames | None = None
) -> Iterator[tuple[str, Any, AxisNames | None]]:
    """Each array of a tree as (path, array, names of its varying sizes).

    The names are those that :func:`varying` gave the NamedTuple the array stands in; an array in no such NamedTuple
    has None in place of the names.
    """
    if tree is None:
        return
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from named_sizes(value, f"{path}[{key!r}]", names)
    elif hasattr(tree, "_fields"):
        declared = getattr(tree, "axes", {})
        for field, value in zip(tree._fields, tree, strict=True):
            yield from named_sizes(value, f"{path}.{field}" if path else field, declared.get(field))
    elif isinstance(tree, tuple | list):
        for index, value in enumerate(tree):
            yield from named_sizes(value, f"{path}[{index}]", names)
    else:
        yield path, tree, names
