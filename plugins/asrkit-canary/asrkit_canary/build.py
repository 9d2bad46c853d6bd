"""Builds a Canary model from any checkpoint of NeMo's ``EncDecMultiTaskModel``, out of parts from the registry."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import attrs

from asrkit.config import Config
from asrkit.errors import CheckpointError
from asrkit.interfaces import Backend, Checkpoint
from asrkit.models import ModelSpec, Parts
from asrkit.plugins import registry
from asrkit.values import Notice
from asrkit.weights import Weights
from asrkit_canary.aligner import auxiliary_files, build_aligner

__all__ = ["Settings", "build"]

TRAINED_SECONDS = 40.0
"""Clips of up to so many seconds were used in training. Source: NVIDIA's model cards."""


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
        spec: of a model known by name: its languages and how long its clips may be. Everything else comes from the
            checkpoint.

    Raises:
        CheckpointError: a configuration, tensor or file is missing, left over or not what this plugin builds.
    """
    config = Config(checkpoint.config, str(checkpoint.path))
    weights = Weights(checkpoint.tensors(), backend, precision, str(checkpoint.path))
    edges = "reflect" if settings is not None and settings.frontend == "nemo-2.4" else "zeros"
    preprocessor, prompt = config.section("preprocessor"), config.choice("prompt_format", "canary", "canary2")
    frontend = _part("frontend", "log-mel-centred")(weights / "preprocessor" / "featurizer", preprocessor, edges)
    # Four bits pay where a row at a time waits for its weights, in the decoder; the encoder's products get no faster.
    wide = weights.at("int8") if precision == "int4" else weights
    encoder = _part("encoder", "fastconformer")(wide / "encoder", config.section("encoder"))
    decoder = _part("decoder", "transformer")(weights, config, encoder.width)
    weights.check()
    if preprocessor.integer("features", default=64) != encoder.bins:
        raise config.section("encoder").error("feat_in", "as many bins as the preprocessor makes")
    tokenizer = _part("tokenizer", "sentencepiece")(config.section("tokenizer"), checkpoint)
    if decoder.size < tokenizer.size:
        raise CheckpointError(
            f"{checkpoint.path}: the decoder has {decoder.size} classes, its tokenizer {tokenizer.size} tokens"
        )
    auxiliary = auxiliary_files(checkpoint)
    dialect = _part("dialect", prompt)(tokenizer, config, spec, aligned=bool(auxiliary))
    notices = []
    if dialect.limits.width > 1:
        text = (
            f"the checkpoint asks for a beam of {dialect.limits.width}, it is decoded greedily; the strategy "
            f"attention-beam with beam_size={dialect.limits.width} is what it asks for"
        )
        notices.append(Notice("greedy-for-beam", text, once=True))
    return Parts(
        frontend,
        encoder,
        decoder,
        tokenizer,
        dialect,
        strategy="greedy",
        longest=TRAINED_SECONDS if spec is None or spec.longest is None else spec.longest,
        strategy_notices=tuple(notices),
        aligner=partial(build_aligner, checkpoint, backend, precision, edges, frontend.rate) if auxiliary else None,
        extras={"aligner": auxiliary} if auxiliary else {},
    )


# What a user may set when loading; found here by ``asrkit.loading``.
build.Settings = Settings  # type: ignore[attr-defined]


def _part(kind: str, name: str) -> Any:
    # With the plugin's name: another plugin may register parts of the same names.
    return registry().get(kind, f"canary:{name}").load()
