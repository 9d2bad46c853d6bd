"""From a name or a path to a model built for one backend."""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from asrkit.backends.numpy import NumpyBackend
from asrkit.checkpoints.quantized import CachedCheckpoint, QuantizedCheckpoint
from asrkit.errors import (
    AsrkitError,
    BackendError,
    CheckpointError,
    OptionError,
    PluginError,
    UnknownNameError,
    listed,
    suggestion,
)
from asrkit.interfaces import Backend, Checkpoint
from asrkit.models import ModelSpec, Parts
from asrkit.options import build_options, option_names
from asrkit.plugins import CORE, load_plugins
from asrkit.quantize import QUANTIZED
from asrkit.registry import Registry, reason, resolve
from asrkit.sources import Found, find_model, name_model, spec_for
from asrkit.transcriber import Model

__all__ = [
    "backend_problem",
    "create_backend",
    "load_model",
    "model_settings",
    "open_checkpoint",
    "own_precision",
    "quantized_checkpoint",
    "setting_names",
]

Tell = Callable[[str], None]

AUTO = "auto"
MOST_THREADS = 1024


def load_model(
    name_or_path: str | os.PathLike[str],
    backend: str = AUTO,
    precision: str | None = None,
    *,
    device: str | None = None,
    threads: int | None = None,
    tell: Tell | None = None,
    **settings: Any,
) -> Model:
    """Load a model for one backend.

    Args:
        name_or_path: the path of a ``.nemo`` file or a converted folder; a registered name, or ``owner/repo`` of the
            Hugging Face hub, each with ``@revision`` if wanted. What is not here is downloaded.
        backend: a registered backend, or ``auto``: the one that ranks itself highest here.
        precision: one that the backend has; by default that of a checkpoint converted to ``int8`` or ``int4``, else
            ``fp32``.
        device: one of the backend's devices.
        threads: processor threads, for a backend that lets them be chosen.
        tell: is told, in a line, what is downloaded; on a terminal there is a progress bar instead. None: neither.
        settings: load-time options of the model's builder, such as ``decoder`` for a model that has several.

    Raises:
        CheckpointError: the file is missing, broken, or not what the model needs.
        HubError: it cannot be had from the hub.
        UnknownNameError: no such model or backend.
        BackendError: the backend cannot run here, or lacks the device.
        OptionError: a setting the model does not have, or a precision the backend lacks.
    """
    start = time.perf_counter()
    registry = load_plugins().registry
    name = os.fspath(name_or_path)
    chosen = create_backend(registry, backend, device, threads)
    if precision is not None:
        _check_precision(chosen, precision, device)  # a wrong wish is told before anything is downloaded
    found = find_model(registry, name, tell)
    spec = found.spec
    checkpoint = open_checkpoint(registry, found.path)
    precision = _precision(checkpoint, chosen, precision, device)
    build = _builder(registry, found, checkpoint)
    values = _settings(build, settings, name)
    if precision in QUANTIZED and getattr(checkpoint, "precision", None) is None:
        remembered = CachedCheckpoint(checkpoint, precision)
        first = remembered.empty
        if first:
            # Quantised first and read back, so that the weights of a first start too lie in a file and not in memory.
            try:
                _build(build, remembered, _Reader(), precision, spec, values)
            except AsrkitError:
                first = False  # it needs its backend to be built at all; what is wrong otherwise is told below
            if first and remembered.save():
                remembered = CachedCheckpoint(checkpoint, precision)
        parts = _build(build, remembered, chosen, precision, spec, values)
        if not first:
            remembered.save()
    else:
        parts = _build(build, checkpoint, chosen, precision, spec, values)
    seconds = round(time.perf_counter() - start, 4)
    return Model(name, parts, chosen, precision, registry, setting_names(build), seconds, found.revision)


def _build(build: Any, checkpoint: Any, backend: Backend, precision: str, spec: ModelSpec | None, values: Any) -> Parts:
    try:
        parts: Parts = build(checkpoint, backend, precision, spec, values)
    except AsrkitError:
        raise
    except Exception as error:
        raise CheckpointError(f"{checkpoint.path}: no model could be built from it: {reason(error)}") from error
    return parts


