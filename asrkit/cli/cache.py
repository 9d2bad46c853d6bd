"""``asrkit cache``: what asrkit keeps on this disk, and how to get rid of it."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asrkit.cli import say
from asrkit.cli.options import Command, option, verbosity_options
from asrkit.errors import AsrkitError, UnknownNameError, UsageError, listed, suggestion
from asrkit.plugins import registry
from asrkit.storage import KEPT, cache_folder, folder_size, size_text

if TYPE_CHECKING:
    from asrkit.hub.cache import CachedModel

__all__ = ["command"]


@click.group("cache", invoke_without_command=True)
@option("--format", "format_name", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def command(ctx: click.Context, format_name: str) -> None:
    """Show what is kept on this disk, and delete it.

    Of the cache of the Hugging Face hub, which other programs use too, only models are shown that asrkit can run.

    \b
    Examples:
      asrkit cache
      asrkit cache rm canary-180m-flash
    """
    if ctx.invoked_subcommand is not None:
        if ctx.get_parameter_source("format_name") is not click.core.ParameterSource.DEFAULT:
            raise UsageError(f"--format is for what `asrkit cache` shows; {ctx.invoked_subcommand} has no use for it")
        return
    report = _report()
    click.echo(json.dumps(report, indent=2) if format_name == "json" else _table(report))


@command.command("rm", cls=Command)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@option("--all", "everything", is_flag=True, help="All that `asrkit cache` shows.")
@option("--yes", "-y", is_flag=True, help="Do not ask.")
@verbosity_options
def remove(names: tuple[str, ...], everything: bool, yes: bool) -> None:
    """Delete models, or what asrkit has worked out.

    A model is deleted with all its revisions. NAME is what `asrkit cache` shows (OWNER/REPO, quantized, onnxruntime) or
    a name from `asrkit models`.

    \b
    Examples:
      asrkit cache rm canary-180m-flash
      asrkit cache rm quantized onnxruntime
      asrkit cache rm --all --yes
    """
    if bool(names) == everything:
        raise UsageError("name what to delete, or give --all, and not both; `asrkit cache` shows what there is")
    there = _removable()
    chosen = list(there) if everything else list(dict.fromkeys(_meant(name, list(there)) for name in names))
    if everything and not yes:
        _ask(chosen)
    freed = 0
    for name in chosen:
        size = there[name]()
        freed += size
        say(f"deleted {name}: {size_text(size)}", 0)
    if len(chosen) != 1:
        say(f"freed {size_text(freed)}", 0)


def _ask(chosen: list[str]) -> None:
    if not chosen:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("--all asks before it deletes, and nobody can answer here; add --yes")
    if not click.confirm(f"Delete {', '.join(chosen)}?", err=True):
        raise click.Abort


def _removable() -> dict[str, Callable[[], int]]:
    """What can be deleted, by name: functions that do it and return the bytes that were freed."""
    from asrkit.hub.cache import remove as remove_model

    repos = dict.fromkeys(model.repo for model in _models())
    found: dict[str, Callable[[], int]] = {repo: partial(remove_model, repo) for repo in repos}
    return found | {name: partial(_remove_folder, cache_folder() / name) for name in _kept()}


def _remove_folder(folder: Path) -> int:
    size = folder_size(folder)
    shutil.rmtree(folder)
    return size


def _meant(name: str, there: list[str]) -> str:
    """What a user's name for something in the cache means."""
    from asrkit.models import HubSource
    from asrkit.sources import name_model

    if name in there:
        return name
    try:
        source = name_model(registry(), name)[1]
    except AsrkitError:
        source = None
    if isinstance(source, HubSource) and source.repo in there:
        if "@" in name:
            raise UsageError(f"{name}: a model is deleted with all its revisions; write {source.repo}")
        return source.repo
    raise UnknownNameError(f"there is no {name!r} in the cache{suggestion(name, there)}; there is: {listed(there)}")


def _models() -> Iterator[CachedModel]:
    """The revisions in the cache of the hub that asrkit can run."""
    from asrkit.hub.cache import cached_models
    from asrkit.sources import specs_of_repo

    for model in cached_models():
        archive = any(name.endswith(".nemo") for name in model.files)
        if archive or specs_of_repo(registry(), model.repo) or _is_conversion(model):
            yield model


def _is_conversion(model: CachedModel) -> bool:
    """Whether this is a folder that `asrkit convert` wrote, and not one of the many others with such files."""
    if not {"config.json", "model.safetensors"} <= set(model.files):
        return False
    from asrkit.checkpoints.configuration import read_json
    from asrkit.sources import spec_for

    try:
        config = read_json((model.path / "config.json").read_bytes(), str(model.path))
        spec_for(registry(), config, model.path)
    except (AsrkitError, OSError):
        return False
    return True


def _kept() -> list[str]:
    return [name for name in KEPT if (cache_folder() / name).is_dir()]


def _report() -> dict[str, Any]:
    from asrkit.hub.cache import cache_path

    models = [
        {
            "repo": model.repo,
            "commit": model.commit,
            "size": model.size,
            "last_used": datetime.fromtimestamp(model.last_used).astimezone().isoformat(timespec="seconds"),
            "path": str(model.path),
        }
        for model in _models()
    ]
    kept = [
        {"name": name, "size": folder_size(cache_folder() / name), "path": str(cache_folder() / name)}
        for name in _kept()
    ]
    return {
        "hub": {"path": str(cache_path()), "models": models},
        "asrkit": {"path": str(cache_folder()), "folders": kept},
        "size": sum(one["size"] for one in [*models, *kept]),
    }


def _table(report: dict[str, Any]) -> str:
    lines = [f"models of the hub, in {report['hub']['path']}"]
    models = report["hub"]["models"]
    width = max([*(len(model["repo"]) for model in models), 11])
    for model in models:
        size, day = size_text(model["size"]), model["last_used"].partition("T")[0]
        lines.append(f"  {model['repo']:<{width}} {size:>8}  {model['commit']}  used {day}")
    lines += [] if models else ["  none"]
    lines.append(f"worked out by asrkit, in {report['asrkit']['path']}")
    kept = report["asrkit"]["folders"]
    lines += [f"  {one['name']:<{width}} {size_text(one['size']):>8}" for one in kept] or ["  nothing"]
    lines.append(f"  {'total':<{width}} {size_text(report['size']):>8}")
    return "\n".join(lines)
