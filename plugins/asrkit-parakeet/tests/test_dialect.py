"""What may be asked, and how words and their times are read out of tokens."""

from __future__ import annotations

import attrs
import pytest
from parakeet_goldens import read_golden

from asrkit.errors import OptionError
from asrkit.testing import check_dialect
from asrkit.values import Clock, Hypothesis
from asrkit_parakeet.dialect import Parakeet
from asrkit_parakeet.pieces import Pieces
from asrkit_parakeet.words import Reader, marks_of

PIECES = ("<unk>", "\u2581the", "\u2581", "r", "e", ".", "\u2581a", ",", "'", "s", "\u2581end", "?")
TOKENIZER = Pieces(PIECES)


def said(text, frames=None, ends=None):
    """A hypothesis of pieces written with _ for the boundary."""
    tokens = tuple(PIECES.index(piece.replace("_", "\u2581")) for piece in text.split())
    frames = tuple(range(0, 2 * len(tokens), 2) if frames is None else frames)
    ends = tuple(start + 1 for start in frames) if ends is None else tuple(ends)
    return Hypothesis(tokens, (0.0,) * len(tokens), True, frames=frames, ends=ends)


def words(head, hypothesis, nemo=False):
    reader = Reader(TOKENIZER, head)
    return [(w.text, w.start, w.end) for w in (reader.words_as_nemo if nemo else reader.words)(hypothesis)]


def test_marks():
    assert marks_of(PIECES) == {".", ",", "'", "?"}
    assert marks_of(("<a.b>", "[!]", "##-", "\u2581;", "a:b", "")) == {":"}


def test_text_has_no_space_before_punctuation():
    assert Reader(TOKENIZER, "tdt").text(said("_the r e _ . _a _ ?").tokens) == "there. a?"


CASES = {
    "words begin at boundaries": ("_the r e _a", [("there", 0, 5), ("a", 6, 7)]),
    "punctuation belongs to its word and does not make it longer": ("_the . _a ,", [("the.", 0, 1), ("a,", 4, 5)]),
    "a boundary alone opens a word": ("_the _ r e", [("the", 0, 1), ("re", 2, 7)]),
    "an empty word is none": ("_the _ _a", [("the", 0, 1), ("a", 4, 5)]),
    "a boundary before punctuation is no space": ("_the _ . _a", [("the", 0, 1), (".", 2, 3), ("a", 6, 7)]),
    "punctuation first": (". _the", [(".", 0, 1), ("the", 2, 3)]),
    "an apostrophe inside": ("_the ' s", [("the's", 0, 5)]),
    "an unknown piece is a word": ("_the <unk> _a", [("the", 0, 1), ("\u2047", 2, 3), ("a", 4, 5)]),
    "no boundary at all": ("r e", [("re", 0, 3)]),
    "nothing": ("", []),
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("head", ["ctc", "rnnt", "tdt"])
def test_words(head, text, expected):
    assert words(head, said(text)) == expected


def test_a_word_lasts_a_frame_at_least():
    assert words("tdt", said("_the r", (3, 3), (3, 3))) == [("ther", 3, 4)]
    # but never into the next one
    assert words("tdt", said("_the _a _end", (3, 3, 5), (3, 9, 5))) == [("the", 3, 3), ("a", 3, 5), ("end", 5, 6)]


def test_times_as_nemo():
    text, frames, ends = "_the r . _a", (2, 5, 9, 10), (4, 7, 10, 12)
    assert words("tdt", said(text, frames, ends), nemo=True) == [("ther.", 2, 7), ("a", 10, 12)]
    assert words("rnnt", said(text, frames), nemo=True) == [("ther.", 2, 10), ("a", 10, 11)]
    # From the onset of the token before to its own; punctuation ends where it starts.
    assert words("ctc", said(text, frames, ends), nemo=True) == [("ther.", 1, 5), ("a", 9, 10)]


def test_segments_and_seconds():
    dialect = Parakeet(TOKENIZER, "tdt")
    passage = dialect.read(said("_the . _a _end ?"), Clock(0.08, 10.0, 10.5), dialect.resolve({})[0])
    assert [segment.text for segment in passage.segments] == ["the.", "a end?"]
    assert [(s.start, s.end) for s in passage.segments] == [
        pytest.approx((10.0, 10.08)),
        pytest.approx((10.32, 10.5)),  # not beyond the recording
    ]
    assert passage.text == "the. a end?"


def test_a_search_without_frames_gives_no_times():
    dialect = Parakeet(TOKENIZER, "tdt")
    hypothesis = attrs.evolve(said("_the _end"), frames=(), ends=())
    passage = dialect.read(hypothesis, Clock(0.08), dialect.resolve({})[0])
    assert (passage.text, passage.segments) == ("the end", ())


@pytest.mark.parametrize("languages", [("en",), ("de", "en"), ()])
def test_dialect(languages):
    check_dialect(Parakeet(TOKENIZER, "ctc", languages), 13, prompted=False)


@pytest.mark.parametrize(
    ("languages", "wishes", "language", "notices"),
    [
        (("en",), {}, "en", []),
        (("en",), {"language": "en", "target_language": "en", "task": "transcribe"}, "en", []),
        (("de", "en"), {}, None, []),
        (("de", "en"), {"language": "de"}, "de", ["language-noted"]),
        ((), {"language": "pt-BR"}, "pt-BR", ["language-noted"]),
    ],
)
def test_languages(languages, wishes, language, notices):
    options, found = Parakeet(TOKENIZER, "tdt", languages).resolve(wishes)
    assert (options.language, options.target_language) == (language, language)
    assert [notice.code for notice in found] == notices


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"language": "fr"}, "^the model has no language 'fr'; it has: de, en$"),
        ({"language": "de", "target_language": "en"}, "^the model does not translate, asked was: 'de' to 'en'$"),
        ({"task": "translate"}, "^the model has no task 'translate'; it has: transcribe$"),
        ({"times": "x"}, "option 'times' is frames or nemo, not 'x'"),
        ({"pnc": True}, "has no option 'pnc'"),
    ],
)
def test_wishes_that_cannot_be(wishes, message):
    with pytest.raises(OptionError, match=message):
        Parakeet(TOKENIZER, "tdt", ("de", "en")).resolve(wishes)


def test_pieces_read_as_the_tokenizer_does(golden, clips):
    from parakeet_goldens import built

    real, pieces = built(golden.name, golden.decoder, "numpy").tokenizer, Pieces(golden.pieces)
    assert pieces.size == real.size
    for fact in golden.facts.values():
        assert pieces.decode(fact["tokens"]) == real.decode(fact["tokens"])
    with pytest.raises(OptionError, match="texts cannot be encoded"):
        pieces.encode("the")


def test_goldens_have_many_words():
    assert sum(len(fact["word"]) for fact in read_golden("rnnt", "rnnt").facts.values()) > 20
