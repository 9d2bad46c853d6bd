"""Registers the backend."""

from __future__ import annotations

import importlib.util
from typing import Any

from asrkit import hookimpl

ASRKIT_INTERFACE = 1


def probe() -> str | None:
    """Why the backend cannot run here, or None."""
    if importlib.util.find_spec("array_api_strict") is None:
        return "the package array-api-strict is not installed; pip install array-api-strict"
    return None


@hookimpl
def register_backends(register: Any) -> None:
    """One backend."""
    register("array-api", "asrkit_array_api.backend:ArrayAPIBackend", probe)
