"""Greedy search with a decoder that plays scripts, so that every row's end is known."""

from __future__ import annotations

import math

import attrs
import numpy as np
import pytest

from asrkit.arrays import Encoded
from asrkit.backends.numpy import NumpyBackend
from asrkit.errors import BackendError
from asrkit.strategies.greedy import Greedy
from asrkit.testing import StrictBackend
from asrkit.values import Request

STOP = frozenset({0})


class Ahead(NumpyBackend):
    """NumPy that claims to work asynchronously, with buckets like a compiling backend's."""

    name = "ahead"

    def __init__(self, buckets=False):
        super().__init__()
        self.buckets = buckets
        self.capabilities = attrs.evolve(self.capabilities, ahead=True)
        self.dispatched = 0

    def bucket(self, axis, size):
        return 1 << (size - 1).bit_length() if self.buckets and size else size

    def dispatch(self, tree):
        self.dispatched += 1


BACKENDS = {
    "numpy": NumpyBackend,
    "strict": StrictBackend,
    "ahead": Ahead,
    "ahead-buckets": lambda: Ahead(buckets=True),
}
every = pytest.mark.parametrize("backend", [make() for make in BACKENDS.values()], ids=BACKENDS)


def encoded(backend, scripts, spare=0):
    """Encoder states that are the scripts themselves, and rows that nobody asked for."""
    values = np.zeros((len(scripts) + spare, max(map(len, scripts)) + 2, 1), np.float32)
    for row, script in enumerate(scripts):
        values[row, : len(script), 0] = script
    lengths = np.array([len(script) for script in scripts] + [0] * spare)
    return Encoded(backend.asarray(values), backend.asarray(lengths))


@pytest.fixture
def search(family):
    """Decodes scripts; gives the hypotheses and the decoder."""

    def search(backend, scripts, requests, spare=0, **sizes):
        decoder = family.Speller(backend, **sizes)
        found = Greedy().bind(decoder, backend)(encoded(backend, scripts, spare), requests)
        assert all(len(best) == 1 for best in found)
        return [best[0] for best in found], decoder

    return search


def ask(limit=20, prompt=(5,), stops=STOP, **more):
    return Request(tuple(prompt), limit, stops, **more)


@every
def test_rows_end_at_their_stop_token(search, backend):
    scripts = [[3, 4, 5], [7], [], [9, 8, 7, 6, 5]]
    found, _ = search(backend, scripts, [ask()] * 4)
    assert [list(h.tokens) for h in found] == scripts
    assert all(h.finished for h in found)


@every
def test_stop_tokens_are_each_rows_own(search, backend):
    script = [3, 4, 5, 6, 7]
    stops = [frozenset({5}), frozenset({7, 4}), frozenset({3}), frozenset({0})]
    found, _ = search(backend, [script] * 4, [ask(stops=s) for s in stops])
    assert [h.tokens for h in found] == [(3, 4), (3,), (), (3, 4, 5, 6, 7)]


@every
def test_stops_after_lets_the_first_tokens_pass(search, backend):
    scripts = [[3, 3, 4], [3, 3, 4], [3, 3, 4], [5, 3, 4], []]
    requests = [ask(stops=frozenset({0, 3}), stops_after=count) for count in (0, 1, 2, 1, 1)]
    found, _ = search(backend, scripts, requests)
    # A stop token among them is said like any other; behind an empty script there is only the stop token.
    assert [h.tokens for h in found] == [(), (3,), (3, 3, 4), (5,), (0,)]
    assert all(h.finished for h in found)


@every
def test_limits_are_each_rows_own(search, backend):
    script = [3, 4, 5, 6]
    found, _ = search(backend, [script] * 5, [ask(limit) for limit in (2, 4, 1, 5, 3)])
    assert [len(h.tokens) for h in found] == [2, 4, 1, 4, 3]
    # The stop token comes as the fifth: only the row with room for it hears it.
    assert [h.finished for h in found] == [False, False, False, True, False]


@every
def test_limit_of_nothing(search, backend):
    found, _ = search(backend, [[3, 4], [3, 4]], [ask(0), ask(1)])
    assert [h.tokens for h in found] == [(), (3,)]
    assert not found[0].finished


@every
def test_only_limits_of_nothing(search, backend):
    found, _ = search(backend, [[3]], [ask(0)])
    assert found[0].tokens == ()
    assert found[0].scores == ()


def test_no_requests(search):
    backend = NumpyBackend()
    assert search(backend, [[3]], [])[0] == []


@pytest.mark.parametrize(
    ("scripts", "limits", "rows"),
    [
        ([[1] * 3], [20], [1, 1, 1, 1]),
        ([[1], [1] * 4, [1] * 2], [20] * 3, [3, 3, 2, 1, 1]),
        ([[1] * 9, [1] * 9, [1] * 9], [1, 2, 3], [3, 2, 1]),
        ([[1] * 9], [4], [1, 1, 1, 1]),
    ],
)
def test_finished_rows_leave_the_batch(search, scripts, limits, rows):
    _, decoder = search(NumpyBackend(), scripts, [ask(limit) for limit in limits])
    assert decoder.steps == rows


