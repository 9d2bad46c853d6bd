r"""Train a TDT and a CTC decoder on the states of canary-demo's encoder, which stays as it is.

    python heads.py WORK_DIR WORK_DIR/canary-demo.nemo STATES.npz --minutes 7 --out WORK_DIR/parakeet-demo.nemo \
        --head HEAD_DIR

NeMo's own EncDecHybridRNNTCTCBPEModel. All of it is saved as `.nemo`; what is new in it, and its configuration, also in
HEAD_DIR. Both learn from the synthesizer's times of words: a frame's class by cross-entropy, for TDT after each token
that may have been said before, CTC also by its own loss.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from export import halve, rounded
from model import ENCODER_WIDTH, FRONT_END, encoder_configuration
from nemo.collections.asr.models import EncDecHybridRNNTCTCBPEModel, EncDecMultiTaskModel
from nemo.utils import AppState, logging
from omegaconf import OmegaConf, open_dict
from safetensors.numpy import save_file
from torch.nn import functional

HIDDEN = 96
DURATIONS = [0, 1, 2, 3, 4]
FRAMES = 8000  # of states, in a batch
WARM_UP = 100  # steps
FORGOTTEN = 0.05  # of the tokens that were said: another one stands there
MODULES = "nemo.collections.asr.modules"


def configuration(vocabulary: Path) -> dict[str, Any]:
    """Laid out as NVIDIA's fastconformer_hybrid_tdt_ctc_bpe.yaml."""
    head = {"_target_": f"{MODULES}.ConvASRDecoder", "feat_in": ENCODER_WIDTH, "num_classes": -1, "vocabulary": []}
    defaults = {"enc_hidden": ENCODER_WIDTH, "pred_hidden": HIDDEN, "joint_hidden": HIDDEN}
    return {
        "sample_rate": 16000,
        "compute_eval_loss": False,
        "log_prediction": False,
        "skip_nan_grad": False,
        "model_defaults": defaults | {"tdt_durations": DURATIONS, "num_tdt_durations": len(DURATIONS)},
        "tokenizer": {"dir": str(vocabulary), "type": "bpe"},
        "preprocessor": {"_target_": f"{MODULES}.AudioToMelSpectrogramPreprocessor", **FRONT_END},
        "encoder": encoder_configuration(),
        "decoder": {
            "_target_": f"{MODULES}.RNNTDecoder",
            "normalization_mode": None,
            "random_state_sampling": False,
            "blank_as_pad": True,
            "prednet": {"pred_hidden": HIDDEN, "pred_rnn_layers": 1, "t_max": None, "dropout": 0.2},
        },
        "joint": {
            "_target_": f"{MODULES}.RNNTJoint",
            "log_softmax": None,
            "preserve_memory": False,
            "fuse_loss_wer": False,
            "fused_batch_size": -1,
            "num_extra_outputs": len(DURATIONS),
            "jointnet": {"joint_hidden": HIDDEN, "activation": "relu", "dropout": 0.1},
        },
        "decoding": {
            "strategy": "greedy_batch",
            "model_type": "tdt",
            "durations": DURATIONS,
            "greedy": {"max_symbols": 10},
        },
        "loss": {"loss_name": "tdt", "tdt_kwargs": {"durations": DURATIONS, "sigma": 0.02, "omega": 0.1}},
        "aux_ctc": {
            "ctc_loss_weight": 0.3,
            "use_cer": False,
            "ctc_reduction": "mean_batch",
            "decoder": head,
            "decoding": {"strategy": "greedy_batch"},
        },
        "optim": {"name": "adamw", "lr": 1e-3},
    }


def places(spans: np.ndarray, tokens: np.ndarray, frames: int, blank: int) -> np.ndarray:
    """Where a TDT may come in a clip, and what it should do there: rows of frame, tokens said, class, duration.

    Besides the right path there are places beside it: a token is one frame early, or up to two late.
    """
    count = len(tokens)
    first = np.append(spans[:, 0], frames)
    said = np.searchsorted(first[:count], np.arange(frames))
    numbers = np.arange(count)
    at = [np.stack([np.arange(frames), said], 1)]
    at += [np.stack([first[:count] + late, numbers + (late < 0)], 1) for late in (-1, 0, 1, 2)]
    frame, said = np.concatenate(at).T
    frame, said = frame[keep := (frame >= 0) & (frame < frames)], said[keep]
    due = first[said] <= frame
    following, ends = first[np.minimum(said + 1, count)], np.append(spans[:, 1], frames)[said]
    # A token that is said late has less time left.
    lasts = np.clip(np.minimum(following, ends) - frame, 0, DURATIONS[-1])
    waits = np.clip(first[said] - frame, 1, DURATIONS[-1])
    classes = np.append(tokens, blank)[said]
    return np.stack([frame, said, np.where(due, classes, blank), np.where(due, lasts, waits)], 1)


