"""The checks of the host world's parts pass right ones and fail wrong ones, saying why."""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import pytest
import soundfile

from asrkit.errors import OptionError
from asrkit.segmenters.fixed import Fixed
from asrkit.segmenters.pauses import Pauses
from asrkit.segmenters.whole import Whole
from asrkit.testing import check_aligner, check_dialect, check_frontend, check_segmenter, check_tokenizer
from asrkit.values import Clip, Word

SPEECH = Path(__file__).parents[1] / "data" / "synthetic-speech.wav"


def altered(cls, **methods):
    return type("Wrong", (cls,), methods)()


def test_right_host_parts(family):
    check_frontend(family.Energies())
    check_tokenizer(family.Letters(), {None: ["abc", "zebra"]})
    check_dialect(family.Plain(), family.SIZE)
    for segmenter in (Whole(), Fixed(), Pauses(vad="energy"), Pauses(vad="none")):
        check_segmenter(segmenter)
    speech, rate = soundfile.read(SPEECH, dtype="float32")
    check_segmenter(Pauses(vad="silero"), rate, np.resize(speech, 25 * rate))


def changed(**fields):
    """A frontend whose features are changed by functions of them."""

    def method(cls):
        def call(self, waveforms):
            made = cls.__call__(self, waveforms)
            return made._replace(**{name: change(made) for name, change in fields.items()})

        return {"__call__": call}

    return method


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        (lambda cls: {"rate": 16000.0}, "rate must be a whole number"),
        (lambda cls: {"hop": 0}, "hop must be in seconds"),
        (lambda cls: {"frames": lambda self, samples: 1 + samples // 100}, r"frames\(\) is not the width"),
        (lambda cls: {"lead": lambda self, samples: -1}, r"lead\(\) is a number of samples"),
        (changed(values=lambda f: f.values.astype(np.float64)), "features are float64"),
        (changed(values=lambda f: f.values + f.values.mean()), "a row depends on its neighbours|beyond a row"),
        (changed(values=lambda f: f.values[:1]), "one row a waveform"),
        (changed(lengths=lambda f: f.lengths * 0 + f.values.shape[1]), "a row's length depends on its neighbours"),
        (changed(lengths=lambda f: f.lengths - 1), "frames beyond a row's length must be zero"),
    ],
)
def test_wrong_frontend(family, methods, message):
    with pytest.raises(AssertionError, match=message):
        check_frontend(altered(family.Energies, **methods(family.Energies)))


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({"encode": lambda self, text, language=None: (99,) * len(text)}, "ids of 'abc' are out of range"),
        ({"decode": lambda self, ids: "".join("x" for _ in ids)}, "'abc' came back as 'xxx'"),
        ({"decode": lambda self, ids: "x"}, "no ids, no text"),
        ({"piece": lambda self, id: id}, "every id has a piece"),
        ({"token": lambda self, piece: -1}, r"token\(\) gives None for an unknown piece"),
    ],
)
def test_wrong_tokenizer(family, methods, message):
    with pytest.raises(AssertionError, match=message):
        check_tokenizer(altered(family.Letters, **methods), {None: ["abc"]})


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("resolve", lambda made, *_: (dict(language="en"), ()), r"resolve\(\) gives the dialect's Options"),
        ("prompt", lambda made, *_: (), "empty prompt for 'en'"),
        ("prompt", lambda made, *_: (27,), r"prompt ids out of range: \(27,\)"),
        ("request", lambda made, *_: attrs.evolve(made, limit=0), "must have room for text"),
        ("request", lambda made, *_: attrs.evolve(made, stops=frozenset()), "something must end a row"),
        ("request", lambda made, *_: attrs.evolve(made, prompt=(3,)), r"request\(\) and prompt\(\) disagree"),
        ("wordless", lambda made, *_: frozenset({27}), r"wordless\(\) gives ids of the decoder"),
        ("read", lambda made, *_: made.text, r"read\(\) gives a Passage"),
        ("read", lambda made, *_: attrs.evolve(made, text=" " + made.text), "text has no outer spaces"),
        (
            "read",
            lambda made, *_: attrs.evolve(made, segments=tuple(attrs.evolve(s, end=99.0) for s in made.segments)),
            "lies outside the recording",
        ),
    ],
)
def test_wrong_dialect(family, name, change, message):
    original = getattr(family.Plain, name)
    wrong = altered(family.Plain, **{name: lambda self, *args: change(original(self, *args), *args)})
    with pytest.raises(AssertionError, match=message):
        check_dialect(wrong, family.SIZE)


