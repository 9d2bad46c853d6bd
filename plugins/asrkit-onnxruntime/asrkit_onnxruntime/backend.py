"""The backend: a function is traced into a graph once, and its session runs from then on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from asrkit.arrays import map_tree
from asrkit.backends.numpy import NumpyBackend, NumpyOps, narrow, widen
from asrkit.checkpoints.mapped import Origin, origin_of
from asrkit.errors import BackendError
from asrkit.interfaces import Capabilities
from asrkit.ops import Ops
from asrkit.quantize import QUANTIZED, Quantized, joined
from asrkit.registry import reason
from asrkit_onnxruntime import optimised
from asrkit_onnxruntime.array import OrtArray
from asrkit_onnxruntime.compiled import Compiled
from asrkit_onnxruntime.graph import IR_VERSION, OPSET, Graph
from asrkit_onnxruntime.namespace import Namespace
from asrkit_onnxruntime.ops import OrtOps

__all__ = ["OrtBackend"]

Fn = TypeVar("Fn", bound=Callable[..., Any])

log = logging.getLogger("asrkit")

FOLDER = "session.model_external_initializers_file_folder_path"

MEMORY = "memory"
"""In place of a file's name, for weights that are lent; no file of ours is called so."""

MOST_LENT = 1 << 30
"""Bytes of lent weights up to which an optimised graph is kept: ONNX Runtime writes them out with it."""

