"""What this plugin registers. It imports no array library: everything heavy is named by strings."""

from __future__ import annotations

from typing import Any

from asrkit import hookimpl
from asrkit_canary.specs import SPECS

__all__ = ["ASRKIT_INTERFACE"]

ASRKIT_INTERFACE = 1


@hookimpl
def register_parts(register: Any) -> None:
    """Parts that other plugins may take from the registry."""
    register.frontend("log-mel-centred", "asrkit_canary.frontend:read_frontend")
    register.encoder("fastconformer", "asrkit_canary.fastconformer:FastConformer")
    register.decoder("transformer", "asrkit_canary.transformer:read_decoder")
    register.tokenizer("sentencepiece", "asrkit_canary.tokenizers:read_tokenizer")
    register.dialect("canary", "asrkit_canary.dialects:Canary.build")
    register.dialect("canary2", "asrkit_canary.dialects:Canary2.build")


@hookimpl
def register_models(register: Any) -> None:
    """The published models."""
    for spec in SPECS:
        register(spec)
