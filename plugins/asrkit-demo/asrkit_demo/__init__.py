"""A model as a package: all that a third party needs to ship weights for a family that another plugin builds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asrkit import hookimpl
from asrkit.models import ModelSpec, PathSource

__all__ = ["ASRKIT_INTERFACE", "SPEC"]

ASRKIT_INTERFACE = 1

OTHERS = ("de", "es", "fr")

SPEC = ModelSpec(
    name="canary-demo",
    source=PathSource(str(Path(__file__).with_name("canary-demo.nemo"))),
    build="asrkit_canary.build:build",
    decoder="attention",
    strategy="greedy",
    languages=("en", *OTHERS),
    tasks=("transcribe", "translate"),
    licence="Apache-2.0",
    summary="3.6 M parameters, synthetic speech of a small world only: to try asrkit without a download",
    translations=tuple(pair for other in OTHERS for pair in (("en", other), (other, "en"))),
    parameters=3_573_880,
    longest=15.0,
)


@hookimpl
def register_models(register: Any) -> None:
    """The one model."""
    register(SPEC)
