"""What this plugin registers."""

from __future__ import annotations

import importlib
from typing import Any

from asrkit import hookimpl

__all__ = ["ASRKIT_INTERFACE"]

ASRKIT_INTERFACE = 1


def probe() -> str | None:
    """Why ONNX Runtime cannot run here, or None."""
    for name in ("onnx", "onnxruntime"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            return f"{name} does not import ({' '.join(str(error).split())}); pip install {name}"
    return None


@hookimpl
def register_backends(register: Any) -> None:
    """The backend."""
    register("onnxruntime", "asrkit_onnxruntime.backend:OrtBackend", probe)
