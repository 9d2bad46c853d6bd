"""Numbers, tokens, times and texts equal NeMo's, on every backend, alone and in a batch."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from parakeet_goldens import GOLDENS, model_of, read_golden

from asrkit.arrays import Array, varying

STATES, SCORES = 1e-4, 3e-4


def test_goldens_are_there_and_have_what_matters():
    assert sorted(path.parent.name for path in GOLDENS.glob("*/golden.json")) == ["ctc", "rnnt", "tdt", "tdt_ctc"]
    facts = [
        fact
        for case in (("rnnt", "rnnt"), ("tdt", "tdt"), ("tdt_ctc", "tdt"))
        for fact in read_golden(*case).facts.values()
    ]
    assert any(fact["starts"].count(frame) == 10 for fact in facts for frame in set(fact["starts"])), "max_symbols"
    assert any(0 in fact["durations"] for fact in facts)
    assert any(
        start + length > fact["frames"]
        for fact in facts
        for start, length in zip(fact["starts"][-1:], fact["durations"][-1:], strict=True)
    )
    ctc = read_golden("ctc", "ctc").facts.values()
    assert any(a == b for fact in ctc for a, b in zip(fact["tokens"], fact["tokens"][1:], strict=False))
    assert any("?" in fact["text"] or "," in fact["text"] for fact in ctc)


def close(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    assert found.shape == expected.shape
    assert float(np.abs(found - expected).max(initial=0.0)) <= tolerance


@pytest.mark.parametrize("frames", [0, 700], ids=["alone", "padded"])
def test_encoder_states_equal_nemo(golden, clips, label, frames):
    model = model_of(golden.name, golden.decoder, label)
    compared = 0
    for name in golden.facts:
        if f"{name}.encoder" not in golden.arrays:
            continue
        features = model.parts.frontend([clips[name]])
        extra = max(frames - features.values.shape[1], 0)
        features = features._replace(values=np.pad(features.values, ((0, 0), (0, extra), (0, 0))))
        encoded = model.backend.to_host(model.encode(features))
        valid = golden.facts[name]["frames"]
        assert encoded.lengths[0] == valid
        close(encoded.values[0, :valid], golden.arrays[f"{name}.encoder"], STATES)
        compared += 1
    assert compared == 2


def test_encoder_states_in_a_batch_equal_nemo_alone(golden, clips, label):
    model = model_of(golden.name, golden.decoder, label)
    encoded = model.backend.to_host(model.encode(model.parts.frontend(list(clips.values()))))
    for row, name in enumerate(clips):
        valid = golden.facts[name]["frames"]
        assert encoded.lengths[row] == valid
        if f"{name}.encoder" in golden.arrays:
            close(encoded.values[row, :valid], golden.arrays[f"{name}.encoder"], STATES)


@varying(values=("batch", "frames", None))
class Scores(NamedTuple):
    values: Array


def test_log_probabilities_equal_nemo(label, clips):
    for name in ("ctc", "tdt_ctc"):
        golden = read_golden(name, "ctc")
        model = model_of(name, "ctc", label)
        decoder, backend = model.parts.decoder, model.backend
        run = backend.compile(lambda encoded, decoder=decoder: Scores(decoder(encoded)))
        for clip in ("c043", "c256"):
            found = backend.to_host(run(model.encode(model.parts.frontend([clips[clip]])))).values[0]
            expected = golden.arrays[f"{clip}.scores"]
            close(found[: len(expected)], expected, SCORES)


@varying(tokens=("batch",), frame=("batch", None))
class Step(NamedTuple):
    state: Any
    tokens: Array | None
    frame: Array | None
    predicted: Any


@varying(values=("batch", None))
class Rows(NamedTuple):
    values: Any
    more: Any = None


@pytest.mark.parametrize("name", ["rnnt", "tdt", "tdt_ctc"])
def test_joint_outputs_equal_nemo(name, label, clips):
    """Along NeMo's own path, whatever this decoder would choose."""
    golden = read_golden(name, "rnnt" if name == "rnnt" else "tdt")
    model = model_of(golden.name, golden.decoder, label)
    decoder, backend = model.parts.decoder, model.backend
    project = backend.compile(lambda encoded: Scores(decoder.project(encoded)))

    def predict(step: Step) -> Rows:
        predicted, state = decoder.predict(step.state, step.tokens)
        return Rows(predicted, state)

    def join(step: Step) -> tuple[Rows, Rows]:
        tokens, durations = decoder.join(step.frame, step.predicted.values)
        return Rows(tokens), Rows(durations)

    predict, join = backend.compile(predict), backend.compile(join)
    for clip in ("c043", "c256"):
        expected = golden.arrays[f"{clip}.scores"]
        fact = golden.facts[clip]
        projected = backend.to_host(project(model.encode(model.parts.frontend([clips[clip]])))).values[0]
        said = predict(Step(decoder.start(1), backend.asarray(np.array([decoder.blank])), None, None))
        frame, emitted, todo = 0, 0, list(zip(fact["tokens"], fact["starts"], fact["durations"], strict=True))
        for row in expected:
            scores = backend.to_host(
                join(Step(None, None, backend.asarray(projected[frame : frame + 1]), Rows(said.values)))
            )
            found = np.concatenate([part.values[0] for part in scores if part.values is not None])
            close(found, row, SCORES)
            tokens, durations = row[: decoder.blank + 1], row[decoder.blank + 1 :]
            length = decoder.durations[int(durations.argmax())] if len(durations) else 0
            if tokens.argmax() == decoder.blank:
                frame, emitted = frame + max(length, 1), 0
                continue
            assert (int(tokens.argmax()), frame, length) == todo.pop(0)
            said = predict(Step(said.more, backend.asarray(np.array([tokens.argmax()])), None, None))
            frame, emitted = frame + length, 0 if length else emitted + 1
            if emitted == 10:
                frame, emitted = frame + 1, 0
        assert not todo
        assert frame >= fact["frames"]


