"""Recordings that are longer than the model takes, put together from the samples."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import asrkit

SAMPLES = Path(__file__).parents[1] / "samples"
ROWS = [json.loads(line) for line in (SAMPLES / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
ROWS = [row for row in ROWS if row["source_lang"] == "en" and row["target_lang"] == "en"]
RATE = 16000
PAUSES = (0.5, 1.2, 3.0, 0.7, 20.0, 0.9)


@pytest.fixture(scope="module")
def model():
    return asrkit.load_model("canary-demo", "numpy")


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """A recording of some two minutes: its path, its text, and where each clip begins to speak."""
    noise = np.random.default_rng(0)
    parts, starts, texts, length = [], [], [], 0
    for n, row in enumerate(ROWS * 2):
        samples, _ = soundfile.read(SAMPLES / row["audio_filepath"], dtype="float32")
        pause = 1e-3 * noise.standard_normal(round(PAUSES[n % len(PAUSES)] * RATE)).astype(np.float32)
        starts.append((length + len(pause)) / RATE + row["words"][0][0])
        texts.append(row["text"])
        parts += [pause, samples]
        length += len(pause) + len(samples)
    path = tmp_path_factory.mktemp("long") / "talk.flac"
    soundfile.write(path, np.concatenate(parts), RATE)
    return path, " ".join(texts), starts


def test_nothing_is_lost_and_nothing_doubled(model, talk):
    path, text, starts = talk
    transcript = model.transcribe(path, language="en")
    assert transcript.text == text
    assert transcript.warnings == ()
    assert " ".join(segment.text for segment in transcript.segments) == text
    times = [time for segment in transcript.segments for time in (segment.start, segment.end)]
    assert times == sorted(times)
    assert 0 <= times[0] <= times[-1] <= transcript.duration
    misses = [min(abs(segment.start - start) for segment in transcript.segments) for start in starts]
    assert np.median(misses) <= 0.3


def test_words_keep_their_punctuation(model, talk):
    path, text, _ = talk
    transcript = model.transcribe(path, language="en", timestamps="word")
    words = [word for segment in transcript.segments for word in segment.words]
    assert transcript.text == text == " ".join(word.text for word in words)
    times = [time for word in words for time in (word.start, word.end)]
    assert times == sorted(times)


@pytest.mark.parametrize("backend", ["numpy", "onnxruntime"])
def test_batches_change_nothing(talk, backend):
    model = asrkit.load_model("canary-demo", backend)
    found = [model.transcribe(talk[0], language="en", batch_size=size) for size in (1, 3, "auto")]
    assert found[0] == found[1] == found[2]


def test_a_stream_says_the_same(model, talk):
    path, text, _ = talk
    with soundfile.SoundFile(path) as file:
        segments = list(model.transcribe_stream(file.blocks(4000, dtype="float32"), RATE, language="en"))
    assert " ".join(segment.text for segment in segments) == text


@pytest.mark.parametrize("options", [{"vad": "energy"}, {"segmenter": "fixed"}, {"vad": "none"}, {"max_segment": 8.0}])
def test_other_ways_to_cut(model, talk, options):
    path, text, _ = talk
    found = model.transcribe(path, language="en", **options).text.split()
    assert len(set(text.split()) - set(found)) <= 3
    assert abs(len(found) - len(text.split())) <= 12


def test_three_times_the_length_needs_no_more_memory(talk, tmp_path):
    """Ten minutes against half an hour, in processes of their own; the room for batches is full in both."""
    samples, _ = soundfile.read(talk[0], dtype="float32")
    code = (
        "import sys, asrkit\n"
        "from asrkit.bench.machine import peak_memory\n"
        "model = asrkit.load_model('canary-demo', 'numpy')\n"
        "model.transcribe(sys.argv[1], language='en')\n"
        "print(peak_memory())"
    )
    peaks = []
    for minutes in (10, 30):
        path = tmp_path / f"{minutes}.wav"
        soundfile.write(path, np.resize(samples, minutes * 60 * RATE), RATE)
        done = subprocess.run(
            [sys.executable, "-c", code, path], capture_output=True, text=True, check=True, timeout=300
        )
        peaks.append(int(done.stdout) / 1e6)
    assert peaks[1] - peaks[0] <= 50, f"peaks in MB: {peaks}"
