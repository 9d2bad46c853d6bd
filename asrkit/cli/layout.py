"""The options that say how much text a subtitle holds."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any, TypeVar

import attrs
import click

from asrkit.cli.options import option
from asrkit.subtitles import Layout

__all__ = ["layout_options", "take_layout"]

Wrapped = TypeVar("Wrapped", bound=Callable[..., Any])

HELP = {
    "max_line_width": "Characters in a line of a subtitle.",
    "max_line_count": "Lines of a subtitle.",
    "max_words_per_line": "Words in a line of a subtitle.",
}


def layout_options(command: Wrapped) -> Wrapped:
    """Add one option for each field of a Layout to a command; its value is None unless it was given."""
    for field in reversed(attrs.fields(Layout)):
        flag = "--" + field.name.replace("_", "-")
        default = "no limit" if field.default is None else str(field.default)
        settings = {"type": click.IntRange(min=1), "show_default": default, "help": HELP[field.name]}
        command = option(flag, section="Output", **settings)(command)
    return command


def take_layout(values: MutableMapping[str, Any]) -> Layout | None:
    """The layout that was asked for, taken out of a command's values; None if none of the options was given."""
    found = {field.name: values.pop(field.name) for field in attrs.fields(Layout)}
    given = {name: value for name, value in found.items() if value is not None}
    return Layout(**given) if given else None
