"""Holds a backend to the array subset and to the reference ops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from asrkit.arrays import DTYPES, OPS, SUBSET, Array, map_tree, varying
from asrkit.backends.numpy import NumpyBackend
from asrkit.interfaces import Backend
from asrkit.ops import Ops
from asrkit.quantize import QUANTIZED, quantize, widened

__all__ = ["check_backend", "op_cases"]

Case = tuple[str, Callable[..., Any], dict[str, np.ndarray], dict[str, tuple[str, np.ndarray]]]


@varying(
    a=("batch", "time", None),
    b=("batch", "time", None),
    ids=("batch", "tokens"),
    used=("batch",),
    flag=("batch", "time"),
)
class _Operands(NamedTuple):
    """Inputs of the cases; those that a case does not need are None."""

    a: Array = None
    b: Array = None
    ids: Array = None
    used: Array = None
    flag: Array = None


def check_backend(backend: Backend, atol: float = 2e-5) -> None:
    """Every name of the subset and every op, against the reference ops on NumPy.

    Args:
        atol: largest absolute difference, on values of about 1.
    """
    for name in (*SUBSET, *DTYPES):
        assert hasattr(backend.xp, name), f"backend {backend.name!r}: xp has no {name!r}"
    for name in OPS:
        assert callable(getattr(backend.ops, name)), f"backend {backend.name!r}: ops has no {name!r}"
    assert backend.capabilities.precisions, f"backend {backend.name!r}: names no precision"
    reference = NumpyBackend()
    plain = Ops(reference.xp)
    for label, fn, inputs, weights in op_cases():
        expected = _run(reference, plain, fn, inputs, weights)
        found = _run(backend, backend.ops, fn, inputs, weights)
        _same(expected, found, atol, f"backend {backend.name!r}: {label}")
    for precision in QUANTIZED:
        if precision in backend.capabilities.precisions:
            _check_quantized(backend, precision)
    _check_extend(backend)
    _check_host(backend)


def _check_quantized(backend: Backend, precision: str) -> None:
    """Products with quantised matrices: near those with the widened values, and each row as if it were alone."""
    label = f"backend {backend.name!r}: linear in {precision}"
    rng = np.random.default_rng(9)
    matrices = [quantize(rng.standard_normal((outputs, 64)).astype(np.float32), precision) for outputs in (24, 40)]
    bias = rng.standard_normal(64).astype(np.float32)
    x = rng.standard_normal((3, 5, 64)).astype(np.float32)
    x[1] *= 1000.0  # a loud row
    x[2, 3:] = 0.0  # and padding
    weight, shift = backend.weight("matrix", precision, *matrices), backend.weight("vector", precision, bias)

    def project(operands: _Operands) -> _Operands:
        return _Operands(a=backend.ops.linear(operands.a, weight, shift))

    compiled = backend.compile(project)

    def run(values: np.ndarray) -> np.ndarray:
        found: np.ndarray = backend.to_host(compiled(_Operands(a=backend.asarray(values)))).a
        return found

    together = run(x)
    wide = np.concatenate(widened(matrices))
    expected = x @ wide.T + bias
    # Bytes for a row leave at most half a step of its largest value in each of its 64 numbers.
    allowed = np.abs(x).max(axis=-1, keepdims=True) / 63 / 2 * np.abs(wide).sum(axis=1) + 1e-3
    assert (np.abs(together - expected) <= allowed).all(), f"{label}: too far from the widened product"
    assert np.array_equal(together[2, 3:], np.broadcast_to(bias, (2, 64))), f"{label}: zeros must give the bias"
    for row in range(3):
        alone = run(x[row : row + 1])[0]
        worst = float((np.abs(alone - together[row]) / np.abs(together[row]).max()).max())
        assert worst <= 1e-6, f"{label}: row {row} differs by {worst:.3g} of its size in a batch"


def _check_extend(backend: Backend) -> None:
    """A cache of the room that the backend asks for takes tokens in pieces and shows them all."""
    ops, rng = backend.ops, np.random.default_rng(8)
    new = rng.standard_normal((2, 3, 6, 4)).astype(np.float32)
    store = ops.xp.zeros((2, 3, backend.bucket("past", 6), 4), dtype=ops.xp.float32)
    done = 0
    for count in (3, 1, 2):
        piece = backend.asarray(new[:, :, done : done + count])
        store, visible = ops.extend(store, piece, backend.asarray(np.full(2, done)))
        done += count
        found = backend.to_host(visible)[:, :, :done]
        assert np.array_equal(found, new[:, :, :done]), f"backend {backend.name!r}: extend, {done} of 6 positions"


def _run(
    backend: Backend,
    ops: Ops,
    fn: Callable[..., Any],
    inputs: dict[str, np.ndarray],
    weights: dict[str, tuple[str, np.ndarray]],
) -> Any:
    handles = {
        name: backend.weight(role, backend.capabilities.precisions[0], value) for name, (role, value) in weights.items()
    }
    operands = _Operands(**{name: backend.asarray(value) for name, value in inputs.items()})
    # Not through compile: results of a case have no named sizes. Compiled code is checked with the parts.
    return backend.to_host(fn(ops, operands, **handles))


def _same(expected: Any, found: Any, atol: float, label: str) -> None:
    def compare(want: np.ndarray, have: np.ndarray) -> None:
        assert have.shape == want.shape, f"{label}: shape {have.shape}, expected {want.shape}"
        assert have.dtype == want.dtype, f"{label}: dtype {have.dtype}, expected {want.dtype}"
        assert np.isfinite(have).all(), f"{label}: not finite"
        worst = float(np.abs(have.astype(np.float64) - want).max()) if want.size else 0.0
        assert worst <= atol, f"{label}: differs by {worst:.3g}"

    map_tree(compare, expected, found)


def _check_host(backend: Backend) -> None:
    """What goes over and comes back, and trees."""
    label = f"backend {backend.name!r}"
    for values, dtype in (
        (np.array([1, 2**31 - 1]), np.int64),
        (np.array([0.5, 1e-30], np.float64), np.float32),
        (np.array([True, False]), np.bool_),
    ):
        back = backend.to_host(backend.asarray(values))
        assert back.dtype == dtype, f"{label}: to_host gives {back.dtype} for {values.dtype}, expected {dtype}"
        assert np.array_equal(back, values.astype(dtype)), f"{label}: to_host changed {values}"
    tree = {"x": (_Operands(a=backend.asarray(np.ones((1, 2, 3)))), None)}
    back = backend.to_host(tree)
    assert isinstance(back["x"][0], _Operands), f"{label}: to_host changed the shape of a tree"
    assert back["x"][1] is None, f"{label}: to_host changed a None"
    for axis in ("batch", "time"):
        sizes = [backend.bucket(axis, size) for size in range(1, 300)]
        assert all(b >= s for s, b in enumerate(sizes, start=1)), f"{label}: bucket({axis!r}) is too small"
        assert sizes == sorted(sizes), f"{label}: bucket({axis!r}) is not monotone"

    def twice(operands: _Operands) -> _Operands:
        return _Operands(a=operands.a * 2.0)

    double = backend.compile(twice)
    for rows in (2, 3):
        result = double(_Operands(a=backend.asarray(np.ones((rows, 4, 3), np.float32))))
        assert np.array_equal(backend.to_host(result).a, np.full((rows, 4, 3), 2.0)), f"{label}: compile"


def op_cases() -> Iterator[Case]:
    """(label, function of ops and operands, inputs, weights) for every op and for the subtler names of the subset."""
    rng = np.random.default_rng(7)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    x = {"a": normal(2, 7, 6)}
    pair = {"a": normal(2, 7, 6), "b": normal(2, 7, 6)}
    matrix, bias = ("matrix", normal(5, 6)), ("vector", normal(5))
    six = ("vector", normal(6))
    yield "linear", lambda o, t, w, b: o.linear(t.a, w, b), x, {"w": matrix, "b": bias}
    yield "linear without bias", lambda o, t, w: o.linear(t.a, w), x, {"w": matrix}
    ids = {"ids": np.array([[0, 4, 2], [3, 3, 1]])}
    yield "embed", lambda o, t, w: o.embed(t.ids, w), ids, {"w": ("table", normal(5, 6))}
    yield "matmul", lambda o, t: o.matmul(t.a, o.xp.matrix_transpose(t.b)), pair, {}
    options: dict[str, Any]
    for label, options, kernel in (
        ("conv1d dense", {"padding": (1, 1)}, normal(5, 6, 3)),
        ("conv1d strided", {"stride": 2, "padding": (2, 0)}, normal(5, 6, 3)),
        ("conv1d depthwise", {"padding": (2, 2), "groups": 6}, normal(6, 1, 5)),
    ):
        weights = {"w": ("kernel", kernel), "b": ("vector", normal(len(kernel)))}
        yield label, lambda o, t, w, b, options=options: o.conv1d(t.a, w, b, **options), x, weights
    for label, options, kernel in (
        ("conv2d from one channel", {"stride": (2, 2), "padding": ((1, 1), (1, 1))}, normal(4, 1, 3, 3)),
        ("conv2d uneven", {"padding": ((2, 0), (0, 1))}, normal(4, 1, 3, 2)),
    ):
        weights = {"w": ("kernel", kernel), "b": ("vector", normal(len(kernel)))}
        yield label, lambda o, t, w, b, options=options: o.conv2d(t.a[..., None], w, b, **options), x, weights
    image = {"stride": (2, 2), "padding": ((1, 1), (1, 1)), "groups": 6}
    weights = {"w": ("kernel", normal(6, 1, 3, 3))}
    yield "conv2d depthwise", lambda o, t, w: o.conv2d(_image(o, t.a, t.b), w, **image), pair, weights
    finish = {"stride": (2, 2), "padding": ((1, 1), (1, 1)), "relu": True}
    weights = {"w": ("kernel", normal(4, 1, 3, 3)), "b": ("vector", normal(4))}
    valid = {**x, "flag": np.arange(4)[None, :] < np.array([4, 2])[:, None]}
    yield (
        "conv2d with ReLU and invalid rows",
        lambda o, t, w, b: o.conv2d(t.a[..., None], w, b, valid=t.flag, **finish),
        valid,
        weights,
    )
    weights = {"w": ("kernel", normal(4, 6, 1, 1)), "b": ("vector", normal(4))}
    rows = {**pair, "flag": np.array([[True, True], [True, False]])}
    yield (
        "conv2d pointwise with invalid rows",
        lambda o, t, w, b: o.conv2d(_image(o, t.a, t.b), w, b, relu=True, valid=t.flag),
        rows,
        weights,
    )
    weights = {"w": ("kernel", normal(4, 6, 1, 1))}
    yield "conv2d pointwise", lambda o, t, w: o.conv2d(_image(o, t.a, t.b), w), pair, weights
    yield "layer_norm", lambda o, t, w, b: o.layer_norm(t.a * 3.0 + 2.0, w, b), x, {"w": six, "b": six}
    statistics = {"m": six, "v": ("vector", np.abs(normal(6)) + 0.1), "w": six, "b": six}
    yield "batch_norm", lambda o, t, m, v, w, b: o.batch_norm(t.a, m, v, w, b), x, statistics
    yield "two norms of one sum", _twice_normed, pair, {"w": six, "b": six}
    for name in ("softmax", "log_softmax", "sigmoid", "silu", "gelu", "glu"):
        yield name, lambda o, t, name=name: getattr(o, name)(t.a * 4.0), x, {}
    yield "sigmoid far out", lambda o, t: o.sigmoid(t.a * 1000.0), x, {}
    heads = {"a": normal(2, 4, 6), "b": normal(2, 7, 6)}
    flags = {"flag": np.arange(7)[None, :] < np.array([7, 3])[:, None]}
    yield "attention", lambda o, t: o.attention(*_qkv(t), scale=0.5), heads, {}
    yield "attention masked", _masked_attention, {**heads, **flags}, {}
    yield (
        "attention with a bias for all queries, masked",
        lambda o, t: o.attention(*_qkv(t), scale=0.5, mask=t.flag[:, None, None, :], bias=t.b[:, None, None, :, 0]),
        {**heads, **flags},
        {},
    )
    yield (
        "attention with a mask of fewer axes",
        lambda o, t: o.attention(*_qkv(t), scale=0.5, mask=t.flag[1, :]),
        {**heads, **flags},
        {},
    )
    # What a fully masked row gives is open, but it must be finite: nought times NaN is NaN.
    nothing = {**heads, "flag": np.zeros((2, 7), bool)}
    yield "attention fully masked", lambda o, t: _masked_attention(o, t) * 0.0, nothing, {}
    yield "pad", lambda o, t: o.pad(t.a, 1, 2, 1), x, {}
    yield "top_k", lambda o, t: o.top_k(t.a, 3), x, {}
    ties = {"a": np.array([[[1, 3, 3, 0, 3, 1]] * 7] * 2, np.float32)}
    yield "top_k with ties", lambda o, t: o.top_k(t.a, 4), ties, {}
    yield "argmax with ties", lambda o, t: o.xp.astype(o.xp.argmax(t.a, axis=-1), o.xp.int32), ties, {}
    gates = {"i": ("matrix", normal(12, 6)), "r": ("matrix", normal(12, 3)), "c": ("vector", normal(12))}
    yield "lstm", lambda o, t, i, r, c: o.lstm(t.a[:, 0, :], t.b[:, 0, :3], t.b[:, 1, :3], i, r, c), pair, gates
    yield "cumulative_sum", lambda o, t: o.xp.cumulative_sum(t.a, axis=1), x, {}
    yield "take_along_axis", lambda o, t: o.xp.take_along_axis(t.a[:, 0, :], t.ids, axis=-1), {**x, **ids}, {}
    yield "division of integers", lambda o, t: (t.ids + 1) // 2, ids, {}


def _image(ops: Ops, a: Array, b: Array) -> Array:
    """(B, 2, T, C) from two operands."""
    return ops.xp.stack([a, b], axis=1)


def _qkv(operands: _Operands) -> tuple[Array, Array, Array]:
    """One head each."""
    q, k = operands.a[:, None, :, :], operands.b[:, None, :, :]
    return q, k, k * 0.5


def _twice_normed(ops: Ops, operands: _Operands, w: Array, b: Array) -> tuple[Array, Array, Array]:
    x = operands.a + operands.b
    return ops.layer_norm(x, w, b), ops.layer_norm(x, b, w), x


def _masked_attention(ops: Ops, operands: _Operands) -> Array:
    return ops.attention(*_qkv(operands), scale=0.5, mask=operands.flag[:, None, None, :])
