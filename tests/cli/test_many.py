"""``asrkit run`` with many recordings: where they come from, where their texts go, and what a second call does."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from asrkit.values import Recording

TOLD = "asrkit: {} recordings done; their texts are in {}\n"


@pytest.fixture
def run(call, model):
    return lambda *args: call("run", "-m", "speller", "--backend", "numpy", "-l", "en", *args)


@pytest.fixture
def talks(tmp_path, recording, monkeypatch):
    """A folder of recordings, one of them deeper, and two of one name."""
    (tmp_path / "talks/deep").mkdir(parents=True)
    for name in ("talks/two", "talks/one", "talks/deep/one"):
        recording(name.rpartition("/")[2] if "deep" not in name else "deep", name)
    soundfile.write(tmp_path / "talks/one.flac", soundfile.read(tmp_path / "talks/two.wav")[0], 1000)
    (tmp_path / "talks/notes.txt").write_text("no recording")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "talks"


def texts(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*.txt")}


def test_a_folder(run, talks):
    assert run("talks") == (0, "two\none\ntwo\n", "")
    assert run("talks", "--recursive")[1].split() == ["two", "one", "two", "deep"]


def test_outputs_are_named_after_their_recordings(run, talks, tmp_path):
    assert run("talks", "-r", "--output-dir", "out") == (0, "", TOLD.format(4, "out"))
    expected = {"one.flac.txt": "two\n", "one.wav.txt": "one\n", "two.txt": "two\n", "deep/one.txt": "deep\n"}
    assert texts(tmp_path / "out") == expected


def test_a_list_and_a_manifest(run, talks, tmp_path, monkeypatch):
    (tmp_path / "list.txt").write_text("talks/two.wav\n\ntalks/deep/one.wav\n")
    assert run("--files-from", "list.txt") == (0, "two\ndeep\n", "")
    rows = [
        {"audio_filepath": "talks/two.wav", "offset": 0.1, "duration": 0.1, "text": "ignored"},
        {"audio_filepath": "talks/two.wav", "source_lang": "de"},
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, _ = run("--manifest", "rows.jsonl", "--format", "jsonl")
    assert code == 0
    found = [json.loads(line) for line in out.splitlines()]
    assert [(one["text"], one["language"], one["duration"]) for one in found] == [("w", "en", 0.1), ("two", "de", 0.3)]


def stdin(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content), isatty=lambda: False))


def test_standard_input_is_a_recording_or_a_list(run, talks, monkeypatch, tmp_path):
    stdin(monkeypatch, (talks / "two.wav").read_bytes())
    assert run("-") == (0, "two\n", "")
    stdin(monkeypatch, b"talks/one.wav\0talks/two.wav\0")
    assert run("--files-from", "-") == (0, "one\ntwo\n", "")
    stdin(monkeypatch, (talks / "one.wav").read_bytes())
    assert run("-", "--output-dir", "out") == (0, "", "")
    assert texts(tmp_path / "out") == {"stdin.txt": "one\n"}
    stdin(monkeypatch, b"")
    code, _, err = run("-")
    assert code == 1
    assert err.startswith("asrkit: error: <file>: cannot be read as audio: ") or err.startswith(
        "asrkit: error: <stdin>"
    )


def test_a_channel(run, tmp_path, family):
    both = np.stack([family.spell("abc"), family.spell("xyz")], axis=1)
    soundfile.write(tmp_path / "both.wav", both, family.RATE, subtype="FLOAT")
    assert run(tmp_path / "both.wav", "--channel", "2") == (0, "xyz\n", "")
    code, _, err = run(tmp_path / "both.wav", "--channel", "3")
    assert (code, err.count("\n")) == (1, 1)
    assert "channel 3 was asked for, there are 2 channels" in err


def test_a_second_call_does_what_is_left(run, talks, recording, tmp_path):
    assert run("talks", "--output-dir", "out")[0] == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.txt")}
    recording("new", "talks/new")
    (tmp_path / "out/two.txt").unlink()
    assert run("talks", "--output-dir", "out") == (
        *(0, ""),
        "asrkit: 2 of 4 recordings were done before\n" + TOLD.format(2, "out"),
    )
    assert {name: text for name, text in texts(tmp_path / "out").items() if name in ("new.txt", "two.txt")} == {
        "new.txt": "new\n",
        "two.txt": "two\n",
    }
    assert all(path.stat().st_mtime_ns == time for path, time in before.items() if path.name != "two.txt")
    assert run("talks", "--output-dir", "out") == (0, "", "asrkit: 4 of 4 recordings were done before\n")


def test_what_exists_is_kept_unless_it_is_to_be_overwritten(run, recording, tmp_path):
    files = [recording("one"), recording("two")]
    out = tmp_path / "out"
    out.mkdir()
    (out / "one.txt").write_text("mine")
    kept = f"asrkit: error: {out / 'one.txt'} exists and was not made by this command: kept; --overwrite replaces it\n"
    assert run(*files, "--output-dir", out) == (1, "", kept + TOLD.format(1, out))
    assert texts(out) == {"one.txt": "mine", "two.txt": "two\n"}
    assert run(*files, "--output-dir", out, "--overwrite") == (0, "", TOLD.format(2, out))
    assert texts(out) == {"one.txt": "one\n", "two.txt": "two\n"}
    code, _, err = run(*files, "--output-dir", out, "-o", "limit=1")
    assert code == 1
    assert err.count("made with other arguments (limit was not given, is 1): kept; --overwrite replaces it") == 2
    assert texts(out) == {"one.txt": "one\n", "two.txt": "two\n"}


def test_another_model_in_the_same_place_is_another_argument(call, model, recording, tmp_path):
    args = ("run", "-m", model, "--backend", "numpy", "-l", "en", recording("one"), "--output-dir", tmp_path / "out")
    assert call(*args)[0] == 0
    os.utime(model, (1, 1))
    code, _, err = call(*args)
    assert code == 1
    assert "made with other arguments (model_file was" in err


def test_every_format_at_once(run, recording, tmp_path):
    out = tmp_path / "out"
    args = ("--format", "all", "--tokens", "--output-dir", out)
    assert run(recording("one"), recording("two"), *args) == (0, "", TOLD.format(2, out))
    names = {path.name for path in out.iterdir()} - {".asrkit.jsonl"}
    assert names == {f"{stem}.{suffix}" for stem in ("one", "two") for suffix in ("txt", "json", "srt", "vtt", "tsv")}
    assert json.loads((out / "one.json").read_text())[0]["tokens"]
    assert "00:00:00,000 --> " in (out / "one.srt").read_text()


@pytest.mark.parametrize("args", [("--format", "srt"), ("--format", "vtt", "--max-line-width", "20")])
def test_a_subtitle_file_holds_one_recording(run, recording, args):
    code, out, err = run(recording("one"), recording("two"), *args)
    assert (code, out) == (2, "")
    assert err == f"asrkit: error: a file of format {args[1]!r} holds one recording, found 2; use --output-dir\n"
    assert run(recording("one"), *args)[0] == 0


def test_lines_of_subtitles_have_no_place_in_a_text(run, recording):
    code, _, err = run(recording("one"), "--max-line-width", "20")
    assert (code, err) == (2, "asrkit: error: format 'txt' has no place for lines of subtitles; use srt or vtt\n")


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send itself Ctrl-C there")
def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(run, talks, tmp_path, monkeypatch):
    made = []

    def recording(self):
        made.append(self.name)
        if len(made) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return Recording(self.source)

    with monkeypatch.context() as patch:
        patch.setattr("asrkit.inputs.Input.recording", recording)
        code, _, err = run("talks", "-r", "--output-dir", "out", "--batch-size", "1")
    assert code == 130
    assert err.splitlines() == [
        "asrkit: finishing the current batch; Ctrl-C again stops at once",
        "asrkit: stopped: 1 of 4 recordings are done; the same command goes on",
    ]
    assert len(texts(tmp_path / "out")) == 1
    assert run("talks", "-r", "--output-dir", "out", "-q") == (0, "", "")
    assert len(texts(tmp_path / "out")) == 4


def test_progress_goes_to_stderr_where_it_was_asked_for(run, talks):
    code, out, err = run("talks", "-v")
    assert (code, out) == (0, "two\none\ntwo\n")
    assert "asrkit: 3/3 files" in err
    assert "3/3" not in run("talks")[2]
    assert run("talks", "-q") == (0, "two\none\ntwo\n", "")


def test_what_a_decoder_prints_by_itself_is_not_shown(tmp_path, family, model):
    """In a process of its own: it writes past Python, to the file descriptor."""
    noise = np.random.default_rng(0).normal(0, 0.1, 32000)
    soundfile.write(tmp_path / "cut.mp3", noise, 16000)
    data = (tmp_path / "cut.mp3").read_bytes()
    (tmp_path / "cut.mp3").write_bytes(data[: len(data) * 6 // 10])
    code = "\n".join(
        [
            "import sys, os",
            "from asrkit.cli import main, noise",
            "from asrkit.audio import load",
            "def command(*args):",
            "    with noise.without_noise():",
            "        os.write(2, b'from C')",
            "        print('kept', file=sys.stderr)",
            "        load(sys.argv[1], 16000)",
            "command()",
            "print('after', file=sys.stderr)",
            "os.write(2, b'at the end')",
        ]
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "cut.mp3"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "kept\nafter\nat the end")
