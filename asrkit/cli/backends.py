"""``asrkit backends``: where models can run here, and why not elsewhere."""

from __future__ import annotations

import click

from asrkit.errors import AsrkitError
from asrkit.plugins import registry

__all__ = ["command"]


@click.command("backends")
def command() -> None:
    """List backends in the order in which `--backend auto` prefers them, or why they cannot run.

    For each: device, precisions, versions, and the reason for its place.
    """
    from asrkit.loading import backend_problem, create_backend

    runs, cannot = [], []
    for entry in registry().entries("backend"):
        try:
            runs.append((create_backend(registry(), f"{entry.plugin}:{entry.name}").capabilities, entry.name))
        except AsrkitError as error:
            cannot.append((entry.name, backend_problem(entry) or error))
    runs.sort(key=lambda run: (run[0].rank, run[1]), reverse=True)
    for place, (capabilities, name) in enumerate(runs, start=1):
        versions = ", ".join(" ".join(pair) for pair in capabilities.versions)
        chosen = " (auto)" if place == 1 else ""
        click.echo(f"{name:<12} {capabilities.device}; {', '.join(capabilities.precisions)}; {versions}")
        click.echo(f"{'':<12} {place}. {capabilities.reason or f'rank {capabilities.rank}'}{chosen}")
        for note in capabilities.notes:
            click.echo(f"{'':<12} {note}")
    for name, problem in cannot:
        click.echo(f"{name:<12} cannot run: {problem}")
    for broken in registry().broken.values():
        click.echo(str(broken))