def test_dialect_that_takes_everything(family):
    wrong = altered(family.Plain, resolve=lambda self, wishes: (family.Wishes(), ()))
    with pytest.raises(AssertionError, match=r"resolve\(\{'language': 'no such language'\}\) must raise OptionError"):
        check_dialect(wrong, family.SIZE)


def test_dialect_that_refuses_everything(family):
    def resolve(self, wishes):
        raise OptionError("no")

    with pytest.raises(OptionError):
        check_dialect(altered(family.Plain, resolve=resolve), family.SIZE)


def clips_at(blocks, rate, *starts, shift=0, louder=1, **wrong):
    """A clip of a second from each start on, in seconds, with something wrong."""
    samples = np.concatenate(list(blocks))
    for start in starts:
        first = (start + shift) * rate
        yield Clip(samples[first : first + rate] * louder, float(start), rate=rate, **wrong)


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({"split": lambda self, b, rate, longest: []}, "a recording with sound gives clips"),
        ({"split": lambda self, b, rate, longest: clips_at(b, rate, 1, 0)}, "clips come in order"),
        ({"split": lambda self, b, rate, longest: clips_at(b, rate, 0, shift=1)}, "clips are not copies"),
        ({"split": lambda self, b, rate, longest: clips_at(b, rate, 0, louder=2)}, "clips are not copies"),
        ({"split": lambda self, b, rate, longest: clips_at(b, rate, 0, seconds=7.0)}, "a clip knows its length"),
        ({"split": lambda self, b, rate, longest: clips_at(b, rate, 0, spans=((0.5, 99.0),))}, "is outside its clip"),
        ({"split": lambda self, b, rate, longest: clips_at([next(iter(b))], rate, 0)}, "the size of blocks changes"),
        ({"listens": None}, "listens says whether"),
        ({"listens": True}, "a segmenter that listens gives spans"),
        ({"part": lambda self, left, right: (right, left)}, "clips that share nothing keep their text"),
        ({"part": lambda self, left, right: (left, right)}, "said once, found 'one two three two three four'"),
    ],
)
def test_wrong_segmenter(methods, message):
    wrong = type("Wrong", (), {"split": Whole.split, "part": Whole.part, "listens": False} | methods)()
    with pytest.raises(AssertionError, match=message):
        check_segmenter(wrong)


def evenly(waveforms, texts):
    """Words that divide a second among them."""
    return [
        [Word(word, n / len(text.split()), (n + 1) / len(text.split())) for n, word in enumerate(text.split())]
        for text in texts
    ]


def shifted(seconds):
    def aligner(waveforms, texts):
        move = seconds(waveforms)
        return [[attrs.evolve(w, start=w.start + move, end=w.end + move) for w in row] for row in evenly(0, texts)]

    return aligner


@pytest.mark.parametrize(
    ("aligner", "message"),
    [
        (lambda w, t: evenly(w, t)[:1], "one row a text"),
        (lambda w, t: [row[::-1] for row in evenly(w, t)], "in their order"),
        (lambda w, t: [[Word("d", 0.0, 1.0)] for _ in t], "words are not those of"),
        (lambda w, t: [[attrs.evolve(one, end=0.9) for one in row] for row in evenly(w, t)], "go back"),
        (shifted(lambda waveforms: -0.5), "outside the waveform"),
        (shifted(lambda waveforms: 1.0), "outside the waveform"),
        (shifted(lambda waveforms: len(waveforms) / 100), "depends on its neighbours"),
        (lambda w, t: [row[: len(t)] for row in evenly(w, t)], "depends on its neighbours"),
    ],
)
def test_wrong_aligners(aligner, message):
    with pytest.raises(AssertionError, match=message):
        check_aligner(aligner)


def test_right_aligner():
    check_aligner(evenly)
    check_aligner(lambda waveforms, texts: [row[1:] for row in evenly(waveforms, texts)])
