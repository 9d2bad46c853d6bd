"""Files, folders, lists and manifests become recordings."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from asrkit.errors import UsageError
from asrkit.inputs import SUFFIXES, Input, collect
from asrkit.values import Recording


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The working directory; ``here(*names)`` makes empty files."""
    monkeypatch.chdir(tmp_path)

    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return make


@pytest.fixture
def stdin(monkeypatch):
    """Gives standard input its bytes."""

    def give(content):
        stream = SimpleNamespace(buffer=io.BytesIO(content))
        monkeypatch.setattr(sys, "stdin", stream)
        return stream.buffer

    return give


@pytest.fixture
def manifest(here):
    """Writes lines, objects or texts, and gives the path."""

    def write(*lines, path="lists/m.jsonl"):
        folder = here(path)
        (folder / path).write_text("".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in lines))
        return path

    return write


def sources(*args, **kwargs):
    return [one.source for one in collect(args, **kwargs)]


def refusal(*args, **kwargs):
    with pytest.raises(UsageError) as caught:
        collect(args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_files_come_as_given_and_missing_ones_too(here):
    here("b.wav", "sub/a.txt")
    missing = os.path.join("no", "c.wav")
    found = collect(["b.wav", "sub/a.txt", missing])
    assert found == [
        Input("b.wav", "b.wav", "b.wav"),
        Input("sub/a.txt", "sub/a.txt", "a.txt"),
        Input(missing, missing, "c.wav"),
    ]
    assert found[0].recording() == Recording("b.wav")


def test_a_folder_gives_its_own_recordings_in_natural_order(here):
    here("in/talk10.wav", "in/talk2.WAV", "in/Talk1.mp3", "in/notes.txt", "in/.hidden.wav", "in/._talk2.wav")
    here("in/deeper/x.flac", "in/folder.wav/y.ogg", "in/noext")
    found = collect(["in"])
    assert [one.relative for one in found] == ["Talk1.mp3", "talk2.WAV", "talk10.wav"]
    assert [one.source for one in found] == [os.path.join("in", one.relative) for one in found]


def test_recursive_goes_into_folders_but_not_hidden_ones(here):
    here("in/b.wav", "in/part10/a.wav", "in/part9/a.wav", "in/part9/x/z.m4a", "in/.trash/c.wav", "in/empty/n.txt")
    found = collect(["in/"], recursive=True)
    assert [one.relative for one in found] == ["b.wav", "part9/a.wav", "part9/x/z.m4a", "part10/a.wav"]
    assert all(os.path.isfile(one.source) for one in found)


def test_suffixes_are_the_documented_ones():
    page = Path(__file__).parents[1] / "docs/guides/many-files.md"
    listed = re.search("<!-- suffixes -->(.*?)<!-- end -->", page.read_text(encoding="utf-8"), re.DOTALL)
    assert {f".{name}" for name in re.split(r",\s+", listed[1])} == SUFFIXES


def test_a_folder_without_recordings_is_told(here):
    here("deep/sub/a.wav", "texts/a.txt", "both/sub/a.txt")
    assert refusal("deep") == "deep: holds no recordings, only folders; --recursive goes into them"
    assert refusal("texts").startswith("texts: holds no recordings; they are known by suffixes such as")
    assert refusal("both", recursive=True).startswith("both: holds no recordings; they are")
    assert len(collect(["deep"], recursive=True)) == 1
    assert refusal().startswith("no recordings are given")


@pytest.mark.skipif(sys.platform == "win32", reason="making links needs rights there")
def test_links_that_lead_back_end(here):
    folder = here("in/a.wav", "in/sub/b.wav", "other/c.wav")
    (folder / "in/sub/up").symlink_to(folder / "in")
    (folder / "in/sub/aside").symlink_to(folder / "other")
    (folder / "in/gone.wav").symlink_to(folder / "nowhere")
    found = [one.relative for one in collect(["in"], recursive=True)]
    assert found == ["a.wav", "gone.wav", "sub/b.wav", "sub/aside/c.wav"]


def test_a_folder_that_cannot_be_read_is_told(here, monkeypatch):
    here("in/a.wav", "in/locked/b.wav")
    scandir = os.scandir

    def locked(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    assert "locked: cannot be read (Permission denied)" in refusal("in", recursive=True)


def test_a_recording_is_done_once(here, caplog):
    folder = here("a.wav", "in/b.wav", "c.wav")
    given = ["a.wav", "in", str(folder / "in/b.wav"), "./a.wav", "c.wav"]
    assert sources(*given) == ["a.wav", os.path.join("in", "b.wav"), "c.wav"]
    assert caplog.messages == [f"{folder / 'in/b.wav'} and 1 more: given more than once; decoded once"]


def test_patterns_that_no_shell_has_expanded(here):
    here("a10.wav", "a9.wav", "b.wav", "[x].wav", "sub/c.wav")
    assert sources("a*.wav", "sub*") == ["a9.wav", "a10.wav", os.path.join("sub", "c.wav")]
    assert sources("[x].wav", "no*.wav") == ["[x].wav", "no*.wav"]  # a file that is there; nothing that fits


@pytest.mark.parametrize(
    "content",
    [
        b"a.wav\n\nb c.wav\r\n#d.wav",
        b"\xef\xbb\xbfa.wav\nb c.wav\n#d.wav\n",
        b"a.wav\0b c.wav\0#d.wav\0",
    ],
)
def test_lists(here, stdin, content):
    (here("a.wav") / "list").write_bytes(content)
    expected = ["first.wav", "a.wav", "b c.wav", "#d.wav"]
    assert sources("first.wav", lists=["list"]) == expected
    stdin(content)
    assert sources("first.wav", lists=["-"]) == expected


def test_lists_hold_folders_and_names_of_any_bytes(here):
    folder = here("in/a.wav")
    (folder / "list").write_bytes(b"in\n-\n*.wav\nnew\nline\n\xff.wav\n" if os.name != "nt" else b"in\n-\n")
    found = collect([], lists=["list"])
    assert found[0].relative == "a.wav"
    assert found[1].source == os.path.join(".", "-")
    if os.name != "nt":
        assert os.fsencode(found[-1].source) == b"\xff.wav"
        assert found[-1].name == "\\udcff.wav"
        assert [one.source for one in found[2:-1]] == ["*.wav", "new", "line"]


def test_lists_that_cannot_be_used(here):
    folder = here()
    assert refusal(lists=["list"]).startswith("list: cannot be read (No such file or directory)")
    (folder / "list").write_text("\n  \n")
    assert refusal(lists=["list"]) == "list: names no recordings; give one path a line"
    (folder / "list").write_bytes("a.wav\n".encode("utf-16"))
    assert refusal(lists=["list"]) == "list: is in UTF-16; write the list in UTF-8"


def test_standard_input_is_read_once(here, stdin, monkeypatch):
    buffer = stdin(b"RIFF")
    (one,) = collect(["-"])
    assert (one.source, one.relative, one.recording().source) == ("-", "stdin", buffer)
    for args, lists in ((["-", "-"], []), (["-"], ["-"]), ([], ["-", "-"])):
        assert refusal(*args, lists=lists).startswith("- is given more than once; standard input is read once")
    monkeypatch.setattr(sys, "stdin", None)
    assert refusal("-") == "- is given, and standard input is closed"


def test_manifest(manifest):
    path = manifest(
        {"audio_filepath": "talk.wav", "source_lang": "en", "target_lang": "de", "taskname": "ast", "pnc": "no"},
        "",
        {"audio_filepath": "talk.wav", "offset": 12.5, "duration": 7, "lang": "de", "speaker": 3, "text": 4},
        {"audio_filepath": os.path.abspath("b.wav"), "duration": None, "taskname": "asr", "timestamp": True},
        {"audio_filepath": "-"},
    )
    talk = os.path.join("lists", "talk.wav")
    first, second, third, fourth = collect([], manifests=[path])
    translation = {"language": "en", "target_language": "de", "task": "translate", "pnc": False}
    assert first == Input(talk, talk, "talk.wav", options=translation)
    german = {"language": "de", "target_language": "de"}
    assert second == Input(f"{talk} from 12.500 s to 19.500 s", talk, "talk.wav", 12.5, 7, german)
    assert second.recording() == Recording(talk, 12.5, 7, german)
    assert (third.source, third.options) == (os.path.abspath("b.wav"), {"task": "transcribe", "timestamp": True})
    assert fourth.relative == "-"
    assert fourth.source != "-"


def test_a_manifest_in_the_working_directory_has_no_standard_input(manifest):
    (one,) = collect([], manifests=[manifest({"audio_filepath": "-"}, path="m.jsonl")])
    assert one.source == os.path.join(".", "-")


def test_lines_of_one_recording_are_told_apart(manifest, caplog):
    line = {"audio_filepath": "a.wav", "offset": 1, "lang": "en"}
    path = manifest(line, line | {"offset": 2}, line | {"duration": 1}, line | {"lang": "de"}, line)
    assert len(collect([], manifests=[path])) == 4
    assert len(caplog.messages) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"audio_filepath": None}, 'has no "audio_filepath"; add the path of the recording'),
        ({"offset": "1"}, "\"offset\" is '1'; give seconds, or leave it out"),
        ({"offset": -1}, '"offset" is -1; give seconds, or leave it out'),
        ({"duration": True}, '"duration" is True; give seconds, or leave it out'),
        ({"duration": 0}, '"duration" is 0; give the seconds to read, or leave it out'),
        ({"lang": 1}, '"lang" is 1; give a text'),
        ({"taskname": "vad"}, "\"taskname\" is 'vad'; give one of asr, transcribe, ast, s2t_translation, translate"),
        ({"taskname": ["asr"]}, "\"taskname\" is ['asr']; give one of"),
        ({"pnc": "maybe"}, '"pnc" is \'maybe\'; give "yes" or "no", or leave it out'),
        ({"pnc": 1}, '"pnc" is 1; give'),
    ],
)
def test_lines_that_cannot_be_used(manifest, changes, message):
    good = {"audio_filepath": "a.wav"}
    path = manifest(good, good | changes)
    assert refusal(manifests=[path]).startswith(f"{path}, line 2: {message}")


def test_a_manifest_that_is_not_there(here):
    here()
    assert refusal(manifests=["no.jsonl"]) == "no.jsonl: there is no such file; give a manifest, one JSON object a line"
