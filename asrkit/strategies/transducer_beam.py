"""Beam search over a transducer (RNNT and TDT), many rows at once, each hypothesis at its own frame.

Source: NeMo 3.0 ``asr/parts/submodules/{rnnt,tdt}_malsd_batched_computer`` (modified alignment-length synchronous
decoding).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import attrs
import numpy as np

from asrkit.arrays import Array, Encoded, map_tree, varying
from asrkit.interfaces import Backend, Decode, TransducerDecoder
from asrkit.strategies.common import (
    check_beam_size,
    check_max_symbols,
    check_n_best,
    check_request,
    check_score,
    renewed,
)
from asrkit.strategies.transducer_greedy import Past, Picked
from asrkit.values import Hypothesis, Request

__all__ = ["Choice", "Frames", "TransducerBeam", "Turn"]


@varying(values=("recordings", "frames", None))
class Frames(NamedTuple):
    """What is computed once per recording."""

    values: Array
    """(B, S, J) projected states."""


@varying(origins=("batch",), tokens=("batch",), fresh=("batch",), recordings=("batch",), index=("batch",))
class Turn(NamedTuple):
    """What goes into a step. A row is one hypothesis, R in all: those of each recording stand together."""

    frames: Frames
    past: Past | None
    """None before the first step."""
    state: Any
    """The decoder's own first state, where there is no past."""
    origins: Array
    """(R,) int32, the row of the past that each hypothesis goes on from."""
    tokens: Array
    """(R,) int32: what each hypothesis has just said."""
    fresh: Array
    """(R,) booleans: whether it has said something."""
    recordings: Array
    """(R,) int32, which of the frames' rows it listens to."""
    index: Array
    """(R,) int32 frame to look at."""


@varying(tokens=("batch", None), durations=("batch", None), scores=("batch", None), blanks=("batch",))
class Choice(NamedTuple):
    """What comes out of a step: as many continuations of each hypothesis as the beam is wide, K."""

    tokens: Array
    """(R, K) int32."""
    durations: Array | None
    """(R, K) int32 places in the decoder's durations."""
    scores: Array
    """(R, K) float32 log-probabilities of the token and, with several durations, its duration; the highest first."""
    blanks: Array
    """(R,) float32 log-probability of a blank and of the most probable duration."""
    past: Past


@attrs.frozen
class TransducerBeam:
    """Keep the best hypotheses at every step, each of which says a token or a blank.

    Hypotheses that have said the same and stand on the same frame become one, with the sum of their probabilities.
    """

    beam_size: int = attrs.field(default=4, validator=check_beam_size)
    """Hypotheses that are kept."""
    max_symbols: int = attrs.field(default=10, validator=check_max_symbols)
    """Tokens that one frame may say; then only a blank can follow."""
    score_norm: bool = True
    """Whether hypotheses are ordered by the score over one more than the tokens they have, and not by the score."""
    n_best: int = attrs.field(default=1, validator=check_n_best)
    """Hypotheses that are given back, the best first."""

    decodes = TransducerDecoder

    def bind(self, decoder: TransducerDecoder, backend: Backend) -> Decode:
        """Compile the steps for one decoder."""
        xp, ops = backend.ops.xp, backend.ops
        size, count = min(self.beam_size, decoder.size), len(decoder.durations)

        def project(encoded: Encoded) -> Frames:
            return Frames(decoder.project(encoded))

        def advance(turn: Turn) -> Past:
            if turn.past is None:
                predicted, state = decoder.predict(turn.state, turn.tokens)
                return Past(state, predicted)
            past: Past = select(Picked(turn.past, turn.origins))
            predicted, state = decoder.predict(past.state, turn.tokens)
            kept: Past = renewed(xp, turn.fresh, Past(state, predicted), past)
            return kept

        def step(turn: Turn) -> Choice:
            past, values = advance(turn), turn.frames.values
            # Frames of all recordings one after another, so that one list of indices picks from them.
            flat = xp.reshape(values, (values.shape[0] * values.shape[1], values.shape[2]))
            frames = xp.take(flat, turn.recordings * values.shape[1] + turn.index, axis=0)
            logits, lengths = decoder.join(frames, past.predicted)
            scores = ops.log_softmax(xp.astype(logits, xp.float32))
            blanks = scores[:, decoder.blank]
            best, tokens = ops.top_k(scores, size)
            if lengths is None:
                return Choice(tokens, None, best, blanks, past)
            timed = ops.log_softmax(xp.astype(lengths, xp.float32))
            # The best pairs of a token and a duration are among those of the best tokens.
            pairs = xp.reshape(best[:, :, None] + timed[:, None, :], (turn.index.shape[0], size * count))
            best, places = ops.top_k(pairs, min(self.beam_size, size * count))
            rank = places // count
            tokens = xp.take_along_axis(tokens, rank, axis=-1)
            return Choice(tokens, places - rank * count, best, blanks + xp.max(timed, axis=-1), past)

        def select(picked: Picked) -> Any:
            return map_tree(lambda leaf: xp.take(leaf, picked.rows, axis=0), picked.tree)

        compiled = (backend.compile(project), backend.compile(step), backend.compile(select))
        return _Search(self, decoder, backend, *compiled)