def _precision(checkpoint: Checkpoint, backend: Backend, asked: str | None, device: str | None) -> str:
    """The precision to build in."""
    stored: str | None = getattr(checkpoint, "precision", None)
    precision = (stored or "fp32") if asked is None else asked
    _check_precision(backend, precision, device)
    if stored is not None and precision != stored:
        raise OptionError(
            f"{checkpoint.path}: was converted to {stored} and has no precision {precision!r}; leave the precision out"
        )
    return precision


def _check_precision(backend: Backend, precision: str, device: str | None) -> None:
    if precision not in backend.capabilities.precisions:
        there = "" if device is None else f" on device {device!r}"
        raise OptionError(
            f"backend {backend.name!r} has no precision {precision!r}{there}"
            f"{suggestion(precision, backend.capabilities.precisions)}; it has: "
            f"{', '.join(backend.capabilities.precisions)}"
        )


def quantized_checkpoint(name_or_path: str | os.PathLike[str], precision: str, tell: Tell | None = None) -> Checkpoint:
    """A checkpoint with the matrices of its model in few bits, to be written as a folder.

    Raises:
        OptionError: ``precision`` is not ``int8`` or ``int4``, or the checkpoint is quantised already.
        AsrkitError: as for :func:`load_model`.
    """
    if precision not in QUANTIZED:
        raise OptionError(f"checkpoints can be converted to {' or '.join(QUANTIZED)}, not to {precision!r}")
    registry = load_plugins().registry
    found = find_model(registry, os.fspath(name_or_path), tell)
    checkpoint = open_checkpoint(registry, found.path)
    if getattr(checkpoint, "precision", None) is not None:
        raise OptionError(f"{checkpoint.path}: is quantised already; convert the original")
    build = _builder(registry, found, checkpoint)
    # Which tensors are matrices of a product only the model's own code knows, so it is built, without computing.
    read, values = CachedCheckpoint(checkpoint, precision), _settings(build, {}, found.path)
    _build(build, read, _Reader(), precision, found.spec, values)
    converted: Checkpoint = QuantizedCheckpoint(checkpoint, read)
    # The folder has such a matrix in few bits only; a model that also reads it in another way could not be loaded.
    _build(build, converted, _Reader(), precision, found.spec, values)
    return converted


class _Reader(NumpyBackend):
    """Takes weights and lays no matrix out: its handles have a shape and nothing else."""

    def weight(self, role: str, precision: str, *tensors: Any) -> Any:
        if role != "matrix":
            return super().weight(role, precision, *tensors)
        return SimpleNamespace(shape=(sum(tensor.shape[0] for tensor in tensors), tensors[0].shape[1]), ndim=2)

    def layout(self, role: str, precision: str) -> str:
        return role


def setting_names(build: Any) -> tuple[str, ...]:
    """Names of the load-time options of a builder."""
    return option_names(getattr(build, "Settings", object))


def model_settings(name_or_path: str, tell: Tell | None = None) -> tuple[str, ...]:
    """Names of the load-time options of a model, without loading it; what nobody knows by name is downloaded."""
    registry = load_plugins().registry
    spec, _ = name_model(registry, name_or_path)
    if spec is not None:
        return setting_names(_load_builder(spec))
    found = find_model(registry, name_or_path, tell)
    return setting_names(_builder(registry, found, open_checkpoint(registry, found.path)))


def own_precision(name_or_path: str, tell: Tell | None = None) -> str:
    """The precision a model is loaded in if none is asked for, without loading it; it is downloaded, though."""
    registry = load_plugins().registry
    checkpoint = open_checkpoint(registry, find_model(registry, name_or_path, tell).path)
    return getattr(checkpoint, "precision", None) or "fp32"


