"""``asrkit plugins``: what is installed, what each registers, what is broken."""

from __future__ import annotations

import click

from asrkit.cli.new_plugin import command as new
from asrkit.cli.tables import table
from asrkit.plugins import load_plugins
from asrkit.registry import KINDS

__all__ = ["command"]


@click.group("plugins", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List plugins: what each registers, what is broken, and why.

    \b
    Examples:
      asrkit plugins
      ASRKIT_PLUGINS=canary asrkit plugins
      ASRKIT_TRACE_PLUGINS=1 asrkit plugins
    """
    if ctx.invoked_subcommand is not None:
        return
    plugins = load_plugins()
    root = ctx.find_root()
    assert isinstance(root.command, click.Group)
    root.command.list_commands(root)  # asks the plugins for theirs
    rows: list[tuple[str, str]] = []
    for plugin in plugins.found:
        rows.append((plugin.name, f"{plugin.distribution} {plugin.version}".rstrip()))
        if plugin.error is not None:
            rows.append(("", str(plugin.error)))
        for kind in KINDS:
            names = [e.name for e in plugins.registry.entries(kind) if e.plugin == plugin.name]
            if names:
                rows.append(("", f"{kind}: {', '.join(names)}"))
        if plugins.commands.get(plugin.name):
            rows.append(("", f"command: {', '.join(plugins.commands[plugin.name])}"))
    table(rows)
    for clash in plugins.clashes():
        click.echo(clash)


command.add_command(new)
