"""``asrkit run`` and its neighbours as a user types them."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from asrkit.cli import main
from asrkit.plugins import registry
from asrkit_canary.random_checkpoint import write_random_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    write_random_checkpoint(folder / "model.nemo")
    rng = np.random.default_rng(0)
    for name, seconds in (("one", 1.2), ("two", 2.5), ("three", 0.4)):
        noise = 0.1 * rng.standard_normal(int(seconds * 16000))
        soundfile.write(folder / f"{name}.wav", noise, 16000)
    (folder / "broken.wav").write_text("not audio")
    soundfile.write(folder / "empty.wav", np.zeros(0), 16000)
    return folder


@pytest.fixture
def asrkit(folder, monkeypatch, capsys):
    """Runs the command line in the folder; gives exit code, stdout, stderr."""
    monkeypatch.chdir(folder)

    def run(*args: str) -> tuple[int, str, str]:
        code = 0
        try:
            main(list(args))
        except SystemExit as leave:
            code = int(leave.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_text_goes_to_stdout_and_the_rest_to_stderr(asrkit):
    code, out, err = asrkit("run", "--model", "model.nemo", "--backend", "numpy", "-v", "one.wav")
    assert code == 0
    assert out.count("\n") == 1
    assert "asrkit: loaded model.nemo for numpy on cpu in fp32" in err
    assert "asrkit: warning: no language was given, 'en' was assumed; the model knows: de, en, es, fr" in err
    assert "one.wav: 1.2 s of audio" in err


def test_json_has_the_documented_keys(asrkit):
    code, out, _ = asrkit("run", "--model", "model.nemo", "--format", "json", "--tokens", "one.wav", "two.wav")
    assert code == 0
    results = json.loads(out)
    assert [result["file"] for result in results] == ["one.wav", "two.wav"]
    assert list(results[0]) == [
        *("file", "model", "backend", "precision", "revision", "language", "target_language", "task", "duration"),
        *("text", "raw_text", "segments", "warnings", "timing", "tokens"),
    ]
    assert results[0]["duration"] == 1.2
    assert results[0]["task"] == "transcribe"


def test_json_is_an_array_and_jsonl_is_lines(asrkit):
    assert isinstance(json.loads(asrkit("run", "-m", "model.nemo", "--format", "json", "one.wav")[1]), list)
    code, out, _ = asrkit("run", "-m", "model.nemo", "--format", "json", "missing.wav")
    assert (code, json.loads(out)) == (1, [])
    lines = asrkit("run", "-m", "model.nemo", "--format", "jsonl", "one.wav", "two.wav")[1].splitlines()
    assert [json.loads(line)["file"] for line in lines] == ["one.wav", "two.wav"]


def test_batches_and_backends_and_converted_folders_agree(asrkit, folder):
    plain = ["run", "--language", "de", "--format", "jsonl", "--tokens", "one.wav", "two.wav", "three.wav"]
    tokens = [json.loads(line)["tokens"] for line in asrkit(*plain, "-m", "model.nemo")[1].splitlines()]
    assert any(tokens)
    assert asrkit("convert", "model.nemo", "converted")[0] == 0
    ways = [["-m", "model.nemo", "--batch-size", "3"], ["-m", "converted", "--backend", "numpy"]]
    if "cannot run" not in next(line for line in asrkit("backends")[1].splitlines() if line.startswith("mlx")):
        ways.append(["-m", "model.nemo", "--backend", "mlx"])
    for way in ways:
        found = [json.loads(line)["tokens"] for line in asrkit(*plain, *way)[1].splitlines()]
        assert found == tokens, way


def test_one_bad_file_does_not_stop_the_others(asrkit):
    args = ("run", "-m", "model.nemo", "-l", "en", "one.wav", "broken.wav", "missing.wav", "empty.wav", "two.wav")
    for extra in ((), ("--batch-size", "4")):
        code, out, err = asrkit(*args, *extra)
        assert code == 1
        assert out.count("\n") == 2
        # Where there is an ffmpeg, it is asked as well.
        lines = [line.partition("; and by ffmpeg")[0] for line in err.splitlines()]
        errors = [line for line in lines if line.startswith("asrkit: error")]
        assert errors == [
            "asrkit: error: broken.wav: cannot be read as audio: Format not recognised",
            "asrkit: error: missing.wav: there is no such file",
            "asrkit: error: empty.wav: holds no samples",
        ]


def test_output_dir_gets_one_file_a_recording(asrkit, folder):
    code, out, _ = asrkit("run", "-m", "model.nemo", "-l", "en", "--output-dir", "texts", "one.wav", "two.wav")
    assert (code, out) == (0, "")
    assert sorted(path.name for path in (folder / "texts").glob("*.txt")) == ["one.txt", "two.txt"]


LANGUAGES = "de, en, es, fr"
INSTALLED = ", ".join(registry().names("backend"))
STRATEGIES = ", ".join(registry().names("strategy"))
FORMATS = ", ".join(registry().names("format"))


@pytest.mark.parametrize(
    ("code", "args", "message"),
    [
        (2, ["-l", "it"], f"the model has no language 'it'; it has: {LANGUAGES}"),
        (2, ["-l", "en", "--target-language", "it"], f"the model has no target language 'it'; it has: {LANGUAGES}"),
        (2, ["-l", "en", "--task", "translate"], "task 'translate' needs a target language"),
        (
            2,
            ["-l", "en", "--target-language", "de", "--task", "transcribe"],
            "task 'transcribe' contradicts language 'en' with target language 'de'",
        ),
        (
            2,
            ["-l", "en", "--target-language", "en", "--task", "translate"],
            "task 'translate' contradicts language 'en' with target language 'en'",
        ),
        (
            2,
            ["-o", "beem=3"],
            "model 'model.nemo' with strategy 'greedy' and segmenter 'pauses' has no option 'beem'; it has: "
            "confidence, confidence_measure, context, diarize, emotion, frontend, itn, language, max_segment, overlap "
            "and 6 more",
        ),
        (2, ["-o", "pnc"], "-o takes NAME=VALUE, found 'pnc'"),
        (2, ["-o", "itn=maybe"], "the model: option 'itn' takes yes or no, not 'maybe'"),
        (2, ["--pnc", "-o", "pnc=no"], "option 'pnc' is given twice: as a flag and with -o"),
        (2, ["-o", "itn=yes", "-o", "itn=no"], "option 'itn' is given twice"),
        (2, ["-o", "emotion=jolly"], "the model's vocabulary has no token '<|emo:jolly|>', which this needs"),
        (2, ["-o", "frontend=old"], "model 'model.nemo': option 'frontend' is nemo-2.5 or nemo-2.4, not 'old'"),
        (2, ["-o", "batch_size=2"], "'batch_size' is not set with -o but with --batch-size"),
        (2, ["--tokens"], "format 'txt' has no place for --tokens; use json or jsonl"),
        (
            2,
            ["--precision", "bf16", "--backend", "numpy"],
            "backend 'numpy' has no precision 'bf16'; it has: fp32, int8, int4",
        ),
        (2, ["--backend", "numpi"], f"there is no backend 'numpi' (did you mean 'numpy'?); there is: {INSTALLED}"),
        (
            2,
            ["--strategy", "greedyy"],
            f"there is no strategy 'greedyy' (did you mean 'greedy'?); there is: {STRATEGIES}",
        ),
        (2, ["--format", "xml"], f"there is no format 'xml'; there is: {FORMATS}"),
    ],
)
def test_wrong_wishes_are_one_line(asrkit, code, args, message):
    found, out, err = asrkit("run", "-m", "model.nemo", "one.wav", *args)
    assert (found, out) == (code, "")
    assert err == f"asrkit: error: {message}\n"


@pytest.mark.parametrize(
    ("exit_code", "name", "content", "message"),
    [
        (1, "gone.nemo", None, "gone.nemo: there is no such file or folder"),
        (2, "canary-180m-flesh", None, "there is no model 'canary-180m-flesh' (did you mean 'canary-180m-flash'?)"),
        (
            1,
            "canary-180m-flash",
            None,
            "canary-180m-flash: canary-180m-flash.nemo of nvidia/canary-180m-flash is not in the cache ",
        ),
        (1, "text.nemo", b"hello", "'text.nemo' is not a tar archive: it begins with b'hello'"),
        (1, "empty.nemo", b"", "'empty.nemo' is empty: download or copy it again"),
    ],
)
def test_wrong_models_are_one_line(asrkit, folder, exit_code, name, content, message):
    if content is not None:
        (folder / name).write_bytes(content)
    code, out, err = asrkit("run", "-m", name, "one.wav")
    assert (code, out) == (exit_code, "")
    assert err.startswith(f"asrkit: error: {message}")
    assert err.count("\n") == 1


def test_cut_checkpoints_are_one_line(asrkit, folder):
    data = (folder / "model.nemo").read_bytes()
    for size in (100, 5000, len(data) // 2, len(data) - 2000):
        (folder / "cut.nemo").write_bytes(data[:size])
        code, out, err = asrkit("run", "-m", "cut.nemo", "one.wav")
        assert (code, out, err.count("\n")) == (1, "", 1), err


def test_a_context_without_room_fails_for_its_recording_alone(asrkit):
    context = "context=" + "the " * 240
    args = ("run", "-m", "model.nemo", "-l", "en", "-o", context, "--format", "json", "one.wav", "two.wav")
    code, out, err = asrkit(*args)
    assert (code, json.loads(out)) == (1, [])
    assert err.count("leaves no room for text") == 2
    assert err.count("\n") == 2


def test_a_long_recording_is_warned_about(asrkit, folder):
    soundfile.write(folder / "long.wav", np.zeros(41 * 16000), 16000)
    code, _, err = asrkit("run", "-m", "model.nemo", "-l", "en", "--segmenter", "whole", "--guards", "off", "long.wav")
    assert code == 0
    assert "warning: long.wav: 41 s were decoded in one piece, more than the 40 s the model is meant for" in err


def test_a_recording_is_never_overwritten(asrkit, folder):
    content = (folder / "one.wav").read_bytes()
    (folder / "take.txt").write_bytes(content)
    code, out, err = asrkit("run", "-m", "model.nemo", "-l", "en", "--output-dir", ".", "take.txt")
    assert (code, out) == (2, "")
    assert err == "asrkit: error: take.txt would be written over a recording; use another --output-dir\n"
    assert (folder / "take.txt").read_bytes() == content


@pytest.mark.parametrize("context", ["context=\udcff", "context=a\ud800"])
def test_a_context_that_is_no_text(asrkit, context):
    code, _, err = asrkit("run", "-m", "model.nemo", "-l", "en", "-o", context, "one.wav")
    assert code == 2
    assert "is not valid Unicode" in err
    assert err.count("\n") == 1


def test_the_name_of_a_published_file_says_what_to_do(asrkit):
    code, _, err = asrkit("run", "-m", "canary-1b-v2.nemo", "one.wav")
    assert code == 1
    assert "canary-1b-v2.nemo: there is no such file or folder; the name 'canary-1b-v2' downloads it" in err


def test_translation_follows_from_the_languages(asrkit):
    args = ("run", "-m", "model.nemo", "-l", "en", "--target-language", "de", "--format", "json", "one.wav")
    result = json.loads(asrkit(*args)[1])[0]
    assert (result["task"], result["language"], result["target_language"]) == ("translate", "en", "de")


def test_show_tells_what_a_checkpoint_holds(asrkit):
    code, out, _ = asrkit("models", "show", "model.nemo")
    assert code == 0
    assert "vocabulary   276" in out
    assert "languages    en, de, es, fr" in out


def test_a_closed_pipe_is_no_traceback(folder):
    command = f"{sys.executable} -m asrkit run -m model.nemo -l en one.wav two.wav | true"
    done = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr
