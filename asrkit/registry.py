"""What is registered under which name, and by whom."""

from __future__ import annotations

import importlib
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from asrkit.errors import PluginError, UnknownNameError, listed, suggestion
from asrkit.models import ModelSpec

__all__ = ["KINDS", "PARTS", "Entry", "PartRegister", "Registry", "reason", "registers", "resolve", "twice"]

PARTS = ("frontend", "encoder", "decoder", "tokenizer", "strategy", "dialect", "segmenter", "checkpoint")
KINDS = ("backend", *PARTS, "model", "format")


@attrs.frozen
class Entry:
    """One registration."""

    kind: str
    name: str
    plugin: str
    factory: Any
    """A callable, a "module:attribute" string, or a ModelSpec."""
    probe: Any = None
    """Of a backend: a callable or string; gives None or the reason why it cannot run."""
    suffix: str = ""
    """Of a format: how its files end."""
    single: bool = False
    """Of a format: whether a file of it holds one recording."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r} of plugin {self.plugin!r}"

    def load(self) -> Any:
        """The factory itself, imported if it was registered as a string.

        Raises:
            PluginError: it cannot be imported.
        """
        try:
            return resolve(self.factory)
        except Exception as error:
            raise PluginError(f"{self} cannot be loaded: {reason(error)}") from error


class Registry:
    """Names to entries, kind by kind. Two owners of one name are an error only when that name is asked for."""

    def __init__(self) -> None:
        self._entries: dict[str, dict[str, list[Entry]]] = {kind: {} for kind in KINDS}
        self.broken: dict[str, PluginError] = {}
        """Plugins that could not be loaded."""
        self.packages: dict[str, str] = {}
        """Top-level packages of plugins, with the names of these: whose code an object is made of."""

    def add(self, entry: Entry) -> None:
        """Take an entry in."""
        if ":" in entry.name or not entry.name:
            raise ValueError(f"{entry.kind} name {entry.name!r}: a name is not empty and holds no colon")
        self._entries[entry.kind].setdefault(entry.name, []).append(entry)

    def drop(self, plugin: str) -> None:
        """Forget what a plugin registered."""
        for names in self._entries.values():
            for name in list(names):
                names[name] = [entry for entry in names[name] if entry.plugin != plugin]
                if not names[name]:
                    del names[name]

    def entries(self, kind: str) -> list[Entry]:
        """All entries of a kind, by name."""
        return [entry for name in sorted(self._entries[kind]) for entry in self._entries[kind][name]]

    def names(self, kind: str) -> list[str]:
        """All names of a kind, sorted."""
        return sorted(self._entries[kind])

    def describe(self, kind: str, part: object) -> str:
        """A part that was not taken from here by name: what it is, and whose."""
        cls = type(part)
        plugin = self.packages.get(cls.__module__.partition(".")[0])
        return f"{kind} {cls.__qualname__} of {f'plugin {plugin!r}' if plugin else f'module {cls.__module__!r}'}"

    def clashes(self) -> list[PluginError]:
        """The error of every name that has several owners."""
        return [
            twice(kind, name, [entry.plugin for entry in entries])
            for kind, names in self._entries.items()
            for name, entries in sorted(names.items())
            if len(entries) > 1
        ]

    def meant(self, kind: str, name: str) -> str:
        """What a builder means by a name, which was written before others could take it too: the core's part."""
        owners = [entry.plugin for entry in self._entries[kind].get(name, [])]
        return f"asrkit:{name}" if len(owners) > 1 and "asrkit" in owners else name

    def get(self, kind: str, name: str) -> Entry:
        """The entry of a name; ``plugin:name`` selects one of several owners.

        Raises:
            UnknownNameError: nobody registered it.
            PluginError: several plugins did.
        """
        if not isinstance(name, str):
            raise UnknownNameError(f"a {kind} is named by a string, found {type(name).__name__}")
        plugin, _, short = name.rpartition(":")
        found = self._entries[kind].get(short, [])
        if plugin:
            found = [entry for entry in found if entry.plugin == plugin]
        if len(found) == 1:
            return found[0]
        if found:
            raise twice(kind, short, [entry.plugin for entry in found])
        names = self.names(kind)
        broken = "".join(f"; {error}" for error in self.broken.values())
        raise UnknownNameError(
            f"there is no {kind} {name!r}{suggestion(name, names)}; there is: {listed(names)}{broken}"
        )


class PartRegister:
    """What ``register_parts`` receives: one method per kind of part."""

    def __init__(self, add: Callable[[str, str, Any], None]) -> None:
        for kind in PARTS:
            setattr(self, kind, _adder(add, kind))


def _adder(add: Callable[[str, str, Any], None], kind: str) -> Callable[[str, Any], None]:
    return lambda name, factory: add(kind, name, factory)


def registers(registry: Registry, plugin: str) -> Mapping[str, Any]:
    """The ``register`` argument of each hook, on behalf of one plugin."""

    def part(kind: str, name: str, factory: Any) -> None:
        registry.add(Entry(kind, name, plugin, factory))

    def backend(name: str, factory: Any, probe: Any) -> None:
        registry.add(Entry("backend", name, plugin, factory, probe=probe))

    def model(spec: ModelSpec) -> None:
        registry.add(Entry("model", spec.name, plugin, spec))

    def output(name: str, write: Any, suffix: str, single: bool = False) -> None:
        registry.add(Entry("format", name, plugin, write, suffix=suffix, single=single))

    return {
        "register_backends": backend,
        "register_parts": PartRegister(part),
        "register_models": model,
        "register_formats": output,
    }


def resolve(factory: Any) -> Any:
    """What a "module:attribute" string names; anything else is returned as it is."""
    if not isinstance(factory, str):
        return factory
    module, _, attribute = factory.partition(":")
    return operator.attrgetter(attribute)(importlib.import_module(module))


def twice(kind: str, name: str, owners: Sequence[str]) -> PluginError:
    """The error about a name that has several owners."""
    if len(set(owners)) == 1:
        return PluginError(f"{kind} {name!r} is registered {len(owners)} times by plugin {owners[0]!r}; uninstall it")
    ways = " or ".join(f"{owner}:{name}" for owner in owners)
    return PluginError(f"{kind} {name!r} is registered by {len(owners)} plugins; write {ways} to select one")


def reason(error: BaseException) -> str:
    """One line about an exception."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
