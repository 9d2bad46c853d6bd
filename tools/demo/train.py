"""Train canary-demo: a plain PyTorch loop over NeMo's modules.

    python train.py WORK_DIR --sets SETS/first --minutes 8 --alone --name k
    python train.py WORK_DIR --sets SETS/first SETS/second --minutes 25 --name b --start WORK_DIR/k.pt

A stage writes WORK_DIR/<name>.pt every few minutes and at its end; the same command goes on where it was cut off.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import fast
import torch
import voices
from batches import IGNORED, PROMPT, Batch, Encoder, Maker, Sets, stream
from grammar import LANGUAGES
from model import ENCODER_WIDTH, LAST_FRAME, PIECES, build
from nemo.collections.asr.models import EncDecMultiTaskModel
from torch import nn
from torch.nn import functional

SMOOTHING = 0.1
SAVE_EVERY = 180.0  # seconds
WARM_UP = 300  # steps


@dataclass(frozen=True)
class Losses:
    """The parts of the loss: per frame of the encoder, per token, and how much attention goes elsewhere."""

    spoken: torch.Tensor
    place: torch.Tensor
    transcript: torch.Tensor
    translation: torch.Tensor
    attention: torch.Tensor


class Trainee(nn.Module):
    """The model and two heads that only training has.

    For each of the encoder's frames they tell which token is spoken, and the frame's number, which time stamps need.
    """

    def __init__(self, model: EncDecMultiTaskModel, every: int, *, alone: bool) -> None:
        super().__init__()
        self.model = model
        self.every = every
        self.alone = alone
        self.spoken = nn.Linear(ENCODER_WIDTH, len(LANGUAGES) * PIECES + 1)
        self.place = nn.Linear(ENCODER_WIDTH, LAST_FRAME + 1)

    def forward(self, batch: Batch) -> Losses:
        """The losses of a batch; the encoder's states serve the transcript and the translation."""
        model = self.model
        with torch.autocast("cpu", dtype=torch.bfloat16):
            states, lengths = model.encoder(audio_signal=batch.features, length=batch.lengths)
            states = states.transpose(1, 2)
            of_frames = list(self._of_frames(states, batch))
            if self.alone:
                return Losses(*of_frames, *states.new_zeros(3))
            states = model.encoder_decoder_proj(states)
            valid = torch.arange(states.shape[1])[None] < lengths[:, None]
            inputs, targets = batch.tokens[:, :-1], batch.tokens[:, 1:]
            places = torch.arange(inputs.shape[1])[None]
            decoder = model.transf_decoder
            hidden, attentions = decoder.decoder(
                decoder_states=decoder.embedding(input_ids=inputs),
                decoder_mask=(places < batch.token_lengths[:, None] - 1).to(states.dtype),
                encoder_states=torch.cat([states, states[:: self.every]]),
                encoder_mask=torch.cat([valid, valid[:: self.every]]).to(states.dtype),
            )
            logits = model.log_softmax.mlp.layer0(hidden[:, PROMPT - 1 :])
        counted = (places < batch.token_lengths[:, None] - 1)[:, PROMPT - 1 :]
        targets = targets[:, PROMPT - 1 :].masked_fill(~counted, IGNORED)
        entropy = functional.cross_entropy(
            logits.float().flatten(0, 1),
            targets.flatten(),
            ignore_index=IGNORED,
            label_smoothing=SMOOTHING,
            reduction="none",
        ).view(targets.shape)
        clips = len(batch.lengths)
        transcript, translation = (
            entropy[part].sum() / counted[part].sum() for part in (slice(clips), slice(clips, None))
        )
        return Losses(*of_frames, transcript, translation, self._attention(attentions, batch.spans))

    @staticmethod
    def _attention(attentions: list[torch.Tensor], spans: torch.Tensor) -> torch.Tensor:
        """Half of the heads should look where the next token of the transcript is spoken."""
        spans = spans[:, 1:]
        frames = torch.arange(attentions[0].shape[-1])
        wanted = (frames >= spans[:, :, :1]) & (frames < spans[:, :, 1:])
        loss = torch.zeros(())
        for heads in attentions:
            chosen = heads[: len(spans), : heads.shape[1] // 2].float()
            mass = (chosen * wanted[:, None]).sum(-1).clamp(1e-4, 1.0)
            loss = loss - mass.log().mean(1)[spans[:, :, 0] >= 0].mean() / len(attentions)
        return loss

    def _of_frames(self, states: torch.Tensor, batch: Batch) -> Iterator[torch.Tensor]:
        labels = batch.labels.flatten()
        numbers = torch.arange(states.shape[1]).clamp(max=LAST_FRAME).expand(len(states), -1).flatten()
        wanted = (labels, numbers.masked_fill(labels == IGNORED, IGNORED))
        for head, classes in zip((self.spoken, self.place), wanted, strict=True):
            scores = head(states).float().flatten(0, 1)
            yield functional.cross_entropy(scores, classes, ignore_index=IGNORED, label_smoothing=SMOOTHING)


def optimizer(module: nn.Module) -> torch.optim.Optimizer:
    """AdamW with weight decay on matrices only."""
    matrices = [parameter for parameter in module.parameters() if parameter.dim() > 1]
    others = [parameter for parameter in module.parameters() if parameter.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.98), fused=True)


