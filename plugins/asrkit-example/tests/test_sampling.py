from __future__ import annotations

import numpy as np
import pytest

from asrkit import load_model
from asrkit.arrays import Encoded
from asrkit.backends.numpy import NumpyBackend
from asrkit.errors import OptionError
from asrkit.options import build_options
from asrkit.strategies.greedy import Greedy
from asrkit.testing import SmallDecoder, check_strategy
from asrkit.values import Request
from asrkit_example.sampling import Sampling


def test_keeps_to_the_interface(backend):
    check_strategy(Sampling(), backends=backend)


def decode(strategy, prompt=(1, 2), limit=30):
    backend = NumpyBackend()
    states = np.random.default_rng(0).standard_normal((1, 9, SmallDecoder.width)).astype(np.float32)
    search = strategy.bind(SmallDecoder(backend), backend)
    return search(Encoded(states, np.array([9])), [Request(prompt, limit, frozenset())])[0][0].tokens


def test_a_seed_gives_the_same_again():
    assert decode(Sampling(seed=1)) == decode(Sampling(seed=1))
    assert decode(Sampling(seed=1)) != decode(Sampling(seed=2))


def test_cold_it_is_greedy():
    assert decode(Sampling(temperature=1e-4)) == decode(Greedy())


def test_odds_are_those_of_the_model():
    first = [decode(Sampling(seed=seed), limit=1)[0] for seed in range(300)]
    assert first.count(decode(Greedy(), limit=1)[0]) == max(first.count(token) for token in range(SmallDecoder.size))
    assert len(set(first)) > 3


def test_options_are_checked():
    with pytest.raises(OptionError, match="temperature"):
        build_options(Sampling, {"temperature": "0"}, "strategy 'sampling'")
    with pytest.raises(ValueError, match=r"the prompt \(99,\) has tokens beyond the decoder's 11"):
        decode(Sampling(), prompt=(99,))


def test_model_is_decoded_by_it():
    assert load_model("canary-demo-sampled", "numpy").parts.strategy == "example:sampling"
