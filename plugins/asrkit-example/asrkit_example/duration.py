"""``asrkit duration``: how long recordings are."""

from __future__ import annotations

import click

from asrkit.cli.options import Command
from asrkit.errors import AudioError

__all__ = ["command"]


@click.command("duration", cls=Command)
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
def command(files: tuple[str, ...]) -> None:
    """Show how many seconds recordings are long."""
    from asrkit.audio_files import seconds_of  # not before it is needed: `asrkit --help` stays quick

    for file in files:
        seconds = seconds_of(file)
        if seconds is None:
            raise AudioError(f"{file}: its length is not known without decoding it")
        click.echo(f"{seconds:8.2f} {file}")
