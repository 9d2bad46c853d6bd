"""The backends a check runs over."""

from __future__ import annotations

from asrkit.interfaces import Backend
from asrkit.loading import backend_problem
from asrkit.plugins import registry
from asrkit.testing.strict import StrictBackend

__all__ = ["installed_backends"]


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
