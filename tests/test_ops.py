"""The reference ops against formulas written another way, in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest

from asrkit.backends.numpy import NumpyBackend, NumpyOps
from asrkit.ops import Ops, check_groups

XP = NumpyBackend().xp
both = pytest.mark.parametrize("ops", [Ops(XP), NumpyOps(XP)], ids=["reference", "numpy"])


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def close(found, expected, atol=1e-5):
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


def direct_conv2d(x, kernel, bias, stride, padding, groups):
    """Cross-correlation one output at a time, in float64; groups may be anything."""
    x = np.pad(x.astype(np.float64), ((0, 0), *padding, (0, 0)))
    outputs, per_group, rows, columns = kernel.shape
    height = len(range(0, x.shape[1] - rows + 1, stride[0]))
    width = len(range(0, x.shape[2] - columns + 1, stride[1]))
    y = np.zeros((len(x), height, width, outputs))
    for b, h, w, o in np.ndindex(y.shape):
        first = o // (outputs // groups) * per_group
        for c, i, j in np.ndindex(per_group, rows, columns):
            y[b, h, w, o] += x[b, h * stride[0] + i, w * stride[1] + j, first + c] * float(kernel[o, c, i, j])
    return y if bias is None else y + bias


@both
@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "padding", "groups"),
    [
        (1, (4, 1, 3, 3), (2, 2), ((1, 1), (1, 1)), 1),
        (3, (2, 3, 1, 1), (1, 1), ((0, 0), (0, 0)), 1),
        (3, (2, 3, 3, 2), (1, 2), ((2, 0), (0, 1)), 1),
        (4, (4, 1, 3, 3), (2, 2), ((1, 1), (1, 1)), 4),
        (4, (4, 1, 2, 3), (3, 1), ((0, 0), (2, 0)), 4),
    ],
)
@pytest.mark.parametrize("biased", [True, False])
def test_conv2d(ops, channels, kernel, stride, padding, groups, biased):
    x, weight = normal(2, 7, 6, channels), normal(*kernel, seed=1)
    bias = normal(kernel[0], seed=2) if biased else None
    found = ops.conv2d(x, weight, bias, stride=stride, padding=padding, groups=groups)
    close(found, direct_conv2d(x, weight, bias, stride, padding, groups))


@both
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "groups"),
    [((5, 4, 3), 1, (1, 1), 1), ((5, 4, 4), 2, (3, 0), 1), ((4, 1, 5), 1, (2, 2), 4), ((4, 1, 3), 2, (0, 1), 4)],
)
def test_conv1d(ops, kernel, stride, padding, groups):
    x, weight, bias = normal(2, 9, 4), normal(*kernel, seed=1), normal(kernel[0], seed=2)
    found = ops.conv1d(x, weight, bias, stride=stride, padding=padding, groups=groups)
    expected = direct_conv2d(x[:, None], weight[:, :, None], bias, (1, stride), ((0, 0), padding), groups)
    close(found, expected[:, 0])


@pytest.mark.parametrize(("groups", "kernel", "depthwise"), [(1, (4, 4, 3), False), (4, (4, 1, 3), True)])
def test_groups_that_exist(groups, kernel, depthwise):
    assert check_groups(groups, kernel) is depthwise


def test_grouped_convolution_is_refused():
    with pytest.raises(ValueError, match=r"^groups=2 with a kernel of shape \(4, 2, 3\): only dense and depthwise"):
        check_groups(2, (4, 2, 3))


@both
@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), (4,)])
@pytest.mark.parametrize("biased", [True, False])
def test_linear(ops, shape, biased):
    x, weight = normal(*shape), normal(5, 4, seed=1)
    bias = normal(5, seed=2) if biased else None
    expected = np.einsum("...i,oi->...o", x.astype(np.float64), weight.astype(np.float64))
    close(ops.linear(x, weight, bias), expected + (0 if bias is None else bias))


@both
def test_embed(ops):
    table, ids = normal(5, 3), np.array([[0, 4], [2, 2], [1, 3]], np.int32)
    assert np.array_equal(ops.embed(ids, table), np.array([[table[i] for i in row] for row in ids]))


@both
def test_matmul(ops):
    a, b = normal(2, 3, 4, 5), normal(2, 3, 5, 2, seed=1)
    close(ops.matmul(a, b), np.einsum("bhnk,bhkm->bhnm", a.astype(np.float64), b))


@both
@pytest.mark.parametrize("eps", [1e-5, 0.5])
def test_layer_norm(ops, eps):
    x, weight, bias = normal(2, 3, 8) * 5 + 3, normal(8, seed=1), normal(8, seed=2)
    wide = x.astype(np.float64)
    variance = wide.var(axis=-1, ddof=0)[..., None]
    close(
        ops.layer_norm(x, weight, bias, eps),
        (wide - wide.mean(-1)[..., None]) * (variance + eps) ** -0.5 * weight + bias,
    )


@both
def test_layer_norm_of_a_constant_is_its_bias(ops):
    bias = normal(4)
    close(ops.layer_norm(np.full((2, 4), 7, np.float32), np.ones(4, np.float32), bias), np.stack([bias, bias]))


@both
def test_batch_norm(ops):
    x, mean, variance = normal(2, 5, 4), normal(4, seed=1), normal(4, seed=2) ** 2 + 0.1
    weight, bias = normal(4, seed=3), normal(4, seed=4)
    expected = (x.astype(np.float64) - mean) * weight / np.sqrt(variance.astype(np.float64) + 1e-3) + bias
    close(ops.batch_norm(x, mean, variance, weight, bias, 1e-3), expected)


def explicit_softmax(x):
    powers = np.array([[math.exp(value) for value in row] for row in x.reshape(-1, x.shape[-1])])
    return (powers / powers.sum(axis=1)[:, None]).reshape(x.shape)


@both
def test_softmax(ops):
    x = normal(2, 3, 6) * 4
    close(ops.softmax(x), explicit_softmax(x))
    close(ops.log_softmax(x), np.log(explicit_softmax(x)))


@both
def test_softmax_far_out(ops):
    x = np.array([[1e4, 0, -1e4], [-1e4, -1e4, -1e4]], np.float32)
    close(ops.softmax(x), np.array([[1, 0, 0], [1 / 3] * 3]))
    close(ops.log_softmax(x), np.array([[0, -1e4, -2e4], [-math.log(3)] * 3]), atol=1e-2)


@both
@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("sigmoid", lambda v: 1 / (1 + math.exp(-v))),
        ("silu", lambda v: v / (1 + math.exp(-v))),
        ("gelu", lambda v: 0.5 * v * (1 + math.erf(v / math.sqrt(2)))),
    ],
)
def test_activation(ops, name, formula):
    x = np.linspace(-6, 6, 49, dtype=np.float32)[None]
    # The tanh form of gelu is itself only within 5e-4 of the exact one.
    close(getattr(ops, name)(x), np.array([[formula(float(v)) for v in x[0]]]), atol=5e-4 if name == "gelu" else 1e-6)


@both
def test_activations_far_out(ops):
    x = np.array([[-1e4, 1e4]], np.float32)
    assert ops.sigmoid(x).tolist() == [[0, 1]]
    assert ops.silu(x).tolist() == [[0, 1e4]]


@both
def test_glu(ops):
    x = normal(2, 3, 8)
    close(ops.glu(x), x[..., :4] / (1 + np.exp(-x[..., 4:].astype(np.float64))))


def direct_attention(q, k, v, scale, mask, bias):
    """One query at a time; a key that is masked is left out altogether."""
    result = np.zeros((*q.shape[:3], v.shape[-1]))
    for b, h, n in np.ndindex(q.shape[:3]):
        keys = [s for s in range(k.shape[2]) if mask is None or mask[b, 0, n if mask.shape[2] > 1 else 0, s]]
        scores = np.array([[scale * np.dot(q[b, h, n].astype(float), k[b, h, s]) + bias[b, h, n, s] for s in keys]])
        result[b, h, n] = explicit_softmax(scores)[0] @ v[b, h, keys].astype(float)
    return result


@both
@pytest.mark.parametrize("masked", ["no", "keys", "causal"])
@pytest.mark.parametrize("biased", [True, False])
def test_attention(ops, masked, biased):
    q, k, v = normal(2, 3, 4, 5), normal(2, 3, 6, 5, seed=1), normal(2, 3, 6, 5, seed=2)
    mask = None
    if masked == "keys":
        mask = (np.arange(6) < np.array([[6], [2]]))[:, None, None, :]
    elif masked == "causal":
        mask = np.broadcast_to(np.tri(4, 6, 2, dtype=bool), (2, 1, 4, 6))
    bias = normal(2, 3, 4, 6, seed=3)
    found = ops.attention(q, k, v, scale=0.4, mask=mask, bias=bias if biased else None)
    close(found, direct_attention(q, k, v, 0.4, mask, bias if biased else bias * 0))


@both
def test_attention_without_any_key_is_finite(ops):
    x = normal(1, 1, 3, 4)
    assert np.isfinite(ops.attention(x, x, x, scale=1.0, mask=np.zeros((1, 1, 1, 3), bool))).all()


@both
@pytest.mark.parametrize(("used", "new"), [(0, 3), (2, 1), (4, 2)])
def test_extend(ops, used, new):
    store, more = normal(2, 3, 6, 4), normal(2, 3, new, 4, seed=1)
    expected = np.concatenate([store[:, :, :used], more], axis=2)
    kept, visible = ops.extend(store.copy(), more, np.full(2, used, np.int32))
    assert kept.shape == store.shape
    assert np.array_equal(kept[:, :, : used + new], expected)
    assert np.array_equal(visible[:, :, : used + new], expected)


@both
def test_extend_step_by_step(ops):
    pieces = [normal(1, 2, count, 3, seed=count) for count in (3, 1, 2)]
    store, used = np.zeros((1, 2, 6, 3), np.float32), 0
    for piece in pieces:
        store, visible = ops.extend(store, piece, np.array([used], np.int32))
        used += piece.shape[2]
    assert np.array_equal(visible[:, :, :6], np.concatenate(pieces, axis=2))


@both
@pytest.mark.parametrize(("axis", "before", "after"), [(0, 1, 0), (1, 0, 2), (-1, 2, 3), (1, 0, 0)])
def test_pad(ops, axis, before, after):
    x = normal(2, 3, 4)
    widths = [(0, 0)] * 3
    widths[axis] = (before, after)
    assert np.array_equal(ops.pad(x, axis, before, after), np.pad(x, widths))


@both
@pytest.mark.parametrize(
    ("row", "count"),
    [
        ([1, 3, 3, 0, 3], 4),
        ([0, 0, 0], 3),
        ([-5, -1e4, -2, -1e4], 4),
        ([1e30, -1e30, 3], 3),
        ([7], 1),
    ],
)
def test_top_k_in_falling_order_ties_by_index(ops, row, count):
    x = np.array([row, row[::-1]], np.float32)
    values, indices = ops.top_k(x, count)
    assert indices.dtype == np.int32
    for found, numbers, entries in zip(indices, values, x, strict=True):
        assert found.tolist() == sorted(range(len(row)), key=lambda i, e=entries: (-e[i], i))[:count]
        assert numbers.tolist() == [entries[i] for i in found]


@both
def test_lstm(ops):
    x, h, c = normal(2, 4), normal(2, 3, seed=1), normal(2, 3, seed=2)
    inward, recurrent, bias = normal(12, 4, seed=3), normal(12, 3, seed=4), normal(12, seed=5)

    def sigmoid(v):
        return 1 / (1 + math.exp(-v))

    hidden, cell = np.zeros((2, 3)), np.zeros((2, 3))
    for b, n in np.ndindex(2, 3):
        i, f, g, o = (
            float(inward[n + 3 * gate] @ x[b].astype(float) + recurrent[n + 3 * gate] @ h[b] + bias[n + 3 * gate])
            for gate in range(4)
        )
        cell[b, n] = sigmoid(f) * c[b, n] + sigmoid(i) * math.tanh(g)
        hidden[b, n] = sigmoid(o) * math.tanh(cell[b, n])
    found = ops.lstm(x, h, c, inward, recurrent, bias)
    close(found[0], hidden)
    close(found[1], cell)
