"""Greedy transducer search against a loop that takes one frame at a time, with random networks."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import attrs
import numpy as np
import pytest

from asrkit.arrays import Encoded, varying
from asrkit.backends.numpy import NumpyBackend
from asrkit.errors import BackendError, OptionError
from asrkit.interfaces import TransducerDecoder
from asrkit.options import build_options
from asrkit.strategies.transducer_greedy import WINDOW, TransducerGreedy
from asrkit.testing import installed_backends
from asrkit.values import Request

BACKENDS = installed_backends()
every = pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS)
WIDTH, BLANK = 6, 5
RNNT, TDT = (1,), (0, 1, 2, 4)


@varying(memory=("batch", None))
class Memory(NamedTuple):
    memory: Any


class Net:
    """Transducer with a random table and a random matrix; ``steps`` records the rows of each step."""

    size, blank = BLANK + 1, BLANK

    def __init__(self, backend, durations, seed=0, quiet=0.0):
        rng = np.random.default_rng(seed)
        self.durations = durations
        self.table = rng.standard_normal((BLANK + 1, WIDTH)).astype(np.float32) * 2
        self.table[BLANK] = 0
        outputs = BLANK + 1 + (len(durations) if len(durations) > 1 else 0)
        self.matrix = rng.standard_normal((outputs, WIDTH)).astype(np.float32)
        self.bias = np.zeros(outputs, np.float32)
        self.bias[BLANK] = quiet
        self.backend, self.ops = backend, backend.ops
        self.weights = [
            backend.weight(role, "fp32", values)
            for role, values in (("table", self.table), ("matrix", self.matrix), ("vector", self.bias))
        ]
        self.steps = []

    def project(self, encoded):
        return encoded.values

    def start(self, rows):
        return Memory(self.backend.asarray(np.zeros((rows, WIDTH), np.float32)))

    def predict(self, state, tokens):
        self.steps.append(getattr(tokens, "_data", tokens).shape[0])
        said = self.ops.embed(tokens[:, None], self.weights[0])[:, 0, :]
        memory = self.ops.xp.tanh(state.memory * 0.5 + said)
        return memory, Memory(memory)

    def join(self, frames, predicted):
        z = self.ops.linear(self.ops.xp.tanh(frames + predicted), self.weights[1], self.weights[2])
        return z[:, : BLANK + 1], (z[:, BLANK + 1 :] if len(self.durations) > 1 else None)


def reference(net, frames, max_symbols=10, limit=999):
    """Tokens, frames, ends and scores, by the book, in double precision."""
    memory = np.zeros(WIDTH)
    t = said = 0
    found = []

    def predict(token):
        return np.tanh(memory * 0.5 + net.table[token].astype(float))

    memory = predict(BLANK)
    while t < len(frames) and len(found) < limit:
        z = net.matrix.astype(float) @ np.tanh(frames[t].astype(float) + memory) + net.bias
        k = int(z[: BLANK + 1].argmax())
        timed = len(net.durations) > 1
        d = net.durations[int(z[BLANK + 1 :].argmax())] if timed else 0
        if k == BLANK:
            t, said = t + max(d, 1), 0
            continue
        score = z[k] - math.log(np.exp(z[: BLANK + 1]).sum())
        found.append((k, t, t + (d if timed else 1), score))
        memory = predict(k)
        said, t = (0 if d else said + 1), t + d
        if said >= max_symbols:
            t, said = t + 1, 0
    return found


def rows_of(seed=1, lengths=(30, 0, 7, 1, WINDOW, 2 * WINDOW + 3)):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((length, WIDTH)).astype(np.float32) * 1.5 for length in lengths]


def encode(backend, rows, spare=1):
    values = np.full((len(rows) + spare, max(len(row) for row in rows) + 3, WIDTH), 7, np.float32)
    for n, row in enumerate(rows):
        values[n, : len(row)] = row
    lengths = np.array([len(row) for row in rows] + [0] * spare)
    return Encoded(backend.asarray(values), backend.asarray(lengths))


def search(net, rows, limit=999, **options):
    decode = TransducerGreedy(**options).bind(net, net.backend)
    return [best for (best,) in decode(encode(net.backend, rows), [Request((), limit, frozenset())] * len(rows))]


@every
@pytest.mark.parametrize("durations", [RNNT, TDT], ids=["rnnt", "tdt"])
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_loop_by_frames(backend, durations, seed):
    net, rows = Net(backend, durations, seed, quiet=1.5), rows_of(seed)
    assert isinstance(net, TransducerDecoder)
    for found, row in zip(search(net, rows), rows, strict=True):
        expected = reference(net, row)
        assert list(zip(found.tokens, found.frames, found.ends, strict=True)) == [one[:3] for one in expected]
        assert found.scores == pytest.approx([one[3] for one in expected], abs=1e-4)
        assert found.finished


@pytest.mark.parametrize("durations", [RNNT, TDT], ids=["rnnt", "tdt"])
@pytest.mark.parametrize("max_symbols", [1, 2, 10])
def test_a_frame_says_so_many_tokens_at_most(durations, max_symbols):
    most = 0
    for seed in range(6):
        net, rows = Net(NumpyBackend(), durations, seed, quiet=-1.0), rows_of(seed)
        for found, row in zip(search(net, rows, max_symbols=max_symbols), rows, strict=True):
            assert list(found.tokens) == [one[0] for one in reference(net, row, max_symbols)]
            most = max([most, *(found.frames.count(frame) for frame in found.frames)])
    assert most == max_symbols, "no frame was full"


@every
def test_a_row_in_a_batch_is_what_it_is_alone(backend):
    net, rows = Net(backend, TDT, 4, quiet=1.0), rows_of(5)
    together = search(net, rows)
    for n, row in enumerate(rows):
        (alone,) = search(net, [row])
        assert (alone.tokens, alone.frames, alone.ends) == (
            together[n].tokens,
            together[n].frames,
            together[n].ends,
        )


@pytest.mark.parametrize("durations", [RNNT, TDT], ids=["rnnt", "tdt"])
def test_a_blank_moves_by_its_duration_and_at_least_one_frame(durations):
    net = Net(NumpyBackend(), durations, quiet=99.0)  # says nothing at all
    row = rows_of()[0]
    assert search(net, [row])[0].tokens == ()
    if durations == RNNT:
        assert len(net.steps) == -(-len(row) // WINDOW)
    else:
        # In the longest of steps it looks at fewer frames, in windows that begin where the last one was left.
        net.bias[BLANK + 1 :] = [9, 0, 0, 0]
        net.weights[2] = net.bias
        assert search(net, [row])[0].finished


def test_a_token_may_last_beyond_the_end():
    net = Net(NumpyBackend(), TDT, 1)
    net.weights[2] = net.bias = np.array([9, 0, 0, 0, 0, -99, 0, 0, 0, 99], np.float32)
    (found,) = search(net, [rows_of()[0][:6]])
    assert (found.frames, found.ends, found.finished) == ((0, 4), (4, 8), True)


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_limit(limit):
    net, rows = Net(NumpyBackend(), RNNT, 2), rows_of(2)
    for found, row in zip(search(net, rows, limit), rows, strict=True):
        whole = reference(net, row)
        assert list(found.tokens) == [one[0] for one in whole[:limit]]
        if len(whole) > limit:
            assert not found.finished
        if len(row) == 0:
            assert found.finished


def test_finished_rows_leave_the_batch():
    net = Net(NumpyBackend(), RNNT, 3, quiet=99.0)
    search(net, rows_of(lengths=(3 * WINDOW, WINDOW, 0, 2 * WINDOW)))
    assert net.steps == [3, 2, 1]


class Buckets(NumpyBackend):
    """Rows in powers of two, as a compiling backend has them."""

    def bucket(self, axis, size):
        return 1 << (size - 1).bit_length() if size else size


def test_rows_come_in_buckets():
    net, rows = Net(Buckets(), RNNT, 3, quiet=1.0), rows_of(lengths=(9, 30, 4, 0, 12))
    found = search(net, rows)
    assert [list(one.tokens) for one in found] == [[t[0] for t in reference(net, row)] for row in rows]
    assert set(net.steps) <= {4, 2, 1}


def test_no_requests_and_nothing_to_hear():
    net = Net(NumpyBackend(), RNNT)
    assert search(net, rows_of(lengths=(0,)))[0].tokens == ()
    assert net.steps == []
    assert TransducerGreedy().bind(net, net.backend)(encode(net.backend, rows_of()), []) == []


@pytest.mark.parametrize(("value", "message"), [("0", "max_symbols must be .* from 1 on"), ("x", "a whole number")])
def test_max_symbols_is_checked(value, message):
    with pytest.raises(OptionError, match=message):
        build_options(TransducerGreedy, {"max_symbols": value}, "strategy 'transducer-greedy'")


def test_prompts_are_refused():
    net = Net(NumpyBackend(), RNNT)
    with pytest.raises(ValueError, match="takes no prompt"):
        TransducerGreedy().bind(net, net.backend)(encode(net.backend, rows_of()), [Request((1,), 9, frozenset())])


def test_nan_is_told():
    net = Net(NumpyBackend(), RNNT)
    rows = rows_of()
    rows[0][3] = math.nan
    with pytest.raises(BackendError, match="NaN or infinity on backend 'numpy'"):
        search(net, rows)


def test_options_are_attrs():
    assert attrs.fields(TransducerGreedy).max_symbols.default == 10