@attrs.frozen
class _Search:
    """The host's side: which hypotheses are kept, and which rows of the batch they are."""

    options: TransducerBeam
    decoder: TransducerDecoder
    backend: Backend
    project: Callable[[Encoded], Frames]
    step: Callable[[Turn], Choice]
    select: Callable[[Picked], Any]

    def __call__(self, encoded: Encoded, requests: Sequence[Request]) -> list[list[Hypothesis]]:
        """The n best of each request."""
        for request in requests:
            check_request(request)
        backend, size = self.backend, self.options.beam_size
        lengths = backend.to_host(encoded.lengths)
        beams = [
            _Beam(request, int(length), self.decoder, self.options)
            for request, length in zip(requests, lengths, strict=False)
        ]
        alive = [beam for beam in beams if not beam.ended]
        if not alive:
            return [beam.best() for beam in beams]
        places = self._fill([n for n, beam in enumerate(beams) if not beam.ended])
        frames = self._take(self.project(encoded), places, len(lengths))
        width = len(places)
        past, state = None, self.decoder.start(width * size)
        origins = list(range(width * size))
        while True:
            slots = [line for beam in self._fill(alive) for line in beam.slots()]
            choice = self.step(
                Turn(
                    frames,
                    past,
                    state,
                    self._ids(origins),
                    self._ids([line.newest for line in slots]),
                    backend.asarray(np.array([line.fresh for line in slots], bool)),
                    self._ids([n // size for n in range(width * size)]),
                    self._ids([beam.index(line) for beam in self._fill(alive) for line in beam.slots()]),
                )
            )
            tokens, durations, scores, blanks = backend.to_host(
                (choice.tokens, choice.durations, choice.scores, choice.blanks)
            )
            check_score(float(scores.sum()), backend)
            parents: list[list[int]] = []
            for n, beam in enumerate(alive):
                mine = slice(n * size, (n + 1) * size)
                found = beam.advance(
                    tokens[mine], None if durations is None else durations[mine], scores[mine], blanks[mine]
                )
                parents.append([n * size + parent for parent in found])
            going = [n for n, beam in enumerate(alive) if not beam.ended]
            if not going:
                return [beam.best() for beam in beams]
            past, state = choice.past, None
            if backend.bucket("batch", len(going)) < width:
                places = self._fill(going)
                frames = self._take(frames, places, width)
                past = self._take(past, [row for n in places for row in parents[n]], width * size)
                alive, width = [alive[n] for n in going], len(places)
                origins = list(range(width * size))
            else:
                origins = [row for rows in self._fill(parents) for row in rows]

    def _fill(self, items: Sequence[Any]) -> list[Any]:
        """Items for all recordings of a bucket: copies of the last stand where nobody reads."""
        return [*items, *[items[-1]] * (self.backend.bucket("batch", len(items)) - len(items))]

    def _ids(self, values: Sequence[int]) -> Array:
        return self.backend.asarray(np.array(values, np.int32))

    def _take(self, tree: Any, rows: Sequence[int], size: int) -> Any:
        """Some of a tree's ``size`` rows."""
        return tree if list(rows) == list(range(size)) else self.select(Picked(tree, self._ids(rows)))


@attrs.frozen
class _Line:
    """A hypothesis on its way."""

    newest: int
    """The token that was said last; the blank before the first one."""
    fresh: bool = True
    """Whether that was in the last step."""
    tokens: tuple[int, ...] = ()
    scores: tuple[float, ...] = ()
    frames: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()
    frame: int = 0
    emitted: int = 0
    """Tokens that the frame has said."""
    total: float = 0.0


Step = tuple[float, int, int | None, int, float]
"""Score of the whole hypothesis, place of the one before, token or None for none, frames to move, score of the step."""


class _Beam:
    """The hypotheses of one request.

    Args:
        length: its frames.
    """

    def __init__(self, request: Request, length: int, decoder: TransducerDecoder, options: TransducerBeam) -> None:
        self.limit, self.length, self.options = request.limit, length, options
        self.blank = decoder.blank
        # With a single duration there is none to choose: a token stays on its frame, a blank leaves it.
        self.durations = decoder.durations if len(decoder.durations) > 1 else None
        self.lines = [_Line(decoder.blank)]

    @property
    def ended(self) -> bool:
        """Whether nothing can change any more."""
        return all(self._ended(line) for line in self.lines)

    def _ended(self, line: _Line) -> bool:
        return line.frame >= self.length or len(line.tokens) >= self.limit

    def slots(self) -> list[_Line]:
        """A hypothesis for each row; where there are too few, copies of the first, which nobody reads."""
        return [*self.lines, *[self.lines[0]] * (self.options.beam_size - len(self.lines))]

    def index(self, line: _Line) -> int:
        """The frame that it looks at; of one that has ended the last frame, which nobody reads."""
        return min(line.frame, self.length - 1)

    def advance(
        self, tokens: np.ndarray, durations: np.ndarray | None, scores: np.ndarray, blanks: np.ndarray
    ) -> list[int]:
        """Go on with the best of all continuations.

        Args:
            tokens: (K, C) of each hypothesis.
            durations: (K, C), places in the decoder's durations.
            scores: (K, C).
            blanks: (K,).

        Returns:
            The hypothesis before that each of the new ones goes on from, K in all.
        """
        size = self.options.beam_size
        if self.ended:
            return list(range(size))
        found: list[Step] = []
        for place, line in enumerate(self.lines):
            if self._ended(line):
                found.append((line.total, place, None, 0, 0.0))
                continue
            moves = [0] * tokens.shape[1]
            if durations is not None and self.durations is not None:
                moves = [self.durations[n] for n in durations[place].tolist()]
            if line.emitted >= self.options.max_symbols:
                score = float(blanks[place])
                found.append((line.total + score, place, self.blank, max(moves[0], 1), score))
                continue
            for token, move, score in zip(tokens[place].tolist(), moves, scores[place].tolist(), strict=True):
                moved = max(move, 1) if token == self.blank else move
                found.append((line.total + score, place, token, moved, score))
        found.sort(key=lambda candidate: -candidate[0])
        kept: dict[tuple[tuple[int, ...], int], tuple[int, _Line]] = {}
        for step in found[:size]:
            line = self._extended(step)
            key = line.tokens, line.frame
            if key in kept:
                parent, better = kept[key]
                total = better.total + math.log1p(math.exp(line.total - better.total))
                kept[key] = parent, attrs.evolve(better, total=total)
            else:
                kept[key] = step[1], line
        self.lines = [line for _, line in kept.values()]
        parents = [parent for parent, _ in kept.values()]
        return [*parents, *[parents[0]] * (size - len(parents))]

    def _extended(self, step: Step) -> _Line:
        total, place, token, move, score = step
        line = self.lines[place]
        if token is None:
            return attrs.evolve(line, fresh=False)
        if token == self.blank:
            return attrs.evolve(line, fresh=False, frame=line.frame + move, emitted=0, total=total)
        return _Line(
            token,
            True,
            (*line.tokens, token),
            (*line.scores, score),
            (*line.frames, line.frame),
            (*line.ends, line.frame + (1 if self.durations is None else move)),
            line.frame + move,
            0 if move else line.emitted + 1,
            total,
        )

    def best(self) -> list[Hypothesis]:
        """The best hypotheses, the best first."""
        found = [
            Hypothesis(
                line.tokens,
                line.scores,
                line.frame >= self.length,
                rank=line.total / (len(line.tokens) + 1 if self.options.score_norm else 1),
                frames=line.frames,
                ends=line.ends,
            )
            for line in self.lines
        ]
        return sorted(found, key=lambda one: -(one.rank or 0.0))[: self.options.n_best]
