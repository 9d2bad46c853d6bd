"""onnx-asr as a contestant: its preprocessor, encoder session and greedy loop, over the graphs of export_onnx.py."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx_asr
import onnxruntime
from worker import Run, Stopwatch, serve


def load(folder: Path, precision: str, count: int, threads: int) -> tuple[Run, list[int], dict[str, Any]]:
    """The model, with a loop that generates exactly `count` tokens after NeMo's prompt."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    adapter = onnx_asr.load_model(
        "nemo-conformer-aed",
        folder,
        quantization=None if precision == "fp32" else precision,
        sess_options=options,
        providers=["CPUExecutionProvider"],
    )
    model = adapter.asr
    prompt = json.loads((folder / "prompt.json").read_text())
    # onnx-asr's own prompt is one token longer than NeMo's; the tokens can only be compared after the same one.
    model._transcribe_input = np.array([prompt], dtype=np.int64)
    # Its loop stops before this length; then no token ends the text, and none is left out of the answer.
    model.config["max_sequence_length"] = len(prompt) + count
    model._eos_token_id = -1
    model._vocab = dict.fromkeys(model._vocab, "")

    def run(wave: np.ndarray, watch: Stopwatch) -> list[int]:
        features, lengths = model._preprocessor(wave[None], np.array([len(wave)]))
        watch.lap("features")
        states, mask = model._encode(features, lengths)
        watch.lap("encoder")
        tokens = [int(token) for token in next(model._decoding(states, mask))[0]]
        watch.lap("decoder")
        return tokens

    return run, prompt, {"preprocessor": type(model._preprocessor).__name__}


def main() -> None:
    """Serve one model."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("samples")
    parser.add_argument("--precision", required=True)
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    args = parser.parse_args()
    packages = ("onnx-asr", "onnxruntime", "numpy")
    serve(lambda: load(args.folder, args.precision, args.tokens, args.threads), args.samples, packages)


if __name__ == "__main__":
    main()
