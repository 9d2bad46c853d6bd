"""``asrkit convert``: a checkpoint as a folder of safetensors, configuration and tokenizer files."""

from __future__ import annotations

from pathlib import Path

import click

from asrkit.cli import on_download, say
from asrkit.cli.options import Command, complete_models, option, verbosity_options
from asrkit.errors import UsageError
from asrkit.plugins import registry

__all__ = ["command"]

QUANTIZED = ("int8", "int4")
"""As in asrkit.quantize, which would import NumPy for `asrkit --help`."""


@click.command("convert", cls=Command)
@click.argument("model", shell_complete=complete_models)
@click.argument("directory", type=click.Path(path_type=Path))
@option("--precision", type=click.Choice(QUANTIZED), show_default="as they are", help="Quantise the matrices.")
@option("--overwrite", is_flag=True, help="Replace a checkpoint folder, with everything in it.")
@verbosity_options
def command(model: str, directory: Path, precision: str | None, overwrite: bool) -> None:
    """Write a checkpoint as a folder that loads the same way.

    \b
    Examples:
      asrkit convert canary-180m-flash checkpoint/
      asrkit convert canary-180m-flash small/ --precision int8
      asrkit run --model small/ --language en talk.wav
    """
    from asrkit.checkpoints.directory import DirectoryCheckpoint, write_directory
    from asrkit.loading import open_checkpoint, quantized_checkpoint
    from asrkit.sources import find_model

    if DirectoryCheckpoint.recognises(directory) and not overwrite:
        raise UsageError(f"{directory} holds a checkpoint already; --overwrite replaces it and everything in it")
    if precision is None:
        checkpoint = open_checkpoint(registry(), find_model(registry(), model, on_download()).path)
    else:
        checkpoint = quantized_checkpoint(model, precision, on_download())
    write_directory(checkpoint, directory, overwrite=overwrite)
    say(f"wrote {directory}", 0)
