from __future__ import annotations

import numpy as np
import pytest

from asrkit.backends.numpy import NumpyBackend
from asrkit.errors import WeightsError
from asrkit.nn import Conv1d, Conv2d, LayerNorm, Linear, NormedConv1d, Pointwise, length_mask
from asrkit.ops import Ops
from asrkit.weights import Weights

BACKEND = NumpyBackend()
OPS = Ops(BACKEND.xp)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def weights(**tensors):
    return Weights({name.replace("__", "."): values for name, values in tensors.items()}, BACKEND, "fp32")


def close(found, expected):
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("biased", [True, False])
def test_linear(biased):
    tensors = {"weight": normal(3, 4)} | ({"bias": normal(3, seed=1)} if biased else {})
    w, x = weights(**tensors), normal(2, 5, 4, seed=2)
    close(Linear(w, 4, 3, bias=biased)(x), x @ tensors["weight"].T + tensors.get("bias", 0))
    w.check()


def test_joined_projections():
    tensors = {f"{n}__{part}": normal(*shape, seed=s) for s, n in enumerate("qk") for part, shape in SHAPES.items()}
    w, x = weights(**tensors), normal(2, 5, 4, seed=9)
    parts = [x @ tensors[f"{n}__weight"].T + tensors[f"{n}__bias"] for n in "qk"]
    close(Linear(w, 4, 3, ("q", "k"))(x), np.concatenate(parts, axis=-1))
    w.check()


SHAPES = {"weight": (3, 4), "bias": (3,)}


@pytest.mark.parametrize("biased", [True, False])
def test_convolutions(biased):
    bias = {"bias": normal(4, seed=1)} if biased else {}
    kernel, x = normal(4, 1, 3), normal(2, 7, 4, seed=2)
    w = weights(weight=kernel, **bias)
    expected = OPS.conv1d(x, kernel, bias.get("bias"), stride=2, padding=(1, 0), groups=4)
    close(Conv1d(w, (4, 1, 3), stride=2, padding=(1, 0), groups=4, bias=biased)(x), expected)
    image, square = normal(2, 5, 6, 3, seed=3), normal(4, 3, 3, 3)
    expected = OPS.conv2d(image, square, bias.get("bias"), stride=(2, 1), padding=((1, 1), (1, 1)))
    v = weights(weight=square, **bias)
    close(Conv2d(v, (4, 3, 3, 3), stride=(2, 1), padding=1, bias=biased)(image), expected)
    w.check(), v.check()


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("width", [1, 3, 9])
def test_normed_convolution_is_both(biased, width):
    kernel, x = normal(4, 1, width), normal(2, 12, 4, seed=6) * 3
    norm = {name: normal(4, seed=s) for s, name in enumerate(("weight", "bias", "running_mean"), 1)}
    norm["running_var"] = normal(4, seed=5) ** 2 + 0.01
    bias = {"c__bias": normal(4, seed=7)} if biased else {}
    w = weights(c__weight=kernel, **bias, **{f"n__{k}": v for k, v in norm.items()}, n__num_batches_tracked=np.array(3))
    half = width // 2
    y = OPS.conv1d(x, kernel, bias.get("c__bias"), padding=(half, half), groups=4)
    expected = OPS.batch_norm(y, norm["running_mean"], norm["running_var"], norm["weight"], norm["bias"], 1e-3)
    found = NormedConv1d(w, "c", "n", 4, half, bias=biased, eps=1e-3)(x)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    w.check()


def test_layer_norm():
    weight, bias, x = normal(6), normal(6, seed=1), normal(2, 3, 6, seed=2)
    close(LayerNorm(weights(weight=weight, bias=bias), 6, eps=0.1)(x), OPS.layer_norm(x, weight, bias, 0.1))


def test_length_mask():
    found = length_mask(OPS, np.array([0, 2, 3], np.int32), 3)
    assert found.tolist() == [[False] * 3, [True, True, False], [True] * 3]


@pytest.mark.parametrize("biased", [True, False])
def test_pointwise(biased):
    tensors = {"weight": normal(3, 4, 1)} | ({"bias": normal(3, seed=1)} if biased else {})
    w, x = weights(**tensors), normal(2, 5, 4, seed=2)
    close(Pointwise(w, 4, 3, bias=biased)(x), x @ tensors["weight"][..., 0].T + tensors.get("bias", 0))
    w.check()


LAYERS = {
    "linear": (lambda w, bias: Linear(w, 4, 3, bias=bias), (3, 4)),
    "joined": (lambda w, bias: Linear(w, 4, 3, ("q", "k"), bias=bias), (3, 4)),
    "pointwise": (lambda w, bias: Pointwise(w, 4, 3, bias=bias), (3, 4, 1)),
    "conv1d": (lambda w, bias: Conv1d(w, (3, 1, 5), groups=3, bias=bias), (3, 1, 5)),
    "conv2d": (lambda w, bias: Conv2d(w, (3, 2, 5, 5), bias=bias), (3, 2, 5, 5)),
}
layers = pytest.mark.parametrize(("make", "shape"), LAYERS.values(), ids=LAYERS)


def scoped(make, **tensors):
    """The tensors as they lie in a scope, or in the scopes of joined projections."""
    names = ("q", "k") if make is LAYERS["joined"][0] else (None,)
    return weights(**{f"{name}__{key}" if name else key: v for name in names for key, v in tensors.items()})


@layers
def test_a_bias_is_required(make, shape):
    w = scoped(make, weight=normal(*shape))
    make(w, True)
    with pytest.raises(WeightsError, match=r"missing (q\.)?bias, expected \(3\)"):
        w.check()


@layers
def test_a_bias_that_is_not_wanted_is_left_over(make, shape):
    w = scoped(make, weight=normal(*shape), bias=normal(3))
    make(w, False)
    with pytest.raises(WeightsError, match=r"not used by the model: .*bias \(3\)"):
        w.check()


@layers
@pytest.mark.parametrize("change", [lambda s: (s[0] + 1, *s[1:]), lambda s: (*s[:-1], s[-1] + 1), lambda s: (*s, 1)])
def test_shapes_are_exact(make, shape, change):
    w = scoped(make, weight=normal(*change(shape)), bias=normal(3))
    make(w, True)
    with pytest.raises(WeightsError, match=r"weight has shape .*, expected "):
        w.check()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"c__weight": normal(4, 1, 5)}, r"c\.weight has shape \(4, 1, 5\), expected \(4, 1, 3\)"),
        ({"c__bias": None}, r"missing c\.bias, expected \(4\)"),
        ({"n__running_var": normal(3)}, r"n\.running_var has shape \(3\), expected \(4\)"),
    ],
)
def test_normed_convolution_that_does_not_fit(changes, message):
    norm = {f"n__{name}": normal(4) for name in ("weight", "bias", "running_mean", "running_var")}
    tensors = {"c__weight": normal(4, 1, 3), "c__bias": normal(4)} | norm | changes
    with pytest.raises(WeightsError, match=message):
        NormedConv1d(weights(**{name: v for name, v in tensors.items() if v is not None}), "c", "n", 4, 1)
