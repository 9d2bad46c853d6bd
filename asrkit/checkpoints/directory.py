"""A checkpoint as a folder: ``config.json``, ``model.safetensors`` and the other files, and how to make one.

The configuration is the model's own, as in the ``.nemo`` it came from, its keys in the same order.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from asrkit.checkpoints import nemo
from asrkit.checkpoints.configuration import MAX_BYTES, read_json, read_yaml
from asrkit.checkpoints.mapped import MappedFile, MappedTensors
from asrkit.checkpoints.nemo import MAX_FILE, plain_name
from asrkit.checkpoints.quantized import combined, precision_of, split
from asrkit.checkpoints.safetensors import header_of, read_safetensors, write_safetensors
from asrkit.checkpoints.tar import name_fault
from asrkit.checkpoints.torch_file import read_torch
from asrkit.errors import CheckpointError, listed, suggestion
from asrkit.interfaces import Checkpoint
from asrkit.quantize import Quantized

__all__ = ["CONFIG", "WEIGHTS", "DirectoryCheckpoint", "write_directory"]

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
SAMPLE = 64
"""Bytes read of a tensor's beginning and middle to tell it from another one."""


class DirectoryCheckpoint:
    """A folder with ``config.json`` and ``model.safetensors``. Opening it reads both headers, no weights.

    Attributes:
        path: The folder.
        config: The model's configuration, its keys in the file's order.
        precision: ``int8`` or ``int4`` if it was converted to that, else None.

    Raises:
        CheckpointError: there is no such folder, or its files are missing or not sound.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._where = repr(str(self.path))
        if not self.path.is_dir():
            found = "is not a directory" if self.path.exists() else "does not exist"
            raise CheckpointError(f"{self._where} {found}; a directory checkpoint holds {CONFIG!r} and {WEIGHTS!r}")
        for name in (CONFIG, WEIGHTS):
            if not (self.path / name).is_file():
                raise CheckpointError(f"{self._where} is no checkpoint: it holds no {name!r}")
        self._others: dict[str, tuple[MappedFile, MappedTensors]] = {}
        config = MappedFile(self.path / CONFIG)
        self.config: Mapping[str, Any] = read_json(config.data[: MAX_BYTES + 1], self._inside(CONFIG))
        config.close()
        self._file = MappedFile(self.path / WEIGHTS)
        try:
            self._entries = entries = read_safetensors(self._file.data, self._inside(WEIGHTS))
        except BaseException:
            self._file.close()
            raise
        mapped = MappedTensors(self._file.data, entries, self._inside(WEIGHTS))
        self._tensors = combined(mapped, self._inside(WEIGHTS))
        self.precision = precision_of(self._tensors)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> DirectoryCheckpoint:
        """The folder at ``path``; the same as calling the class."""
        return cls(path)

    @classmethod
    def recognises(cls, path: str | os.PathLike[str]) -> bool:
        """Whether ``path`` is a folder with the two files. Never raises."""
        try:
            return all((Path(path) / name).is_file() for name in (CONFIG, WEIGHTS))
        except (OSError, ValueError):
            return False

    @property
    def identity(self) -> str:
        """Tells these weights from others without reading all of them: size, time, header, a little of each tensor.

        Two models of one kind have equal headers, and often the time of the archive they came in.
        """
        data, digest = self._file.data, hashlib.sha256(header_of(self._file.data, self._inside(WEIGHTS)))
        for entry in self._entries.values():
            for first in (entry.offset, entry.offset + entry.nbytes // 2):
                digest.update(data[first : first + SAMPLE])
        return f"{self._file.size}-{self._file.mtime_ns}-{digest.hexdigest()[:32]}"

    def tensors(self) -> Mapping[str, np.ndarray | Quantized]:
        """The tensors: read-only views of the file (bfloat16: float32 copies, made on access)."""
        return self._tensors

    def files(self) -> tuple[str, ...]:
        """Names of all other files, sorted, with ``/`` in those of subfolders; hidden ones are left out."""
        found = []
        for folder, folders, names in os.walk(self.path):
            folders[:] = [name for name in folders if not name.startswith(".")]
            base = Path(folder).relative_to(self.path)
            found += [(base / name).as_posix() for name in names if not name.startswith(".")]
        return tuple(sorted(name for name in found if name not in (CONFIG, WEIGHTS)))

    def file(self, name: str) -> bytes:
        """The content of a file.

        Args:
            name: As ``files()`` lists it, or as configurations write it: ``nemo:<name>``, ``./<name>``.

        Raises:
            CheckpointError: there is none of that name, or it has more than ``MAX_FILE`` bytes.
        """
        found = self._find(name)
        try:
            size = found.stat().st_size
            if size > MAX_FILE:
                raise CheckpointError(
                    f"{self._inside(plain_name(name))} has {size} bytes; at most {MAX_FILE} are read into memory"
                )
            return found.read_bytes()
        except OSError as error:
            raise CheckpointError(f"{self._inside(plain_name(name))} cannot be read: {error.strerror}") from None

    def blocks(self, name: str) -> Iterator[bytes]:
        """The content of a file of any size, in pieces of 1 MiB."""
        found = self._find(name)
        with found.open("rb") as file:
            while block := file.read(1 << 20):
                yield block

    def open_model(self, prefix: str = "") -> tuple[Mapping[str, Any], Mapping[str, np.ndarray | Quantized]]:
        """Configuration and tensors of the model under ``prefix``; see ``NemoCheckpoint.open_model``."""
        if not prefix:
            return self.config, self.tensors()
        config = read_yaml(self.file(prefix + nemo.CONFIG), self._inside(prefix + nemo.CONFIG))
        if prefix not in self._others:
            name = prefix + nemo.WEIGHTS
            file = MappedFile(self._find(name))
            entries = read_torch(file.data, 0, file.size, self._inside(name))
            self._others[prefix] = file, MappedTensors(file.data, entries, self._inside(name))
        return config, self._others[prefix][1]

    def close(self) -> None:
        """Let go of the files. Arrays taken from ``tensors()`` stay valid and keep their map alive."""
        for file in (self._file, *(other[0] for other in self._others.values())):
            file.close()

    def __enter__(self) -> DirectoryCheckpoint:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"DirectoryCheckpoint({str(self.path)!r})"

    def _inside(self, name: str) -> str:
        return repr(str(self.path / name))

    def _find(self, name: str) -> Path:
        # Looked up among what is there, so no name can lead out of the folder.
        files = self.files()
        if plain_name(name) not in files:
            raise CheckpointError(
                f"{self._where} holds no file {name!r}{suggestion(plain_name(name), files)}; it holds {listed(files)}"
            )
        return self.path / plain_name(name)


def write_directory(
    checkpoint: Checkpoint, directory: str | os.PathLike[str], overwrite: bool = False
) -> DirectoryCheckpoint:
    """Write any checkpoint as a folder, tensor by tensor and with the dtypes it has, and open that.

    The folder is made under another name beside its place and renamed when it is complete, so a failure
    leaves nothing behind and an old folder untouched.

    Args:
        checkpoint: What to write. A ``blocks(name)`` method, where it has one, streams its files.
        directory: Where to. Its parents are made.
        overwrite: Replace a checkpoint folder that is already there, with all its files.

    Raises:
        CheckpointError: the folder is not empty and ``overwrite`` is not given or it holds no checkpoint;
            something in the checkpoint has no place in the layout; the disk refuses.
    """
    target = Path(directory).resolve()
    shown = repr(str(target))
    if target.exists() and not target.is_dir():
        raise CheckpointError(f"{shown} exists and is not a directory")
    if target.is_dir() and any(target.iterdir()):
        if not overwrite:
            raise CheckpointError(f"{shown} is not empty; ask to overwrite it, or name another directory")
        if not DirectoryCheckpoint.recognises(target):
            raise CheckpointError(f"{shown} holds no checkpoint, so it is not overwritten; name another directory")
    mark = secrets.token_hex(4)
    fresh = target.with_name(f".{target.name}.{mark}.part")
    old = target.with_name(f".{target.name}.{mark}.old")
    try:
        fresh.mkdir(parents=True)
        _fill(checkpoint, fresh)
        if target.exists():
            target.rename(old)
        try:
            fresh.rename(target)
        except BaseException:
            if old.exists():
                old.rename(target)
            raise
    except OSError as error:
        raise CheckpointError(f"{shown} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
    return DirectoryCheckpoint(target)


def _fill(checkpoint: Checkpoint, folder: Path) -> None:
    where = repr(str(checkpoint.path))
    try:
        text = json.dumps(checkpoint.config, ensure_ascii=False, indent=2)
        same = json.loads(text) == checkpoint.config
    except (TypeError, ValueError):
        same = False
    if not same:
        raise CheckpointError(
            f"{where}: its configuration cannot be kept as JSON (it has dates, NaN or keys that are no strings)"
        )
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")
    with (folder / WEIGHTS).open("xb") as file:
        write_safetensors(file, split(checkpoint.tensors()))
    blocks = getattr(checkpoint, "blocks", None)
    for name in checkpoint.files():
        fault = name_fault(name)
        if fault:
            raise CheckpointError(f"{where}: the file name {name!r} {fault}")
        if name in (CONFIG, WEIGHTS):
            raise CheckpointError(f"{where}: its file {name!r} would take the place of the converted model's own")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("xb") as file:
            for block in blocks(name) if blocks else (checkpoint.file(name),):
                file.write(block)
