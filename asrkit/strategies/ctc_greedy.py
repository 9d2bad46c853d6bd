"""Greedy search over a frame-by-frame classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import attrs
import numpy as np

from asrkit.arrays import Array, Encoded, varying
from asrkit.confidence import Measure, token_confidences
from asrkit.interfaces import Backend, CTCDecoder, Decode
from asrkit.strategies.common import check_confidence_measure, check_request, check_score
from asrkit.values import Hypothesis, Request

__all__ = ["Best", "CTCGreedy", "collapse"]


@varying(tokens=("batch", "frames"), scores=("batch", "frames"), confidences=("batch", "frames"))
class Best(NamedTuple):
    """The most probable class of every frame."""

    tokens: Array
    """(B, S) int32."""
    scores: Array
    """(B, S) float32 log-probabilities."""
    confidences: Array | None
    """(B, S) float32 from 0 to 1, if they were asked for."""


@attrs.frozen
class CTCGreedy:
    """Take the most probable class of every frame, then drop repeats and blanks; ties go to the lowest id.

    The score of a token is the sum over the frames that say it, so that a hypothesis has the score of its best path
    without the blanks.
    """

    confidence: bool = False
    """Whether to tell for each token how sure the model was: the least sure of the frames that say it."""
    confidence_measure: Measure = attrs.field(default="entropy", validator=check_confidence_measure)
    """From what: the entropy of the whole distribution, or its highest probability."""

    decodes = CTCDecoder

    def bind(self, decoder: CTCDecoder, backend: Backend) -> Decode:
        """Compile the classifier with the choice."""
        xp = backend.ops.xp

        def choose(encoded: Encoded) -> Best:
            scores = decoder(encoded)
            best = xp.astype(xp.argmax(scores, axis=-1, keepdims=True), xp.int32)
            sure = None
            if self.confidence:
                sure = token_confidences(xp, scores, decoder.size, self.confidence_measure)
            return Best(best[:, :, 0], xp.take_along_axis(scores, best, axis=-1)[:, :, 0], sure)

        compiled = backend.compile(choose)

        def decode(encoded: Encoded, requests: Sequence[Request]) -> list[list[Hypothesis]]:
            for request in requests:
                check_request(request)
            best, lengths = backend.to_host((compiled(encoded), encoded.lengths))
            found = []
            for n, (request, length) in enumerate(zip(requests, lengths, strict=False)):
                tokens, scores = best.tokens[n, :length], best.scores[n, :length]
                sure = None if best.confidences is None else best.confidences[n, :length]
                check_score(float(scores.sum()), backend)
                found.append([collapse(tokens, scores, decoder.blank, request.limit, sure)])
            return found

        return decode


def collapse(
    tokens: np.ndarray, scores: np.ndarray, blank: int, limit: int, confidences: np.ndarray | None = None
) -> Hypothesis:
    """The hypothesis of the best classes (S,) of one row; a label repeats only with a blank between."""
    runs = np.flatnonzero(np.diff(tokens, prepend=-1))
    ends = [*runs[1:], len(tokens)][: len(runs)]
    said = [(int(first), int(end)) for first, end in zip(runs, ends, strict=True) if tokens[first] != blank]
    kept = said[:limit]
    return Hypothesis(
        tokens=tuple(int(tokens[first]) for first, _ in kept),
        scores=tuple(float(scores[first:end].sum()) for first, end in kept),
        finished=len(said) <= limit,
        confidences=() if confidences is None else tuple(float(confidences[first:end].min()) for first, end in kept),
        frames=tuple(first for first, _ in kept),
        ends=tuple(end for _, end in kept),
    )
