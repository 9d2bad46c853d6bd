"""The measure of confidence, and the greedy search that gives it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from asrkit.arrays import Encoded
from asrkit.backends.numpy import NumpyBackend
from asrkit.confidence import ALPHA, least_confidence, token_confidences
from asrkit.errors import OptionError
from asrkit.options import build_options
from asrkit.strategies.greedy import Greedy
from asrkit.values import Request


def confidences(probabilities):
    probabilities = np.asarray(probabilities, np.float32)
    return token_confidences(NumpyBackend().xp, np.log(probabilities), probabilities.shape[-1])


def test_certain_and_even_distributions():
    certain = [1 - 3e-12, 1e-12, 1e-12, 1e-12]
    assert confidences([certain, [0.25] * 4]).tolist() == pytest.approx([1, 0], abs=1e-3)


def test_the_formula():
    total = sum(p**ALPHA for p in (0.9, 0.09, 0.01))
    least = math.exp((1 - 3 ** (1 - ALPHA)) / (1 - ALPHA))
    expected = (math.exp((1 - total) / (1 - ALPHA)) - least) / (1 - least)
    assert confidences([0.9, 0.09, 0.01]) == pytest.approx(expected, rel=1e-5)


def test_confidence_rises_with_the_best_probability():
    rows = [[p, *[(1 - p) / 9] * 9] for p in (0.1, 0.2, 0.5, 0.8, 0.9, 0.99, 0.999)]
    found = confidences(rows).tolist()
    assert found == sorted(found)
    assert 0 <= found[0] < found[-1] < 1


def test_the_highest_probability():
    xp = NumpyBackend().xp
    rows = np.log(np.array([[0.25] * 4, [0.7, 0.1, 0.1, 0.1], [1 - 3e-7, 1e-7, 1e-7, 1e-7]], np.float32))
    assert token_confidences(xp, rows, 4, "max_prob").tolist() == pytest.approx([0, 0.6, 1], abs=1e-6)


def test_a_measure_of_nothing():
    message = "^confidence_measure is for confidence=yes, which was not asked for$"
    with pytest.raises(OptionError, match=message):
        build_options(Greedy, {"confidence_measure": "max_prob"}, "strategy 'greedy'")
    with pytest.raises(OptionError, match="'confidence_measure' is entropy or max_prob, not 'loudness'"):
        build_options(Greedy, {"confidence": "yes", "confidence_measure": "loudness"}, "strategy 'greedy'")


def test_a_vocabulary_of_thousands():
    assert np.isfinite(confidences(np.full((1, 16384), 1 / 16384))).all()


def test_a_stretch_is_as_sure_as_its_least_sure_token():
    assert least_confidence((0.5, 0.25, 1.0)) == 0.25
    assert least_confidence(()) is None


def test_greedy_search_tells_it_for_each_token(family):
    backend = NumpyBackend()
    values = np.array([[[3], [4], [0]], [[5], [0], [0]]], np.float32)
    encoded = Encoded(backend.asarray(values), backend.asarray(np.array([2, 1])))
    requests = [Request((5,), 9, frozenset({0}))] * 2
    asked, unasked = (
        Greedy(confidence).bind(family.Speller(backend), backend)(encoded, requests) for confidence in (True, False)
    )
    assert [[one.tokens for one in best] for best in asked] == [[(3, 4)], [(5,)]]
    assert [[one.tokens for one in best] for best in unasked] == [[(3, 4)], [(5,)]]
    assert [len(best[0].confidences) for best in asked] == [2, 1]
    assert all(0 < value < 1 for best in asked for value in best[0].confidences)
    assert not any(best[0].confidences for best in unasked)