class Data:
    """Clips out of `states.py`, in batches."""

    def __init__(self, file: Path, blank: int) -> None:
        with np.load(file) as found:
            self._states = found["states"]
            self._frames, self._counts = found["frames"], found["counts"]
            self._tokens, self._spans = found["tokens"].astype(np.int64), found["spans"].astype(np.int64)
        self._starts = np.append(0, np.cumsum(self._frames))
        self._firsts = np.append(0, np.cumsum(self._counts))
        self._blank = blank
        self._rng = np.random.default_rng(1)

    def batches(self) -> Iterator[dict[str, torch.Tensor]]:
        """Without end; clips of about the same length together."""
        while True:
            order = np.argsort(self._frames + self._rng.random(len(self._frames)), kind="stable")
            groups, start = [], 0
            while start < len(order):
                count = max(1, FRAMES // int(self._frames[order[min(start + 63, len(order) - 1)]]))
                groups.append(order[start : start + min(count, 192)])
                start += len(groups[-1])
            for number in self._rng.permutation(len(groups)):
                yield self._batch(groups[number])

    def _batch(self, group: np.ndarray) -> dict[str, torch.Tensor]:
        states = np.zeros((len(group), int(self._frames[group].max()), ENCODER_WIDTH), np.float32)
        tokens = np.full((len(group), int(self._counts[group].max())), self._blank)
        labels = np.full(states.shape[:2], -100)
        rows = []
        for row, clip in enumerate(group):
            frames, chosen = int(self._frames[clip]), slice(*self._firsts[clip : clip + 2])
            states[row, :frames] = self._states[slice(*self._starts[clip : clip + 2])]
            text, spans = self._tokens[chosen], self._spans[chosen]
            tokens[row, : len(text)] = text
            labels[row, :frames] = self._blank
            for token, (first, end) in zip(text, spans, strict=True):
                labels[row, first : max(end, first + 1)] = token
            found = places(spans, text, frames, self._blank)
            rows.append(np.concatenate([np.full((len(found), 1), row), found], 1))
        said = np.where(
            self._rng.random(tokens.shape) < FORGOTTEN, self._rng.integers(0, self._blank, tokens.shape), tokens
        )
        arrays = {"states": states, "tokens": tokens, "said": said, "labels": labels, "places": np.concatenate(rows)}
        arrays |= {"frames": self._frames[group], "counts": self._counts[group]}
        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


def losses(model: EncDecHybridRNNTCTCBPEModel, batch: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Of TDT's tokens and durations, and of CTC's frames and sequences."""
    blank, joint = model.tokenizer.vocab_size, model.joint
    predicted = joint.pred(model.decoder.predict(batch["said"], None, add_sos=True)[0])
    projected = joint.enc(batch["states"])
    row, frame, said, classes, durations = batch["places"].T
    logits = joint.joint_net(projected[row, frame] + predicted[row, said])
    tdt = [
        functional.cross_entropy(logits[:, : blank + 1], classes, label_smoothing=0.02),
        functional.cross_entropy(logits[:, blank + 1 :], durations),
    ]
    scores = model.ctc_decoder(encoder_output=batch["states"].transpose(1, 2))
    ctc = functional.ctc_loss(
        *(scores.transpose(0, 1), batch["tokens"], batch["frames"], batch["counts"], blank),
        reduction="sum",
        zero_infinity=True,
    ) / batch["counts"].sum().clamp(min=1)
    # Alone CTC says a token anywhere between its neighbours.
    framed = functional.nll_loss(scores.flatten(0, 1), batch["labels"].flatten(), ignore_index=-100)
    return [*tdt, framed, ctc]


def save(model: EncDecHybridRNNTCTCBPEModel, out: Path, head: Path) -> None:
    """The whole as `.nemo` in fp16, and the new part with the configuration by itself."""
    model.eval()
    new = {}
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if not name.startswith("preprocessor."):
                tensor.copy_(rounded(tensor))
            if name.startswith(("decoder.", "joint.", "ctc_decoder.")):
                new[name] = tensor.half().numpy()
    head.mkdir(parents=True, exist_ok=True)
    save_file(new, head / "model.safetensors")
    config = OmegaConf.to_container(model.cfg, resolve=True)
    # Encoder, front end and tokenizer are those of canary-demo.
    kept = {name: config[name] for name in ("model_defaults", "decoder", "joint", "decoding", "aux_ctc")}
    for section in (kept["decoder"], kept["joint"], kept["aux_ctc"]["decoder"]):
        section.pop("vocabulary", None)
    kept["target"] = f"{type(model).__module__}.{type(model).__name__}"
    (head / "config.json").write_text(json.dumps(kept, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    AppState().model_restore_path = None
    model.save_to(str(out))
    halve(out)


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="the vocabulary's place")
    parser.add_argument("model", type=Path, help="canary-demo.nemo")
    parser.add_argument("states", type=Path)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--head", type=Path, required=True)
    arguments = parser.parse_args()
    logging.setLevel("ERROR")
    torch.set_num_threads(2)
    torch.manual_seed(1)
    model = EncDecHybridRNNTCTCBPEModel(OmegaConf.create(configuration(arguments.work / "vocabulary" / "en")))
    with open_dict(model.cfg):  # without it transcribe() fails
        model.cfg.validation_ds = {"use_start_end_token": False}
    canary = EncDecMultiTaskModel.restore_from(str(arguments.model), map_location="cpu")
    model.encoder.load_state_dict(canary.encoder.state_dict())
    model.preprocessor.load_state_dict(canary.preprocessor.state_dict())
    trained = [model.decoder, model.joint, model.ctc_decoder]
    parameters = [parameter for module in trained for parameter in module.parameters()]
    print(f"{sum(parameter.numel() for parameter in parameters)} parameters", flush=True)
    optimiser = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.98), weight_decay=0.001, fused=True)
    model.train()
    start, sums = time.monotonic(), torch.zeros(4)
    for step, batch in enumerate(Data(arguments.states, model.tokenizer.vocab_size).batches(), 1):
        share = (time.monotonic() - start) / (60 * arguments.minutes)
        if share >= 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = 6e-3 * min(1.0, step / WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * share))
        parts = losses(model, batch)
        token, duration, framed, ctc = parts
        (token + duration + 0.2 * framed + ctc).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        sums += torch.stack(parts).detach()
        if step % 50 == 0:
            shown = " ".join(f"{value:.3f}" for value in sums / 50)
            print(f"{step} {share * arguments.minutes:.1f} min: {shown}", flush=True)
            sums = torch.zeros(4)
    save(model, arguments.out, arguments.head)


if __name__ == "__main__":
    main()
