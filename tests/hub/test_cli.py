"""Models of the hub on the command line: run, pull, cache, and what each failure says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asrkit import load_model
from asrkit.cli import main
from asrkit.testing.archives import write_nemo
from asrkit_canary.random_checkpoint import write_random_checkpoint

FIRST, SECOND = "1" * 40, "2" * 40
NAME = "canary-180m-flash"
REPO, FILE = f"nvidia/{NAME}", f"{NAME}.nemo"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_random_checkpoint(tmp_path_factory.mktemp("checkpoint") / "model.nemo").read_bytes()


@pytest.fixture(scope="module")
def converted(tmp_path_factory, checkpoint):
    """The files of a folder that `asrkit convert` wrote."""
    folder = tmp_path_factory.mktemp("converted")
    (folder / "model.nemo").write_bytes(checkpoint)
    main_quietly("convert", str(folder / "model.nemo"), str(folder / "out"))
    out = folder / "out"
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def main_quietly(*args):
    main(list(args))


@pytest.fixture(autouse=True)
def _place(server, checkpoint, tmp_path, monkeypatch):
    server.repos[REPO] = {FIRST: {FILE: checkpoint, "README.md": b"hello"}}
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("ASRKIT_CACHE", str(tmp_path / "asrkit"))
    soundfile.write("talk.wav", 0.1 * np.random.default_rng(0).standard_normal(16000), 16000)


@pytest.fixture
def run(call):
    def run(model, *args):
        return call("run", "-m", model, "-l", "en", "--backend", "numpy", "--format", "json", *args, "talk.wav")

    return run


@pytest.mark.parametrize("name", [NAME, f"{REPO}@v1"])
def test_a_program_of_its_own(server, environment, checkpoint, name):
    """Everything as a user has it: another process, its environment, the real client, no terminal."""
    words = ["run", "-m", name, "-l", "en", "--backend", "numpy", "--format", "json", "talk.wav"]
    told = f"asrkit: downloading {REPO}: {FILE}, {len(checkpoint) / 1000:.0f} kB"
    for expected, offline in (([told], ""), ([], ""), ([], "1")):
        done = subprocess.run(
            [sys.executable, "-m", "asrkit", *words],
            env=os.environ | {"HF_HUB_OFFLINE": offline},
            capture_output=True,
            encoding="utf-8",
            timeout=120,
        )
        lines = [line for line in done.stderr.splitlines() if "may be cut off" not in line]  # what random weights say
        assert (done.returncode, lines) == (0, expected)
        (result,) = json.loads(done.stdout)
        assert (result["model"], result["revision"]) == (name, FIRST)
    assert server.downloads() == [FILE]


def test_a_model_that_nobody_knows_by_name(hub, run, checkpoint):
    hub.repos = {"me/tuned": {FIRST: {"sub/tuned.nemo": checkpoint, "README.md": b""}}}
    for name in ("me/tuned", f"me/tuned@{FIRST}", "hf:me/tuned/sub/tuned.nemo@v1"):
        code, out, err = run(name)
        assert (code, json.loads(out)[0]["model"], json.loads(out)[0]["revision"]) == (0, name, FIRST), err
    assert hub.downloads() == ["tuned.nemo"]


def test_a_known_repository_keeps_what_is_known_about_it(hub, call):
    code, out, err = call("models", "show", REPO)
    assert (code, err) == (0, "")
    assert f"name         {NAME}\n" in out
    assert "in the cache no\n" in out
    path = call("pull", REPO)[1].strip()
    assert f"in the cache {path}\n" in call("models", "show", NAME)[1]
    hub.repos["me/multi"] = hub.repos.pop(REPO)
    message = "me/multi: no installed plugin knows it by name; `asrkit pull me/multi` gives a path to show"
    assert call("models", "show", "me/multi") == (1, "", f"asrkit: error: {message}\n")


def test_a_converted_folder(hub, run, call, converted):
    hub.repos = {"me/folder": {FIRST: converted | {"other/large.bin": b"x" * 1000, "model.onnx": b"y"}}}
    code, out, err = run("me/folder")
    assert (code, json.loads(out)[0]["revision"]) == (0, FIRST), err
    assert {line.partition("/resolve/")[2].partition("/")[2] for line in hub.requests} == {"", *converted}
    assert "me/folder" in call("cache")[1]
    hub.close()
    code, again, err = run("me/folder")
    assert (code, json.loads(again)[0]["text"]) == (0, json.loads(out)[0]["text"])
    assert err.count("what is in the cache is used") == 1


def test_a_folder_of_another_kind_is_refused_before_its_weights_come(hub, run):
    config = json.dumps({"target": "some.Bert"}).encode()
    hub.repos = {"me/bert": {FIRST: {"config.json": config, "model.safetensors": b"x" * 1000}}}
    code, out, err = run("me/bert")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("asrkit: error: me/bert: its configuration names the class 'Bert', which no")
    assert hub.downloads() == ["config.json"]


@pytest.mark.parametrize(
    ("files", "code", "message"),
    [
        (["a.nemo", "b.nemo"], 2, "holds several models; name one of them: hf:me/x/a.nemo@main, hf:me/x/b.nemo@main"),
        (
            ["README.md"],
            1,
            "holds no model that asrkit can read: no .nemo file, and no config.json with model.safetensors",
        ),
    ],
)
def test_a_repository_without_one_model(hub, run, files, code, message):
    hub.repos = {"me/x": {FIRST: dict.fromkeys(files, b"x")}}
    assert run("me/x") == (code, "", f"asrkit: error: me/x: {message}\n")


def test_a_repository_that_is_not_there(hub, run):
    code, out, err = run("nvidia/canary-180m-flesh")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.endswith(f"; there is no file or folder of that name here either (did you mean '{REPO}'?)\n")


@pytest.mark.parametrize("trouble", ["offline", "revision", "gated", "full"])
def test_failures_are_one_line(hub, run, monkeypatch, trouble):
    name = NAME
    if trouble == "offline":
        hub.close()
        part = f"run `asrkit pull {NAME}` where there is a network"
    elif trouble == "revision":
        name = f"{NAME}@v9"
        part = "has no revision 'v9'"
    elif trouble == "gated":
        hub.gated.add(REPO)
        part = f"accept its terms at {hub.url}/{REPO}"
    else:
        monkeypatch.setattr("shutil.disk_usage", lambda path: (1, 1, 1))
        monkeypatch.setattr("asrkit.hub.repository._free", lambda: 1)
        part = "(1 bytes are free)"
    code, out, err = run(name)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"asrkit: error: {name}: ")
    assert part in err


def test_pull_prints_a_path_that_runs(hub, call, run):
    code, out, err = call("pull", f"{NAME}@main")
    assert (code, err.count("\n")) == (0, 1)
    assert Path(out.rstrip("\n")).name == FILE
    assert run(out.rstrip("\n"))[0] == 0
    assert call("pull", NAME) == (0, out, "")
    assert call("pull", "talk.wav")[0] == 1


def test_pull_tells_of_a_damaged_file(hub, call):
    hub.repos[REPO][FIRST][FILE] = b"no model"
    code, out, err = call("pull", NAME)
    assert (code, out) == (1, "")
    assert "is not a tar archive" in err


def test_the_library_is_silent_and_gives_the_commit(hub, capfd):
    model = load_model(NAME, backend="numpy")
    assert model.transcribe("talk.wav", language="en").revision == FIRST
    assert capfd.readouterr() == ("", "")


def test_a_file_of_this_machine_has_no_commit(hub, run, checkpoint):
    Path("model.nemo").write_bytes(checkpoint)
    assert json.loads(run("model.nemo")[1])[0]["revision"] is None
    assert hub.requests == []


def test_convert_and_eval_take_names(hub, call, checkpoint):
    assert call("convert", NAME, "out")[0] == 0
    assert Path("out/model.safetensors").exists()
    row = {"audio_filepath": "talk.wav", "duration": 1.0, "text": "a", "source_lang": "en", "target_lang": "en"}
    Path("manifest.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    code, out, err = call("eval", "-m", NAME, "--backend", "numpy", "--format", "json", "manifest.jsonl")
    assert code == 0, err
    assert Path(json.loads(out)["weights"]["file"]).name == FILE


@pytest.fixture
def filled(hub, call, tmp_path):
    """A cache with a model, somebody else's model, and what asrkit has worked out."""
    hub.repos["you/bert"] = {FIRST: {"config.json": b"{}", "model.safetensors": b"x"}}
    from asrkit.hub.repository import Repository

    for file in hub.repos["you/bert"][FIRST]:
        Repository("you/bert", "main", "bert").fetch(file)
    call("pull", NAME)
    for name, size in (("quantized", 2_000_000), ("onnxruntime", 3000), ("mine", 10)):
        (tmp_path / "asrkit" / name).mkdir(parents=True)
        (tmp_path / "asrkit" / name / "file").write_bytes(bytes(size))


