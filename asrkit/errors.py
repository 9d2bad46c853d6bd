"""Every error a user can meet, as one tree.

    AsrkitError                 one clear line: what was asked, what was found, what to do
    ├── UsageError              the call itself is wrong (command line: exit code 2)
    │   ├── OptionError         an option that does not exist here, or a value it cannot take
    │   └── UnknownNameError    nothing of that name is registered
    ├── AudioError              a recording that cannot be read or holds nothing usable
    ├── CheckpointError         a model file that is missing, broken, hostile or of an unknown kind
    │   └── WeightsError        tensors missing, left over or of the wrong shape
    ├── HubError                a model that cannot be had from the Hugging Face hub, or a cache that cannot be used
    ├── PluginError             a plugin that cannot be loaded, a mistake in its code, or two that claim one name
    ├── BackendError            a backend that cannot run here, or lacks what was asked
    └── SeamError               a part left the array subset (raised by the strict backend)

Anything else that escapes is a bug of asrkit.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "AsrkitError",
    "AudioError",
    "BackendError",
    "CheckpointError",
    "HubError",
    "OptionError",
    "PluginError",
    "SeamError",
    "UnknownNameError",
    "UsageError",
    "WeightsError",
    "listed",
    "suggestion",
]


class AsrkitError(Exception):
    """The root: ``str(error)`` is one line that can be shown to a user as it is."""


class UsageError(AsrkitError):
    """The call itself is wrong; nothing was started."""


class OptionError(UsageError):
    """An option does not exist for this model, strategy or backend, or cannot take the value."""


class UnknownNameError(UsageError):
    """Nothing of that name is registered."""


class AudioError(AsrkitError):
    """A recording cannot be read, or holds nothing usable."""


class CheckpointError(AsrkitError):
    """A model file is missing, broken, hostile or of an unknown kind."""


class WeightsError(CheckpointError):
    """Tensors are missing, left over or of the wrong shape."""


class HubError(AsrkitError):
    """A model cannot be had from the Hugging Face hub, or the hub's cache cannot be used."""


class PluginError(AsrkitError):
    """A plugin cannot be loaded, a part of it raised what no user can mend, or two plugins claim one name."""


class BackendError(AsrkitError):
    """A backend cannot run here, or lacks what was asked for."""


class SeamError(AsrkitError):
    """Graph-world code left the array subset; raised by the strict backend."""


def listed(names: Iterable[object], limit: int = 10) -> str:
    """Names sorted, joined by commas and cut at ``limit``, for use inside a message."""
    ordered = sorted(str(name) for name in names)
    shown = ", ".join(ordered[:limit]) or "none"
    return shown if len(ordered) <= limit else f"{shown} and {len(ordered) - limit} more"


def suggestion(name: str, names: Iterable[str]) -> str:
    """``" (did you mean 'x'?)"`` for the nearest of ``names``, or an empty string."""
    known = sorted(names)
    near = [other for other in known if name and other.startswith(name)] or difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
