"""What our distributions register is held to its interface by the checks that outsiders use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asrkit import audio
from asrkit.backends.numpy import NumpyBackend
from asrkit.plugins import registry
from asrkit.testing import SmallDecoder, check_backend, check_segmenter, check_strategy


def every(kind):
    return pytest.mark.parametrize("entry", registry().entries(kind), ids=lambda entry: entry.name)


def test_backend(backend):
    check_backend(backend)


@every("strategy")
def test_strategy(entry, backend):
    strategy = entry.load()()
    if isinstance(SmallDecoder(NumpyBackend()), strategy.decodes):
        check_strategy(strategy, backends=backend)
    else:
        assert strategy.decodes.__module__.startswith("asrkit.")  # checked where there is a decoder of its family


@every("segmenter")
def test_segmenter(entry):
    speech = audio.load(Path(__file__).parent / "data/synthetic-speech.wav", 16000).samples
    check_segmenter(entry.load()(), samples=np.tile(speech, -(-25 * 16000 // len(speech))))
