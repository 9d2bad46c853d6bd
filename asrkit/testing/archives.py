"""Writes ``.nemo`` archives without torch or NeMo, sound ones and broken ones.

``write_nemo`` makes what NeMo's ``save_to`` makes, so that a test or a demonstration has a model file of its
own. The smaller functions make each layer by itself (``state_pickle``, ``zip_archive``, ``tar_header``,
``tar_archive``), for files that are wrong in exactly one place.

Source: ``torch/serialization.py``, ``_save``; NeMo, ``nemo/core/connectors/save_restore_connector.py``.
"""

from __future__ import annotations

import io
import os
import struct
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import yaml

__all__ = [
    "BFloat16",
    "PickledTensor",
    "pickle_call",
    "pickle_text",
    "state_pickle",
    "tar_archive",
    "tar_header",
    "torch_archive",
    "write_nemo",
    "zip_archive",
]

_STORAGES = {
    "<f8": "DoubleStorage",
    "<f4": "FloatStorage",
    "<f2": "HalfStorage",
    "<i8": "LongStorage",
    "<i4": "IntStorage",
    "<i2": "ShortStorage",
    "|i1": "CharStorage",
    "|u1": "ByteStorage",
    "|b1": "BoolStorage",
}


@attrs.frozen(eq=False)
class BFloat16:
    """An array to be written as bfloat16, which NumPy lacks: ``bits`` (uint16), float32's upper halves."""

    bits: np.ndarray

    @classmethod
    def rounded(cls, values: np.ndarray) -> BFloat16:
        """``values`` (finite float32) rounded to the nearest bfloat16, ties to even, as torch rounds."""
        wide = np.ascontiguousarray(values, np.float32).view(np.uint32).reshape(np.shape(values))
        return cls(((wide + 0x7FFF + ((wide >> 16) & 1)) >> 16).astype(np.uint16))

    @property
    def values(self) -> np.ndarray:
        """The exact values, as float32."""
        return np.asarray(self.bits.astype(np.uint32) << 16, np.uint32).view(np.float32)


Values = np.ndarray | BFloat16


@attrs.frozen
class PickledTensor:
    """What ``data.pkl`` states of one tensor; offset, shape and strides count elements of the storage."""

    storage: str
    key: str
    elements: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0
    location: str = "cpu"
    parameter: bool = False


def write_nemo(
    path: str | os.PathLike[str],
    config: Mapping[str, Any] | str,
    tensors: Mapping[str, Values],
    files: Mapping[str, bytes] | None = None,
    *,
    prefix: str = "./",
    root: str = "model_weights",
    location: str = "cpu",
    alignment: int = 64,
    models: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Values]]] | None = None,
) -> Path:
    """Write a ``.nemo`` archive as NeMo does, which torch and NeMo read as well.

    Args:
        path: Where to.
        config: The model's configuration, or the text of ``model_config.yaml`` itself.
        tensors: The state dict. Views of one array share a storage, strided ones keep their strides.
        files: Further members by their base name.
        prefix: Stands before each member's name: ``"./"`` (NeMo) or ``""``.
        root: The folder inside ``model_weights.ckpt``; ``"archive"`` in those of old torch versions.
        location: The device that the storages claim to come from.
        alignment: Bytes to whose multiples storages are aligned in the torch file: 64 in new torch versions.
        models: Further models by the prefix of their members, each a configuration and tensors.

    Returns:
        The path.
    """
    members: list[tuple[str, bytes]] = []
    for before, (settings, state) in {"": (config, tensors), **(models or {})}.items():
        text = settings if isinstance(settings, str) else yaml.safe_dump(dict(settings), sort_keys=False)
        members.append((f"{before}model_config.yaml", text.encode()))
        weights = torch_archive(state, root=root, location=location, alignment=alignment)
        members.append((f"{before}model_weights.ckpt", weights))
    members += (files or {}).items()
    folder = tar_header(prefix, 0, b"5") if prefix else b""
    path = Path(path)
    path.write_bytes(folder + tar_archive((prefix + name, data) for name, data in members))
    return path