@pytest.mark.usefixtures("filled")
def test_cache_shows_what_asrkit_can_use(call, checkpoint, tmp_path):
    code, out, err = call("cache")
    assert (code, err) == (0, "")
    lines = [re.sub(r"\d{4}-\d\d-\d\d", "DAY", line) for line in out.splitlines()]
    size = f"{len(checkpoint) / 1000:.0f} kB"
    assert lines == [
        f"models of the hub, in {tmp_path / 'home' / 'hub'}",
        f"  {REPO}   {size}  {FIRST}  used DAY",
        f"worked out by asrkit, in {tmp_path / 'asrkit'}",
        f"  {'onnxruntime':<{len(REPO)}}   3.0 kB",
        f"  {'quantized':<{len(REPO)}}   2.0 MB",
        f"  {'total':<{len(REPO)}}   {(len(checkpoint) + 2_003_000) / 1e6:.1f} MB",
    ]
    report = json.loads(call("cache", "--format", "json")[1])
    (model,) = report["hub"]["models"]
    assert (model["repo"], model["commit"], model["size"]) == (REPO, FIRST, len(checkpoint))
    assert [(one["name"], one["size"]) for one in report["asrkit"]["folders"]] == [
        ("onnxruntime", 3000),
        ("quantized", 2_000_000),
    ]
    assert report["size"] == len(checkpoint) + 2_003_000


