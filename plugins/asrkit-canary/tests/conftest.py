"""Goldens made by NeMo (tools/goldens), and models built from them once per backend."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from asrkit.interfaces import Backend
from asrkit.loading import open_checkpoint
from asrkit.models import Parts
from asrkit.plugins import registry
from asrkit.testing import installed_backends
from asrkit.transcriber import Model
from asrkit_canary.build import Settings, build

GOLDENS = Path(__file__).parent / "goldens"
VARIANTS = tuple(sorted(path.parent.name for path in GOLDENS.glob("*/golden.json")))
BACKENDS = installed_backends()


@attrs.frozen
class Golden:
    """What NeMo computed for one model."""

    name: str
    facts: dict[str, Any]
    arrays: Any

    @property
    def path(self) -> Path:
        return GOLDENS / self.name / "model.nemo"


@functools.cache
def read_golden(name: str, suffix: str = "") -> Golden:
    folder = GOLDENS / name
    facts = json.loads((folder / f"golden{suffix}.json").read_text(encoding="utf-8"))
    with np.load(folder / f"arrays{suffix}.npz") as arrays:
        return Golden(name, facts, dict(arrays))


@functools.cache
def read_clips() -> dict[str, np.ndarray]:
    with np.load(GOLDENS / "clips.npz") as clips:
        return dict(clips)


@functools.cache
def built(name: str, backend: str, frontend: str = "nemo-2.5", precision: str = "fp32") -> Parts:
    checkpoint = open_checkpoint(registry(), GOLDENS / name / "model.nemo")
    return build(checkpoint, BACKENDS[backend], precision, None, Settings(frontend))


def model_of(name: str, backend: str, precision: str = "fp32") -> Model:
    return Model(name, built(name, backend, precision=precision), BACKENDS[backend], precision, registry())


@pytest.fixture(params=VARIANTS)
def golden(request: pytest.FixtureRequest) -> Golden:
    return read_golden(request.param)


@pytest.fixture(params=tuple(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Backend:
    return BACKENDS[request.param]


@pytest.fixture(params=tuple(BACKENDS))
def label(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def clips() -> dict[str, np.ndarray]:
    return read_clips()


def samples(clip: np.ndarray) -> np.ndarray:
    """Stored as integers so that they are exact."""
    return clip.astype(np.float32) / 32768
