"""End to end with decoders that understand: what is said comes out, and when."""

from __future__ import annotations

import difflib
import json
import statistics
from functools import cache

import numpy as np
import pytest
import soundfile
from parakeet_demo import SAMPLES, write_demo

import asrkit
from asrkit.cli import main
from asrkit.loading import backend_problem
from asrkit.plugins import registry

ROWS = [json.loads(line) for line in (SAMPLES / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
ROWS = [row for row in ROWS if row["source_lang"] == "en" and row["target_lang"] == "en"]
BACKENDS = [entry.name for entry in registry().entries("backend") if backend_problem(entry) is None]
RATE = 16000
WRONG = {"tdt": (0.0, 0.03), "ctc": (0.1, 0.05)}
"""The most wrong words, as a share, in clips and in a long recording; measured were 0 and 0.6 %, 3.8 and 0.6 %."""
PAUSES = (0.5, 1.2, 3.0, 0.7, 20.0, 0.9)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return write_demo(tmp_path_factory.mktemp("demo") / "parakeet-demo")


@pytest.fixture(scope="module")
def load(demo):
    return cache(
        lambda backend, decoder, precision="fp32": asrkit.load_model(demo, backend, precision, decoder=decoder)
    )


@pytest.fixture(params=["tdt", "ctc"])
def decoder(request):
    return request.param


def path(row):
    return SAMPLES / row["audio_filepath"]


def words_of(transcript):
    return [word for segment in transcript.segments for word in segment.words]


def compare(found, texts, times):
    """The share of wrong words, and by how much the others' starts and ends are off, in seconds."""
    words = [word for transcript in found for word in words_of(transcript)]
    said = [word for text in texts for word in text.split()]
    matcher = difflib.SequenceMatcher(None, said, [word.text for word in words], autojunk=False)
    errors = sum(max(b - a, d - c) for kind, a, b, c, d in matcher.get_opcodes() if kind != "equal")
    pairs = [(times[a + n], words[b + n]) for a, b, count in matcher.get_matching_blocks() for n in range(count)]
    starts = [abs(word.start - start) for (start, _), word in pairs]
    ends = [abs(word.end - end) for (_, end), word in pairs]
    return errors / len(said), statistics.median(starts), statistics.median(ends)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_hears_what_was_said_and_when(load, backend, decoder):
    found = load(backend, decoder).transcribe([path(row) for row in ROWS], timestamps="word", batch_size=len(ROWS))
    assert [" ".join(word.text for word in words_of(transcript)) for transcript in found] == [t.text for t in found]
    times = [tuple(span) for row in ROWS for span in row["words"]]
    errors, start, end = compare(found, [row["text"] for row in ROWS], times)
    assert errors <= WRONG[decoder][0]
    assert start <= 0.1
    assert end <= 0.1


def test_alone_and_in_a_batch(load, decoder):
    model = load("numpy", decoder)
    together = model.transcribe([path(row) for row in ROWS], timestamps="word", batch_size=len(ROWS))
    assert [model.transcribe(path(row), timestamps="word") for row in ROWS] == together


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "mlx"])
def test_eight_bits_hear_nearly_the_same(load, backend, decoder):
    paths = [path(row) for row in ROWS]
    exact, found = (load(backend, decoder, precision).transcribe(paths) for precision in ("fp32", "int8"))
    assert sum(a.text == b.text for a, b in zip(exact, found, strict=True)) >= len(ROWS) - 2


def test_noise_is_no_speech(load, decoder):
    rng = np.random.default_rng(3)
    for noise in (np.zeros(32000), rng.standard_normal(32000) * 0.1, np.sin(np.arange(32000) * 0.2) * 0.3):
        transcript = load("numpy", decoder).transcribe((noise.astype(np.float32), RATE), segmenter="whole")
        assert transcript.text == ""


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """A recording of some two minutes: its path, its text, and the times of its words."""
    noise = np.random.default_rng(0)
    parts, texts, times, length = [], [], [], 0
    for n, row in enumerate(ROWS * 2):
        samples, _ = soundfile.read(path(row), dtype="float32")
        pause = 1e-3 * noise.standard_normal(round(PAUSES[n % len(PAUSES)] * RATE)).astype(np.float32)
        begin = (length + len(pause)) / RATE
        times += [(begin + start, begin + end) for start, end in row["words"]]
        texts.append(row["text"])
        parts += [pause, samples]
        length += len(pause) + len(samples)
    file = tmp_path_factory.mktemp("long") / "talk.flac"
    soundfile.write(file, np.concatenate(parts), RATE)
    return file, " ".join(texts), times


@pytest.mark.parametrize("options", [{"max_segment": 15.0}, {}], ids=["short", "usual"])
def test_a_long_recording(load, talk, decoder, options):
    """Stretches of the 15 seconds that this encoder knows, and of the minute that the family takes."""
    file, text, times = talk
    transcript = load("numpy", decoder).transcribe(file, timestamps="word", **options)
    assert " ".join(word.text for word in words_of(transcript)) == transcript.text
    starts = [word.start for word in words_of(transcript)]
    assert starts == sorted(starts)
    errors, start, end = compare([transcript], [text], times)
    assert errors <= WRONG[decoder][1]
    assert start <= 0.1
    assert end <= 0.1


def test_command_line(demo, capsys, decoder):
    main(["run", "--model", str(demo), "--decoder", decoder, "--backend", "numpy", str(path(ROWS[0]))])
    assert capsys.readouterr().out == ROWS[0]["text"] + "\n"
