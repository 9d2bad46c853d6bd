"""Texts from the model: a short greedy loop for checks during training, and NeMo's own `transcribe()`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from batches import Encoder
from dataset import Features
from model import FRAME, build
from nemo.collections.asr.models import EncDecMultiTaskModel

MARKED = re.compile(r"<\|(\d+)\|>(.*?)<\|(\d+)\|>")
ROOM = 50  # tokens beyond the encoder's frames, as in the model's configuration


@dataclass(frozen=True)
class Recognized:
    """A text, and with the time stamp prompt its words' start and end in seconds."""

    text: str
    words: list[tuple[float, float]]


def load(file: Path, work: Path | None = None) -> EncDecMultiTaskModel:
    """A saved `.nemo`, or a checkpoint of `train.py` with the vocabulary below `work`."""
    if file.suffix == ".nemo":
        return EncDecMultiTaskModel.restore_from(str(file), map_location="cpu").eval()
    if work is None:
        raise ValueError("a checkpoint needs the folder of its vocabulary")
    model = build(work / "vocabulary")
    weights = torch.load(file, map_location="cpu")["weights"]
    model.load_state_dict({name[6:]: tensor for name, tensor in weights.items() if name.startswith("model.")})
    return model.eval()


class Greedy:
    """Own greedy search, in batches of clips of about the same length."""

    def __init__(self, model: EncDecMultiTaskModel) -> None:
        self._model = model
        self._encoder = Encoder(model.tokenizer)
        self._features = Features()
        self._states: dict[Path, torch.Tensor] = {}

    @torch.no_grad()
    def __call__(self, files: list[Path], source: str, target: str, kind: str) -> list[Recognized]:
        """Texts of `files` for a prompt; the encoder runs once per file, whatever the prompts."""
        for file in files:
            if file not in self._states:
                self._states[file] = self._encode(file)
        order = sorted(range(len(files)), key=lambda index: len(self._states[files[index]]))
        found: dict[int, Recognized] = {}
        prompt = self._encoder.prompt(source, target, kind)
        for start in range(0, len(order), 32):
            group = order[start : start + 32]
            ids = self._decode([self._states[files[index]] for index in group], prompt)
            found |= {index: self._text(row) for index, row in zip(group, ids, strict=True)}
        return [found[index] for index in range(len(files))]

    def _encode(self, file: Path) -> torch.Tensor:
        samples, _ = soundfile.read(file, dtype="float32")
        mels = torch.from_numpy(np.ascontiguousarray(self._features(samples).T))[None]
        states, _ = self._model.encoder(audio_signal=mels, length=torch.tensor([mels.shape[2]]))
        return self._model.encoder_decoder_proj(states.transpose(1, 2))[0]

    def _decode(self, group: list[torch.Tensor], prompt: list[int]) -> list[list[int]]:
        model, end = self._model, self._model.tokenizer.eos_id
        states = torch.nn.utils.rnn.pad_sequence(group, batch_first=True)
        lengths = torch.tensor([len(row) for row in group])
        valid = (torch.arange(states.shape[1])[None] < lengths[:, None]).float()
        tokens = torch.tensor([prompt] * len(group))
        limit = min(model.transf_decoder.max_sequence_length, states.shape[1] + ROOM)
        ended = torch.zeros(len(group), dtype=torch.bool)
        while tokens.shape[1] < limit and not ended.all():
            hidden = model.transf_decoder(
                input_ids=tokens,
                decoder_mask=torch.ones_like(tokens).float(),
                encoder_embeddings=states,
                encoder_mask=valid,
            )
            best = model.log_softmax.mlp.layer0(hidden[:, -1]).argmax(-1)
            tokens = torch.cat([tokens, torch.where(ended, end, best)[:, None]], 1)
            ended |= best == end
        rows = [row[len(prompt) :].tolist() for row in tokens]
        return [row[: row.index(end)] if end in row else row for row in rows]

    def _text(self, ids: list[int]) -> Recognized:
        text = self._model.tokenizer.ids_to_text(ids).strip()
        marked = [match for match in MARKED.findall(text) if match[1].strip()]
        if not marked:
            return Recognized(text, [])
        words = [(FRAME * int(first), FRAME * int(last)) for first, _, last in marked]
        return Recognized(" ".join(word.strip() for _, word, _ in marked), words)


class Nemo:
    """NeMo's `transcribe()` as its users call it."""

    def __init__(self, model: EncDecMultiTaskModel) -> None:
        self._model = model

    def __call__(self, files: list[Path], source: str, target: str, kind: str) -> list[Recognized]:
        """Texts of `files` for a prompt."""
        found = self._model.transcribe(
            [str(file) for file in files],
            batch_size=32,
            return_hypotheses=True,
            verbose=False,
            source_lang=source,
            target_lang=target,
            pnc="no" if kind == "nopnc" else "yes",
            timestamps=True if kind == "timed" else None,
        )
        return [self._recognized(hypothesis) for hypothesis in found]

    @staticmethod
    def _recognized(hypothesis: object) -> Recognized:
        stamps = getattr(hypothesis, "timestamp", None)
        words = stamps.get("word", []) if isinstance(stamps, dict) else []
        spans = [(float(word["start"]), float(word["end"])) for word in words]
        return Recognized(str(hypothesis.text).strip(), spans)
