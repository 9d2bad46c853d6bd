"""``asrkit eval`` with a model that spells."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs/guides/evaluation.md"


@pytest.fixture
def manifest(recording, tmp_path):
    """Three recordings: one that is right, one with a wrong letter, and one in which nothing is to be said."""
    path = tmp_path / "manifest.jsonl"

    def write(*extra):
        rows = [("one", "one", "en"), ("cat", "bat", "en"), ("uh", "", "de")]
        lines = [{"audio_filepath": recording(said).name, "text": text, "lang": lang} for said, text, lang in rows]
        path.write_text("".join(json.dumps(one) + "\n" for one in [*lines, *extra]), "utf-8")
        return path

    return write


@pytest.fixture
def evaluate(call, model):
    return lambda *args: call("eval", "-m", "speller", "--backend", "numpy", *args)


def documented_keys(heading):
    section = re.search(
        rf"^### {heading}\n(.*?)(?=^##|\Z)", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert section, f"no heading '### {heading}'"
    return re.findall(r"^\| `([\w-]+)`", section[1], re.MULTILINE)


def test_json(evaluate, manifest, model):
    code, out, err = evaluate(manifest(), "--format", "json", "--batch-size", "2", "-o", "limit=9", "--worst", "1")
    # The family's dialect has an option of that name, but the command has a flag for its own.
    assert (code, out) == (2, "")
    assert err == "asrkit: error: 'limit' is not set with -o but with --limit\n"
    code, out, err = evaluate(manifest(), "--format", "json", "--batch-size", "2", "--worst", "1")
    assert (code, err) == (0, "asrkit: en: 2 recordings\nasrkit: de: 1 recordings\n")
    report = json.loads(out)
    assert documented_keys("Report") == list(report)
    for figures in report["languages"]:
        assert documented_keys("Figures") == list(figures)
    assert documented_keys("Figures")[2:] == list(report["overall"])
    (worst,) = report["worst"]
    assert documented_keys("Clip") == list(worst)
    assert report["overall"]["wer"] == 0.5
    assert report["weights"]["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert (report["backend"], report["precision"], report["options"]) == (
        "numpy",
        "fp32",
        {"batch_size": 2, "guards": "on"},
    )


def test_table(evaluate, manifest):
    code, out, _ = evaluate(manifest())
    assert code == 0
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in out.splitlines() if line.startswith("|")]
    assert [row[0] for row in rows[2:]] == ["en", "de", "all"]
    assert rows[2][1:3] == ["2", "50.00 %"]
    assert rows[2][4] == "16.67 %"
    assert rows[2][6:9] == ["1 of 2", "0 of 0", "0"]
    assert rows[3][1:9] == ["0", "-", "-", "-", "-", "0 of 0", "0 of 1", "0"]
    assert "cat.wav: 1 word errors, 1 of characters\n  reference:  bat\n  hypothesis: cat" in out


def test_a_recording_that_fails(evaluate, manifest, tmp_path):
    code, out, err = evaluate(manifest({"audio_filepath": "no.wav", "text": "x", "lang": "de"}), "--format", "json")
    assert code == 1
    assert f"asrkit: error: {tmp_path / 'no.wav'}: there is no such file\n" in err
    report = json.loads(out)
    assert [(one["line"], one["file"]) for one in report["failures"]] == [(4, str(tmp_path / "no.wav"))]
    assert (report["overall"]["failed"], report["overall"]["clips"]) == (1, 2)


def test_parts_of_a_recording(evaluate, recording, tmp_path):
    name = recording("onetwo").name
    lines = [{"text": "one", "offset": 0, "duration": 0.3}, {"text": "two", "offset": 0.3}, {"text": "onetwo"}]
    path = tmp_path / "parts.jsonl"
    path.write_text(
        "".join(json.dumps({"audio_filepath": name, "lang": "en"} | line) + "\n" for line in lines), "utf-8"
    )
    code, out, err = evaluate(path, "--format", "json", "--batch-size", "3")
    assert code == 0, err
    assert "warning" not in err
    report = json.loads(out)
    assert (report["overall"]["exact"], report["overall"]["audio_seconds"]) == (3, 1.2)


def test_limit_and_normalizer(evaluate, manifest):
    report = json.loads(evaluate(manifest(), "--limit", "1", "--normalizer", "whisper", "--format", "json")[1])
    assert (report["overall"]["clips"], report["overall"]["wer"], report["normalizer"]) == (1, 0.0, "whisper")
    assert "whisper-normalizer" in report["versions"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--target-language", "de"), "manifest.jsonl, line 1: has no reference in 'de', its languages: en; add"),
        (("--language", "xx"), "manifest.jsonl, line 1: no language 'xx'; there is: de, en"),
        (("--pnc",), "has no option 'pnc'"),
        (("-o", "pnc=yes", "--pnc"), "option 'pnc' is given twice"),
        (("-o", "channel=1"), "'channel' is asked for with `asrkit run --channel`"),
        (("-o", "language=de"), "'language' is not set with -o but with --language"),
        (("--precision", "fp99"), "backend 'numpy' has no precision 'fp99'"),
    ],
)
def test_wrong_calls(evaluate, manifest, args, message):
    code, out, err = evaluate(manifest(), *args)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_broken_manifest(evaluate, manifest, tmp_path):
    path = manifest({"text": "x"})
    expected = f'asrkit: error: {path}, line 4: has no "audio_filepath"; add the path of the recording\n'
    assert evaluate(path) == (2, "", expected)
    code, _, err = evaluate(tmp_path / "no.jsonl")
    assert (code, err.count("\n")) == (2, 1)
    code, _, err = evaluate(tmp_path)
    assert (code, err) == (
        2,
        f"asrkit: error: {tmp_path}: cannot be read (Is a directory); give a manifest, one JSON object a line\n",
    )


def test_missing_package(evaluate, manifest, monkeypatch):
    monkeypatch.setitem(sys.modules, "jiwer", None)
    expected = "asrkit: error: evaluation needs the package jiwer: pip install jiwer whisper-normalizer\n"
    assert evaluate(manifest()) == (2, "", expected)


def test_help_is_light():
    script = (
        "import sys\nfrom asrkit.cli import main\n"
        "try:\n    main(['eval', '--help'])\nexcept SystemExit:\n    pass\n"
        "assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("timestamps=word", "'timestamps' is asked for with `asrkit run --timestamps`; here only the text counts"),
        ("progress=1", "'progress' is a function, in Python only"),
    ],
)
def test_what_an_evaluation_has_no_use_for(evaluate, manifest, given, message):
    assert evaluate(manifest(), "-o", given) == (2, "", f"asrkit: error: {message}\n")
