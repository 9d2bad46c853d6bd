"""A file mapped into memory, read-only, and the tensors that lie in it."""

from __future__ import annotations

import math
import mmap
import os
import stat
import weakref
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import attrs
import numpy as np

from asrkit.errors import CheckpointError

__all__ = ["DTYPES", "Buffer", "MappedFile", "MappedTensors", "Origin", "Overlaid", "Stored", "blocks_of", "origin_of"]

Buffer = bytes | mmap.mmap
"""What the readers parse: slices of both are ``bytes``."""

DTYPES: Mapping[str, np.dtype[np.generic]] = MappingProxyType(
    {
        "F64": np.dtype("<f8"),
        "F32": np.dtype("<f4"),
        "F16": np.dtype("<f2"),
        "BF16": np.dtype("<u2"),  # NumPy has no bfloat16: the bits, widened to float32 on access
        "I64": np.dtype("<i8"),
        "I32": np.dtype("<i4"),
        "I16": np.dtype("<i2"),
        "I8": np.dtype("i1"),
        "U64": np.dtype("<u8"),
        "U32": np.dtype("<u4"),
        "U16": np.dtype("<u2"),
        "U8": np.dtype("u1"),
        "BOOL": np.dtype("?"),
    }
)
"""The dtypes a checkpoint may hold, in safetensors' spelling, and how their bytes are viewed."""


@attrs.frozen
class Stored:
    """Where and how one tensor lies in a mapped file. Equal ones are one tensor under two names.

    Attributes:
        dtype: A key of ``DTYPES``.
        shape: Elements along each axis.
        strides: Bytes from one element to the next along each axis, none negative.
        offset: Bytes from the start of the file to the first element.
    """

    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    @classmethod
    def contiguous(cls, dtype: str, shape: tuple[int, ...], offset: int) -> Stored:
        """A tensor in C order that starts at ``offset``."""
        strides, step = [0] * len(shape), DTYPES[dtype].itemsize
        for axis in reversed(range(len(shape))):
            strides[axis] = step
            step *= shape[axis]
        return cls(dtype, shape, tuple(strides), offset)

    @property
    def nbytes(self) -> int:
        """Bytes of all its elements, each counted once for every place it takes."""
        return math.prod(self.shape) * DTYPES[self.dtype].itemsize

    @property
    def extent(self) -> int:
        """Bytes from the first element's start to the last one's end; 0 when it has none."""
        if 0 in self.shape:
            return 0
        steps = sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        return steps + DTYPES[self.dtype].itemsize


_MAPPED: weakref.WeakKeyDictionary[mmap.mmap, tuple[Path, int, int]] = weakref.WeakKeyDictionary()
"""Path, size and time of the file behind each map, which may outlive its MappedFile."""


