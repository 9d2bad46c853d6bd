from __future__ import annotations

import io
import json

import pytest

from asrkit.formats import json as json_format
from asrkit.formats import txt
from asrkit.values import Notice, Segment, Timing, Transcript, Word

KEYS = [
    *("file", "model", "backend", "precision", "revision", "language", "target_language", "task", "duration"),
    *("text", "raw_text", "segments", "warnings", "timing"),
]

TIMING = [("load", 0.5), ("audio", 0.0), ("features", 0.0), ("inference", 0.0), ("total", 1.0)]


def transcript(text="Schöne Grüße, 世界 🎧", **changes):
    given = {
        "file": "a b/ö.wav",
        "model": "m",
        "backend": "numpy",
        "precision": "fp32",
        "language": "de",
        "target_language": None,
        "task": "transcribe",
        "duration": 1.25,
        "text": text,
        "raw_text": f" {text}",
        "segments": (Segment(text, 0.0, 1.25, (Word("Schöne", 0.0, 0.5),)), Segment("x", 1.0, 1.2)),
        "tokens": (5, 6),
        "warnings": (Notice("language-assumed", 'assumed "en"'),),
        "timing": Timing(load=0.5, total=1.0),
    }
    return Transcript(**given | changes)


def written(write, transcripts, **options):
    file = io.StringIO()
    write(transcripts, file, **options)
    return file.getvalue()


@pytest.mark.parametrize("tokens", [False, True])
def test_keys_and_values_in_order(tokens):
    (line,) = written(json_format.write_lines, [transcript()], tokens=tokens).splitlines()
    found = json.loads(line)
    assert list(found) == KEYS + ["tokens"] * tokens
    assert found["file"] == "a b/ö.wav"
    assert found["target_language"] is None
    assert found["text"] == "Schöne Grüße, 世界 🎧"
    assert found["raw_text"] == " Schöne Grüße, 世界 🎧"
    assert found["segments"] == [
        {"start": 0, "end": 1.25, "text": found["text"], "words": [{"start": 0, "end": 0.5, "text": "Schöne"}]},
        {"start": 1.0, "end": 1.2, "text": "x"},
    ]
    assert found["warnings"] == [{"code": "language-assumed", "message": 'assumed "en"'}]
    assert list(found["timing"].items()) == TIMING
    assert found.get("tokens") == ([5, 6] if tokens else None)


@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_json_is_always_an_array(count, tokens):
    transcripts = [transcript(f"t{n}") for n in range(count)]
    found = json.loads(written(json_format.write, iter(transcripts), tokens=tokens))
    assert found == [json_format.as_dict(t, tokens) for t in transcripts]
    assert [list(entry) for entry in found] == [KEYS + ["tokens"] * tokens] * count


def test_json_of_nothing():
    assert written(json_format.write, []) == "[]\n"
    assert written(json_format.write_lines, []) == ""


def test_json_has_a_key_a_line():
    lines = written(json_format.write, [transcript(tokens=tuple(range(500)))], tokens=True).splitlines()
    assert len(lines) == len(KEYS) + 1 + 4
    assert lines[0] == "["
    assert lines[-1] == "]"


@pytest.mark.parametrize("text", ["a\nb", "a\u2028b\u2029c\x85d", '"\\', "\x00", ""])
def test_jsonl_is_one_line_for_each(text):
    lines = written(json_format.write_lines, [transcript(text), transcript("second")]).split("\n")
    assert [json.loads(line)["text"] for line in lines[:-1]] == [text, "second"]
    assert lines[-1] == ""


def test_non_ascii_is_written_as_it_is():
    for write in (json_format.write, json_format.write_lines, txt.write):
        assert "Schöne Grüße, 世界 🎧" in written(write, [transcript()])


def test_nan_is_not_json():
    with pytest.raises(ValueError, match="JSON"):
        written(json_format.write_lines, [transcript(duration=float("nan"))])


def test_txt_is_one_line_for_each():
    assert written(txt.write, [transcript("one"), transcript(""), transcript("zwei")]) == "one\n\nzwei\n"


@pytest.mark.parametrize("write", [json_format.write, json_format.write_lines, txt.write])
def test_written_as_they_come(write):
    class File(io.StringIO):
        flushed = 0

        def flush(self):
            self.flushed += 1

    file, seen = File(), []

    def transcripts():
        for n in range(3):
            seen.append((file.flushed, f"t{n - 1}" in file.getvalue()))
            yield transcript(f"t{n}")

    write(transcripts(), file)
    assert seen == [(0, False), (1, True), (2, True)]