@pytest.mark.parametrize("together", [False, True], ids=["alone", "batch"])
def test_tokens_and_frames_equal_nemo(golden, clips, label, together):
    model = model_of(golden.name, golden.decoder, label)
    strategy = model._decode(model.parts.strategy, {})
    request = model.parts.dialect.request(None, 1)
    names = list(clips)
    for group in [names] if together else [[name] for name in names]:
        encoded = model.encode(model.parts.frontend([clips[name] for name in group]))
        for name, (best,) in zip(group, strategy(encoded, [request] * len(group)), strict=True):
            fact = golden.facts[name]
            assert list(best.tokens) == fact["tokens"], name
            assert list(best.frames) == fact["starts"], name
            assert list(best.ends) == ends_of(fact, golden.decoder), name
            if golden.decoder == "ctc":
                assert best.score == pytest.approx(fact["score"], abs=1e-3)


def ends_of(fact, decoder):
    if decoder == "ctc":
        return fact["ends"]
    return [
        start + (1 if decoder == "rnnt" else length)
        for start, length in zip(fact["starts"], fact["durations"], strict=True)
    ]


def test_texts_and_times_equal_nemo(golden, clips, label):
    model = model_of(golden.name, golden.decoder, label)
    found = model.transcribe([(clip, 16000) for clip in clips.values()], segmenter="whole", guards=False, times="nemo")
    for name, transcript in zip(clips, found, strict=True):
        fact, length = golden.facts[name], len(clips[name]) / 16000
        assert transcript.text == fact["text"].strip(), name
        words = [word for segment in transcript.segments for word in segment.words]
        # NeMo leaves blanks around an unknown piece in a word, and a word without text here and there.
        assert [word.text for word in words] == ["".join(text.split()) for text, *_ in fact["word"] if text], name
        assert [(w.start, w.end) for w in words] == pairs(fact["word"], length), name
        texts = ["".join(text.split()) for text, *_ in fact["segment"]]
        assert ["".join(segment.text.split()) for segment in transcript.segments] == [t for t in texts if t], name


def pairs(rows, length):
    """Seconds of NeMo's frames; times never run backwards or out of the recording here."""
    found = []
    for text, start, end in rows:
        if text:
            first = min(start * 0.08, length)
            found.append((pytest.approx(first), pytest.approx(max(first, min(end * 0.08, length)))))
    return found
