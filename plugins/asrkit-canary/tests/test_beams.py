"""Beams equal NeMo's for one recording at a time, and in a batch what they are alone; so does the confidence."""

from __future__ import annotations

import functools
import json
from typing import Any, NamedTuple

import attrs
import numpy as np
import pytest

from asrkit.arrays import varying
from asrkit.confidence import token_confidences
from asrkit.strategies.attention_beam import AttentionBeam
from asrkit.strategies.greedy import Greedy
from asrkit.values import Clock, Request
from conftest import GOLDENS, model_of, read_golden, samples

SCORES, PER_TOKEN = 1e-4, 1e-5  # a score is a sum over all tokens


@varying(logits=("batch", None))
class Scores(NamedTuple):
    logits: Any


@varying(confidences=("batch",))
class Sure(NamedTuple):
    confidences: Any


@functools.cache
def recorded(name: str) -> dict[str, Any]:
    """Clip names to NeMo's beams and confidences."""
    return json.loads((GOLDENS / name / "golden_beams.json").read_text(encoding="utf-8"))["clips"]


def penalised(ids: list[int], prompt: list[int], ends: frozenset[int], penalty: float) -> float:
    """The penalty by which NeMo divides a score to find the winner."""
    length = 1 + sum(token not in ends for token in [*prompt, *ids])
    return ((5 + length) / 6) ** penalty


def dialect_of(model, golden, beam):
    parts = model.parts
    limits = attrs.evolve(parts.dialect.limits, beam=beam, delta=golden.facts["delta"])
    return type(parts.dialect)(parts.tokenizer, limits)


def search(model, dialect, strategy, waveforms):
    """The hypotheses of each, and the ids that a result would have; decoded together."""
    parts = model.parts
    asked, _ = dialect.resolve({"language": "en"})
    requests = [dialect.request(asked, -(-parts.frontend.frames(len(w)) // parts.encoder.stride)) for w in waveforms]
    decode = strategy.bind(parts.decoder, model.backend)
    found = decode(model.encode(parts.frontend(waveforms)), requests)
    return [[(one, list(dialect.read(one, Clock(0.08), asked).tokens)) for one in best] for best in found], requests[0]


@pytest.mark.parametrize(("size", "penalty"), [(1, 0.0), (4, 0.0), (4, 1.0)])
@pytest.mark.parametrize("together", [False, True], ids=["alone", "batch"])
def test_beams_equal_nemo(golden, clips, label, together, size, penalty):
    model = model_of(golden.name, label)
    dialect = dialect_of(model, golden, True)
    strategy = AttentionBeam(size, penalty, size)
    for group in [list(clips)] if together else [[name] for name in clips]:
        found, request = search(model, dialect, strategy, [samples(clips[name]) for name in group])
        for name, hypotheses in zip(group, found, strict=True):
            compare(name, hypotheses, request, recorded(golden.name)[name]["beams"], size, penalty)


def compare(
    name: str, found: list[Any], request: Request, beams: list[dict[str, Any]], size: int, penalty: float
) -> None:
    (expected,) = [b for b in beams if (b["beam_size"], b["length_penalty"]) == (size, penalty)]
    wanted = []
    for row in expected["hypotheses"]:
        divisor = penalised(row["ids"], request.prompt, request.stops, penalty)
        wanted.append((row["score"] / divisor, row["ids"], row["finished"], divisor))
    wanted.sort(key=lambda row: -row[0])  # NeMo leaves them in the order of the step before
    assert [(ids, one.finished) for one, ids in found] == [row[1:3] for row in wanted], name
    for (one, ids), (rank, *_, divisor) in zip(found, wanted, strict=True):
        off = max(SCORES, PER_TOKEN * len(ids))
        assert one.rank * divisor == pytest.approx(rank * divisor, rel=0, abs=off), name


@pytest.mark.parametrize("name", ["canary2-agg", "canary2-unified"])
def test_the_best_of_a_beam_is_what_transcribe_gives(name, clips, label):
    model, facts = model_of(name, label), read_golden(name).facts
    result = model.transcribe((clips["c256"], 16000), language="en", strategy="attention-beam", guards=False)
    assert list(result.tokens) == facts["clips"]["c256"]["beam4"]["ids"]


# Calm random models are sure of nothing; an error of 1e-4 in the logits is a relative one of so much.
@pytest.mark.parametrize(("measure", "off"), [("entropy", 1e-2), ("max_prob", 1e-3)])
def test_confidences_equal_nemo(golden, clips, label, measure, off):
    model = model_of(golden.name, label)
    dialect = dialect_of(model, golden, False)
    found, _ = search(model, dialect, Greedy(True, measure), [samples(clip) for clip in clips.values()])
    for name, ((one, ids),) in zip(clips, found, strict=True):
        expected = recorded(golden.name)[name]["confidence"]
        assert ids == expected["ids"]
        assert len(one.confidences) == len(one.tokens)
        assert one.confidences[: len(ids)] == pytest.approx(expected[measure], rel=off, abs=0), name


def test_confidences_of_sharp_distributions_equal_nemo(golden, label):
    model = model_of(golden.name, label)
    backend, size = model.backend, model.parts.decoder.size

    def measure(scores: Scores) -> Sure:
        return Sure(token_confidences(backend.xp, backend.ops.log_softmax(scores.logits), size))

    run = backend.compile(measure)
    compared = 0
    for name, row in recorded(golden.name).items():
        if f"{name}.logits" not in golden.arrays:
            continue
        for by, expected in row["confidence"]["sharpened"].items():
            logits = golden.arrays[f"{name}.logits"][: len(expected)] * np.float32(by)
            found = backend.to_host(run(Scores(backend.asarray(logits)))).confidences
            assert found.tolist() == pytest.approx(expected, rel=1e-3, abs=1e-6)
            compared += 1
    assert compared == 9
