"""A whole measurement: which configurations, in which order, and the report that comes out of it."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import attrs

from asrkit import __version__
from asrkit.bench.machine import machine
from asrkit.bench.process import WorkerProcess
from asrkit.errors import AsrkitError, BackendError, OptionError, suggestion
from asrkit.loading import backend_problem, create_backend
from asrkit.registry import Registry

__all__ = ["Plan", "Start", "Worker", "check_backends", "choose_backends", "measure"]

PAUSE = 0.05
"""Seconds between two runs. Threads of numeric libraries go on spinning for some milliseconds after their work is done,
which would be taken from whoever runs next."""

NOTES = (
    "times are in seconds unless a key says otherwise, memory is in bytes",
    "cold: asrkit's cache was empty; warm: a second process with the cache that the first one left",
    "whether the model file was in the system's page cache is not controlled: the first configuration may have read "
    "from disk what the others found in memory",
    "peak_memory is that of one process over all its batch sizes, of which larger ones raise it; weights that are "
    "mapped from the file count once they were read",
)

Tell: TypeAlias = Callable[[str], None]
"""Takes a line for the user."""


class Worker(Protocol):
    """What measures one configuration; :mod:`asrkit.bench.worker` says what is asked and answered."""

    def ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Send a message and wait for its answer."""
        ...


Start: TypeAlias = Callable[[str, Path], AbstractContextManager[Worker]]
"""Starts a worker, given what to call it and its folder; two with one folder share asrkit's cache."""


@attrs.frozen
class Plan:
    """What is to be measured."""

    model: str
    backends: tuple[str, ...]
    precisions: tuple[str, ...] = ("fp32",)
    batch_sizes: tuple[int, ...] = (1,)
    tokens: int | None = None
    """Said by each row; None: the usual number if the model's decoder can be forced, else what it hears."""
    repeats: int = 7
    warm_up: int = 2
    """Runs of each kind that are not counted."""
    seconds: float = 10.0
    """Length of a synthetic recording."""
    audio: str | None = None
    """A recording to use in its place."""
    threads: int | None = None
    device: str | None = None
    decoder: str | None = None
    """Which one of a model that has several."""


def choose_backends(registry: Registry, threads: int | None, tell: Tell, device: str | None = None) -> tuple[str, ...]:
    """All backends that can run here, but for those that advise against themselves; it is told who was left out.

    Raises:
        BackendError: none is left.
    """
    chosen = []
    for name in registry.names("backend"):
        try:
            if backend_problem(registry.get("backend", name)) is not None:
                continue
            capabilities = create_backend(registry, name, device, threads).capabilities
        except AsrkitError as error:
            tell(f"left out {name}: {error}")
            continue
        if capabilities.rank < 0:
            reasons = "; ".join(capabilities.notes) or "it does not recommend itself here"
            tell(f"left out {name}: {reasons}; --backend {name} measures it nevertheless")
        else:
            chosen.append(name)
    if not chosen:
        raise BackendError("no backend that can run here is left to measure; name one with --backend")
    return tuple(chosen)


def check_backends(
    registry: Registry,
    backends: Sequence[str],
    precisions: Sequence[str],
    threads: int | None,
    device: str | None = None,
) -> tuple[str, ...]:
    """The backends by their own names; a combination that cannot be run is refused, before anything is.

    Raises:
        UnknownNameError: no such backend.
        BackendError: a backend cannot run here.
        OptionError: a backend lacks a precision, or does not let the device or threads be chosen.
    """
    names = []
    for asked in backends:
        backend = create_backend(registry, asked, device, threads)
        name, known = backend.name if asked == "auto" else asked, backend.capabilities.precisions
        lacking = [precision for precision in precisions if precision not in known]
        if lacking:
            near = suggestion(lacking[0], known)
            raise OptionError(f"backend {name!r} has no precision {lacking[0]!r}{near}; it has: {', '.join(known)}")
        names.append(name)
    return tuple(names)


