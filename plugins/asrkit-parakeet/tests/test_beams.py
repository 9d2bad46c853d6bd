"""Beams find what NeMo's find for one recording at a time, and tokens are as sure as NeMo says."""

from __future__ import annotations

import json

import pytest
from parakeet_goldens import GOLDENS, model_of

from asrkit.strategies.ctc_beam import CTCBeam
from asrkit.strategies.ctc_greedy import CTCGreedy
from asrkit.strategies.transducer_beam import TransducerBeam
from asrkit.strategies.transducer_greedy import TransducerGreedy

SETTINGS = {
    CTCBeam: ({"beam_size": 4}, {"beam_size": 7, "beam_threshold": 2.0}),
    TransducerBeam: ({"beam_size": 4}, {"beam_size": 6, "max_symbols": 2, "score_norm": False}),
}
"""Those of tools/goldens/beams.py."""


@pytest.fixture
def facts(golden):
    recorded = json.loads((GOLDENS / golden.name / "beams.json").read_text(encoding="utf-8"))
    return recorded["ctc" if golden.decoder == "ctc" else "transducer"]


def decoded(model, strategy, clips, names):
    encoded = model.encode(model.parts.frontend([clips[name] for name in names]))
    request = model.parts.dialect.request(None, 1)
    return strategy.bind(model.parts.decoder, model.backend)(encoded, [request] * len(names))


@pytest.mark.parametrize("together", [False, True], ids=["alone", "batch"])
@pytest.mark.parametrize("number", [0, 1], ids=["usual", "other"])
def test_hypotheses_equal_nemo(golden, facts, clips, label, number, together):
    model = model_of(golden.name, golden.decoder, label)
    beam = CTCBeam if golden.decoder == "ctc" else TransducerBeam
    options = SETTINGS[beam][number]
    strategy = beam(**options, n_best=options["beam_size"])
    for names in [list(facts)] if together else [[name] for name in facts]:
        for name, found in zip(names, decoded(model, strategy, clips, names), strict=True):
            expected = facts[name]["beams"][number]
            assert [list(one.tokens) for one in found] == [one["tokens"] for one in expected], name
            assert [list(one.frames) for one in found] == [one["starts"] for one in expected], name
            if golden.decoder == "tdt":
                lengths = [[end - start for start, end in zip(one.frames, one.ends, strict=True)] for one in found]
                assert lengths == [one["durations"] for one in expected], name
            norm = golden.decoder != "ctc" and strategy.score_norm
            scores = [one.rank * (len(one.tokens) + 1 if norm else 1) for one in found]
            assert scores == pytest.approx([one["score"] for one in expected], abs=1e-4, rel=1e-5), name


@pytest.mark.parametrize("together", [False, True], ids=["alone", "batch"])
def test_confidences_equal_nemo(golden, facts, clips, label, together):
    model = model_of(golden.name, golden.decoder, label)
    strategy = (CTCGreedy if golden.decoder == "ctc" else TransducerGreedy)(confidence=True)
    for names in [list(facts)] if together else [[name] for name in facts]:
        for name, (best,) in zip(names, decoded(model, strategy, clips, names), strict=True):
            assert best.confidences == pytest.approx(facts[name]["confidences"], abs=1e-4), name
