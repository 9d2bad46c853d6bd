"""Beam search over an attention decoder, many rows at once.

Source: NeMo 3.0 ``asr/modules/transformer/transformer_generators``, its results for one recording at a time: in a batch
of several NeMo lets a hypothesis attend to the past of another recording's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import attrs
import numpy as np

from asrkit.arrays import MASKED, Array, Encoded, varying
from asrkit.errors import OptionError
from asrkit.interfaces import AttentionDecoder, Backend, Decode
from asrkit.strategies.attention import Batches, take_rows
from asrkit.strategies.common import check_beam_size, check_n_best
from asrkit.values import Hypothesis, Request

__all__ = ["AttentionBeam", "Choice", "Turn"]


@varying(rows=("batch",), tokens=("batch", "tokens"), banned=("batch", None))
class Turn(NamedTuple):
    """What goes into a step. A row of the batch is one hypothesis."""

    memory: Any
    cache: Any
    rows: Array | None
    """(B,) int32, the row of ``cache`` that each hypothesis goes on from; None means its own."""
    tokens: Array
    """(B, N) int32."""
    banned: Array | None
    """(B, V) booleans, True where a token may not be chosen."""


@varying(tokens=("batch", None), scores=("batch", None))
class Choice(NamedTuple):
    """What comes out of a step: as many continuations of each hypothesis as the beam is wide, K."""

    tokens: Array
    """(B, K) int32."""
    scores: Array
    """(B, K) float32 log-probabilities, the highest first."""
    cache: Any


@attrs.frozen
class AttentionBeam:
    """Keep the best hypotheses at every step, by the sum of log-probabilities over a penalty of the length.

    The penalty is ((5 + n) / 6) ** length_penalty, where n is one more than the prompt and the text have tokens.
    """

    beam_size: int = attrs.field(default=4, validator=check_beam_size)
    """Hypotheses that are kept."""
    length_penalty: float = attrs.field(default=0.0)
    """0 favours short texts; 1 compares about the mean log-probability of a token."""
    n_best: int = attrs.field(default=1, validator=check_n_best)
    """Hypotheses that are given back, the best first."""

    decodes = AttentionDecoder

    @length_penalty.validator
    def _check_length_penalty(self, _: Any, value: float) -> None:
        if not 0 <= value <= 100:
            raise OptionError(f"length_penalty is a number from 0 to 100, found {value:g}")

    def bind(self, decoder: AttentionDecoder, backend: Backend) -> Decode:
        """Compile the steps for one decoder."""
        xp, ops, size = backend.ops.xp, backend.ops, self.beam_size
        if size > decoder.size:
            raise OptionError(
                f"a beam_size of {size} is more than the {decoder.size} tokens that the model chooses from"
            )

        def step(turn: Turn) -> Choice:
            cache = turn.cache if turn.rows is None else take_rows(xp, turn.cache, turn.rows)
            logits, cache = decoder.step(turn.memory, cache, turn.tokens)
            if turn.banned is not None:
                logits = xp.where(turn.banned, xp.asarray(MASKED, dtype=xp.float32), logits)
            scores, tokens = ops.top_k(ops.log_softmax(logits), size)
            return Choice(tokens, scores, cache)

        return _Search(self, Batches.bind(decoder, backend), backend.compile(step))


@attrs.frozen
class _Search:
    """The host's side: which hypotheses are kept, and which rows of the batch they are."""

    options: AttentionBeam
    batches: Batches
    step: Callable[[Turn], Choice]

    def __call__(self, encoded: Encoded, requests: Sequence[Request]) -> list[list[Hypothesis]]:
        """The n best of each request; requests with prompts of different length are decoded in groups."""
        return self.batches.decode(encoded, requests, self._group)

    def _group(self, memory: Any, requests: list[Request]) -> list[list[Hypothesis]]:
        """Decode requests whose prompts have one length."""
        batches, beam = self.batches, self.options.beam_size
        beams = [_Beam(request, self.options) for request in requests]
        prompts = batches.fill([request.prompt for request in requests])
        width = len(prompts)
        longest = max(request.limit for request in requests)
        cache = batches.cache(width, len(prompts[0]), longest)
        choice = self.step(Turn(memory, cache, None, batches.ids(prompts), batches.banned(requests)))
        alive, each = beams, 1  # hypothesis h of alive[i] is row i * each + h of the batch
        for count in range(1, longest + 1):
            tokens, scores = batches.backend.to_host((choice.tokens, choice.scores))
            batches.check_scores(scores[: len(alive) * each])
            origins: dict[_Beam, list[int]] = {}
            for n, one in enumerate(alive):
                mine = slice(n * each, (n + 1) * each)
                origins[one] = [n * each + parent for parent in one.advance(tokens[mine], scores[mine])]
            going = [one for one in alive if not one.ended]
            if not going or count == longest:
                break
            cache, rows = choice.cache, None
            if each < beam or batches.width(len(going) * beam) < width:
                # The hypotheses of one recording have one memory, so both can be taken in the same order.
                taken = [row for one in going for row in origins[one]]
                memory, cache = batches.take((memory, cache), taken, width)
                alive, each, width = going, beam, batches.width(len(taken))
            else:
                rows = batches.ids(batches.fill([row for one in alive for row in origins[one]]))
            heard = batches.fill([[token] for one in alive for token in one.last])
            choice = self.step(Turn(memory, cache, rows, batches.ids(heard), None))
        return [one.best(self.options.n_best) for one in beams]


