"""What the encoder of canary-demo makes of the training clips: the input of other heads, computed once.

    python states.py WORK_DIR/canary-demo.nemo OUT.npz --sets SETS/windows SETS/second SETS/noises

`OUT.npz` holds the states of all clips one after the other as fp16, and of each clip the number of its frames, its
tokens, and the frame where each token starts and the one where it ends.
"""

from __future__ import annotations

import argparse
import itertools
import json
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import fast
import numpy as np
import torch
import voices
from batches import Encoder, Maker
from model import FRAME
from nemo.collections.asr.models import EncDecMultiTaskModel
from nemo.utils import logging

LANGUAGE = "en"
AUGMENTED = 0.5  # of the clips
FRAMES = 60_000  # of features, in a batch


@dataclass(frozen=True)
class Clip:
    """Where the features of a clip are, its tokens, and (first, end) of each in the encoder's frames."""

    shard: np.ndarray
    start: int
    frames: int
    tokens: list[int]
    spans: list[tuple[int, int]]


class Reader:
    """Reads the rows of shards."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._pieces = encoder.tokenizer.tokenizers_dict[LANGUAGE]

    def clips(self, folders: list[Path]) -> Iterator[Clip]:
        """Clips in English, and those in which nobody speaks."""
        known = {*voices.TRAINING, ""}
        for file in sorted(file for folder in folders for file in folder.glob("*.json")):
            features = np.load(file.with_suffix(".npy"), mmap_mode="r")
            start = 0
            for line in file.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                if row["voice"] in known and (row["language"] == LANGUAGE or not row["words"]):
                    tokens, spans = self.aligned(row["texts"][LANGUAGE], row["words"], -(-row["frames"] // 8))
                    yield Clip(features, start, row["frames"], tokens, spans)
                start += row["frames"]

    def aligned(
        self, text: str, words: list[tuple[float, float]], frames: int
    ) -> tuple[list[int], list[tuple[int, int]]]:
        """Tokens of a text, and the frames of each: a word's tokens share its time, a mark comes where it ends."""
        tokens: list[int] = []
        spans: list[tuple[int, int]] = []
        for word, (start, end) in zip(text.split(), words, strict=True):
            found = [token - self._encoder.first for token in self._encoder.text(word, LANGUAGE)]
            marks = 0
            while marks < len(found) - 1 and self._is_mark(found[-1 - marks]):
                marks += 1
            spoken = len(found) - marks
            first = min(frames - 1, int(start / FRAME))
            last = min(frames, max(first + 1, round(end / FRAME)))
            cuts = [first + (last - first) * n // spoken for n in range(spoken)] + [last]
            tokens += found
            spans += itertools.pairwise(cuts)
            spans += [(min(last, frames - 1),) * 2] * marks
        return tokens, _in_order(spans)

    def _is_mark(self, token: int) -> bool:
        piece = self._pieces.ids_to_tokens([token])[0]
        return all(unicodedata.category(letter).startswith("P") for letter in piece)


def _in_order(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    latest, found = 0, []
    for first, end in spans:
        latest = max(latest, first)
        found.append((latest, max(latest, end)))
    return found


def groups(clips: list[Clip]) -> Iterator[list[Clip]]:
    """Clips of about the same length together."""
    group: list[Clip] = []
    for clip in sorted(clips, key=lambda clip: clip.frames):
        if group and (len(group) + 1) * clip.frames > FRAMES:
            yield group
            group = []
        group.append(clip)
    yield group


@torch.no_grad()
def states_of(model: EncDecMultiTaskModel, maker: Maker, group: list[Clip], rng: np.random.Generator) -> np.ndarray:
    """The states of a group of clips, one after the other."""
    features = np.zeros((len(group), max(clip.frames for clip in group), group[0].shard.shape[1]), np.float32)
    for row, clip in zip(features, group, strict=True):
        part = clip.shard[clip.start : clip.start + clip.frames].astype(np.float32)
        row[: clip.frames] = maker.augmented(part) if rng.random() < AUGMENTED else part
    lengths = torch.tensor([clip.frames for clip in group])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        states, lengths = model.encoder(audio_signal=torch.from_numpy(features).transpose(1, 2), length=lengths)
    return np.concatenate([row[:, : int(n)].T.half().numpy() for row, n in zip(states.float(), lengths, strict=True)])


def main() -> None:
    """Read, encode and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sets", type=Path, nargs="+", required=True)
    parser.add_argument("--most", type=int, default=1_000_000, help="clips")
    arguments = parser.parse_args()
    logging.setLevel("ERROR")
    torch.set_num_threads(2)
    model = EncDecMultiTaskModel.restore_from(str(arguments.model), map_location="cpu").eval()
    encoder = Encoder(model.tokenizer)
    maker = Maker(encoder, 1, 1, 1, calm=False)
    fast.quicken(model)
    rng = np.random.default_rng(1)
    clips = list(Reader(encoder).clips(arguments.sets))
    clips = [clips[n] for n in rng.permutation(len(clips))[: arguments.most]]
    order, states, done = [], [], 0
    for group in groups(clips):
        states.append(states_of(model, maker, group, rng))
        order += group
        done += len(group)
        print(f"{done} of {len(clips)} clips", flush=True)
    np.savez(
        arguments.out,
        states=np.concatenate(states),
        frames=np.array([-(-clip.frames // 8) for clip in order]),
        counts=np.array([len(clip.tokens) for clip in order]),
        tokens=np.concatenate([np.array(clip.tokens, np.int16) for clip in order]),
        spans=np.concatenate([np.array(clip.spans, np.int16).reshape(-1, 2) for clip in order]),
    )


if __name__ == "__main__":
    main()