def measure(plan: Plan, command: str, start: Start = WorkerProcess, tell: Tell = lambda line: None) -> dict[str, Any]:
    """Measure everything of a plan and report it.

    All workers are kept and asked in turn, one run of each batch size, again and again: what else happens on the
    machine meets all of them alike.

    Args:
        plan: what to measure.
        command: the command line, for the report.
        start: starts a worker; by default a process.
        tell: hears what is being done.

    Returns:
        The report: plain dicts, lists, strings and numbers, as docs/guides/benchmarking.md lists them.
    """
    with ExitStack() as stack:
        place = tempfile.TemporaryDirectory(prefix="asrkit-bench-", ignore_cleanup_errors=True)
        folder = Path(stack.enter_context(place))
        pairs = [(backend, precision) for backend in plan.backends for precision in plan.precisions]
        measured = [
            _load(plan, backend, precision, folder / str(number), start, stack, tell)
            for number, (backend, precision) in enumerate(pairs)
        ]
        tell(f"rounds: {plan.warm_up} to warm up, {plan.repeats} that count")
        for turn in range(plan.warm_up + plan.repeats):
            for one in measured:
                one.ask_all(counts=turn >= plan.warm_up)
    return {
        "asrkit": __version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "model": plan.model,
        "decoder": plan.decoder,
        "audio": {"file": plan.audio, "seconds": measured[0].loaded["seconds"]},
        "tokens": measured[0].loaded["tokens"],
        "repeats": plan.repeats,
        "warm_up": plan.warm_up,
        "threads": plan.threads,
        "device": plan.device,
        "machine": machine(),
        "configurations": [one.report(measured[0]) for one in measured],
        "notes": list(NOTES),
    }


def _load(
    plan: Plan, backend: str, precision: str, folder: Path, start: Start, stack: ExitStack, tell: Tell
) -> _Measured:
    """A cold worker, which leaves, and a warm one, which stays."""
    folder.mkdir()
    label = f"{backend} in {precision}"
    job = {
        "model": plan.model,
        "backend": backend,
        "precision": precision,
        "threads": plan.threads,
        "device": plan.device,
        "decoder": plan.decoder,
        "tokens": plan.tokens,
        "seconds": plan.seconds,
        "file": plan.audio,
    }
    tell(f"{label}: loading")
    with start(label, folder) as worker:
        cold = worker.ask(job)
    worker = stack.enter_context(start(label, folder))
    return _Measured(backend, precision, worker, cold, worker.ask(job), {rows: [] for rows in plan.batch_sizes})


@attrs.define
class _Measured:
    """A configuration and what is known of it so far."""

    backend: str
    precision: str
    worker: Worker
    cold: dict[str, Any]
    loaded: dict[str, Any]
    runs: dict[int, list[dict[str, float]]]
    peak: int | None = None

    def ask_all(self, counts: bool) -> None:
        """One run of each batch size."""
        for rows, runs in self.runs.items():
            time.sleep(PAUSE)
            run = self.worker.ask({"rows": rows})
            self.peak = run["peak_memory"]
            if counts:
                runs.append(run)

    def report(self, first: _Measured) -> dict[str, Any]:
        """Everything about this configuration."""
        base = first._recordings_a_second(next(iter(first.runs)))
        return {
            "backend": self.backend,
            "precision": self.precision,
            **{key: self.loaded[key] for key in ("device", "versions", "notes")},
            **{
                name: {key: answer[key] for key in ("load", "first", "peak_memory")}
                for name, answer in (("cold", self.cold), ("warm", self.loaded))
            },
            "peak_memory": self.peak,
            "batches": [
                {
                    "batch_size": rows,
                    **_figures(runs, rows, self.loaded["tokens"], self.loaded["seconds"]),
                    "ratio": _rounded(base / self._recordings_a_second(rows)),
                }
                for rows, runs in self.runs.items()
            ],
        }

    def _recordings_a_second(self, rows: int) -> float:
        return rows / statistics.median(run["total"] for run in self.runs[rows])


def _figures(runs: list[dict[str, float]], rows: int, tokens: int | None, seconds: float) -> dict[str, Any]:
    """Each measured and derived quantity of one batch size, over its runs; none by token where no number was forced."""
    columns = {name: [run[name] for run in runs] for name in ("features", "encoder", "decoder", "total")}
    if tokens is not None:
        columns["ms_per_token"] = [1000 * run["decoder"] / tokens for run in runs]
        columns["tokens_per_second"] = [rows * tokens / run["decoder"] for run in runs]
    columns["times_real_time"] = [rows * seconds / run["total"] for run in runs]
    summaries = {name: _summary(values) for name, values in columns.items()}
    nothing = dict.fromkeys(("ms_per_token", "tokens_per_second")) if tokens is None else {}
    return {"tokens": runs[-1]["tokens"], **summaries, **nothing}


def _rounded(value: float) -> float:
    """As many digits as a clock may be worth."""
    return float(f"{value:.6g}")


def _summary(values: list[float]) -> dict[str, Any]:
    """Median, quartiles, extremes, and the values themselves in the order they were measured."""
    ordered = sorted(values)
    # Of a single value there are no quantiles.
    low, median, high = statistics.quantiles(ordered * 2 if len(ordered) == 1 else ordered, n=4, method="inclusive")
    return {
        "median": _rounded(median),
        "quartiles": [_rounded(low), _rounded(high)],
        "range": [_rounded(ordered[0]), _rounded(ordered[-1])],
        "all": [_rounded(value) for value in values],
    }
