"""Beam search with decoders whose best texts are known."""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import attrs
import numpy as np
import pytest

from asrkit.arrays import Encoded, varying
from asrkit.backends.numpy import NumpyBackend
from asrkit.errors import BackendError, OptionError
from asrkit.options import build_options
from asrkit.strategies.attention_beam import AttentionBeam
from asrkit.testing import StrictBackend
from asrkit.values import Request

STOP = frozenset({0})


class Buckets(NumpyBackend):
    """NumPy with buckets like a compiling backend's."""

    def bucket(self, axis, size):
        return 1 << (size - 1).bit_length() if size else size


every = pytest.mark.parametrize(
    "backend", [NumpyBackend(), StrictBackend(), Buckets()], ids=["numpy", "strict", "buckets"]
)


@varying(used=("batch",))
class Past(NamedTuple):
    used: Any


class Table:
    """A decoder whose scores depend on the last token alone; ``steps`` records the rows of each step."""

    def __init__(self, backend, scores, max_tokens=100):
        self.backend, self.size, self.max_tokens = backend, len(scores), max_tokens
        self.table = backend.weight("table", "fp32", np.asarray(scores, np.float32))
        self.steps = []

    def memorize(self, encoded):
        return encoded

    def start(self, rows, room):
        return Past(self.backend.asarray(np.zeros(rows, np.int32)))

    def step(self, memory, cache, tokens):
        self.steps.append(getattr(tokens, "_data", tokens).shape[0])
        return self.backend.ops.embed(tokens[:, -1:], self.table)[:, 0, :], cache


def log_softmax(scores):
    return scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))


def search(strategy, decoder, requests):
    backend, rows = decoder.backend, len(requests)
    encoded = Encoded(backend.asarray(np.zeros((rows, 2, 1), np.float32)), backend.asarray(np.full(rows, 2)))
    return strategy.bind(decoder, backend)(encoded, requests)


@every
def test_all_pairs_of_tokens_are_ranked(backend):
    """With a beam as wide as the vocabulary two steps miss nothing."""
    scores = np.random.default_rng(1).standard_normal((7, 7)) * 2
    (found,) = search(AttentionBeam(7, 0.0, 7), Table(backend, scores), [Request((3,), 2, frozenset())])
    logs = log_softmax(scores)
    texts = {(a, b): logs[3, a] + logs[a, b] for a, b in itertools.product(range(7), repeat=2)}
    best = sorted(texts, key=lambda text: -texts[text])[:7]
    assert [one.tokens for one in found] == best
    assert [one.rank for one in found] == pytest.approx([texts[text] for text in best], abs=1e-5)
    assert all(one.score == pytest.approx(one.rank) for one in found)


ESCAPE = np.log([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.001, 0.001, 0.998]])
"""From token 1 greedy search says 1 for ever; by way of 2, which comes second, all that follows is nearly certain."""


@every
def test_a_beam_finds_what_greedy_search_misses(backend):
    request = Request((1,), 6, frozenset())
    ((narrow,), (wide,)) = (search(AttentionBeam(size), Table(backend, ESCAPE), [request])[0] for size in (1, 2))
    assert narrow.tokens == (1,) * 6
    assert wide.tokens == (2,) * 6
    assert wide.score > narrow.score


@every
def test_ends_compete_with_texts_that_go_on(backend):
    # Token 0 ends a text at once with a probability of 0.2; the text of six tokens has 0.3 * 0.998 ** 5.
    (found,) = search(AttentionBeam(3, 0.0, 2), Table(backend, ESCAPE), [Request((1,), 6, STOP)])
    assert [(one.tokens, one.finished) for one in found] == [((2,) * 6, False), ((), True)]
    assert found[1].rank == pytest.approx(math.log(0.2), abs=1e-5)
    assert found[1].scores == ()


@every
def test_length_penalty_favours_long_texts(backend):
    scores = np.log([[0.01, 0.01, 0.98], [0.09, 0.9, 0.01], [0.01, 0.01, 0.98]])
    (short,), (long,) = (
        search(AttentionBeam(2, penalty), Table(backend, scores), [Request((1,), 30, STOP)])[0] for penalty in (0, 1)
    )
    assert short.tokens == ()
    assert long.tokens == (1,) * 30


@every
def test_ranks_are_divided_by_the_penalty(backend):
    """Worked out by hand: an end does not count, also where it came first and passed."""
    scores = np.log([[0.5, 0.25, 0.25], [0.6, 0.3, 0.1], [0.9, 0.05, 0.05]])
    (found,) = search(AttentionBeam(2, 1.0, 2), Table(backend, scores), [Request((1,), 3, STOP, stops_after=1)])
    # (0, 0) is an end behind an end that came too early: only the prompt counts, 1 + 1 = 2. (1, 0) has one more.
    first, second = math.log(0.6 * 0.5), math.log(0.3 * 0.6)
    assert [one.tokens for one in found] == [(0,), (1,)]
    assert [one.rank for one in found] == pytest.approx([first / (7 / 6), second / (8 / 6)], abs=1e-5)


