"""Beam search over a transducer, against all alignments there are, with random networks."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np
import pytest

from asrkit.arrays import Encoded, varying
from asrkit.backends.numpy import NumpyBackend
from asrkit.errors import BackendError, OptionError
from asrkit.interfaces import TransducerDecoder
from asrkit.options import build_options
from asrkit.strategies.transducer_beam import TransducerBeam
from asrkit.strategies.transducer_greedy import TransducerGreedy
from asrkit.testing import installed_backends
from asrkit.values import Request

BACKENDS = installed_backends()
every = pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS)
SIZE, BLANK = 4, 3
RNNT, TDT = (1,), (0, 1, 2, 4)
kinds = pytest.mark.parametrize("durations", [RNNT, TDT], ids=["rnnt", "tdt"])


@varying(memory=("batch", None))
class Memory(NamedTuple):
    memory: Any


class Net:
    """Transducer whose outputs are its frames and what it remembers; ``steps`` records the rows of each step."""

    size, blank = SIZE, BLANK

    def __init__(self, backend, durations, seed=0, quiet=0.0, stay=0.0):
        self.backend, self.ops, self.durations, self.steps = backend, backend.ops, durations, []
        self.width = SIZE + (len(durations) if len(durations) > 1 else 0)
        self.values = (np.random.default_rng(seed).standard_normal((SIZE, self.width)) * 2).astype(np.float32)
        self.table = backend.weight("table", "fp32", self.values)
        self.bias = np.zeros(self.width, np.float32)
        self.bias[BLANK] = quiet
        self.bias[SIZE : SIZE + 1] = stay  # the duration 0

    def project(self, encoded):
        return encoded.values

    def start(self, rows):
        return Memory(self.backend.asarray(np.zeros((rows, self.width), np.float32)))

    def predict(self, state, tokens):
        self.steps.append(getattr(tokens, "_data", tokens).shape[0])
        said = self.ops.embed(tokens[:, None], self.table)[:, 0, :]
        memory = self.ops.xp.tanh(state.memory * 0.5 + said)
        return memory, Memory(memory)

    def join(self, frames, predicted):
        z = frames + predicted
        return z[:, :SIZE], (z[:, SIZE:] if len(self.durations) > 1 else None)

    def logs(self, row, frame, memory):
        """Log-probabilities of tokens, in double precision."""
        z = (row[frame].astype(float) + memory)[:SIZE]
        return z - math.log(np.exp(z).sum())

    def after(self, memory, token):
        return np.tanh(memory * 0.5 + self.values[token].astype(float))


def rows_of(net, *lengths, seed=1):
    rng = np.random.default_rng(seed)
    return [(rng.standard_normal((length, net.width)) * 2).astype(np.float32) + net.bias for length in lengths]


def search(net, rows, strategy, limit=999):
    values = np.full((len(rows) + 1, max(map(len, rows)) + 2, net.width), 7, np.float32)
    for n, row in enumerate(rows):
        values[n, : len(row)] = row
    backend = net.backend
    encoded = Encoded(backend.asarray(values), backend.asarray(np.array([*map(len, rows), 0])))
    assert isinstance(net, TransducerDecoder)
    return strategy.bind(net, backend)(encoded, [Request((), limit, frozenset())] * len(rows))


def all_texts(net, row, most):
    """Probability of each text of so many tokens at most: the sum over its alignments."""
    found: dict[tuple[int, ...], float] = defaultdict(float)

    def go(frame, memory, text, score):
        if frame == len(row):
            found[text] += math.exp(score)
            return
        logs = net.logs(row, frame, memory)
        go(frame + 1, memory, text, score + logs[BLANK])
        if len(text) < most:
            for token in range(BLANK):
                go(frame, net.after(memory, token), (*text, token), score + logs[token])

    go(0, net.after(np.zeros(net.width), BLANK), (), 0.0)
    return found


@every
@pytest.mark.parametrize("norm", [True, False])
def test_a_wide_beam_adds_all_alignments_of_a_text(backend, norm):
    net = Net(backend, RNNT, quiet=3.0)
    (row,) = rows_of(net, 3)
    (found,) = search(net, [row], TransducerBeam(150, score_norm=norm, n_best=150))
    expected = all_texts(net, row, 2)
    ranks = {text: math.log(sure) / (len(text) + 1 if norm else 1) for text, sure in expected.items()}
    ours = {one.tokens: one for one in found}
    assert len(ours) == len(found)
    assert len(expected) == 13
    for text in expected:
        assert ours[text].rank == pytest.approx(ranks[text], abs=1e-4)
    assert [one.rank for one in found] == sorted((one.rank for one in found), reverse=True)


@every
@kinds
@pytest.mark.parametrize("seed", range(3))
def test_a_beam_of_one_is_greedy_search(backend, durations, seed):
    net = Net(backend, durations, seed, quiet=1.0, stay=-9.0)
    rows = rows_of(net, 25, 0, 7, 1, seed=seed)
    beams = search(net, rows, TransducerBeam(1))
    for (beam,), (greedy,) in zip(beams, search(net, rows, TransducerGreedy()), strict=True):
        if durations == TDT:  # of which the two leave a full frame in different ways
            assert all(greedy.frames.count(frame) < 10 for frame in greedy.frames)
        assert (beam.tokens, beam.frames, beam.ends) == (greedy.tokens, greedy.frames, greedy.ends)
        assert beam.finished
        if durations == RNNT:
            assert beam.scores == pytest.approx(greedy.scores, abs=1e-5)


@kinds
def test_a_beam_finds_what_greedy_search_misses(durations):
    better = 0
    for seed in range(8):
        net = Net(NumpyBackend(), durations, seed, quiet=1.0)
        rows = rows_of(net, 12, seed=seed)
        narrow, wide = (search(net, rows, TransducerBeam(size, score_norm=False))[0][0] for size in (1, 8))
        better += wide.rank > narrow.rank + 1e-3
    assert better >= 6


@every
@kinds
def test_a_row_in_a_batch_is_what_it_is_alone(backend, durations):
    net, strategy = Net(backend, durations, 3, quiet=1.0), TransducerBeam(5, max_symbols=2, n_best=5)
    rows = rows_of(net, 30, 3, 0, 11, 1, seed=2)
    for row, together in zip(rows, search(net, rows, strategy), strict=True):
        (alone,) = search(net, [row], strategy)
        assert [(one.tokens, one.frames, one.ends) for one in alone] == [
            (one.tokens, one.frames, one.ends) for one in together
        ]
        assert [one.rank for one in alone] == pytest.approx([one.rank for one in together], abs=1e-5)


@kinds
@pytest.mark.parametrize("most", [1, 2])
def test_a_frame_says_so_many_tokens_at_most(durations, most):
    net = Net(NumpyBackend(), durations, quiet=-3.0, stay=3.0)
    (found,) = search(net, rows_of(net, 9), TransducerBeam(4, max_symbols=most, n_best=4))
    assert max(one.frames.count(frame) for one in found for frame in one.frames) == most


class Buckets(NumpyBackend):
    """Rows in powers of two, as a compiling backend has them."""

    def bucket(self, axis, size):
        return 1 << (size - 1).bit_length() if size else size


def test_recordings_that_have_ended_leave_the_batch():
    net = Net(Buckets(), RNNT, 3, quiet=2.0)
    rows = rows_of(net, 5, 40, 2, 0, 20)
    found = search(net, rows, TransducerBeam(3, n_best=3))
    assert sorted(set(net.steps), reverse=True) == [12, 6, 3]
    plain = Net(NumpyBackend(), RNNT, 3, quiet=2.0)
    for some, others in zip(found, search(plain, rows, TransducerBeam(3, n_best=3)), strict=True):
        assert [one.tokens for one in some] == [one.tokens for one in others]


@kinds
@pytest.mark.parametrize("limit", [0, 1, 3])
def test_limit(durations, limit):
    net = Net(NumpyBackend(), durations, 2, quiet=-1.0)
    rows = rows_of(net, 12, 0)
    long, empty = search(net, rows, TransducerBeam(3, n_best=3), limit)
    assert max(len(one.tokens) for one in long) == limit
    assert any(not one.finished for one in long)
    assert [(one.tokens, one.finished) for one in empty] == [((), True)]


def test_nothing_to_hear():
    net = Net(NumpyBackend(), RNNT)
    rows = rows_of(net, 0)
    assert search(net, rows, TransducerBeam())[0][0].tokens == ()
    assert net.steps == []


def test_nan_is_told():
    net = Net(NumpyBackend(), RNNT)
    rows = rows_of(net, 4)
    rows[0][2] = math.nan
    with pytest.raises(BackendError, match="NaN or infinity on backend 'numpy'"):
        search(net, rows, TransducerBeam())


def test_prompts_are_refused():
    net = Net(NumpyBackend(), RNNT)
    encoded = Encoded(np.zeros((1, 2, net.width), np.float32), np.array([2]))
    with pytest.raises(ValueError, match="takes no prompt"):
        TransducerBeam().bind(net, net.backend)(encoded, [Request((1,), 9, frozenset())])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"beam_size": "0"}, "beam_size is a whole number from 1 on, found 0"),
        ({"max_symbols": "0"}, "max_symbols must be a whole number from 1 on, found 0"),
        ({"n_best": "5"}, "n_best is a whole number from 1 to the beam_size of 4, found 5"),
    ],
)
def test_options_are_checked(given, message):
    with pytest.raises(OptionError, match=message):
        build_options(TransducerBeam, given, "strategy 'transducer-beam'")
