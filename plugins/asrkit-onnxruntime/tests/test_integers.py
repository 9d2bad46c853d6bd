"""Products with matrices in few bits: how far off they may be, and that no row changes another."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from asrkit.arrays import varying
from asrkit.quantize import BLOCK, quantize
from asrkit_onnxruntime import integers
from asrkit_onnxruntime.backend import OrtBackend

INPUTS = 96


@varying(values=("batch", "time", None))
class Batch(NamedTuple):
    values: Any


@varying(values=("batch", None))
class Rows(NamedTuple):
    values: Any


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


BIAS = normal(40, seed=3)
WEIGHTS = {precision: quantize(normal(40, INPUTS, seed=2), precision) for precision in ("int8", "int4")}


@pytest.fixture(params=[127, 63])
def top(request, monkeypatch):
    """As on a processor whose products take this much."""
    monkeypatch.setattr(integers, "magnitude", lambda: request.param)
    return request.param


def product(precision="int8", biased=True, recorded=None):
    """A compiled projection; the graph is appended to ``recorded``."""
    backend, session = OrtBackend(), OrtBackend.session
    weight = backend.weight("matrix", precision, WEIGHTS[precision])
    bias = backend.weight("vector", precision, BIAS) if biased else None

    def kept(graph, outputs):
        if recorded is not None:
            recorded.append(graph)
        return session(backend, graph, outputs)

    backend.session = kept
    compiled = backend.compile(lambda batch: type(batch)(backend.ops.linear(batch.values, weight, bias)))
    return lambda x: backend.to_host(compiled((Rows if x.ndim == 2 else Batch)(backend.asarray(x)))).values


def wide(precision):
    return WEIGHTS[precision].widen().astype(np.float64)


def test_this_processor_takes_one_of_two_magnitudes():
    assert integers.magnitude() in (63, 127)
    assert integers.magnitude() == integers.magnitude()


def test_results_are_within_half_a_step_of_each_activation(top):
    x = normal(3, 50, INPUTS)
    x[1] *= 1000
    x[2] /= 1000
    step = np.abs(x).max(axis=-1, keepdims=True).astype(np.float64) / top
    allowed = step / 2 * np.abs(wide("int8")).sum(axis=1) * 1.001 + 1e-5 * step
    off = np.abs(product(biased=False)(x) - x @ wide("int8").T)
    assert (off <= allowed).all()
    # By chance most of the halves cancel: what is left is what that many random ones make.
    expected = step / np.sqrt(12) * np.sqrt((wide("int8") ** 2).sum(axis=1))
    assert 0.9 < np.sqrt(((off / expected) ** 2).mean()) < 1.1


def test_activations_fill_the_bytes_and_no_more(top):
    """The largest of a row is the largest byte whatever its sign; x86 without VNNI saturates above twice 63."""
    recorded = []
    compute = product(biased=False, recorded=recorded)
    x = normal(4, INPUTS)
    x[0, 5], x[1, 7] = 9, -9
    compute(x)
    (graph,) = recorded
    (node,) = [node for node in graph.nodes if node.op_type == "QuantizeLinear"]
    names = {tensor.name: tensor for tensor in graph.initializers}
    (middle,) = [
        names[name].raw_data for name in node_inputs(graph, node.input[2]) if name in names and is_byte(names[name])
    ]
    assert middle == bytes([top + 1])
    scale = np.abs(x).max(axis=1, keepdims=True) * np.float32(1 / top)
    whole = np.rint(x / scale) + top + 1
    assert (whole.min(), whole.max()) == (1, 2 * top + 1)
    # Had the bytes been others, so would be the result, by whole steps.
    expected = ((whole - top - 1) @ WEIGHTS["int8"].integers().T.astype(np.float64)) * WEIGHTS["int8"].scales * scale
    np.testing.assert_allclose(compute(x), expected, rtol=0, atol=float(np.abs(expected).max()) * 1e-6)


def node_inputs(graph, name):
    """The inputs of the node that makes a value."""
    return next(list(node.input) for node in graph.nodes if name in node.output)


def is_byte(tensor):
    return len(tensor.raw_data) == 1


def test_the_two_magnitudes_differ(monkeypatch):
    found = []
    for top in (127, 63):
        monkeypatch.setattr(integers, "magnitude", lambda top=top: top)
        found.append(product()(normal(4, INPUTS)))
    assert not np.array_equal(*found)


def test_the_largest_activations_do_not_saturate():
    """Every product at its largest, all of one sign: what sixteen bits would not hold."""
    matrix = np.full((40, INPUTS), 1.0, np.float32)
    weight = quantize(matrix, "int8")
    backend = OrtBackend()
    handle = backend.weight("matrix", "int8", weight)
    compiled = backend.compile(lambda batch: Rows(backend.ops.linear(batch.values, handle)))
    for rows in (1, 2, 33):
        for sign in (1, -1):
            found = backend.to_host(compiled(Rows(backend.asarray(np.full((rows, INPUTS), sign * 3.0))))).values
            np.testing.assert_allclose(found, np.full((rows, 40), sign * 3.0 * INPUTS), rtol=1e-5)


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_a_row_is_what_it_is_alone(precision):
    compute = product(precision)
    x = normal(3, 7, INPUTS)
    x[1, 2:5] *= 1e6
    x[2] = 0
    together = compute(x)
    for row in range(3):
        alone = compute(x[row : row + 1])[0]
        np.testing.assert_allclose(together[row], alone, rtol=0, atol=float(np.abs(alone).max()) * 1e-6)
        for place in range(7):
            one = compute(x[row : row + 1, place : place + 1])[0, 0]
            np.testing.assert_allclose(together[row, place], one, rtol=0, atol=float(np.abs(one).max()) * 1e-6)


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_rows_without_time_are_rows_too(precision):
    x = normal(5, INPUTS)
    np.testing.assert_allclose(product(precision)(x), product(precision)(x[None])[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("precision", ["int8", "int4"])
@pytest.mark.parametrize("biased", [True, False])
def test_nothing_gives_the_bias(precision, biased):
    x = normal(2, 3, INPUTS)
    x[0, 1] = 0
    found = product(precision, biased)(x)
    assert np.array_equal(found[0, 1], BIAS if biased else np.zeros_like(BIAS))
    assert np.isfinite(found).all()


@pytest.mark.parametrize("precision", ["int8", "int4"])
@pytest.mark.parametrize("size", [1e-30, 1e-20, 1e20, 1e30])
def test_very_small_and_very_large_rows_keep_their_digits(precision, size):
    x = normal(2, 3, INPUTS) * np.float32(size)
    expected = x.astype(np.float64) @ wide(precision).T
    found = product(precision, biased=False)(x)
    off = np.sqrt(((found - expected) ** 2).mean() / (expected**2).mean())
    assert off < 0.02


def test_rows_too_small_for_a_scale_are_finite():
    x = np.full((1, 3, INPUTS), 1e-43, np.float32)
    assert np.abs(product(biased=False)(x)).max() < 1e-38


def test_four_bits_are_within_half_a_step_of_each_block():
    x = normal(3, 50, INPUTS)
    x[:, :, :BLOCK] *= 100  # a loud block does not make the others coarser
    blocks = np.abs(x).reshape(3, 50, -1, BLOCK).max(axis=-1).astype(np.float64) / 127
    weight = np.abs(wide("int4")).reshape(40, -1, BLOCK).sum(axis=-1)
    allowed = blocks @ weight.T / 2 * 1.01 + 1e-4
    off = np.abs(product("int4", biased=False)(x) - x @ wide("int4").T)
    assert (off <= allowed).all()


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_outside_of_a_graph_the_host_computes_with_the_widened_matrix(precision):
    backend = OrtBackend()
    weight = backend.weight("matrix", precision, WEIGHTS[precision])
    found = backend.to_host(backend.ops.linear(backend.asarray(normal(4, INPUTS)), weight))
    np.testing.assert_allclose(found, normal(4, INPUTS) @ wide(precision).T, rtol=0, atol=1e-4)


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_joined_matrices_are_one_product(precision):
    parts = [quantize(normal(outputs, INPUTS, seed=outputs), precision) for outputs in (8, 24)]
    backend = OrtBackend()
    weight = backend.weight("matrix", precision, *parts)
    compiled = backend.compile(lambda batch: Rows(backend.ops.linear(batch.values, weight)))
    found = backend.to_host(compiled(Rows(backend.asarray(normal(4, INPUTS))))).values
    expected = normal(4, INPUTS) @ np.concatenate([part.widen() for part in parts]).T
    assert np.abs(found - expected).max() < 0.03 * np.abs(expected).max()
