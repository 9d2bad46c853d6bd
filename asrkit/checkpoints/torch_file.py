"""Finds the tensors of a ``torch.save`` file that lies inside a mapped file, without reading their bytes.

Such a file is a zip archive of uncompressed entries: ``<root>/data.pkl`` describes the tensors,
``<root>/data/<key>`` are their storages. Several tensors may look into one storage, each with its own offset
and strides.

Source: ``torch/serialization.py``, ``_save`` and ``_load``.
"""

from __future__ import annotations

from asrkit.checkpoints.mapped import DTYPES, Buffer, Stored
from asrkit.checkpoints.torch_pickle import TensorRecord, read_state
from asrkit.checkpoints.zip import ZipIndex, read_zip
from asrkit.errors import CheckpointError

__all__ = ["read_torch"]

_PICKLE = "/data.pkl"


def read_torch(data: Buffer, offset: int, size: int, where: str) -> dict[str, Stored]:
    """Where each tensor of a saved state dict lies in ``data``, by name and in the file's order.

    Args:
        data: The outer file.
        offset: Where in it the torch file starts, in bytes.
        size: The torch file's size in bytes.
        where: Its name for messages.

    Raises:
        CheckpointError: damaged, big-endian, or not a plain state dict of tensors that lie in their storages.
    """
    index = read_zip(data, offset, size, where)
    pickles = [name for name in index.entries if name.endswith(_PICKLE)]
    if len(pickles) != 1:
        raise CheckpointError(
            f"{where}: it has {len(pickles)} zip entries that end in {_PICKLE!r}, a torch.save file has one"
        )
    root = pickles[0].removesuffix(_PICKLE)
    order = index.entries.get(f"{root}/byteorder")
    if order is not None:
        found = data[order.offset : order.offset + min(order.size, 16)]
        if found != b"little":
            raise CheckpointError(f"{where}: its byte order is {found!r}, only b'little' is read")
    entry = index.entries[pickles[0]]
    records = read_state(data[entry.offset : entry.offset + entry.size], where)
    # Aliases and expanded tensors may well name more bytes than there are, but not without end: what is
    # mapped for nothing here would be computed with later.
    budget = 16 * size + (1 << 20)
    tensors = {}
    for name, record in records.items():
        stored = _place(name, record, index, root, where)
        budget -= stored.nbytes
        if budget < 0:
            raise CheckpointError(
                f"{where}: its tensors up to {name!r}, of shape {stored.shape}, claim more than 16 times the "
                f"{size} bytes of the file"
            )
        tensors[name] = stored
    return tensors


def _place(name: str, record: TensorRecord, index: ZipIndex, root: str, where: str) -> Stored:
    """The record as bytes in the outer file, after checking that all of it lies in its storage."""
    storage = record.storage
    itemsize = DTYPES[storage.dtype].itemsize
    entry = index.entries.get(f"{root}/data/{storage.key}")
    if entry is None:
        raise CheckpointError(f"{where}: the storage {storage.key!r} of the tensor {name!r} is not there")
    if entry.size < storage.elements * itemsize:
        raise CheckpointError(
            f"{where}: the storage {storage.key!r} of the tensor {name!r} has {entry.size} bytes, but "
            f"{storage.elements} elements of {storage.dtype} need {storage.elements * itemsize}"
        )
    stored = Stored(
        storage.dtype,
        record.shape,
        tuple(step * itemsize for step in record.strides),
        entry.offset + record.offset * itemsize,
    )
    if record.offset * itemsize + stored.extent > storage.elements * itemsize:
        raise CheckpointError(
            f"{where}: the tensor {name!r} (offset {record.offset}, shape {record.shape}, strides "
            f"{record.strides}) leaves its storage of {storage.elements} elements"
        )
    return stored
