"""Words and their times out of tokens whose frames are known.

Source: NeMo 3.0 ``parts/utils/timestamp_utils`` and ``parts/submodules/{ctc,rnnt}_decoding``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Literal

import attrs

from asrkit.interfaces import Tokenizer
from asrkit.values import Hypothesis

__all__ = ["Head", "Reader", "Timed", "marks_of"]

Head = Literal["ctc", "rnnt", "tdt"]

BOUNDARY = "\u2581"
SPECIAL = re.compile(r"\[.*\]|<.*>|##.*|\u2581.*|\s*", re.DOTALL)
"""Pieces whose punctuation says nothing about how the model punctuates."""

Span = tuple[int, int]


@attrs.frozen
class Timed:
    """A word, its first frame and the one after its last."""

    text: str
    start: int
    end: int


def marks_of(pieces: Sequence[str]) -> frozenset[str]:
    """The punctuation marks of a vocabulary."""
    plain = [piece for piece in pieces if not SPECIAL.fullmatch(piece)]
    return frozenset(mark for piece in plain for mark in piece if unicodedata.category(mark).startswith("P"))


class Reader:
    """Reads the tokens of one model.

    Args:
        tokenizer: the model's.
        head: what has found the tokens; NeMo's times depend on it.
    """

    def __init__(self, tokenizer: Tokenizer, head: Head) -> None:
        self.tokenizer, self.head = tokenizer, head
        pieces = [tokenizer.piece(id_) for id_ in range(tokenizer.size)]
        self.marks = marks_of(pieces)
        self._spaced = re.compile(rf"\s({'|'.join(map(re.escape, sorted(self.marks)))})") if self.marks else None
        texts = [tokenizer.decode([id_]) for id_ in range(tokenizer.size)]
        self._is_mark = [text in self.marks for text in texts]
        # A piece that decoding changes had a word boundary before it; so has an unknown one, which decodes to a sign.
        self._opens = [piece != text for piece, text in zip(pieces, texts, strict=True)]
        self._is_boundary = [piece == BOUNDARY for piece in pieces]

    def text(self, tokens: Sequence[int]) -> str:
        """Text of tokens, no white space before punctuation."""
        text = self.tokenizer.decode(tokens)
        return (self._spaced.sub(r"\1", text) if self._spaced else text).strip()

    def words(self, hypothesis: Hypothesis) -> list[Timed]:
        """Words from the first frame of their first token to the end of the last one.

        Punctuation, which a model may utter long after the word, does not make it longer. A word lasts at least one
        frame, unless the next one begins in it.
        """
        spans = list(zip(hypothesis.frames, hypothesis.ends, strict=True))
        words = self._words(hypothesis.tokens)
        found = []
        for word, following in zip(words, [*words[1:], None], strict=False):
            spoken = [place for place in word if not self._is_mark[hypothesis.tokens[place]]] or word
            start = spans[word[0]][0]
            end = max(start + 1, *(spans[place][1] for place in spoken))
            found.append((word, start, end if following is None else min(end, spans[following[0]][0])))
        return self._timed(hypothesis, found)

    def words_as_nemo(self, hypothesis: Hypothesis) -> list[Timed]:
        """Words with the times that NeMo gives them."""
        spans = self._spans_as_nemo(hypothesis)
        found = []
        for n, word in enumerate(self._words(hypothesis.tokens)):
            start = spans[word[0] if n else 0][0]
            found.append((word, start, max(start, spans[word[-1]][1])))
        return self._timed(hypothesis, found)

    def _timed(self, hypothesis: Hypothesis, found: Sequence[tuple[list[int], int, int]]) -> list[Timed]:
        words = []
        for word, start, end in found:
            tokens = [hypothesis.tokens[place] for place in word]
            # A boundary that stands alone before punctuation is a space that the text has not.
            kept = [
                token
                for n, token in enumerate(tokens)
                if not (self._is_boundary[token] and n + 1 < len(tokens) and self._is_mark[tokens[n + 1]])
            ]
            if text := self.text(kept):
                words.append(Timed(text, start, end))
        return words

    def _words(self, tokens: Sequence[int]) -> list[list[int]]:
        """Places of the tokens of each word."""
        words: list[list[int]] = []
        for place, token in enumerate(tokens):
            if not words or (self._opens[token] and not self._is_mark[token]):
                words.append([])
            words[-1].append(place)
        return words

    def _spans_as_nemo(self, hypothesis: Hypothesis) -> list[Span]:
        starts, ends = hypothesis.frames, hypothesis.ends
        if self.head == "ctc":
            # A token is said to last from the onset of the one before it to its own.
            starts, ends = (max(starts[0] - 1, 0), *starts[:-1]) if starts else (), starts
        spans: list[Span] = []
        for place, (token, start, end) in enumerate(zip(hypothesis.tokens, starts, ends, strict=True)):
            if place and self._is_mark[token] and self.head != "rnnt":
                point = start if self.head == "ctc" else spans[-1][1]
                spans.append((point, point))
            else:
                spans.append((start, end))
        return spans
