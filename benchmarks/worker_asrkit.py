"""asrkit as a contestant: the parts that `Model.transcribe` puts together, on one backend at one precision."""

from __future__ import annotations

import argparse
from typing import Any

import attrs
import numpy as np
from worker import Run, Stopwatch, serve

import asrkit
from asrkit.strategies.greedy import Greedy


def load(path: str, backend: str, precision: str, count: int, threads: int) -> tuple[Run, list[int], dict[str, Any]]:
    """The model, and a search that generates exactly `count` tokens."""
    # Only this backend has threads of its own; NumPy's are set by the environment that compare.py makes.
    options = {"threads": threads} if backend == "onnxruntime" else {}
    model = asrkit.load_model(path, backend=backend, precision=precision, **options)
    parts = model.parts
    decode = Greedy().bind(parts.decoder, model.backend)
    resolved, _ = parts.dialect.resolve({"language": "en"})
    request = attrs.evolve(parts.dialect.request(resolved, count), limit=count, stops=frozenset())

    def run(wave: np.ndarray, watch: Stopwatch) -> list[int]:
        features = parts.frontend([wave])
        watch.lap("features")
        encoded = model.encode(features)
        watch.lap("encoder")
        tokens = list(decode(encoded, [request])[0][0].tokens)  # of the one row the best answer
        watch.lap("decoder")
        return tokens

    return run, list(request.prompt), {}


def main() -> None:
    """Serve one model."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("samples")
    parser.add_argument("--backend", required=True)
    parser.add_argument("--precision", required=True)
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    args = parser.parse_args()
    packages = ("asrkit-core", "asrkit-canary", "asrkit-onnxruntime", "onnxruntime", "mlx", "numpy")
    serve(lambda: load(args.model, args.backend, args.precision, args.tokens, args.threads), args.samples, packages)


if __name__ == "__main__":
    main()