class MappedFile:
    """One read-only memory map of a whole file.

    Attributes:
        path: The file.
        size: Its size in bytes.
        mtime_ns: When it was last changed, in nanoseconds.
        data: The map.

    Raises:
        CheckpointError: there is no such file, or it is a directory, empty or not readable.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        shown = repr(str(self.path))
        try:
            # Asked before opening: to open a pipe would wait for its other end.
            mode = self.path.stat().st_mode
            if stat.S_ISDIR(mode):
                raise CheckpointError(f"{shown} is a directory, not a checkpoint file")
            if not stat.S_ISREG(mode):
                raise CheckpointError(f"{shown} is not a regular file: a checkpoint has to be one to be mapped")
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                if not status.st_size:
                    raise CheckpointError(f"{shown} is empty: download or copy it again")
                self.data = mmap.mmap(file.fileno(), status.st_size, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            raise CheckpointError(f"there is no file {shown}") from None
        except (OSError, ValueError) as error:  # ValueError: NUL in the name
            reason = getattr(error, "strerror", None) or error
            raise CheckpointError(f"{shown} cannot be read: {reason}") from None
        self.size = status.st_size
        self.mtime_ns = status.st_mtime_ns
        _MAPPED[self.data] = self.path, self.size, self.mtime_ns

    def close(self) -> None:
        """Give the map back, or, while arrays still look into it, leave that to the last of them."""
        try:
            self.data.close()
        except BufferError:
            return


@attrs.frozen
class Origin:
    """Where the bytes of an array lie on disk."""

    path: Path
    offset: int


def origin_of(array: np.ndarray) -> Origin | None:
    """Where an array's bytes lie on disk in just its order, for a runtime that would map the file itself.

    None for one that is no contiguous view of a file mapped here, or whose file is no longer the one that was mapped.
    """
    if not array.flags.c_contiguous:
        return None
    owner: object = array
    while isinstance(owner, np.ndarray | memoryview):
        owner = owner.base if isinstance(owner, np.ndarray) else owner.obj
    if not isinstance(owner, mmap.mmap) or owner not in _MAPPED:
        return None
    path, *facts = _MAPPED[owner]
    try:
        status = path.stat()
    except OSError:
        return None
    if [status.st_size, status.st_mtime_ns] != facts:
        return None
    first = np.frombuffer(owner, np.uint8).__array_interface__["data"][0]
    return Origin(path.resolve(), array.__array_interface__["data"][0] - first)


def blocks_of(data: Buffer, offset: int, size: int, block: int = 1 << 20) -> Iterator[bytes]:
    """The ``size`` bytes at ``offset``, at most ``block`` at a time."""
    for start in range(offset, offset + size, block):
        yield data[start : min(start + block, offset + size)]


class MappedTensors(Mapping[str, np.ndarray]):
    """Tensors by name, in the file's order, each built when it is asked for.

    Every dtype but one is a read-only view into the map and copies nothing. bfloat16, which NumPy lacks, is
    widened to float32 (exactly) on access, and so is a copy of its own. Names that share one tensor give the
    very same array as long as somebody holds it.

    Args:
        data: The mapped file.
        entries: Where each tensor lies. They are trusted here: whoever read them checked them against the
            file.
        where: The file's name for messages.
    """

    def __init__(self, data: Buffer, entries: Mapping[str, Stored], where: str) -> None:
        self._data = data
        self._entries = dict(entries)
        self._where = where
        self._built: weakref.WeakValueDictionary[Stored, np.ndarray] = weakref.WeakValueDictionary()

    def __getitem__(self, name: str) -> np.ndarray:
        """The tensor. Raises KeyError for a name that is not there, CheckpointError after ``close``."""
        stored = self._entries[name]
        array = self._built.get(stored)
        if array is None:
            array = self.raw(name)
            if stored.dtype == "BF16":
                array = _widened(array)
            self._built[stored] = array
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def stored(self, name: str) -> Stored:
        """Where the tensor lies, without touching its bytes."""
        return self._entries[name]

    def raw(self, name: str) -> np.ndarray:
        """The tensor's own bytes as a view: as ``self[name]``, but bfloat16 stays what it is, as uint16."""
        stored = self._entries[name]
        if isinstance(self._data, mmap.mmap) and self._data.closed:
            raise CheckpointError(f"{self._where} was closed; open it again to read {name!r}")
        dtype = DTYPES[stored.dtype]
        # np.ndarray lets go of a buffer and keeps only the object, so a map could be closed under the array's
        # feet; np.frombuffer holds on to it, and with it keeps the map open for as long as the array lives.
        data = np.frombuffer(self._data, np.uint8)
        if not stored.extent:  # nothing to look at, and strides without a meaning
            return np.ndarray(stored.shape, dtype, data)
        return np.ndarray(stored.shape, dtype, data, stored.offset, stored.strides)


class Overlaid(Mapping[str, np.ndarray]):
    """Tensors with others added and some left out; ``holder`` tells in which mapping one is."""

    def __init__(self, base: Mapping[str, np.ndarray], added: Mapping[str, np.ndarray], without: Iterable[str]) -> None:
        left_out = set(without)
        self._holders = {name: base for name in base if name not in left_out} | dict.fromkeys(added, added)

    def holder(self, name: str) -> Mapping[str, np.ndarray]:
        """The mapping that holds a tensor."""
        return self._holders[name]

    def __getitem__(self, name: str) -> np.ndarray:
        return self._holders[name][name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._holders)

    def __len__(self) -> int:
        return len(self._holders)


def _widened(bits: np.ndarray) -> np.ndarray:
    """bfloat16 bits as float32: they are its upper half."""
    wide = bits.astype(np.uint32)
    np.left_shift(wide, 16, out=wide)
    wide.flags.writeable = False
    return wide.view(np.float32)
