"""asrkit as a contestant: the parts that `Model.transcribe` puts together, on one backend at one precision.

With --tokens 0 the text ends where the model ends it.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import attrs
import numpy as np
from worker import Run, Stopwatch, serve

import asrkit
from asrkit.strategies.greedy import Greedy


def finish(arrays: Any) -> None:
    """Have MLX, which puts off its work, do it now: otherwise the decoder's time would contain the encoder's."""
    mlx = sys.modules.get("mlx.core")
    if mlx and isinstance(arrays[0], mlx.array):
        mlx.eval(arrays)


def load(args: argparse.Namespace, samples: int) -> tuple[Run, list[int], dict[str, Any]]:
    """The model, and a search that generates exactly so many tokens as `args` asks for."""
    # Only this backend has threads of its own; NumPy's are set by the environment that compare.py makes.
    options = {"threads": args.threads} if args.backend == "onnxruntime" else {}
    model = asrkit.load_model(args.model, backend=args.backend, precision=args.precision, **options)
    parts = model.parts
    decode = Greedy().bind(parts.decoder, model.backend)
    resolved, _ = parts.dialect.resolve({"language": args.language})
    request = parts.dialect.request(resolved, -(-parts.frontend.frames(samples) // parts.encoder.stride))
    if args.tokens:
        request = attrs.evolve(request, limit=args.tokens, stops=frozenset())

    def run(wave: np.ndarray, watch: Stopwatch) -> list[int]:
        features = parts.frontend([wave])
        watch.lap("features")
        encoded = model.encode(features)
        finish(encoded)
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
    parser.add_argument("--language", default="en")
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    samples = len(np.load(args.samples, mmap_mode="r"))
    packages = ("asrkit-core", "asrkit-canary", "asrkit-onnxruntime", "onnxruntime", "mlx", "numpy")
    serve(lambda: load(args, samples), args.samples, packages)


if __name__ == "__main__":
    main()
