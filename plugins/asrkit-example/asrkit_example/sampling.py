"""Sampling: every token is drawn at random, as often as the model finds it probable."""

from __future__ import annotations

from typing import Any, NamedTuple

import attrs
import numpy as np

from asrkit.arrays import Array, Encoded, varying
from asrkit.interfaces import AttentionDecoder, Backend, Decode
from asrkit.values import Hypothesis, Request

__all__ = ["Sampling"]


@varying(row=("rows",))
class Chosen(NamedTuple):
    """A row of a batch."""

    encoded: Encoded
    row: Array


@varying(tokens=("batch", "tokens"))
class Turn(NamedTuple):
    """What goes into a step."""

    memory: Any
    cache: Any
    tokens: Array


@varying(scores=("batch", None))
class Heard(NamedTuple):
    """What comes out of a step: log-probabilities (B, V) and the next cache."""

    scores: Array
    cache: Any


@attrs.frozen
class Sampling:
    """Draw tokens at random. The options are the fields: ``-o temperature=0.5 -o seed=1``."""

    decodes = AttentionDecoder

    temperature: float = attrs.field(default=1.0, validator=attrs.validators.gt(0))
    seed: int = 0

    def bind(self, decoder: AttentionDecoder, backend: Backend) -> Decode:
        """Compile what runs on the backend, and return the search."""
        xp, ops = backend.xp, backend.ops

        def memorize(chosen: Chosen) -> Any:
            values, lengths = (xp.take(array, chosen.row, axis=0) for array in chosen.encoded)
            return decoder.memorize(Encoded(values, lengths))

        def step(turn: Turn) -> Heard:
            logits, cache = decoder.step(turn.memory, turn.cache, turn.tokens)
            return Heard(ops.log_softmax(logits / self.temperature), cache)

        memorize, step = backend.compile(memorize), backend.compile(step)

        def search(encoded: Encoded, row: int, request: Request) -> Hypothesis:
            if not all(0 <= token < decoder.size for token in request.prompt):
                raise ValueError(f"the prompt {request.prompt} has tokens beyond the decoder's {decoder.size}")
            memory = memorize(Chosen(encoded, backend.asarray(np.array([row]))))
            cache = decoder.start(1, backend.bucket("past", len(request.prompt) + request.limit))
            random, fed = np.random.default_rng(self.seed), request.prompt
            tokens: list[int] = []
            scores: list[float] = []
            while len(tokens) < request.limit:
                heard = step(Turn(memory, cache, backend.asarray(np.array([fed]))))
                cache, logs = heard.cache, backend.to_host(heard.scores)[0].astype(np.float64)
                if not tokens:
                    logs[list(request.suppress_first)] = -np.inf
                odds = np.exp(logs)
                token = int(random.choice(decoder.size, p=odds / odds.sum()))
                if token in request.stops and len(tokens) >= request.stops_after:
                    return Hypothesis(tuple(tokens), tuple(scores), True)
                tokens, scores, fed = [*tokens, token], [*scores, float(logs[token])], (token,)
            return Hypothesis(tuple(tokens), tuple(scores), False)

        return lambda encoded, requests: [[search(encoded, row, asked)] for row, asked in enumerate(requests)]
