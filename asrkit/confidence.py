"""How sure a model was of each token, from the distribution that it was chosen from; for any strategy.

The measures are two of NeMo's: its default, ``entropy`` (Tsallis entropy with exponential normalisation), and
``max_prob``, the highest probability (there with alpha 1). A distribution with all its mass on one class has 1, an even
one has 0. Neither is a probability of being right.

Source: NeMo 3.0 ``asr/parts/utils/asr_confidence_utils``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import attrs

from asrkit.arrays import Array
from asrkit.interfaces import Tokenizer
from asrkit.values import Passage, Segment

__all__ = ["ALPHA", "Measure", "least_confidence", "token_confidences", "with_words", "word_confidences"]

Measure: TypeAlias = Literal["entropy", "max_prob"]

ALPHA = 0.33
"""Power of the probabilities in the entropy: below 1, improbable classes count for more."""


def token_confidences(xp: Any, log_probabilities: Array, size: int, measure: Measure = "entropy") -> Array:
    """Confidence of each distribution of (..., V) log-probabilities: (...) float32 from 0 to 1. Graph code.

    Args:
        xp: the backend's namespace.
        size: V.
    """
    if measure == "max_prob":
        return (xp.exp(xp.max(log_probabilities, axis=-1)) * float(size) - 1.0) * (1 / (size - 1))
    total = xp.sum(xp.exp(log_probabilities * ALPHA), axis=-1)
    floor = math.exp((1 - size ** (1 - ALPHA)) / (1 - ALPHA))
    return (xp.exp((1.0 - total) * (1 / (1 - ALPHA))) - floor) * (1 / (1 - floor))


def least_confidence(confidences: Sequence[float]) -> float | None:
    """Confidence of a stretch of tokens: that of its least sure one, as NeMo has it; None without tokens."""
    return min(confidences, default=None)


def word_confidences(
    tokenizer: Tokenizer, tokens: Sequence[int], confidences: Sequence[float], text: str
) -> tuple[float, ...] | None:
    """Confidence of each word of a text, words being what spaces part; None if the tokens spell another text.

    Args:
        tokens: of the text, special ones among them.
        confidences: of each token.
    """
    letters: list[tuple[str, float]] = []
    for token, confidence, said in zip(tokens, confidences, _spelled(tokenizer, tokens), strict=True):
        # A special token is no part of the text, but parts words.
        special = token >= tokenizer.size or tokenizer.token(tokenizer.piece(token)) == token
        letters += [(" ", 0.0)] if special else [(letter, confidence) for letter in said]
    words: list[tuple[str, float]] = []
    inside = False
    for letter, confidence in letters:
        if letter.isspace():
            inside = False
        elif inside:
            words[-1] = words[-1][0] + letter, min(words[-1][1], confidence)
        else:
            words.append((letter, confidence))
            inside = True
    return tuple(sure for _, sure in words) if [word for word, _ in words] == text.split() else None


def _spelled(tokenizer: Tokenizer, tokens: Sequence[int]) -> list[str]:
    """What each token adds to the text of those before it."""
    known = [token if token < tokenizer.size else None for token in tokens]
    texts = [tokenizer.decode([t for t in known[:count] if t is not None]) for count in range(len(tokens) + 1)]
    return [after[len(before) :] for before, after in pairwise(texts)]


def with_words(passage: Passage, tokenizer: Tokenizer) -> Passage:
    """A passage whose words have confidences, if its tokens have some and spell its text."""
    words = [word for segment in passage.segments for word in segment.words]
    if not words or not passage.confidences or " ".join(word.text for word in words).split() != passage.text.split():
        return passage
    found = word_confidences(tokenizer, passage.tokens, passage.confidences, passage.text)
    if found is None:
        return passage
    left = iter(found)

    def sure(segment: Segment) -> Segment:
        known = tuple(
            attrs.evolve(word, confidence=least_confidence([next(left) for _ in word.text.split()]))
            for word in segment.words
        )
        return attrs.evolve(segment, words=known)

    return attrs.evolve(passage, segments=tuple(sure(segment) for segment in passage.segments))
