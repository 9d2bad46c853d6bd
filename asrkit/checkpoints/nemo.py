"""NVIDIA's ``.nemo`` archive, read in place: nothing is extracted and no weight is copied.

It is a plain tar: ``model_config.yaml``, ``model_weights.ckpt`` (what ``torch.save`` makes of a state dict)
and the files that the configuration points to with ``nemo:<name>``. Another model may lie beside the first
under a prefix, such as ``timestamps_asr_``.

Source: NeMo, ``nemo/core/connectors/save_restore_connector.py``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from asrkit.checkpoints.configuration import read_yaml
from asrkit.checkpoints.mapped import MappedFile, MappedTensors, blocks_of
from asrkit.checkpoints.tar import Member, is_tar, read_tar
from asrkit.checkpoints.torch_file import read_torch
from asrkit.checkpoints.zip import read_zip
from asrkit.errors import CheckpointError, listed, suggestion

__all__ = ["CONFIG", "MAX_FILE", "WEIGHTS", "NemoCheckpoint", "plain_name"]

CONFIG = "model_config.yaml"
WEIGHTS = "model_weights.ckpt"
MAX_FILE = 64 << 20
"""Bytes that ``file`` reads into memory; vocabularies and tokenizers have less than 1 MB."""


def plain_name(name: str) -> str:
    """A file's name as ``files()`` lists it, from one as configurations write it: ``nemo:./a`` is ``a``."""
    return name.removeprefix("nemo:").removeprefix("./")


class NemoCheckpoint:
    """A ``.nemo`` archive. Opening it reads the tar's headers and the configuration, nothing more.

    The file is mapped: it must not be changed in place while it is in use. To replace it by another is safe.

    Attributes:
        path: The archive.
        config: The model's configuration, its keys in the file's order.

    Raises:
        CheckpointError: there is no such file, or it is not a sound ``.nemo`` archive.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = MappedFile(path)
        self.path: Path = self._file.path
        self._where = repr(str(self.path))
        self._tensors: dict[str, MappedTensors] = {}
        try:
            self._index = read_tar(self._file.data, self._where)
            self._members = self._index.members
            missing = [name for name in (CONFIG, WEIGHTS) if name not in self._members]
            if missing:
                raise CheckpointError(
                    f"{self._where} is a tar archive but no NeMo model: it holds no {missing[0]!r}, "
                    f"only {listed(self._members)}"
                )
            self.config: Mapping[str, Any] = self._config(CONFIG)
        except BaseException:
            self._file.close()
            raise

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> NemoCheckpoint:
        """The archive at ``path``; the same as calling the class."""
        return cls(path)

    @classmethod
    def recognises(cls, path: str | os.PathLike[str]) -> bool:
        """Whether ``path`` is a file that ends in ``.nemo`` or is a tar. Never raises."""
        try:
            path = Path(path)
            return path.is_file() and (path.suffix.lower() == ".nemo" or is_tar(path))
        except (OSError, ValueError):
            return False

    @property
    def identity(self) -> str:
        """Tells this version of the file from others, without reading it: size, time, and a digest.

        The digest covers the tar's headers and the weights' zip directory, which holds a checksum of each
        tensor storage. A cache of converted weights is valid for as long as this stays the same.
        """
        member = self._members[WEIGHTS]
        table = read_zip(self._file.data, member.offset, member.size, self._inside(WEIGHTS)).directory
        directory = self._file.data[table.offset : table.offset + table.size]
        digest = hashlib.sha256(self._index.digest.encode() + directory).hexdigest()
        return f"{self._file.size}-{self._file.mtime_ns}-{digest[:32]}"

    def tensors(self) -> Mapping[str, np.ndarray]:
        """The model's tensors: read-only views of the file (bfloat16: float32 copies, made on access)."""
        return self._open_tensors(WEIGHTS)

    def files(self) -> tuple[str, ...]:
        """Names of all members but the configuration and the weights, in the archive's order."""
        return tuple(name for name in self._members if name not in (CONFIG, WEIGHTS))

    def file(self, name: str) -> bytes:
        """The content of a member.

        Args:
            name: As ``files()`` lists it, or as configurations write it: ``nemo:<name>``, ``./<name>``.

        Raises:
            CheckpointError: there is none of that name, or it has more than ``MAX_FILE`` bytes.
        """
        member = self._member(name)
        if member.size > MAX_FILE:
            raise CheckpointError(
                f"{self._inside(member.name)} has {member.size} bytes; at most {MAX_FILE} are read into memory"
            )
        return self._file.data[member.offset : member.offset + member.size]

    def blocks(self, name: str) -> Iterator[bytes]:
        """The content of a member of any size, in pieces of 1 MiB."""
        member = self._member(name)
        return blocks_of(self._file.data, member.offset, member.size)

    def open_model(self, prefix: str = "") -> tuple[Mapping[str, Any], Mapping[str, np.ndarray]]:
        """Configuration and tensors of the model whose members begin with ``prefix``, read as lazily.

        Args:
            prefix: Empty for the model itself, ``"timestamps_asr_"`` for the second model that some archives hold.

        Raises:
            CheckpointError: the archive holds no such model, or it is not sound.
        """
        if not prefix:
            return self.config, self.tensors()
        return self._config(prefix + CONFIG), self._open_tensors(prefix + WEIGHTS)

    def close(self) -> None:
        """Let go of the file. Arrays taken from ``tensors()`` stay valid and keep its map alive."""
        self._file.close()

    def __enter__(self) -> NemoCheckpoint:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"NemoCheckpoint({str(self.path)!r})"

    def _inside(self, name: str) -> str:
        return f"{self._where}, member {name!r}"

    def _member(self, name: str) -> Member:
        if self._file.data.closed:
            raise CheckpointError(f"{self._where} was closed; open it again to read {name!r}")
        member = self._members.get(plain_name(name))
        if member is None:
            raise CheckpointError(
                f"{self._where} holds no file {name!r}{suggestion(plain_name(name), self._members)}; "
                f"it holds {listed(self._members)}"
            )
        return member

    def _config(self, name: str) -> Mapping[str, Any]:
        return read_yaml(self.file(name), self._inside(name))

    def _open_tensors(self, name: str) -> MappedTensors:
        if name not in self._tensors:
            member = self._member(name)
            where = self._inside(name)
            entries = read_torch(self._file.data, member.offset, member.size, where)
            self._tensors[name] = MappedTensors(self._file.data, entries, where)
        return self._tensors[name]
