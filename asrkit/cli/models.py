"""``asrkit models``: what can be run by name, and what a checkpoint holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from asrkit.cli import say
from asrkit.cli.tables import table
from asrkit.errors import HubError
from asrkit.models import HubSource, ModelSpec, PathSource
from asrkit.plugins import registry, restricted

__all__ = ["command"]


@click.group("models", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List the models that plugins know by name."""
    if ctx.invoked_subcommand is not None:
        return
    entries = registry().entries("model")
    if not entries:
        say(f"no installed plugin knows a model by name{restricted()}")
    table([_row(entry.factory) for entry in entries])


def _row(spec: ModelSpec) -> tuple[str, ...]:
    shown = ", ".join(spec.languages) if len(spec.languages) < 6 else f"{len(spec.languages)} languages"
    return spec.name, shown, spec.licence, spec.summary


@command.command("show")
@click.argument("model")
def show(model: str) -> None:
    """Show what is known about a model.

    MODEL is a name, OWNER/REPO of the hub, or the path of a checkpoint. Nothing is downloaded.
    """
    from asrkit.sources import name_model

    spec, source = name_model(registry(), model)
    if spec is not None:
        lines = _spec(spec, source)
    elif isinstance(source, PathSource):
        lines = _checkpoint(model)
    else:
        raise HubError(f"{model}: no installed plugin knows it by name; `asrkit pull {model}` gives a path to show")
    for name, value in lines:
        click.echo(f"{name:<12} {value}")


def _spec(spec: ModelSpec, source: HubSource | PathSource) -> Iterator[tuple[str, Any]]:
    yield "name", spec.name
    yield "summary", spec.summary
    yield "source", source
    if isinstance(source, HubSource):
        from asrkit.hub.repository import Repository

        found = Repository(source.repo, source.revision, spec.name).cached(source.file) if source.file else None
        yield "in the cache", "no" if found is None else found.path
    yield "languages", ", ".join(spec.languages)
    yield "tasks", ", ".join(spec.tasks)
    if spec.translations:
        yield "translates", ", ".join(f"{here}-{there}" for here, there in spec.translations)
    yield "decoder", f"{spec.decoder}, decoded by {spec.strategy!r}"
    yield "licence", spec.licence


def _checkpoint(path: str) -> Iterator[tuple[str, Any]]:
    """A checkpoint is built, so that what is shown is known to run."""
    from asrkit.loading import load_model, model_settings, open_checkpoint
    from asrkit.quantize import Quantized

    tensors = open_checkpoint(registry(), path).tensors()
    loaded = load_model(path, backend="numpy")
    # Tied tensors are one storage under two names. All are held at once: an address is free again with its array.
    held, unique = list(tensors.values()), {}
    for tensor in held:
        values = tensor.values if isinstance(tensor, Quantized) else tensor
        if tensor.size and (values is not tensor or values.dtype.kind == "f"):
            unique[values.__array_interface__["data"][0]] = tensor.size
    yield "path", path
    yield "class", open_checkpoint(registry(), path).config.get("target", "unknown")
    yield "tensors", f"{len(tensors)}, {sum(unique.values()):,} values"
    yield "precision", loaded.precision
    yield "features", f"{loaded.parts.frontend.rate} Hz, {loaded.parts.frontend.hop * 1000:g} ms a frame"
    yield "vocabulary", loaded.parts.tokenizer.size
    yield "languages", ", ".join(loaded.parts.dialect.languages)
    yield "strategy", loaded.parts.strategy
    yield "options", ", ".join(loaded.option_names())
    yield "set at load", ", ".join(model_settings(path)) or "nothing"
    for name, value in loaded.parts.extras.items():
        yield name, ", ".join(value) if isinstance(value, tuple) else value
