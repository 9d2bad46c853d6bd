"""``asrkit plugins new``: a project to begin a plugin with."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from string import Template

import click

from asrkit import __version__
from asrkit.cli import say
from asrkit.cli.options import Command
from asrkit.errors import UsageError
from asrkit.hookspecs import INTERFACE
from asrkit.plugins import load_plugins, registry

__all__ = ["command", "write_project"]

PREFIX = "asrkit-"
TAKEN = ("asrkit", "core")
"""Names of the core itself."""

FILES = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "__init__.py": "$package/__init__.py",
    "plugin.py": "$package/plugin.py",
    "strategy.py": "$package/strategy.py",
    "test_strategy.py": "tests/test_strategy.py",
}
"""Where the files of ``skeleton`` go."""


@click.command("new", cls=Command)
@click.argument("name")
def command(name: str) -> None:
    """Write a project for a plugin: something that works, to be changed.

    NAME is the plugin's, such as my-search. The folder asrkit-NAME gets a decoding strategy, its tests, and what is
    needed to install it.

    \b
    Examples:
      asrkit plugins new my-search
      pip install -e "./asrkit-my-search[test]" && python -m pytest asrkit-my-search
    """
    folder = write_project(name, Path())
    say(f'wrote {folder}; install and test it: pip install -e "./{folder}[test]" && python -m pytest {folder}', 0)


def write_project(name: str, where: Path) -> Path:
    """Write the project of a plugin into a new folder, and return that.

    Args:
        name: of the plugin, or of its distribution.
        where: the folder to make it in.

    Raises:
        UsageError: no plugin can have the name, or an installed one has it; or the folder exists.
        OSError: it cannot be written.
    """
    name = name.removeprefix(PREFIX)
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        near = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-0123456789")
        hint = f" (did you mean {near!r}?)" if near else ""
        raise UsageError(f"{name!r} is no name of a plugin: it takes small letters, digits and single hyphens{hint}")
    if name in TAKEN or name in {plugin.name for plugin in load_plugins().found}:
        raise UsageError(f"a plugin {name!r} is there already; choose another name")
    if name in registry().names("strategy"):
        raise UsageError(f"a strategy {name!r} is there already; choose another name")
    folder = where / f"{PREFIX}{name}"
    package = folder.name.replace("-", "_")
    values = {"distribution": folder.name, "name": name, "package": package, "version": __version__}
    values |= {"interface": str(INTERFACE), "class_name": "".join(map(str.capitalize, name.split("-"))) + "Strategy"}
    try:
        folder.mkdir()
    except FileExistsError:
        raise UsageError(f"{folder} is there already; choose another name, or move it away") from None
    for source, target in FILES.items():
        path = folder / Template(target).substitute(values)
        path.parent.mkdir(exist_ok=True)
        text = (files("asrkit.cli") / "skeleton" / f"{source}.in").read_text(encoding="utf-8")
        path.write_text(Template(text).substitute(values), encoding="utf-8", newline="\n")
    return folder
