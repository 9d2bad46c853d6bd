"""``asrkit plugins``: what is installed, what each registers, what is broken."""

from __future__ import annotations

import click

from asrkit.plugins import load_plugins
from asrkit.registry import KINDS

__all__ = ["command"]


@click.command("plugins")
@click.pass_context
def command(ctx: click.Context) -> None:
    """List plugins, their distributions, and what each registers."""
    plugins = load_plugins()
    root = ctx.find_root()
    assert isinstance(root.command, click.Group)
    root.command.list_commands(root)  # asks the plugins for theirs
    for plugin in plugins.found:
        click.echo(f"{plugin.name:<12} {plugin.distribution} {plugin.version}".rstrip())
        if plugin.error is not None:
            click.echo(f"{'':<12} {plugin.error}")
        for kind in KINDS:
            names = [e.name for e in plugins.registry.entries(kind) if e.plugin == plugin.name]
            if names:
                click.echo(f"{'':<12} {kind}: {', '.join(names)}")
        if plugins.commands.get(plugin.name):
            click.echo(f"{'':<12} command: {', '.join(plugins.commands[plugin.name])}")
