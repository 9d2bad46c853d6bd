"""Greedy search over a transducer (RNNT and TDT), many rows at once, each at its own frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import attrs
import numpy as np

from asrkit.arrays import Array, Encoded, map_tree, varying
from asrkit.confidence import Measure, token_confidences
from asrkit.interfaces import Backend, Decode, TransducerDecoder
from asrkit.strategies.common import (
    check_confidence_measure,
    check_max_symbols,
    check_request,
    check_score,
    renewed,
)
from asrkit.values import Hypothesis, Request

__all__ = ["Frames", "Past", "Picked", "Seen", "TransducerGreedy", "Turn"]

WINDOW = 8
"""Frames that are joined with one prediction at once. Blanks do not change the prediction, so a run of them costs one
step and not one step a frame."""


@varying(values=("batch", "frames", None))
class Frames(NamedTuple):
    """What is computed once per recording."""

    values: Array
    """(B, S, J) projected states."""


@varying(predicted=("batch", None))
class Past(NamedTuple):
    """What a row has said, as the prediction network knows it."""

    state: Any
    predicted: Array
    """(B, J)."""


@varying(tokens=("batch",), fresh=("batch",), index=("batch", None))
class Turn(NamedTuple):
    """What goes into a step."""

    frames: Frames
    past: Past | None
    """None before the first step."""
    state: Any
    """The decoder's own first state, where there is no past."""
    tokens: Array
    """(B,) int32: what each row has just said."""
    fresh: Array
    """(B,) booleans: whether it has said something."""
    index: Array
    """(B, W) int32 frames to look at."""


@varying(tokens=("batch", None), durations=("batch", None), scores=("batch", None), confidences=("batch", None))
class Seen(NamedTuple):
    """What comes out of a step: the choice for each frame of the window, and the past for the next step."""

    tokens: Array
    """(B, W) int32."""
    durations: Array | None
    """(B, W) int32 places in the decoder's durations."""
    scores: Array
    """(B, W) float32 log-probabilities of the tokens."""
    confidences: Array | None
    """(B, W) float32 from 0 to 1, if they were asked for."""
    past: Past


@varying(rows=("rows",))
class Picked(NamedTuple):
    """Rows to keep of everything in a tree."""

    tree: Any
    rows: Array
    """(B',) int32."""


@attrs.frozen
class TransducerGreedy:
    """Take the most probable token, and the most probable duration where there are several; ties go to the lowest."""

    max_symbols: int = attrs.field(default=10, validator=check_max_symbols)
    """Tokens that one frame may say; then the search goes on to the next frame."""
    confidence: bool = False
    """Whether to tell for each token how sure the model was."""
    confidence_measure: Measure = attrs.field(default="entropy", validator=check_confidence_measure)
    """From what: the entropy of the whole distribution, or its highest probability; durations do not count."""

    decodes = TransducerDecoder

    def bind(self, decoder: TransducerDecoder, backend: Backend) -> Decode:
        """Compile the steps for one decoder."""
        xp, ops = backend.ops.xp, backend.ops

        def project(encoded: Encoded) -> Frames:
            return Frames(decoder.project(encoded))

        def advance(turn: Turn) -> Past:
            """The past with the newest tokens in it; rows that said nothing keep theirs."""
            if turn.past is None:
                predicted, state = decoder.predict(turn.state, turn.tokens)
                return Past(state, predicted)
            predicted, state = decoder.predict(turn.past.state, turn.tokens)
            kept: Past = renewed(xp, turn.fresh, Past(state, predicted), turn.past)
            return kept

        def step(turn: Turn) -> Seen:
            past = advance(turn)
            values, rows = turn.frames.values, turn.index.shape[0]
            # Frames of all rows one after another, so that one list of indices picks from them.
            starts = xp.arange(rows, dtype=xp.int32) * values.shape[1]
            index = xp.reshape(turn.index + starts[:, None], (-1,))
            frames = xp.take(xp.reshape(values, (rows * values.shape[1], values.shape[2])), index, axis=0)
            predicted = xp.broadcast_to(past.predicted[:, None, :], (rows, WINDOW, past.predicted.shape[1]))
            predicted = xp.reshape(predicted, (rows * WINDOW, past.predicted.shape[1]))
            logits, lengths = decoder.join(frames, predicted)
            best = xp.astype(xp.argmax(logits, axis=-1, keepdims=True), xp.int32)
            log_probabilities = ops.log_softmax(xp.astype(logits, xp.float32))
            scores = xp.take_along_axis(log_probabilities, best, axis=-1)
            sure = None
            if self.confidence:
                sure = token_confidences(xp, log_probabilities, decoder.size, self.confidence_measure)
                sure = xp.reshape(sure, (rows, WINDOW))
            durations = None
            if lengths is not None:
                durations = xp.reshape(xp.astype(xp.argmax(lengths, axis=-1), xp.int32), (rows, WINDOW))
            return Seen(xp.reshape(best, (rows, WINDOW)), durations, xp.reshape(scores, (rows, WINDOW)), sure, past)

        def select(picked: Picked) -> Any:
            return map_tree(lambda leaf: xp.take(leaf, picked.rows, axis=0), picked.tree)

        compiled = (backend.compile(project), backend.compile(step), backend.compile(select))
        return _Search(decoder, backend, self.max_symbols, *compiled)


