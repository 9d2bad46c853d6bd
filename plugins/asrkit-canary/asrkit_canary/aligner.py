"""Builds the CTC model that canary-1b-v2's archive holds beside the first one, for the times of words."""

from __future__ import annotations

from typing import Any

from asrkit.config import Config
from asrkit.ctc_alignment import CTCAligner
from asrkit.decoders import CTCHead
from asrkit.errors import CheckpointError
from asrkit.interfaces import Backend, Checkpoint
from asrkit.plugins import registry
from asrkit.weights import Weights

__all__ = ["PREFIX", "auxiliary_files", "build_aligner"]

PREFIX = "timestamps_asr_"
"""What the names of its configuration and weights begin with."""


def auxiliary_files(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Names of the files in a checkpoint that are an aligner's; none if it has none."""
    return tuple(name for name in checkpoint.files() if name.startswith(f"{PREFIX}model"))


def build_aligner(checkpoint: Checkpoint, backend: Backend, precision: str, edges: str, rate: int) -> CTCAligner:
    """Build the aligner for one backend. It has a frontend, an encoder and a tokenizer of its own.

    Args:
        edges: as for the model's frontend.
        rate: Hz that the model takes.

    Raises:
        CheckpointError: a configuration, tensor or file is missing, left over, contradictory or not what is built here.
    """
    source = f"{checkpoint.path}, its aligner"
    opened = getattr(checkpoint, "open_model", None)
    if opened is None:
        raise CheckpointError(f"{source}: a {type(checkpoint).__name__} opens no second model; take the .nemo file")
    values, tensors = opened(PREFIX)
    config, weights = Config(values, source), Weights(tensors, backend, precision, source)
    weights = weights.at("int8") if precision == "int4" else weights  # as for the model's own encoder
    preprocessor = config.section("preprocessor")
    frontend = _part("frontend", "log-mel-centred")(weights / "preprocessor" / "featurizer", preprocessor, edges)
    encoder = _part("encoder", "fastconformer")(weights / "encoder", config.section("encoder"))
    decoder = CTCHead(weights / "decoder" / "decoder_layers" / 0, encoder.width)
    weights.check()
    if preprocessor.integer("features", default=64) != encoder.bins:
        raise config.section("encoder").error("feat_in", "as many bins as the preprocessor makes")
    if frontend.rate != rate:
        raise preprocessor.error("sample_rate", f"{rate} Hz, which the model takes")
    section = config.section("tokenizer")
    section.choice("type", "bpe")
    tokenizer = _part("tokenizer", "sentencepiece")(section, checkpoint)
    if decoder.size != tokenizer.size + 1:
        raise CheckpointError(
            f"{source}: the decoder has {decoder.size} classes, its tokenizer {tokenizer.size} tokens; a blank makes "
            f"{tokenizer.size + 1}"
        )
    return CTCAligner(frontend, encoder, decoder, tokenizer, backend)


def _part(kind: str, name: str) -> Any:
    return registry().get(kind, f"canary:{name}").load()
