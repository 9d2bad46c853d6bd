"""Quantised matrices beside a checkpoint: made once, kept in the cache or in a converted folder.

In a safetensors file a matrix ``x`` in few bits is two tensors, ``x.int8`` or ``x.int4`` and ``x.scales``, as
:class:`asrkit.quantize.Quantized` describes them.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from asrkit.checkpoints.mapped import MappedFile, MappedTensors, Overlaid
from asrkit.checkpoints.safetensors import read_safetensors, write_safetensors
from asrkit.errors import CheckpointError
from asrkit.interfaces import Checkpoint
from asrkit.quantize import BLOCK, QUANTIZED, Quantized, quantize
from asrkit.storage import cache_folder, write_whole

__all__ = ["CachedCheckpoint", "QuantizedCheckpoint", "combined", "precision_of", "split"]

VERSION = 1
"""Of the rules by which matrices are quantised: files of another one are made again."""

SCALES = ".scales"

log = logging.getLogger("asrkit")

Tensors = Mapping[str, "np.ndarray | Quantized"]


def combined(tensors: Mapping[str, np.ndarray], where: str) -> Tensors:
    """Tensors of a file, those that belong together as one :class:`Quantized` under their plain name.

    Raises:
        CheckpointError: scales are missing or do not fit.
    """
    found = [name for name in tensors if name.endswith(tuple(f".{kind}" for kind in QUANTIZED))]
    if not found:
        return tensors
    return _Combined(tensors, found, where)


def split(tensors: Tensors) -> Mapping[str, np.ndarray]:
    """The reverse of :func:`combined`; other tensors are those that they were, with their dtypes in the file."""
    if isinstance(tensors, _Combined):
        return tensors.stored
    plain: Any
    made: Mapping[str, Quantized]
    if isinstance(tensors, _Made):
        plain, made = tensors.plain, tensors.made
    else:
        # Asked for one by one: tensors may be built on access.
        found = ((name, tensors[name]) for name in tensors)
        plain, made = tensors, {name: tensor for name, tensor in found if isinstance(tensor, Quantized)}
    added: dict[str, np.ndarray] = {}
    for name, matrix in made.items():
        added[f"{name}.int{matrix.bits}"] = matrix.values
        added[name + SCALES] = matrix.scales
    return Overlaid(plain, added, made) if made else plain


def precision_of(tensors: Mapping[str, Any]) -> str | None:
    """``int4`` or ``int8`` if matrices among the tensors are quantised, else None."""
    kinds = getattr(tensors, "kinds", ())
    return next((kind for kind in ("int4", "int8") if kind in kinds), None)


class _Combined(Mapping[str, "np.ndarray | Quantized"]):
    def __init__(self, tensors: Mapping[str, np.ndarray], found: list[str], where: str) -> None:
        self.stored = tensors
        self._names: dict[str, tuple[str, str] | None] = {}
        self.kinds = {name.rpartition(".")[2] for name in found}
        parts = set()
        for name in found:
            plain = name.rpartition(".")[0]
            if plain in tensors or plain in self._names or plain + SCALES not in tensors:
                raise CheckpointError(
                    f"{where}: {name!r} is a quantised matrix without its {plain + SCALES!r}, or twice"
                )
            self._names[plain] = name, plain + SCALES
            parts |= {name, plain + SCALES}
            if not _fits(name, tensors[name], tensors[plain + SCALES]):
                raise CheckpointError(
                    f"{where}: {name!r} {tensors[name].dtype} {tensors[name].shape} and its scales "
                    f"{tensors[plain + SCALES].shape} make no quantised matrix"
                )
        self._names |= {name: None for name in tensors if name not in parts}

    def __getitem__(self, name: str) -> np.ndarray | Quantized:
        pair = self._names[name]
        return self.stored[name] if pair is None else Quantized(self.stored[pair[0]], self.stored[pair[1]])

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _fits(name: str, values: np.ndarray, scales: np.ndarray) -> bool:
    """Whether two tensors are a matrix of the kind that the name says."""
    if values.ndim != 2 or scales.dtype != np.float32:
        return False
    matrix = Quantized(values, scales)
    if name.endswith(".int8"):
        return values.dtype == np.int8 and scales.shape == matrix.shape[:1]
    expected = (matrix.shape[0], matrix.shape[1] // BLOCK)
    return values.dtype == np.uint8 and matrix.shape[1] % BLOCK == 0 and scales.shape == expected


class CachedCheckpoint:
    """A checkpoint that remembers its quantised matrices on disk.

    Args:
        checkpoint: what is wrapped. Without an ``identity``, nothing is remembered.
        precision: what its matrices are quantised to.
    """

    def __init__(self, checkpoint: Checkpoint, precision: str) -> None:
        self._checkpoint = checkpoint
        self._tensors = _Remembered(checkpoint, precision)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._checkpoint, name)

    def tensors(self) -> Mapping[str, Any]:
        """The checkpoint's own, with a method ``quantized(name, precision)``."""
        return self._tensors

    @property
    def made(self) -> Mapping[str, Quantized]:
        """The matrices that were asked for."""
        return self._tensors.asked

    @property
    def empty(self) -> bool:
        """Whether nothing was remembered of it so far."""
        return not self._tensors.kept

    def save(self) -> bool:
        """Write what was quantised anew, and tell whether anything was written.

        A cache that cannot be written costs time at the next start, no more.
        """
        return self._tensors.save()


