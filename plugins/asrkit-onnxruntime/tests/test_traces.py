"""What stands in a graph, and what stands for something else in it."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
import pytest

from asrkit.arrays import varying
from asrkit.backends.numpy import NumpyBackend
from asrkit.nn import length_mask
from asrkit_onnxruntime.backend import OrtBackend

HOST = NumpyBackend()


@varying(
    values=("batch", "time", None),
    other=("batch", "frames", None),
    past=("batch", None, "past", None),
    lengths=("batch",),
)
class Batch(NamedTuple):
    values: Any
    other: Any = None
    past: Any = None
    lengths: Any = None


@varying(values=("batch", "time", None, None), other=("batch", "time", None, None))
class Images(NamedTuple):
    values: Any
    other: Any = None


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def moved(backend, tree):
    return type(tree)(*(None if leaf is None else backend.asarray(leaf) for leaf in tree))


class Traced:
    """A compiled function, and the nodes of its one graph."""

    def __init__(self, fn):
        self.backend = OrtBackend()
        self._graphs, session = [], self.backend.session

        def recorded(graph, outputs):
            self._graphs.append(graph)
            return session(graph, outputs)

        self.backend.session = recorded
        self._compiled = self.backend.compile(lambda batch: fn(self.backend.ops, batch))

    def __call__(self, batch):
        return self.backend.to_host(self._compiled(moved(self.backend, batch)))

    def count(self, *ops):
        (graph,) = self._graphs
        return [sum(node.op_type == op for node in graph.nodes) for op in ops]

    def nodes(self, op):
        (graph,) = self._graphs
        return [node for node in graph.nodes if node.op_type == op]


# Turning and reshaping


@pytest.mark.parametrize("axes", list(itertools.permutations(range(4))), ids=str)
def test_turning_there_and_back_leaves_nothing(axes):
    back = [axes.index(n) for n in range(4)]
    traced = Traced(lambda o, t: Batch(o.xp.permute_dims(o.xp.permute_dims(t.values[:, :, None], axes), back)[:, :, 0]))
    x = normal(2, 5, 6)
    assert np.array_equal(traced(Batch(x)).values, x)
    assert traced.count("Transpose") == [0]


def test_turning_twice_is_one_turn():
    def fn(ops, batch):
        x = ops.xp.permute_dims(batch.values, (2, 0, 1, 3))
        x = ops.xp.permute_dims(x, (3, 1, 0, 2))
        return Images(ops.xp.permute_dims(x, (1, 3, 0, 2)))

    traced, x = Traced(fn), normal(2, 5, 6, 3)
    expected = x.transpose(2, 0, 1, 3).transpose(3, 1, 0, 2).transpose(1, 3, 0, 2)
    assert expected.shape != x.shape
    assert np.array_equal(traced(Images(x)).values, expected)
    assert traced.count("Transpose") == [1]


def test_what_is_used_in_between_stays():
    def fn(ops, batch):
        turned = ops.xp.permute_dims(batch.values, (0, 1, 3, 2))
        return Images(ops.xp.permute_dims(turned, (0, 1, 3, 2)), turned)

    traced, x = Traced(fn), normal(2, 5, 6, 3)
    found = traced(Images(x))
    assert np.array_equal(found.values, x)
    assert np.array_equal(found.other, x.transpose(0, 1, 3, 2))
    assert traced.count("Transpose") == [1]


def test_something_between_two_turns_keeps_both():
    def fn(ops, batch):
        x = ops.xp.permute_dims(batch.values, (0, 1, 3, 2)) + 1.0
        return Images(ops.xp.permute_dims(x, (0, 1, 3, 2)))

    traced, x = Traced(fn), normal(2, 5, 6, 3)
    assert np.array_equal(traced(Images(x)).values, x + 1)
    assert traced.count("Transpose") == [2]


def test_reshaping_again_begins_at_the_first():
    def fn(ops, batch):
        rows, frames, _ = batch.values.shape
        x = ops.xp.reshape(batch.values, (rows, frames, 3, 4))
        x = ops.xp.reshape(x, (rows * frames, 12))
        x = ops.xp.reshape(x, (rows, frames, 2, 6))
        return Images(x * 1.0)

    traced = Traced(fn)
    for rows, frames in ((2, 5), (1, 3)):
        x = normal(rows, frames, 12)
        assert np.array_equal(traced(Batch(x)).values, x.reshape(rows, frames, 2, 6))
    assert traced.count("Reshape") == [1]


@pytest.mark.parametrize("between", [(-1, 12), (-1,)])
def test_reshaping_there_and_back_leaves_nothing(between):
    def fn(ops, batch):
        x = ops.xp.reshape(batch.values, between)
        return Batch(ops.xp.reshape(x, batch.values.shape))

    traced = Traced(fn)
    for rows, frames in ((3, 5), (1, 3)):
        x = normal(rows, frames, 12)
        assert np.array_equal(traced(Batch(x)).values, x)
    assert traced.count("Reshape") == [0]


def test_heads_split_and_joined_leave_nothing():
    """Reshape, turn, turn back, reshape: what stands between a projection and an attention that takes rows."""

    def fn(ops, batch):
        xp, x = ops.xp, batch.values
        heads = xp.permute_dims(xp.reshape(x, (x.shape[0], x.shape[1], 3, 4)), (0, 2, 1, 3))
        rows = xp.permute_dims(heads, (0, 2, 1, 3))
        return Batch(xp.reshape(rows, (rows.shape[0], rows.shape[1], 12)))

    traced, x = Traced(fn), normal(2, 5, 12)
    assert np.array_equal(traced(Batch(x)).values, x)
    assert traced.count("Reshape", "Transpose") == [0, 0]


def test_what_no_result_needs_is_not_in_the_graph():
    def fn(ops, batch):
        ops.softmax(batch.values @ ops.xp.ones((12, 12)))
        return Batch(batch.values * 2.0)

    traced, x = Traced(fn), normal(2, 5, 12)
    assert np.array_equal(traced(Batch(x)).values, x * 2)
    assert traced.count("Softmax", "MatMul", "Mul") == [0, 0, 1]


# Norms that make the sum they are of


def norms(ops, batch, backend):
    """Norms of sums that are used in every other way too."""
    given = [backend.weight("vector", "fp32", normal(12, seed=n)) for n in (1, 2, 3)]
    matrix = backend.weight("matrix", "fp32", normal(12, 12, seed=4))
    x, y = batch.values, ops.linear(batch.values, matrix, given[2])
    total = x + y
    first = ops.layer_norm(total, given[0], given[1])
    again = ops.layer_norm(total, given[1], given[0], eps=0.5)
    nested = ops.layer_norm(total + first, given[0], given[1])
    turned = ops.layer_norm(y + x, given[0], given[1])
    row = ops.layer_norm(x + ops.xp.sum(x, axis=1, keepdims=True), given[0], given[1])
    one = ops.layer_norm(total[:, -1, :] + x[:, 0, :], given[0], given[1])
    return Batch(
        ops.xp.concat([total, first, again, nested, turned, row, one[:, None], total * y, first + total], axis=1)
    )


def test_norms_of_sums_leave_the_sums_as_they_are():
    traced = Traced(lambda ops, batch: norms(ops, batch, traced.backend))
    for rows, frames in ((2, 5), (1, 1), (3, 4)):
        batch = Batch(normal(rows, frames, 12))
        want = norms(HOST.ops, batch, HOST).values
        np.testing.assert_allclose(traced(batch).values, want, rtol=0, atol=2e-5)


# Convolutions that silence what is not valid


def silent(kernel, stride, padding, relu=True):
    """A convolution of an image with one channel, by ONNX Runtime and by NumPy; rows at and beyond half are not valid.

    Both take the number of frames from the batch, so that one graph serves even and odd heights.
    """
    weight, bias = normal(*kernel, seed=1), normal(kernel[0], seed=2)
    (top, bottom), _ = padding

    def fn(ops, batch):
        backend = HOST if ops is HOST.ops else traced.backend
        given = [backend.weight(role, "fp32", w) for role, w in (("kernel", weight), ("vector", bias))]
        x = batch.values[..., None]
        frames = (x.shape[1] + (top + bottom - kernel[2])) // stride[0] + 1
        valid = length_mask(ops, batch.lengths, frames)
        return Images(ops.conv2d(x, *given, stride=stride, padding=padding, relu=relu, valid=valid))

    traced = Traced(fn)
    return traced, lambda batch: fn(HOST.ops, batch)


SAME = ((1, 1), (1, 1))
SILENT = [
    ((4, 1, 3, 3), (2, 2), SAME),
    ((4, 1, 3, 3), (1, 1), SAME),
    ((4, 1, 3, 3), (3, 1), SAME),
    ((4, 1, 3, 3), (1, 2), SAME),
    ((4, 1, 5, 3), (2, 2), ((2, 2), (1, 1))),
    ((4, 1, 5, 3), (1, 1), ((2, 2), (1, 1))),
    ((4, 1, 1, 1), (1, 1), ((0, 0), (0, 0))),
]


@pytest.mark.parametrize(("kernel", "stride", "padding"), SILENT)
def test_rows_silenced_inside_the_convolution_are_those_zeroed_after_it(kernel, stride, padding):
    fused, expected = silent(kernel, stride, padding)
    for frames in (5, 6, 7, 8, 12, 13):
        lengths = np.array([100, 2, 1, 0])
        batch = Batch(normal(4, frames, 6, seed=frames) * 10, lengths=lengths)
        found, want = fused(batch).values, expected(batch).values
        assert found.shape == want.shape
        np.testing.assert_allclose(found, want, rtol=0, atol=2e-5)
        assert want[0].any()
        for row, length in enumerate(lengths):
            assert not found[row, length:].any()
    assert fused.count("Where") == [0], "no pass over the result"


OTHERWISE = [
    ((4, 1, 3, 3), (2, 2), SAME, False),
    ((4, 1, 3, 3), (1, 1), ((0, 0), (1, 1)), True),
    ((4, 1, 3, 3), (1, 1), ((2, 0), (1, 1)), True),
    ((4, 1, 3, 3), (2, 2), ((2, 2), (1, 1)), True),
    ((4, 1, 3, 3), (1, 1), ((1, 1), (2, 0)), True),
    ((4, 1, 3, 3), (1, 1), ((1, 3), (1, 1)), True),
    ((4, 1, 3, 3), (1, 1), ((1, 0), (1, 1)), True),
    ((4, 1, 2, 2), (2, 2), ((1, 0), (1, 0)), True),
    ((4, 1, 2, 2), (1, 1), ((1, 1), (1, 1)), True),
]


@pytest.mark.parametrize(("kernel", "stride", "padding", "relu"), OTHERWISE)
def test_other_convolutions_zero_their_rows(kernel, stride, padding, relu):
    traced, expected = silent(kernel, stride, padding, relu)
    for frames in (5, 6, 8):
        batch = Batch(normal(2, frames, 6, seed=frames), lengths=np.array([100, 2]))
        np.testing.assert_allclose(traced(batch).values, expected(batch).values, rtol=0, atol=1e-5)
    assert traced.count("Where") == [1]


def test_what_is_valid_does_not_change_by_a_bit():
    fused, _ = silent((16, 1, 3, 3), (2, 2), SAME)
    weight, bias = normal(16, 1, 3, 3, seed=1), normal(16, seed=2)

    def plain(ops, batch):
        given = [unfused.backend.weight(role, "fp32", w) for role, w in (("kernel", weight), ("vector", bias))]
        return Images(ops.conv2d(batch.values[..., None], *given, stride=(2, 2), padding=SAME, relu=True))

    unfused = Traced(plain)
    batch = Batch(normal(3, 41, 80), lengths=np.array([21, 9, 1]))
    found, want = fused(batch).values, unfused(batch).values
    for row, length in enumerate(batch.lengths):
        assert np.array_equal(found[row, :length], want[row, :length])


# Attention


HEADS, DEPTH = 3, 4


def heads(ops, x, depth=DEPTH):
    x = ops.xp.reshape(x, (x.shape[0], x.shape[1], HEADS, depth))
    return ops.xp.permute_dims(x, (0, 2, 1, 3))


def joined(ops, x, depth=DEPTH):
    x = ops.xp.permute_dims(x, (0, 2, 1, 3))
    return Batch(ops.xp.reshape(x, (x.shape[0], x.shape[1], HEADS * depth)))


def keep(ops, batch, kind):
    """A mask of the kind, (rows, 1, 1 or queries, keys); no query is without a key."""
    xp, keys = ops.xp, batch.other.shape[1]
    valid = length_mask(ops, batch.lengths, keys)[:, None, None, :]
    if kind == "keys":
        return valid
    slots, places = (xp.arange(size, dtype=xp.int32) for size in (keys, batch.values.shape[1]))
    causal = slots[None, None, None, :] <= places[None, None, :, None]
    return causal if kind == "causal" else xp.logical_and(valid, causal)


def lean(ops, batch, kind):
    """A bias of the kind: for all rows or for each of them."""
    scores = ops.matmul(heads(ops, batch.values), ops.xp.matrix_transpose(heads(ops, batch.other)))
    return scores * 0.3 if kind == "rows" else ops.xp.sum(scores, axis=0, keepdims=True) * 0.1


@pytest.mark.parametrize("mask", [None, "keys", "causal", "both"])
@pytest.mark.parametrize("bias", [None, "rows", "one"])
def test_attention_is_one_operator(mask, bias):
    def fn(ops, batch):
        q, k = heads(ops, batch.values), heads(ops, batch.other)
        options = {"mask": mask and keep(ops, batch, mask), "bias": bias and lean(ops, batch, bias)}
        return joined(ops, ops.attention(q, k, heads(ops, batch.other * 0.5), scale=0.3, **options))

    traced = Traced(fn)
    for rows, queries, keys in ((2, 5, 7), (3, 1, 4), (1, 6, 6)):
        batch = Batch(normal(rows, queries, 12), normal(rows, keys, 12, seed=1), lengths=np.array([keys, 2, 3][:rows]))
        np.testing.assert_allclose(traced(batch).values, fn(HOST.ops, batch).values, rtol=0, atol=1e-5)
    assert traced.count("MultiHeadAttention", "Softmax") == [1, 0]
    if bias is None:
        # Keys that were just turned are taken as the rows that they were.
        assert traced.count("Transpose") == [0]


@pytest.mark.parametrize("mask", [None, "keys"])
def test_keys_may_come_from_a_cache(mask):
    def fn(ops, batch):
        q, new = heads(ops, batch.values), heads(ops, batch.values * 0.7)
        store, visible = ops.extend(batch.past, new, batch.lengths * 0 + 3)
        options = {}
        if mask:
            slots = ops.xp.arange(visible.shape[2], dtype=ops.xp.int32)
            options["mask"] = slots[None, None, None, :] <= batch.lengths[:, None, None, None]
        y = joined(ops, ops.attention(q, visible, visible * 0.5, scale=0.3, **options)).values
        return Batch(y, None, store)

    def host(batch):
        room = np.zeros((len(batch.values), HEADS, batch.values.shape[1], DEPTH), np.float32)
        return fn(HOST.ops, batch._replace(past=np.concatenate([batch.past, room], axis=2)))

    traced = Traced(fn)
    for rows, queries in ((2, 4), (3, 1)):
        past = normal(rows, HEADS, 3, DEPTH, seed=1)
        batch = Batch(normal(rows, queries, 12), past=past, lengths=np.array([3, 1, 2][:rows], np.int32))
        found, want = traced(batch), host(batch)
        np.testing.assert_allclose(found.values, want.values, rtol=0, atol=1e-5)
        np.testing.assert_allclose(found.past, want.past, rtol=0, atol=1e-6)
    assert traced.count("MultiHeadAttention") == [1]
    # Only the new keys are turned on their way into the cache.
    assert traced.count("Transpose") == [1]


def test_values_may_have_a_width_of_their_own():
    def fn(ops, batch):
        q, k = heads(ops, batch.values), heads(ops, batch.values * 0.7)
        v = heads(ops, batch.other, 2)
        return joined(ops, ops.attention(q, k, v, scale=0.3), 2)

    traced = Traced(fn)
    batch = Batch(normal(2, 5, 12), normal(2, 5, 6, seed=1))
    np.testing.assert_allclose(traced(batch).values, fn(HOST.ops, batch).values, rtol=0, atol=1e-5)


def test_a_query_without_a_key_gets_something_finite():
    def fn(ops, batch):
        q = heads(ops, batch.values)
        mask = length_mask(ops, batch.lengths, batch.values.shape[1])[:, None, None, :]
        return joined(ops, ops.attention(q, q, q, scale=0.3, mask=mask))

    traced = Traced(fn)
    found = traced(Batch(normal(2, 5, 12), lengths=np.array([5, 0])))
    assert np.isfinite(found.values).all()
