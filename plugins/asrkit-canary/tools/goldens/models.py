"""Seeded random tiny Canary models, built and saved by NeMo itself.

A variant is a `Shape` (sizes and switches), a vocabulary and a seed. The weights are drawn here and not left
as NeMo initialises them: its ones and zeros in norms, biases and running statistics would hide mistakes in a
reader.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import vocabularies
from nemo.collections.asr.models import EncDecMultiTaskModel
from nemo.collections.common.tokenizers.canary_tokenizer import CanaryTokenizer
from nemo.utils import AppState
from omegaconf import OmegaConf

TOKENIZERS = "nemo.collections.common.tokenizers.canary_tokenizer"
LANGUAGES = ("en", "de", "es", "fr")
AFTER_ACTIVATION = ("dense_out", "pre_encode.conv", "pre_encode.out", "linear2", "pointwise_conv2")
BEAM = {"strategy": "beam", "beam": {"beam_size": 1, "len_pen": 0.0, "max_generation_delta": 50}}


@dataclass(frozen=True)
class Shape:
    """Sizes of a model. The defaults are the released models' wherever that does not make the file large."""

    prompt_format: str = "canary2"
    mels: int = 80
    channels: int = 16
    encoder_width: int = 32
    encoder_heads: int = 4
    encoder_layers: int = 2
    encoder_factor: int = 2
    kernel: int = 9
    use_bias: bool = True
    xscaling: bool = False
    bridge_layers: int = 0
    width: int = 48
    heads: int = 4
    layers: int = 2
    inner: int = 96
    max_length: int = 128
    decoding: dict[str, Any] = field(default_factory=lambda: BEAM)

    @property
    def delta(self) -> int:
        """How many tokens more than encoder frames may come out."""
        return int(self.decoding[self.decoding["strategy"]]["max_generation_delta"])


@dataclass(frozen=True)
class Weights:
    """How the weights are drawn.

    `subsampling` scales the matrix after the encoder's convolutions, which passes on the rounding of the features.
    `gain` scales the decoder's matrices, `attention` those of its attentions where it is given, `sharpness` the
    query and key matrices where it is given (the scores have a standard deviation of about its square), and
    `embedding` the table that is also the head's matrix: a small one leaves more to the positions. With `turned`
    the weights of the decoder's last norm have no mean and this standard deviation: the head shares the table,
    and a model that adds little to what it was fed would otherwise say its last token again for ever. `bias` is
    added to the head's bias of the named special tokens. With `centred` the matrices that follow a ReLU or swish
    have rows without a mean, and the encoder's attention speaks softly: in a wide, deep model the mean of so many
    positive inputs, or of so many frames, would drown what differs from frame to frame.
    """

    seed: int
    gain: float = 4.0
    attention: float | None = None
    sharpness: float | None = None
    embedding: float = 1.0
    turned: float | None = None
    subsampling: float = 1.6
    centred: bool = False
    bias: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Variant:
    """A model to build: its shape, its weights and the function that trains its vocabulary into a folder.

    With `aligner` the archive also holds a small CTC model. With `ends_at_once` the first token of just one clip
    is the end token, with `pads` a greedy text has a padding token inside: NeMo's searches differ there.
    """

    name: str
    shape: Shape
    weights: Weights
    tokenizer: Callable[[Path], dict[str, Any]]
    aligner: bool = False
    ends_at_once: bool = False
    pads: bool = False


def aggregate(
    special: Callable[[Path], Path],
    size: int,
    language: Callable[[Path, str, int], Path] = vocabularies.language,
) -> Callable[[Path], dict[str, Any]]:
    """The configuration of an aggregate tokenizer: `special` and four languages of `size` pieces each."""

    def build(folder: Path) -> dict[str, Any]:
        folders = {"spl_tokens": special(folder / "spl_tokens")}
        folders |= {name: language(folder / name, name, size) for name in LANGUAGES}
        return {
            "dir": None,
            "type": "agg",
            "langs": {name: {"dir": str(path), "type": "bpe"} for name, path in folders.items()},
            "custom_tokenizer": {"_target_": f"{TOKENIZERS}.CanaryTokenizer", "tokenizers": None},
        }

    return build


def unified(size: int) -> Callable[[Path], dict[str, Any]]:
    """The configuration of one tokenizer for everything, as in canary-1b-v2."""

    def build(folder: Path) -> dict[str, Any]:
        return {
            "dir": str(vocabularies.unified(folder / "unified", size)),
            "type": "bpe",
            "custom_tokenizer": {"_target_": f"{TOKENIZERS}.CanaryBPETokenizer", "model_path": None},
        }

    return build


def preprocessor(mels: int) -> dict[str, Any]:
    """The front end of every released model, but for the number of mel bins."""
    return {
        "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
        "sample_rate": 16000,
        "normalize": "per_feature",
        "window_size": 0.025,
        "window_stride": 0.01,
        "window": "hann",
        "features": mels,
        "n_fft": 512,
        "log": True,
        "frame_splicing": 1,
        "dither": 1e-5,
        "pad_to": 0,
        "pad_value": 0.0,
    }