def rate(arguments: argparse.Namespace, step: int, seconds: float) -> float:
    """Linear warm-up, then a cosine in the stage's time from the peak to a share of it."""
    share = min(1.0, seconds / (60 * arguments.minutes))
    low = arguments.final
    cosine = low + (1 - low) * (0.5 + 0.5 * math.cos(math.pi * share))
    return arguments.peak * cosine * min(1.0, (step + 1) / WARM_UP)


def save(file: Path, trainee: Trainee, optimiser: torch.optim.Optimizer, step: int, seconds: float) -> None:
    """Write a checkpoint in one step."""
    unfinished = file.with_suffix(".part")
    state = {"weights": trainee.state_dict(), "optimizer": optimiser.state_dict(), "step": step, "seconds": seconds}
    torch.save(state, unfinished)
    unfinished.replace(file)


def earlier(file: Path) -> dict[str, torch.Tensor]:
    """The weights of another stage's checkpoint, or of a `.nemo` with the same vocabulary."""
    if file.suffix != ".nemo":
        return torch.load(file)["weights"]
    model = EncDecMultiTaskModel.restore_from(str(file), map_location="cpu")
    return {f"model.{name}": tensor for name, tensor in model.state_dict().items()}


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="vocabulary and checkpoints")
    parser.add_argument("--sets", type=Path, nargs="+", required=True)
    parser.add_argument("--keep", type=int, default=40, help="newest shards to train on")
    parser.add_argument("--name", required=True)
    parser.add_argument("--start", type=Path, help="weights of an earlier stage, or a .nemo")
    parser.add_argument("--minutes", type=float, required=True, help="of processor time, for each thread")
    parser.add_argument("--peak", type=float, default=1.5e-3)
    parser.add_argument("--final", type=float, default=0.0, help="share of the peak at the end")
    parser.add_argument("--spoken", type=float, default=1.0, help="weight of the encoder's own loss")
    parser.add_argument("--every", type=int, default=1, help="translate every n-th clip")
    parser.add_argument("--frames", type=int, default=12000, help="in a batch")
    parser.add_argument("--longest", type=int, default=1500, help="leave out clips of more frames")
    parser.add_argument("--alone", action="store_true", help="only the encoder's own loss: gets it going fast")
    parser.add_argument("--plain", action="store_true", help="only the plain voices")
    parser.add_argument("--calm", action="store_true", help="no augmentation of features")
    parser.add_argument("--place", type=float, default=0.2, help="weight of the loss of the frames' numbers")
    parser.add_argument("--attention", type=float, default=0.5, help="weight of the attention's loss")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    """Train one stage."""
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    trainee = Trainee(build(arguments.work / "vocabulary"), arguments.every, alone=arguments.alone)
    fast.quicken(trainee.model)
    optimiser = optimizer(trainee)
    file = arguments.work / f"{arguments.name}.pt"
    step, seconds = 0, 0.0
    if file.exists():
        state = torch.load(file)
        trainee.load_state_dict(state["weights"])
        optimiser.load_state_dict(state["optimizer"])
        step, seconds = state["step"], state["seconds"]
    elif arguments.start:
        trainee.load_state_dict(earlier(arguments.start), strict=False)
    encoder = Encoder(trainee.model.tokenizer)
    names = voices.PLAIN if arguments.plain else voices.TRAINING
    sets = Sets(arguments.sets, encoder, arguments.keep, arguments.longest, names)
    batches = stream(
        sets, Maker(encoder, arguments.every, arguments.frames, arguments.seed + step, calm=arguments.calm)
    )
    trainee.train()
    saved = time.time()
    last = time.process_time()  # not wall time: the stage must be as long beside other work, or when it is paused
    sums, clips, heard = torch.zeros(5), 0, 0.0
    while seconds < 60 * arguments.minutes:
        batch = next(batches)
        for group in optimiser.param_groups:
            group["lr"] = rate(arguments, step, seconds)
        losses = trainee(batch)
        total = arguments.spoken * losses.spoken + arguments.place * losses.place
        total = total + losses.transcript + losses.translation
        (total + arguments.attention * losses.attention).backward()
        nn.utils.clip_grad_norm_(trainee.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        step += 1
        sums += torch.stack([getattr(losses, field.name).detach() for field in fields(losses)])
        clips += len(batch.lengths)
        heard += float(batch.lengths.sum()) / 100
        now = time.process_time()
        seconds, last = seconds + (now - last) / arguments.threads, now
        if step % 50 == 0:
            parts = " ".join(f"{value:.3f}" for value in sums / 50)
            print(f"{step} {seconds / 60:.1f} min: {parts}; {clips} clips, {heard:.0f} s of sound", flush=True)
            sums, clips, heard = torch.zeros(5), 0, 0.0
        if time.time() - saved > SAVE_EVERY:
            save(file, trainee, optimiser, step, seconds)
            saved = time.time()
    save(file, trainee, optimiser, step, seconds)


if __name__ == "__main__":
    main()
