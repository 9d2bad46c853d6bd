"""Every way out of the array subset fails on the strict backend, by name."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
import pytest

from asrkit.arrays import OPS, SUBSET, Features, varying
from asrkit.errors import SeamError
from asrkit.testing import StrictBackend

BACKEND = StrictBackend()
XP, OPS_ = BACKEND.xp, BACKEND.ops


@pytest.fixture
def x():
    return BACKEND.asarray(np.arange(12, dtype=np.float32).reshape(3, 4) - 5)


@pytest.fixture
def ids():
    return BACKEND.asarray(np.array([0, 2]))


def branch_on_value(x, ids):
    return x if XP.sum(x) > 0 else -x


def branch_on_size(x, ids):
    return x if x.shape[0] > 2 else -x


def branch_on_equal_size(x, ids):
    return x if x.shape[0] == 3 else -x


def truth_of_size(x, ids):
    return x if x.shape[0] else None


def loop_over_size(x, ids):
    return [x for _ in range(x.shape[0])]


def write_in_place(x, ids):
    x[0, 0] = 1.0


def add_in_place(x, ids):
    x += 1.0
    return x


def divide_in_place(x, ids):
    x /= 2.0
    return x


def floor_divide_in_place(x, ids):
    x //= 2.0
    return x


def raise_in_place(x, ids):
    x **= 2.0
    return x


def multiply_matrices_in_place(x, ids):
    x @= XP.matrix_transpose(x)
    return x


OFFENCES = [
    (branch_on_value, "a decision about a value"),
    (branch_on_size, "a comparison of sizes"),
    (branch_on_equal_size, "a comparison of sizes"),
    (truth_of_size, "a decision about a size"),
    (loop_over_size, "a size as a Python int"),
    (lambda x, ids: int(x.shape[0]), "a size as a Python int"),
    (lambda x, ids: float(x.shape[0]), "a size as a Python float"),
    (lambda x, ids: int(ids[0]), "a value as a Python int"),
    (lambda x, ids: float(x[0, 0]), "a value as a Python float"),
    (lambda x, ids: [1, 2, 3][ids[0]], "a value as a Python int"),
    (write_in_place, "an in-place write"),
    (add_in_place, "an in-place operation"),
    (divide_in_place, "an in-place operation"),
    (floor_divide_in_place, "an in-place operation"),
    (raise_in_place, "an in-place operation"),
    (multiply_matrices_in_place, "an in-place operation"),
    (lambda x, ids: XP.einsum("ij->ji", x), "'xp.einsum' is not in the array subset"),
    (lambda x, ids: XP.float64, "'xp.float64' is not in the array subset"),
    (lambda x, ids: OPS_.group_norm(x), "'ops.group_norm' is not among the ops"),
    (lambda x, ids: x.T, "'.T' is not in the array subset"),
    (lambda x, ids: x.sum(), "'.sum' is not in the array subset"),
    (lambda x, ids: x.reshape(-1), "'.reshape' is not in the array subset"),
    (lambda x, ids: x.ndim, "'.ndim' is not in the array subset"),
    (lambda x, ids: x[ids], "an index of type StrictArray"),
    (lambda x, ids: x[[0, 1]], "an index of type list"),
    (lambda x, ids: x[x > 0], "an index of type StrictArray"),
    (lambda x, ids: x[np.array([0])], "an index of type ndarray"),
    (lambda x, ids: x[0], "an index: "),
    (lambda x, ids: x[:9, :], "an index: "),
    (lambda x, ids: list(x), "iteration over an array"),
    (lambda x, ids: len(x), "iteration over an array"),
    (lambda x, ids: 1.0 in x, "iteration over an array"),
    (lambda x, ids: np.asarray(x), "an array as a NumPy array"),
    (lambda x, ids: np.sum(x), "'.sum' is not in the array subset"),
    (lambda x, ids: x + np.ones(4, np.float32), "a NumPy value among a backend's arrays"),
    (lambda x, ids: np.ones(4, np.float32) + x, "a NumPy value among a backend's arrays"),
    (lambda x, ids: x * np.float32(2), "a NumPy value among a backend's arrays"),
    (lambda x, ids: XP.maximum(x, np.ones((3, 4), np.float32)), "xp.maximum was given a NumPy array"),
    (lambda x, ids: x[:2, 0] + ids, "operator __add__: "),
    (lambda x, ids: ids * 0.5, "operator __mul__: "),
    (lambda x, ids: XP.exp(ids), "xp.exp: "),
    (lambda x, ids: XP.concat([x[:2, 0], ids]), "xp.concat: "),
    (lambda x, ids: XP.matrix_transpose(ids), "xp.matrix_transpose: "),
]


@pytest.mark.parametrize(("offence", "message"), OFFENCES)
def test_offence_is_named(x, ids, offence, message):
    with pytest.raises(SeamError, match=f"^{re.escape(message)}"):
        offence(x, ids)


@pytest.mark.parametrize("operation", [lambda x: x % 2.0, lambda x: ~(x > 0), lambda x: (x > 0) & (x < 1), abs])
def test_operators_outside_the_subset_are_named(x, operation):
    with pytest.raises(SeamError, match="operat"):
        operation(x)


def test_message_says_what_arrays_have(x):
    with pytest.raises(SeamError, match=r"arrays have only \.shape, \.dtype and operators$"):
        x.T  # noqa: B018


@pytest.mark.parametrize("name", SUBSET)
def test_subset_is_there(name):
    assert callable(getattr(XP, name))


@pytest.mark.parametrize("name", OPS)
def test_ops_are_there(name):
    assert callable(getattr(OPS_, name))


ALLOWED = [
    lambda x, n: XP.reshape(x, (n * 2, 2)),
    lambda x, n: XP.zeros((n + 1, 2 * n), dtype=XP.float32),
    lambda x, n: XP.arange(n, dtype=XP.int32),
    lambda x, n: x[: n // 2, None, ...],
    lambda x, n: x[n - 1, ...],
    lambda x, n: x[1 : 5 - n, :],
    lambda x, n: x[-n:, ...],
    lambda x, n: XP.where(x > 0, x, 0.0 * x),
    lambda x, n: 1.0 / (2.5 - x) ** 2,
    lambda x, n: XP.concat([x, x], axis=0) @ XP.matrix_transpose(x),
    lambda x, n: XP.broadcast_to(x[None, ...], (n, n, 4)),
]


@pytest.mark.parametrize("use", ALLOWED)
def test_sizes_can_be_calculated_with(x, use, monkeypatch):
    numpy = np.arange(12, dtype=np.float32).reshape(3, 4) - 5
    strict = use(x, x.shape[0])
    monkeypatch.setitem(globals(), "XP", np)
    expected = use(numpy, 3)
    np.testing.assert_allclose(BACKEND.to_host(strict), expected, rtol=1e-6)


def test_sizes_of_weights_are_known():
    weight = BACKEND.weight("matrix", "fp32", np.ones((2, 3), np.float32))
    assert weight.shape == (2, 3)
    assert XP.matrix_transpose(weight).shape == (3, 2)
    assert (weight[:1, :] * 2.0 + weight).shape == (2, 3)
    with pytest.raises(SeamError, match="a comparison of sizes"):
        assert (BACKEND.asarray(np.ones((4, 3))) @ XP.matrix_transpose(weight)).shape == (4, 2)


# What crosses compile


@varying(a=("batch", "time"), b=("batch", None))
class Tree(NamedTuple):
    a: Any = None
    b: Any = None


def array(*shape, dtype=np.float32):
    return BACKEND.asarray(np.zeros(shape, dtype))


def same(tree):
    return tree


def crossing(*calls):
    run = BACKEND.compile(same)
    for tree in calls:
        run(tree)


@pytest.mark.parametrize(
    ("calls", "message"),
    [
        ([np.zeros(3, np.float32)], "same, argument [0]: ndarray instead of a backend's array"),
        ([3], "same, argument [0]: int instead of a backend's array"),
        ([array(2, 3)], "same, argument [0]: its 2 sizes are not named"),
        ([{"k": array(2)}], "same, argument [0]['k']: its 1 sizes are not named"),
        ([Tree(a=array(2, 3, 4))], "same, argument [0].a: its 3 sizes are not named"),
        ([Tree(a=array(2, 3), b=array(3, 1))], "same, argument [0].b: 'batch' is 3 here and 2 in [0].a"),
        ([Tree(b=array(2, 3)), Tree(b=array(2, 4))], "same, argument [0].b: sizes (None, 4) differ from an earlier"),
        ([(Tree(a=array(2, 3)), Tree(a=array(2, 4)))], "same, argument [0][1].a: 'time' is 4 here and 3 in [0][0].a"),
    ],
)
def test_tree_that_may_not_cross(calls, message):
    with pytest.raises(SeamError, match=f"^{re.escape(message)}"):
        crossing(*calls)


def test_trees_that_may_cross():
    crossing(
        Tree(array(2, 3), array(2, 5)), Tree(array(7, 9), array(7, 5)), Tree(), {"k": [Tree(array(1, 1))], "n": None}
    )


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (lambda tree: tree.a, "result : its 2 sizes are not named"),
        (lambda tree: Tree(b=tree.a), "result b: sizes (None, 4) differ from an earlier call's (None, 3)"),
        (lambda tree: Tree(tree.a, tree.a[1:, :]), "result b: 'batch' is 1 here and 2 in a"),
        (lambda tree: Tree(b=1.0), "result b: float instead of a backend's array"),
    ],
)
def test_result_that_may_not_cross(fn, message):
    run = BACKEND.compile(fn)

    def calls():
        run(Tree(array(2, 3)))
        run(Tree(array(2, 4)))

    with pytest.raises(SeamError, match=re.escape(message)):
        calls()


def test_bucket_always_pads():
    assert [BACKEND.bucket(axis, 5) for axis in ("batch", "time", "past")] == [6, 6, 6]


def test_round_trip():
    features = Features(array(2, 3, 4), BACKEND.asarray(np.array([3, 2])))
    back = BACKEND.to_host(features)
    assert isinstance(back, Features)
    assert back.values.dtype == np.float32
    assert back.lengths.dtype == np.int64
    assert back.lengths.tolist() == [3, 2]
