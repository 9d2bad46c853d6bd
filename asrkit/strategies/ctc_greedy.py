"""Greedy search over a frame-by-frame classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import attrs
import numpy as np

from asrkit.arrays import Array, Encoded, varying
from asrkit.interfaces import Backend, CTCDecoder, Decode
from asrkit.strategies.common import check_request, check_score
from asrkit.values import Hypothesis, Request

__all__ = ["Best", "CTCGreedy", "collapse"]


@varying(tokens=("batch", "frames"), scores=("batch", "frames"))
class Best(NamedTuple):
    """The most probable class of every frame."""

    tokens: Array
    """(B, S) int32."""
    scores: Array
    """(B, S) float32 log-probabilities."""


@attrs.frozen
class CTCGreedy:
    """Take the most probable class of every frame, then drop repeats and blanks; ties go to the lowest id.

    The score of a token is the sum over the frames that say it, so that a hypothesis has the score of its best path
    without the blanks.
    """

    decodes = CTCDecoder

    def bind(self, decoder: CTCDecoder, backend: Backend) -> Decode:
        """Compile the classifier with the choice."""
        xp = backend.ops.xp

        def choose(encoded: Encoded) -> Best:
            scores = decoder(encoded)
            best = xp.astype(xp.argmax(scores, axis=-1, keepdims=True), xp.int32)
            return Best(best[:, :, 0], xp.take_along_axis(scores, best, axis=-1)[:, :, 0])

        compiled = backend.compile(choose)

        def decode(encoded: Encoded, requests: Sequence[Request]) -> list[list[Hypothesis]]:
            for request in requests:
                check_request(request)
            best, lengths = backend.to_host((compiled(encoded), encoded.lengths))
            found = []
            for request, tokens, scores, length in zip(requests, best.tokens, best.scores, lengths, strict=False):
                check_score(float(scores[:length].sum()), backend)
                found.append([collapse(tokens[:length], scores[:length], decoder.blank, request.limit)])
            return found

        return decode


def collapse(tokens: np.ndarray, scores: np.ndarray, blank: int, limit: int) -> Hypothesis:
    """The hypothesis of the best classes (S,) of one row; a label repeats only with a blank between."""
    runs = np.flatnonzero(np.diff(tokens, prepend=-1))
    ends = [*runs[1:], len(tokens)][: len(runs)]
    said = [(int(first), int(end)) for first, end in zip(runs, ends, strict=True) if tokens[first] != blank]
    kept = said[:limit]
    return Hypothesis(
        tokens=tuple(int(tokens[first]) for first, _ in kept),
        scores=tuple(float(scores[first:end].sum()) for first, end in kept),
        finished=len(said) <= limit,
        frames=tuple(first for first, _ in kept),
        ends=tuple(end for _, end in kept),
    )
