"""Manifests, rates and reports, with a model that spells."""

from __future__ import annotations

import hashlib
import json
import sys

import attrs
import numpy as np
import pytest
import soundfile

from asrkit.errors import OptionError, UsageError
from asrkit.evaluation import Figures, Plan, digest, evaluate, pair_name, scorer
from asrkit.manifests import Row, read_manifest
from asrkit.testing.archives import write_nemo

EN = ("en", "en")


@pytest.fixture
def manifest(tmp_path):
    """Writes lines, objects or texts, and gives the path."""

    def write(*lines):
        path = tmp_path / "manifest.jsonl"
        path.write_text("".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in lines), "utf-8")
        return str(path)

    return write


def line(**changes):
    return {"audio_filepath": "a.wav", "text": "one", "source_lang": "en", "target_lang": "en"} | changes


def references(groups):
    return {pair: [row.reference for row in rows] for pair, rows in groups.items()}


def test_rows(manifest, tmp_path):
    path = manifest(
        line(duration=1.5), "", line(text="zwei", source_lang="de", target_lang="de"), line(audio_filepath="/x/b.wav")
    )
    assert read_manifest(path) == {
        EN: [Row(1, str(tmp_path / "a.wav"), "one", EN, 1.5), Row(4, "/x/b.wav", "one", EN)],
        ("de", "de"): [Row(3, str(tmp_path / "a.wav"), "zwei", ("de", "de"))],
    }
    assert {pair: len(rows) for pair, rows in read_manifest(path, limit=1).items()} == {EN: 1, ("de", "de"): 1}


@pytest.mark.parametrize(
    ("row", "language", "target", "expected"),
    [
        ({}, None, None, {(None, None): ["one"]}),
        ({}, "en", None, {EN: ["one"]}),
        ({"lang": "de"}, None, None, {("de", "de"): ["one"]}),
        ({"source_lang": "en"}, None, None, {EN: ["one"]}),
        ({"source_lang": "en-US"}, "en", None, {EN: ["one"]}),
        ({"source_lang": "en", "target_lang": "de"}, None, None, {("en", "de"): ["one"]}),
        ({"source_lang": "en-US", "target_lang": "de"}, "en", None, {("en", "de"): ["one"]}),
        ({"source_lang": "en", "texts": {"de": "eins"}}, None, None, {EN: ["one"]}),
        ({"source_lang": "en", "texts": {"de": "eins"}}, None, "de", {("en", "de"): ["eins"]}),
    ],
)
def test_languages(manifest, row, language, target, expected):
    path = manifest({"audio_filepath": "a.wav", "text": "one", **row})
    assert references(read_manifest(path, language, target)) == expected


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("{", "is not JSON, found '{'; a manifest has one JSON object a line"),
        ("[" * 100000, "is not JSON"),
        ("[1]", "is [1]; a manifest has one JSON object a line"),
        ({"text": "one"}, 'has no "audio_filepath"; add'),
        (line(audio_filepath=3), '"audio_filepath" is 3; give a text'),
        (line(audio_filepath="a\0"), 'has no "audio_filepath"'),
        (line(text=None), 'has no "text"; add what is said'),
        (line(text="\ud800"), "which is no Unicode"),
        (line(duration="1"), "\"duration\" is '1'; give seconds"),
        (line(duration=float("nan")), '"duration" is nan'),
        (line(offset="2.5"), "\"offset\" is '2.5'; give seconds"),
        (line(texts=["one"]), "\"texts\" is ['one']; give an object"),
        (line(lang={}, source_lang=None), '"lang" is {}; give a text'),
    ],
    ids=lambda value: None if isinstance(value, str) else "",
)
def test_wrong_lines(manifest, wrong, message):
    path = manifest(line(), wrong)
    with pytest.raises(UsageError) as caught:
        read_manifest(path)
    assert str(caught.value).startswith(f"{path}, line 2: ")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_missing_translation(manifest):
    path = manifest(line(texts={"fr": "un"}))
    with pytest.raises(UsageError) as caught:
        read_manifest(path, target_language="de")
    assert str(caught.value) == (
        f"{path}, line 1: has no reference in 'de', its languages: en, fr; "
        'add \'de\' to "texts", or give a "text" with "target_lang" \'de\''
    )
    with pytest.raises(UsageError, match="its languages: none that is named; add 'de'"):
        read_manifest(manifest({"audio_filepath": "a.wav", "text": "one"}), "en", "de")


