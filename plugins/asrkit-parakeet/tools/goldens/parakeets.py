"""Seeded random tiny models of the three classes, configured and built by NeMo itself."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

# Clips, vocabularies and the way weights are drawn are those of the Canary goldens.
sys.path.append(str(Path(__file__).resolve().parents[3] / "asrkit-canary/tools/goldens"))

import clips as sounds
import models as canary
import vocabularies
from nemo.collections.asr.models import EncDecCTCModelBPE, EncDecHybridRNNTCTCBPEModel, EncDecRNNTBPEModel
from omegaconf import OmegaConf, open_dict

__all__ = ["CLASSES", "DURATIONS", "VARIANTS", "Variant", "build", "sounds"]

CLASSES = {"ctc": EncDecCTCModelBPE, "rnnt": EncDecRNNTBPEModel, "tdt": EncDecRNNTBPEModel}
CLASSES["tdt_ctc"] = EncDecHybridRNNTCTCBPEModel
MODULES = "nemo.collections.asr.modules"
HIDDEN, JOINT = 32, 32
DURATIONS = [0, 1, 2, 3, 4]


@dataclass(frozen=True)
class Variant:
    """A model to build; `blanks` is the share of blanks, `scale` the deviation of its logits."""

    kind: str
    seed: int
    shape: canary.Shape
    vocabulary: int = 72
    lstm: int = 2
    blanks: float = 0.5
    scale: float = 3.0
    context: tuple[int, int] | None = None


def shape(**changes: Any) -> canary.Shape:
    """Encoder sizes."""
    small = {"channels": 8, "encoder_width": 32, "encoder_heads": 2, "encoder_layers": 2, "encoder_factor": 2}
    return canary.Shape(**small | changes)


VARIANTS = {
    "ctc": Variant("ctc", 2, shape(xscaling=True)),
    "rnnt": Variant("rnnt", 20, shape(xscaling=True, kernel=5)),
    "tdt": Variant("tdt", 5, shape(mels=128, use_bias=False), blanks=0.2),
    "tdt_ctc": Variant("tdt_ctc", 4, shape(encoder_layers=3), lstm=1, blanks=0.35, context=(4, 4)),
}


def config(variant: Variant, vocabulary: str) -> dict[str, Any]:
    """A whole configuration, laid out as in NeMo's fast-conformer recipes."""
    encoder = canary.encoder(variant.shape)
    if variant.context is not None:
        encoder |= {"self_attention_model": "rel_pos_local_attn", "att_context_size": list(variant.context)}
    width = variant.shape.encoder_width
    head = {"_target_": f"{MODULES}.ConvASRDecoder", "feat_in": width, "num_classes": -1, "vocabulary": []}
    base = {
        "sample_rate": 16000,
        "compute_eval_loss": False,
        "log_prediction": False,
        "skip_nan_grad": False,
        "model_defaults": {"enc_hidden": width, "pred_hidden": HIDDEN, "joint_hidden": JOINT},
        "tokenizer": {"dir": vocabulary, "type": "bpe"},
        "preprocessor": canary.preprocessor(variant.shape.mels),
        "encoder": encoder,
        "optim": {"name": "adamw", "lr": 1e-3},
    }
    if variant.kind == "ctc":
        return base | {"ctc_reduction": "mean_volume", "decoder": head, "decoding": {"strategy": "greedy_batch"}}
    timed = variant.kind != "rnnt"
    decoding: dict[str, Any] = {"strategy": "greedy_batch", "greedy": {"max_symbols": 10}, "model_type": "rnnt"}
    loss: dict[str, Any] = {"loss_name": "default", "warprnnt_numba_kwargs": {"fastemit_lambda": 0.0}}
    if timed:
        base["model_defaults"] |= {"tdt_durations": DURATIONS, "num_tdt_durations": len(DURATIONS)}
        decoding |= {"model_type": "tdt", "durations": DURATIONS}
        loss = {"loss_name": "tdt", "tdt_kwargs": {"durations": DURATIONS, "sigma": 0.02, "omega": 0.1}}
    base |= {
        "decoder": {
            "_target_": f"{MODULES}.RNNTDecoder",
            "normalization_mode": None,
            "random_state_sampling": False,
            "blank_as_pad": True,
            "prednet": {"pred_hidden": HIDDEN, "pred_rnn_layers": variant.lstm, "t_max": None, "dropout": 0.2},
        },
        "joint": {
            "_target_": f"{MODULES}.RNNTJoint",
            "log_softmax": None,
            "preserve_memory": False,
            "fuse_loss_wer": False,
            "fused_batch_size": -1,
            "num_extra_outputs": len(DURATIONS) if timed else 0,
            "jointnet": {"joint_hidden": JOINT, "activation": "relu", "dropout": 0.2},
        },
        "decoding": decoding,
        "loss": loss,
    }
    if variant.kind == "tdt_ctc":
        base["aux_ctc"] = {"ctc_loss_weight": 0.3, "use_cer": False, "ctc_reduction": "mean_batch", "decoder": head}
        base["aux_ctc"]["decoding"] = {"strategy": "greedy_batch"}
    return base


