"""Goldens made by NeMo (tools/goldens), and models built from them once per backend."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from asrkit.loading import open_checkpoint
from asrkit.models import Parts
from asrkit.plugins import registry
from asrkit.testing import installed_backends
from asrkit.transcriber import Model
from asrkit_parakeet.build import Settings, build

GOLDENS = Path(__file__).parent / "goldens"
BACKENDS = installed_backends()
CASES = (("ctc", "ctc"), ("rnnt", "rnnt"), ("tdt", "tdt"), ("tdt_ctc", "tdt"), ("tdt_ctc", "ctc"))
"""Models, and the decoder that is asked."""


@attrs.frozen
class Golden:
    """What NeMo computed for one model with one of its decoders."""

    name: str
    decoder: str
    facts: dict[str, Any]
    """By clip."""
    arrays: dict[str, np.ndarray]
    pieces: tuple[str, ...]

    @property
    def path(self) -> Path:
        return GOLDENS / self.name / "model.nemo"

    def __str__(self) -> str:
        return f"{self.name}-{self.decoder}"


@functools.cache
def read_golden(name: str, decoder: str) -> Golden:
    found = json.loads((GOLDENS / name / "golden.json").read_text(encoding="utf-8"))
    head = "ctc" if decoder == "ctc" else "transducer"
    with np.load(GOLDENS / name / "arrays.npz") as arrays:
        kept = {"scores": f".{head}", "encoder": ".encoder"}
        chosen = {
            f"{clip}.{what}": arrays[clip + end]
            for clip in found[head]
            for what, end in kept.items()
            if clip + end in arrays
        }
    return Golden(name, decoder, found[head], chosen, tuple(found["pieces"]))


@functools.cache
def read_clips() -> dict[str, np.ndarray]:
    with np.load(GOLDENS / "clips.npz") as clips:
        return {name: clip.astype(np.float32) / 32768 for name, clip in clips.items()}


@functools.cache
def built(name: str, decoder: str, backend: str, precision: str = "fp32") -> Parts:
    checkpoint = open_checkpoint(registry(), GOLDENS / name / "model.nemo")
    return build(checkpoint, BACKENDS[backend], precision, None, Settings(decoder))  # type: ignore[arg-type]


@functools.cache
def model_of(name: str, decoder: str, backend: str, precision: str = "fp32") -> Model:
    return Model(name, built(name, decoder, backend, precision), BACKENDS[backend], precision, registry())
