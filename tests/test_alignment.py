from __future__ import annotations

import itertools
import random

import pytest

from asrkit.alignment import align, sentences, without_marks
from asrkit.values import Word


def known(text, start=1.0, step=1.0):
    return [Word(word, start + n * step, start + n * step + 0.5) for n, word in enumerate(text.split())]


def test_every_word_takes_its_time():
    words, found = align("We need eight, blue hats.", known("we need eight blue hats"), 0.0, 9.0)
    assert found == 5
    assert [(w.text, w.start, w.end) for w in words] == [
        ("We", 1.0, 1.5), ("need", 2.0, 2.5), ("eight,", 3.0, 3.5), ("blue", 4.0, 4.5), ("hats.", 5.0, 5.5)
    ]  # fmt: skip


def test_words_without_a_time_lie_between_their_neighbours():
    words, found = align("a bb cccc d", [Word("a", 0.0, 1.0), Word("d", 4.0, 5.0)], 0.0, 6.0)
    assert found == 2
    assert [(w.start, w.end) for w in words] == [(0, 1), (1, 2), (2, 4), (4, 5)]
    words, found = align("a b", [], 2.0, 4.0)
    assert (found, [(w.start, w.end) for w in words]) == (0, [(2, 3), (3, 4)])
    assert align("", known("a"), 0, 1) == ((), 0)


def test_times_that_jump_are_not_believed():
    wrong = known("a b c d e")
    wrong[1] = Word("b", 99.0, 99.5)
    wrong[3] = Word("d", 0.0, 0.1)
    words, found = align("a b c d e", wrong, 0.0, 10.0)
    assert found == 3
    assert [w.start for w in words if w.text in "ace"] == [1.0, 3.0, 5.0]


@pytest.mark.parametrize("seed", range(20))
def test_times_never_go_back_and_no_word_is_lost(seed):
    rng = random.Random(seed)
    text = [rng.choice("abcdefg") for _ in range(30)]
    others = [Word(rng.choice("abcdefg"), t := rng.uniform(0, 30), t + rng.uniform(0, 3)) for _ in range(30)]
    words, _ = align(" ".join(text), others, 0.0, 33.0)
    assert [w.text for w in words] == text
    times = list(itertools.chain.from_iterable((w.start, w.end) for w in words))
    assert times == sorted(times)
    assert 0 <= times[0] <= times[-1] <= 33


def test_sentences():
    found = sentences(known("One two. Three? «Vier!» five"))
    assert [s.text for s in found] == ["One two.", "Three?", "«Vier!»", "five"]
    assert [(s.start, s.end) for s in found] == [(1, 2.5), (3, 3.5), (4, 4.5), (5, 5.5)]
    assert sentences([]) == ()


def test_marks():
    assert [without_marks(word) for word in ("It's", "ÜBER,", "-", "3.5")] == ["its", "über", "-", "35"]


def test_times_in_silence_are_not_believed():
    spans = [(0.0, 2.0), (5.0, 7.0)]
    wrong = [Word("a", 0.0, 0.5), Word("b", 3.4, 3.6), Word("c", 6.0, 6.5)]
    words, found = align("a b c", wrong, 0.0, 7.0, spans)
    assert found == 2
    assert [(w.text, w.start) for w in words] == [("a", 0.0), ("b", 0.5), ("c", 6.0)]


def test_words_without_a_time_lie_over_speech():
    words, found = align("aa bb cc dd", [], 0.0, 9.0, [(1.0, 3.0), (6.0, 8.0)])
    assert found == 0
    assert [(w.start, w.end) for w in words] == [(1, 2), (2, 3), (6, 7), (7, 8)]
