"""What a model is before anything is downloaded, and what it is made of once it is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from asrkit.interfaces import Aligner, Dialect, Encoder, Frontend, Tokenizer
from asrkit.values import Notice

__all__ = ["HubSource", "ModelSpec", "Parts", "PathSource"]


@attrs.frozen
class HubSource:
    """A model in a repository of the Hugging Face hub."""

    repo: str
    """``owner/name``."""
    file: str = ""
    """Path in the repository; empty for its only ``.nemo`` file, else the folder that ``asrkit convert`` wrote."""
    revision: str = "main"
    """A branch, a tag or a commit."""

    def __str__(self) -> str:
        return f"hf:{self.repo}{self.file and '/'}{self.file}@{self.revision}"


@attrs.frozen
class PathSource:
    """A file or folder on this machine."""

    path: str

    def __str__(self) -> str:
        return self.path


@attrs.frozen
class ModelSpec:
    """A model that can be asked for by name. Plain data: making one imports nothing."""

    name: str
    source: HubSource | PathSource
    build: str | Callable[..., Parts]
    """``build(checkpoint, backend, precision, spec, settings)``, or "module:function" naming it; ``spec`` is None for a
    checkpoint that was not asked for by name. Its attribute ``Settings``, if there is one, is an attrs class of
    load-time options."""
    decoder: str
    """Family of the decoder: ``attention``, ``ctc`` or ``transducer``."""
    strategy: str
    """The strategy it is decoded with by default."""
    languages: tuple[str, ...]
    tasks: tuple[str, ...]
    licence: str
    summary: str
    translations: tuple[tuple[str, str], ...] = ()
    """Pairs (from, to) that it translates."""
    parameters: int = 0
    longest: float | None = None
    """Seconds up to which it was trained, if its builder is not to assume what holds for its family."""
    targets: tuple[str, ...] = ()
    """Class names that a checkpoint's configuration may give as its ``target``: checkpoints of that class which
    nobody knows by name are built by the same function."""


@attrs.frozen
class Parts:
    """A recogniser in pieces, all built for one backend."""

    frontend: Frontend
    encoder: Encoder
    decoder: Any
    tokenizer: Tokenizer
    dialect: Dialect
    strategy: str
    """The strategy it is decoded with by default."""
    segmenter: str = "pauses"
    longest: float = float("inf")
    """Seconds of the longest clip it is meant for, usually up to which it was trained; a longer one gets a warning."""
    notices: tuple[Notice, ...] = ()
    """What a user should know about the checkpoint."""
    strategy_notices: tuple[Notice, ...] = ()
    """What a user should know about the default strategy; told where no other one was chosen."""
    aligner: Callable[[], Aligner] | None = None
    """Builds what tells when the words of a text are spoken, for a model that does not tell itself; called once, the
    first time that words' times are asked for."""
    extras: Mapping[str, Any] = attrs.field(factory=dict)
    """What else there is to know, by name; ``asrkit models show`` shows it."""
