"""Builds a Parakeet model from checkpoints of three classes of NeMo, out of parts from the registry."""

from __future__ import annotations

from typing import Any, Literal, cast

import attrs

from asrkit.checkpoints.nemo import plain_name
from asrkit.config import Config
from asrkit.decoders import CTCHead
from asrkit.errors import CheckpointError, OptionError
from asrkit.interfaces import Backend, Checkpoint, Tokenizer
from asrkit.models import ModelSpec, Parts
from asrkit.plugins import registry
from asrkit.values import Notice
from asrkit.weights import Weights
from asrkit_parakeet.pieces import Pieces, vocabulary_of
from asrkit_parakeet.words import Head

__all__ = ["Settings", "build"]

LONGEST = 60.0
"""Seconds. The models take much longer clips, but attention needs memory and time that grow with the square of the
length, and a minute is context enough."""

MAX_SYMBOLS = 10
"""What NeMo's configurations say; another number is told."""

STREAMING = {"causal_downsampling": (False,), "conv_context_size": (None,), "conv_norm_type": ("batch_norm",)}
STREAMING["att_context_style"] = ("regular",)
"""Settings of the encoder that tell a streaming model, and what the others have there."""


@attrs.frozen
class Settings:
    """Load-time options."""

    decoder: Literal["ctc", "rnnt", "tdt"] | None = None
    """Which decoder of a hybrid model; by default its transducer."""


def build(
    checkpoint: Checkpoint,
    backend: Backend,
    precision: str,
    spec: ModelSpec | None = None,
    settings: Settings | None = None,
) -> Parts:
    """Build the parts for one backend. Sizes and biases come from the tensors, the rest from the configuration.

    Args:
        spec: of a model known by name: its languages.

    Raises:
        CheckpointError: a configuration, tensor or file is missing, left over, contradictory or not what this plugin
            builds.
        OptionError: the model has not the decoder that was asked for.
    """
    config = Config(checkpoint.config, str(checkpoint.path))
    weights = Weights(checkpoint.tensors(), backend, precision, str(checkpoint.path))
    _refuse_streaming(config, weights)
    preprocessor = config.section("preprocessor")
    frontend = _part("frontend", "asrkit:log-mel")(weights / "preprocessor" / "featurizer", preprocessor)
    # As for other models, four bits are for the decoder: the encoder's products get no faster by them.
    wide = weights.at("int8") if precision == "int4" else weights
    encoder = _part("encoder", "canary:fastconformer")(wide / "encoder", config.section("encoder"))
    if preprocessor.integer("features", default=64) != encoder.bins:
        raise config.section("encoder").error("feat_in", "as many bins as the preprocessor makes")
    scope = "ctc_decoder" if "ctc_decoder" in weights else "decoder"
    has_ctc = f"{scope}.decoder_layers" in weights
    decoder: Any
    head: Head
    if _wants_ctc(weights, has_ctc, settings):
        decoder = CTCHead(weights / scope / "decoder_layers" / 0, encoder.width)
        weights.ignore(["joint"] if scope == "decoder" else ["joint", "decoder"])
        head = "ctc"
    else:
        decoder = _part("decoder", "parakeet:transducer")(weights, config, encoder.width)
        weights.ignore(["ctc_decoder"])
        head = "rnnt" if len(decoder.durations) == 1 else "tdt"
    _check_choice(weights, head, has_ctc, settings)
    weights.check()
    tokenizer = _tokenizer(config, checkpoint)
    if tokenizer.size != decoder.size - 1:
        raise CheckpointError(
            f"{checkpoint.path}: the decoder has {decoder.size} classes, which is {tokenizer.size} tokens and a blank "
            f"only if they were {tokenizer.size + 1}"
        )
    return Parts(
        frontend,
        encoder,
        decoder,
        tokenizer,
        _part("dialect", "parakeet:parakeet")(tokenizer, config, spec, head=head),
        strategy="ctc-greedy" if head == "ctc" else "transducer-greedy",
        longest=LONGEST if spec is None or spec.longest is None else spec.longest,
        notices=() if head == "ctc" else _notices(config),
    )


# What a user may set when loading; found here by ``asrkit.loading``.
build.Settings = Settings  # type: ignore[attr-defined]


def _part(kind: str, name: str) -> Any:
    # With the plugin's name: another plugin may register parts of the same names.
    return registry().get(kind, name).load()


def _refuse_streaming(config: Config, weights: Weights) -> None:
    """Streaming models need other masks and paddings, and some another network: they are told by name."""
    encoder = config.section("encoder")
    signs = [f"encoder.{key}" for key, usual in STREAMING.items() if encoder.values.get(key) not in (None, *usual)]
    if "prompt_kernel" in weights:
        signs.append("prompt_kernel")
    if signs:
        raise CheckpointError(
            f"{config.source}: is a streaming model, by its {', '.join(signs)}; asrkit runs only those Parakeet models "
            "that hear a whole recording"
        )


def _wants_ctc(weights: Weights, has_ctc: bool, settings: Settings | None) -> bool:
    asked = None if settings is None else settings.decoder
    has_transducer = "joint" in weights
    if not has_ctc and not has_transducer:
        raise CheckpointError(
            f"{weights.source}: holds neither a CTC decoder ('decoder.decoder_layers') nor a transducer ('joint')"
        )
    return has_ctc and (asked == "ctc" or not has_transducer)


def _check_choice(weights: Weights, head: Head, has_ctc: bool, settings: Settings | None) -> None:
    asked = None if settings is None else settings.decoder
    if asked in (None, head):
        return
    others = ["ctc"] if has_ctc and head != "ctc" else []
    raise OptionError(f"{weights.source}: has no decoder {asked!r}; it has: {', '.join([*others, head])}")


def _tokenizer(config: Config, checkpoint: Checkpoint) -> Tokenizer:
    """The checkpoint's own, or, where its file was left out, the pieces that the configuration lists."""
    section = config.section("tokenizer", optional=True)
    file = section.values.get("model_path")
    if section.values.get("type") != "agg" and (
        not isinstance(file, str) or plain_name(file) not in checkpoint.files()
    ):
        return Pieces(vocabulary_of(config))
    return cast(Tokenizer, _part("tokenizer", "canary:sentencepiece")(section, checkpoint))


def _notices(config: Config) -> tuple[Notice, ...]:
    """What a checkpoint's decoding section asks for and does not get."""
    decoding = config.section("decoding", optional=True)
    greedy = decoding.section("greedy", optional=True)
    asked = greedy.values.get("max_symbols", greedy.values.get("max_symbols_per_step"))
    if asked in (None, MAX_SYMBOLS):
        return ()
    text = f"the checkpoint asks for max_symbols={asked}, {MAX_SYMBOLS} is used; -o max_symbols={asked} sets it"
    return (Notice("max-symbols", text, once=True),)
