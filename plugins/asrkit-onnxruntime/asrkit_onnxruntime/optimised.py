"""Graphs that ONNX Runtime has optimised, kept on disk: to optimise one again takes longer than to run it.

A file holds a line of JSON, then the graph. Weights are not in it: they stay where they are, in a checkpoint, in
asrkit's cache or in memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import platform
import tempfile
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path

import attrs
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto

from asrkit.storage import cache_folder, write_whole

__all__ = ["Optimised", "forget", "keep", "key_of", "recall"]

VERSION = 1
"""Of the files' form."""

log = logging.getLogger("asrkit")


@attrs.frozen
class Optimised:
    """A graph that is ready to run as it is."""

    model: bytes
    lent: frozenset[str]
    """Initializers that must be handed over from memory."""


def key_of(
    model: bytes, folder: Path | None, files: Iterable[Path], lent: Mapping[str, np.ndarray], *facts: str
) -> str:
    """What an optimised graph depends on: the graph, the weights, the runtime, the processor.

    Args:
        model: the graph as it was traced, with the places of its weights.
        folder: where those of them lie that are in files.
        files: these files; their sizes and times stand for what they hold.
        lent: weights handed over from memory, read here.
        facts: further things it depends on, such as the provider.
    """
    digest = hashlib.sha256(f"{VERSION} {onnxruntime.__version__} {processor()} {folder} {facts}".encode())
    digest.update(model)
    for path in sorted(set(files)):
        status = path.stat()
        digest.update(f"{path.name} {status.st_size} {status.st_mtime_ns}".encode())
    for name in sorted(lent):
        digest.update(f"{name} {lent[name].dtype} {lent[name].shape}".encode())
        digest.update(lent[name].data)
    return digest.hexdigest()[:32]


@cache
def processor() -> str:
    """The processor with its instruction sets: ONNX Runtime lays weights out for what it finds."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{platform.machine()} {platform.processor()} {flags}"


def recall(key: str) -> Optimised | None:
    """The graph kept under a key, or None if there is none or it is damaged."""
    try:
        head, _, model = _path(key).read_bytes().partition(b"\n")
        facts = json.loads(head)
        if facts["sha256"] != hashlib.sha256(model).hexdigest():
            return None
        return Optimised(model, frozenset(facts["lent"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep(key: str, lent: Iterable[str], make: Callable[[Path], None]) -> None:
    """Keep what ``make`` writes to the path it is given; a cache that cannot be written is no error.

    Args:
        lent: initializers that are handed over from memory, which ONNX Runtime writes out all the same.
    """
    with tempfile.TemporaryDirectory(prefix="asrkit-") as folder:
        path = Path(folder) / "graph.onnx"
        make(path)
        try:
            model = onnx.load_model(path, load_external_data=False)
        except Exception as error:  # whatever protobuf raises for a file that the disk cut short
            log.info("the optimised graph was not kept: %s", error)
            return
    names = set(lent)
    left = [tensor for tensor in model.graph.initializer if tensor.name in names]
    for tensor in left:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="memory")
    body = model.SerializeToString()
    text = json.dumps({"sha256": hashlib.sha256(body).hexdigest(), "lent": [tensor.name for tensor in left]})
    try:
        write_whole(_path(key), text.encode() + b"\n" + body)
    except OSError as error:
        log.info("the optimised graph was not kept: %s", error)


def forget(key: str) -> None:
    """Remove a graph that did not run."""
    with contextlib.suppress(OSError):
        _path(key).unlink()


def _path(key: str) -> Path:
    return cache_folder() / "onnxruntime" / f"{key}.onnx"
