"""Reads and writes ``model.safetensors`` in place and as a stream.

The ``safetensors`` package's NumPy side copies every tensor on reading, holds the whole file when writing and
has no bfloat16; the format is one JSON header and the bytes. Tensors that are one under several names are
written once; the header's ``__metadata__`` then has, under ``"tied"``, a JSON object of alias to name.

Source: the safetensors README, "Format".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from asrkit.checkpoints.configuration import pairs_once
from asrkit.checkpoints.mapped import DTYPES, Buffer, MappedTensors, Overlaid, Stored
from asrkit.errors import CheckpointError

__all__ = ["MAX_HEADER", "header_of", "read_safetensors", "write_safetensors"]

MAX_HEADER = 100_000_000
"""Bytes; the safetensors library's own limit."""
MAX_AXES = 32
TIED = "tied"
_ALIGN = 64
"""The header is padded to a multiple of this many bytes, so that the tensors start on a cache line."""
_BLOCK = 1 << 22


def header_of(data: Buffer, where: str) -> bytes:
    """The JSON header's bytes."""
    length = int.from_bytes(data[:8], "little")
    if length > min(MAX_HEADER, len(data) - 8) or data[8:9] != b"{":
        raise CheckpointError(f"{where} is not a safetensors file, or cut short: it begins with {data[:16]!r}")
    return data[8 : 8 + length]


def read_safetensors(data: Buffer, where: str) -> dict[str, Stored]:
    """Where each tensor lies in ``data``, by name and in the header's order; tied names come last.

    Args:
        data: The whole file.
        where: Its name, quoted, for messages.

    Raises:
        CheckpointError: damaged, cut short, or holding a dtype that is not in ``DTYPES`` (such as F8_E4M3).
    """
    raw = header_of(data, where)
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=pairs_once)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{where}: the safetensors header is not JSON that can be read: {error}") from None
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CheckpointError(f"{where}: the safetensors '__metadata__' is not a mapping of strings")
    start = 8 + len(raw)
    spans: list[tuple[int, int, str]] = []
    entries: dict[str, Stored] = {}
    for name, entry in header.items():
        dtype, shape, first, last = _entry(name, entry, where)
        entries[name] = Stored.contiguous(dtype, shape, start + first)
        if entries[name].nbytes != last - first:
            raise CheckpointError(
                f"{where}: the tensor {name!r}, {dtype} of shape {shape}, has {entries[name].nbytes} bytes, "
                f"but its offsets are {first} and {last}"
            )
        spans.append((first, last, name))
    # The format allows neither overlaps nor holes: the tensors fill the rest of the file exactly.
    end = 0
    for first, last, name in sorted(spans):
        if first != end:
            what = "overlaps the one before it" if first < end else "leaves a hole before it"
            raise CheckpointError(f"{where}: the tensor {name!r} at {first} {what}, which ends at {end}")
        end = last
    if start + end != len(data):
        raise CheckpointError(
            f"{where}: its tensors end at byte {start + end}, but the file at {len(data)}: "
            "it is damaged, download or copy it again"
        )
    return _with_tied(entries, metadata.get(TIED), where)


def _entry(name: str, entry: object, where: str) -> tuple[str, tuple[int, ...], int, int]:
    """Dtype, shape and the two offsets of one header entry, checked for kind but not against the file."""
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [first, last]}:
            numbers = [*shape, first, last]
            if len(shape) <= MAX_AXES and all(type(number) is int and 0 <= number < 1 << 62 for number in numbers):
                if dtype not in DTYPES:
                    raise CheckpointError(
                        f"{where}: the tensor {name!r} is {dtype!r}, which NumPy cannot hold; supported are "
                        f"{', '.join(sorted(DTYPES))}"
                    )
                return dtype, tuple(shape), first, last
    raise CheckpointError(f"{where}: the header's entry for the tensor {name!r} is damaged")


def _with_tied(entries: dict[str, Stored], tied: str | None, where: str) -> dict[str, Stored]:
    """The entries and their aliases, each the very same tensor as the name it stands for."""
    if tied is None:
        return entries
    try:
        aliases = json.loads(tied, object_pairs_hook=pairs_once)
        known = {alias: entries[name] for alias, name in aliases.items() if alias not in entries}
        sound = len(known) == len(aliases)
    except (ValueError, RecursionError, AttributeError, TypeError, KeyError):
        sound = False
    if not sound:
        raise CheckpointError(f"{where}: the header's list of tied tensors is damaged")
    return entries | known


def write_safetensors(file: BinaryIO, tensors: Mapping[str, np.ndarray]) -> None:
    """Write ``tensors`` as a safetensors file, one at a time, with bfloat16 as it was stored.

    Raises:
        CheckpointError: a dtype that safetensors or ``DTYPES`` does not have.
    """
    described: dict[str, tuple[str, tuple[int, ...]]] = {}
    tied: dict[str, str] = {}
    first_names: dict[object, str] = {}
    for name in tensors:
        dtype, array = _stored(tensors, name)
        first = first_names.setdefault(_place(tensors, name, array), name)
        if first == name:
            described[name] = dtype, array.shape
        else:
            tied[name] = first
    # Wide elements come first, so that each tensor begins at a multiple of its own element.
    order = sorted(described, key=lambda name: -DTYPES[described[name][0]].itemsize)
    ends: dict[str, int] = {}
    end = 0
    for name in order:
        dtype, shape = described[name]
        end += Stored.contiguous(dtype, shape, 0).nbytes
        ends[name] = end
    header: dict[str, Any] = {"__metadata__": {TIED: json.dumps(tied)}} if tied else {}
    for name, (dtype, shape) in described.items():
        size = Stored.contiguous(dtype, shape, 0).nbytes
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [ends[name] - size, ends[name]]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-(8 + len(text)) % _ALIGN)
    file.write(len(text).to_bytes(8, "little") + text)
    for name in order:
        dtype, array = _stored(tensors, name)
        _write_array(file, np.ascontiguousarray(array).astype(DTYPES[dtype], copy=False))


def _write_array(file: BinaryIO, array: np.ndarray) -> None:
    view = array.reshape(-1).view(np.uint8).data
    for start in range(0, len(view), _BLOCK):
        file.write(view[start : start + _BLOCK])


def _stored(tensors: Mapping[str, np.ndarray], name: str) -> tuple[str, np.ndarray]:
    """A tensor's dtype in safetensors' spelling, and its bytes as stored."""
    if isinstance(tensors, Overlaid):
        tensors = tensors.holder(name)
    if isinstance(tensors, MappedTensors):
        return tensors.stored(name).dtype, tensors.raw(name)
    array = tensors[name]
    for dtype, known in DTYPES.items():
        if dtype != "BF16" and array.dtype.newbyteorder("=") == known.newbyteorder("="):
            return dtype, array
    raise CheckpointError(f"the tensor {name!r} is {array.dtype.name!r}, which safetensors does not have")


def _place(tensors: Mapping[str, np.ndarray], name: str, array: np.ndarray) -> object:
    """A key that is equal for names of one and the same tensor."""
    if isinstance(tensors, Overlaid):
        tensors = tensors.holder(name)
    if isinstance(tensors, MappedTensors):
        return tensors.stored(name)
    # Only a dict is known to hold its arrays; one that was built for us may get the address of one now gone.
    if not isinstance(tensors, dict) or not array.size:
        return name
    return array.dtype.str, array.shape, array.strides, array.__array_interface__["data"][0]
