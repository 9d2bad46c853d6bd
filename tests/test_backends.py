from __future__ import annotations

import subprocess
import sys
from typing import Any, NamedTuple

import numpy as np
import pytest

from asrkit.arrays import OPS, SUBSET, leaves, varying
from asrkit.backends.numpy import NumpyBackend, NumpyOps, narrow, widen
from asrkit.errors import BackendError
from asrkit.loading import backend_problem
from asrkit.registry import Entry
from asrkit.testing import check_backend, installed_backends
from asrkit.testing.conformance_backend import op_cases

BACKENDS = installed_backends()
every = pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@every
def test_conforms(backend):
    check_backend(backend)


@every
def test_namespace_is_the_subset_and_nothing_else(backend):
    if backend.name in ("numpy", "mlx"):  # the strict one is held to it by test_strict.py
        assert set(vars(backend.xp)) == {*SUBSET, "bool", "float32", "int32"}


@every
def test_argmax_can_be_calculated_with(backend):
    first = backend.xp.argmax(backend.asarray(np.array([[3.0, 1.0]])), axis=-1)
    assert backend.to_host(backend.xp.astype(first, backend.xp.int32) - 1).tolist() == [-1]
    if backend.name == "mlx":  # whose own is unsigned and wraps
        assert backend.to_host(first - 1).tolist() == [-1]


@pytest.mark.parametrize("name", OPS)
def test_check_backend_tries_every_op(name):
    def broken(*_, **__):
        raise NotImplementedError(name)

    backend = NumpyBackend()
    setattr(backend.ops, name, broken)
    with pytest.raises(NotImplementedError, match=f"^{name}$"):
        check_backend(backend)


def test_check_backend_names_a_wrong_op():
    class Wrong(NumpyOps):
        def softmax(self, x):
            return super().softmax(x) * np.float32(1.001)

    backend = NumpyBackend()
    backend.ops = Wrong(backend.xp)
    with pytest.raises(AssertionError, match="backend 'numpy': softmax: differs by"):
        check_backend(backend)


def test_check_backend_names_a_missing_name():
    backend = NumpyBackend()
    del backend.xp.cumulative_sum
    with pytest.raises(AssertionError, match="backend 'numpy': xp has no 'cumulative_sum'"):
        check_backend(backend)


def test_check_backend_names_a_wrong_dtype():
    backend = NumpyBackend()
    backend.to_host = lambda tree: tree
    with pytest.raises(AssertionError, match="dtype int32, expected int64"):
        check_backend(backend)


@pytest.mark.parametrize(
    ("given", "narrowed", "widened"),
    [
        ("int64", "int32", "int64"),
        ("uint8", "int32", "int64"),
        ("float64", "float32", "float32"),
        ("bool", "bool", "bool"),
    ],
)
def test_dtypes_over_the_seam(given, narrowed, widened):
    values = np.array([0, 1], given)
    assert narrow(values).dtype == narrowed
    assert widen(narrow(values)).dtype == widened


# NumPy


@pytest.mark.parametrize("role", ["matrix", "table", "kernel", "vector"])
def test_numpy_keeps_float32_weights_where_they_are(role):
    tensor = normal(4, 3)
    tensor.flags.writeable = False
    weight = NumpyBackend().weight(role, "fp32", tensor)
    assert np.shares_memory(weight, tensor)
    assert np.array_equal(weight, tensor)


def test_numpy_copies_what_is_not_aligned():
    values = normal(4, 3)
    raw = np.frombuffer(b"x" + values.tobytes(), np.uint8)[1:]
    unaligned = raw.view(np.float32).reshape(4, 3)
    weight = NumpyBackend().weight("matrix", "fp32", unaligned)
    assert weight.flags.aligned
    assert np.array_equal(weight, values)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_numpy_computes_other_weights_in_float32(dtype):
    assert NumpyBackend().weight("matrix", "fp32", normal(4, 3).astype(dtype)).dtype == np.float32


def test_numpy_does_not_copy_joined_matrices():
    backend, tensors = NumpyBackend(), [normal(4, 3), normal(2, 3, seed=1)]
    joined = backend.weight("matrix", "fp32", *tensors)
    assert all(np.shares_memory(part, tensor) for part, tensor in zip(joined, tensors, strict=True))
    x, bias = normal(2, 5, 3, seed=2), normal(6, seed=3)
    expected = x @ np.concatenate(tensors).T + bias
    np.testing.assert_allclose(backend.ops.linear(x, joined, bias), expected, atol=1e-6)


