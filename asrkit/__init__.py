"""asrkit: speech recognition from parts that are written once and run on every backend."""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asrkit.errors import AsrkitError
    from asrkit.hookspecs import hookimpl
    from asrkit.loading import load_model
    from asrkit.models import HubSource, ModelSpec, Parts, PathSource
    from asrkit.transcriber import Model
    from asrkit.values import Failure, Notice, Recording, Segment, Transcript, Word

__version__ = "0.1.0"

logging.getLogger("asrkit").addHandler(logging.NullHandler())

# Resolved on first use: ``import asrkit`` loads no array library.
_HOMES = {
    "AsrkitError": "errors",
    "Failure": "values",
    "HubSource": "models",
    "Model": "transcriber",
    "ModelSpec": "models",
    "Notice": "values",
    "Parts": "models",
    "PathSource": "models",
    "Recording": "values",
    "Segment": "values",
    "Transcript": "values",
    "Word": "values",
    "hookimpl": "hookspecs",
    "load_model": "loading",
}

__all__ = [
    "AsrkitError",
    "Failure",
    "HubSource",
    "Model",
    "ModelSpec",
    "Notice",
    "Parts",
    "PathSource",
    "Recording",
    "Segment",
    "Transcript",
    "Word",
    "__version__",
    "hookimpl",
    "load_model",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"asrkit.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'asrkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
