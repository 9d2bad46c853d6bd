"""For everybody who writes a part, a strategy or a backend: checks that hold it to its interface on every backend.

Needs the extra ``asrkit-core[testing]``. Each ``check_`` function raises AssertionError or SeamError, or returns None.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asrkit.testing.conformance_backend import check_backend
    from asrkit.testing.conformance_host import (
        check_aligner,
        check_checkpoint,
        check_dialect,
        check_frontend,
        check_segmenter,
        check_tokenizer,
    )
    from asrkit.testing.conformance_parts import check_decoder, check_encoder, check_model, check_strategy
    from asrkit.testing.small import SmallDecoder
    from asrkit.testing.strict import StrictBackend
    from asrkit.testing.where import installed_backends

# Resolved on first use: writing archives needs no array-api-strict.
_HOMES = {
    "SmallDecoder": "small",
    "StrictBackend": "strict",
    "check_aligner": "conformance_host",
    "check_backend": "conformance_backend",
    "check_checkpoint": "conformance_host",
    "check_decoder": "conformance_parts",
    "check_dialect": "conformance_host",
    "check_encoder": "conformance_parts",
    "check_frontend": "conformance_host",
    "check_model": "conformance_parts",
    "check_segmenter": "conformance_host",
    "check_strategy": "conformance_parts",
    "check_tokenizer": "conformance_host",
    "installed_backends": "where",
}

__all__ = [
    "SmallDecoder",
    "StrictBackend",
    "check_aligner",
    "check_backend",
    "check_checkpoint",
    "check_decoder",
    "check_dialect",
    "check_encoder",
    "check_frontend",
    "check_model",
    "check_segmenter",
    "check_strategy",
    "check_tokenizer",
    "installed_backends",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"asrkit.testing.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'asrkit.testing' has no attribute {name!r}")
