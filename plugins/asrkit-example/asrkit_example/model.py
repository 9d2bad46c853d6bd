"""Builds a Canary model that is decoded by sampling."""

from __future__ import annotations

from typing import Any

import attrs

from asrkit import Parts
from asrkit_canary.build import build as build_canary

__all__ = ["build"]


def build(checkpoint: Any, backend: Any, precision: str, spec: Any = None, settings: Any = None) -> Parts:
    """The parts of a Canary model, with another strategy."""
    return attrs.evolve(build_canary(checkpoint, backend, precision, spec, settings), strategy="example:sampling")