class QuantizedCheckpoint:
    """A checkpoint with the matrices that its model multiplies with in few bits, for writing it as a folder.

    Args:
        checkpoint: the original.
        read: the wrapper of it that a model was built from.
    """

    def __init__(self, checkpoint: Checkpoint, read: CachedCheckpoint) -> None:
        self._checkpoint = checkpoint
        self._read = read

    def __getattr__(self, name: str) -> Any:
        return getattr(self._checkpoint, name)

    def tensors(self) -> Mapping[str, Any]:
        """All tensors, those matrices as :class:`Quantized`."""
        return _Made(self._checkpoint.tensors(), self._read.made)


class _Made(Mapping[str, Any]):
    """Tensors of which some are quantised now."""

    def __init__(self, plain: Mapping[str, Any], made: Mapping[str, Quantized]) -> None:
        self.plain, self.made = plain, made

    def __getitem__(self, name: str) -> Any:
        return self.made[name] if name in self.made else self.plain[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.plain)

    def __len__(self) -> int:
        return len(self.plain)


class _Remembered(Mapping[str, Any]):
    def __init__(self, checkpoint: Checkpoint, precision: str) -> None:
        self._tensors: Mapping[str, Any] = checkpoint.tensors()
        self._fresh = False
        self.kept: dict[str, Any] = {}
        self.asked: dict[str, Quantized] = {}
        self._path: Path | None = None
        identity = getattr(checkpoint, "identity", None)
        if identity is not None:
            key = hashlib.sha256(f"{identity} {precision} {VERSION}".encode()).hexdigest()[:32]
            self._path = cache_folder() / "quantized" / f"{key}.safetensors"
            self.kept.update(_read(self._path))

    def __getitem__(self, name: str) -> Any:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def quantized(self, name: str, precision: str) -> Quantized:
        """A matrix in few bits, from the cache or made now."""
        shape = self._tensors[name].shape[:2]
        bits = 4 if precision == "int4" and shape[1] % BLOCK == 0 else 8
        if name in self.asked and self.asked[name].bits != bits:
            # Remembered once a name: its other form is made each time.
            return quantize(self._tensors[name].reshape(shape), precision)
        kept = self.kept.get(name)
        if not isinstance(kept, Quantized) or kept.shape != shape or kept.bits != bits:
            self.kept[name] = kept = quantize(self._tensors[name].reshape(shape), precision)
            self._fresh = True
        self.asked[name] = kept
        return kept

    def save(self) -> bool:
        if not self._fresh or self._path is None:
            return False
        try:
            write_whole(self._path, lambda file: write_safetensors(file, split(self.kept)))
        except OSError as error:
            log.warning(
                "quantised weights were not kept in %s (%s): they are made again at every start",
                self._path.parent,
                error.strerror or error,
            )
            return False
        self._fresh = False
        return True


def _read(path: Path) -> Mapping[str, Any]:
    """The matrices of a cache file; nothing if there is none, or if it is damaged."""
    try:
        if not path.is_file():
            return {}
        file = MappedFile(path)
        tensors = MappedTensors(file.data, read_safetensors(file.data, repr(str(path))), repr(str(path)))
        return dict(combined(tensors, repr(str(path))))
    except (CheckpointError, OSError) as error:
        log.warning("%s; quantised weights are made again", error)
        return {}