def test_no_manifest(manifest, tmp_path):
    with pytest.raises(UsageError, match="there is no such file"):
        read_manifest(str(tmp_path / "no.jsonl"))
    with pytest.raises(UsageError, match="holds no recordings"):
        read_manifest(manifest(""))
    (tmp_path / "noise").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(UsageError, match="is not a text in UTF-8"):
        read_manifest(str(tmp_path / "noise"))


def test_errors_by_hand():
    score = scorer("none")
    one = score("a", " the  cat sat\n", "the bat", "en")  # c to b, and " sat" left out
    assert (one.reference, one.hypothesis) == ("the cat sat", "the bat")
    assert (one.words, one.word_errors, one.characters, one.character_errors) == (3, 2, 11, 5)
    assert attrs.astuple(score("a", "ab", "", "en"))[3:] == (1, 1, 2, 2)
    assert attrs.astuple(score("a", " ", "uh oh", "en"))[3:] == (0, 2, 0, 5)
    assert attrs.astuple(score("a", "a", "b c d", "en"))[3:] == (1, 3, 1, 5)  # more errors than words
    assert score("a", "One.", "one", "en").word_errors == 1


def test_whisper_normalizer():
    score = scorer("whisper")
    english = score("a", "The colour, twenty-one!", "the color 21", "en-US")
    assert (english.reference, english.word_errors) == ("the color 21", 0)
    german = score("a", "Über  zwanzig, ja!", "über zwanzig ja", "de")
    assert (german.reference, german.word_errors) == ("über zwanzig ja", 0)
    assert score("a", "Um,", "", "en").reference == ""


def test_normalizer_that_does_not_exist():
    with pytest.raises(OptionError, match="no normalizer 'strong'; there is: none, whisper"):
        scorer("strong")


@pytest.mark.parametrize(
    ("module", "normalizer", "package"),
    [("jiwer", "none", "jiwer"), ("whisper_normalizer.basic", "whisper", "whisper-normalizer")],
)
def test_missing_package(monkeypatch, module, normalizer, package):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError) as caught:
        scorer(normalizer)
    assert str(caught.value).endswith(f"needs the package {package}: pip install jiwer whisper-normalizer")


def test_figures_by_hand():
    score = scorer("none")
    texts = [("a b c d", "a b c d"), ("a b", "a c"), ("a b c d", "a b d"), ("", ""), ("", "x"), (" ", " ")]
    figures = Figures([score("f", *pair, "en") for pair in texts], failed=1, audio=30.0, spent=4.0)
    report = figures.report()
    low, high = report.pop("wer_interval")
    assert 0 <= low < 0.2 < high <= 0.5
    low, high = report.pop("cer_interval")
    assert 0 <= low < 3 / 17 < high <= 1
    assert report == {
        "clips": 3,
        "words": 10,
        "word_errors": 2,
        "wer": 0.2,
        "characters": 17,
        "character_errors": 3,
        "cer": 3 / 17,
        "exact": 1,
        "empty_references": 3,
        "empty": 2,
        "failed": 1,
        "audio_seconds": 30.0,
        "seconds": 4.0,
        "times_real_time": 7.5,
    }
    assert figures.report() == figures.report()


def test_interval_covers_the_truth():
    """Of sets with a known rate about 95 % have it in their interval."""
    random = np.random.default_rng(1)
    score = scorer("none")
    right, wrong = score("f", "a b c d e", "a b c d e", "en"), score("f", "a b c d e", "a b c d x", "en")
    inside = 0
    for _ in range(60):
        low, high = Figures([wrong if hit else right for hit in random.random(80) < 0.5]).report()["wer_interval"]
        inside += low <= 0.1 <= high
    assert inside >= 52


def test_figures_of_nothing():
    report = Figures().report()
    assert [report[key] for key in ("clips", "wer", "wer_interval", "cer", "cer_interval", "times_real_time")] == [
        *(0, None, None, None, None, None),
    ]


def test_names():
    names = [pair_name(pair) for pair in (EN, ("en", "de"), (None, None), (None, "de"))]
    assert names == ["en", "en-de", "no language", "?-de"]