@every
@pytest.mark.parametrize("after", [0, 1, 2])
def test_stops_after_lets_the_first_tokens_pass(backend, after):
    every_token = frozenset({0, 1, 2})
    for one in search(AttentionBeam(3, 0.0, 3), Table(backend, ESCAPE), [Request((1,), 5, every_token, after)])[0]:
        assert (len(one.tokens), one.finished) == (after, True)


@every
def test_limits_and_prompts_are_each_rows_own(backend):
    requests = [Request((1,) * prompt, limit, frozenset()) for prompt, limit in ((1, 3), (2, 5), (1, 0), (1, 1))]
    found = search(AttentionBeam(2, 0.0, 2), Table(backend, ESCAPE), requests)
    assert [[len(one.tokens) for one in best] for best in found] == [[3, 3], [5, 5], [0], [1, 1]]
    assert not any(one.finished for best in found for one in best)


@every
def test_suppress_first_holds_for_the_first_token_only(backend):
    scores = np.log([[0.1, 0.2, 0.7]] * 3)
    (best,) = search(
        AttentionBeam(2), Table(backend, scores), [Request((1,), 3, frozenset(), suppress_first=frozenset({2}))]
    )[0]
    assert best.tokens == (1, 2, 2)


@every
def test_a_beam_wider_than_the_tokens_that_may_come_first(backend):
    request = Request((1,), 3, frozenset(), suppress_first=frozenset({0, 2}))
    (found,) = search(AttentionBeam(3, 0.0, 3), Table(backend, ESCAPE), [attrs.evolve(request, limit=1)])
    assert [one.tokens for one in found] == [(1,)]
    (found,) = search(AttentionBeam(3, 0.0, 3), Table(backend, ESCAPE), [request])
    assert {one.tokens[0] for one in found} == {1}
    assert len(found) == 3


def test_finished_rows_leave_the_batch():
    decoder = Table(NumpyBackend(), ESCAPE)
    search(AttentionBeam(2), decoder, [Request((1,), limit, frozenset()) for limit in (2, 4, 6)])
    # The prompts go through alone; then each has two hypotheses, until its limit is reached.
    assert decoder.steps == [3, 6, 4, 4, 2, 2]


def test_finished_rows_leave_in_buckets():
    decoder = Table(Buckets(), ESCAPE)
    search(AttentionBeam(3), decoder, [Request((1,), limit, frozenset()) for limit in (2, 4, 6)])
    assert decoder.steps == [4, 16, 8, 8, 4, 4]


@every
def test_a_row_in_a_batch_is_what_it_is_alone(backend):
    rng = np.random.default_rng(5)
    scores = rng.standard_normal((9, 9)) * 2
    requests = [
        Request((1,) * (1 + n % 2), int(limit), frozenset({0, 1}), stops_after=n % 3)
        for n, limit in enumerate(rng.integers(0, 12, 12))
    ]
    strategy = AttentionBeam(4, 0.7, 4)
    together = search(strategy, Table(backend, scores), requests)
    alone = [search(strategy, Table(backend, scores), [request])[0] for request in requests]
    assert [[one.tokens for one in best] for best in together] == [[one.tokens for one in best] for best in alone]


@every
def test_scores_that_are_no_numbers(backend):
    with np.errstate(invalid="ignore"), pytest.raises(BackendError, match=r"^the model computed NaN or infinity"):
        search(AttentionBeam(2), Table(backend, ESCAPE * math.nan), [Request((1,), 3, STOP)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_size": 0}, "^beam_size is a whole number from 1 on, found 0$"),
        ({"n_best": "5"}, "^n_best is a whole number from 1 to the beam_size of 4, found 5$"),
        ({"n_best": 0}, "^n_best is a whole number from 1 to the beam_size of 4, found 0$"),
        ({"length_penalty": -1}, "^length_penalty is a number from 0 to 100, found -1$"),
        ({"length_penalty": "nan"}, "^length_penalty is a number from 0 to 100, found nan$"),
    ],
)
def test_options_that_cannot_be_met(options, message):
    with pytest.raises(OptionError, match=message):
        build_options(AttentionBeam, options, "strategy 'attention-beam'")


def test_a_beam_wider_than_the_vocabulary():
    decoder = Table(NumpyBackend(), ESCAPE)
    with pytest.raises(OptionError, match=r"^a beam_size of 4 is more than the 3 tokens that the model chooses from$"):
        AttentionBeam().bind(decoder, decoder.backend)


def test_options_are_compared_by_value():
    """Models keep what is compiled for the options of a strategy."""
    assert AttentionBeam(2) == attrs.evolve(AttentionBeam(), beam_size=2)
    assert hash(AttentionBeam(2)) == hash(AttentionBeam(2))
