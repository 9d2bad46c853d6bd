"""What ``asrkit doctor`` looks at. A check imports what it needs, and none can keep the others from running."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import locale
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs
import click

from asrkit import __version__
from asrkit.errors import AsrkitError, suggestion
from asrkit.plugins import load_plugins, registry
from asrkit.registry import reason

__all__ = ["ADVICE", "OK", "PROBLEM", "Finding", "examine"]

OK, ADVICE, PROBLEM = "ok", "advice", "problem"
"""How a thing stands. Advice is what may be done; a problem is what keeps asrkit from working as it should."""

NEWEST_UNTRIED = (3, 14)
LITTLE_SPACE = 2_000_000_000
"""Bytes; a model may have more."""

OWN_VARIABLES = ("ASRKIT_CACHE", "ASRKIT_PLUGINS", "ASRKIT_TRACE_PLUGINS")
"""Those that are not options of a command."""

OTHERS_VARIABLES = re.compile(r"HF_|HUGGINGFACE_|(OMP|OPENBLAS|MKL|VECLIB)_\w*THREADS$|PYTHON(UTF8|IOENCODING)$")
SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|KEY|CREDENTIAL")

OPTIONAL = {
    "mlx": "the backend mlx",
    "onnxruntime": "the backend onnxruntime",
    "sentencepiece": "tokenizers of some models",
    "jiwer": "asrkit eval",
    "whisper_normalizer": "asrkit eval --normalizer whisper",
}
IMPORTED = ("numpy", "soundfile", "soxr")
"""Made of machine code, so that being installed does not mean to work."""


@attrs.frozen
class Finding:
    """One line of a diagnosis."""

    section: str
    name: str
    state: str
    """OK, ADVICE or PROBLEM."""
    text: str
    """What was found."""
    todo: str = ""
    """What to do about it, where there is something to do."""


Found = Iterator[tuple[str, str, str, str]]
"""(name, state, text, todo) of each finding of a check."""


def examine(ctx: click.Context) -> Iterator[Finding]:
    """Every finding, check by check.

    Args:
        ctx: of the command, for the variables that options have.
    """
    for section, check in CHECKS.items():
        try:
            yield from (Finding(section, *found) for found in check(ctx))
        except Exception as error:
            yield Finding(section, "check", PROBLEM, f"it failed: {reason(error)}", "report this with the output")


def _python(ctx: click.Context) -> Found:
    where = f"{platform.python_version()}, {sys.executable}"
    if sys.version_info[:2] >= NEWEST_UNTRIED:
        yield "python", ADVICE, where, "asrkit was tried with Python 3.11 to 3.13 only"
    else:
        yield "python", OK, where, ""
    yield "system", OK, platform.platform(), ""


def _asrkit(ctx: click.Context) -> Found:
    folder = Path(__file__).parents[1]
    yield "asrkit", OK, f"{__version__}, {folder}", ""
    own = _distribution("asrkit-core")
    again = "pip install --force-reinstall asrkit-core"
    if own is None:
        yield "asrkit-core", ADVICE, "is not installed: asrkit runs from a folder", "pip install asrkit-core"
    elif own.version != __version__:
        found = f"is installed in version {own.version}, but {__version__} runs"
        yield "asrkit-core", PROBLEM, found, f"look for a second asrkit on sys.path; {again}"
    other = _distribution("asrkit")
    if other is not None:
        # Not a version of ours: an unrelated project, whose package has the same name.
        changed = [] if own is None else _overwritten(own, other)
        found = f"the distribution 'asrkit' {other.version} is another project with the same import name"
        found += f"; it has overwritten {changed[0]} and {len(changed) - 1} more" if changed else ""
        yield "asrkit (PyPI)", PROBLEM, found, f"pip uninstall asrkit, then {again}"


def _overwritten(own: importlib.metadata.Distribution, other: importlib.metadata.Distribution) -> list[str]:
    """Files of both distributions that are no longer as the first one brought them."""
    theirs = {str(file) for file in other.files or ()}
    changed = []
    for file in own.files or ():
        if str(file) in theirs and file.hash is not None:
            digest = hashlib.new(file.hash.mode, Path(file.locate()).read_bytes()).digest()
            if urlsafe_b64encode(digest).rstrip(b"=").decode() != file.hash.value:
                changed.append(str(file))
    return changed


def _distribution(name: str) -> importlib.metadata.Distribution | None:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _plugins(ctx: click.Context) -> Found:
    plugins = load_plugins()
    root = ctx.find_root()
    assert isinstance(root.command, click.Group)
    root.command.list_commands(root)  # asks the plugins for theirs, which may break one
    for plugin in plugins.found:
        if plugin.error is None:
            yield plugin.name, OK, f"{plugin.distribution} {plugin.version}".strip(), ""
        elif not plugin.distribution:
            yield plugin.name, PROBLEM, str(plugin.error), "install it, or correct ASRKIT_PLUGINS"
        else:
            todo = f"pip install --upgrade {plugin.distribution}, or pip uninstall {plugin.distribution}"
            yield plugin.name, PROBLEM, f"{plugin.distribution} {plugin.version}: {plugin.error}", todo
    for clash in plugins.clashes():
        yield "names", ADVICE, clash, ""
    if not registry().names("model"):
        yield "models", ADVICE, "no plugin knows a model by name", "install a plugin with models"


def _backends(ctx: click.Context) -> Found:
    from asrkit.loading import backend_problem, create_backend

    ranks = {}
    for entry in registry().entries("backend"):
        try:
            found = create_backend(registry(), f"{entry.plugin}:{entry.name}").capabilities
        except AsrkitError as error:
            yield entry.name, ADVICE, f"cannot run: {backend_problem(entry) or error}", "needed only if you want it"
        else:
            ranks[found.rank, entry.name] = entry.name
            yield entry.name, OK, "; ".join([f"{found.device}: {', '.join(found.precisions)}", *found.notes]), ""
    if ranks:
        yield "--backend auto", OK, f"takes {ranks[max(ranks)]}", ""
    else:
        yield "--backend auto", PROBLEM, "no backend can run here", "see the reasons above"


def _libraries(ctx: click.Context) -> Found:
    for name in _needed():
        found = _distribution(name)
        if found is None:
            yield name, PROBLEM, "is not installed", f"pip install {name}"
            continue
        try:
            module = importlib.import_module(name) if name in IMPORTED else None
        except Exception as error:
            again = f"pip install --force-reinstall {name}"
            yield name, PROBLEM, f"{found.version} does not import: {reason(error)}", again
        else:
            native = getattr(module, "__libsndfile_version__", None)
            yield name, OK, found.version + (f", libsndfile {native}" if native else ""), ""
    for name, needed_for in OPTIONAL.items():
        found = _distribution(name)
        yield name, OK, found.version if found else f"not installed; needed for {needed_for}", ""


def _needed() -> list[str]:
    """What asrkit-core depends on everywhere."""
    own = _distribution("asrkit-core")
    lines = (own.requires if own else None) or IMPORTED
    return sorted(re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in lines if ";" not in line)


def _cache(ctx: click.Context) -> Found:
    from asrkit.storage import cache_folder, folder_size, size_text

    yield from _folder("cache", cache_folder(), PROBLEM, "ASRKIT_CACHE")
    yield "cache size", OK, f"{size_text(folder_size(cache_folder()))}; may be deleted at any time", ""

    from asrkit.hub.cache import cache_path

    # One that others fill and that is only read is a way to work, too.
    yield from _folder("hub cache", cache_path(), ADVICE, "HF_HOME")
    shared = "all models of the hub, also other programs'; `asrkit cache` shows those that asrkit can run"
    yield "hub cache size", OK, f"{size_text(folder_size(cache_path()))}; {shared}", ""
    free = min(shutil.disk_usage(_existing(folder)).free for folder in (cache_folder(), cache_path()))
    if free < LITTLE_SPACE:
        yield "free space", ADVICE, size_text(free), "make room for models, or set HF_HOME and ASRKIT_CACHE"
    else:
        yield "free space", OK, size_text(free), ""


def _folder(name: str, folder: Path, state: str, variable: str) -> Found:
    """Where a folder is, and that it can be written; ``state`` is how bad it is if not."""
    there = _existing(folder)
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"\0")
    except OSError as error:
        found = f"{there} cannot be written: {error.strerror or error}"
        yield name, state, found, f"correct its permissions, or set {variable} to another folder"
    else:
        yield name, OK, str(folder), ""


def _existing(folder: Path) -> Path:
    """A folder, or what there is of the way to it."""
    return next(one for one in (folder, *folder.absolute().parents) if one.exists())


def _audio(ctx: click.Context) -> Found:
    from asrkit.ffmpeg import find_ffmpeg

    path = find_ffmpeg()
    if path is None:
        found = "not found; needed only for m4a, mp4, webm and other containers"
        yield "ffmpeg", ADVICE, found, "install ffmpeg, or pip install imageio-ffmpeg"
        return
    try:
        done = subprocess.run([path, "-version"], capture_output=True, timeout=20, stdin=subprocess.DEVNULL, check=True)
        first = done.stdout.decode("utf-8", "replace").partition("\n")[0].partition(" Copyright")[0].strip()
        yield "ffmpeg", OK, f"{path}: {first}", ""
    except (OSError, subprocess.SubprocessError) as error:
        yield "ffmpeg", PROBLEM, f"{path} does not run: {reason(error)}", "install ffmpeg again"


def _environment(ctx: click.Context) -> Found:
    known = {*OWN_VARIABLES, *_variables(ctx.find_root().command, ctx.find_root())}
    for name, value in sorted(os.environ.items()):
        if name in known or OTHERS_VARIABLES.match(name):
            yield name, OK, _shown(name, value), ""
        elif name.startswith("ASRKIT_"):
            near = suggestion(name, known)
            yield name, ADVICE, f"nothing reads this variable{near}", "correct or unset it"


def _variables(command: click.Command, ctx: click.Context) -> Iterator[str]:
    """The variables that options of a command and of those below it have."""
    for param in command.params:
        yield from [param.envvar] if isinstance(param.envvar, str) else param.envvar or ()
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            below = command.get_command(ctx, name)
            if below is not None:
                yield from _variables(below, ctx)


def _shown(name: str, value: str) -> str:
    """A value as it may be shown to others: this output is made to be sent around."""
    if SECRET.search(name):
        return "set; its value is not shown" if value else "empty"
    return re.sub(r"(?<=://)[^/@\s]+@", "...@", value)


def _terminal(ctx: click.Context) -> Found:
    names: Iterable[tuple[str, Any]] = (("stdout", sys.stdout), ("stderr", sys.stderr))
    for name, stream in names:
        yield name, OK, f"{getattr(stream, 'encoding', None) or 'none'}", ""
    yield "locale", OK, f"{locale.getlocale()[0] or 'C'}, {locale.getpreferredencoding(False)}", ""
    encoding = sys.getfilesystemencoding()
    if encoding.lower() not in ("utf-8", "utf8"):
        yield "file names", ADVICE, encoding, "names with other letters may fail; set a UTF-8 locale, or PYTHONUTF8=1"
    else:
        yield "file names", OK, encoding, ""


CHECKS: dict[str, Callable[[click.Context], Found]] = {
    "Python": _python,
    "asrkit": _asrkit,
    "Plugins": _plugins,
    "Backends": _backends,
    "Libraries": _libraries,
    "Cache": _cache,
    "Audio": _audio,
    "Environment": _environment,
    "Terminal": _terminal,
}
