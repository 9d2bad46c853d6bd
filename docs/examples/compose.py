"""Transcribes one recording with parts that are taken from the registry and put together by hand.

Usage: ``python compose.py checkpoint.nemo talk.wav --backend numpy --language en --strategy sampling``.
"""

from __future__ import annotations

import argparse
from typing import Any

from asrkit import audio
from asrkit.arrays import Encoded, Features
from asrkit.batching import to_device
from asrkit.checkpoints.nemo import NemoCheckpoint
from asrkit.config import Config
from asrkit.interfaces import Backend
from asrkit.loading import create_backend
from asrkit.plugins import registry
from asrkit.weights import Weights


def part(kind: str, name: str) -> Any:
    """The factory of a part; ``asrkit plugins`` lists the names, and who brings them."""
    return registry().get(kind, name).load()


def transcribe(path: str, recording: str, backend: Backend, language: str, strategy: str) -> str:
    """The text of a recording, special tokens included."""
    checkpoint = NemoCheckpoint(path)
    config = Config(checkpoint.config, path)
    weights = Weights(checkpoint.tensors(), backend, "fp32", path)

    # Host world: samples to features. Filters and window are stored beside the weights.
    buffers = weights / "preprocessor" / "featurizer"
    frontend = part("frontend", "log-mel-centred")(buffers, config.section("preprocessor"))

    # Graph world: layers exist with their weights, laid out for this backend.
    encoder = part("encoder", "fastconformer")(weights / "encoder", config.section("encoder"))
    decoder = part("decoder", "transformer")(weights, config, encoder.width)
    weights.check()  # every tensor of the file was used, none was missing

    # The prompt, and how many tokens may follow it.
    tokenizer = part("tokenizer", "sentencepiece")(config.section("tokenizer"), checkpoint)
    dialect = part("dialect", config.string("prompt_format"))(tokenizer, config)
    options, _ = dialect.resolve({"language": language})
    samples = audio.load(recording, frontend.rate).samples
    request = dialect.request(options, frames=-(-frontend.frames(len(samples)) // encoder.stride))

    def encode(features: Features) -> Encoded:
        return encoder(features)

    # backend.compile is the door to the graph world; the strategy takes the decoder's steps through it by itself.
    encoded = backend.compile(encode)(to_device(frontend([samples]), backend))
    search = part("strategy", strategy)()  # its options are its arguments
    best = search.bind(decoder, backend)(encoded, [request])[0][0]
    return tokenizer.decode(best.tokens)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint")
    parser.add_argument("recording")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--language", default="en")
    parser.add_argument("--strategy", default="greedy")
    asked = parser.parse_args()
    chosen = create_backend(registry(), asked.backend)
    print(transcribe(asked.checkpoint, asked.recording, chosen, asked.language, asked.strategy))
