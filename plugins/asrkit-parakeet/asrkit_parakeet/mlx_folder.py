"""Folders as users of parakeet-mlx have them: MLX's names and layouts, and no preprocessor.

``mlx-community/parakeet-*`` on the Hugging Face hub are such folders. In them convolutions have their channels last, an
LSTM layer is ``lstm.N.{Wx,Wh,bias}`` with its two biases added, and of the tokenizer there is the list of pieces in the
configuration.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from asrkit.checkpoints.directory import DirectoryCheckpoint
from asrkit.config import Config
from asrkit.errors import AsrkitError
from asrkit.frontends.mel import MelConfig, mel_filters
from asrkit.quantize import Quantized

__all__ = ["MLXFolder", "standard_name"]

FIRST = "encoder.pre_encode.conv.0.weight"
"""A kernel (C, 1, 3, 3), which is (C, 3, 3, 1) where channels come last."""

LAYER = re.compile(r"(.+\.lstm)\.(\d+)\.(Wx|Wh|bias)")
PARTS = {"Wx": "weight_ih", "Wh": "weight_hh", "bias": "bias_ih"}
FEATURIZER = "preprocessor.featurizer."


def standard_name(name: str) -> str:
    """What NeMo calls a tensor."""
    match = LAYER.fullmatch(name)
    return f"{match[1]}.{PARTS[match[3]]}_l{match[2]}" if match else name


class _Tensors(Mapping[str, "np.ndarray | Quantized"]):
    """The tensors under their standard names and in their standard layouts, which moves no bytes: of the axes that
    change places one has the size 1, or its kernel has."""

    def __init__(self, stored: Mapping[str, np.ndarray | Quantized], added: Mapping[str, np.ndarray]) -> None:
        self._stored, self._added = stored, added
        self._names = {standard_name(name): name for name in stored}

    def __getitem__(self, name: str) -> np.ndarray | Quantized:
        if name in self._names:
            tensor = self._stored[self._names[name]]
            return np.moveaxis(tensor, -1, 1) if isinstance(tensor, np.ndarray) and tensor.ndim > 2 else tensor
        return self._added[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._names
        yield from (name for name in self._added if name not in self._names)

    def __len__(self) -> int:
        return len(self._names.keys() | self._added.keys())


class MLXFolder:
    """A checkpoint folder in MLX's layout.

    Attributes:
        path: The folder.
        config: The model's configuration.
        identity: Tells these weights from others, as for any folder.

    Raises:
        CheckpointError: its files are missing or not sound.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._folder = DirectoryCheckpoint(path)
        self.path: Path = self._folder.path
        self.config: Mapping[str, Any] = self._folder.config
        self.identity: str = self._folder.identity
        stored = self._folder.tensors()
        self._tensors = _Tensors(stored, {**self._features(), **_second_biases(stored)})

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> MLXFolder:
        """The folder at ``path``; the same as calling the class."""
        return cls(path)

    @classmethod
    def recognises(cls, path: str | os.PathLike[str]) -> bool:
        """Whether ``path`` is a folder whose first convolution has its channels last. Never raises."""
        if not DirectoryCheckpoint.recognises(path):
            return False
        try:
            with DirectoryCheckpoint(path) as folder:
                tensors = folder.tensors()
                return FIRST in tensors and tensors[FIRST].shape[1:] == (3, 3, 1)
        except (AsrkitError, OSError):
            return False  # whatever is wrong with it, the plain folder will tell

    def tensors(self) -> Mapping[str, np.ndarray | Quantized]:
        """The tensors, by NeMo's names."""
        return self._tensors

    def files(self) -> tuple[str, ...]:
        """Names of all other files."""
        return self._folder.files()

    def file(self, name: str) -> bytes:
        """The content of a file."""
        return self._folder.file(name)

    def _features(self) -> dict[str, np.ndarray]:
        """Filters and window, which NeMo stores and MLX's users compute."""
        section = Config(self.config, str(self.path)).section("preprocessor")
        mel = MelConfig.read(section)
        filters = mel_filters(section.integer("features", default=64, least=1), mel.fft, mel.rate)[None]
        window = np.hanning(mel.window).astype(np.float32)
        return {FEATURIZER + "fb": _fixed(filters), FEATURIZER + "window": _fixed(window)}


def _second_biases(stored: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Zeros: the first bias of each layer holds the sum of both."""
    return {
        standard_name(name).replace("bias_ih", "bias_hh"): _fixed(np.zeros(stored[name].shape, np.float32))
        for name in stored
        if (match := LAYER.fullmatch(name)) and match[3] == "bias"
    }


def _fixed(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array
