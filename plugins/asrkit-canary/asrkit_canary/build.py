"""Builds a Canary model from any checkpoint of NeMo's ``EncDecMultiTaskModel``."""

from __future__ import annotations

from typing import Literal

import attrs

from asrkit.config import Config
from asrkit.errors import CheckpointError
from asrkit.frontends.mel import LogMel, MelConfig
from asrkit.interfaces import Backend, Checkpoint, Tokenizer
from asrkit.models import ModelSpec, Parts
from asrkit.nn import Linear
from asrkit.weights import Weights
from asrkit_canary.dialects import Canary, Canary2, Limits
from asrkit_canary.fastconformer import FastConformer, FastConformerConfig
from asrkit_canary.frontend import Centred
from asrkit_canary.tokenizers import Aggregate, SentencePiece
from asrkit_canary.transformer import TransformerConfig, TransformerDecoder, TransformerEncoder

__all__ = ["Settings", "build", "read_decoder", "read_frontend", "read_limits", "read_tokenizer"]

DIALECTS = {"canary": Canary, "canary2": Canary2}

TRAINED_SECONDS = 40.0
"""Clips of up to so many seconds were used in training. Source: NVIDIA's model cards."""

AUXILIARY = "timestamps_asr_model"
"""Prefix of the members of canary-1b-v2's archive that hold its CTC aligner."""


@attrs.frozen
class Settings:
    """Load-time options."""

    frontend: Literal["nemo-2.5", "nemo-2.4"] = "nemo-2.5"
    """Which NeMo's features: its 2.5 changed how the edges of a recording are treated. ``nemo-2.5`` holds for all
    later versions, ``nemo-2.4`` for all earlier ones."""


def build(
    checkpoint: Checkpoint,
    backend: Backend,
    precision: str,
    spec: ModelSpec | None = None,
    settings: Settings | None = None,
) -> Parts:
    """Build the parts for one backend.

    Args:
        spec: of a model known by name: its languages. Everything else comes from the checkpoint.

    Raises:
        CheckpointError: a configuration, tensor or file is missing, left over or not what this plugin builds.
    """
    config = Config(checkpoint.config, str(checkpoint.path))
    weights = Weights(checkpoint.tensors(), backend, precision, str(checkpoint.path))
    edges = "reflect" if settings is not None and settings.frontend == "nemo-2.4" else "zeros"
    frontend = read_frontend(config.section("preprocessor"), weights / "preprocessor" / "featurizer", edges)
    encoder = FastConformer(weights / "encoder", FastConformerConfig.read(config.section("encoder")))
    decoder = read_decoder(config, weights, encoder.width)
    weights.check()
    tokenizer = read_tokenizer(config.section("tokenizer"), checkpoint)
    if decoder.size < tokenizer.size:
        raise CheckpointError(
            f"{checkpoint.path}: the decoder has {decoder.size} classes, its tokenizer {tokenizer.size} tokens"
        )
    # Accounted for by name: the files of an aligner that this version does not run.
    auxiliary = tuple(name for name in checkpoint.files() if name.startswith(AUXILIARY))
    dialect = DIALECTS[config.choice("prompt_format", *DIALECTS)](
        tokenizer,
        read_limits(config.section("decoding", optional=True), decoder.max_tokens),
        spec.languages if spec else None,
        spec.translations if spec else None,
        timed=not auxiliary,
    )
    extras = {"unused files": auxiliary} if auxiliary else {}
    return Parts(
        frontend, encoder, decoder, tokenizer, dialect, strategy="greedy", longest=TRAINED_SECONDS, extras=extras
    )


# What a user may set when loading; found here by ``asrkit.loading``.
build.Settings = Settings  # type: ignore[attr-defined]


def read_frontend(config: Config, weights: Weights, edges: str) -> Centred:
    """The frontend; filters and window are buffers of the checkpoint."""
    mel = MelConfig.read(config, edges)
    filters = weights.host("fb", shape=(1, None, mel.fft // 2 + 1))
    return Centred(LogMel(mel, filters[0], weights.host("window", shape=(mel.window,))))


def read_decoder(config: Config, weights: Weights, states: int) -> TransformerDecoder:
    """The decoder, with what stands between it and an encoder of that width."""
    sizes = TransformerConfig.read(config.section("transf_decoder").section("config_dict"))
    head = config.section("head", optional=True)
    head.choice("num_layers", 1, default=1)
    projection = None
    if "encoder_decoder_proj" in weights:
        projection = Linear(weights / "encoder_decoder_proj", states, sizes.width)
    elif states != sizes.width:
        raise CheckpointError(
            f"{weights.source}: encoder width {states} and decoder width {sizes.width} differ, but there is no "
            "'encoder_decoder_proj'"
        )
    encoder = None
    between = config.section("transf_encoder", optional=True)
    if between.integer("num_layers", default=0) > 0:
        encoder = TransformerEncoder(weights / "transf_encoder", TransformerConfig.read(between))
    return TransformerDecoder(
        weights / "transf_decoder", weights / "log_softmax" / "mlp" / "layer0", sizes, projection, encoder
    )


def read_tokenizer(config: Config, checkpoint: Checkpoint) -> Tokenizer:
    """The tokenizer: ``agg`` holds one SentencePiece model per language, ``bpe`` is a single one."""
    if config.choice("type", "agg", "bpe") == "bpe":
        return _sentencepiece(config, checkpoint)
    parts = config.section("langs")
    # The order of the mapping defines the ids.
    return Aggregate({name: _sentencepiece(parts.section(name), checkpoint) for name in parts.values})


def _sentencepiece(config: Config, checkpoint: Checkpoint) -> SentencePiece:
    name = config.string("model_path")
    return SentencePiece(checkpoint.file(name), f"{checkpoint.path}: {name}")


def read_limits(config: Config, max_tokens: int) -> Limits:
    """How long an answer may get, from the ``decoding`` section."""
    strategy = config.choice("strategy", "greedy", "greedy_batch", "beam", default="beam")
    section = config.section("beam" if strategy == "beam" else "greedy", optional=True)
    return Limits(max_tokens, section.integer("max_generation_delta", default=-1), strategy == "beam")