def test_one_step_is_in_flight(search):
    backend = Ahead()
    found, decoder = search(backend, [[1] * 3, [2]], [ask(), ask()])
    assert [h.tokens for h in found] == [(1, 1, 1), (2,)]
    # Rows leave one step later, and the last step was issued in vain; each was dispatched before the one before
    # it was read.
    assert decoder.steps == [2, 2, 2, 1, 1]
    assert backend.dispatched == len(decoder.steps) - 1


def test_in_flight_never_goes_beyond_the_limit(search):
    _, decoder = search(Ahead(), [[1] * 9], [ask(3)])
    assert decoder.steps == [1, 1, 1]


def test_rows_come_in_buckets(search):
    _, decoder = search(Ahead(buckets=True), [[1] * n for n in (1, 2, 3, 4, 5)], [ask()] * 5)
    assert set(decoder.steps) <= {8, 4, 2, 1}
    assert decoder.steps[0] == 8
    assert sorted(decoder.steps, reverse=True) == decoder.steps
    assert decoder.steps[-1] == 1


@every
def test_rows_that_nobody_asked_for_are_left_out(search, backend):
    found, _ = search(backend, [[3, 4], [5]], [ask()] * 2, spare=2)
    assert [h.tokens for h in found] == [(3, 4), (5,)]


@every
def test_prompts_of_unequal_length(search, backend):
    # A script counts from the first prompt token: the row hears what stands behind its own prompt.
    script = [0, 11, 12, 13, 14]
    prompts = [(5, 6), (5,) * 4, (9, 9), (1, 2, 3)]
    found, _ = search(backend, [script] * 4, [ask(prompt=p) for p in prompts])
    assert [h.tokens for h in found] == [(11, 12, 13, 14), (13, 14), (11, 12, 13, 14), (12, 13, 14)]


@every
def test_suppress_first_holds_for_the_first_token_only(search, backend):
    requests = [ask(suppress_first=frozenset({8})), ask(), ask(suppress_first=frozenset({8, 7, 0}))]
    found, _ = search(backend, [[8, 8, 8]] * 3, requests)
    assert [h.tokens for h in found] == [(7, 8, 8), (8, 8, 8), (9, 8, 8)]


@every
def test_suppress_first_can_put_off_the_end(search, backend):
    found, _ = search(backend, [[], []], [ask(limit=3, suppress_first=STOP), ask(limit=3)])
    assert [h.tokens for h in found] == [(1,), ()]
    assert found[0].finished


@every
def test_scores_are_log_probabilities(search, backend):
    found, _ = search(backend, [[13, 26], [5]], [ask(), ask(suppress_first=frozenset({5}))])

    def score(token, wanted, size=27, banned=()):
        return -abs(token - wanted) - math.log(sum(math.exp(-abs(i - wanted)) for i in range(size) if i not in banned))

    assert found[0].scores == pytest.approx([score(13, 13), score(26, 26)], abs=1e-5)
    assert found[0].score == pytest.approx(sum(found[0].scores))
    # What is suppressed takes no probability: the others share it.
    assert found[1].tokens == (4,)
    assert found[1].scores == pytest.approx([score(4, 5, banned={5})], abs=1e-5)


@pytest.mark.parametrize("ahead", [False, True])
def test_a_row_in_a_batch_is_what_it_is_alone(search, ahead):
    rng = np.random.default_rng(0)
    scripts = [rng.integers(1, 26, count).tolist() for count in rng.integers(0, 12, 20)]
    requests = [ask(int(limit), prompt=(5,) * (1 + n % 3)) for n, limit in enumerate(rng.integers(0, 12, 20))]
    make = (lambda: Ahead(buckets=True)) if ahead else NumpyBackend
    together, _ = search(make(), scripts, requests)
    alone = [search(make(), [s], [r])[0][0] for s, r in zip(scripts, requests, strict=True)]
    assert [h.tokens for h in together] == [h.tokens for h in alone]
    assert [h.finished for h in together] == [h.finished for h in alone]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (ask(prompt=(5, 27)), r"^token ids \[27\] are outside the decoder's 27 classes$"),
        (ask(prompt=(-1, 99)), r"^token ids \[-1, 99\] are outside the decoder's 27 classes$"),
        (ask(suppress_first=frozenset({30})), r"^token ids \[30\] are outside the decoder's 27 classes$"),
        (ask(9, prompt=(1, 2)), r"^a prompt of 2 and 9 new tokens do not fit into the decoder's 9 positions$"),
    ],
)
def test_requests_that_cannot_be_met(search, request_, message):
    with pytest.raises(ValueError, match=message):
        search(NumpyBackend(), [[1], [1]], [ask(3), request_], max_tokens=9)


def test_all_positions_can_be_used(search):
    # The last new token is never fed back: it needs no position.
    found, decoder = search(NumpyBackend(), [[1] * 20], [ask(8, prompt=(1, 2))], max_tokens=9)
    assert len(found[0].tokens) == 8
    assert len(decoder.steps) == 8


@every
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_scores_that_are_no_numbers(family, backend, value):
    class Broken(family.Speller):
        def step(self, memory, cache, tokens):
            scores, cache = super().step(memory, cache, tokens)
            return scores * value, cache

    decode = Greedy().bind(Broken(backend), backend)
    message = f"^the model computed NaN or infinity on backend '{backend.name}': "
    with np.errstate(invalid="ignore"), pytest.raises(BackendError, match=message):
        decode(encoded(backend, [[3, 4], [5]]), [ask(), ask()])
