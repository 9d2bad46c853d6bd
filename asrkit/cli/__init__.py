"""The command line. Each command is a module of this package, imported when it is called."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

import click

from asrkit import __version__
from asrkit.errors import AsrkitError, UsageError
from asrkit.plugins import load_plugins

__all__ = ["BEFORE_LINES", "cli", "main", "say"]

COMMANDS = ("backends", "bench", "convert", "eval", "models", "plugins", "run")

BEFORE_LINES: list[Callable[[], None]] = []
"""What is called before a line is said, such as to take a progress line away."""


class _Commands(click.Group):
    """Our commands by module, plugins' commands as they register them."""

    _asked = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        self._ask_plugins()
        return sorted({*COMMANDS, *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in COMMANDS:
            command: click.Command = importlib.import_module(f"asrkit.cli.{name}").command
            return command
        self._ask_plugins()
        return super().get_command(ctx, name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            # It may be the command of a plugin that is broken.
            broken = "".join(f"; {problem}" for problem in load_plugins().registry.broken.values())
            raise click.UsageError(error.format_message() + broken, ctx) from None

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        if (name or cmd.name) in COMMANDS:
            raise ValueError(f"command {name or cmd.name!r} is one of asrkit's own")
        super().add_command(cmd, name)

    def _ask_plugins(self) -> None:
        if not self._asked:
            self._asked = True
            load_plugins().register_commands(self)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="asrkit")
def cli() -> None:
    """Speech recognition: recordings to text.

    \b
    asrkit run --model checkpoint.nemo talk.wav
    asrkit run --model checkpoint.nemo --language de --target-language en --format json rede.flac
    asrkit models
    """


def say(message: str) -> None:
    """A line for the user, on stderr: stdout is for results."""
    for prepare in tuple(BEFORE_LINES):
        prepare()
    click.echo(f"asrkit: {message}", err=True)


class _Said(logging.Handler):
    """Shows the library's own warnings like all others."""

    def emit(self, record: logging.LogRecord) -> None:
        say(f"{record.levelname.lower()}: {record.getMessage()}")


SAID = _Said(logging.WARNING)


def main(args: list[str] | None = None) -> Any:
    """Entry point: errors become one line and an exit code: 1 for something that failed, 2 for wrong usage."""
    logging.getLogger("asrkit").addHandler(SAID)  # adding it again changes nothing
    try:
        return cli.main(args, prog_name="asrkit", standalone_mode=False)
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except click.UsageError as error:
        # What click knows about the command line is worth more than one line: its hint at --help stays.
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        say(f"error: {error.format_message()}")
        sys.exit(1)
    except click.Abort:
        say("interrupted")
        sys.exit(130)
    except AsrkitError as error:
        say(f"error: {error}")
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except BrokenPipeError:
        # Whoever read our output has gone; Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        say(f"error: {error.filename or 'output'}: {error.strerror or error}")
        sys.exit(1)
