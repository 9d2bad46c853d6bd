"""What a run writes, and what the next one finds done, keeps or makes again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import pytest

from asrkit.errors import UsageError
from asrkit.inputs import Input, collect
from asrkit.outputs import JOURNAL, Outputs

ASKED = {"model": "m", "language": "en", "beam": 4, "target_language": None}


@pytest.fixture
def talk(tmp_path) -> Input:
    """A recording in a folder of its own."""
    path = tmp_path / "in" / "talk.wav"
    path.parent.mkdir()
    path.write_bytes(b"RIFF")
    return Input("talk.wav", str(path), "talk.wav")


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "new" / "out"


def outputs(folder, *inputs, suffixes=(".txt",), overwrite=False, **changes):
    return Outputs(folder, inputs, suffixes, ASKED | changes, overwrite)


def made(folder, one, text="text\n", **changes):
    """A finished run of one recording."""
    outputs(folder, one, overwrite=True, **changes).save(one, {".txt": text})


def state(folder, one, **changes):
    """What a new run says."""
    found = outputs(folder, one, **changes).state(one)
    return found.reason.removeprefix(f"{folder}{os.sep}") or found.kind


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != JOURNAL}


def test_what_is_saved_is_done(out, talk):
    assert state(out, talk) == "new"
    made(out, talk, "Straße\n")
    assert files(out) == {"talk.txt": "Straße\n".encode()}
    assert state(out, talk) == "done"
    assert state(out, talk, overwrite=True) == "new"


def test_recordings_and_texts_may_be_moved_together(out, talk, tmp_path, monkeypatch):
    made(out, talk)
    (tmp_path / "in").rename(tmp_path / "new" / "in")
    (tmp_path / "new").rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path / "moved")
    # They were on different levels before, and so the path between them is another one.
    assert "another recording" in state(Path("out"), attrs.evolve(talk, source="in/talk.wav"))
    (tmp_path / "top").mkdir()
    (tmp_path / "moved" / "in").rename(tmp_path / "in")
    (tmp_path / "moved").rename(tmp_path / "top" / "new")
    (tmp_path / "in").rename(tmp_path / "top" / "in")
    monkeypatch.chdir(tmp_path / "top" / "in")
    assert state(Path("../new/out"), attrs.evolve(talk, source="talk.wav")) == "done"


KEPT = ": kept; --overwrite replaces it"


def test_what_somebody_else_made_is_kept(out, talk):
    out.mkdir(parents=True)
    (out / "talk.txt").write_text("precious")
    assert state(out, talk) == "talk.txt exists and was not made by this command" + KEPT
    assert state(out, talk, overwrite=True) == "new"
    made(out, talk)
    (out / "talk.txt").write_text("corrected by hand")
    assert state(out, talk) == "talk.txt was changed after it was made" + KEPT


def test_other_arguments_are_named(out, talk):
    made(out, talk)
    begin = "talk.txt was made with other arguments "
    assert state(out, talk, language="de") == begin + "(language was en, is de)" + KEPT
    expected = "(beam was 4, is not given, target_language was not given, is fr)"
    assert state(out, talk, beam=None, target_language="fr") == begin + expected + KEPT
    german = attrs.evolve(talk, options={"language": "de"}, duration=2.0)
    expected = "(duration was not given, is 2.0, language was en, is de)"
    assert state(out, german) == begin + expected + KEPT
    made(out, german)
    assert state(out, german) == "done"


def test_other_recordings_are_named(out, talk, tmp_path):
    made(out, talk)
    other = tmp_path / "in" / "talk.mp3"
    other.write_bytes(b"RIFF")
    os.utime(other, ns=(0, os.stat(talk.source).st_mtime_ns))
    shown = "talk.txt was made from another recording (../../in/talk.wav)"
    assert state(out, attrs.evolve(talk, source=str(other), relative="talk.mp3")) == shown + KEPT


@pytest.mark.parametrize("change", ["size", "time"])
def test_a_recording_that_changed_is_told(out, talk, change):
    made(out, talk)
    before = os.stat(talk.source).st_mtime_ns
    if change == "size":
        Path(talk.source).write_bytes(b"RIFFRIFF")
    os.utime(talk.source, ns=(before, before + (change == "time") * 10**9))
    assert state(out, talk) == "talk.txt was made before the recording changed" + KEPT


def test_a_recording_that_changes_while_it_is_decoded_is_not_done(out, talk):
    run = outputs(out, talk)
    run.state(talk)
    Path(talk.source).write_bytes(b"RIFFRIFF")
    run.save(talk, {".txt": "of the old one"})
    assert "before the recording changed" in state(out, talk)


def test_a_recording_that_is_gone_fails_for_itself(out, talk):
    made(out, talk)
    os.unlink(talk.source)
    assert state(out, talk) == "new"


def test_a_missing_output_is_made_again(out, talk):
    made(out, talk)
    (out / "talk.txt").unlink()
    assert state(out, talk) == "new"


def test_several_files_of_a_recording(out, talk):
    def both():
        return outputs(out, talk, suffixes=(".txt", ".json"))

    both().save(talk, {".txt": "a", ".json": "{}"})
    assert files(out) == {"talk.txt": b"a", "talk.json": b"{}"}
    assert both().state(talk).kind == "done"
    assert state(out, talk) == "done"
    (out / "talk.json").unlink()
    assert both().state(talk).kind == "new"
    (out / "talk.txt").write_text("mine")
    assert both().state(talk).reason == f"{out / 'talk.txt'} was changed after it was made" + KEPT


def test_standard_input_is_never_known_to_be_the_same(out):
    one = Input("<stdin>", "-", "stdin")
    assert state(out, one) == "new"
    made(out, one)
    assert state(out, one) == "stdin.txt was made from standard input, which cannot be compared" + KEPT


def test_a_text_that_two_ways_led_to_is_done_for_both(out, talk):
    made(out, talk, language="de")
    made(out, talk, language="en")
    assert (state(out, talk, language="de"), state(out, talk, language="en")) == ("done", "done")


def test_what_another_process_has_made_meanwhile_is_done(out, talk):
    run = outputs(out, talk)
    made(out, talk)
    assert run.state(talk).kind == "done"


def test_a_folder_in_the_way(out, talk):
    (out / "talk.txt").mkdir(parents=True)
    assert state(out, talk) == "talk.txt exists and is no file: kept; move it away"
    with pytest.raises(OSError, match=r"talk\.txt") as caught:
        made(out, talk)
    assert caught.value.filename == str(out / "talk.txt")
    assert [path.name for path in out.iterdir() if path.name != JOURNAL] == ["talk.txt"]


def test_an_output_that_cannot_be_read(out, talk, monkeypatch):
    made(out, talk)

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert state(out, talk) == "talk.txt exists and cannot be read (Permission denied)" + KEPT


def test_an_output_is_never_a_recording(tmp_path, talk):
    folder = tmp_path / "in"
    text = attrs.evolve(talk, source=str(folder / "talk.txt"), relative="other")
    (folder / "talk.txt").write_bytes(b"RIFF")
    with pytest.raises(UsageError, match=r"talk\.txt would be written over a recording; use another --output-dir"):
        outputs(folder, talk, text)
    assert sorted(path.name for path in folder.iterdir()) == ["talk.txt", "talk.wav"]
    with pytest.raises(UsageError):
        outputs(folder / ".." / "in", talk, text, overwrite=True)


def test_names_of_any_bytes(out, talk):
    odd = attrs.evolve(talk, source=talk.source + "\udcff", relative="talk.wav")
    outputs(out, odd).save(odd, {".txt": 'the file "\udcff"'})
    assert (out / "talk.txt").read_bytes() == b'the file "\\udcff"'


@pytest.mark.parametrize(
    "rubbish", [b'{"source": "x", "sta', b"[1]\n", b'{"outputs": 3}\n', b"\xff\n", b"[" * 100000 + b"\n", b"\n"]
)
def test_what_is_no_entry_is_passed_over(out, talk, rubbish):
    out.mkdir(parents=True)
    (out / JOURNAL).write_bytes(rubbish)
    made(out, talk)
    assert state(out, talk) == "done"
    with (out / JOURNAL).open("ab") as file:
        file.write(rubbish)
    assert state(out, talk) == "done"
    made(out, talk, language="de")
    assert state(out, talk, language="de") == "done"


def test_entries_are_lines_of_json(out, talk):
    made(out, talk)
    made(out, talk)
    for line in (out / JOURNAL).read_text(encoding="ascii").splitlines():
        assert sorted(json.loads(line)) == ["arguments", "outputs", "source", "stamp"]


def test_threads_that_save_at_once_lose_nothing(out, tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(40):
        (tmp_path / "in" / f"{number}.wav").touch()
    found = collect([str(tmp_path / "in")])
    runs = [outputs(out, *found) for _ in range(2)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda job: job[0].save(job[1], {".txt": "x" * 9999}), [(r, one) for one in found for r in runs]))
    after = outputs(out, *found)
    assert [after.state(one).kind for one in found] == ["done"] * 40
    # Who looks while another line is being written takes it for a killed process's and begins a new line: an empty one.
    lines = [line for line in (out / JOURNAL).read_bytes().splitlines() if line]
    assert len(lines) == 80
    assert all(json.loads(line)["outputs"] for line in lines)


@pytest.mark.parametrize("step", ["mkdir", "open", "replace"])
def test_what_cannot_be_written_leaves_nothing(out, talk, monkeypatch, step):
    made(out, talk, "old")
    run = outputs(out, talk, overwrite=True)

    def refuse(self, *args, **kwargs):
        if refusing and self.name != JOURNAL:
            raise OSError(28, "No space left on device", "some other name")
        return real(self, *args, **kwargs)

    real = getattr(Path, step)
    refusing = True
    monkeypatch.setattr(Path, step, refuse)
    with pytest.raises(OSError, match="No space left") as caught:
        run.save(talk, {".txt": "new"})
    refusing = False
    assert caught.value.filename == str(out / "talk.txt")
    assert files(out) == {"talk.txt": b"old"}
    assert state(out, talk) == "done"


def test_unfinished_files_of_dead_processes_are_removed(out, talk):
    folder = out / "sub"
    folder.mkdir(parents=True)
    old, new, other = folder / ".asrkit-1.part", folder / ".asrkit-2.part", folder / "talk.part"
    for path in (old, new, other):
        path.touch()
    for path in (old, other):
        os.utime(path, (0, 0))
    outputs(out, attrs.evolve(talk, relative="sub/talk.wav"))
    assert sorted(folder.iterdir()) == [new, other]


KILLED = """
import os, sys
from pathlib import Path
from asrkit.inputs import collect
from asrkit.outputs import Outputs
from asrkit.journal import Journal

