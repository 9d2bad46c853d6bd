"""The shape of canary-demo: a real NeMo EncDecMultiTaskModel, only small, with its vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from grammar import LANGUAGES, TEMPLATES, plain
from nemo.collections.asr.models import EncDecMultiTaskModel
from nemo.collections.asr.modules import AudioToMelSpectrogramPreprocessor
from nemo.collections.common.tokenizers.canary_tokenizer import CanaryTokenizer
from nemo.collections.common.tokenizers.sentencepiece_tokenizer import create_spt_model
from omegaconf import OmegaConf
from sentencepiece import sentencepiece_model_pb2

PIECES = 400  # per language
FRAME = 0.08
LAST_FRAME = 187  # of 15 s
MELS = 80
ENCODER_WIDTH, ENCODER_LAYERS = 128, 6
DECODER_WIDTH, DECODER_LAYERS = 160, 2
MOST_TOKENS = 256

# NeMo's builder puts <unk>, <|nospeech|>, <pad>, <|endoftext|>, <|startoftranscript|>, <|pnc|>, <|nopnc|> in front.
SPECIAL = [
    *("startofcontext", "itn", "noitn", "timestamp", "notimestamp", "diarize", "nodiarize", "spkchange"),
    *("audioseparator", "emo:undefined", "emo:neutral", "emo:happy", "emo:sad", "emo:angry", "unklang"),
    *LANGUAGES,
    *(str(frame) for frame in range(LAST_FRAME + 1)),
]

FRONT_END = {
    "sample_rate": 16000,
    "normalize": "per_feature",
    "window_size": 0.025,
    "window_stride": 0.01,
    "window": "hann",
    "features": MELS,
    "n_fft": 512,
    "log": True,
    "frame_splicing": 1,
    "dither": 1e-5,
    "pad_to": 0,
    "pad_value": 0.0,
}


def front_end() -> torch.nn.Module:
    """NeMo's feature extractor, as the model has it."""
    return AudioToMelSpectrogramPreprocessor(**FRONT_END).eval()


def vocabulary(folder: Path, seed_sentences: int = 400) -> dict[str, Any]:
    """Train the tokenizers into `folder`, unless they are there; returns the tokenizer's configuration."""
    if not (folder / "spl_tokens" / "tokenizer.model").exists():
        CanaryTokenizer.build_special_tokenizer(SPECIAL, folder / "spl_tokens")
        _tidy(folder / "spl_tokens")
    for language in LANGUAGES:
        if not (folder / language / "tokenizer.model").exists():
            _train(folder / language, _lines(language, seed_sentences))
    types = {name: {"dir": str(folder / name), "type": "bpe"} for name in ("spl_tokens", *LANGUAGES)}
    target = f"{CanaryTokenizer.__module__}.{CanaryTokenizer.__name__}"
    return {"dir": None, "type": "agg", "langs": types, "custom_tokenizer": {"_target_": target, "tokenizers": None}}


def build(folder: Path) -> EncDecMultiTaskModel:
    """A new model; its vocabulary lies in, or comes into, `folder`."""
    return EncDecMultiTaskModel(OmegaConf.create(_configuration(vocabulary(folder))))