def test_digest(tmp_path, install, family):
    path = write_nemo(tmp_path / "speller.nemo", {"target": "x.Speller"}, {"a": np.zeros(1, np.float32)})
    spec = family.spec("speller", str(path))
    install(fake={"register_models": lambda register: register(spec)})
    expected = {"file": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert digest("speller") == digest(str(path)) == expected
    folder = tmp_path / "folder"
    folder.mkdir()
    assert digest(str(folder)) is None
    (folder / "model.safetensors").write_bytes(b"weights")
    assert digest(str(folder))["sha256"] == hashlib.sha256(b"weights").hexdigest()


@pytest.fixture
def plan(tmp_path, family, install):
    """A plan with these (spelled, reference, language) clips; spelled None is a recording that is not there."""
    path = write_nemo(tmp_path / "speller.nemo", {"target": "x.Speller"}, {"a": np.zeros(1, np.float32)})
    install()

    def plan(*clips, **changes):
        groups = {}
        for number, (spelled, reference, language) in enumerate(clips, 1):
            file = tmp_path / f"{number}.wav"
            if spelled is not None:
                soundfile.write(file, family.spell(spelled), family.RATE, subtype="FLOAT")
            row = Row(number, str(file), reference, (language, language))
            groups.setdefault(row.languages, []).append(row)
        return Plan(**{"model": str(path), "manifest": "m.jsonl", "groups": groups, "batch_size": 2} | changes)

    return plan


def test_evaluate(model, plan, tmp_path):
    clips = [("one", "one", "en"), ("cat", "bat", "en"), (None, "x", "en"), ("zwei", "zwei", "de"), ("uh", "", "de")]
    told = []
    report = evaluate(model, plan(*clips, said={"batch_size": 2}), told.append)
    english, german = report["languages"]
    assert (english["source_lang"], english["clips"], english["wer"], english["failed"]) == ("en", 2, 0.5, 1)
    assert english["cer"] == 1 / 6
    assert english["audio_seconds"] == 0.6
    assert english["times_real_time"] > 0
    assert (german["target_lang"], german["clips"], german["wer"]) == ("de", 1, 0.0)
    assert (german["empty_references"], german["empty"]) == (1, 0)
    overall = report["overall"]
    assert (overall["clips"], overall["wer"], overall["exact"], overall["failed"]) == (3, 1 / 3, 2, 1)
    missing = f"{tmp_path / '3.wav'}: there is no such file"
    assert report["failures"] == [{"file": str(tmp_path / "3.wav"), "line": 3, "error": missing}]
    assert [(one["errors"], one["reference"], one["hypothesis"]) for one in report["worst"]] == [
        (1, "", "uh"),
        (1, "bat", "cat"),
    ]
    assert told == ["en: 3 recordings", f"error: {missing}", "de: 2 recordings"]
    assert report["options"] == {"batch_size": 2}
    assert {"asrkit", "numpy", "jiwer"} == set(report["versions"])


def test_worst(model, plan):
    clips = [("abc", "abd", "en"), ("a", "b c", "en"), ("abc", "xyz", "en"), ("ok", "ok", "en")]
    references = ["b c", "xyz", "abd"]
    assert [one["reference"] for one in evaluate(model, plan(*clips))["worst"]] == references
    assert [one["reference"] for one in evaluate(model, plan(*clips, worst=1))["worst"]] == references[:1]
    assert evaluate(model, plan(*clips, worst=0))["worst"] == []


def test_warnings(model, plan):
    told = []
    made = plan(("a", "a", None), ("b", "b", None))
    rows = [attrs.evolve(row, duration=5.0) for row in made.groups[None, None][:1]] + made.groups[None, None][1:]
    evaluate(model, attrs.evolve(made, groups={(None, None): rows}), told.append)
    assert told == [
        "no language: 2 recordings",
        "warning: assumed en",
        f"warning: {rows[0].file}: is 0.1 s long, its line says 5.0 s; the whole recording was transcribed",
    ]


def test_what_the_model_does_not_have(model, plan):
    told = []
    with pytest.raises(OptionError, match=r"^m\.jsonl, line 2: no language 'xx'; there is: de, en$"):
        evaluate(model, plan(("a", "a", "en"), ("a", "a", "xx")), told.append)
    with pytest.raises(
        OptionError, match=r"^model 'speller' with strategy 'greedy' and segmenter 'whole' has no option 'loud'"
    ):
        evaluate(model, plan(("a", "a", "en"), options={"loud": "yes"}), told.append)
    assert told == []


def test_a_renamed_language_keeps_what_was_said(tmp_path):
    """Also where the manifest has texts in other languages: they are not what was said."""
    row = {"audio_filepath": "a.wav", "text": "Hallo", "source_lang": "de", "texts": {"de": "Hallo", "en": "Hello"}}
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    (rows,) = read_manifest(path, language="en").values()
    assert (rows[0].reference, rows[0].languages) == ("Hallo", ("en", "en"))
    (rows,) = read_manifest(path, target_language="en").values()
    assert (rows[0].reference, rows[0].languages) == ("Hello", ("de", "en"))
