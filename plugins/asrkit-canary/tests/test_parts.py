"""Every part is held to its interface by the public checks, on every backend."""

from __future__ import annotations

import numpy as np
import pytest

from asrkit.loading import open_checkpoint
from asrkit.plugins import registry
from asrkit.strategies.greedy import Greedy
from asrkit.testing import (
    check_checkpoint,
    check_decoder,
    check_dialect,
    check_encoder,
    check_frontend,
    check_model,
    check_strategy,
    check_tokenizer,
)
from conftest import BACKENDS, Golden, built, model_of, samples


def test_checkpoint(golden: Golden):
    check_checkpoint(open_checkpoint(registry(), golden.path))


@pytest.mark.parametrize("frontend", ["nemo-2.5", "nemo-2.4"])
def test_frontend(golden, frontend):
    check_frontend(built(golden.name, "numpy", frontend).frontend)


def test_encoder(golden, label):
    bins = open_checkpoint(registry(), golden.path).config["encoder"]["feat_in"]
    backends = {"numpy": BACKENDS["numpy"], label: BACKENDS[label]}
    check_encoder(lambda backend: build_for(golden, backend).encoder, bins, backends=backends)


def test_decoder(golden, label):
    width = built(golden.name, "numpy").encoder.width
    backends = {"numpy": BACKENDS["numpy"], label: BACKENDS[label]}
    check_decoder(lambda backend: build_for(golden, backend).decoder, width, backends=backends)


def test_greedy(golden, label):
    width = built(golden.name, "numpy").encoder.width
    backends = {"numpy": BACKENDS["numpy"], label: BACKENDS[label]}
    check_strategy(Greedy(), lambda backend: build_for(golden, backend).decoder, width, backends=backends)


def test_whole_model(golden, label):
    backends = {"numpy": BACKENDS["numpy"], label: BACKENDS[label]}
    check_model(lambda backend: build_for(golden, backend), backends=backends, language="en")


def build_for(golden, backend):
    label = next(name for name, other in BACKENDS.items() if other is backend)
    return built(golden.name, label)


def test_tokenizer(golden):
    tokenizer = built(golden.name, "numpy").tokenizer
    languages = (None,) if golden.name.endswith("unified") else ("en",)
    check_tokenizer(tokenizer, {language: ["the dog", "and the dog"] for language in languages})


def test_dialect(golden):
    parts = built(golden.name, "numpy")
    check_dialect(parts.dialect, parts.decoder.size)


@pytest.mark.parametrize(
    ("name", "precision", "tolerance"),
    [
        (name, precision, tolerance)
        for name, backend in BACKENDS.items()
        for precision, tolerance in (("fp16", 0.03), ("bf16", 0.25))
        if precision in backend.capabilities.precisions
    ],
)
def test_half_precision_stays_near(golden, clips, name, precision, tolerance):
    half, full = model_of(golden.name, name, precision), model_of(golden.name, name)
    features = full.parts.frontend([samples(clips["c256"])])
    found, expected = half.backend.to_host(half.encode(features)), full.backend.to_host(full.encode(features))
    worst = np.abs(found.values - expected.values).max()
    # Not zero either: the option must have had an effect.
    assert 0 < worst <= tolerance
    assert half.transcribe((clips["c256"], 16000), language="en").precision == precision
