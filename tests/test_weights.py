from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pytest

from asrkit.backends.numpy import NumpyBackend
from asrkit.errors import WeightsError
from asrkit.weights import Weights

BACKEND = NumpyBackend()


def tensor(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def weights(tensors, backend=BACKEND, precision="fp32"):
    return Weights(tensors, backend, precision, "model.nemo")


class Counting(NumpyBackend):
    """Counts how often a weight is laid out."""

    def __init__(self):
        super().__init__()
        self.laid_out = []

    def weight(self, role, precision, *tensors):
        self.laid_out.append((role, precision, len(tensors)))
        return super().weight(role, precision, *tensors)


def refused(w, message):
    with pytest.raises(WeightsError, match=f"^{re.escape(message)}$"):
        w.check()


FIT = "model.nemo: the tensors do not fit its configuration: "


def test_everything_read_is_accounted_for():
    w = weights({"a": tensor(2, 3), "b": tensor(4)})
    assert w.matrix("a").shape == (2, 3)
    assert w.vector("b").shape == (4,)
    w.check()


def test_all_problems_are_one_error():
    w = weights({"a": tensor(2, 3), "b": tensor(4), "left": tensor(5, 1), "counter": np.array(3)})
    assert w.matrix("a", shape=(2, 4)) is None
    assert w.matrix("gone", shape=(None, 7)) is None
    assert w.vector("lost") is None
    assert w.vector("b", shape=(4, 1)) is None
    refused(
        w,
        FIT + "a has shape (2, 3), expected (2, 4); missing gone, expected (*, 7); missing lost; "
        "b has shape (4), expected (4, 1); not used by the model: counter (), left (5, 1)",
    )


def test_left_over_names_are_cut_at_ten():
    w = weights({f"t{n:02}": tensor(n) for n in range(13)})
    shown = ", ".join(f"t{n:02} ({n})" for n in range(10))
    refused(w, FIT + f"not used by the model: {shown} and 3 more")


def test_problems_are_cut_at_ten():
    w = weights({})
    for n in range(13):
        w.vector(f"t{n:02}")
    refused(w, FIT + "; ".join(f"missing t{n:02}" for n in range(10)) + "; and 3 more")


def test_source_is_named_even_without_one():
    with pytest.raises(WeightsError, match=r"^checkpoint: "):
        Weights({"a": tensor(1)}, BACKEND, "fp32").check()


@pytest.mark.parametrize("expected", [None, (None, None), (2, None), (None, 3), (2, 3)])
def test_expected_shapes_that_fit(expected):
    w = weights({"a": tensor(2, 3)})
    assert w.matrix("a", shape=expected) is not None
    w.check()


@pytest.mark.parametrize("expected", [(2,), (2, 3, 1), (3, 2), (None, 2)])
def test_expected_shapes_that_do_not_fit(expected):
    w = weights({"a": tensor(2, 3)})
    assert w.matrix("a", shape=expected) is None
    with pytest.raises(WeightsError, match=r"a has shape \(2, 3\), expected"):
        w.check()


def test_scopes():
    tensors = {"encoder.layers.3.weight": tensor(2, 3), "encoder.bias": tensor(2), "encode": tensor(1)}
    w = weights(tensors)
    scope = w / "encoder"
    assert np.array_equal((scope / "layers" / 3).matrix("weight"), tensors["encoder.layers.3.weight"])
    assert np.array_equal(scope.vector("bias"), tensors["encoder.bias"])
    assert (scope / "layers").matrix("7.weight") is None
    refused(scope, FIT + "missing encoder.layers.7.weight; not used by the model: encode (1)")


@pytest.mark.parametrize(
    ("scope", "name", "there"),
    [
        ([], "encoder", True),
        ([], "encoder.layers", True),
        (["encoder"], "layers", True),
        (["encoder", "layers"], 0, True),
        (["encoder", "layers", 0], "weight", True),
        ([], "enc", False),
        (["encoder"], "weight", False),
        (["encoder", "layers"], 1, False),
        (["encoder", "layers", 0, "weight"], "weight", False),
    ],
)
def test_contains(scope, name, there):
    w = weights({"encoder.layers.0.weight": tensor(1, 1)})
    for part in scope:
        w = w / part
    assert (str(name) in w) is there


def test_ignored_tensors_and_scopes():
    w = weights({"a.counter": tensor(1), "a.buffers.x": tensor(2), "a.buffers.y.z": tensor(3), "a.buffers2": tensor(4)})
    (w / "a").ignore(["counter", "buffers", "never there"])
    refused(w, FIT + "not used by the model: a.buffers2 (4)")
    w.ignore(["a"])
    w.check()


def test_joined_vectors():
    w = weights({"q.bias": tensor(3), "k.bias": tensor(3)})
    assert w.vector("q.bias", "k.bias", shape=(3,)).shape == (6,)
    w.check()


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.uint8, bool])
@pytest.mark.parametrize("role", ["matrix", "table", "kernel", "vector"])
def test_weights_are_floats(role, dtype):
    w = weights({"s.a": np.zeros((2, 3), dtype), "s.b": tensor(4)})
    assert getattr(w / "s", role)("a") is None
    assert (w / "s").vector("b") is not None
    refused(w, FIT + f"s.a has dtype {np.dtype(dtype)}, expected floats")