@attrs.frozen
class _Search:
    """The host's side: at which frame each row is, and what it has said."""

    decoder: TransducerDecoder
    backend: Backend
    max_symbols: int
    project: Callable[[Encoded], Frames]
    step: Callable[[Turn], Seen]
    select: Callable[[Picked], Any]

    def __call__(self, encoded: Encoded, requests: Sequence[Request]) -> list[list[Hypothesis]]:
        """One hypothesis per request."""
        for request in requests:
            check_request(request)
        backend, lengths = self.backend, self.backend.to_host(encoded.lengths)
        rows = [
            _Row(request, int(length), self.decoder, self.max_symbols)
            for request, length in zip(requests, lengths, strict=False)
        ]
        alive = [row for row in rows if not row.done]
        if not alive:
            return [[row.hypothesis()] for row in rows]
        frames = self.project(encoded)
        first = [n for n, row in enumerate(rows) if not row.done]
        frames = self._take(frames, first, len(lengths))
        width = backend.bucket("batch", len(alive))
        past, state = None, self.decoder.start(width)
        while True:
            slots = [*alive, *[alive[-1]] * (width - len(alive))]
            seen = self.step(
                Turn(
                    frames,
                    past,
                    state,
                    backend.asarray(np.array([row.newest for row in slots], np.int32)),
                    backend.asarray(np.array([row.fresh for row in slots], bool)),
                    backend.asarray(np.array([row.window() for row in slots], np.int32)),
                )
            )
            tokens, durations, scores, sure = backend.to_host(
                (seen.tokens, seen.durations, seen.scores, seen.confidences)
            )
            for n, row in enumerate(alive):
                place = row.walk(tokens[n], None if durations is None else durations[n], scores[n], backend)
                if place is not None and sure is not None:
                    row.confidences.append(float(sure[n, place]))
            kept = [n for n, row in enumerate(alive) if not row.done]
            if not kept:
                return [[row.hypothesis()] for row in rows]
            past, state = seen.past, None
            if backend.bucket("batch", len(kept)) < width:
                frames, past = self._take((frames, past), kept, width)
                alive = [alive[n] for n in kept]
                width = backend.bucket("batch", len(kept))

    def _take(self, tree: Any, rows: Sequence[int], size: int) -> Any:
        """Some of a tree's ``size`` rows, filled up to a bucket with copies of the last, which nobody reads."""
        width = self.backend.bucket("batch", len(rows))
        padded = [*rows, *[rows[-1]] * (width - len(rows))]
        if padded == list(range(size)):
            return tree
        return self.select(Picked(tree, self.backend.asarray(np.array(padded, np.int32))))


class _Row:
    """One row: where it is, and what it has said so far.

    Args:
        length: its frames.
    """

    def __init__(self, request: Request, length: int, decoder: TransducerDecoder, max_symbols: int) -> None:
        self.limit, self.length, self.max_symbols = request.limit, length, max_symbols
        self.blank = decoder.blank
        # With a single duration there is none to choose: a token stays on its frame, a blank leaves it.
        self.durations = decoder.durations if len(decoder.durations) > 1 else None
        self.newest, self.fresh = decoder.blank, True
        self.frame, self.emitted = 0, 0
        self.tokens: list[int] = []
        self.scores: list[float] = []
        self.confidences: list[float] = []
        self.frames: list[int] = []
        self.ends: list[int] = []
        self.finished = length == 0
        self.done = self.finished or self.limit < 1

    def window(self) -> list[int]:
        """The next frames; of a row near its end, the last one several times."""
        return [min(self.frame + n, self.length - 1) for n in range(WINDOW)]

    def walk(
        self, tokens: np.ndarray, durations: np.ndarray | None, scores: np.ndarray, backend: Backend
    ) -> int | None:
        """Go on through the window up to the next token, or to its end; the token's place in the window, or None."""
        self.fresh = False
        if self.done:
            return None
        first = self.frame
        while self.frame < min(first + WINDOW, self.length):
            place = self.frame - first
            check_score(float(scores[place]), backend)
            token = int(tokens[place])
            length = 0 if self.durations is None or durations is None else self.durations[int(durations[place])]
            if token != self.blank:
                self._say(token, float(scores[place]), length)
                self.finished = self.finished or self.frame >= self.length
                self.done = self.done or self.finished
                return place
            self.frame += max(length, 1)
            self.emitted = 0
        self.finished = self.done = self.frame >= self.length
        return None

    def _say(self, token: int, score: float, length: int) -> None:
        self.newest, self.fresh = token, True
        self.tokens.append(token)
        self.scores.append(score)
        self.frames.append(self.frame)
        self.ends.append(self.frame + (1 if self.durations is None else length))
        self.frame += length
        self.emitted = 0 if length else self.emitted + 1
        if self.emitted >= self.max_symbols:
            self.frame, self.emitted = self.frame + 1, 0
        # What a row says behind its limit nobody hears, whether it would have ended by itself or not.
        self.done = len(self.tokens) >= self.limit and self.frame < self.length

    def hypothesis(self) -> Hypothesis:
        return Hypothesis(
            tuple(self.tokens),
            tuple(self.scores),
            self.finished,
            tuple(self.confidences),
            frames=tuple(self.frames),
            ends=tuple(self.ends),
        )