def encoder(shape: Shape) -> dict[str, Any]:
    """A FastConformer."""
    return {
        "_target_": "nemo.collections.asr.modules.ConformerEncoder",
        "feat_in": shape.mels,
        "feat_out": -1,
        "n_layers": shape.encoder_layers,
        "d_model": shape.encoder_width,
        "use_bias": shape.use_bias,
        "subsampling": "dw_striding",
        "subsampling_factor": 8,
        "subsampling_conv_channels": shape.channels,
        "causal_downsampling": False,
        "ff_expansion_factor": shape.encoder_factor,
        "self_attention_model": "rel_pos",
        "n_heads": shape.encoder_heads,
        "att_context_size": [-1, -1],
        "xscaling": shape.xscaling,
        "untie_biases": True,
        "pos_emb_max_len": 5000,
        "conv_kernel_size": shape.kernel,
        "conv_norm_type": "batch_norm",
        "conv_context_size": None,
        "dropout": 0.1,
        "dropout_pre_encoder": 0.1,
        "dropout_emb": 0.0,
        "dropout_att": 0.1,
    }


def config(shape: Shape, tokenizer: dict[str, Any]) -> dict[str, Any]:
    """A whole model configuration, laid out as in NVIDIA's fast-conformer_aed.yaml."""
    transformer = {
        "hidden_size": shape.width,
        "inner_size": shape.inner,
        "num_attention_heads": shape.heads,
        "ffn_dropout": 0.1,
        "attn_score_dropout": 0.1,
        "attn_layer_dropout": 0.1,
        "pre_ln": True,
    }
    return {
        "sample_rate": 16000,
        "label_smoothing": 0.0,
        "prompt_format": shape.prompt_format,
        "model_defaults": {
            "asr_enc_hidden": shape.encoder_width,
            "lm_enc_hidden": shape.width,
            "lm_dec_hidden": shape.width,
        },
        "tokenizer": tokenizer,
        "preprocessor": preprocessor(shape.mels),
        "encoder": encoder(shape),
        "transf_encoder": {
            "_target_": "nemo.collections.asr.modules.transformer.transformer_encoders.TransformerEncoder",
            "num_layers": shape.bridge_layers,
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
                "max_sequence_length": shape.max_length,
                "num_token_types": 0,
                "embedding_dropout": 0.1,
                "learn_positional_encodings": False,
                "num_layers": shape.layers,
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
            "hidden_size": shape.width,
            "num_classes": "None",
            "dropout": 0.0,
            "use_transformer_init": True,
        },
        "decoding": shape.decoding,
        "loss": {
            "_target_": "nemo.collections.common.losses.smoothed_cross_entropy.SmoothedCrossEntropyLoss",
            "label_smoothing": 0.0,
            "pad_id": None,
        },
        "optim": {"name": "adamw", "lr": 3e-4},
    }


def build(variant: Variant, folder: Path) -> EncDecMultiTaskModel:
    """The model of `variant` in evaluation mode; its vocabulary is trained into `folder`."""
    # After a `restore_from` in this process NeMo would look for an auxiliary model in that archive, and fail.
    AppState().model_restore_path = None
    model = EncDecMultiTaskModel(OmegaConf.create(config(variant.shape, variant.tokenizer(folder))))
    randomize(model, variant.weights)
    return model.eval()


def randomize(model: torch.nn.Module, weights: Weights) -> None:
    """Draw every weight anew, in the order of the names, from one generator."""
    generator = torch.Generator().manual_seed(weights.seed)
    for name, tensor in sorted(model.state_dict().items()):
        # The mel matrix, the window and the position table are what they are; the head shares the table's
        # storage.
        if "featurizer" in name or "pos_enc" in name or name == "log_softmax.mlp.layer0.weight":
            continue
        if tensor.is_floating_point():
            tensor.copy_(_draw(name, tensor, weights, generator))
    if not isinstance(model, EncDecMultiTaskModel):
        return
    # The head is as wide as the next multiple of 8; an id without a piece would make NeMo's detokenizer fail.
    model.log_softmax.mlp.layer0.bias.data[model.tokenizer.vocab_size :] = -100.0
    for token, value in weights.bias.items():
        model.log_softmax.mlp.layer0.bias.data[special_id(model, token)] += value


def special_id(model: EncDecMultiTaskModel, token: str) -> int:
    """The id of a special token in either kind of tokenizer."""
    if isinstance(model.tokenizer, CanaryTokenizer):
        return model.tokenizer.special_tokens[token]
    return model.tokenizer.token_to_id(token)


def _draw(name: str, tensor: torch.Tensor, weights: Weights, generator: torch.Generator) -> torch.Tensor:
    noise = torch.randn(tensor.shape, generator=generator)
    last = name.rsplit(".", 1)[-1]
    if last == "running_var":
        return 0.4 + noise.square()
    if last in ("running_mean", "pos_bias_u", "pos_bias_v"):
        return 0.3 * noise
    if "token_embedding" in name:
        return weights.embedding * noise
    if last == "bias":
        return 0.2 * noise
    if weights.turned and name == "transf_decoder._decoder.final_layer_norm.weight":
        return weights.turned * noise
    if tensor.dim() == 1:  # the weight of a norm
        return 1.0 + 0.2 * noise
    # A decoder with calm weights says one token for ever; a wild encoder would only blow up rounding errors.
    gain = 0.4 if weights.centred and "linear_v" in name else 1.6
    if name == "encoder.pre_encode.out.weight":
        gain = weights.subsampling
    if name.startswith("transf_decoder"):
        gain = weights.attention or weights.gain if "_net" in name or "out_projection" in name else weights.gain
        if "query_net" in name or "key_net" in name:
            gain = weights.sharpness or gain
    if weights.centred and any(part in name for part in AFTER_ACTIVATION) and tensor.shape[1] > 1:
        noise -= noise.flatten(1).mean(1).reshape(-1, *[1] * (tensor.dim() - 1))
    return gain * noise / tensor[0].numel() ** 0.5
