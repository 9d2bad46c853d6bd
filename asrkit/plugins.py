"""Finds plugins, calls their hooks one plugin at a time, and keeps a broken one from breaking the rest."""

from __future__ import annotations

import functools
import os
import threading
import time
import traceback
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import attrs
import pluggy

from asrkit import builtins, hookspecs
from asrkit.blame import trace
from asrkit.errors import PluginError
from asrkit.hookspecs import INTERFACE
from asrkit.registry import KINDS, Registry, reason, registers, twice

__all__ = ["CORE", "GROUP", "Plugin", "Plugins", "load_plugins", "registry", "restricted"]

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
        self.commands: dict[str, dict[str, Any]] = {}
        """The commands that each plugin added, by name, once they were asked to."""
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

    def register_commands(self, group: Callable[[], Any]) -> None:
        """Let every plugin add its commands, each to a click group of its own; asked again it does nothing."""
        if self.commands:
            return
        for name in list(self._modules):
            cli = group()
            try:
                self._call(name, "register_commands", {"cli": cli})
            except (Exception, SystemExit) as problem:
                error = self.registry.broken[name] = self._break(name, problem)
                self.found = [attrs.evolve(p, error=error) if p.name == name else p for p in self.found]
            else:
                self.commands[name] = dict(cli.commands)

    def clashes(self) -> list[str]:
        """A line for each name that several plugins registered, which to ask for is an error."""
        found = [str(error) for error in self.registry.clashes()]
        names = sorted({name for commands in self.commands.values() for name in commands})
        return found + [str(error) for name in names if (error := self.command_clash(name))]

    def command_clash(self, name: str) -> PluginError | None:
        """What is wrong with a command that several plugins added, or None."""
        owners = [plugin for plugin, commands in self.commands.items() if name in commands]
        return None if len(owners) < 2 else twice("command", name, owners)

    def _add(self, name: str, load: Any, distribution: tuple[str, str]) -> None:
        if name in self._modules:
            second = PluginError(f"plugin {name!r} is installed twice; uninstall one of the distributions")
            self.found.append(Plugin(name, *distribution, second))
            self.registry.broken.setdefault(name, second)
            return
        error: PluginError | None = None
        try:
            start = time.perf_counter()
            module = load()
            trace(f"plugin {name!r}: imported {_describe(module)} in {1000 * (time.perf_counter() - start):.1f} ms")
            _check_interface(module, name, distribution)
            self._manager.register(module, name)
            self._modules[name] = module
            # A misspelt hook would otherwise never be called and never be noticed.
            self._manager.check_pending()
            arguments = registers(self.registry, name)
            for hook in HOOKS:
                self._call(name, hook, {"register": arguments[hook]})
            where: str = getattr(module, "__module__", None) or module.__name__  # it may be an object of a module
            self.registry.packages[where.partition(".")[0]] = name
        except (Exception, SystemExit) as problem:
            error = self._break(name, problem)
        self._note(name, distribution, error)

    def _note(self, name: str, distribution: tuple[str, str], error: PluginError | None) -> None:
        self.found.append(Plugin(name, *distribution, error))
        if error is not None:
            self.registry.broken[name] = error

    def _break(self, name: str, problem: BaseException) -> PluginError:
        if self._manager.has_plugin(name):
            self._manager.unregister(name=name)
        self._modules.pop(name, None)
        self.registry.drop(name)
        trace(f"plugin {name!r}: {''.join(traceback.format_exception(problem)).rstrip()}")
        if isinstance(problem, PluginError):
            return problem
        return PluginError(f"plugin {name!r} is broken: {reason(problem)}")

    def _call(self, name: str, hook: str, arguments: dict[str, Any]) -> None:
        """Call one hook of one plugin."""
        module = self._modules[name]
        before = self._names(name)
        others = [other for other in self._modules.values() if other is not module]
        self._manager.subset_hook_caller(hook, others)(**arguments)
        if any(caller.name == hook for caller in self._manager.get_hookcallers(module) or ()):
            added = [one for one in self._names(name) if one not in before]
            added += [f"command {one}" for one in getattr(arguments.get("cli"), "commands", ())]
            trace(f"plugin {name!r}: {hook}: {', '.join(added) or 'nothing'}")

    def _names(self, plugin: str) -> list[str]:
        """What a plugin registered so far."""
        entries = (entry for kind in KINDS for entry in self.registry.entries(kind))
        return [f"{entry.kind} {entry.name}" for entry in entries if entry.plugin == plugin]


def _check_interface(module: Any, name: str, distribution: tuple[str, str]) -> None:
    """Refuse a plugin that was written for another interface, before any of its hooks is called."""
    found = getattr(module, "ASRKIT_INTERFACE", None)
    if type(found) is not int:
        raise PluginError(
            f"plugin {name!r} does not say which interface it was written for: its module needs ASRKIT_INTERFACE = "
            f"{INTERFACE}, found {found!r}"
        )
    if found != INTERFACE:
        older = distribution[0] or "the plugin"
        raise PluginError(
            f"plugin {name!r} was written for interface {found} of plugins, this asrkit has {INTERFACE}; upgrade "
            f"{older if found < INTERFACE else 'asrkit-core'}"
        )


def _describe(module: Any) -> str:
    return f"{getattr(module, '__name__', module)} from {getattr(module, '__file__', None) or 'no file'}"


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
