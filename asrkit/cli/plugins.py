"""``asrkit plugins``: what is installed, what each registers, what is broken."""

from __future__ import annotations

import click

from asrkit.plugins import load_plugins
from asrkit.registry import KINDS

__all__ = ["command"]


@click.command("plugins")
def command() -> None:
    """List plugins, their distributions, and what each registers."""
    plugins = load_plugins()
    for plugin in plugins.found:
        click.echo(f"{plugin.name:<12} {plugin.distribution} {plugin.version}".rstrip())
        if plugin.error is not None:
            click.echo(f"{'':<12} {plugin.error}")
        for kind in KINDS:
            names = [e.name for e in plugins.registry.entries(kind) if e.plugin == plugin.name]
            if names:
                click.echo(f"{'':<12} {kind}: {', '.join(names)}")