@pytest.mark.parametrize("name", [NAME, REPO])
@pytest.mark.usefixtures("filled")
def test_cache_rm_of_a_model(call, name, checkpoint, tmp_path):
    code, out, err = call("cache", "rm", name)
    assert (code, out, err) == (0, "", f"asrkit: deleted {REPO}: {len(checkpoint) / 1000:.0f} kB\n")
    assert [path.name for path in (tmp_path / "home/hub").glob("models--*")] == ["models--you--bert"]


@pytest.mark.usefixtures("filled")
def test_cache_rm_of_what_was_worked_out(call, tmp_path):
    code, _, err = call("cache", "rm", "quantized", "onnxruntime")
    assert (code, err.splitlines()[-1]) == (0, "asrkit: freed 2.0 MB")
    assert os.listdir(tmp_path / "asrkit") == ["mine"]
    assert Path(tmp_path / "home/hub" / f"models--{REPO.replace('/', '--')}").exists()


@pytest.mark.usefixtures("filled")
def test_cache_rm_of_all(call, tmp_path, monkeypatch):
    message = "--all asks before it deletes, and nobody can answer here; add --yes"
    assert call("cache", "rm", "--all") == (2, "", f"asrkit: error: {message}\n")
    monkeypatch.setattr("click.confirm", lambda *_, **__: False)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert call("cache", "rm", "--all")[0] == 130
    assert len(call("cache")[1].splitlines()) == 6
    assert call("cache", "rm", "--all", "--yes")[0] == 0
    assert os.listdir(tmp_path / "asrkit") == ["mine"]
    assert [path.name for path in (tmp_path / "home/hub").glob("models--*")] == ["models--you--bert"]
    assert call("cache", "rm", "--all", "--yes") == (0, "", "asrkit: freed 0 bytes\n")


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "name what to delete, or give --all, and not both; `asrkit cache` shows what there is"),
        (
            ["--all", "quantized"],
            "name what to delete, or give --all, and not both; `asrkit cache` shows what there is",
        ),
        (
            ["quantised"],
            f"there is no 'quantised' in the cache (did you mean 'quantized'?); there is: {REPO}, onnxruntime, "
            "quantized",
        ),
        (["you/bert"], f"there is no 'you/bert' in the cache; there is: {REPO}, onnxruntime, quantized"),
        (["mine"], f"there is no 'mine' in the cache; there is: {REPO}, onnxruntime, quantized"),
        ([f"{NAME}@main"], f"{NAME}@main: a model is deleted with all its revisions; write {REPO}"),
    ],
)
def test_cache_rm_of_what_is_not_there(call, args, message):
    assert call("cache", "rm", *args) == (2, "", f"asrkit: error: {message}\n")


