"""What this plugin registers. Parts are named by strings, so that listing them imports nothing."""

from __future__ import annotations

from typing import Any

import attrs

from asrkit import hookimpl
from asrkit_demo import SPEC

__all__ = ["ASRKIT_INTERFACE"]

ASRKIT_INTERFACE = 1


@hookimpl
def register_parts(register: Any) -> None:
    """A decoding strategy."""
    register.strategy("sampling", "asrkit_example.sampling:Sampling")


@hookimpl
def register_models(register: Any) -> None:
    """A model that another plugin brings, decoded in our way."""
    register(
        attrs.evolve(
            SPEC,
            name="canary-demo-sampled",
            build="asrkit_example.model:build",
            strategy="example:sampling",
            summary="canary-demo, decoded by sampling: the model of the tutorial",
        )
    )


@hookimpl
def register_formats(register: Any) -> None:
    """An output format."""
    register("lrc", "asrkit_example.lrc:write", ".lrc", single=True)


@hookimpl
def register_commands(cli: Any) -> None:
    """A command."""
    from asrkit_example.duration import command

    cli.add_command(command)
