"""Runs of one model, in this process."""

from __future__ import annotations

import io
import json

import attrs
import numpy as np
import pytest
import soundfile

from asrkit.bench.runs import Runs, bursts
from asrkit.bench.worker import serve
from asrkit.errors import AsrkitError, AudioError, OptionError
from asrkit.interfaces import AttentionDecoder
from asrkit.testing.archives import write_nemo
from asrkit.values import Hypothesis

STAGES = ("features", "encoder", "decoder")


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("tokens", [1, 12])
def test_every_row_says_the_forced_number_of_tokens(model, monkeypatch, rows, tokens):
    runs = Runs(model, tokens, seconds=0.5)
    heard = []
    decode = runs._decode
    monkeypatch.setattr(runs, "_decode", lambda *args: heard.extend(decode(*args)) or heard)
    seconds = runs.run(rows)
    assert [len(best.tokens) for (best,) in heard] == [tokens] * rows
    assert list(seconds) == [*STAGES, "total", "tokens"]
    assert seconds["tokens"] == rows * tokens
    assert all(value >= 0 for value in seconds.values())
    assert sum(seconds[stage] for stage in STAGES) == pytest.approx(seconds["total"])


def test_a_stop_token_does_not_end_a_row(model, family):
    """A recording of two letters ends after two; it is forced to go on."""
    runs = Runs(model, 9, seconds=0.2)
    encoded = model.encode(model.parts.frontend([family.spell("ab")]))
    ((best,),) = runs._decode(encoded, [runs._request])
    assert best.tokens == (*model.parts.tokenizer.encode("ab"), *[family.STOP] * 7)


def test_length(model):
    assert Runs(model, 1, seconds=2.5).seconds == 2.5


def test_recording(model, recording_of):
    runs = Runs(model, 2, seconds=9, file=str(recording_of("abc")))
    assert runs.seconds == pytest.approx(0.3)
    runs.run(2)


@pytest.fixture
def recording_of(family, tmp_path):
    def write(text):
        path = tmp_path / "letters.wav"
        soundfile.write(path, family.spell(text), family.RATE, subtype="FLOAT")
        return path

    return write


def test_recording_that_is_not_there(model):
    with pytest.raises(AudioError, match=r"no\.wav: there is no such file"):
        Runs(model, 2, file="no.wav")


def test_more_tokens_than_there_is_room_for(make, family):
    decoder = family.Speller(make().backend, 2, max_tokens=10)
    model = make(decoder=decoder)
    Runs(model, 9, seconds=0.5).run(1)
    with pytest.raises(OptionError, match="has room for 9 tokens after its prompt, asked was: 10"):
        Runs(model, 10, seconds=0.5)


def test_a_decoder_that_cannot_be_forced(make):
    with pytest.raises(OptionError, match="has no attention decoder: it cannot be forced to 4 tokens"):
        Runs(make(decoder=object()), 4)


@attrs.frozen
class Short:
    """A strategy with a mind of its own."""

    decodes = AttentionDecoder

    def bind(self, decoder, backend):
        return lambda encoded, requests: [[Hypothesis((1, 2), (0.0, 0.0), True)] for _ in requests]


def test_another_number_of_tokens_is_no_figure(make, install):
    install(fake={"register_parts": lambda register: register.strategy("short", Short)})
    runs = Runs(make(strategy="short"), 4, seconds=0.5)
    with pytest.raises(
        AsrkitError, match=r"forced to 4 tokens in each of 2 rows and said \[2, 2\]: its strategy 'short'"
    ):
        runs.run(2)


def test_bursts():
    noise = bursts(16000, 16000, 3)
    assert (noise.shape, noise.dtype) == ((16000,), np.float32)
    np.testing.assert_array_equal(noise, bursts(16000, 16000, 3))
    assert not np.array_equal(noise, bursts(16000, 16000, 4))
    power = np.sqrt(np.mean(noise.reshape(8, 2000) ** 2, axis=1))
    assert (power[::2] > 20 * power[1::2]).all()


@pytest.fixture
def job(install, family, tmp_path):
    """A job for a worker: a model of the family."""
    path = write_nemo(tmp_path / "speller.nemo", {"target": "x.Speller"}, {"a": np.zeros(1, np.float32)})
    spec = family.spec("speller", str(path))
    install(fake={"register_models": lambda register: register(spec)})
    chosen = {"model": str(path), "backend": "numpy", "precision": "fp32", "threads": None}
    return chosen | {"tokens": 3, "seconds": 0.5, "file": None}


def talk(*messages):
    """What a worker answers."""
    replies = io.StringIO()
    serve(io.StringIO("".join(json.dumps(message) + "\n" for message in messages)), replies)
    return [json.loads(line) for line in replies.getvalue().splitlines()]


def test_worker(job):
    loaded, one, two = talk(job, {"rows": 1}, {"rows": 2})
    assert 0 < loaded["load"] < loaded["first"]
    assert loaded["peak_memory"] > 10e6
    assert loaded["seconds"] == 0.5
    assert (loaded["device"], loaded["versions"]) == ("cpu", {"numpy": np.__version__})
    for run in (one, two):
        assert list(run) == [*STAGES, "total", "tokens", "peak_memory"]


def test_worker_answers_errors_and_ends(job):
    (answer,) = talk(job | {"tokens": 10_000}, {"rows": 1})
    assert answer["usage"] is True
    assert "has room for 999 tokens" in answer["error"]
    (answer,) = talk(job | {"file": "no.wav"}, {"rows": 1})
    assert answer == {"error": "no.wav: there is no such file", "usage": False}


def test_worker_does_not_hide_a_bug(job):
    with pytest.raises(KeyError, match="rows"):
        talk(job, {"columns": 1})
