"""``asrkit backends``: where models can run here, and why not elsewhere."""

from __future__ import annotations

import click

from asrkit.cli.options import Command
from asrkit.cli.tables import table
from asrkit.errors import AsrkitError
from asrkit.plugins import registry

__all__ = ["command"]


@click.command("backends", cls=Command)
def command() -> None:
    """List backends, best first, or why they cannot run.

    The order is that in which `--backend auto` prefers them. For each: device, precisions, versions, and the reason for
    its place.

    \b
    Examples:
      asrkit backends
      asrkit run --model canary-180m-flash --backend numpy talk.wav
    """
    from asrkit.loading import backend_problem, create_backend

    runs, cannot = [], []
    for entry in registry().entries("backend"):
        try:
            runs.append((create_backend(registry(), f"{entry.plugin}:{entry.name}").capabilities, entry.name))
        except AsrkitError as error:
            cannot.append((entry.name, f"cannot run: {backend_problem(entry) or error}"))
    runs.sort(key=lambda run: (run[0].rank, run[1]), reverse=True)
    rows = []
    for place, (capabilities, name) in enumerate(runs, start=1):
        versions = ", ".join(" ".join(pair) for pair in capabilities.versions)
        chosen = " (auto)" if place == 1 else ""
        rows.append((name, f"{capabilities.device}; {', '.join(capabilities.precisions)}; {versions}"))
        rows.append(("", f"{place}. {capabilities.reason or f'rank {capabilities.rank}'}{chosen}"))
        rows += [("", note) for note in capabilities.notes]
    table([*rows, *cannot])
    for broken in registry().broken.values():
        click.echo(str(broken))
