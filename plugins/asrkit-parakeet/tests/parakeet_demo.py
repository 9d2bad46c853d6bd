"""parakeet-demo: the encoder of canary-demo, and a TDT and a CTC decoder trained on it (tools/demo/heads.py)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from asrkit.checkpoints.directory import write_directory
from asrkit.loading import open_checkpoint
from asrkit.models import PathSource
from asrkit.plugins import registry
from asrkit.quantize import Quantized

HEAD = Path(__file__).parent / "parakeet-demo"
SAMPLES = Path(__file__).parents[2] / "asrkit-demo/samples"


class Composed:
    """A checkpoint whose front end, encoder and tokenizer are canary-demo's and whose decoders lie here."""

    def __init__(self) -> None:
        source = registry().get("model", "canary-demo").load().source
        assert isinstance(source, PathSource)
        self._canary = open_checkpoint(registry(), source.path)
        self._head = open_checkpoint(registry(), HEAD)
        shared = {name: self._canary.config[name] for name in ("sample_rate", "preprocessor", "encoder")}
        english = self._canary.config["tokenizer"]["langs"]["en"]
        self.config: Mapping[str, Any] = {**shared, "tokenizer": english, **self._head.config}
        self.path = HEAD
        self.identity = f"{self._canary.identity}-{self._head.identity}"

    def tensors(self) -> Mapping[str, np.ndarray | Quantized]:
        canary = self._canary.tensors()
        taken = {name: canary[name] for name in canary if name.startswith(("preprocessor.", "encoder."))}
        return {**taken, **self._head.tensors()}

    def files(self) -> tuple[str, ...]:
        return self._canary.files()

    def file(self, name: str) -> bytes:
        return self._canary.file(name)


def write_demo(folder: Path) -> Path:
    """The model as a folder that everything in asrkit takes."""
    write_directory(Composed(), folder)
    return folder