def _lines(language: str, count: int) -> list[str]:
    """Training sentences of every template, with and without punctuation and capitals."""
    lines = []
    for template in TEMPLATES:
        known = [sentence.texts[language] for sentence in template.sentences() if not sentence.held_out]
        lines += known[:: max(1, len(known) // count)]
    return lines + [plain(line) for line in lines]


def _train(folder: Path, lines: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "train_text.txt"
    source.write_text("\n".join(lines), encoding="utf-8")
    create_spt_model(
        str(source),
        vocab_size=PIECES,
        sample_size=-1,
        do_lower_case=False,
        tokenizer_type="bpe",
        output_dir=str(folder),
        character_coverage=1.0,
    )
    source.unlink()
    _tidy(folder)


def _tidy(folder: Path) -> None:
    """Take the training paths out of the model, and the normalisation table of 240 kB: our text needs none."""
    file = folder / "tokenizer.model"
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(file.read_bytes())
    model.trainer_spec.ClearField("input")
    model.trainer_spec.ClearField("model_prefix")
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.precompiled_charsmap = b""
    file.write_bytes(model.SerializeToString())


def encoder_configuration() -> dict[str, Any]:
    """Of a FastConformer, as NeMo builds it."""
    return {
        "_target_": "nemo.collections.asr.modules.ConformerEncoder",
        "feat_in": MELS,
        "feat_out": -1,
        "n_layers": ENCODER_LAYERS,
        "d_model": ENCODER_WIDTH,
        "use_bias": True,
        "subsampling": "dw_striding",
        "subsampling_factor": 8,
        "subsampling_conv_channels": 32,
        "causal_downsampling": False,
        "ff_expansion_factor": 4,
        "self_attention_model": "rel_pos",
        "n_heads": 4,
        "att_context_size": [-1, -1],
        "xscaling": False,
        "untie_biases": True,
        "pos_emb_max_len": 5000,
        "conv_kernel_size": 9,
        "conv_norm_type": "batch_norm",
        "conv_context_size": None,
        "dropout": 0.1,
        "dropout_pre_encoder": 0.1,
        "dropout_emb": 0.0,
        "dropout_att": 0.1,
    }


def _configuration(tokenizer: dict[str, Any]) -> dict[str, Any]:
    """Laid out as NVIDIA's fast-conformer_aed.yaml."""
    transformer = {
        "hidden_size": DECODER_WIDTH,
        "inner_size": 4 * DECODER_WIDTH,
        "num_attention_heads": 4,
        "ffn_dropout": 0.1,
        "attn_score_dropout": 0.1,
        "attn_layer_dropout": 0.1,
        "pre_ln": True,
    }
    widths = {"asr_enc_hidden": ENCODER_WIDTH, "lm_enc_hidden": DECODER_WIDTH, "lm_dec_hidden": DECODER_WIDTH}
    losses = "nemo.collections.common.losses.smoothed_cross_entropy.SmoothedCrossEntropyLoss"
    return {
        "sample_rate": 16000,
        "label_smoothing": 0.0,
        "prompt_format": "canary2",
        "model_defaults": widths,
        "tokenizer": tokenizer,
        "preprocessor": {"_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor", **FRONT_END},
        "encoder": encoder_configuration(),
        "transf_encoder": {
            "_target_": "nemo.collections.asr.modules.transformer.transformer_encoders.TransformerEncoder",
            "num_layers": 0,
            "mask_future": False,
            "pre_ln_final_layer_norm": True,
            **transformer,
        },
        "transf_decoder": {
            "_target_": "nemo.collections.asr.modules.transformer.get_nemo_transformer",
            "model_name": None,
            "pretrained": False,
            "encoder": None,
            "pre_ln_final_layer_norm": True,
            "config_dict": {
                "max_sequence_length": MOST_TOKENS,
                "num_token_types": 0,
                "embedding_dropout": 0.1,
                "learn_positional_encodings": False,
                "num_layers": DECODER_LAYERS,
                "hidden_act": "relu",
                "vocab_size": "None",
                **transformer,
            },
        },
        "head": {
            "_target_": "nemo.collections.asr.parts.submodules.token_classifier.TokenClassifier",
            "num_layers": 1,
            "activation": "relu",
            "log_softmax": True,
            "hidden_size": DECODER_WIDTH,
            "num_classes": "None",
            "dropout": 0.0,
            "use_transformer_init": True,
        },
        "decoding": {"strategy": "beam", "beam": {"beam_size": 1, "len_pen": 0.0, "max_generation_delta": 50}},
        "loss": {"_target_": losses, "label_smoothing": 0.0, "pad_id": None},
        "optim": {"name": "adamw", "lr": 1e-3},
    }
