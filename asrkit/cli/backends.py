"""``asrkit backends``: where models can run here, and why not elsewhere."""

from __future__ import annotations

import click

from asrkit.plugins import registry

__all__ = ["command"]


@click.command("backends")
def command() -> None:
    """List backends, what each can do here, or why it cannot run."""
    from asrkit.loading import backend_problem, create_backend

    automatic = create_backend(registry(), "auto").name
    for entry in registry().entries("backend"):
        problem = backend_problem(entry)
        if problem is not None:
            click.echo(f"{entry.name:<12} cannot run: {problem}")
            continue
        capabilities = entry.load()().capabilities
        versions = ", ".join(" ".join(pair) for pair in capabilities.versions)
        chosen = "  (auto)" if entry.name == automatic else ""
        click.echo(f"{entry.name:<12} {capabilities.device}, {', '.join(capabilities.precisions)}, {versions}{chosen}")
        for note in capabilities.notes:
            click.echo(f"{'':<12} {note}")
    for error in registry().broken.values():
        click.echo(str(error))
