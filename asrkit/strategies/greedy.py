"""Greedy search over an attention decoder, many rows at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import attrs

from asrkit.arrays import MASKED, Array, Encoded, varying
from asrkit.confidence import Measure, token_confidences
from asrkit.interfaces import AttentionDecoder, Backend, Decode
from asrkit.strategies.attention import Batches
from asrkit.strategies.common import check_confidence_measure
from asrkit.values import Hypothesis, Request

__all__ = ["Choice", "Greedy", "Turn"]


@varying(tokens=("batch", "tokens"), banned=("batch", None))
class Turn(NamedTuple):
    """What goes into a step."""

    memory: Any
    cache: Any
    tokens: Array
    """(B, N) int32."""
    banned: Array | None
    """(B, V) booleans, True where a token may not be chosen."""


@varying(tokens=("batch", None), scores=("batch",), confidences=("batch",))
class Choice(NamedTuple):
    """What comes out of a step."""

    tokens: Array
    """(B, 1) int32, ready to be the next step's input."""
    scores: Array
    """(B,) float32 log-probabilities."""
    confidences: Array | None
    """(B,) float32 from 0 to 1, if they were asked for."""
    cache: Any


@attrs.frozen
class Greedy:
    """Take the most probable token at every step; ties go to the lowest id."""

    confidence: bool = False
    """Whether to tell for each token how sure the model was."""
    confidence_measure: Measure = attrs.field(default="entropy", validator=check_confidence_measure)
    """From what: the entropy of the whole distribution, or its highest probability."""

    decodes = AttentionDecoder

    def bind(self, decoder: AttentionDecoder, backend: Backend) -> Decode:
        """Compile the steps for one decoder."""
        xp, ops = backend.ops.xp, backend.ops

        def step(turn: Turn) -> Choice:
            logits, cache = decoder.step(turn.memory, turn.cache, turn.tokens)
            if turn.banned is not None:
                logits = xp.where(turn.banned, xp.asarray(MASKED, dtype=xp.float32), logits)
            best = xp.astype(xp.argmax(logits, axis=-1, keepdims=True), xp.int32)
            log_probabilities = ops.log_softmax(logits)
            scores = xp.take_along_axis(log_probabilities, best, axis=-1)
            sure = None
            if self.confidence:
                sure = token_confidences(xp, log_probabilities, decoder.size, self.confidence_measure)
            return Choice(best, scores[:, 0], sure, cache)

        return _Search(Batches.bind(decoder, backend), backend.compile(step))


@attrs.frozen
class _Search:
    """The host's side: which rows are alive, when each ends, what it has said."""

    batches: Batches
    step: Callable[[Turn], Choice]

    def __call__(self, encoded: Encoded, requests: Sequence[Request]) -> list[list[Hypothesis]]:
        """One hypothesis per request; requests with prompts of different length are decoded in groups."""
        return self.batches.decode(encoded, requests, self._group)

    def _group(self, memory: Any, requests: list[Request]) -> list[list[Hypothesis]]:
        """Decode rows whose prompts have one length."""
        batches, backend = self.batches, self.batches.backend
        rows = [_Row(request) for request in requests]
        prompts = batches.fill([request.prompt for request in requests])
        width = len(prompts)
        longest = max(request.limit for request in requests)
        cache = batches.cache(width, len(prompts[0]), longest)
        choice = self.step(Turn(memory, cache, batches.ids(prompts), batches.banned(requests)))
        alive = list(range(len(rows)))  # alive[i] is the row that slot i of the batch decodes
        for count in range(1, longest + 1):
            ahead = None
            if backend.capabilities.ahead and count < longest:
                # One step is always in flight: the device works while the host reads.
                ahead = self._next(memory, choice)
                backend.dispatch(ahead)
            tokens, scores, sure = backend.to_host((choice.tokens, choice.scores, choice.confidences))
            batches.check_scores(scores[: len(alive)])
            slots = [
                slot
                for slot, row in enumerate(alive)
                if rows[row].take(
                    int(tokens[slot, 0]), float(scores[slot]), None if sure is None else float(sure[slot])
                )
            ]
            if not slots:
                break
            following = ahead if ahead is not None else choice
            if batches.width(len(slots)) < width:
                memory, following = batches.take((memory, following), slots, width)
                width = batches.width(len(slots))
                alive = [alive[slot] for slot in slots]
            choice = following if ahead is not None else self._next(memory, following)
        return [[row.hypothesis()] for row in rows]

    def _next(self, memory: Any, choice: Choice) -> Choice:
        return self.step(Turn(memory, choice.cache, choice.tokens, None))


class _Row:
    """What one row has said so far."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.tokens: list[int] = []
        self.scores: list[float] = []
        self.confidences: list[float] = []
        self.finished = False

    def take(self, token: int, score: float, confidence: float | None) -> bool:
        """Hear the next token; whether the row goes on."""
        if self.finished or len(self.tokens) >= self.request.limit:
            return False
        if token in self.request.stops and len(self.tokens) >= self.request.stops_after:
            self.finished = True
            return False
        self.tokens.append(token)
        self.scores.append(score)
        if confidence is not None:
            self.confidences.append(confidence)
        return len(self.tokens) < self.request.limit

    def hypothesis(self) -> Hypothesis:
        return Hypothesis(tuple(self.tokens), tuple(self.scores), self.finished, tuple(self.confidences))
