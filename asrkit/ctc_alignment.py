"""When the words of a text are spoken, by a CTC model that the text is laid over: forced alignment.

Source: NeMo 3.0 ``parts/utils/{aligner_utils,timestamp_utils}``; its arithmetic, and its reading of punctuation.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from asrkit.arrays import Encoded, Features
from asrkit.batching import to_device
from asrkit.errors import BackendError
from asrkit.interfaces import Backend, CTCDecoder, Encoder, Frontend, Tokenizer
from asrkit.values import Clock, Word

__all__ = ["CTCAligner", "viterbi"]

Span = tuple[int, int]

MARKS = frozenset(",.!?")
"""Pieces that nobody speaks: a CTC model may utter them long after the word."""
UNKNOWN, SIGN = "<unk>", "\u2047"
"""The unknown piece, and what decoding makes of it, which no tokenizer turns back."""


class CTCAligner:
    """An :class:`asrkit.interfaces.Aligner` made of a CTC model.

    Args:
        frontend, encoder, decoder, tokenizer: the CTC model's own; its blank is no id of the tokenizer.
        backend: that they were built for.
    """

    def __init__(
        self, frontend: Frontend, encoder: Encoder, decoder: CTCDecoder, tokenizer: Tokenizer, backend: Backend
    ) -> None:
        self.frontend, self.encoder, self.decoder = frontend, encoder, decoder
        self.tokenizer, self.backend = tokenizer, backend
        pieces = [tokenizer.piece(id_) for id_ in range(tokenizer.size)]
        self._marks = frozenset(id_ for id_, piece in enumerate(pieces) if piece in MARKS)
        self._unknown = pieces.index(UNKNOWN) if UNKNOWN in pieces else None

        def classify(features: Features) -> Encoded:
            encoded = encoder(features)
            return Encoded(decoder(encoded), encoded.lengths)

        self._classify = backend.compile(classify)

    def __call__(self, waveforms: Sequence[np.ndarray], texts: Sequence[str]) -> list[tuple[Word, ...]]:
        """The words of each text, with times in its waveform; none if its tokens do not fit into the frames."""
        found = []
        for waveform, text, scores in zip(waveforms, texts, self.log_probabilities(waveforms), strict=True):
            lead, seconds = self.frontend.lead(len(waveform)), len(waveform) / self.frontend.rate
            clock = Clock(self.frontend.hop * self.encoder.stride, -lead / self.frontend.rate, seconds)
            found.append(self._words(text, scores, clock))
        return found

    def log_probabilities(self, waveforms: Sequence[np.ndarray]) -> list[np.ndarray]:
        """(S, V) of each waveform, without padding."""
        features = to_device(self.frontend(waveforms), self.backend)
        values, lengths = self.backend.to_host(self._classify(features))
        return [row[:length] for row, length in zip(values[: len(waveforms)], lengths, strict=False)]

    def _words(self, text: str, scores: np.ndarray, clock: Clock) -> tuple[Word, ...]:
        words = [(word, self._encode(word)) for word in text.split()]
        spans = viterbi(scores, [label for _, labels in words for label in labels], self.decoder.blank)
        if spans is None:
            return ()
        timed, done = [], 0
        for word, labels in words:
            if not labels:  # what the tokenizer makes nothing of lies between its neighbours
                continue
            start, spoken = spans[done][0], self._spoken(word, labels)
            end = spans[done + spoken - 1][1] if spoken else start
            timed.append(Word(word, clock.seconds(start), clock.seconds(end)))
            done += len(labels)
        return tuple(timed)

    def _encode(self, word: str) -> tuple[int, ...]:
        """A word's ids, alone; the sign for what another tokenizer did not know is the unknown piece of this one."""
        if SIGN not in word or self._unknown is None:
            return self.tokenizer.encode(word)
        ids: list[int] = []
        for n, part in enumerate(word.split(SIGN)):
            ids += [self._unknown] * (n > 0)
            ids += self.tokenizer.encode(part) if part else ()
        return tuple(ids)

    def _spoken(self, word: str, labels: tuple[int, ...]) -> int:
        """How many of a word's labels there are before the punctuation at its end, which does not make it longer."""
        count = len(labels)
        while count and self._ends_in_mark(word, labels[:count]):
            word, count = word[:-1], count - 1
        return count

    def _ends_in_mark(self, word: str, labels: tuple[int, ...]) -> bool:
        if labels[-1] != self._unknown:
            return labels[-1] in self._marks
        # A vocabulary may lack a mark: then the last piece is that mark if the labels before it are all the rest.
        return word.endswith(tuple(MARKS)) and (len(word) == 1 or self._encode(word[:-1]) == labels[:-1])


def viterbi(scores: np.ndarray, labels: Sequence[int], blank: int) -> tuple[Span, ...] | None:
    """The frames of each label, as (first, one after the last), on the most probable path that says just these.

    Every label gets a frame of its own. Ties go to the earlier place in the text.

    Args:
        scores: (S, V) log-probabilities.
        labels: (N,) ids, none of them the blank.

    Returns:
        None if there is no such path: it needs a frame a label, and one for the blank between two that are equal.

    Raises:
        BackendError: the scores are not numbers.
    """
    if len(labels) + sum(one == other for one, other in pairwise(labels)) > len(scores):
        return None
    if not labels:
        return ()
    path = np.full(2 * len(labels) + 1, blank)  # with a blank before, between and after all labels
    path[1::2] = labels
    jumps = np.zeros(len(path), bool)
    jumps[2:] = path[2:] != path[:-2]  # a blank is left out only between labels that differ, a label never
    best = np.full(len(path), -np.inf)
    best[:2] = scores[0, path[:2]]
    steps = np.zeros((len(scores), len(path)), np.int8)
    ways = np.full((3, len(path)), -np.inf)  # to each place from itself, from the one before, from the one before that
    for time in range(1, len(scores)):
        ways[0], ways[1, 1:], ways[2, jumps] = best, best[:-1], best[:-2][jumps[2:]]
        steps[time] = ways.argmax(axis=0)
        best = ways.max(axis=0) + scores[time, path]
    if not np.isfinite(best[-2:].max()):
        raise BackendError(
            "the aligner computed NaN or infinity: the recording or the checkpoint is damaged, or the precision too low"
        )
    place = len(path) - 2 + int(best[-2:].argmax())
    visited = [place]
    for time in range(len(scores) - 1, 0, -1):
        place -= int(steps[time, place])
        visited.append(place)
    places = np.array(visited[::-1])
    said = 2 * np.arange(len(labels)) + 1
    first, end = np.searchsorted(places, said), np.searchsorted(places, said, side="right")
    return tuple(zip(first.tolist(), end.tolist(), strict=True))
