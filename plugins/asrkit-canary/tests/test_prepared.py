"""Positions that are projected once give the states that they give when they are projected with each call."""

from __future__ import annotations

import functools

import attrs
import numpy as np
import pytest

from asrkit.arrays import Encoded, Features
from asrkit.batching import to_device
from asrkit.interfaces import PreparedEncoder
from asrkit.plugins import registry
from asrkit.transcriber import Model
from asrkit_canary import fastconformer
from conftest import BACKENDS, built, read_clips, samples

VARIANT = "canary2-agg"
CLIPS = ("c256", "c100")


@functools.cache
def both_ways(label):
    """The encoder compiled without and with a context, as a model does it."""
    encoder, backend = built(VARIANT, label).encoder, BACKENDS[label]

    def encode(features: Features) -> Encoded:
        return encoder(features)

    def encode_with(features: Features, context: fastconformer.Positions) -> Encoded:
        return encoder(features, context)

    return backend.compile(encode), backend.compile(encode_with)


@functools.cache
def features(*names):
    return built(VARIANT, "numpy").frontend([samples(read_clips()[name]) for name in names])


def valid(backend, encoded):
    """The states that mean something, one row after another."""
    found = backend.to_host(encoded)
    return np.concatenate([values[:length] for values, length in zip(found.values, found.lengths, strict=True)])


def close(found, expected):
    """Both round once for each of a few dozen sums: of states of about 1 the sixth digit may differ."""
    assert found.shape == expected.shape
    assert float(np.abs(found - expected).max()) < 3e-5


def states_of(backend, values):
    """How many states come of padded features."""
    return -(-backend.bucket("time", values.shape[1]) // built(VARIANT, "numpy").encoder.stride)


# Compiled for each size, MLX builds C++ for seconds on a CPU.
@pytest.mark.parametrize(
    ("label", "extra"),
    [(label, extra) for label in BACKENDS for extra in ((0, 1, 37) if label != "mlx-compiled" else (5,))],
)
def test_a_context_for_just_as_many_or_more_states_changes_nothing(label, extra):
    backend, encoder = BACKENDS[label], built(VARIANT, label).encoder
    assert isinstance(encoder, PreparedEncoder)
    plain, prepared = both_ways(label)
    batch = features(*CLIPS)
    moved, count = to_device(batch, backend), states_of(backend, batch.values)
    context = encoder.prepare(count + extra)
    sizes = {backend.to_host(offsets).shape for offsets in context.offsets}
    assert len(context.offsets) == len(encoder.layers)
    assert [shape[2] for shape in sizes] == [2 * (count + extra)]
    found = valid(backend, prepared(moved, context))
    close(found, valid(backend, plain(moved)))
    # And a context that is not the right one is seen.
    wrong = fastconformer.Positions(tuple(offsets * -1.0 for offsets in context.offsets))
    assert np.abs(valid(backend, prepared(moved, wrong)) - found).max() > 0.01


@pytest.mark.parametrize("label", ["numpy", *(["onnxruntime"] if "onnxruntime" in BACKENDS else [])])
def test_one_context_serves_recordings_of_every_length(label):
    backend, encoder = BACKENDS[label], built(VARIANT, label).encoder
    plain, prepared = both_ways(label)
    context = encoder.prepare(128)
    for names in (("c790",), ("c043",), ("c100", "c337"), ("c256",)):
        moved = to_device(features(*names), backend)
        close(valid(backend, prepared(moved, context)), valid(backend, plain(moved)))


def test_for_very_many_states_nothing_is_prepared(monkeypatch):
    encoder = built(VARIANT, "numpy").encoder
    monkeypatch.setattr(fastconformer, "PREPARED", 16)
    assert encoder.prepare(17) is None
    assert encoder.prepare(16).offsets[0].shape[2] == 32


class Counted:
    """An encoder whose preparations are counted."""

    def __init__(self, encoder):
        self._encoder, self.asked, self.stride = encoder, [], encoder.stride

    def prepare(self, frames):
        self.asked.append(frames)
        return self._encoder.prepare(frames)

    def __call__(self, given, context=None):
        return self._encoder(given, context)


def counting(label):
    """A model, and the encoder in it."""
    parts = built(VARIANT, label)
    encoder = Counted(parts.encoder)
    return Model(VARIANT, attrs.evolve(parts, encoder=encoder), BACKENDS[label], "fp32", registry()), encoder


PLAIN = [label for label in BACKENDS if label != "mlx-compiled"]


def expected(label, name):
    return valid(BACKENDS[label], both_ways(label)[0](to_device(features(name), BACKENDS[label])))


@pytest.mark.parametrize("label", PLAIN)
def test_a_model_prepares_seldom(label):
    model, encoder = counting(label)
    for name in ("c100", "c256", "c790", "c043", "c790"):
        close(valid(model.backend, model.encode(features(name))), expected(label, name))
    # For 13 and 33 states once 64, for 99 once 128.
    assert encoder.asked == [64, 128]


@pytest.mark.parametrize("label", PLAIN)
def test_a_model_runs_beyond_what_is_prepared(label, monkeypatch):
    monkeypatch.setattr(fastconformer, "PREPARED", 64)
    model, encoder = counting(label)
    for name in ("c790", "c100", "c790", "c256"):
        close(valid(model.backend, model.encode(features(name))), expected(label, name))
    assert encoder.asked == [128, 64, 128]


@pytest.mark.parametrize("label", PLAIN)
def test_a_model_runs_where_nothing_is_prepared(label, monkeypatch):
    monkeypatch.setattr(fastconformer, "PREPARED", 8)
    model, _ = counting(label)
    close(valid(model.backend, model.encode(features("c256"))), expected(label, "c256"))


@pytest.mark.parametrize(("frames", "asked"), [(512, [64]), (513, [128]), (1024, [128]), (1025, [256])])
def test_a_model_prepares_for_as_many_states_as_there_are(frames, asked):
    model, encoder = counting("numpy")
    values = np.random.default_rng(0).standard_normal((1, frames, encoder._encoder.bins)).astype(np.float32)
    batch = Features(values, np.array([frames]))
    found = valid(model.backend, model.encode(batch))
    close(found, valid(model.backend, both_ways("numpy")[0](batch)))
    assert len(found) == -(-frames // encoder.stride)
    assert encoder.asked == asked