def torch_archive(
    tensors: Mapping[str, Values], *, root: str = "model_weights", location: str = "cpu", alignment: int = 64
) -> bytes:
    """What ``torch.save`` writes for a state dict of ``tensors``: see ``write_nemo``."""
    records: dict[str, PickledTensor] = {}
    storages: list[np.ndarray] = []
    keys: dict[tuple[int, str], int] = {}
    for name, given in tensors.items():
        array = given.bits if isinstance(given, BFloat16) else given
        storage, dtype = _owner(array), _storage(given)
        if not _expressible(array, storage):  # a reversed or otherwise unusual view: written as it looks
            array = storage = np.ascontiguousarray(array).reshape(array.shape)
        key = keys.setdefault((id(storage), dtype), len(storages))
        if key == len(storages):
            storages.append(storage)  # which also keeps its id from being given to another
        start = _address(array) - _address(storage) if array.size else 0
        records[name] = PickledTensor(
            dtype,
            str(key),
            storage.size,
            array.shape,
            tuple(step // array.itemsize for step in array.strides),
            start // array.itemsize,
            location,
        )
    entries = [("data.pkl", state_pickle(records)), ("byteorder", b"little")]
    entries += [(f"data/{key}", storage.tobytes("A")) for key, storage in enumerate(storages)]
    entries += [("version", b"3\n")]
    return zip_archive([(f"{root}/{name}", data) for name, data in entries], alignment=alignment)


def _owner(array: np.ndarray) -> np.ndarray:
    """The outermost array of the same dtype that ``array`` is a view of."""
    while isinstance(array.base, np.ndarray) and array.base.dtype == array.dtype and array.base.flags.forc:
        array = array.base
    return array


def _expressible(array: np.ndarray, storage: np.ndarray) -> bool:
    """Whether torch can express ``array`` as a view of ``storage``."""
    steps = all(step >= 0 and step % array.itemsize == 0 for step in array.strides)
    return bool(storage.flags.forc) and steps and array.dtype == storage.dtype


def _address(array: np.ndarray) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _storage(given: Values) -> str:
    if isinstance(given, BFloat16):
        return "BFloat16Storage"
    try:
        return _STORAGES[given.dtype.str]
    except KeyError:
        raise ValueError(f"torch has no storage for the dtype {given.dtype.str!r}") from None


def pickle_text(text: str) -> bytes:
    """The instruction that puts a string on the pickle machine's stack."""
    raw = text.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def _pickle_number(number: int) -> bytes:
    if 0 <= number < 256:
        return b"K" + bytes([number])
    if -(1 << 31) <= number < 1 << 31:
        return b"J" + struct.pack("<i", number)
    raw = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def _pickle_counts(numbers: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(_pickle_number, numbers)) + b"t" if numbers else b")"


def pickle_call(function: str, *arguments: bytes) -> bytes:
    """The instructions that call ``"module.name"`` with arguments, which are instructions themselves."""
    module, _, name = function.rpartition(".")
    return f"c{module}\n{name}\n".encode() + b"(" + b"".join(arguments) + b"tR"


def _pickle_tensor(tensor: PickledTensor) -> bytes:
    hooks = b"ccollections\nOrderedDict\n)R"
    identity = b"(" + pickle_text("storage") + f"ctorch\n{tensor.storage}\n".encode() + pickle_text(tensor.key)
    identity += pickle_text(tensor.location) + _pickle_number(tensor.elements) + b"tQ"
    made = pickle_call(
        "torch._utils._rebuild_tensor_v2",
        identity,
        _pickle_number(tensor.offset),
        _pickle_counts(tensor.shape),
        _pickle_counts(tensor.strides),
        b"\x89",
        hooks,
    )
    return pickle_call("torch._utils._rebuild_parameter", made, b"\x88", hooks) if tensor.parameter else made


def state_pickle(tensors: Mapping[str, PickledTensor | bytes]) -> bytes:
    """The ``data.pkl`` of a state dict, pickle protocol 2, with the ``_metadata`` that a module's has.

    A value given as ``bytes`` is a run of pickle instructions that takes a tensor's place.
    """
    made = b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01("
    for name, value in tensors.items():
        made += pickle_text(name) + (value if isinstance(value, bytes) else _pickle_tensor(value))
    metadata = b"h\x00)R" + pickle_text("") + b"}" + pickle_text("version") + b"K\x01ss"
    return made + b"u}" + pickle_text("_metadata") + metadata + b"sb."


def zip_archive(
    entries: Iterable[tuple[str, bytes]], *, alignment: int = 64, compression: int = zipfile.ZIP_STORED
) -> bytes:
    """A zip archive with the same bytes each time. The padding to ``alignment`` is in torch's extra field."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in entries:
            entry = zipfile.ZipInfo(name)
            entry.compress_type = compression
            behind = file.tell() + 30 + len(name.encode()) + 4
            if alignment > 1:
                padding = -behind % alignment
                entry.extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
            archive.writestr(entry, data)
    return file.getvalue()


def tar_header(name: str | bytes, size: int | bytes, kind: bytes = b"0", *, link: str = "") -> bytes:
    """One ustar header with its right checksum. Fields given as bytes are taken as they are."""
    raw = name.encode() if isinstance(name, str) else name
    length = f"{size:011o}\0".encode() if isinstance(size, int) else size
    ids = b"0000644\0" + 2 * b"0001750\0"
    begin = raw.ljust(100, b"\0") + ids + length.ljust(12, b"\0") + b"00000000000\0"
    end = kind + link.encode().ljust(100, b"\0") + b"ustar\x0000"
    if len(begin) != 148:
        raise ValueError(f"{raw!r} or {length!r} is too long for a tar header")
    checksum = sum(begin) + 8 * 32 + sum(end)
    return (begin + f"{checksum:06o}\0 ".encode() + end).ljust(tarfile.BLOCKSIZE, b"\0")


def tar_archive(members: Iterable[tuple[str, bytes]], *, ending: bytes = bytes(1024)) -> bytes:
    """A tar archive of regular files with short names, and the two empty blocks that end it."""
    pieces = []
    for name, data in members:
        pieces += [tar_header(name, len(data)), data, bytes(-len(data) % tarfile.BLOCKSIZE)]
    return b"".join(pieces) + ending
