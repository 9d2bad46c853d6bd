"""A typed view over a checkpoint's configuration: every value is checked where it is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from asrkit.errors import CheckpointError

__all__ = ["Config"]

_REQUIRED = object()


class Config:
    """One section of a configuration.

    Args:
        values: the section.
        source: the checkpoint's name for messages.
        path: where the section stands, such as ``encoder``.
    """

    def __init__(self, values: Mapping[str, Any], source: str = "checkpoint", path: str = "") -> None:
        self.values = values
        self.source = source
        self.path = path

    def __contains__(self, key: str) -> bool:
        return self.values.get(key) is not None

    def section(self, key: str, optional: bool = False) -> Config:
        """The section below ``key``; an absent optional one is empty."""
        value = self.values.get(key)
        if value is None and optional:
            value = {}
        if not isinstance(value, Mapping):
            raise self.error(key, "a section")
        return Config(value, self.source, self._name(key))

    def integer(self, key: str, default: Any = _REQUIRED, least: int | None = None) -> int:
        """A whole number, at least ``least``."""
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(key, "a whole number")
        if least is not None and value < least:
            raise self.error(key, f"a whole number from {least} on")
        return value

    def divisor(self, key: str, of: int, default: Any = _REQUIRED) -> int:
        """A whole number that divides ``of``, such as a number of heads."""
        value = self.integer(key, default)
        if value < 1 or of % value:
            raise self.error(key, f"a divisor of the width {of}")
        return value

    def number(self, key: str, default: Any = _REQUIRED, above: float = -math.inf) -> float:
        """A finite number greater than ``above``."""
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
            raise self.error(key, "a finite number")
        if value <= above:
            raise self.error(key, f"a number above {above:g}")
        return float(value)

    def boolean(self, key: str, default: Any = _REQUIRED) -> bool:
        """True or false."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise self.error(key, "true or false")
        return value

    def string(self, key: str, default: Any = _REQUIRED) -> str:
        """A string."""
        value = self._get(key, default)
        if not isinstance(value, str):
            raise self.error(key, "a string")
        return value

    def choice(self, key: str, *allowed: Any, default: Any = _REQUIRED) -> Any:
        """One of the values that are built here."""
        value = self._get(key, default)
        if not any(value == item and isinstance(value, bool) == isinstance(item, bool) for item in allowed):
            raise self.error(key, " or ".join(repr(item) for item in allowed))
        return value

    def error(self, key: str, wanted: str) -> CheckpointError:
        """The error for a value that is not ``wanted``."""
        found = repr(self.values[key])[:200] if key in self.values else "nothing"
        return CheckpointError(
            f"{self.source}: its configuration has {found} at {self._name(key)!r}, asrkit can run {wanted}"
        )

    def _get(self, key: str, default: Any) -> Any:
        value = self.values.get(key)
        if value is not None:
            return value
        if default is _REQUIRED:
            raise self.error(key, "only with a value there")
        return default

    def _name(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key
