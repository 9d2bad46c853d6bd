"""``asrkit pull``: a model from the hub, before it is needed."""

from __future__ import annotations

import click

from asrkit.cli import on_download
from asrkit.cli.options import Command, complete_models, verbosity_options
from asrkit.plugins import registry

__all__ = ["command"]


@click.command("pull", cls=Command)
@click.argument("model", shell_complete=complete_models)
@verbosity_options
def command(model: str) -> None:
    """Download a model, before it is needed.

    Prints its path. What is in the cache already is not downloaded again.

    MODEL is a name from `asrkit models` or OWNER/REPO of the Hugging Face hub, with @REVISION behind it if wanted.

    \b
    Examples:
      asrkit pull canary-180m-flash
      asrkit pull nvidia/canary-1b-v2@main
    """
    from asrkit.loading import open_checkpoint
    from asrkit.sources import find_model

    path = find_model(registry(), model, on_download()).path
    open_checkpoint(registry(), path)  # a damaged file is told now and not when it is needed
    click.echo(path)