def test_float32_weights_stay_in_the_file():
    tensors = {"a": tensor(2, 3)}
    assert np.shares_memory(weights(tensors).matrix("a"), tensors["a"])


def test_tied_tensors_are_laid_out_once():
    shared, backend = tensor(5, 3), Counting()
    w = weights({"embedding": shared, "head": shared[:], "other": shared.copy()}, backend)
    table, head = w.table("embedding"), w.matrix("head")
    assert table is head
    assert w.matrix("embedding") is head
    assert len(backend.laid_out) == 1
    assert w.matrix("other") is not head
    assert len(backend.laid_out) == 2
    w.check()


@pytest.mark.parametrize("view", [lambda t: t.T, lambda t: t[:2], lambda t: t[::2], lambda t: t.view(np.float16)])
def test_other_views_of_one_storage_are_not_tied(view):
    shared, backend = tensor(4, 4), Counting()
    w = weights({"a": shared, "b": view(shared)}, backend)
    w.matrix("a"), w.matrix("b")
    assert len(backend.laid_out) == 2


def test_one_tensor_in_two_roles_is_laid_out_for_each():
    backend = Counting()
    w = weights({"a": tensor(3, 3, 1)}, backend)
    w.matrix("a"), w.kernel("a")
    assert [role for role, *_ in backend.laid_out] == ["matrix", "kernel"]


def test_a_quantised_table_is_no_matrix():
    class Quantising(Counting):
        def layout(self, role, precision):
            return role if precision == "int8" else super().layout(role, precision)

    shared = tensor(5, 3)
    for precision, roles in (("int8", ["table", "matrix"]), ("fp32", ["matrix"])):
        backend = Quantising()
        w = weights({"embedding": shared, "head": shared}, backend, precision)
        table, head = w.table("embedding"), w.matrix("head")
        assert backend.laid_out == [(role, precision, 1) for role in roles]
        assert (table is head) is (len(roles) == 1)


class Fresh(Mapping):
    """Makes an array at every access, so that addresses are free again when nobody holds it."""

    def __init__(self, tensors):
        self.tensors = tensors

    def __getitem__(self, name):
        return self.tensors[name].copy()

    def __iter__(self):
        return iter(self.tensors)

    def __len__(self):
        return len(self.tensors)


class Copying(Counting):
    """Lays out a copy, as a backend with memory of its own does."""

    def weight(self, role, precision, *tensors):
        return super().weight(role, precision, *(tensor.copy() for tensor in tensors))


@pytest.mark.parametrize("role", ["matrix", "table", "kernel", "vector"])
def test_addresses_that_are_used_again_tie_nothing(role):
    tensors = {f"t{n}": tensor(64, 64, seed=n) for n in range(20)}
    w = weights(Fresh(tensors), Copying())
    handles = {name: getattr(w, role)(name) for name in tensors}
    assert len({id(handle) for handle in handles.values()}) == len(tensors)
    for name, handle in handles.items():
        assert np.array_equal(handle, tensors[name])
    w.check()


def test_joined_matrices():
    tensors = {"q": tensor(2, 3), "k": tensor(4, 3, seed=1)}
    w = weights(tensors)
    x = tensor(5, 3, seed=2)
    expected = np.concatenate([x @ tensors["q"].T, x @ tensors["k"].T], axis=1)
    np.testing.assert_allclose(w.ops.linear(x, w.matrix("q", "k", shape=(None, 3))), expected, atol=1e-6)
    w.check()


def test_joined_matrices_with_one_missing():
    w = weights({"q": tensor(2, 3)})
    assert w.matrix("q", "k", shape=(2, 3)) is None
    refused(w, FIT + "missing k, expected (2, 3)")


@pytest.mark.parametrize("trailing", [(), (1,), (1, 1)])
def test_convolution_of_width_one_is_a_matrix(trailing):
    values = tensor(4, 3, *trailing)
    assert np.array_equal(weights({"a": values}).matrix("a", shape=(4, 3, *trailing)), values.reshape(4, 3))


def test_host():
    values = tensor(2, 3).astype(np.float16)
    w = weights({"s.a": values})
    host = (w / "s").host("a", shape=(2, None))
    assert host.dtype == np.float32
    assert np.array_equal(host, values)
    w.check()


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("b", None, "model.nemo: missing s.b"),
        ("b", (1, None), "model.nemo: missing s.b, expected (1, *)"),
        ("a", (3, 2), "model.nemo: s.a has shape (2, 3), expected (3, 2)"),
    ],
)
def test_host_cannot_wait_for_the_end(name, shape, message):
    w = weights({"s.a": tensor(2, 3)})
    with pytest.raises(WeightsError, match=f"^{re.escape(message)}$"):
        (w / "s").host(name, shape=shape)


def test_shape():
    w = weights({"s.a": tensor(2, 3)})
    assert (w / "s").shape("a") == (2, 3)
    with pytest.raises(WeightsError, match=r"^model\.nemo: there is no tensor 's\.b'$"):
        (w / "s").shape("b")


def test_reading_a_shape_is_not_using_the_tensor():
    w = weights({"a": tensor(2, 3)})
    w.shape("a")
    refused(w, FIT + "not used by the model: a (2, 3)")


def test_constant_ops_and_dtype():
    w = weights({})
    assert w.constant("vector", np.arange(3)).dtype == np.float32
    assert w.ops is BACKEND.ops
    assert w.dtype == np.float32
