"""``asrkit run`` and ``convert`` with a model that spells."""

from __future__ import annotations

import json

import attrs
import pytest

from asrkit.values import Notice

ASSUMED = "asrkit: warning: assumed en\n"


def run(call, *args):
    return call("run", "-m", "speller", "--backend", "numpy", *args)


def test_text(call, model, recording):
    assert run(call, recording("hello")) == (0, "hello\n", ASSUMED)
    assert run(call, recording("one"), recording("two"), "-l", "en") == (0, "one\ntwo\n", "")


def test_warnings(call, model, recording, monkeypatch, family):
    read = family.Plain.read

    def doubtful(self, hypothesis, clock, options):
        return attrs.evolve(read(self, hypothesis, clock, options), notices=(Notice("doubt", "sounds odd"),))

    monkeypatch.setattr(family.Plain, "read", doubtful)
    one, two = recording("one"), recording("two")
    code, out, err = run(call, one, two)
    assert (code, out) == (0, "one\ntwo\n")
    # What holds for the whole run is said once, the rest for every recording.
    doubts = [f"asrkit: warning: {path}: sounds odd" for path in (one, two)]
    assert sorted(err.splitlines()) == sorted([ASSUMED.strip(), *doubts])


def test_output_that_cannot_be_written(call, model, recording, tmp_path):
    (tmp_path / "file").write_text("")
    code, out, err = run(call, recording("one"), "-l", "en", "--output-dir", tmp_path / "file" / "texts")
    assert (code, out) == (1, "")
    assert err == f"asrkit: error: {tmp_path / 'file' / 'texts'}: Not a directory\n"


def test_nothing_is_left_half_written(call, install, family, model, recording, tmp_path):
    def broken(transcripts, file):
        file.write("half")
        raise OSError(28, "No space left on device")

    spec = family.spec("speller", str(model))
    install(
        fake={
            "register_models": lambda register: register(spec),
            "register_formats": lambda register: register("broken", broken, ".txt"),
        }
    )
    folder = tmp_path / "texts"
    result = run(call, recording("one"), "-l", "en", "--output-dir", folder, "--format", "broken")
    assert result == (1, "", f"asrkit: error: {folder / 'one.txt'}: cannot be written: No space left on device\n")
    assert list(folder.iterdir()) == []


def test_convert(call, model, recording, tmp_path):
    folder = tmp_path / "folder"
    assert call("convert", model, folder) == (0, "", f"asrkit: wrote {folder}\n")
    assert call("run", "-m", folder, "--backend", "numpy", "-l", "en", recording("one")) == (0, "one\n", "")
    refused = f"asrkit: error: {folder} holds a checkpoint already; --overwrite replaces it and everything in it\n"
    assert call("convert", model, folder) == (2, "", refused)
    assert call("convert", model, folder, "--overwrite")[0] == 0


def test_a_bad_recording_does_not_stop_the_others(call, model, recording):
    code, out, err = run(call, recording("one"), "no.wav", recording("two"), "-l", "en")
    assert (code, out, err) == (1, "one\ntwo\n", "asrkit: error: no.wav: there is no such file\n")


@pytest.mark.parametrize("tokens", [False, True])
def test_json(call, model, recording, tokens):
    args = (recording("ab"), "no.wav", recording("c"), "-l", "de", "--format", "json", *["--tokens"] * tokens)
    code, out, err = run(call, *args)
    assert (code, err) == (1, "asrkit: error: no.wav: there is no such file\n")
    first, second = json.loads(out)
    assert (first["text"], second["text"], first["language"]) == ("ab", "c", "de")
    assert first.get("tokens") == ([1, 2] if tokens else None)


def test_json_of_failures_is_an_array_too(call, model):
    assert run(call, "no.wav", "-l", "en", "--format", "json")[:2] == (1, "[]\n")


def test_output_dir(call, model, recording, tmp_path):
    folder = tmp_path / "new" / "texts"
    result = run(call, recording("one"), "no.wav", recording("two"), "-l", "en", "--output-dir", folder, "-q")
    assert result == (1, "", "asrkit: error: no.wav: there is no such file\n")
    assert {path.name: path.read_text() for path in folder.glob("*.txt")} == {"one.txt": "one\n", "two.txt": "two\n"}


def test_verbose_goes_to_stderr(call, model, recording):
    code, out, err = run(call, recording("hello"), "-l", "en", "-v")
    assert (code, out) == (0, "hello\n")
    assert "loaded speller for numpy on cpu in fp32" in err
    assert "0.5 s of audio in" in err


def test_by_path_and_in_batches(call, model, recording):
    files = [recording(text) for text in ("one", "two", "three")]
    result = call("run", "-m", model, "--backend", "numpy", "--batch-size", "2", "-l", "en", *files)
    assert result == (0, "one\ntwo\nthree\n", "")


def test_a_file_that_cannot_be_written_does_not_stop_the_others(call, model, recording, tmp_path):
    folder = tmp_path / "texts"
    (folder / "two.txt").mkdir(parents=True)
    result = run(call, *map(recording, ("one", "two", "three")), "-l", "en", "--output-dir", folder, "-q")
    assert result == (1, "", f"asrkit: error: {folder / 'two.txt'} exists and is no file: kept; move it away\n")
    assert sorted(path.name for path in folder.glob("*.txt")) == ["one.txt", "three.txt", "two.txt"]
    assert (folder / "one.txt").read_text() == "one\n"
    assert (folder / "three.txt").read_text() == "three\n"


@pytest.mark.parametrize("asked", [("--strategy", "attention-beam", "-o", "n_best=2"), ("-o", "confidence=yes")])
@pytest.mark.parametrize(("format_name", "told"), [("txt", 1), ("json", 0), ("jsonl", 0)])
def test_formats_without_a_place_for_hypotheses_say_so(call, model, recording, asked, format_name, told):
    code, out, err = run(call, recording("one"), recording("two"), "-l", "en", *asked, "--format", format_name)
    warning = "asrkit: warning: alternatives and confidences are in json and jsonl, and not in txt\n"
    assert (code, err) == (0, warning * told)
    assert ("alternatives" in out or "confidence" in out) == (not told)