def test_numpy_joins_vectors():
    assert NumpyBackend().weight("vector", "fp32", np.ones(2), np.zeros(1)).tolist() == [1, 1, 0]


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "sigmoid", "silu", "gelu", "glu"])
def test_numpy_ops_leave_their_input_alone(name):
    x = normal(3, 4)
    before = x.copy()
    getattr(NumpyBackend().ops, name)(x)
    assert np.array_equal(x, before)


def test_numpy_has_one_device():
    assert NumpyBackend(device="cpu").capabilities.device == "cpu"
    with pytest.raises(BackendError, match=r"^backend 'numpy' has no device 'gpu'; it has: cpu$"):
        NumpyBackend(device="gpu")


# MLX


@pytest.fixture
def mlx():
    pytest.importorskip("mlx.core", exc_type=ImportError)
    from asrkit.backends.mlx import MLXBackend

    return MLXBackend(device="cpu")


@pytest.fixture
def compiled():
    pytest.importorskip("mlx.core", exc_type=ImportError)
    from asrkit.backends.mlx import MLXBackend

    return MLXBackend(device="cpu", compile=True)


def test_mlx_names_its_devices(mlx):
    with pytest.raises(BackendError, match=r"^backend 'mlx' has no device 'tpu' here; it has: (gpu, )?cpu$"):
        type(mlx)(device="tpu")


TOLERANCE = {"fp16": 5e-3, "bf16": 4e-2}


class Operands(NamedTuple):
    a: Any = None
    b: Any = None
    ids: Any = None
    used: Any = None
    flag: Any = None


# Rounding may swap what is chosen, and integers have one precision.
ROUNDED = [
    pytest.param(*case[1:], id=case[0])
    for case in op_cases()
    if not case[0].startswith(("top_k", "argmax", "division", "take_along"))
]


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize(("fn", "inputs", "weights"), ROUNDED)
def test_mlx_half_precision_is_near_single(mlx, precision, fn, inputs, weights):
    def run(how):
        handles = {name: mlx.weight(role, how, values) for name, (role, values) in weights.items()}
        operands = {name: mlx.asarray(values) for name, values in inputs.items()}
        cast = {n: v.astype(mlx.dtype(how)) if inputs[n].dtype.kind == "f" else v for n, v in operands.items()}
        result = list(leaves(fn(mlx.ops, Operands(**cast), **handles)))
        assert [part.dtype for part in result] == [mlx.dtype(how)] * len(result)
        return mlx.to_host(result)

    for want, have in zip(run("fp32"), run(precision), strict=True):
        assert have.dtype == np.float32
        assert np.abs(have - want).max() <= TOLERANCE[precision] * max(1, np.abs(want).max())


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "layer_norm", "batch_norm"])
def test_mlx_norms_keep_the_dtype_and_compute_in_float32(mlx, precision, name):
    dtype = mlx.dtype(precision)
    x = mlx.asarray(normal(2, 1000) * 0.1 + 4).astype(dtype)
    one, nought = (mlx.weight("vector", precision, np.full(1000, v, np.float32)) for v in (1, 0))
    extra = {"layer_norm": (one, nought), "batch_norm": (nought, one, one, nought)}.get(name, ())
    result = getattr(mlx.ops, name)(x, *extra)
    assert result.dtype == dtype
    exact = getattr(NumpyBackend().ops, name)(mlx.to_host(x), *(mlx.to_host(e) for e in extra))
    # Only the result is rounded: a sum of a thousand halves would be off by far more.
    rtol = {"fp32": 1e-5, "fp16": 1e-3, "bf16": 8e-3}[precision]
    np.testing.assert_allclose(mlx.to_host(result), exact, rtol, atol=1e-4 if name == "layer_norm" else 1e-6)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_mlx_masked_attention_in_half_precision(mlx, precision):
    x = mlx.asarray(normal(1, 1, 4, 8)).astype(mlx.dtype(precision))
    mask = np.array([True, True, False, False])
    full = mlx.ops.attention(x, x, x, scale=0.3, mask=mlx.asarray(mask[None, None, None, :]))
    short = mlx.ops.attention(x, x[:, :, :2], x[:, :, :2], scale=0.3)
    assert full.dtype == x.dtype
    np.testing.assert_allclose(mlx.to_host(full), mlx.to_host(short), atol=TOLERANCE[precision])


