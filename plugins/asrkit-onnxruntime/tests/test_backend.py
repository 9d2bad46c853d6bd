from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from asrkit.arrays import varying
from asrkit.errors import BackendError, SeamError
from asrkit.loading import create_backend
from asrkit.plugins import registry
from asrkit.testing import check_backend
from asrkit_onnxruntime.array import OrtArray
from asrkit_onnxruntime.backend import OrtBackend


@varying(values=("batch", "time", None))
class Batch(NamedTuple):
    values: Any
    extra: Any = None


@pytest.fixture
def backend():
    return OrtBackend()


def array(backend, *shape):
    return backend.asarray(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


def test_it_is_a_backend(backend):
    check_backend(backend)


def test_it_registers_itself():
    assert isinstance(create_backend(registry(), "onnxruntime"), OrtBackend)


def test_one_session_serves_every_batch_and_length(backend):
    xp = backend.ops.xp

    def double(batch):
        rows, frames, width = batch.values.shape
        flat = xp.reshape(batch.values, (rows * frames, width)) * 2.0
        return Batch(xp.reshape(flat, (rows, frames, width)))

    compiled = backend.compile(double)
    for rows, frames in ((1, 5), (3, 2), (2, 9)):
        x = array(backend, rows, frames, 4)
        assert np.array_equal(backend.to_host(compiled(Batch(x))).values, x.value * 2)
    assert len(compiled._traces) == 1


def test_traced_and_host_results_agree(backend):
    """Slices, sizes in arithmetic, ranges of a symbolic length: the same outside a graph and in one."""
    xp, ops = backend.ops.xp, backend.ops

    def mixed(batch):
        x = batch.values
        frames = x.shape[1]
        places = xp.astype(xp.arange(2 * frames - 1, dtype=xp.int32), xp.float32)[None, frames - 1 :, None]
        y = xp.concat([x[:, ::2, :], x[:, -1:, 1:3] @ xp.ones((2, 4))], axis=1)
        z = xp.where(places > 1.0, x, x * x) + xp.sum(y, axis=1, keepdims=True) // 1.0
        return Batch(ops.softmax(z[..., None, :])[:, :, 0, :])

    for frames in (3, 4, 7):
        x = array(backend, 2, frames, 4)
        traced = backend.to_host(backend.compile(mixed)(Batch(x))).values
        np.testing.assert_allclose(traced, backend.to_host(mixed(Batch(x))).values, atol=1e-6)


def test_constants_and_inputs_may_be_results(backend):
    constant = backend.weight("vector", "fp32", np.arange(600, dtype=np.float32))

    def same(batch):
        return Batch(batch.values, (constant, constant, batch.values))

    x = array(backend, 1, 2, 3)
    result = backend.to_host(backend.compile(same)(Batch(x)))
    assert np.array_equal(result.values, x.value)
    assert np.array_equal(result.extra[1], constant.value)


def test_weights_are_not_copied(backend):
    matrix = np.zeros((8, 4), np.float32)
    assert np.shares_memory(backend.weight("matrix", "fp32", matrix).value, matrix)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda batch: batch if batch.values > 0 else None, "a decision about a value"),
        (lambda batch: batch if batch.values.shape[1] > 3 else None, "a comparison of sizes"),
        (lambda batch: Batch(batch.values.T), "'.T' is not in the array subset"),
        (lambda batch: [row for row in batch.values], "iteration over an array"),
    ],
)
def test_what_leaves_the_subset_is_named(backend, wrong, message):
    with pytest.raises(SeamError, match=message):
        backend.compile(wrong)(Batch(array(backend, 2, 3, 4)))


def test_an_array_of_another_backend_is_refused(backend):
    with pytest.raises(SeamError, match="takes this backend's arrays, found ndarray"):
        backend.compile(lambda batch: batch)(Batch(np.zeros((1, 2, 3), np.float32)))


def test_a_device_that_is_not_there_is_named():
    with pytest.raises(BackendError, match=r"has no device 'moon' here; it has: .*cpu"):
        OrtBackend("moon")


def test_arrays_say_what_they_are():
    assert repr(OrtArray(np.zeros((2, 3), np.float32))) == "<host float32 (2, 3)>"
