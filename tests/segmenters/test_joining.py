from __future__ import annotations

import itertools

import numpy as np
import pytest

from asrkit.segmenters.joining import merge, onward, part, seam, spread, timed
from asrkit.values import Clip, Heard, Passage, Segment, Word


def heard(text, start=0.0, seconds=10.0, overlap=0.0, spans=None, segments=()):
    clip = Clip(np.zeros(0), start, spans, overlap, seconds=seconds)
    return Heard(clip, Passage(text, text, (), segments))


def joined(left, right):
    return merge(part(left, right)).text


@pytest.mark.parametrize(
    ("left", "right", "text"),
    [
        ("a b c d one two three", "two three four five six seven", "a b c d one two three four five six seven"),
        ("we saw the old hou", "the old house on the hill", "we saw the old house on the hill"),
        ("It is Monday, and", "Monday and Tuesday.", "It is Monday, and Tuesday."),
        ("we went home and", "And it was late", "we went home and it was late"),
    ],
)
def test_what_both_heard_is_said_once(left, right, text):
    found = joined(heard(left), heard(right, 8.0, overlap=2.0)).lower()
    assert found.replace(",", "") == text.lower().replace(",", "")


def test_without_anything_in_common_times_tell():
    left = heard("a b c d e f g h i j", spans=((0.0, 10.0),))
    right = heard("k l m n o p q r s t", 8.0, overlap=2.0, spans=((8.0, 18.0),))
    assert joined(left, right) == "a b c d e f g h i l m n o p q r s t"
    left = heard("a b c d e f g h i j", spans=((0.0, 8.5),))
    right = heard("k l m n o p q r s t", 8.0, overlap=2.0, spans=((9.5, 18.0),))
    assert joined(left, right) == "a b c d e f g h i j k l m n o p q r s t", "there is a pause in the overlap"


def test_nothing_is_lost_where_nobody_knows_times():
    left, right = heard("a b c d e f g h i j"), heard("k l m n o p q r s t", 8.0, overlap=2.0)
    assert joined(left, right) == "a b c d e f g h i j k l m n o p q r s t"


@pytest.mark.parametrize(("left", "right"), [("a b c", ""), ("", "a b c")])
def test_an_empty_side_takes_nothing_away(left, right):
    assert joined(heard(left, spans=((0, 10),)), heard(right, 8.0, overlap=2.0, spans=((8, 18),))) == "a b c"


def test_segments_with_and_without_words_both_count():
    segments = (words("a b c", 0.0), Segment("d e f", 4.0, 9.0))
    left = heard("a b c d e f", segments=segments)
    right = heard("e f g h i j", 8.0, overlap=2.0, segments=(Segment("e f g h i j", 8.0, 18.0),))
    assert joined(left, right) == "a b c d e f g h i j"
    assert [s.text for s in part(left, right)[0].passage.segments] == ["a b c", "d e"]


def test_words_far_from_the_overlap_are_never_joined():
    left = heard("the cat sat here " + "x " * 30)
    right = heard("y " * 30 + "the cat sat here", 8.0, overlap=1.0)
    assert joined(left, right).count("the cat sat here") == 2


def test_neighbours_without_overlap_stay():
    left, right = heard("one two"), heard("one two", 10.0)
    assert part(left, right) == (left, right)


def words(text, start, step=1.0):
    made = tuple(Word(word, start + n * step, start + (n + 0.8) * step) for n, word in enumerate(text.split()))
    return Segment(text, made[0].start, made[-1].end, made)


def test_words_keep_their_times():
    left = heard("a b c d e f", segments=(words("a b c d", 0.0), words("e f", 4.0)))
    right = heard("e f g h", 4.0, overlap=2.0, segments=(words("e f g h", 4.0),))
    merged = merge(part(left, right))
    assert merged.text == "a b c d e f g h"
    assert [(w.text, w.start) for s in merged.segments for w in s.words] == list(zip("abcdefgh", range(8), strict=True))
    assert [s.text for s in merged.segments] == ["a b c d", "e", "f g h"]


def test_speech_is_cut_at_the_seam():
    left = heard("a b c d", spans=((1.0, 9.9),))
    right = heard("d e f g", 8.0, overlap=2.0, spans=((8.0, 12.0), (15.0, 17.0)))
    left, right = part(left, right)
    assert (left.clip.spans, right.clip.spans) == (((1.0, 9.0),), ((9.0, 12.0), (15.0, 17.0)))


def test_times_never_go_back():
    pieces = [heard("", 0.0, segments=(words("a b", 0.0, 6.0),)), heard("", 10.0, segments=(words("c d", 9.0),))]
    pieces = [Heard(p.clip, Passage("x", "", (), p.passage.segments)) for p in pieces]
    times = [t for s in merge(pieces).segments for w in s.words for t in (w.start, w.end)]
    assert times == sorted(times)


def test_onward():
    segment = words("a b c", 0.0)
    assert onward(segment, -1) is segment
    moved = onward(segment, 0.5, 2.0)
    assert (moved.start, moved.end) == (0.5, 2.0)
    assert [(w.start, w.end) for w in moved.words] == [(0.5, 0.8), (1.0, 1.8), (2.0, 2.0)]


def test_text_is_spread_over_speech():
    text = "Here we are again. This is the second sentence, and it is longer."
    segments = spread(text, [(1.0, 2.2), (4.0, 8.0)])
    assert [(s.text, s.start, s.end) for s in segments] == [
        ("Here we are again.", 1.0, 2.2),
        ("This is the second sentence, and it is longer.", 4.0, 8.0),
    ]


@pytest.mark.parametrize("count", [1, 2, 5, 40])
@pytest.mark.parametrize("spans", [[(0, 1)], [(0, 1), (1.2, 3), (9, 11)], [(n, n + 0.3) for n in range(9)]])
def test_no_word_is_lost_in_spreading(count, spans):
    text = " ".join(f"w{n}" for n in range(count))
    segments = spread(text, spans)
    assert " ".join(s.text for s in segments) == text
    assert all(a.end <= b.start for a, b in itertools.pairwise(segments))
    assert spans[0][0] <= segments[0].start
    assert segments[-1].end <= spans[-1][1]


def test_a_clip_that_nobody_listened_to_is_one_segment():
    (segment,) = timed(heard("some words", 3.0, 4.0))
    assert segment == Segment("some words", 3.0, 7.0)
    assert timed(heard("", 3.0)) == ()


def said(text, start, step=0.5):
    return [Word(word, start + n * step, start + (n + 1) * step) for n, word in enumerate(text.split())]


@pytest.mark.parametrize(
    ("left", "right", "found"),
    [
        (said("a b c d e", 0.0), said("d e f", 1.5), (4, 1)),
        ([], [], None),
        (said("x y", 0.0), said("p q", 0.5), None),
        # The same words, but at another time.
        (said("set a timer for ten. We have five sheep", 0.0), said("we have. Set a timer for six", 3.0), (6, 1)),
        (said("of course of course it is", 0.0), said("of course it is", 1.0), (4, 2)),
    ],
)
def test_seam_in_numbers(left, right, found):
    assert seam(left, right, 1.5, 1.0) == found