def test_an_empty_cache(hub, call, tmp_path):
    code, out, err = call("cache")
    assert (code, err) == (0, "")
    assert [line.strip() for line in out.splitlines()[1:]] == [
        "none",
        f"worked out by asrkit, in {tmp_path / 'asrkit'}",
        "nothing",
        "total        0 bytes",
    ]


def test_a_cache_that_cannot_be_read(hub, call, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "file"))
    code, out, err = call("cache")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "the cache of the hub cannot be read" in err


def test_a_damaged_folder_in_the_cache_hides_nothing_else(hub, call, tmp_path):
    call("pull", NAME)
    (tmp_path / "home/hub/models--some--broken").mkdir()
    (tmp_path / "home/hub/stray.txt").touch()
    code, out, err = call("cache")
    assert (code, err) == (0, "")
    assert REPO in out


def test_nemo_files_make_a_model_of_any_repository(hub, call, tmp_path):
    path = write_nemo(tmp_path / "x.nemo", {"target": "x.Other"}, {"a": np.zeros(1, np.float32)})
    hub.repos["me/other"] = {FIRST: {"x.nemo": path.read_bytes()}}
    assert call("pull", "me/other")[0] == 0
    assert "me/other" in call("cache")[1]


def test_quiet_is_quiet(hub, call):
    code, _, err = call("pull", "--quiet", NAME)
    assert (code, err) == (0, "")
    assert call("cache", "rm", "-q", NAME) == (0, "", "")


def test_bench_downloads_before_its_processes_start(hub, call):
    words = ["--backend", "numpy", "--precision", "fp32", "--repeats", 1, "--warm-up", 0, "--tokens", 1, "--seconds", 1]
    code, _, err = call("bench", "-m", NAME, *words)
    assert code == 0, err
    assert err.startswith(f"asrkit: downloading {REPO}: {FILE}, ")
    assert hub.downloads() == [FILE]


def test_a_folder_of_texts_notices_that_the_branch_moved(hub, run, checkpoint):
    """The text depends on the weights: what another commit said is not taken for done."""
    assert run(NAME, "--output-dir", "out")[0] == 0
    assert run(NAME, "--output-dir", "out") == (0, "", "asrkit: 1 of 1 recordings were done before\n")
    hub.repos[REPO][SECOND] = hub.repos[REPO][FIRST]
    hub.heads["main"] = SECOND
    code, _, err = run(NAME, "--output-dir", "out")
    assert code == 1
    assert f"made with other arguments (revision was {FIRST}, is {SECOND}): kept; --overwrite replaces it" in err


@pytest.mark.parametrize("name", ["me/a--b", "me/a..b@v1", "me/model.git", "hf:me-/model"])
def test_a_name_that_no_repository_can_have(hub, call, name):
    code, out, err = call("pull", name)
    assert (code, out) == (2, "")
    told = f"{re.escape(name)}: names no file of this machine, and none of the hub"
    assert re.fullmatch(f"asrkit: error: {told}: .*\\n", err)


def test_a_format_is_not_for_deleting(call):
    code, out, err = call("cache", "--format", "json", "rm", "--all", "--yes")
    assert (code, out) == (2, "")
    assert err == "asrkit: error: --format is for what `asrkit cache` shows; rm has no use for it\n"
