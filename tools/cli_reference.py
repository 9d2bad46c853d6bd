"""Writes docs/reference/cli.md from the commands' own help: ``python tools/cli_reference.py [FILE]``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "cli.md"

HEAD = """\
# Command line

This page is what `--help` prints, written by `python tools/cli_reference.py`; a test compares the two. What the exit
codes mean is told in [errors.md](errors.md), the keys of `--format json` in [json.md](json.md), and options for `-o` in
[Canary models](../models/canary.md#options). Plugins may add commands, which are not shown here.

Results go to stdout, everything else (warnings, errors, `-v`) to stderr.
"""


def commands(group: click.Group, context: click.Context) -> Iterator[tuple[click.Context, click.Command]]:
    """Every command below a group, in order, each with its context."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, parent=context, info_name=name)
        yield inner, command
        if isinstance(command, click.Group):
            yield from commands(command, inner)


def render() -> str:
    """The page."""
    # Only the core and its Canary plugin: other people's commands are not ours to document.
    os.environ["ASRKIT_PLUGINS"] = "canary"
    from asrkit.cli import cli

    # As wide as in a terminal of 80 columns, whatever runs this.
    top = click.Context(cli, info_name="asrkit", terminal_width=80, **cli.context_settings)
    parts = [HEAD]
    for context, command in [(top, cli), *commands(cli, top)]:
        help_text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
        parts.append(f"## {context.command_path}\n\n```text\n{help_text}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    page = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    page.write_text(render(), encoding="utf-8")
