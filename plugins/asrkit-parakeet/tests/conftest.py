"""Fixtures over the goldens."""

from __future__ import annotations

import numpy as np
import pytest
from parakeet_goldens import BACKENDS, CASES, Golden, read_clips, read_golden


@pytest.fixture(params=CASES, ids="-".join)
def golden(request: pytest.FixtureRequest) -> Golden:
    return read_golden(*request.param)


@pytest.fixture(params=tuple(BACKENDS))
def label(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def clips() -> dict[str, np.ndarray]:
    return read_clips()