@attrs.frozen
class _Line:
    """A hypothesis on its way."""

    tokens: tuple[int, ...]
    scores: tuple[float, ...]
    last: int
    """The token that was chosen last, also if it ended the line."""
    total: float
    """Sum of the log-probabilities, the end's included."""
    penalty: float
    finished: bool


class _Beam:
    """The hypotheses of one request."""

    def __init__(self, request: Request, options: AttentionBeam) -> None:
        self.request, self.options = request, options
        self.count = 0
        self.lines = [_Line((), (), 0, 0.0, 1.0, False)]

    @property
    def ended(self) -> bool:
        """Whether nothing can change any more."""
        return self.count >= self.request.limit or all(line.finished for line in self.lines)

    @property
    def last(self) -> list[int]:
        """The tokens to be fed next; the decoder computes for finished hypotheses too, and nobody reads it."""
        return [line.last for line in self.lines]

    def advance(self, tokens: np.ndarray, scores: np.ndarray) -> list[int]:
        """Go on with the best of all continuations.

        Args:
            tokens: (H, K) of each hypothesis.
            scores: (H, K) log-probabilities.

        Returns:
            The hypothesis before that each of the new ones goes on from.
        """
        if self.ended:
            return list(range(len(self.lines)))
        found: list[tuple[float, int, int | None, float]] = []
        for parent, line in enumerate(self.lines):
            if line.finished:
                found.append((line.total / line.penalty, parent, None, 0.0))
                continue
            for token, score in zip(tokens[parent].tolist(), scores[parent].tolist(), strict=True):
                if self.count == 0 and token in self.request.suppress_first:
                    score = -math.inf  # it is here because the beam is wider than what may come first
                found.append(((line.total + score) / line.penalty, parent, token, score))
        found.sort(key=lambda candidate: -candidate[0])
        # NeMo multiplies with the penalty of the hypothesis that stood in this place before, not with the parent's.
        # It is done here too, so that the results are the same; it matters only where lengths differ.
        places = [line.penalty for line in self.lines]
        lines, parents = [], []
        for place, (value, parent, token, score) in enumerate(found[: self.options.beam_size]):
            total = value * places[min(place, len(places) - 1)]
            lines.append(self._line(self.lines[parent], token, score, total))
            parents.append(parent)
        self.lines = lines
        self.count += 1
        return parents

    def _line(self, parent: _Line, token: int | None, score: float, total: float) -> _Line:
        if token is None:
            return attrs.evolve(parent, total=total, penalty=self._penalty(parent.tokens))
        if token in self.request.stops and self.count >= self.request.stops_after:
            return _Line(parent.tokens, parent.scores, token, total, self._penalty(parent.tokens), True)
        tokens = (*parent.tokens, token)
        return _Line(tokens, (*parent.scores, score), token, total, self._penalty(tokens), False)

    def _penalty(self, tokens: tuple[int, ...]) -> float:
        if not self.options.length_penalty:
            return 1.0
        said = (*self.request.prompt, *tokens)
        # The first token counts at first, whatever it is.
        length = 1 + (len(said) if self.count == 0 else sum(token not in self.request.stops for token in said))
        return float(((5 + length) / 6) ** self.options.length_penalty)

    def best(self, count: int) -> list[Hypothesis]:
        """The best hypotheses, the best first."""
        ranked = sorted(self.lines, key=lambda line: -line.total / line.penalty)
        possible = [line for line in ranked if line.total > -math.inf] or ranked[:1]
        return [
            Hypothesis(line.tokens, line.scores, line.finished, rank=line.total / line.penalty)
            for line in possible[:count]
        ]