folder, source, when = sys.argv[1:]
left = int(when)

def tick():
    global left
    if not left:
        os._exit(9)
    left -= 1

def die_before(owner, name):
    real = getattr(owner, name)
    def replaced(*args, **kwargs):
        tick()
        result = real(*args, **kwargs)
        tick()
        return result
    setattr(owner, name, replaced)

for owner, name in ((Path, "open"), (Path, "mkdir"), (Path, "replace"), (Path, "unlink"), (Journal, "append")):
    die_before(owner, name)
inputs = collect([source])
run = Outputs(Path(folder), inputs, (".txt", ".json"), {})
for one in inputs:
    if run.state(one).kind == "new":
        run.save(one, {".txt": one.relative, ".json": "[]"})
    assert run.state(one).kind == "done", run.state(one)
"""


def test_any_moment_is_good_for_dying(tmp_path):
    """A process that dies at its n-th step, for n that grow: the next one neither stops nor keeps anything half."""
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in ("a", "b"):
        (source / f"{name}.wav").touch()
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    for when in range(100):
        command = [sys.executable, "-c", KILLED, str(out), str(source), str(when)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode in (0, 9), done.stderr
        seen = {path.name: path.read_text() for path in out.glob("*.*")} if out.exists() else {}
        whole = {"a.txt": "a.wav", "b.txt": "b.wav", "a.json": "[]", "b.json": "[]"}
        assert {name: text for name, text in seen.items() if not name.startswith(".")}.items() <= whole.items()
        if done.returncode == 0:
            break
        if when % 3 == 2:  # the work of the killed ones goes on; now and then from the start
            for path in out.glob("*.*"):
                path.unlink()
    assert done.returncode == 0
    assert when > 10
    assert whole.items() <= seen.items()