def create_backend(registry: Registry, name: str, device: str | None = None, threads: int | None = None) -> Backend:
    """A backend by name; ``auto`` takes the one that ranks itself highest of those that run here."""
    if threads is not None and (type(threads) is not int or not 1 <= threads <= MOST_THREADS):
        raise OptionError(f"threads must be a whole number from 1 to {MOST_THREADS}, found {threads!r}")
    if name == AUTO:
        return _best(registry, device, threads)
    try:
        entry = registry.get("backend", name)
    except UnknownNameError as error:
        near = "did you mean" in str(error)
        raise UnknownNameError(
            f"{error}{'' if near else '; more come with plugins, such as asrkit-onnxruntime'}"
        ) from None
    problem = backend_problem(entry)
    if problem is not None:
        raise BackendError(f"backend {name!r} cannot run here: {problem}")
    wishes = {key: value for key, value in (("device", device), ("threads", threads)) if value is not None}
    try:
        factory = entry.load()
        for wish in wishes:
            if wish not in inspect.signature(factory).parameters:
                raise OptionError(f"backend {name!r} does not let {wish} be chosen")
        backend: Backend = factory(**wishes)
    except AsrkitError:
        raise
    except Exception as error:
        raise BackendError(f"backend {name!r} of plugin {entry.plugin!r} cannot start: {reason(error)}") from error
    return backend


def _best(registry: Registry, device: str | None, threads: int | None) -> Backend:
    """Of the backends that can be made here, with these wishes, the one that ranks highest."""
    made = []
    problems: list[AsrkitError] = []
    for entry in registry.entries("backend"):
        try:
            made.append(create_backend(registry, f"{entry.plugin}:{entry.name}", device, threads))
        except AsrkitError as error:
            problems.append(error)
    if not made:
        kind = OptionError if any(isinstance(problem, OptionError) for problem in problems) else BackendError
        raise kind(f"no backend can run here: {'; '.join(map(str, problems))}")
    return max(made, key=lambda backend: (backend.capabilities.rank, backend.name))


def backend_problem(entry: Any) -> str | None:
    """Why a registered backend cannot run here, or None."""
    try:
        problem: str | None = resolve(entry.probe)()
    except Exception as error:
        return reason(error)
    return problem


def open_checkpoint(registry: Registry, path: str | os.PathLike[str]) -> Checkpoint:
    """Open a model file or folder with the first registered format that recognises it.

    Those of plugins are asked before the core's, so that a plugin may take a special kind of folder.
    """
    if not Path(path).exists():
        raise CheckpointError(f"{os.fspath(path)}: there is no such file or folder")
    for entry in sorted(registry.entries("checkpoint"), key=lambda entry: entry.plugin == CORE):
        reader = entry.load()
        if reader.recognises(path):
            opened: Checkpoint = reader.open(path)
            return opened
    if Path(path).is_dir():
        raise CheckpointError(f"{os.fspath(path)}: is no checkpoint folder: it needs config.json and model.safetensors")
    formats = listed(registry.names("checkpoint"))
    raise CheckpointError(f"{os.fspath(path)}: is no checkpoint of a known format; known are: {formats}")


def _builder(registry: Registry, found: Found, checkpoint: Checkpoint) -> Any:
    """The builder of a model: that of its spec, else that of its class."""
    return _load_builder(found.spec or spec_for(registry, checkpoint.config, checkpoint.path))


def _load_builder(spec: ModelSpec) -> Any:
    try:
        return resolve(spec.build)
    except Exception as error:
        raise PluginError(f"model {spec.name!r} cannot be built: {reason(error)}") from error


def _settings(build: Any, settings: dict[str, Any], name: str) -> Any:
    cls = getattr(build, "Settings", None)
    given = {key: value for key, value in settings.items() if value is not None}
    if "decoder" in given and "decoder" not in setting_names(build):
        raise OptionError(f"model {name!r} has one decoder and no choice: leave decoder {given['decoder']!r} out")
    if cls is not None:
        return build_options(cls, given, f"model {name!r}")
    if given:
        raise OptionError(f"model {name!r} has no load-time options, asked was: {listed(given)}")
    return None
