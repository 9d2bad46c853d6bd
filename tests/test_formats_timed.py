"""The formats with times: srt, vtt and tsv."""

from __future__ import annotations

import html
import io
import random
from datetime import timedelta

import attrs
import pytest
import srt
import webvtt

from asrkit.errors import UsageError
from asrkit.formats import srt as srt_format
from asrkit.formats import tsv
from asrkit.formats import vtt as vtt_format
from asrkit.plugins import Plugins
from asrkit.subtitles import Layout, cues, timestamp
from asrkit.values import Segment, Transcript, Word

WORDS = [
    "a",
    "Well,",
    "3",
    "12",
    "is.",
    "R&D",
    "<b>",
    "&lt;",
    "{x}",
    "NOTE",
    "STYLE",
    "WEBVTT",
    "Grüße",
    "世界。",
    "🎧",
    "--",
    "-->",
]
WRITERS = pytest.mark.parametrize("write", [srt_format.write, vtt_format.write, tsv.write], ids=["srt", "vtt", "tsv"])


def transcript(*segments, duration=60.0):
    text = " ".join(segment.text for segment in segments)
    return Transcript("f.wav", "m", "numpy", "fp32", "en", None, None, duration, text, text, segments, ())


def written(write, transcripts, **options):
    file = io.StringIO(newline="")
    write(iter(transcripts), file, **options)
    return file.getvalue()


def random_transcript(seed):
    chance = random.Random(seed)
    time, segments = chance.choice([0.0, 3599.2, 400_000.0]), []
    for _ in range(chance.randrange(1, 6)):
        start, words = time, []
        for _ in range(chance.randrange(1, 25)):
            text = chance.choice(WORDS)
            words.append(Word(text, time, time + chance.uniform(0, 0.6)))
            time += chance.uniform(0.01, 1.3)
        segments.append(Segment(" ".join(w.text for w in words), start, time, tuple(words) * chance.randint(0, 1)))
    return transcript(*segments, duration=time)


SECOND = Segment("Wait, R&D <is> at 3 --> 4?", 3661.5, 3663.0)
TALE = transcript(Segment("It was the best of times, it was the worst of times.", 0.5, 3.5), SECOND, duration=4000.0)


def test_srt():
    assert written(srt_format.write, [TALE]) == (
        "1\n00:00:00,500 --> 00:00:03,558\nIt was the best of times,\nit was the worst of times.\n"
        "\n"
        "2\n01:01:01,500 --> 01:01:03,029\nWait, R&D <is> at 3 → 4?\n"
    )


def test_vtt():
    assert written(vtt_format.write, [TALE]) == (
        "WEBVTT\n"
        "\n"
        "00:00:00.500 --> 00:00:03.558\nIt was the best of times,\nit was the worst of times.\n"
        "\n"
        "01:01:01.500 --> 01:01:03.029\nWait, R&amp;D &lt;is&gt; at 3 --&gt; 4?\n"
    )


def test_tsv():
    given = transcript(Segment("one\ttwo\r\nthree\u2028", 0.0, 1.2346), Segment('"quoted"', 1.5, 2.0))
    assert written(tsv.write, [given]) == 'start\tend\ttext\n0\t1235\tone two three\n1500\t2000\t"quoted"\n'


@pytest.mark.parametrize(("write", "separator"), [(srt_format.write, ","), (vtt_format.write, ".")])
def test_layout_is_used(write, separator):
    given = transcript(Segment("one two", 0.0, 4.0))
    lines = written(write, [given], layout=Layout(max_words_per_line=1, max_line_count=1)).splitlines()
    assert [line for line in lines if line in ("one", "two")] == ["one", "two"]
    assert f"00:00:02{separator}000 --> 00:00:04{separator}000" in lines


@WRITERS
def test_nothing_said(write):
    empty = {srt_format.write: "", vtt_format.write: "WEBVTT\n", tsv.write: "start\tend\ttext\n"}[write]
    assert written(write, [transcript()]) == empty


@WRITERS
def test_text_without_segments(write):
    given = attrs.evolve(transcript(duration=2.0), text="hello")
    assert "hello" in written(write, [given])


@WRITERS
def test_one_recording_a_file(write):
    assert written(write, []) == ""
    with pytest.raises(UsageError, match="holds one recording, found 2; use --output-dir"):
        written(write, [transcript(), transcript()])


def test_they_are_registered_as_single():
    entries = Plugins(points=[]).registry.entries("format")
    assert [entry.name for entry in entries if entry.single] == ["srt", "tsv", "vtt"]
    assert all(entry.suffix == f".{entry.name}" for entry in entries)


@pytest.mark.parametrize("seed", range(100))
def test_srt_reads_back(seed):
    given = random_transcript(seed)
    found = list(srt.parse(written(srt_format.write, [given])))
    made = cues(given)
    assert [subtitle.index for subtitle in found] == list(range(1, len(made) + 1))
    assert [(subtitle.start, subtitle.end) for subtitle in found] == [
        (timedelta(milliseconds=cue.start), timedelta(milliseconds=cue.end)) for cue in made
    ]
    assert [subtitle.content for subtitle in found] == ["\n".join(cue.lines).replace("-->", "→") for cue in made]


@pytest.mark.parametrize("seed", range(100))
def test_vtt_reads_back(seed):
    given = random_transcript(seed)
    found = webvtt.from_string(written(vtt_format.write, [given]))
    made = cues(given)
    assert [(c.start, c.end) for c in found] == [(timestamp(cue.start, "."), timestamp(cue.end, ".")) for cue in made]
    assert [html.unescape(caption.raw_text) for caption in found] == ["\n".join(cue.lines) for cue in made]
