"""Parakeet models as a user asks for them."""

from __future__ import annotations

import json
import shutil

import pytest
import soundfile
from parakeet_goldens import GOLDENS, read_clips, read_golden

from asrkit import load_model
from asrkit.cli import main
from asrkit.errors import OptionError


@pytest.fixture
def asrkit(tmp_path, monkeypatch, capsys):
    """Runs the command line in a folder with models and a recording; gives exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    for name in ("ctc", "tdt_ctc"):
        shutil.copy(GOLDENS / name / "model.nemo", tmp_path / f"{name}.nemo")
    soundfile.write("talk.wav", read_clips()["c256"], 16000, subtype="PCM_16")

    def run(*args):
        code = 0
        try:
            main([str(arg) for arg in args])
        except SystemExit as leave:
            code = int(leave.code or 0)
        return (code, *capsys.readouterr())

    return run


def texts(name, decoder):
    return read_golden(name, decoder).facts["c256"]["text"]


WHOLE = ("--segmenter", "whole", "--guards", "off", "--backend", "numpy")


@pytest.mark.parametrize("decoder", ["ctc", "tdt"])
def test_the_decoder_of_a_hybrid(asrkit, decoder):
    code, out, err = asrkit("run", "-m", "tdt_ctc.nemo", "--decoder", decoder, *WHOLE, "talk.wav")
    assert (code, out, err) == (0, texts("tdt_ctc", decoder) + "\n", "")
    if decoder == "tdt":  # which is the default
        assert asrkit("run", "-m", "tdt_ctc.nemo", *WHOLE, "talk.wav")[1] == out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--decoder", "rnnt"), "tdt_ctc.nemo: has no decoder 'rnnt'; it has: ctc, tdt"),
        (("--decoder", "x"), "model 'tdt_ctc.nemo': option 'decoder' is ctc or rnnt or tdt, not 'x'"),
        (("-o", "decoder=ctc"), "'decoder' is not set with -o but with --decoder"),
        (("--strategy", "greedy"), "strategy 'greedy' decodes with a AttentionDecoder, which model 'tdt_ctc.nemo' has"),
        (("-o", "max_symbols=0"), "max_symbols must be a whole number from 1 on, found 0"),
        (("--pnc",), "has no option 'pnc'"),
        (("-l", "nowhere!"), "the model has no language 'nowhere!'; a language is written like en"),
    ],
)
def test_wrong_wishes_are_one_line(asrkit, args, message):
    code, out, err = asrkit("run", "-m", "tdt_ctc.nemo", "--backend", "numpy", *args, "talk.wav")
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_words_have_times(asrkit):
    code, out, _ = asrkit("run", "-m", "tdt_ctc.nemo", "--format", "json", "--timestamps", "word", *WHOLE, "talk.wav")
    assert code == 0
    (result,) = json.loads(out)
    words = [word for segment in result["segments"] for word in segment["words"]]
    assert [word["text"] for word in words] == [
        text for text, *_ in read_golden("tdt_ctc", "tdt").facts["c256"]["word"]
    ]
    assert all(0 <= word["start"] < word["end"] <= result["duration"] for word in words)


def test_times_as_nemo_are_others(asrkit):
    args = ("run", "-m", "ctc.nemo", "--format", "json", *WHOLE, "talk.wav")
    ours, nemos = (json.loads(asrkit(*args, *more)[1])[0]["segments"] for more in ((), ("-o", "times=nemo")))
    assert [segment["text"] for segment in ours] == [segment["text"] for segment in nemos]
    assert ours != nemos


@pytest.mark.parametrize(("decoder", "strategy"), [("ctc", "ctc-beam"), ("tdt", "transducer-beam")])
def test_a_beam_gives_alternatives(asrkit, decoder, strategy):
    beam = ("--decoder", decoder, "--strategy", strategy, "-o", "n_best=3", "--format", "json")
    code, out, err = asrkit("run", "-m", "tdt_ctc.nemo", *beam, *WHOLE, "talk.wav")
    assert (code, err) == (0, "")
    (result,) = json.loads(out)
    scores = [found["score"] for found in result["alternatives"]]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert result["alternatives"][0]["text"] == result["text"]


@pytest.mark.parametrize("decoder", ["ctc", "tdt"])
def test_tokens_and_words_have_confidences(asrkit, decoder):
    args = ("--decoder", decoder, "-o", "confidence=yes", "--tokens", "--timestamps", "word", "--format", "json")
    code, out, err = asrkit("run", "-m", "tdt_ctc.nemo", *args, *WHOLE, "talk.wav")
    assert (code, err) == (0, "")
    (result,) = json.loads(out)
    assert 0 < result["confidence"] < 1
    assert len(result["confidences"]) == len(result["tokens"]) > 0


def test_long_recordings_are_cut_and_put_together(asrkit, tmp_path):
    clip = read_clips()["c256"]
    soundfile.write("long.wav", list(clip) * 30, 16000, subtype="PCM_16")
    code, out, _ = asrkit("run", "-m", "tdt_ctc.nemo", "--backend", "numpy", "--format", "json", "long.wav")
    assert code == 0
    (result,) = json.loads(out)
    times = [time for segment in result["segments"] for time in (segment["start"], segment["end"])]
    assert times == sorted(times)
    assert times[-1] > 60


def test_models_are_listed(asrkit):
    _, out, _ = asrkit("models")
    assert "parakeet-tdt-0.6b-v3" in out
    _, out, _ = asrkit("models", "show", "parakeet-tdt-0.6b-v3")
    assert "hf:nvidia/parakeet-tdt-0.6b-v3/parakeet-tdt-0.6b-v3.nemo@main" in out
    code, out, _ = asrkit("models", "show", "tdt_ctc.nemo")
    assert code == 0
    assert "set at load  decoder" in out
    assert "options      batch" not in out


@pytest.mark.parametrize("decoder", ["ctc", "tdt"])
@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_a_converted_hybrid_keeps_both_decoders(asrkit, decoder, precision):
    assert asrkit("convert", "tdt_ctc.nemo", "small", "--precision", precision)[0] == 0
    samples = read_clips()["c256"]
    found = [
        load_model(path, backend="numpy", precision=precision, decoder=decoder).transcribe((samples, 16000)).text
        for path in ("small", "tdt_ctc.nemo", "tdt_ctc.nemo")
    ]
    assert len(set(found)) == 1


def test_python_asks_alike(asrkit):
    assert load_model("tdt_ctc.nemo", backend="numpy", decoder="ctc").parts.strategy == "ctc-greedy"
    with pytest.raises(OptionError, match="has no decoder 'tdt'; it has: ctc"):
        load_model("ctc.nemo", backend="numpy", decoder="tdt")


BENCH = ("--backend", "numpy", "--audio", "talk.wav", "--repeats", "1", "--warm-up", "0", "--format", "json")


@pytest.mark.parametrize("decoder", ["ctc", "tdt"])
def test_bench_of_a_decoder_that_says_what_it_hears(asrkit, decoder):
    code, out, _ = asrkit("bench", "-m", "tdt_ctc.nemo", "--decoder", decoder, "--batch-size", "2", *BENCH)
    assert code == 0
    report = json.loads(out)
    assert (report["decoder"], report["tokens"]) == (decoder, None)
    (batch,) = report["configurations"][0]["batches"]
    assert batch["tokens"] == 2 * len(read_golden("tdt_ctc", decoder).facts["c256"]["tokens"])
    assert (batch["ms_per_token"], batch["tokens_per_second"]) == (None, None)
    assert batch["decoder"]["median"] > 0


def test_bench_refuses_what_it_cannot_do(asrkit):
    code, _, err = asrkit("bench", "-m", "ctc.nemo", "--tokens", "5", *BENCH)
    assert code == 2
    assert "it cannot be forced to 5 tokens, leave them out" in err.splitlines()[-1]
    code, _, err = asrkit("bench", "-m", "ctc.nemo", "--decoder", "tdt", *BENCH)
    assert code == 2
    assert "has no decoder 'tdt'; it has: ctc" in err.splitlines()[-1]
