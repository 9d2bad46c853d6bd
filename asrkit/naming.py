"""What files of results are called: after the recordings, and no two the same."""

from __future__ import annotations

import itertools
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from asrkit.inputs import STDIN, Input

__all__ = ["plan"]

RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
"""Names of devices on Windows, with any suffix."""


def plan(inputs: Sequence[Input], suffixes: Sequence[str], taken: Iterable[str] = ()) -> list[str]:
    """Names for the outputs of each input, without suffix, with ``/`` between folders.

    No two of them meet, also where ``Talk`` and ``talk`` are one name. They depend on the inputs alone, and are such
    that every system takes them.

    Args:
        suffixes: of the files of each input, such as ``.txt``.
        taken: names with suffixes that nothing may get.
    """
    reserved = {_key(name) for name in taken}
    common = _common(inputs)
    # Excerpts that start at one place of a recording share its name; they are told apart last, by number.
    choices = {_place(one): _choices(one, common) for one in reversed(inputs)}
    levels = dict.fromkeys(choices, 0)
    while True:
        owners: dict[str, set[Any]] = {key: {None} for key in reserved}
        for place, level in levels.items():
            for suffix in suffixes:
                owners.setdefault(_key(choices[place][level] + suffix), set()).add(place)
        clashing = {place for group in owners.values() if len(group) > 1 for place in group if place is not None}
        movable = [place for place in clashing if levels[place] + 1 < len(choices[place])]
        if not movable:
            break
        for place in movable:
            levels[place] += 1
    used = set(reserved)
    names = []
    for one in inputs:
        name = choices[_place(one)][levels[_place(one)]]
        for count in itertools.count(1):
            numbered = name if count == 1 else f"{name}-{count}"
            keys = {_key(numbered + suffix) for suffix in suffixes}
            if not keys & used and (count == 1 or not keys & owners.keys()):
                break
        used |= keys
        names.append(numbered)
    return names


def _place(one: Input) -> tuple[str, float]:
    return one.source if one.source == STDIN else os.path.abspath(one.source), one.offset


def _common(inputs: Sequence[Input]) -> str:
    folders = {os.path.dirname(os.path.abspath(one.source)) for one in inputs if one.source != STDIN}
    try:
        return os.path.commonpath(folders) if folders else ""
    except ValueError:  # several drives
        return ""


def _choices(one: Input, common: str) -> list[str]:
    """Names from the shortest to the most telling one."""
    full = one.relative
    if one.source != STDIN:
        full = os.path.abspath(one.source)
        full = os.path.relpath(full, common) if common else full
    names = []
    for relative in (one.relative, full.replace(os.sep, "/")):
        *folders, name = [part for part in relative.split("/") if part]
        mark = f"-{one.offset:09.3f}" if one.offset else ""
        for stem in (os.path.splitext(name)[0], name):
            names.append("/".join([*(_safe(folder) for folder in folders), _safe(stem, inside=True) + mark]))
    return names


def _safe(name: str, inside: bool = False) -> str:
    """A name that Windows takes as well; ``inside`` if something follows that does not end in a dot."""
    name = re.sub(r'[\x00-\x1f<>:"/\\|?*]', "_", name)
    if not inside:
        name = re.sub(r"[. ]+$", lambda found: "_" * len(found[0]), name)
    base, dot, rest = name.partition(".")
    return f"{base}_{dot}{rest}" if base.rstrip().lower() in RESERVED else name


def _key(name: str) -> str:
    """The same for names that some file system does not tell apart."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
