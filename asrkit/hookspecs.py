"""The five hooks of a plugin. Implement them with ``@asrkit.hookimpl`` in the module of an ``asrkit`` entry point.

The module also says which interface it was written for: ``ASRKIT_INTERFACE = 1``.

Every factory may be a callable or a ``"module:attribute"`` string that is imported when it is first used: with
strings, listing what is registered imports no model code.
"""

from __future__ import annotations

from typing import Any

import pluggy

__all__ = ["INTERFACE", "hookimpl", "hookspec"]

INTERFACE = 1
"""The interface of plugins: these hooks, and the Protocols of ``asrkit.interfaces``. It rises when a plugin that was
written before has to be changed."""

hookspec = pluggy.HookspecMarker("asrkit")
hookimpl = pluggy.HookimplMarker("asrkit")


@hookspec
def register_backends(register: Any) -> None:
    """Register backends: ``register(name, factory, probe)``.

    ``factory(device=None, threads=None)`` makes the backend, and may lack either argument; ``probe()`` returns None if
    it can run here, else the reason why not.
    """


@hookspec
def register_parts(register: Any) -> None:
    """Register parts by kind: ``register.KIND(name, factory)``.

    Another plugin that takes a part from the registry calls its factory like this; ``weights`` are a scope of
    ``asrkit.weights.Weights`` and ``config`` a section of ``asrkit.config.Config``:

    - ``frontend``: ``factory(weights, config, **settings)``
    - ``encoder``: ``factory(weights, config)``
    - ``decoder``: ``factory(weights, config, width)``, with the whole model's weights and configuration and the width
      of the encoder's states
    - ``tokenizer``: ``factory(config, checkpoint)``
    - ``dialect``: ``factory(tokenizer, config, spec, **facts)``, with the whole configuration
    - ``strategy``: an attrs class, whose fields are options
    - ``segmenter``: ``factory()``
    - ``checkpoint``: a class with ``recognises(path)`` and ``open(path)``
    """


@hookspec
def register_models(register: Any) -> None:
    """Register models that can be asked for by name: ``register(ModelSpec(...))``."""


@hookspec
def register_formats(register: Any) -> None:
    """Register output formats: ``register(name, write, suffix, single=False)``.

    ``write(transcripts, file)`` takes an iterable of transcripts, which yields them as they are made, and a text file;
    a keyword ``tokens`` says that it can also write token ids, a keyword ``layout`` that it takes an
    ``asrkit.subtitles.Layout`` or None. ``suffix`` ends file names. ``single`` says that a file holds one recording:
    the iterable then yields one transcript, or none where the recording failed.
    """


@hookspec
def register_commands(cli: Any) -> None:
    """Add commands to the command line: ``cli.add_command(command)`` with a click command."""
