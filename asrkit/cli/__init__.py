"""The command line. Each command is a module of this package, imported when it is called."""

from __future__ import annotations

import importlib
import io
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any

import click

from asrkit import __version__
from asrkit.blame import blaming
from asrkit.errors import AsrkitError, UsageError, suggestion
from asrkit.plugins import load_plugins

__all__ = ["BEFORE_LINES", "COMMANDS", "COMPLETE", "cli", "main", "on_download", "say", "set_verbosity", "verbosity"]

COMMANDS = ("run", "models", "pull", "cache", "convert", "eval", "bench", "backends", "plugins", "doctor", "completion")
"""In the order of the help: what is needed first and most often comes first."""

COMPLETE = "_ASRKIT_COMPLETE"
"""The variable with which a shell asks for completions."""

BEFORE_LINES: list[Callable[[], None]] = []
"""What is called before a line is said, such as to take a progress line away."""


OWNER = "asrkit.cli.owner"
"""Under this name a click context remembers whose command is run."""


class _Added(click.Group):
    """Takes a plugin's commands."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        if (name or cmd.name) in COMMANDS:
            raise ValueError(f"command {name or cmd.name!r} is one of asrkit's own")
        super().add_command(cmd, name)


class _Commands(click.Group):
    """Our commands by module, plugins' commands as they register them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *sorted({name for commands in self._added().values() for name in commands})]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in COMMANDS:
            command: click.Command = importlib.import_module(f"asrkit.cli.{name}").command
            return command
        plugin, _, short = name.rpartition(":")
        found = self._owned(plugin, short)
        return _clash(short) if len(found) > 1 else next(iter(found.values()), None)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        plugin, _, name = args[0].rpartition(":")
        if args[0] not in COMMANDS and (owners := [*self._owned(plugin, name)]):
            ctx.meta[OWNER] = f"command {name!r} of plugin {owners[0]!r}"
        elif not ctx.resilient_parsing and self.get_command(ctx, args[0]) is None:
            near = suggestion(args[0], self.list_commands(ctx))
            # It may be the command of a plugin that is broken.
            broken = "".join(f"; {problem}" for problem in load_plugins().registry.broken.values())
            raise click.UsageError(f"No such command {args[0]!r}{near}{broken}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error in one that a plugin added names the plugin."""
        try:
            return super().invoke(ctx)
        except (AsrkitError, click.ClickException, click.exceptions.Exit, click.Abort, OSError):
            raise
        except Exception:
            if OWNER not in ctx.meta:
                raise
            with blaming(ctx.meta[OWNER]):
                raise

    def _owned(self, plugin: str, name: str) -> dict[str, click.Command]:
        """The commands of a name by plugin, of one plugin if it is not empty."""
        return {
            owner: commands[name]
            for owner, commands in self._added().items()
            if name in commands and plugin in ("", owner)
        }

    def _added(self) -> dict[str, dict[str, Any]]:
        """The commands of each plugin, by name."""
        plugins = load_plugins()
        plugins.register_commands(_Added)
        return plugins.commands


def _clash(name: str) -> click.Command:
    """In place of a command that several plugins added: says so when it is called."""

    def fail() -> None:
        problem = load_plugins().command_clash(name)
        assert problem is not None
        raise problem

    return click.Command(name, callback=fail, short_help=str(load_plugins().command_clash(name)))


@click.group(
    cls=_Commands,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.version_option(__version__, prog_name="asrkit")
def cli() -> None:
    """Speech recognition: recordings to text.

    \b
    Examples:
      asrkit run --model canary-180m-flash --language en talk.wav
      asrkit models
      asrkit run --help
    """


class _Said(logging.Handler):
    """Shows the library's own messages like the commands' lines."""

    verbosity = 0
    """-1: errors only. 0: warnings, and lines about what was done. 1: what is being done. 2: debugging."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        say(text if record.levelno < logging.WARNING else f"{record.levelname.lower()}: {text}")


SAID = _Said(logging.WARNING)
LEVELS = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO, 2: logging.DEBUG}


def say(message: str, verbosity: int = -1) -> None:
    """A line for the user, on stderr: stdout is for results.

    Args:
        verbosity: what must have been asked for: -1 shows it even with ``--quiet``, as an error; 0 without ``-v`` or
            ``--quiet``; 1 with ``-v``.
    """
    if SAID.verbosity >= verbosity:
        for prepare in tuple(BEFORE_LINES):
            prepare()
        click.echo(f"asrkit: {message}", err=True)


def on_download() -> Callable[[str], None] | None:
    """What the library tells about downloads, as ``tell``; None with ``--quiet``, so that there is no progress bar."""
    return (lambda line: say(line, 0)) if verbosity() >= 0 else None


def verbosity() -> int:
    """What is shown, -1 to 2."""
    return SAID.verbosity


def set_verbosity(verbosity: int) -> None:
    """From now on show lines and the library's log records up to ``verbosity``, -1 to 2."""
    SAID.verbosity = min(verbosity, 2)
    SAID.setLevel(LEVELS[SAID.verbosity])
    logger = logging.getLogger("asrkit")
    if not logger.isEnabledFor(SAID.level):
        logger.setLevel(SAID.level)


@contextmanager
def _logging() -> Iterator[None]:
    """Log records on stderr for as long as a command runs; what a program around it has set up is as it was after."""
    logger = logging.getLogger("asrkit")
    level = logger.level
    logger.addHandler(SAID)
    try:
        set_verbosity(0)
        yield
    finally:
        logger.removeHandler(SAID)
        logger.setLevel(level)


def main(args: list[str] | None = None) -> Any:
    """Entry point: errors become one line and an exit code: 1 for something that failed, 2 for wrong usage."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A name of a file must not be an error where the terminal cannot show it.
            stream.reconfigure(errors="backslashreplace")
    if os.environ.get(COMPLETE):
        return _complete()
    with _logging():
        return _main(args)


def _complete() -> None:
    """What a shell asks while somebody types: a message would only be in the way, so there is none."""
    with redirect_stderr(io.StringIO()):
        try:
            cli.main(prog_name="asrkit", complete_var=COMPLETE)
        except Exception:
            sys.exit(1)


def _main(args: list[str] | None) -> Any:
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
