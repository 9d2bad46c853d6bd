"""Greedy search over an attention decoder, many rows at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import attrs
import numpy as np

from asrkit.arrays import MASKED, Array, Encoded, map_tree, varying
from asrkit.errors import BackendError
from asrkit.interfaces import AttentionDecoder, Backend, Decode
from asrkit.values import Hypothesis, Request

__all__ = ["Greedy"]


@varying(tokens=("batch", "tokens"), banned=("batch", None))
class Turn(NamedTuple):
    """What goes into a step."""

    memory: Any
    cache: Any
    tokens: Array
    """(B, N) int32."""
    banned: Array | None
    """(B, V) booleans, True where a token may not be chosen."""


@varying(tokens=("batch", None), scores=("batch",))
class Choice(NamedTuple):
    """What comes out of a step."""

    tokens: Array
    """(B, 1) int32, ready to be the next step's input."""
    scores: Array
    """(B,) float32 log-probabilities."""
    cache: Any


@varying(rows=("rows",))
class Rows(NamedTuple):
    """Rows to keep of everything in a tree."""

    tree: Any
    rows: Array
    """(B',) int32."""


@attrs.frozen
class Greedy:
    """Take the most probable token at every step; ties go to the lowest id."""

    decodes = AttentionDecoder

    def bind(self, decoder: AttentionDecoder, backend: Backend) -> Decode:
        """Compile the steps for one decoder."""
        xp, ops = backend.ops.xp, backend.ops

        def step(turn: Turn) -> Choice:
            logits, cache = decoder.step(turn.memory, turn.cache, turn.tokens)
            if turn.banned is not None:
                logits = xp.where(turn.banned, xp.asarray(MASKED, dtype=xp.float32), logits)
            best = xp.astype(xp.argmax(logits, axis=-1, keepdims=True), xp.int32)
            scores = xp.take_along_axis(ops.log_softmax(logits), best, axis=-1)
            return Choice(best, scores[:, 0], cache)

        def select(choice: Rows) -> Any:
            return map_tree(lambda leaf: xp.take(leaf, choice.rows, axis=0), choice.tree)

        memorize = backend.compile(decoder.memorize)
        return _Search(decoder, backend, memorize, backend.compile(step), backend.compile(select))


@attrs.frozen
class _Search:
    """The host's side: which rows are alive, when each ends, what it has said."""

    decoder: AttentionDecoder
    backend: Backend
    memorize: Callable[[Encoded], Any]
    step: Callable[[Turn], Choice]
    select: Callable[[Rows], Any]

    def __call__(self, encoded: Encoded, requests: Sequence[Request]) -> list[list[Hypothesis]]:
        """One hypothesis per request; requests with prompts of different length are decoded in groups."""
        for request in requests:
            self._check(request)
        size = len(self.backend.to_host(encoded.lengths))  # more rows than requests where rows come in buckets
        memory = self.memorize(encoded)
        groups: dict[int, list[int]] = defaultdict(list)
        for row, request in enumerate(requests):
            groups[len(request.prompt)].append(row)
        found: dict[int, Hypothesis] = {}
        for rows in groups.values():
            group = [requests[row] for row in rows]
            taken = self._take(memory, rows, size)
            found.update(zip(rows, self._group(taken, group), strict=True))
        return [[found[row]] for row in range(len(requests))]

    def _check(self, request: Request) -> None:
        """Ids are checked here because a device may read foreign memory for one out of range."""
        wrong = [i for i in (*request.prompt, *request.suppress_first) if not 0 <= i < self.decoder.size]
        if wrong:
            raise ValueError(f"token ids {wrong} are outside the decoder's {self.decoder.size} classes")
        # The last new token is chosen, never fed back, so it needs no position.
        if len(request.prompt) + request.limit - 1 > self.decoder.max_tokens:
            raise ValueError(
                f"a prompt of {len(request.prompt)} and {request.limit} new tokens do not fit into "
                f"the decoder's {self.decoder.max_tokens} positions"
            )

    def _take(self, tree: Any, rows: Sequence[int], size: int) -> Any:
        """Some of a tree's ``size`` rows, filled up to a bucket with copies of the last, which nobody reads."""
        width = self.backend.bucket("batch", len(rows))
        padded = [*rows, *[rows[-1]] * (width - len(rows))]
        if padded == list(range(size)):
            return tree
        return self.select(Rows(tree, self.backend.asarray(np.array(padded, np.int32))))

    def _group(self, memory: Any, requests: list[Request]) -> list[Hypothesis]:
        """Decode rows whose prompts have one length."""
        rows = [_Row(request) for request in requests]
        width = self.backend.bucket("batch", len(rows))
        prompts = [row.request.prompt for row in rows] + [rows[-1].request.prompt] * (width - len(rows))
        longest = max(row.request.limit for row in rows)
        room = self.backend.bucket("past", len(prompts[0]) + max(longest - 1, 0))
        cache = self.decoder.start(width, room)
        choice = self.step(
            Turn(memory, cache, self.backend.asarray(np.array(prompts, np.int32)), self._banned(requests, width))
        )
        alive = list(range(len(rows)))  # alive[i] is the row that slot i of the batch decodes
        for count in range(1, longest + 1):
            ahead = None
            if self.backend.capabilities.ahead and count < longest:
                # One step is always in flight: the device works while the host reads.
                ahead = self._next(memory, choice)
                self.backend.dispatch(ahead)
            tokens, scores = self.backend.to_host((choice.tokens, choice.scores))
            if not np.isfinite(scores[: len(alive)]).all():
                raise BackendError(
                    f"the model computed NaN or infinity on backend {self.backend.name!r}: the recording or the "
                    "checkpoint is damaged, or the precision too low"
                )
            slots = [
                slot for slot, row in enumerate(alive) if rows[row].take(int(tokens[slot, 0]), float(scores[slot]))
            ]
            if not slots:
                break
            following = ahead if ahead is not None else choice
            if self.backend.bucket("batch", len(slots)) < width:
                memory, following = self._take((memory, following), slots, width)
                width = self.backend.bucket("batch", len(slots))
                alive = [alive[slot] for slot in slots]
            choice = following if ahead is not None else self._next(memory, following)
        return [row.hypothesis() for row in rows]

    def _next(self, memory: Any, choice: Choice) -> Choice:
        return self.step(Turn(memory, choice.cache, choice.tokens, None))

    def _banned(self, requests: list[Request], width: int) -> Array | None:
        if not any(request.suppress_first for request in requests):
            return None
        banned = np.zeros((width, self.decoder.size), bool)
        for row, request in enumerate(requests):
            banned[row, sorted(request.suppress_first)] = True
        return self.backend.asarray(banned)


class _Row:
    """What one row has said so far."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.tokens: list[int] = []
        self.scores: list[float] = []
        self.finished = False

    def take(self, token: int, score: float) -> bool:
        """Hear the next token; whether the row goes on."""
        if self.finished or len(self.tokens) >= self.request.limit:
            return False
        if token in self.request.stops and len(self.tokens) >= self.request.stops_after:
            self.finished = True
            return False
        self.tokens.append(token)
        self.scores.append(score)
        return len(self.tokens) < self.request.limit

    def hypothesis(self) -> Hypothesis:
        return Hypothesis(tuple(self.tokens), tuple(self.scores), self.finished)
