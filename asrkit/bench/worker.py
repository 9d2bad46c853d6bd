"""The process that measures one configuration: ``python -m asrkit.bench.worker``, spoken to in lines of JSON.

The first line it reads is the job: the arguments of :func:`work` after the first. It answers with what loading
took and with what it has loaded. Each further line, ``{"rows": N}``, is one run, answered with its seconds. The end of
its input ends it. An error of asrkit is answered as ``{"error": message, "usage": whether the call was wrong}``; any
other ends the process with a traceback on stderr.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import IO, Any

from asrkit.bench.machine import peak_memory
from asrkit.bench.runs import Runs
from asrkit.errors import AsrkitError, UsageError
from asrkit.loading import load_model

__all__ = ["main", "serve", "work"]


def work(
    messages: Iterator[dict[str, Any]],
    model: str,
    backend: str,
    precision: str,
    threads: int | None,
    tokens: int | None,
    seconds: float,
    file: str | None,
    device: str | None = None,
    decoder: str | None = None,
) -> Iterator[dict[str, Any]]:
    """Load a model, run it once, and then once for each message; the answers, one by one."""
    start = time.perf_counter()
    loaded = load_model(model, backend, precision, device=device, threads=threads, decoder=decoder)
    load = time.perf_counter() - start
    runs = Runs(loaded, tokens, seconds, file)
    first = load + runs.run(1)["total"]
    capabilities = loaded.backend.capabilities
    yield {
        "load": round(load, 6),
        "first": round(first, 6),
        "peak_memory": peak_memory(),
        "seconds": runs.seconds,
        "tokens": runs.tokens,
        "device": capabilities.device,
        "versions": dict(capabilities.versions),
        "notes": list(capabilities.notes),
    }
    for message in messages:
        yield runs.run(message["rows"]) | {"peak_memory": peak_memory()}


def serve(requests: IO[str], replies: IO[str]) -> None:
    """Answer requests until there are no more, or one fails."""
    messages = (json.loads(line) for line in requests)
    answers = work(messages, **next(messages))
    while True:
        try:
            answer = next(answers, None)
        except AsrkitError as error:
            answer = {"error": str(error), "usage": isinstance(error, UsageError)}
        if answer is None:
            return
        replies.write(json.dumps(answer) + "\n")
        replies.flush()


def main() -> None:
    """Serve stdin. What a library prints, also from C, goes to stderr: stdout belongs to the answers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends this process
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as replies:
        os.dup2(2, 1)
        serve(sys.stdin, replies)


if __name__ == "__main__":
    main()
