"""Beam search over a classifier, against all paths there are."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from asrkit.arrays import Encoded
from asrkit.backends.numpy import NumpyBackend
from asrkit.errors import BackendError, OptionError
from asrkit.interfaces import CTCDecoder
from asrkit.options import build_options
from asrkit.strategies.ctc_beam import CTCBeam
from asrkit.strategies.ctc_greedy import CTCGreedy
from asrkit.testing import installed_backends
from asrkit.values import Request

BACKENDS = installed_backends()
every = pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS)
SIZE, BLANK = 4, 3


class Said:
    """Classifier to which the states are its logits."""

    size, blank = SIZE, BLANK

    def __init__(self, backend):
        self.ops = backend.ops

    def __call__(self, encoded):
        return self.ops.log_softmax(encoded.values)


def rows_of(*lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((length, SIZE)).astype(np.float32) * 2 for length in lengths]


def search(backend, rows, strategy, limit=99):
    values = np.full((len(rows) + 1, max(map(len, rows)) + 2, SIZE), math.nan, np.float32)
    for n, row in enumerate(rows):
        values[n, : len(row)] = row
    lengths = backend.asarray(np.array([*map(len, rows), 0]))
    decoder = Said(backend)
    assert isinstance(decoder, CTCDecoder)
    decode = strategy.bind(decoder, backend)
    return decode(Encoded(backend.asarray(values), lengths), [Request((), limit, frozenset())] * len(rows))


def all_paths(row):
    """Each text with the last class of its path, and the best score of a path that says it."""
    logs = row - np.log(np.exp(row).sum(axis=-1, keepdims=True))
    best = {}
    for path in itertools.product(range(SIZE), repeat=len(row)):
        text = tuple(token for token, _ in itertools.groupby(path) if token != BLANK)
        score = float(sum(logs[frame, token] for frame, token in enumerate(path)))
        key = text, path[-1] if path else None
        best[key] = max(score, best.get(key, -math.inf))
    return sorted(((score, *key) for key, score in best.items()), key=lambda one: -one[0])


@every
def test_a_wide_beam_misses_no_path(backend):
    for row, found in zip(rows_of(5, 1, 4), search(backend, rows_of(5, 1, 4), CTCBeam(900, 1e9, 900)), strict=True):
        expected = all_paths(row)
        assert [one.tokens for one in found] == [text for _, text, _ in expected]
        assert [one.rank for one in found] == pytest.approx([score for score, *_ in expected], abs=1e-4)
        assert all(one.finished for one in found)


@every
def test_the_best_path_is_that_of_greedy_search(backend):
    # Paths compete one by one here, so the most probable class of every frame makes the best one.
    rows = rows_of(30, 0, 9)
    for (beam,), (greedy,) in zip(search(backend, rows, CTCBeam(3)), search(backend, rows, CTCGreedy()), strict=True):
        assert (beam.tokens, beam.frames, beam.ends) == (greedy.tokens, greedy.frames, greedy.ends)
        assert beam.scores == pytest.approx(greedy.scores, abs=1e-5)


@every
def test_a_row_in_a_batch_is_what_it_is_alone(backend):
    rows, strategy = rows_of(20, 3, 0, 11), CTCBeam(5, n_best=5)
    for row, together in zip(rows, search(backend, rows, strategy), strict=True):
        (alone,) = search(backend, [row], strategy)
        assert [one.tokens for one in alone] == [one.tokens for one in together]
        assert [one.rank for one in alone] == pytest.approx([one.rank for one in together], abs=1e-5)


def test_runs_of_tokens():
    row = np.full((4, SIZE), -9, np.float32)
    for frame, token in enumerate((1, 1, BLANK, 1)):
        row[frame, token] = 0
    row[3, 2] = -1
    (found,) = search(NumpyBackend(), [row], CTCBeam(2, n_best=2))
    assert [(one.tokens, one.frames, one.ends) for one in found] == [
        ((1, 1), (0, 3), (2, 4)),
        ((1, 2), (0, 3), (2, 4)),
    ]


def test_the_threshold_drops_what_is_far_behind():
    row = np.log(np.array([[0.6, 0.3, 0.09, 0.01]], np.float32))
    counts = [
        len(search(NumpyBackend(), [row], CTCBeam(4, threshold, 4))[0])
        for threshold in (20.0, math.log(0.6 / 0.05), math.log(2.1), 1e-6)
    ]
    assert counts == [4, 3, 2, 1]


def test_limit():
    (short, *_), (whole, *_) = (search(NumpyBackend(), rows_of(12, seed=3), CTCBeam(2), limit)[0] for limit in (2, 99))
    assert len(whole.tokens) > 2
    assert whole.finished
    assert (short.tokens, short.frames, short.finished) == (whole.tokens[:2], whole.frames[:2], False)


def test_nan_is_told():
    rows = rows_of(3)
    rows[0][1] = math.nan
    with pytest.raises(BackendError, match="NaN or infinity on backend 'numpy'"):
        search(NumpyBackend(), rows, CTCBeam())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"beam_size": "0"}, "beam_size is a whole number from 1 on, found 0"),
        ({"beam_threshold": "0"}, "beam_threshold is a number above 0, found 0"),
        ({"n_best": "5"}, "n_best is a whole number from 1 to the beam_size of 4, found 5"),
    ],
)
def test_options_are_checked(given, message):
    with pytest.raises(OptionError, match=message):
        build_options(CTCBeam, given, "strategy 'ctc-beam'")
