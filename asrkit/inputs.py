"""Which recordings a command is about: files, folders, lists of paths, manifests, standard input."""

from __future__ import annotations

import codecs
import glob
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from asrkit.errors import UsageError
from asrkit.manifests import read_excerpts
from asrkit.values import Recording

__all__ = ["AUDIO", "STDIN", "SUFFIXES", "VIDEO", "Input", "collect"]

log = logging.getLogger("asrkit")

STDIN = "-"
"""Standard input, as a recording or as a list."""

AUDIO = (
    "aac ac3 aif aifc aiff amr ape au bwf caf flac m4a m4b mka mp2 mp3 oga ogg opus rf64 snd sph spx voc w64 wav wma wv"
)
VIDEO = "3g2 3gp asf avi flv m4v mkv mov mp4 mpeg mpg ogv weba webm wmv"
SUFFIXES = frozenset(f".{name}" for name in f"{AUDIO} {VIDEO}".split())
"""What a recording in a folder is known by, in any case; a file that is named may have any suffix."""


@attrs.frozen
class Input:
    """A recording that is to be transcribed, and where its name comes from."""

    name: str
    """For lines on a terminal; bytes that are no UTF-8 are written out."""
    source: str
    """The path as it was given, or ``-``."""
    relative: str
    """What outputs are named after, with ``/``: the file's name, or its path below the folder it was found in."""
    offset: float = 0.0
    """Seconds from which it is read."""
    duration: float | None = None
    """Seconds that are read; None means to the end."""
    options: Mapping[str, Any] = attrs.field(factory=dict, hash=False)
    """Options of the model for this one."""

    def recording(self) -> Recording:
        """As a model takes it."""
        source = sys.stdin.buffer if self.source == STDIN else self.source
        return Recording(source, self.offset, self.duration, self.options)


def collect(
    arguments: Iterable[str],
    *,
    recursive: bool = False,
    lists: Sequence[str] = (),
    manifests: Iterable[str] = (),
) -> list[Input]:
    """The recordings that a call asks for, each once, in the order they come: arguments, lists, manifests.

    A file that is not there is among them, since the others can be done without it.

    Args:
        arguments: files, folders, patterns with ``*?[`` (no shell expands them on Windows), or ``-``.
        recursive: go into the folders of folders.
        lists: files of paths, one a line or separated by NUL, or ``-``.
        manifests: files in NeMo's format.

    Raises:
        UsageError: there are none, a folder holds none, or a folder, list or manifest cannot be read.
    """
    arguments = list(arguments)
    if [*arguments, *lists].count(STDIN) > 1:
        raise UsageError("- is given more than once; standard input is read once, as a recording or as a list of paths")
    if STDIN in [*arguments, *lists] and sys.stdin is None:
        raise UsageError("- is given, and standard input is closed")
    found: list[Input] = []
    for argument in arguments:
        for path in _expanded(argument):
            found += _argument(path, recursive)
    for path in lists:
        for listed in _listed(path):
            found += _argument(_file(listed), recursive)
    for path in manifests:
        for excerpt in read_excerpts(path):
            found.append(_input(_file(excerpt.file), excerpt.offset, excerpt.duration, excerpt.options))
    if not found:
        raise UsageError("no recordings are given; name files, folders, a list of paths or a manifest")
    return _unique(found)


def _expanded(argument: str) -> Sequence[str]:
    if argument != STDIN and not os.path.lexists(argument) and glob.has_magic(argument):
        return sorted(glob.glob(argument), key=_natural) or [argument]
    return [argument]


def _file(path: str) -> str:
    """A path that is never taken for standard input."""
    return os.path.join(os.curdir, path) if path == STDIN else path


def _argument(path: str, recursive: bool) -> Iterator[Input]:
    if path == STDIN:
        yield Input("<stdin>", STDIN, "stdin")
    elif os.path.isdir(path):
        yield from _folder(path, recursive)
    else:
        yield _input(path)