@pytest.mark.parametrize(("axis", "limit"), [("batch", 2), ("time", 64), ("past", 64)])
def test_buckets_hold_are_few_and_near(compiled, axis, limit):
    sizes = range(1, 3000)
    buckets = [compiled.bucket(axis, size) for size in sizes]
    assert all(bucket >= size for bucket, size in zip(buckets, sizes, strict=True))
    assert buckets == sorted(buckets)
    assert all(compiled.bucket(axis, bucket) == bucket for bucket in buckets)
    assert len(set(buckets)) <= 50
    if axis == "batch":
        assert set(buckets) == {1 << n for n in range(12)} | {4096}
    else:
        assert all(bucket - size < max(limit, size / 8) for bucket, size in zip(buckets, sizes, strict=True))


def test_mlx_without_compilation_has_no_buckets(mlx):
    assert [mlx.bucket("time", size) for size in (1, 77, 999)] == [1, 77, 999]


@pytest.mark.parametrize("axis", ["batch", "time", "past"])
def test_bucket_of_nothing_is_nothing(compiled, axis):
    assert compiled.bucket(axis, 0) == 0


@varying(a=("batch", "time", None))
class Inner(NamedTuple):
    a: Any


def test_compiled_equals_eager(mlx, compiled):
    weight = normal(5, 4)
    results = []
    for backend in (mlx, compiled):
        handle = backend.weight("matrix", "fp32", weight)

        def fn(tree, backend=backend, handle=handle):
            y = backend.ops.softmax(backend.ops.linear(tree.a, handle))
            return {"y": Inner(y), "none": None, "sum": (backend.xp.sum(y, axis=1),)}

        run = backend.compile(fn)
        results.append([backend.to_host(run(Inner(backend.asarray(normal(2, n, 4, seed=n))))) for n in (3, 6, 3)])
    for eager, forced in zip(*results, strict=True):
        assert forced["none"] is None
        np.testing.assert_allclose(forced["y"].a, eager["y"].a, atol=1e-6)
        np.testing.assert_allclose(forced["sum"][0], eager["sum"][0], atol=1e-6)


def test_mlx_compiles_by_default_on_a_gpu_only(mlx):
    assert mlx.bucket("time", 65) == (65 if mlx.capabilities.device == "cpu" else 128)


def test_mlx_says_that_its_cpu_is_slow(mlx):
    assert mlx.capabilities.ahead
    assert "numpy is much faster" in " ".join(mlx.capabilities.notes)


THREAD = """
import threading
import numpy as np
from asrkit.backends.mlx import MLXBackend

backend = MLXBackend(device="cpu", compile=True)
run = backend.compile(lambda x: backend.ops.softmax(x) + 1)
found = []

def work():
    found.append(backend.to_host(run(backend.asarray(np.zeros((2, 4), np.float32)))))
    backend.release()

for _ in range(2):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
assert np.allclose(found, 1.25), found
"""


@pytest.mark.parametrize("attempt", [1, 2])
@pytest.mark.usefixtures("mlx")
def test_mlx_in_a_thread_leaves_the_process_whole(attempt):
    done = subprocess.run([sys.executable, "-c", THREAD], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_mlx_ranks_below_numpy_without_a_gpu(mlx):
    assert mlx.capabilities.rank == (-10 if mlx.capabilities.device == "cpu" else 20)
    assert NumpyBackend().capabilities.rank == 0


@every
@pytest.mark.parametrize(("role", "laid_out"), [("matrix",) * 2, ("table", "matrix"), ("kernel",) * 2, ("vector",) * 2])
def test_tables_are_laid_out_like_matrices(backend, role, laid_out):
    assert backend.layout(role, "fp32") == laid_out


# Probes


@pytest.mark.parametrize(
    ("probe", "problem"),
    [
        (lambda: None, None),
        (lambda: "no such device", "no such device"),
        (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
        ("no_such_module_of_asrkit:probe", "ModuleNotFoundError: No module named 'no_such_module_of_asrkit'"),
    ],
)
def test_backend_problem(probe, problem):
    assert backend_problem(Entry("backend", "x", "plugin", lambda: None, probe=probe)) == problem
