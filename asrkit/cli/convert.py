"""``asrkit convert``: a checkpoint as a folder of safetensors, configuration and tokenizer files."""

from __future__ import annotations

from pathlib import Path

import click

from asrkit.cli import say
from asrkit.errors import UsageError
from asrkit.plugins import registry

__all__ = ["command"]


@click.command("convert")
@click.argument("model")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace a checkpoint folder, with everything in it.")
def command(model: str, directory: Path, overwrite: bool) -> None:
    """Write the checkpoint MODEL as a folder that loads the same way.

    \b
    asrkit convert checkpoint.nemo checkpoint/
    asrkit run --model checkpoint/ talk.wav
    """
    from asrkit.checkpoints.directory import DirectoryCheckpoint, write_directory
    from asrkit.loading import find_model, open_checkpoint

    if DirectoryCheckpoint.recognises(directory) and not overwrite:
        raise UsageError(f"{directory} holds a checkpoint already; --overwrite replaces it and everything in it")
    _, path = find_model(registry(), model)
    write_directory(open_checkpoint(registry(), path), directory, overwrite=overwrite)
    say(f"wrote {directory}")
