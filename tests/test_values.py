from __future__ import annotations

import copy
import pickle

import attrs
import numpy as np
import pytest

from asrkit import values
from asrkit.errors import listed, suggestion
from asrkit.segmenters.joining import merge
from asrkit.values import Clip, Clock, Heard, Hypothesis, Notice, Passage, Segment, Timing, Transcript, Word


@pytest.mark.parametrize(("frame", "seconds"), [(0, 0.5), (10, 1.5), (15, 2.0), (99, 2.0), (-5, 0.0), (-9, 0.0)])
def test_clock_stays_inside_the_recording(frame, seconds):
    assert Clock(0.1, 0.5, 2.0).seconds(frame) == pytest.approx(seconds)


def test_score_is_the_sum():
    assert Hypothesis((1, 2), (-0.5, -1.0), True).score == -1.5


@pytest.mark.parametrize("name", values.__all__)
def test_values_are_frozen(name):
    cls = getattr(values, name)
    made = cls(*[None] * len(attrs.fields(cls)))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(made, attrs.fields(cls)[0].name, 1)


def test_passages_are_merged_in_order():
    one = Passage("one", " one", (1, 2), (Segment("one", 0, 1),), (Notice("a", "a"),))
    silent = Passage("", " ", ())
    two = Passage("two", " two", (3,), (Segment("two", 1, 2),), (Notice("b", "b"),))
    clips = [Clip(np.zeros(100), start, rate=100) for start in (0.0, 1.0, 2.0)]
    assert merge([Heard(clip, passage) for clip, passage in zip(clips, [one, silent, two], strict=True)]) == Passage(
        "one two",
        " one    two",
        (1, 2, 3),
        (Segment("one", 0, 1), Segment("two", 1, 2)),
        (Notice("a", "a"), Notice("b", "b")),
    )


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ([], "none"),
        (["b", "a"], "a, b"),
        (range(10), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        ([f"{n:02}" for n in range(12)], "00, 01, 02, 03, 04, 05, 06, 07, 08, 09 and 2 more"),
    ],
)
def test_listed(names, shown):
    assert listed(names) == shown


@pytest.mark.parametrize(("name", "hint"), [("gredy", " (did you mean 'greedy'?)"), ("zzz", "")])
def test_suggestion(name, hint):
    assert suggestion(name, ["greedy", "beam"]) == hint


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_a_transcript_can_be_sent_elsewhere(copied):
    words = (Word("ab", 0.0, 0.5),)
    made = Transcript(
        *("a.wav", "m", "numpy", "fp32", "en", None, None, 0.5, "ab", " ab"),
        segments=(Segment("ab", 0.0, 0.5, words),),
        tokens=(1, 2),
        warnings=(Notice("a", "b", once=True),),
        timing=Timing(load=0.5, total=1.0),
    )
    found = copied(made)
    assert found == made
    assert found.timing == Timing(load=0.5, total=1.0)
