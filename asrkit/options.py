"""Options as attrs classes: values from the command line or from Python, checked and converted by field."""

from __future__ import annotations

import itertools
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import attrs

from asrkit.errors import OptionError, PluginError, listed, suggestion

__all__ = ["WORDS", "build_options", "option_names", "share_options"]

Options = TypeVar("Options")

WORDS = {"yes": True, "true": True, "on": True, "1": True, "no": False, "false": False, "off": False, "0": False}
"""What a user may write for yes and no."""

KINDS: dict[Any, str] = {bool: "yes or no", int: "a whole number", float: "a number", str: "a text"}
KINDS[type(None)] = "nothing"


def option_names(cls: type) -> tuple[str, ...]:
    """The options that an attrs class has."""
    return tuple(field.name for field in attrs.fields(cls) if field.init) if attrs.has(cls) else ()


def build_options(cls: type[Options], values: Mapping[str, Any], owner: str) -> Options:
    """An instance of an attrs class from named values; strings are converted to the field's type.

    Args:
        owner: whose options they are, for messages, such as ``strategy 'greedy'``.

    Raises:
        OptionError: an option does not exist or cannot take its value.
    """
    names = option_names(cls)
    unknown = sorted(set(values) - set(names))
    if unknown:
        raise OptionError(
            f"{owner} has no option {unknown[0]!r}{suggestion(unknown[0], names)}; it has: {listed(names)}"
        )
    hints = typing.get_type_hints(cls)
    converted = {name: _convert(name, value, hints[name], owner) for name, value in values.items()}
    try:
        return cls(**converted)
    except (ValueError, TypeError) as error:
        raise OptionError(f"{owner}: {error.args[0]}") from error


def share_options(
    options: Mapping[str, Any], owners: Sequence[tuple[str, tuple[str, ...]]], settings: Sequence[str]
) -> list[dict[str, Any]]:
    """Options by owner, in the order of the owners; None means not given.

    Args:
        owners: for messages, such as ``strategy 'greedy'``, each with the names of its options.
        settings: names of what is set when a model is loaded.

    Raises:
        OptionError: nobody has an option, or it is one of the settings.
        PluginError: two owners have options of one name.
    """
    for (one, first), (other, second) in itertools.combinations(owners, 2):
        if clash := sorted(set(first) & set(second)):
            raise PluginError(f"{one} and {other} both have an option {clash[0]!r}")
    given = {name: value for name, value in options.items() if value is not None}
    names = [*(name for _, own in owners for name in own), *settings]
    for name in given:
        if name in settings:
            raise OptionError(f"option {name!r} is set when the model is loaded: load_model(..., {name}=...)")
        if name not in names:
            model, *others = (owner for owner, _ in owners)
            raise OptionError(
                f"{model} with {' and '.join(others)} has no option {name!r}{suggestion(name, names)}; it has: "
                f"{listed(names)}"
            )
    return [{name: value for name, value in given.items() if name in own} for _, own in owners]


def _convert(name: str, value: Any, hint: Any, owner: str) -> Any:
    """A value as the annotated type; an attrs validator may narrow it further."""
    # With a Literal in it, a union is one of typing and not of types.
    kinds = typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)
    choices = [one for kind in kinds if typing.get_origin(kind) is typing.Literal for one in typing.get_args(kind)]
    if choices:
        if value in choices or (value is None and type(None) in kinds):
            return value
        wanted = " or ".join(map(str, choices))
        raise OptionError(f"{owner}: option {name!r} is {wanted}, not {value!r}")
    for kind in kinds:
        if kind is bool and isinstance(value, str) and value.lower() in WORDS:
            return WORDS[value.lower()]
        if kind in (int, float) and isinstance(value, str):
            try:
                return kind(value)
            except ValueError:
                continue
        if kind is float and type(value) is int:
            return float(value)
        if kind is str and isinstance(value, str) and not _is_text(value):
            raise OptionError(f"{owner}: option {name!r} takes a text, and {value!r} is not valid Unicode")
        if isinstance(kind, type) and isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
            return value
    wanted = " or ".join(KINDS.get(kind, str(kind)) for kind in kinds)
    raise OptionError(f"{owner}: option {name!r} takes {wanted}, not {value!r}")


def _is_text(value: str) -> bool:
    """Whether a string can be written out; a surrogate is a byte of an argument that was no UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
