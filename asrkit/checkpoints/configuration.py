"""Reads a model's configuration from YAML or JSON text that may be hostile."""

from __future__ import annotations

import json
from typing import Any

import yaml

from asrkit.errors import CheckpointError

__all__ = ["MAX_BYTES", "pairs_once", "read_json", "read_yaml"]

MAX_BYTES = 16 << 20
"""Of a configuration; the largest released ones, with their vocabularies in them, have about 1 MB."""
MAX_NODES = 1_000_000
MAX_DEPTH = 100

# libyaml is ten times faster; a PyYAML built without it lacks the class.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(data: bytes, where: str) -> dict[str, Any]:
    """A model's configuration from ``model_config.yaml``: a mapping, its keys in the file's order.

    A training configuration that holds the model's own under ``model:`` is descended into, as NeMo does.

    Raises:
        CheckpointError: too large, not YAML, not a mapping, tagged for Python objects, or growing without
            end through aliases.
    """
    _check_size(data, where)
    try:
        _check_shape(data, where)
        config = yaml.load(data, Loader=_LOADER)
    except yaml.constructor.ConstructorError as error:
        raise CheckpointError(f"{where} asks for more than plain values: {_line(error)}") from None
    except yaml.YAMLError as error:
        raise CheckpointError(f"{where} is not YAML: {_line(error)}") from None
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        # What PyYAML raises for the date 2020-99-99, for "!!bool x" and the like.
        raise CheckpointError(f"{where} holds a value that cannot be read: {error!r}") from None
    if isinstance(config, dict) and isinstance(config.get("model"), dict):
        config = config["model"]
    return _mapping(config, where)


def read_json(data: bytes, where: str) -> dict[str, Any]:
    """A model's configuration from ``config.json``: a mapping, its keys in the file's order.

    Raises:
        CheckpointError: too large, not JSON, not a mapping, or with a key twice.
    """
    _check_size(data, where)
    try:
        config = json.loads(data, object_pairs_hook=pairs_once)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{where} is not JSON that can be read: {error}") from None
    return _mapping(config, where)


def pairs_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For ``json.loads(object_pairs_hook=)``: a dict, or a ValueError where a key stands twice."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} stands twice in one object")
        found[key] = value
    return found


def _mapping(config: object, where: str) -> dict[str, Any]:
    if not isinstance(config, dict):
        raise CheckpointError(f"{where} holds {type(config).__name__!r} at its top, a configuration is a mapping")
    return config


def _check_size(data: bytes, where: str) -> None:
    if len(data) > MAX_BYTES:
        raise CheckpointError(f"{where} has more than {MAX_BYTES} bytes, which no configuration needs")


def _check_shape(data: bytes, where: str) -> None:
    """Walk the events, which needs no recursion, before anything is built.

    The C loader recurses without a limit and crashes the process on text that nests deeply; aliases of
    aliases double at each step, and merge keys (``<<``) copy while loading. So both are counted beforehand,
    an alias as all that it stands for.
    """
    open_nodes: list[tuple[str | None, int]] = []
    sizes: dict[str, int] = {}
    nodes = 0
    for event in yaml.parse(data, Loader=_LOADER):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise CheckpointError(f"{where}: the alias '*{event.anchor}' stands for nothing, or contains itself")
            nodes += sizes[event.anchor]
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, nodes))
            nodes += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor:
                sizes[anchor] = nodes - before
        elif isinstance(event, yaml.ScalarEvent):
            nodes += 1
            if event.anchor:
                sizes[event.anchor] = 1
        if len(open_nodes) > MAX_DEPTH:
            raise CheckpointError(f"{where} is nested deeper than {MAX_DEPTH} levels, which no configuration needs")
        if nodes > MAX_NODES:
            raise CheckpointError(f"{where} grows beyond {MAX_NODES} values, which no configuration needs")


def _line(error: yaml.YAMLError) -> str:
    """A YAML error, which spans several lines, as one."""
    return " ".join(str(error).split())
