"""``asrkit completion``: what makes a shell complete asrkit's commands, options and names."""

from __future__ import annotations

import click

from asrkit.cli import COMPLETE, cli
from asrkit.cli.options import Command
from asrkit.errors import UsageError

__all__ = ["command"]


@click.command("completion", cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish", "powershell"]))
def command(shell: str) -> None:
    """Print the completion script of a shell.

    Tab then completes commands, options, and the names of models, backends, precisions, formats, strategies and
    languages. Put the line for your shell where the comment says, and start a new shell.

    \b
    Examples:
      eval "$(asrkit completion bash)"                # in ~/.bashrc
      eval "$(asrkit completion zsh)"                 # at the end of ~/.zshrc
      asrkit completion fish | source                 # in config.fish
      asrkit completion powershell | Out-String | iex # in $PROFILE
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    if made is None:
        raise UsageError(f"this version of click does not complete in {shell}: pip install --upgrade click")
    click.echo(made(cli, {}, "asrkit", COMPLETE).source())
