"""Whose code failed: what a plugin's part raises by mistake becomes one line that names the part and the plugin."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from asrkit.errors import AsrkitError, PluginError
from asrkit.options import WORDS
from asrkit.registry import reason

__all__ = ["Watched", "blaming", "trace"]

logger = logging.getLogger("asrkit")


@contextmanager
def blaming(what: str, *passed: type[Exception]) -> Iterator[None]:
    """Turn an error inside into a PluginError that says whose it is; its traceback goes to the log, for ``-vv``.

    Args:
        what: the part and its plugin, such as ``strategy 'sampling' of plugin 'example'``.
        passed: errors that may be somebody else's, beside asrkit's own and MemoryError.

    Raises:
        PluginError: in place of any other exception.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, (AsrkitError, MemoryError, *passed)):
            raise
        story = traceback.format_exc().rstrip()
        logger.debug("%s", story)
        trace(story)
        raise PluginError(f"{what} failed: {reason(error)}") from error


class Watched:
    """A part, of which every call that fails is told with the part's name. It has all that the part has.

    Args:
        part: the part itself.
        what: it and its plugin, as for :func:`blaming`.
    """

    def __init__(self, part: Any, what: str) -> None:
        self._part, self._what = part, what

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._part, name)
        return partial(self._call, value) if callable(value) and not isinstance(value, type) else value

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call the part itself."""
        return self._call(self._part, *args, **options)

    def _call(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        with blaming(self._what):
            result = function(*args, **options)
        return self._watch(result) if isinstance(result, Iterator) else result

    def _watch(self, items: Iterator[Any]) -> Iterator[Any]:
        with blaming(self._what):
            yield from items


def trace(line: str) -> None:
    """Tell what plugins do on stderr, where ASRKIT_TRACE_PLUGINS asks for it."""
    wish = os.environ.get("ASRKIT_TRACE_PLUGINS")
    if wish and WORDS.get(wish.lower(), True) and sys.stderr is not None:
        sys.stderr.write(f"asrkit: {line}\n")
