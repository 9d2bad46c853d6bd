"""Greedy CTC search with a classifier that plays scripts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from asrkit.arrays import Encoded
from asrkit.backends.numpy import NumpyBackend
from asrkit.errors import BackendError
from asrkit.interfaces import CTCDecoder
from asrkit.strategies.ctc_greedy import CTCGreedy
from asrkit.testing import installed_backends
from asrkit.values import Request

BACKENDS = installed_backends()
every = pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS)
BLANK = 5


class Script:
    """Classifier (V = 6) to which a state is the class it says."""

    size, blank = 6, BLANK

    def __init__(self, backend):
        self.ops = backend.ops

    def __call__(self, encoded):
        xp = self.ops.xp
        slots = xp.astype(xp.arange(6, dtype=xp.int32), xp.float32)
        return self.ops.log_softmax(0.0 - xp.abs(slots[None, None, :] - encoded.values))


def encode(backend, scripts, spare=1):
    """States of the scripts; behind each row's end stands what must not be heard."""
    values = np.full((len(scripts) + spare, max(map(len, scripts)) + 2, 1), 3, np.float32)
    for row, script in enumerate(scripts):
        values[row, : len(script), 0] = script
    lengths = np.array([len(script) for script in scripts] + [0] * spare)
    return Encoded(backend.asarray(values), backend.asarray(lengths))


def search(backend, scripts, limit=99):
    decoder = Script(backend)
    assert isinstance(decoder, CTCDecoder)
    found = CTCGreedy().bind(decoder, backend)(
        encode(backend, scripts), [Request((), limit, frozenset())] * len(scripts)
    )
    return [best for (best,) in found]


SCRIPTS = {
    "repeats are one token": ([1, 1, 1, 2, 2], (1, 2), (0, 3), (3, 5)),
    "a letter repeats across a blank": ([1, 1, BLANK, 1], (1, 1), (0, 3), (2, 4)),
    "blanks around": ([BLANK, BLANK, 4, BLANK], (4,), (2,), (3,)),
    "only blanks": ([BLANK, BLANK], (), (), ()),
    "nothing": ([], (), (), ()),
    "one frame": ([0], (0,), (0,), (1,)),
}


@every
def test_collapsing(backend):
    found = search(backend, [script for script, *_ in SCRIPTS.values()])
    for hypothesis, (name, (_, tokens, frames, ends)) in zip(found, SCRIPTS.items(), strict=True):
        assert (hypothesis.tokens, hypothesis.frames, hypothesis.ends) == (tokens, frames, ends), name
        assert hypothesis.finished


@every
def test_score_is_that_of_all_frames_but_blanks(backend):
    (found,) = search(backend, [[2, 2, BLANK, 2]])
    one = -math.log(sum(math.exp(-abs(slot - 2)) for slot in range(6)))
    assert found.scores == pytest.approx([2 * one, one], abs=1e-5)


def test_limit():
    found = search(NumpyBackend(), [[1, 2, 3], [1, 2]], limit=2)
    assert [h.tokens for h in found] == [(1, 2), (1, 2)]
    assert [h.finished for h in found] == [False, True]
    assert [len(h.frames) for h in found] == [2, 2]


@pytest.mark.parametrize(
    "request_",
    [
        Request((1,), 9, frozenset()),
        Request((), 9, frozenset({1})),
        Request((), 9, frozenset(), suppress_first=frozenset({1})),
    ],
)
def test_what_frames_cannot_do_is_refused(request_):
    backend = NumpyBackend()
    with pytest.raises(ValueError, match="takes no prompt, no stop tokens and no suppressed tokens"):
        CTCGreedy().bind(Script(backend), backend)(encode(backend, [[1]]), [request_])


def test_nan_is_told_and_only_where_it_counts():
    backend = NumpyBackend()
    encoded = encode(backend, [[1, 2]])
    encoded.values[0, 2:] = math.nan  # behind the end
    decode = CTCGreedy().bind(Script(backend), backend)
    requests = [Request((), 9, frozenset())]
    assert decode(encoded, requests)[0][0].tokens == (1, 2)
    encoded.values[0, 1] = math.nan
    with pytest.raises(BackendError, match="NaN or infinity on backend 'numpy'"):
        decode(encoded, requests)