def _input(
    path: str, offset: float = 0.0, duration: float | None = None, options: Mapping[str, Any] | None = None
) -> Input:
    name = _shown(path)
    if offset or duration is not None:
        name += f" from {offset:.3f} s" + ("" if duration is None else f" to {offset + duration:.3f} s")
    return Input(name, path, os.path.basename(os.path.normpath(path)), offset, duration, options or {})


def _folder(root: str, recursive: bool) -> Iterator[Input]:
    folders = [""]
    seen = {os.path.realpath(root)}
    empty, deeper = True, False
    while folders:
        below = folders.pop()
        names, inner = _entries(os.path.join(root, below) if below else root)
        for name in names:
            relative = f"{below}/{name}" if below else name
            path = os.path.join(root, *relative.split("/"))
            yield Input(_shown(path), path, relative)
            empty = False
        deeper = deeper or bool(inner)
        for name in reversed(inner if recursive else []):
            relative = f"{below}/{name}" if below else name
            # A link may lead back to where it is.
            real = os.path.realpath(os.path.join(root, relative))
            if real not in seen:
                seen.add(real)
                folders.append(relative)
    if empty and deeper and not recursive:
        raise UsageError(f"{_shown(root)}: holds no recordings, only folders; --recursive goes into them")
    if empty:
        raise UsageError(f"{_shown(root)}: holds no recordings; they are known by suffixes such as .wav, .flac, .mp3")


def _entries(folder: str) -> tuple[list[str], list[str]]:
    """Names of the recordings and of the folders in a folder, in natural order."""
    names, folders = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    folders.append(entry.name)
                # A link that leads nowhere is a recording that is missing, and is told as one.
                elif os.path.splitext(entry.name)[1].lower() in SUFFIXES and (entry.is_file() or entry.is_symlink()):
                    names.append(entry.name)
    except OSError as error:
        raise UsageError(f"{_shown(folder)}: cannot be read ({error.strerror}); name the folders that can") from None
    return sorted(names, key=_natural), sorted(folders, key=_natural)


def _natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sorts ``talk2`` before ``talk10``; names that differ never tie."""
    parts = re.findall(r"([0-9]+)|([^0-9]+)", name)
    return [(0, int(digits), "") if digits else (1, 0, text.casefold()) for digits, text in parts], name


def _listed(path: str) -> list[str]:
    """The paths in a list; bytes that are no UTF-8 survive as the file system has them."""
    shown = "standard input" if path == STDIN else _shown(path)
    try:
        if path == STDIN:
            content = sys.stdin.buffer.read()
        else:
            with open(path, "rb") as file:
                content = file.read()
    except OSError as error:
        raise UsageError(f"{shown}: cannot be read ({error.strerror}); give a file with one path a line") from None
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UsageError(f"{shown}: is in UTF-16; write the list in UTF-8")
    content = content.removeprefix(codecs.BOM_UTF8)
    lines = content.split(b"\0") if b"\0" in content else [line.removesuffix(b"\r") for line in content.split(b"\n")]
    try:
        paths = [os.fsdecode(line) for line in lines if line.strip()]
    except UnicodeDecodeError:  # where names are Unicode, on Windows
        raise UsageError(f"{shown}: is not a text in UTF-8; write the list in UTF-8") from None
    if not paths:
        raise UsageError(f"{shown}: names no recordings; give one path a line")
    return paths


def _unique(inputs: Iterable[Input]) -> list[Input]:
    kept: dict[Any, Input] = {}
    again: dict[str, None] = {}
    for one in inputs:
        file = one.source if one.source == STDIN else os.path.normcase(os.path.realpath(one.source))
        key = (file, one.offset, one.duration, tuple(sorted(one.options.items())))
        if kept.setdefault(key, one) is not one:
            again[one.name] = None
    if again:
        first, *others = again
        names = first if not others else f"{first} and {len(others)} more"
        log.warning("%s: given more than once; decoded once", names)
    return list(kept.values())


def _shown(path: str) -> str:
    return path.encode("utf-8", "backslashreplace").decode()
