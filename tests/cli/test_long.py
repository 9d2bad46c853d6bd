"""``asrkit run`` on recordings that are cut."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def run(call, model, recording):
    path = recording("abcdefghijklmnopqrst" * 2)
    return lambda *args: call("run", "-m", "speller", "--backend", "numpy", "-l", "en", path, *args)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["--timestamps", "none", "--format", "srt"],
            "--timestamps none leaves nothing for format 'srt', which is made of times",
        ),
        (["--timestamps", "word"], "nobody knows when a letter is spoken"),
        (
            ["--segmenter", "pause"],
            "there is no segmenter 'pause' (did you mean 'pauses'?); there is: fixed, pauses, whole",
        ),
        (
            ["--vad", "energy"],
            "model 'speller' with strategy 'greedy' and segmenter 'whole' has no option 'vad'; it has: "
            "confidence, confidence_measure, language, limit",
        ),
        (["--segmenter", "pauses", "--max-segment", "0.1"], "max_segment is a number of seconds from 1 on, found 0.1"),
        (["--segmenter", "fixed", "--overlap", "-1"], "overlap is a number of seconds from 0 on, found -1"),
        (["--vad", "energy", "-o", "vad=none"], "option 'vad' is given twice: as a flag and with -o"),
        (["-o", "guards=off"], "'guards' is not set with -o but with --guards"),
        (["-o", "timestamps=word"], "'timestamps' is not set with -o but with --timestamps"),
    ],
)
def test_wrong_wishes_are_one_line(run, args, message):
    assert run(*args) == (2, "", f"asrkit: error: {message}\n")


@pytest.mark.parametrize("value", ["0", "-1", "many", "2.5", "٣x"])
def test_batch_sizes_that_cannot_be(run, value):
    code, out, err = run("--batch-size", value)
    assert (code, out) == (2, "")
    assert f"Invalid value for '--batch-size': {value!r} is not auto or a whole number from 1 on." in err


@pytest.mark.parametrize("batch", ["auto", "1", "3"])
def test_windows(run, batch):
    code, out, err = run("--segmenter", "fixed", "--max-segment", "1", "--overlap", "0.3", "--batch-size", batch)
    assert (code, err) == (0, "")
    assert out.startswith("abcdefg")
    assert run("--segmenter", "fixed", "--max-segment", "1", "--overlap", "0.3") == (code, out, err)


def test_guards_can_be_turned_off(run):
    code, out, err = run("-o", "limit=9", "--guards", "off")
    assert (code, out, err) == (0, "abcdefghi\n", "")
    code, out, err = run("-o", "limit=9")
    assert code == 0
    assert out.startswith("abcdefghi stabcdef")
    assert err.endswith("the text did not end; it was decoded again in halves, which did not help everywhere\n")


def test_no_times(run):
    assert json.loads(run("--format", "json", "--timestamps", "none")[1])[0]["segments"] == []
    assert json.loads(run("--format", "json")[1])[0]["segments"] != []


def test_what_was_asked_is_remembered(run, tmp_path):
    folder = tmp_path / "texts"
    assert run("--output-dir", folder)[0] == 0
    code, _, err = run("--output-dir", folder, "--guards", "off")
    assert code == 1
    assert "was made with other arguments (guards was on, is off): kept" in err