def build(variant: Variant, folder: Path, signal: torch.Tensor) -> Any:
    """The model in evaluation mode; its vocabulary is trained into `folder`."""
    vocabulary = vocabularies.plain(folder / "vocabulary", variant.vocabulary)
    model = CLASSES[variant.kind](OmegaConf.create(config(variant, str(vocabulary))))
    with open_dict(model.cfg):  # without it transcribe() fails
        model.cfg.validation_ds = {"use_start_end_token": False}
    canary.randomize(model, canary.Weights(variant.seed))
    calibrate(model.eval(), variant, signal)
    return model


@torch.no_grad()
def calibrate(model: Any, variant: Variant, signal: torch.Tensor) -> None:
    """Move and stretch what the random layers give, so that blanks, tokens and durations all get their turns.

    Without it what differs from frame to frame would drown in what does not, and a model say one token for ever.

    Args:
        signal: (1, S) samples to measure with.
    """
    size = model.tokenizer.vocab_size
    features, length = model.preprocessor(input_signal=signal, length=torch.tensor([signal.shape[1]]))
    states = model.encoder(audio_signal=features, length=length)[0][0].T
    for name in ("decoder", "ctc_decoder"):
        if hasattr(getattr(model, name, None), "decoder_layers"):
            layer = getattr(model, name).decoder_layers[0]
            even(layer, lambda layer=layer: layer(states.T[None])[0].T, variant.scale)
            favour(layer.bias, layer(states.T[None])[0].T, size, variant.blanks)
    if not hasattr(model, "joint"):
        return
    embedding, joint = model.decoder.prediction.embed.weight, model.joint
    embedding *= 4
    embedding[size] = 0.0  # the row of the padding, as in training
    tokens = torch.randint(size, (6, 40), generator=torch.Generator().manual_seed(variant.seed))
    predicted = model.decoder.predict(tokens, None, add_sos=False)[0].reshape(-1, HIDDEN)
    even(joint.enc, lambda: joint.enc(states), 1.0)
    even(joint.pred, lambda: joint.pred(predicted), 1.0)
    last = joint.joint_net[-1]

    def outputs() -> torch.Tensor:
        return joint.joint_net(joint.enc(states)[:, None] + joint.pred(predicted)[None]).reshape(-1, last.out_features)

    even(last, outputs, variant.scale)
    favour(last.bias, outputs()[:, : size + 1], size, variant.blanks)


def even(layer: torch.nn.Module, run: Callable[[], torch.Tensor], scale: float) -> None:
    """Give each output of a layer the mean 0 and the deviation `scale`."""
    found = run()
    mean, deviation = found.mean(0), found.std(0) / scale
    layer.weight /= deviation.reshape(-1, *[1] * (layer.weight.dim() - 1))
    layer.bias.copy_((layer.bias - mean) / deviation)


def favour(bias: torch.Tensor, logits: torch.Tensor, blank: int, share: float) -> None:
    """Raise the bias of the blank so that it wins that share of the rows."""
    others = torch.cat([logits[:, :blank], logits[:, blank + 1 :]], 1).max(1).values
    bias[blank] += torch.quantile(others - logits[:, blank], share) + 0.05  # not a tie with any of the rows
