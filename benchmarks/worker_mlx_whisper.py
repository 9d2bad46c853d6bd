"""mlx-whisper as a contestant: one window of 30 s, greedy, without timestamps and without a second attempt.

These are the steps of `mlx_whisper.transcribe` for one window, taken one by one so that each has its time.
"""

from __future__ import annotations

import argparse
from typing import Any

import mlx.core as mx
import numpy as np
from mlx_whisper.audio import N_FRAMES, N_SAMPLES, log_mel_spectrogram, pad_or_trim
from mlx_whisper.decoding import DecodingOptions, decode
from mlx_whisper.load_models import load_model
from worker import Run, Stopwatch, serve


def load(path: str, language: str, precision: str, count: int) -> tuple[Run, list[int], dict[str, Any]]:
    """The model, and how to run it."""
    half = precision == "fp16"
    model = load_model(path, dtype=mx.float16 if half else mx.float32)
    options = DecodingOptions(
        language=language, temperature=0.0, without_timestamps=True, fp16=half, sample_len=count or None
    )

    def run(wave: np.ndarray, watch: Stopwatch) -> list[int]:
        if len(wave) > N_SAMPLES:
            raise ValueError(f"more than one window of {N_SAMPLES} samples")
        mel = pad_or_trim(log_mel_spectrogram(wave, n_mels=model.dims.n_mels), N_FRAMES, axis=-2)
        mel = mel.astype(mx.float16 if half else mx.float32)
        mx.eval(mel)
        watch.lap("features")
        states = model.embed_audio(mel[None])
        mx.eval(states)
        watch.lap("encoder")
        tokens = [int(token) for token in decode(model, states, options)[0].tokens]
        watch.lap("decoder")
        return tokens

    return run, [], {"device": str(mx.default_device())}


def main() -> None:
    """Serve one model."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("samples")
    parser.add_argument("--language", required=True)
    parser.add_argument("--precision", choices=["fp16", "fp32"], required=True)
    parser.add_argument("--tokens", type=int, required=True, help="at most so many; 0: as many as mlx-whisper allows")
    args = parser.parse_args()
    packages = ("mlx-whisper", "mlx", "numpy")
    serve(lambda: load(args.model, args.language, args.precision, args.tokens), args.samples, packages)


if __name__ == "__main__":
    main()
