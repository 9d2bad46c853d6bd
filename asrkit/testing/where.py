"""The backends a check runs over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from asrkit.backends.numpy import NumpyBackend
from asrkit.interfaces import Backend
from asrkit.loading import backend_problem
from asrkit.plugins import registry
from asrkit.testing.strict import StrictBackend

__all__ = ["Backends", "chosen", "installed_backends"]

Backends: TypeAlias = Mapping[str, Backend] | Backend | None
"""Where a check runs: backends by label; one, whose results NumPy's must equal; or None for all that run here."""


def installed_backends() -> dict[str, Backend]:
    """The strict backend, every registered one that can run here, and MLX once more with compilation forced."""
    found: dict[str, Backend] = {"strict": StrictBackend()}
    for entry in registry().entries("backend"):
        if backend_problem(entry) is None:
            found[entry.name] = entry.load()()
    if "mlx" in found:
        from asrkit.backends.mlx import MLXBackend

        found["mlx-compiled"] = MLXBackend(compile=True)
    return found


def chosen(backends: Backends) -> Mapping[str, Backend]:
    """The backends of a check by label, the one first that says what the others have to give."""
    if backends is None or isinstance(backends, Mapping):
        return backends or installed_backends()
    return {"numpy": NumpyBackend(), backends.name: backends}