REMOTE = ("AzureExecutionProvider",)
"""In every onnxruntime, but for models that run elsewhere: here everything would fall back to the processor."""

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OrtBackend:
    """Runs graph code as ONNX graphs.

    Args:
        device: ``cpu``, ``cuda``, or the name of any other execution provider of the installed onnxruntime.
        threads: inside an operator; by default one per core.
    """

    name = "onnxruntime"

    def __init__(self, device: str | None = None, threads: int | None = None) -> None:
        self._device = "cpu" if device is None else device
        self._provider = PROVIDERS.get(self._device, self._device)
        available = onnxruntime.get_available_providers()
        if self._provider not in available:
            known = {provider: name for name, provider in PROVIDERS.items()}
            names = ", ".join(known.get(provider, provider) for provider in available if provider not in REMOTE)
            more = "; pip install onnxruntime-gpu in place of onnxruntime" if self._device == "cuda" else ""
            raise BackendError(f"backend 'onnxruntime' has no device {device!r} here; it has: {names}{more}")
        self._threads = threads
        self.xp = Namespace()
        self.ops: Ops = OrtOps(self.xp, NumpyOps(NumpyBackend().xp))
        versions = (("onnxruntime", onnxruntime.__version__), ("onnx", onnx.__version__))
        # Other providers hand the integer products back to the processor, so they would only be slower there.
        precisions = ("fp32", *QUANTIZED) if self._provider == PROVIDERS["cpu"] else ("fp32",)
        why = "the fastest on processors" if self._provider == PROVIDERS["cpu"] else f"runs on {self._provider}"
        self.capabilities = Capabilities(self._device, precisions, rank=10, reason=why, versions=versions)

    def asarray(self, values: np.ndarray) -> OrtArray:
        """See :class:`asrkit.interfaces.Backend`."""
        return OrtArray(narrow(np.asarray(values)))

    def to_host(self, tree: Any) -> Any:
        """See :class:`asrkit.interfaces.Backend`."""
        return map_tree(lambda array: widen(array.value), tree)

    def weight(self, role: str, precision: str, *tensors: np.ndarray | Quantized) -> OrtArray | Quantized:
        """See :class:`asrkit.interfaces.Backend`; a single float32 tensor stays a view of the checkpoint file."""
        quantized = [tensor for tensor in tensors if isinstance(tensor, Quantized)]
        if quantized:
            return joined(quantized)
        arrays = [np.require(tensor, np.float32, "A") for tensor in tensors]
        return OrtArray(arrays[0] if len(arrays) == 1 else np.concatenate(arrays))

    def layout(self, role: str, precision: str) -> str:
        """See :class:`asrkit.interfaces.Backend`."""
        return "matrix" if role == "table" and precision not in QUANTIZED else role

    def dtype(self, precision: str) -> Any:
        """See :class:`asrkit.interfaces.Backend`."""
        return np.float32

    def compile(self, fn: Fn) -> Fn:
        """See :class:`asrkit.interfaces.Backend`."""
        return Compiled(fn, self.session)  # type: ignore[return-value]  # same signature, seen from outside

    def bucket(self, axis: str, size: int) -> int:
        """See :class:`asrkit.interfaces.Backend`: sizes are symbolic, and caches start empty and grow."""
        return 0 if axis == "past" else size

    def dispatch(self, tree: Any) -> None:
        """See :class:`asrkit.interfaces.Backend`: results are there already."""

    def release(self) -> None:
        """See :class:`asrkit.interfaces.Backend`: sessions are kept."""

    def session(self, graph: Graph, outputs: list[str]) -> onnxruntime.InferenceSession:
        """A session for a finished graph, optimised now or at an earlier start."""
        graph.prune(outputs)
        folder, lent = _placed(graph)
        made = helper.make_graph(
            graph.nodes,
            "asrkit",
            graph.inputs,
            [onnx.ValueInfoProto(name=name) for name in outputs],
            graph.initializers,
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(made, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString()
        if not graph.external or sum(array.nbytes for array in lent.values()) > MOST_LENT:
            return self._open(model, folder, lent)
        files = [folder / name for name in _locations(graph.initializers)] if folder else []
        key = optimised.key_of(model, folder, files, lent, self._provider)
        kept = optimised.recall(key)
        if kept is not None:
            try:
                return self._open(kept.model, folder, {name: lent[name] for name in kept.lent}, ready=True)
            except (BackendError, KeyError):
                optimised.forget(key)
        sessions = []
        try:
            optimised.keep(key, lent, lambda path: sessions.append(self._open(model, folder, lent, path)))
        except (OSError, BackendError) as error:
            # No room for the graph, or no folder: what cannot be kept can still run.
            log.info("the optimised graph was not kept: %s", error)
        return sessions[0] if sessions else self._open(model, folder, lent)

    def _open(
        self,
        model: bytes,
        folder: Path | None,
        lent: dict[str, np.ndarray],
        written: Path | None = None,
        ready: bool = False,
    ) -> onnxruntime.InferenceSession:
        """A session.

        Args:
            folder: where the weights lie that are not lent.
            written: where ONNX Runtime writes the graph that it made of it.
            ready: it was optimised before.
        """
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # It would keep one more block for every shape it meets.
        options.enable_mem_pattern = False
        # Each session has threads of its own: those of one that has just run must not spin while the next one works.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        if self._threads is not None:
            options.intra_op_num_threads = self._threads
        if folder is not None:
            options.add_session_config_entry(FOLDER, str(folder))
        if written is not None:
            options.optimized_model_filepath = str(written)
        if ready:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in lent.values()]
        options.add_external_initializers(list(lent), values)
        try:
            session = onnxruntime.InferenceSession(model, options, providers=[self._provider])
        except Exception as error:
            raise BackendError(f"ONNX Runtime made no session on device {self._device!r}: {reason(error)}") from error
        if self._provider not in session.get_providers():
            # ONNX Runtime would go on without it, and a user would wonder why it is slow.
            raise BackendError(
                f"device {self._device!r} of backend 'onnxruntime' did not start: {self._provider} is in this "
                "onnxruntime, but the libraries or hardware it needs are not here"
            )
        session._asrkit_kept = (values, lent)  # the session does not hold on to what it was lent
        return session


def _locations(initializers: list[TensorProto]) -> set[str]:
    """Names of the files that weights lie in."""
    places = {entry.value for tensor in initializers for entry in tensor.external_data if entry.key == "location"}
    return places - {MEMORY}


def _named(origin: Origin | None) -> Origin | None:
    """A place whose path ONNX Runtime can be told: it takes UTF-8 only."""
    try:
        str(origin.path if origin else "").encode()
    except UnicodeEncodeError:
        return None
    return origin


def _placed(graph: Graph) -> tuple[Path | None, dict[str, np.ndarray]]:
    """Tell where the large constants are: in files of one folder, which ONNX Runtime maps, or lent from memory.

    What is lent it copies; of a file it reads the pages it packs, and lets them go.
    """
    origins = {name: _named(origin_of(array)) for name, array in graph.external.items()}
    sizes: dict[Path, int] = {}
    for name, origin in origins.items():
        if origin is not None:
            sizes[origin.path.parent] = sizes.get(origin.path.parent, 0) + graph.external[name].nbytes
    folder = max(sizes, key=lambda path: sizes[path], default=None)
    lent = {}
    for tensor in graph.initializers:
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        array, origin = graph.external[tensor.name], origins[tensor.name]
        if origin is None or origin.path.parent != folder:
            tensor.external_data.add(key="location", value=MEMORY)
            lent[tensor.name] = np.ascontiguousarray(array)
        else:
            facts = {"location": origin.path.name, "offset": str(origin.offset), "length": str(array.nbytes)}
            for key, value in facts.items():
                tensor.external_data.add(key=key, value=value)
    return folder, lent
