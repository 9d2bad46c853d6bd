"""Every number between samples and text equals NeMo's, on every backend, alone, in a batch and padded."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from asrkit.arrays import Encoded, Features
from asrkit.batching import to_device
from asrkit.errors import OptionError
from asrkit.strategies.greedy import Greedy
from asrkit.values import Clock, Hypothesis, Request
from conftest import BACKENDS, VARIANTS, Golden, built, model_of, read_golden, samples

FEATURES, STATES, LOGITS = 2e-4, 1e-4, 2e-4


def test_goldens_are_there():
    assert VARIANTS == ("canary1-agg", "canary2-agg", "canary2-unified")


def recorded(golden: Golden, what: str) -> dict[str, np.ndarray]:
    """Clip names to what was recorded of them."""
    return {key.partition(".")[0]: value for key, value in golden.arrays.items() if key.endswith("." + what)}


def close(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    assert found.shape == expected.shape
    assert float(np.abs(found - expected).max()) <= tolerance


def test_features_equal_nemo(golden, clips):
    frontend = built(golden.name, "numpy").frontend
    found = recorded(golden, "features")
    assert found
    for name, expected in found.items():
        features = frontend([samples(clips[name])])
        close(features.values[0].T, expected, FEATURES)
        assert features.lengths.tolist() == [golden.facts["clips"][name]["feature_length"]]


def test_clips_under_a_second_are_centred(golden, clips):
    fact = golden.facts["clips"]["c043"]
    frontend, waveform = built(golden.name, "numpy").frontend, samples(clips["c043"])
    assert frontend.lead(len(waveform)) == fact["left_zeros"]
    assert frontend.frames(len(waveform)) == fact["feature_frames"]
    padded = np.pad(waveform, (fact["left_zeros"], fact["fed_samples"] - len(waveform) - fact["left_zeros"]))
    close(frontend([waveform]).values, frontend([padded]).values, 0.0)


def test_subsampling_equals_nemo(golden, clips, label):
    parts, backend = built(golden.name, label), BACKENDS[label]
    pre_encode = parts.encoder.pre_encode
    run = backend.compile(lambda features: Encoded(*pre_encode(features.values, features.lengths)))
    for name, expected in recorded(golden, "pre_encode").items():
        features = parts.frontend([samples(clips[name])])
        found = backend.to_host(run(Features(backend.asarray(features.values), backend.asarray(features.lengths))))
        valid = golden.facts["clips"][name]["encoded_length"]
        # NeMo's last frame may be padding, which holds the bias here as there.
        close(found.values[0, :valid], expected[:valid], STATES)


@pytest.mark.parametrize("frames", [0, 300, 2000], ids=["alone", "padded", "far padded"])
def test_encoder_states_equal_nemo(golden, clips, label, frames):
    model = model_of(golden.name, label)
    for name, expected in recorded(golden, "encoder").items():
        features = model.parts.frontend([samples(clips[name])])
        extra = max(frames - features.values.shape[1], 0)
        features = features._replace(values=np.pad(features.values, ((0, 0), (0, extra), (0, 0))))
        encoded = model.backend.to_host(model.encode(features))
        valid = golden.facts["clips"][name]["encoded_length"]
        assert encoded.lengths[0] == valid
        close(encoded.values[0, :valid], expected[:valid], STATES)


def test_encoder_states_in_a_batch_equal_nemo_alone(golden, clips, label):
    model = model_of(golden.name, label)
    features = model.parts.frontend([samples(clip) for clip in clips.values()])
    encoded = model.backend.to_host(model.encode(features))
    expected = recorded(golden, "encoder")
    assert expected
    for row, name in enumerate(clips):
        valid = golden.facts["clips"][name]["encoded_length"]
        assert encoded.lengths[row] == valid
        if name in expected:
            close(encoded.values[row, :valid], expected[name][:valid], STATES)


@pytest.mark.parametrize("stage", ["projection", "transf_encoder"])
def test_states_between_encoder_and_decoder_equal_nemo(golden, clips, label, stage):
    found = recorded(golden, stage)
    model = model_of(golden.name, label)
    decoder, backend = model.parts.decoder, model.backend
    exists = decoder.projection if stage == "projection" else decoder.encoder
    assert (exists is not None) == bool(found)

    def between(encoded: Encoded) -> Encoded:
        if stage == "projection":
            return Encoded(decoder.projection(encoded.values), encoded.lengths)
        return Encoded(decoder.between(encoded)[0], encoded.lengths)

    run = backend.compile(between)
    for name, expected in found.items():
        features = model.parts.frontend([samples(clips[name])])
        states = backend.to_host(run(model.encode(features))).values
        valid = golden.facts["clips"][name]["encoded_length"]
        close(states[0, :valid], expected[:valid], STATES)


@pytest.mark.parametrize("cut", ["one pass", "prompt then tokens", "token by token"])
def test_logits_equal_nemo(golden, clips, label, cut):
    model = model_of(golden.name, label)
    decoder, backend = model.parts.decoder, model.backend
    for name, expected in recorded(golden, "logits").items():
        tokens = golden.arrays[f"{name}.tokens"]
        prompt = len(golden.facts["clips"][name]["prompt"])
        count = len(tokens)
        pieces = {
            "one pass": [count],
            "prompt then tokens": [prompt] + [1] * (count - prompt),
            "token by token": [1] * count,
        }[cut]
        features = model.parts.frontend([samples(clips[name])])
        alone = model.encode(features)
        rows = len(backend.to_host(alone.lengths))
        memory, cache = decoder.memorize(alone), decoder.start(rows, backend.bucket("past", count))
        done = 0
        for piece in pieces:
            ids = np.repeat(tokens[None, done : done + piece], rows, axis=0)
            logits, cache = decoder.step(memory, cache, backend.asarray(ids))
            done += piece
            close(backend.to_host(logits)[0], expected[done - 1], LOGITS)


@pytest.mark.parametrize("way", ["greedy", "beam1"])
@pytest.mark.parametrize("together", [False, True], ids=["alone", "batch"])
def test_tokens_equal_nemo(golden, clips, label, way, together):
    model = model_of(golden.name, label)
    parts = model.parts
    limits = attrs.evolve(parts.dialect.limits, beam=way == "beam1", delta=golden.facts["delta"])
    dialect = type(parts.dialect)(parts.tokenizer, limits, aligned=parts.dialect.aligned)
    asked, _ = dialect.resolve({"language": "en"})
    decode = Greedy().bind(parts.decoder, model.backend)
    names = list(clips)
    for group in [names] if together else [[name] for name in names]:
        waveforms = [samples(clips[name]) for name in group]
        requests = [
            dialect.request(asked, -(-parts.frontend.frames(len(w)) // parts.encoder.stride)) for w in waveforms
        ]
        hypotheses = decode(model.encode(parts.frontend(waveforms)), requests)
        for name, (best,) in zip(group, hypotheses, strict=True):
            passage = dialect.read(best, Clock(0.08), asked)
            assert list(passage.tokens) == golden.facts["clips"][name][way]["ids"], name


def test_length_limits_equal_nemo(golden):
    parts = built(golden.name, "numpy")
    for fact in golden.facts["limits"]:
        for way in ("greedy", "beam1"):
            limits = attrs.evolve(parts.dialect.limits, beam=way == "beam1", delta=fact["delta"])
            dialect = type(parts.dialect)(parts.tokenizer, limits, aligned=parts.dialect.aligned)
            asked, _ = dialect.resolve({"language": "en"})
            assert dialect.request(asked, fact["frames"]).limit == fact[way], fact


SLOTS = {"source_lang": "language", "target_lang": "target_language", "decodercontext": "context"}
SWITCHES = {"yes": True, "true": True, "True": True, "1": True, "no": False, "false": False, "False": False, "0": False}
TRANSLATES = {"asr": False, "transcribe": False, "ast": True, "translate": True, "s2t_translation": True}


def wishes_of(settings: dict[str, object], languages: tuple[str, ...]) -> dict[str, object] | None:
    """NeMo's slot values as asrkit's options; None where asrkit has no such value.

    NeMo alone takes values in the form of tokens, languages without a tokenizer, a task that contradicts the
    languages, and "Yes", which it reads as no.
    """
    wishes: dict[str, object] = {"language": "en", "target_language": "en"}
    for slot, value in settings.items():
        if slot in ("source_lang", "target_lang"):
            wishes[SLOTS[slot]] = value
        elif slot == "emotion":
            wishes[slot] = str(value).removeprefix("<|emo:").removesuffix("|>")
        elif slot in ("decodercontext", "context"):
            wishes["context"] = value
        elif slot in ("pnc", "itn", "timestamp", "timestamps", "diarize") and str(value) in SWITCHES:
            wishes[slot.removesuffix("s")] = SWITCHES[str(value)]
        elif slot not in ("task", "taskname"):
            return None
    if not {wishes["language"], wishes["target_language"]} <= set(languages):
        return None
    task = settings.get("task", settings.get("taskname", "asr"))
    told = "task" in settings or "taskname" in settings
    translates = wishes["language"] != wishes["target_language"]
    return None if told and TRANSLATES.get(str(task)) is not translates else wishes


def test_texts_equal_nemo(golden, clips, label):
    """``transcribe()`` as a user calls it; settings that NeMo itself ignores are left out by its own prompt."""
    model = model_of(golden.name, label)
    compared = 0
    for record in golden.facts["transcripts"]:
        wishes = wishes_of(record["settings"], model.parts.dialect.languages)
        if wishes is None:
            continue
        if wishes.get("timestamp") and model.parts.dialect.aligned:
            continue  # NeMo aligns with a second model there
        options, _ = model.parts.dialect.resolve(wishes)
        if list(model.parts.dialect.prompt(options)) != record["prompt"]:
            continue
        compared += 1
        result = model.transcribe((clips[record["clip"]], 16000), guards=False, **wishes)
        assert list(result.tokens) == record["ids"], record["settings"]
        # NeMo replaces the text only where it found times.
        if "timestamps" not in record:
            assert result.raw_text == record["text"], record["settings"]
    assert compared >= 15


def test_prompts_equal_nemo(golden):
    dialect = built(golden.name, "numpy").dialect
    timed = type(dialect)(dialect.tokenizer, dialect.limits)
    compared = 0
    for record in golden.facts["prompts"]:
        wishes = wishes_of(record["slots"], dialect.languages)
        if record["role"] != "user" or "error" in record or wishes is None:
            continue
        options, _ = timed.resolve(wishes)
        assert list(timed.prompt(options)) == record["ids"], record["slots"]
        compared += 1
    assert compared >= (7 if golden.facts["prompts"][0]["slots"].get("task") else 24)


def test_tokenizer_equals_nemo(golden):
    tokenizer = built(golden.name, "numpy").tokenizer
    facts = golden.facts["tokenizer"]
    assert tokenizer.size == facts["size"]
    assert [tokenizer.piece(n) for n in range(tokenizer.size)] == facts["pieces"]
    for name, token in (("pad", "<pad>"), ("eos", "<|endoftext|>"), ("bos", "<|startoftranscript|>")):
        assert tokenizer.token(token) == facts[name]
    for case in facts["decode"]:
        assert tokenizer.decode(case["ids"]) == case["text"]
    for case in facts["encode"]:
        # Marks inside a text are encoded specially by NeMo's aggregate tokenizer, for training only.
        if "error" in case or case["lang"] == "spl_tokens" or (case["lang"] and "<|" in case["text"]):
            continue
        assert list(tokenizer.encode(case["text"], case["lang"])) == case["ids"], case


def test_timed_texts_equal_nemo(golden):
    dialect = built(golden.name, "numpy").dialect
    if "timed_texts" not in golden.facts:
        pytest.fail(f"{golden.name}: no timed texts were recorded")
    for record in golden.facts["timed_texts"]:
        check_timed(dialect, record)


def check_timed(dialect, record):
    from asrkit_canary.dialects import sentences, timed_words

    words = timed_words(record["text"], Clock(0.08))
    expected = record["timestamps"]["word"] if record.get("timestamps") else []
    # NeMo lets an end lie before its start; times never run backwards here.
    assert [(w.text, w.start, w.end) for w in words] == [
        (w["word"], pytest.approx(w["start"]), pytest.approx(max(w["start"], w["end"]))) for w in expected
    ]
    segments = record["timestamps"]["segment"] if record.get("timestamps") else []
    assert [(s.text, s.start, s.end) for s in sentences(words)] == [
        (s["segment"], pytest.approx(s["start"]), pytest.approx(last_end(s, expected))) for s in segments
    ]


def test_text_without_times_is_kept_and_told(golden):
    """The text stays whole if times were asked for and none came; what lies outside of pairs is told."""
    dialect = built(golden.name, "numpy").dialect
    timed = type(dialect)(dialect.tokenizer, dialect.limits)
    if not hasattr(timed.Options(), "timestamp"):
        with pytest.raises(OptionError, match="has no option 'timestamp'"):
            timed.resolve({"timestamp": True})
        return
    options, _ = timed.resolve({"language": "en", "timestamp": True})
    text = dialect.tokenizer.encode("the dog", "en")

    def read(*tokens):
        return timed.read(Hypothesis(tokens, (0.0,) * len(tokens), True), Clock(0.08), options)

    passage = read(*text)
    assert (passage.text, [notice.code for notice in passage.notices]) == ("the dog", ["no-times"])
    marks = [dialect.tokenizer.token(f"<|{n}|>") for n in (1, 4)]
    passage = read(marks[0], *text, marks[1], *text)
    assert (passage.text, [notice.code for notice in passage.notices]) == ("the dog", ["untimed-text"])
    assert [notice.code for notice in read(marks[0], *text, marks[1]).notices] == []


def last_end(segment, words):
    """When a segment ends, if no word ends before it starts."""
    found = [word for word in words if word["end_offset"] == segment["end_offset"]]
    return max(found[-1]["start"], found[-1]["end"])


def test_older_front_end_equals_nemo_2_4(clips, label):
    variant = "canary1-agg"
    golden = read_golden(variant, "_2_4")
    assert golden.facts["source"]["nemo"].startswith("2.4")
    parts, backend = built(variant, label, frontend="nemo-2.4"), BACKENDS[label]
    found = recorded(golden, "features")
    assert found
    run = backend.compile(lambda features: parts.encoder(features))
    for name, expected in found.items():
        features = parts.frontend([samples(clips[name])])
        close(features.values[0].T, expected, FEATURES)
        fact = golden.facts["clips"][name]
        assert features.lengths.tolist() == [fact["feature_length"]]
        encoded = backend.to_host(run(to_device(features, backend)))
        valid = fact["encoded_length"]
        close(encoded.values[0, :valid], golden.arrays[f"{name}.encoder"][:valid], STATES)


def test_an_answer_that_ends_in_pads_is_stripped(golden):
    dialect = built(golden.name, "numpy").dialect
    asked, _ = dialect.resolve({"language": "en"})
    text = dialect.tokenizer.encode("the", "en")
    tokens = (dialect.pad, *text, dialect.stop, *text, dialect.pad, dialect.pad)
    passage = dialect.read(Hypothesis(tokens, (0.0,) * len(tokens), True), Clock(0.08), asked)
    assert passage.tokens == tokens[:-2]


def test_requests_stop_where_nemo_stops(golden):
    dialect = built(golden.name, "numpy").dialect
    asked, _ = dialect.resolve({"language": "en"})
    request: Request = dialect.request(asked, 20)
    assert request.stops == ({dialect.stop, dialect.pad} if dialect.limits.beam else {dialect.stop})
