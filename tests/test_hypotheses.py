"""What results tell of the hypotheses behind them: confidences of tokens and words, alternatives."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from asrkit.confidence import with_words, word_confidences
from asrkit.errors import OptionError
from asrkit.formats.json import as_dict
from asrkit.pipeline import with_hypotheses
from asrkit.segmenters.joining import merge
from asrkit.values import Alternative, Clip, Heard, Hypothesis, Passage, Segment, Word

BEAM = {"language": "en", "strategy": "attention-beam"}


def test_alternatives_of_a_recording(model, say):
    result = model.transcribe(say("hello"), n_best=3, **BEAM)
    assert [len(result.alternatives), result.alternatives[0].text, result.text] == [3, "hello", "hello"]
    assert result.alternatives[0].tokens == result.tokens
    scores = [one.score for one in result.alternatives]
    assert scores == sorted(scores, reverse=True)
    assert len({one.text for one in result.alternatives}) == 3


def test_no_alternatives_unless_asked_for(model, say):
    for options in (BEAM, {"language": "en"}):
        result = model.transcribe(say("hello"), **options)
        assert (result.alternatives, result.confidences, result.confidence) == ((), (), None)
        assert not {"alternatives", "confidence", "confidences"} & set(as_dict(result, tokens=True))


def test_a_beam_alone_or_in_a_batch(model, say):
    words = ["hello", "a", "xyz", "kk"]
    together = model.transcribe([say(word) for word in words], batch_size=4, n_best=2, **BEAM)
    alone = [model.transcribe(say(word), n_best=2, **BEAM) for word in words]
    assert [[one.text for one in result.alternatives] for result in together] == [
        [one.text for one in result.alternatives] for result in alone
    ]


def test_alternatives_of_several_clips_are_left_out(model, say):
    asked = {"segmenter": "fixed", "max_segment": 1.0, "overlap": 0.0, "guards": False}
    result = model.transcribe(say("abcdefghijklmnopqrstuvwxyz"), n_best=2, **asked, **BEAM)
    assert result.alternatives == ()
    assert [notice.code for notice in result.warnings] == ["alternatives-left-out"]


def test_confidences_of_several_clips_follow_each_other(model, say):
    asked = {"segmenter": "fixed", "max_segment": 1.0, "overlap": 0.0, "guards": False}
    result = model.transcribe(say("abcdefghijklmnopqrstuvwxyz"), language="en", confidence=True, **asked)
    assert len(result.confidences) == len(result.tokens) == 26
    assert result.confidence == pytest.approx(np.mean(result.confidences))


def test_a_stream_has_no_alternatives(model, say):
    samples, rate = say("abc")
    with pytest.raises(OptionError, match=r"^a stream gives segments and no alternatives; n_best is for whole record"):
        list(model.transcribe_stream([samples], rate, n_best=2, **BEAM))


def test_greedy_search_has_no_beam(model, say):
    with pytest.raises(OptionError, match="has no option 'n_best'"):
        model.transcribe(say("abc"), language="en", n_best=2)


def test_json_of_alternatives_and_confidences(model, say):
    result = model.transcribe(say("xy"), n_best=2, **BEAM)
    found = as_dict(result)["alternatives"]
    assert found == [{"score": round(one.score, 4), "text": one.text} for one in result.alternatives]
    assert as_dict(result, tokens=True)["alternatives"][0]["tokens"] == [24, 25]
    sure = attrs.evolve(result, alternatives=(), confidences=(0.123456, 0.5))
    found = as_dict(sure, tokens=True)
    assert list(found)[-2:] == ["tokens", "confidences"]
    assert (found["confidence"], found["confidences"]) == (0.3117, [0.1235, 0.5])
    assert "confidences" not in as_dict(sure)


def test_json_of_sure_words(model, say):
    words = (Word("a", 0.0, 0.1, 0.25), Word("b", 0.1, 0.2))
    result = attrs.evolve(model.transcribe(say("ab"), language="en"), segments=(Segment("a b", 0.0, 0.2, words),))
    assert as_dict(result)["segments"][0]["words"] == [
        {"start": 0.0, "end": 0.1, "text": "a", "confidence": 0.25},
        {"start": 0.1, "end": 0.2, "text": "b"},
    ]


# What is read from hypotheses


def passage(text="ab", tokens=(1, 2), **more):
    return Passage(text, text, tokens, **more)


def test_confidences_go_with_the_tokens_that_are_shown():
    best = Hypothesis((1, 2, 9), (-0.1,) * 3, True, (0.5, 0.25, 0.1))
    assert with_hypotheses([passage()], [best]).confidences == (0.5, 0.25)
    assert with_hypotheses([passage(tokens=(2, 9))], [best]).confidences == ()


def test_alternatives_have_the_rank_or_else_the_score():
    hypotheses = [Hypothesis((1, 2), (-1.0, -2.0), True, rank=-1.5), Hypothesis((3,), (-4.0,), False)]
    found = with_hypotheses([passage(), passage("c", (3,))], hypotheses)
    assert found.alternatives == (Alternative("ab", -1.5, (1, 2)), Alternative("c", -4.0, (3,)))
    assert found.text == "ab"


def test_joined_passages():
    def heard(number, **more):
        return Heard(Clip(np.zeros(0), float(number), seconds=1.0), passage(**more))

    alternatives = (Alternative("ab", -1.0, (1, 2)), Alternative("b", -2.0, (2,)))
    one = heard(0, alternatives=alternatives, confidences=(0.5, 0.25))
    assert merge([one]).alternatives == alternatives
    both = merge([one, merge_again(heard)])
    assert (both.alternatives, both.confidences) == ((), (0.5, 0.25, 0.75, 1.0, 0.75, 1.0))
    assert [notice.code for notice in both.notices] == ["alternatives-left-out"]
    assert merge([one, heard(1)]).confidences == ()  # of some tokens nothing is known


def merge_again(heard):
    """A clip that was decoded in halves, which have left theirs out already."""
    alternatives = (Alternative("ab", -1.0, (1, 2)),) * 2
    halves = [heard(n, alternatives=alternatives, confidences=(0.75, 1.0)) for n in (1, 2)]
    return Heard(halves[0].clip, merge(halves))


class Pieces:
    """A tokenizer whose pieces begin words with a space; text has no space at its beginning. ``<x>`` is special."""

    size = 6
    pieces = (" the", " dog", "s", "<x>", ".", "é")

    def decode(self, ids):
        return "".join(self.pieces[i] for i in ids).removeprefix(" ")

    def piece(self, id):
        return self.pieces[id]

    def token(self, piece):
        return 3 if piece == "<x>" else None


@pytest.mark.parametrize(
    ("tokens", "text", "expected"),
    [
        ((0, 1, 2, 4), "the dogs.", (0.9, 0.6)),
        ((3, 0, 3, 1), "the dog", (0.8, 0.6)),
        ((0, 3, 2), "the s", (0.9, 0.7)),
        ((0, 99, 1), "the dog", (0.9, 0.7)),
        ((), "", ()),
        ((3,), "", ()),
        ((0, 1), "the cat", None),
        ((0, 1), "the", None),
    ],
)
def test_a_word_is_as_sure_as_its_least_sure_token(tokens, text, expected):
    assert word_confidences(Pieces(), tokens, (0.9, 0.8, 0.7, 0.6)[: len(tokens)], text) == expected


def test_words_of_a_passage():
    words = (Word("the dog", 0.0, 1.0), Word("the", 1.0, 2.0))
    given = Passage(
        "the dog the", "", (0, 1, 0), (Segment("the dog the", 0.0, 2.0, words),), confidences=(0.9, 0.5, 0.7)
    )
    found = with_words(given, Pieces())
    assert [word.confidence for word in found.segments[0].words] == [0.5, 0.7]
    for unknown in (
        attrs.evolve(given, confidences=()),
        attrs.evolve(given, text="the dog"),
        attrs.evolve(given, tokens=(0, 0, 0)),
        attrs.evolve(given, segments=()),
    ):
        assert with_words(unknown, Pieces()) == unknown
