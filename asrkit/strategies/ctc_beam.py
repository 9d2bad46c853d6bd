"""Beam search over a frame-by-frame classifier.

Source: NeMo 3.0 ``asr/parts/submodules/ctc_batched_beam_decoding``, its results for one recording at a time: in a batch
of several NeMo adds to the scores of short recordings what it reads behind their ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import attrs
import numpy as np

from asrkit.arrays import Array, Encoded, varying
from asrkit.errors import OptionError
from asrkit.interfaces import Backend, CTCDecoder, Decode
from asrkit.strategies.common import check_beam_size, check_n_best, check_request, check_score
from asrkit.values import Hypothesis, Request

__all__ = ["Best", "CTCBeam"]


@varying(tokens=("batch", "frames", None), scores=("batch", "frames", None))
class Best(NamedTuple):
    """The most probable classes of every frame, as many as the beam is wide, K."""

    tokens: Array
    """(B, S, K) int32."""
    scores: Array
    """(B, S, K) float32 log-probabilities, the highest first."""


@attrs.frozen
class CTCBeam:
    """Keep the best paths at every frame; of paths that say the same and end alike the best one.

    The score of a hypothesis is that of its best path, blanks included; the score of a token is the part of the frames
    that say it.
    """

    beam_size: int = attrs.field(default=4, validator=check_beam_size)
    """Hypotheses that are kept."""
    beam_threshold: float = attrs.field(default=20.0)
    """Those whose score is not above the best one's less this are dropped."""
    n_best: int = attrs.field(default=1, validator=check_n_best)
    """Hypotheses that are given back, the best first."""

    decodes = CTCDecoder

    @beam_threshold.validator
    def _check_beam_threshold(self, _: Any, value: float) -> None:
        if not value > 0:
            raise OptionError(f"beam_threshold is a number above 0, found {value:g}")

    def bind(self, decoder: CTCDecoder, backend: Backend) -> Decode:
        """Compile the classifier with the choice of each frame's classes."""

        def choose(encoded: Encoded) -> Best:
            scores = decoder(encoded)
            # All hypotheses give a class the same score, so the best continuations are among each frame's best classes.
            values, tokens = backend.ops.top_k(scores, min(self.beam_size, decoder.size))
            return Best(tokens, values)

        compiled = backend.compile(choose)

        def decode(encoded: Encoded, requests: Sequence[Request]) -> list[list[Hypothesis]]:
            for request in requests:
                check_request(request)
            best, lengths = backend.to_host((compiled(encoded), encoded.lengths))
            found = []
            for request, tokens, scores, length in zip(requests, best.tokens, best.scores, lengths, strict=False):
                check_score(float(scores[:length].sum()), backend)
                lines = self._search(tokens[:length], scores[:length], decoder.blank)
                found.append([line.hypothesis(request.limit) for line in lines])
            return found

        return decode

    def _search(self, tokens: np.ndarray, scores: np.ndarray, blank: int) -> list[_Line]:
        """The best lines of one row of classes (S, K)."""
        lines = [_Line()]
        for frame, classes in enumerate(zip(tokens.tolist(), scores.tolist(), strict=True)):
            found = [
                (line.total + score, line, token, score)
                for line in lines
                for token, score in zip(*classes, strict=True)
            ]
            found.sort(key=lambda candidate: -candidate[0])
            least = found[0][0] - self.beam_threshold
            kept: dict[tuple[tuple[int, ...], int], _Line] = {}
            for total, line, token, score in found[: self.beam_size]:
                if total > least:
                    new = line.extended(frame, token, score, total, blank)
                    kept.setdefault((new.tokens, new.last), new)  # the best one comes first
            lines = list(kept.values())
        return sorted(lines, key=lambda line: -line.total)[: self.n_best]


@attrs.frozen
class _Line:
    """A hypothesis on its way."""

    tokens: tuple[int, ...] = ()
    scores: tuple[float, ...] = ()
    frames: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()
    last: int = -1
    """The class of the frame before, which may be the blank."""
    total: float = 0.0

    def extended(self, frame: int, token: int, score: float, total: float, blank: int) -> _Line:
        """With one more frame."""
        if token == blank:
            return attrs.evolve(self, last=token, total=total)
        if token == self.last:
            scores, ends = (*self.scores[:-1], self.scores[-1] + score), (*self.ends[:-1], frame + 1)
            return attrs.evolve(self, scores=scores, ends=ends, total=total)
        return _Line(
            (*self.tokens, token),
            (*self.scores, score),
            (*self.frames, frame),
            (*self.ends, frame + 1),
            token,
            total,
        )

    def hypothesis(self, limit: int) -> Hypothesis:
        return Hypothesis(
            self.tokens[:limit],
            self.scores[:limit],
            finished=len(self.tokens) <= limit,
            rank=self.total,
            frames=self.frames[:limit],
            ends=self.ends[:limit],
        )
