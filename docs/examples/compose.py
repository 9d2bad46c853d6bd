"""Transcribes one recording with parts that are put together by hand, without ``asrkit.load_model``.

Usage: ``python compose.py checkpoint.nemo talk.wav --backend numpy --language en``.
"""

from __future__ import annotations

import argparse

from asrkit import audio
from asrkit.arrays import Encoded, Features
from asrkit.batching import to_device
from asrkit.checkpoints.nemo import NemoCheckpoint
from asrkit.config import Config
from asrkit.frontends.mel import LogMel, MelConfig
from asrkit.interfaces import Backend
from asrkit.loading import create_backend
from asrkit.plugins import registry
from asrkit.strategies.greedy import Greedy
from asrkit.weights import Weights
from asrkit_canary.build import read_decoder, read_limits, read_tokenizer
from asrkit_canary.dialects import Canary, Canary2
from asrkit_canary.fastconformer import FastConformer, FastConformerConfig
from asrkit_canary.frontend import Centred


def transcribe(path: str, recording: str, backend: Backend, language: str) -> str:
    """The text of a recording, special tokens included."""
    checkpoint = NemoCheckpoint(path)
    config = Config(checkpoint.config, path)
    weights = Weights(checkpoint.tensors(), backend, "fp32", path)

    # Host world: samples to features. Filters and window are stored beside the weights.
    buffers = weights / "preprocessor" / "featurizer"
    mel = MelConfig.read(config.section("preprocessor"))
    frontend = Centred(LogMel(mel, buffers.host("fb")[0], buffers.host("window")))

    # Graph world: layers exist with their weights, laid out for this backend.
    encoder = FastConformer(weights / "encoder", FastConformerConfig.read(config.section("encoder")))
    decoder = read_decoder(config, weights, encoder.width)
    weights.check()  # every tensor of the file was used, none was missing

    # The prompt, and how many tokens may follow it.
    tokenizer = read_tokenizer(config.section("tokenizer"), checkpoint)
    dialect = {"canary": Canary, "canary2": Canary2}[config.string("prompt_format")](
        tokenizer, read_limits(config.section("decoding", optional=True), decoder.max_tokens)
    )
    options, _ = dialect.resolve({"language": language})
    samples = audio.load(recording, frontend.rate).samples
    request = dialect.request(options, frames=-(-frontend.frames(len(samples)) // encoder.stride))

    def encode(features: Features) -> Encoded:
        return encoder(features)

    # backend.compile is the door to the graph world; the strategy takes the decoder's steps through it by itself.
    encoded = backend.compile(encode)(to_device(frontend([samples]), backend))
    best = Greedy().bind(decoder, backend)(encoded, [request])[0][0]
    return tokenizer.decode(best.tokens)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint")
    parser.add_argument("recording")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--language", default="en")
    asked = parser.parse_args()
    print(transcribe(asked.checkpoint, asked.recording, create_backend(registry(), asked.backend), asked.language))
