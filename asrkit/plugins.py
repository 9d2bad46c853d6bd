"""Finds plugins, calls their hooks one plugin at a time, and keeps a broken one from breaking the rest."""

from __future__ import annotations

import functools
import os
import threading
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import attrs
import pluggy

from asrkit import builtins, hookspecs
from asrkit.errors import PluginError
from asrkit.registry import Registry, reason, registers

__all__ = ["GROUP", "Plugins", "load_plugins", "registry", "restricted"]

GROUP = "asrkit"
"""The entry-point group."""

HOOKS = ("register_backends", "register_parts", "register_models", "register_formats")
CORE = "asrkit"


@attrs.frozen
class Plugin:
    """A plugin that was found."""

    name: str
    """The entry point's name; ``asrkit`` is the core itself."""
    distribution: str
    version: str
    error: PluginError | None = None


class Plugins:
    """The plugins of this installation and what they registered.

    Args:
        points: entry points to load instead of the installed ones.
        allowed: names to load, or None for all; by default the comma-separated ``ASRKIT_PLUGINS``.
    """

    def __init__(self, points: list[EntryPoint] | None = None, allowed: set[str] | None = None) -> None:
        self.registry = Registry()
        self.found: list[Plugin] = []
        self.commands: dict[str, list[str]] = {}
        """Names of the commands that each plugin added, once they were asked to."""
        self._manager = pluggy.PluginManager("asrkit")
        self._manager.add_hookspecs(hookspecs)
        self._modules: dict[str, Any] = {}
        self._add(CORE, lambda: builtins, _distribution(None))
        if points is None:
            points = sorted(entry_points(group=GROUP), key=lambda point: point.name)
        allowed = _allowed() if allowed is None else allowed
        for point in points:
            if allowed is None or point.name in allowed:
                self._add(point.name, point.load, _distribution(point))
        for name in sorted((allowed or set()) - {CORE} - {point.name for point in points}):
            self._note(name, ("", ""), PluginError(f"plugin {name!r} of ASRKIT_PLUGINS is not installed"))

    def register_commands(self, cli: Any) -> None:
        """Let every plugin add its commands."""
        for name in list(self._modules):
            before = set(cli.commands)
            self._call(name, "register_commands", {"cli": cli})
            self.commands[name] = sorted(set(cli.commands) - before)

    def _add(self, name: str, load: Any, distribution: tuple[str, str]) -> None:
        if name in self._modules:
            twice = PluginError(f"plugin {name!r} is installed twice; uninstall one of the distributions")
            self.found.append(Plugin(name, *distribution, twice))
            self.registry.broken.setdefault(name, twice)
            return
        error = None
        try:
            module = load()
            self._manager.register(module, name)
            self._modules[name] = module
            # A misspelt hook would otherwise never be called and never be noticed.
            self._manager.check_pending()
            arguments = registers(self.registry, name)
            for hook in HOOKS:
                self._call_raising(name, hook, {"register": arguments[hook]})
        except (Exception, SystemExit) as problem:
            error = self._break(name, problem)
        self._note(name, distribution, error)

    def _note(self, name: str, distribution: tuple[str, str], error: PluginError | None) -> None:
        self.found.append(Plugin(name, *distribution, error))
        if error is not None:
            self.registry.broken[name] = error

    def _break(self, name: str, problem: BaseException) -> PluginError:
        if name in self._modules and self._manager.has_plugin(name):
            self._manager.unregister(name=name)
            del self._modules[name]
            self.registry.drop(name)
        return PluginError(f"plugin {name!r} is broken: {reason(problem)}")

    def _call_raising(self, name: str, hook: str, arguments: dict[str, Any]) -> None:
        others = [module for other, module in self._modules.items() if other != name]
        self._manager.subset_hook_caller(hook, others)(**arguments)

    def _call(self, name: str, hook: str, arguments: dict[str, Any]) -> None:
        try:
            self._call_raising(name, hook, arguments)
        except Exception as problem:
            error = self._break(name, problem)
            self.registry.broken[name] = error
            self.found = [attrs.evolve(p, error=error) if p.name == name else p for p in self.found]


def restricted() -> str:
    """For a message about something that is not there: that ASRKIT_PLUGINS may be why, or nothing."""
    names = os.environ.get("ASRKIT_PLUGINS")
    return "" if names is None else f" (only the plugins of ASRKIT_PLUGINS={names!r} were loaded)"


def _allowed() -> set[str] | None:
    names = os.environ.get("ASRKIT_PLUGINS")
    return None if names is None else {name.strip() for name in names.split(",") if name.strip()}


def _distribution(point: EntryPoint | None) -> tuple[str, str]:
    if point is not None:
        return (point.dist.name, point.dist.version) if point.dist else ("", "")
    from asrkit import __version__

    return "asrkit-core", __version__


_lock = threading.Lock()


@functools.cache
def _plugins() -> Plugins:
    return Plugins()


def load_plugins() -> Plugins:
    """The plugins of this installation, loaded once per process."""
    with _lock:
        return _plugins()


def registry() -> Registry:
    """What the plugins of this installation registered."""
    return load_plugins().registry
