"""``asrkit backends``: where models can run here, and why not elsewhere."""

from __future__ import annotations

import click

from asrkit.errors import AsrkitError
from asrkit.plugins import registry

__all__ = ["command"]


@click.command("backends")
def command() -> None:
    """List backends, what each can do here, or why it cannot run."""
    from asrkit.loading import backend_problem, create_backend

    automatic = create_backend(registry(), "auto").name
    for entry in registry().entries("backend"):
        try:
            capabilities = create_backend(registry(), f"{entry.plugin}:{entry.name}").capabilities
        except AsrkitError as error:
            click.echo(f"{entry.name:<12} cannot run: {backend_problem(entry) or error}")
            continue
        versions = ", ".join(" ".join(pair) for pair in capabilities.versions)
        chosen = "  (auto)" if entry.name == automatic else ""
        click.echo(f"{entry.name:<12} {capabilities.device}, {', '.join(capabilities.precisions)}, {versions}{chosen}")
        for note in capabilities.notes:
            click.echo(f"{'':<12} {note}")
    for broken in registry().broken.values():
        click.echo(str(broken))
