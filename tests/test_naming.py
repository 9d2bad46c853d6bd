"""Outputs are named after recordings, and no two get one name."""

from __future__ import annotations

import os
import random
import unicodedata

import attrs
import pytest

from asrkit.inputs import Input
from asrkit.naming import plan


def named(*paths, root="", suffixes=(".txt",), taken=()):
    """The names for files that were given, or were found below a root."""
    inputs = [Input(path, os.path.join(root, path), path if root else os.path.basename(path)) for path in paths]
    return plan(inputs, suffixes, taken)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/talk.mp3", "b/other.tar.wav", "noext"], ["talk", "other.tar", "noext"]),
        (["talk.wav", "talk.mp3", "x.wav"], ["talk.wav", "talk.mp3", "x"]),
        (["Talk.wav", "talk.mp3"], ["Talk.wav", "talk.mp3"]),
        (["Straße.wav", "STRASSE.mp3"], ["Straße.wav", "STRASSE.mp3"]),
        (["a/talk.wav", "b/talk.wav"], ["a/talk", "b/talk"]),
        (["c/a/talk.wav", "c/talk.wav"], ["a/talk", "talk"]),
        (["a/talk.wav", "a/talk.mp3", "b/talk.wav"], ["a/talk", "talk.mp3", "b/talk"]),
        (["talk.wav", "talk.mp3", "talk.wav.flac"], ["talk", "talk.mp3", "talk.wav.flac"]),
        (["talk.WAV", "talk.wav"], ["talk.WAV", "talk.wav-2"]),  # which is one file on a Mac
        (["con.wav", "Aux.x.wav", "a:b?.wav", "d. .wav"], ["con_", "Aux_.x", "a_b_", "d. "]),
        (["a:b.wav", "a_b.wav"], ["a_b.wav", "a_b.wav-2"]),
        ([".wav", "..wav", "a..wav"], [".wav", "..wav", "a."]),
    ],
)
def test_files(paths, names):
    assert named(*paths) == names


def test_names_that_differ_in_normal_form_only_are_one():
    short, long = (unicodedata.normalize(form, "é.wav") for form in ("NFC", "NFD"))
    assert named(short, "x/" + long) == [short[:-4], "x/" + long[:-4]]


def test_folders_are_mirrored():
    assert named("x/talk.wav", "y./nul/talk.wav", "talk.wav", root="in") == ["x/talk", "y_/nul_/talk", "talk"]
    assert named("x/talk.wav", "x/talk.mp3", root="in") == ["x/talk.wav", "x/talk.mp3"]


def test_two_folders_of_the_same_tree():
    inputs = [Input("", os.path.join(root, "x", "talk.wav"), "x/talk.wav") for root in ("one", "two")]
    assert plan(inputs, [".txt"]) == ["one/x/talk", "two/x/talk"]


def test_several_files_of_each_recording():
    assert named("a.wav", "a.words.wav", suffixes=(".json", ".words.json")) == ["a.wav", "a.words.wav"]
    assert named(".x.wav", suffixes=(".jsonl",), taken=(".X.jsonl",)) == [".x.wav"]


def test_excerpts_have_their_start_in_the_name():
    whole = Input("", "in/talk.wav", "talk.wav")
    parts = [attrs.evolve(whole, offset=offset) for offset in (12.5, 3600.0)]
    assert plan([whole, *parts], [".txt"]) == ["talk", "talk-00012.500", "talk-03600.000"]
    other = attrs.evolve(parts[0], source="in/talk.mp3", relative="talk.mp3")
    assert plan([parts[0], other], [".txt"]) == ["talk.wav-00012.500", "talk.mp3-00012.500"]


def test_different_wishes_for_one_excerpt_are_numbered():
    whole = Input("", "talk.wav", "talk.wav")
    german = attrs.evolve(whole, options={"language": "de"})
    second = Input("", "talk-2.wav", "talk-2.wav")
    assert plan([whole, german, second], [".txt"]) == ["talk", "talk-3", "talk-2"]


def test_standard_input():
    assert plan([Input("<stdin>", "-", "stdin"), Input("", "stdin.wav", "stdin.wav")], [".txt"]) == [
        "stdin",
        "stdin.wav",
    ]


def test_no_two_outputs_ever_meet():
    """Whatever names there are, outputs differ, stay inside the folder and do not depend on chance."""
    choose = random.Random(4)
    stems = ("a", "A", "a.wav", "a-2", "a.wav-2", "con", "a:", "a_", "..", "é", "e\u0301")
    for _ in range(300):
        inputs = {}
        for _ in range(choose.randint(1, 8)):
            parts = [choose.choice(stems) for _ in range(choose.randint(0, 2))]
            path = "/".join(
                [*("x" + part for part in parts), choose.choice(stems) + choose.choice((".wav", ".mp3", ""))]
            )
            relative = path if choose.random() < 0.5 else os.path.basename(path)
            offset = choose.choice((0.0, 0.0, 12.5))
            one = Input(path, path, relative, offset, options={"n": choose.randint(0, 1)})
            inputs[path, offset, one.options["n"]] = one
        suffixes = choose.choice(((".txt",), (".json", ".words.json"), (".jsonl", ".txt")))
        names = plan(list(inputs.values()), suffixes, (".asrkit.jsonl",))
        files = [name + suffix for name in names for suffix in suffixes]
        folded = {unicodedata.normalize("NFC", file).casefold() for file in files}
        assert len(folded) == len(files), inputs
        assert not any(part in ("", ".", "..") for file in files for part in file.split("/"))
        assert names == plan(list(inputs.values()), suffixes, (".asrkit.jsonl",))
