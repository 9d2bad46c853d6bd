"""What this plugin registers. It imports no array library: everything heavy is named by strings."""

from __future__ import annotations

from typing import Any

from asrkit import hookimpl
from asrkit_parakeet.specs import SPECS

__all__ = ["ASRKIT_INTERFACE"]

ASRKIT_INTERFACE = 1


@hookimpl
def register_parts(register: Any) -> None:
    """Parts that other plugins may take from the registry."""
    register.decoder("transducer", "asrkit_parakeet.transducer:read_transducer")
    register.checkpoint("mlx-folder", "asrkit_parakeet.mlx_folder:MLXFolder")
    register.dialect("parakeet", "asrkit_parakeet.dialect:Parakeet.build")


@hookimpl
def register_models(register: Any) -> None:
    """The published models."""
    for spec in SPECS:
        register(spec)
