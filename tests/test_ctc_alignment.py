"""Forced alignment: the best of all paths, found by trying them all, and words out of its frames."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from asrkit.ctc_alignment import CTCAligner, viterbi
from asrkit.errors import BackendError
from asrkit.strategies.ctc_greedy import collapse
from asrkit.testing import installed_backends

BACKENDS = installed_backends()
BLANK = 3


def score_of(scores, path):
    return sum(row[label] for row, label in zip(scores, path, strict=True))


@pytest.mark.parametrize("labels", [(0,), (0, 1), (0, 0), (2, 2, 2), (0, 1, 0), (1, 1, 0, 2)])
@pytest.mark.parametrize("frames", [1, 3, 5, 6])
def test_the_path_is_the_best_of_all_that_say_the_text(labels, frames):
    scores = np.log(np.random.default_rng(frames).dirichlet(np.full(4, 0.3), frames)).astype(np.float32)
    ways = itertools.product(range(4), repeat=frames)
    said = [way for way in ways if collapse(np.array(way), np.zeros(frames), BLANK, 99).tokens == labels]
    spans = viterbi(scores, labels, BLANK)
    if not said:
        assert spans is None
        return
    path = [BLANK] * frames
    for label, (first, end) in zip(labels, spans, strict=True):
        assert first < end
        path[first:end] = [label] * (end - first)
    assert tuple(path) in said
    assert score_of(scores, path) == pytest.approx(max(score_of(scores, way) for way in said))


def test_no_text_has_no_frames():
    assert viterbi(np.zeros((5, 4), np.float32), (), BLANK) == ()
    assert viterbi(np.zeros((0, 4), np.float32), (1,), BLANK) is None


def test_what_is_no_number_is_told():
    with pytest.raises(BackendError, match="the aligner computed NaN or infinity"):
        viterbi(np.full((5, 4), np.nan, np.float32), (1, 2), BLANK)


UNKNOWN = 26
PIECES = {26: "<unk>", 27: ",", 28: "."}


class Spelling:
    """Tokenizer of small letters and two marks; it makes nothing of ``~``, and of all else the unknown piece."""

    size = 29
    languages = ()

    def piece(self, id):
        return PIECES.get(id, chr(97 + id))

    def encode(self, text, language=None):
        ids = {self.piece(id_): id_ for id_ in range(self.size)}
        return tuple(ids.get(letter, UNKNOWN) for letter in text if letter != "~")


class Sayer:
    """Classifier: a frame of energy n says class n - 1, silence the blank."""

    blank = 29

    def __init__(self, backend):
        self.ops = backend.ops

    def __call__(self, encoded):
        xp = self.ops.xp
        slots = xp.astype(xp.arange(30, dtype=xp.int32), xp.float32)
        said = xp.where(encoded.values < 0.5, encoded.values * 0 + self.blank + 1, encoded.values)
        return self.ops.log_softmax(0.0 - 9 * xp.abs(slots[None, None, :] + 1 - said))


class Early:
    """Frontend that begins half a frame early, with 50 samples of silence."""

    def __init__(self, frontend):
        self.frontend, self.rate, self.hop = frontend, frontend.rate, frontend.hop

    def lead(self, samples):
        return 50

    def __call__(self, waveforms):
        return self.frontend(waveforms)


@pytest.fixture(params=BACKENDS)
def aligner(request, family):
    backend = BACKENDS[request.param]
    return CTCAligner(family.Energies(), family.Identity(), Sayer(backend), Spelling(), backend)


def times(words):
    return [(word.text, round(10 * word.start), round(10 * word.end)) for word in words]


def speak(*ids):
    """Samples of frames that say these ids; None says nothing."""
    levels = [0 if id_ is None else (id_ + 1) / 100 for id_ in ids]
    return np.repeat(levels, 100).astype(np.float32)


def test_words_lie_where_they_are_said(aligner):
    a, b, comma = 0, 1, 27
    said = [
        speak(None, a, a, b, None, b, a),
        speak(a, b, None, comma, comma, None, b, 28),
        speak(comma, None, a),
        speak(UNKNOWN, UNKNOWN, None, a, UNKNOWN, b),
        speak(a, None, b),
    ]
    texts = ["ab  ba", "ab, b.", ", a", "\u2047 a\u2047b", "a ~ b"]
    found = [times(words) for words in aligner(said, texts)]
    assert found == [
        [("ab", 1, 4), ("ba", 5, 7)],
        [("ab,", 0, 2), ("b.", 6, 7)],  # nobody speaks punctuation
        [(",", 0, 0), ("a", 2, 3)],
        [("\u2047", 0, 2), ("a\u2047b", 3, 6)],
        [("a", 0, 1), ("b", 2, 3)],
    ]


def test_a_mark_that_the_vocabulary_lacks_makes_no_word_longer(aligner):
    (words,) = aligner([speak(0, 1, UNKNOWN, UNKNOWN, None, 2, UNKNOWN, UNKNOWN)], ["ab! c?"])
    assert times(words) == [("ab!", 0, 2), ("c?", 5, 6)]
    (words,) = aligner([speak(0, 1, UNKNOWN, UNKNOWN)], ["abX"])
    assert times(words) == [("abX", 0, 4)]


def test_text_that_does_not_fit_gets_no_times(aligner):
    said = speak(0, 1, 1)
    assert [len(words) for words in aligner([said] * 4, ["abc", "abb", "abcd", ""])] == [1, 0, 0, 0]


def test_rows_are_what_they_are_alone(aligner):
    said, texts = [speak(0, None, 1), speak(2), speak(0, 1, 2, 3, None, 4, 5, 6, 7)], ["a b", "c", "abcd efgh"]
    together = aligner(said, texts)
    assert together == [aligner([one], [text])[0] for one, text in zip(said, texts, strict=True)]


def test_times_lie_in_the_waveform_and_not_in_what_is_put_before(family):
    backend = BACKENDS["numpy"]
    aligner = CTCAligner(Early(family.Energies()), family.Identity(), Sayer(backend), Spelling(), backend)
    (words,) = aligner([speak(0, 1, None, 2)], ["ab c"])
    assert [(w.text, w.start, w.end) for w in words] == [
        ("ab", 0.0, pytest.approx(0.15)), ("c", pytest.approx(0.25), pytest.approx(0.35))
    ]  # fmt: skip


def test_the_classifier_sees_no_padding(aligner):
    rows = aligner.log_probabilities([speak(0), speak(1, 2, 3)])
    assert [row.shape for row in rows] == [(1, 30), (3, 30)]
