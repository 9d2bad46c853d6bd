"""Writes a small Canary checkpoint with random weights: it runs like a trained one and understands nothing.

``python -m asrkit_canary.random_checkpoint random-canary.nemo`` makes the file that the README's first command uses;
tests use it wherever any checkpoint will do.
"""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece

from asrkit.errors import AsrkitError
from asrkit.frontends.mel import mel_filters
from asrkit.testing.archives import write_nemo

__all__ = ["write_random_checkpoint"]

LANGUAGES = ("en", "de", "es", "fr")
SLOTS = (
    *("<|nospeech|>", "<pad>", "<|endoftext|>", "<|startoftranscript|>", "<|pnc|>", "<|nopnc|>"),
    *("<|startofcontext|>", "<|itn|>", "<|noitn|>", "<|timestamp|>", "<|notimestamp|>", "<|diarize|>"),
    *("<|nodiarize|>", "<|emo:undefined|>"),
)
WORDS = "la le un une der die das und el los the and to of in es ist son was wir on est que es war nous you not"
SIZES: dict[str, Any] = {"bins": 80, "width": 32, "heads": 4, "layers": 2, "channels": 16, "decoder": 48, "tokens": 256}


def write_random_checkpoint(path: str | Path, seed: int = 4) -> Path:
    """Write a ``canary2`` checkpoint of about half a megabyte: four languages, encoder, projection, decoder.

    Args:
        path: the ``.nemo`` file to write.
        seed: of the weights; the same seed gives the same weights.
    """
    path = Path(path)
    models = {"spl_tokens": _special_tokens()} | {name: _pieces() for name in LANGUAGES}
    vocabulary = sum(_size(model) for model in models.values())
    names = {name: f"{n:032x}_tokenizer.model" for n, name in enumerate(models)}
    rng = np.random.default_rng(seed)
    tensors = dict(_tensors(rng, -(-vocabulary // 8) * 8))
    tensors["log_softmax.mlp.layer0.weight"] = tensors["transf_decoder._embedding.token_embedding.weight"]
    write_nemo(path, _config(names, vocabulary), tensors, {names[name]: models[name] for name in models})
    return path


def _train(words: str, **options: Any) -> bytes:
    """A SentencePiece model from a line of words."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([words] * 4),
        model_writer=model,
        model_type="bpe",
        normalization_rule_name="identity",
        bos_id=-1,
        eos_id=-1,
        hard_vocab_limit=False,
        minloglevel=2,
        **options,
    )
    return model.getvalue()


def _special_tokens() -> bytes:
    tokens = [*SLOTS, *(f"<|{name}|>" for name in LANGUAGES), *(f"<|{n}|>" for n in range(64))]
    return _train(" ".join(tokens), vocab_size=len(tokens) + 2, user_defined_symbols=tokens, character_coverage=1.0)


def _pieces() -> bytes:
    return _train(WORDS, vocab_size=48)


def _size(model: bytes) -> int:
    size: int = sentencepiece.SentencePieceProcessor(model_proto=model).get_piece_size()
    return size


def _config(names: dict[str, str], vocabulary: int) -> dict[str, Any]:
    s = SIZES
    return {
        "target": "nemo.collections.asr.models.aed_multitask_models.EncDecMultiTaskModel",
        "prompt_format": "canary2",
        "preprocessor": {
            "sample_rate": 16000,
            "window_size": 0.025,
            "window_stride": 0.01,
            "window": "hann",
            "features": s["bins"],
            "n_fft": 512,
            "normalize": "per_feature",
            "log": True,
            "frame_splicing": 1,
            "dither": 1e-5,
            "pad_to": 0,
        },
        "encoder": {
            "feat_in": s["bins"],
            "n_layers": s["layers"],
            "d_model": s["width"],
            "n_heads": s["heads"],
            "subsampling": "dw_striding",
            "subsampling_factor": 8,
            "subsampling_conv_channels": s["channels"],
            "ff_expansion_factor": 4,
            "self_attention_model": "rel_pos",
            "xscaling": False,
            "conv_kernel_size": 9,
        },
        "transf_encoder": {"num_layers": 0},
        "transf_decoder": {
            "config_dict": {
                "hidden_size": s["decoder"],
                "inner_size": 4 * s["decoder"],
                "num_layers": s["layers"],
                "num_attention_heads": s["heads"],
                "max_sequence_length": s["tokens"],
                "hidden_act": "relu",
                "pre_ln": True,
                "pre_ln_final_layer_norm": True,
                "learn_positional_encodings": False,
            }
        },
        "head": {"num_layers": 1, "num_classes": vocabulary},
        "tokenizer": {
            "type": "agg",
            "langs": {name: {"type": "bpe", "model_path": f"nemo:{file}", "dir": None} for name, file in names.items()},
        },
        "decoding": {"strategy": "beam", "beam": {"beam_size": 1, "len_pen": 0.0, "max_generation_delta": 50}},
    }


def _tensors(rng: np.random.Generator, classes: int) -> Iterator[tuple[str, np.ndarray]]:
    """Names and values in the state dict's layout."""

    def normal(*shape: int, scale: float | None = None) -> np.ndarray:
        fan_in = math.prod(shape[1:]) or 1
        return (rng.standard_normal(shape) * (scale or 1 / math.sqrt(fan_in))).astype(np.float32)

    def linear(name: str, outputs: int, *inputs: int) -> Iterator[tuple[str, np.ndarray]]:
        # Larger than usual: with a tied head, blocks that add little would repeat the last token for ever.
        yield f"{name}.weight", normal(outputs, *inputs) * 2
        yield f"{name}.bias", normal(outputs, scale=0.1)

    def norm(name: str, size: int) -> Iterator[tuple[str, np.ndarray]]:
        yield f"{name}.weight", 1 + normal(size, scale=0.1)
        yield f"{name}.bias", normal(size, scale=0.1)

    width, decoder, channels = SIZES["width"], SIZES["decoder"], SIZES["channels"]
    yield "preprocessor.featurizer.fb", mel_filters(SIZES["bins"])[None]
    yield "preprocessor.featurizer.window", np.hanning(400).astype(np.float32)
    conv = "encoder.pre_encode.conv"
    yield from linear(f"{conv}.0", channels, 1, 3, 3)
    for n in (2, 5):
        yield from linear(f"{conv}.{n}", channels, 1, 3, 3)
        yield from linear(f"{conv}.{n + 1}", channels, channels, 1, 1)
    yield from linear("encoder.pre_encode.out", width, channels * -(-SIZES["bins"] // 8))
    for n in range(SIZES["layers"]):
        block = f"encoder.layers.{n}"
        for part in ("feed_forward1", "self_att", "conv", "feed_forward2", "out"):
            yield from norm(f"{block}.norm_{part}", width)
        for part in ("feed_forward1", "feed_forward2"):
            yield from linear(f"{block}.{part}.linear1", 4 * width, width)
            yield from linear(f"{block}.{part}.linear2", width, 4 * width)
        for part in ("q", "k", "v", "out"):
            yield from linear(f"{block}.self_attn.linear_{part}", width, width)
        yield f"{block}.self_attn.linear_pos.weight", normal(width, width)
        for part in ("u", "v"):
            yield f"{block}.self_attn.pos_bias_{part}", normal(SIZES["heads"], width // SIZES["heads"])
        yield from linear(f"{block}.conv.pointwise_conv1", 2 * width, width, 1)
        yield from linear(f"{block}.conv.depthwise_conv", width, 1, 9)
        yield from norm(f"{block}.conv.batch_norm", width)
        yield f"{block}.conv.batch_norm.running_mean", normal(width, scale=0.1)
        yield f"{block}.conv.batch_norm.running_var", np.abs(1 + normal(width, scale=0.1))
        yield f"{block}.conv.batch_norm.num_batches_tracked", np.array(1, np.int64)
        yield from linear(f"{block}.conv.pointwise_conv2", width, width, 1)
    yield from linear("encoder_decoder_proj", decoder, width)
    embedding = "transf_decoder._embedding"
    yield f"{embedding}.token_embedding.weight", normal(classes, decoder)
    yield f"{embedding}.position_embedding.pos_enc", _positions(SIZES["tokens"], decoder)
    yield from norm(f"{embedding}.layer_norm", decoder)
    for n in range(SIZES["layers"]):
        block = f"transf_decoder._decoder.layers.{n}"
        for number in (1, 2, 3):
            yield from norm(f"{block}.layer_norm_{number}", decoder)
        for part in ("first", "second"):
            for net in ("query_net", "key_net", "value_net", "out_projection"):
                yield from linear(f"{block}.{part}_sub_layer.{net}", decoder, decoder)
        yield from linear(f"{block}.third_sub_layer.dense_in", 4 * decoder, decoder)
        yield from linear(f"{block}.third_sub_layer.dense_out", decoder, 4 * decoder)
    yield from norm("transf_decoder._decoder.final_layer_norm", decoder)
    yield "log_softmax.mlp.layer0.bias", normal(classes, scale=0.1)


def _positions(count: int, width: int) -> np.ndarray:
    """The decoder's table of positions, (count, width)."""
    angles = np.arange(count)[:, None] * np.exp(-math.log(10000.0) * np.arange(0, width, 2) / width)
    table = np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(count, width)
    return (table / math.sqrt(width)).astype(np.float32)


def main() -> None:
    """Command line: the path to write."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m asrkit_canary.random_checkpoint PATH.nemo")
    try:
        print(f"wrote {write_random_checkpoint(sys.argv[1])}", file=sys.stderr)
    except (AsrkitError, OSError) as error:
        sys.exit(f"random_checkpoint: {error}")


if __name__ == "__main__":
    main()
