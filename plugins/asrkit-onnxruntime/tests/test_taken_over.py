from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from asrkit.arrays import varying
from asrkit_onnxruntime.backend import OrtBackend


def normal(*shape, seed):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@varying(a=("batch", "tokens", None), b=("batch", "tokens", None))
class Pair(NamedTuple):
    a: Any
    b: Any


def test_a_sum_has_one_norm_that_makes_it():
    """A second norm of it, and a second attention over one cache, take what the first made."""
    backend = OrtBackend()
    ops = backend.ops
    weight, bias = (backend.weight("vector", "fp32", normal(6, seed=n)) for n in (1, 2))

    def norms(pair):
        x = pair.a + pair.b
        return Pair(ops.layer_norm(x, weight, bias), ops.layer_norm(x, bias, weight))

    def attentions(pair):
        def heads(x):
            return ops.xp.permute_dims(ops.xp.reshape(x, (*x.shape[:2], 2, 3)), (0, 2, 1, 3))

        store = heads(pair.b)
        keys = ops.extend(store, heads(pair.a), None)[1]
        first = ops.attention(heads(pair.a), keys, keys, scale=1.0)
        second = ops.attention(heads(pair.b), keys, keys, scale=1.0)
        return Pair(*(ops.xp.reshape(ops.xp.permute_dims(y, (0, 2, 1, 3)), pair.a.shape) for y in (first, second)))

    pair = Pair(backend.asarray(normal(1, 3, 6, seed=3)), backend.asarray(normal(1, 3, 6, seed=4)))
    for fn in (norms, attentions):
        found, expected = backend.to_host(backend.compile(fn)(pair)), backend.to_host(fn(pair))
        for traced, plain in zip(found, expected, strict=True):
            np.testing.assert_allclose(traced, plain, atol=2e-6)
