"""Training batches: shards of `dataset.py`, targets with their prompts, augmentation."""

from __future__ import annotations

import itertools
import json
import queue
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from grammar import LANGUAGES, plain
from model import FRAME, LAST_FRAME, MOST_TOKENS
from nemo.collections.common.tokenizers.canary_tokenizer import CanaryTokenizer

PROMPT = 9  # tokens
IGNORED = -100  # in the losses
MOST_CLIPS = 96
STEP = 32  # widths are multiples of so many frames


@dataclass(frozen=True)
class Example:
    """A clip's place in its shard, and its encoded texts by (language, kind); kinds are pnc, nopnc and timed."""

    shard: np.ndarray
    start: int
    frames: int
    language: str
    targets: dict[tuple[str, str], list[int]]
    labels: np.ndarray  # what is spoken in every frame of the encoder, 0 for nothing
    spans: dict[str, np.ndarray]  # by kind: every token's first frame and the one behind its last


@dataclass(frozen=True)
class Batch:
    """Features (clips, bins, frames); decoder tokens of every clip's transcript and every n-th one's translation."""

    features: torch.Tensor
    lengths: torch.Tensor
    tokens: torch.Tensor  # (transcripts and translations, length): prompt, text and end
    token_lengths: torch.Tensor
    labels: torch.Tensor  # (clips, encoder's frames), -100 behind a clip's end
    spans: torch.Tensor  # (clips, tokens, 2): where a transcript's token is spoken, or -1


class Encoder:
    """Texts to token ids."""

    def __init__(self, tokenizer: CanaryTokenizer) -> None:
        self.tokenizer = tokenizer
        self.first = tokenizer.token_id_offset[LANGUAGES[0]]
        self._words: dict[tuple[str, str], list[int]] = {}

    def prompt(self, source: str, target: str, kind: str) -> list[int]:
        """The nine tokens of a canary2 prompt."""
        pnc = "nopnc" if kind == "nopnc" else "pnc"
        timestamp = "timestamp" if kind == "timed" else "notimestamp"
        slots = (
            *("startofcontext", "startoftranscript", "emo:undefined"),
            *(source, target, pnc, "noitn", timestamp, "nodiarize"),
        )
        return [self.tokenizer.special_tokens[f"<|{slot}|>"] for slot in slots]

    def text(self, text: str, language: str) -> list[int]:
        """A plain text: its words one by one, which gives the same pieces as all at once."""
        return [token for word in text.split() for token in self._word(word, language)]

    def timed(self, text: str, words: list[tuple[float, float]], language: str) -> list[int]:
        """A text with the frames of start and end around every word."""
        ids = []
        for word, span in zip(text.split(), words, strict=True):
            first, last = (min(LAST_FRAME, round(time / FRAME)) for time in span)
            ids += [self._mark(first), *self._word(word, language), self._mark(last)]
        return ids

    def example(self, shard: np.ndarray, start: int, row: dict) -> Example:
        """An example from a row of a shard's list."""
        language, texts = row["language"], row["texts"]
        wanted = [name for name in (LANGUAGES if language == "en" else (language, "en")) if name in texts]
        targets = {(name, "pnc"): self.text(texts[name], name) for name in wanted}
        targets |= {(name, "nopnc"): self.text(plain(texts[name]), name) for name in wanted}
        targets[language, "timed"] = self.timed(texts[language], row["words"], language)
        labels = self.spoken(texts[language], row["words"], language, -(-row["frames"] // 8))
        return Example(shard, start, row["frames"], language, targets, labels, self._spans(row))

    def spoken(self, text: str, words: list[tuple[float, float]], language: str, frames: int) -> np.ndarray:
        """The token spoken in each of the encoder's frames: a word's tokens share its time evenly."""
        labels = np.zeros(frames, np.int16)
        for word, (start, end) in zip(text.split(), words, strict=True):
            tokens = np.array(self._word(plain(word), language))
            first = min(frames - 1, int(start / FRAME))
            count = max(1, min(frames, round(end / FRAME)) - first)
            labels[first : first + count] = tokens[np.arange(count) * len(tokens) // count] - self.first + 1
        return labels

    def _spans(self, row: dict) -> dict[str, np.ndarray]:
        words = row["texts"][row["language"]].split()
        frames = [(int(start / FRAME), int(end / FRAME) + 1) for start, end in row["words"]]
        full = [len(self._word(word, row["language"])) for word in words]
        small = [len(self._word(plain(word), row["language"])) for word in words]
        counts = {"pnc": full, "nopnc": small, "timed": [count + 2 for count in full]}
        frames_ = np.array(frames, np.int16).reshape(-1, 2)
        return {kind: np.repeat(frames_, count, axis=0) for kind, count in counts.items()}

    def _word(self, word: str, language: str) -> list[int]:
        known = self._words.get((word, language))
        if known is None:
            known = self._words[word, language] = self.tokenizer.text_to_ids(word, language)
        return known

    def _mark(self, frame: int) -> int:
        return self.tokenizer.special_tokens[f"<|{frame}|>"]


class Sets:
    """The examples of some folders of shards; new shards are found while training runs."""

    def __init__(self, folders: list[Path], encoder: Encoder, keep: int, longest: int, names: tuple[str, ...]) -> None:
        self._folders = folders
        self._encoder = encoder
        self._keep = keep
        self._longest = longest
        self._voices = {*names, ""}  # noise has none
        self._shards: dict[Path, list[Example]] = {}

    def examples(self) -> list[Example]:
        """All examples of the newest shards."""
        files = [file for folder in self._folders for file in folder.glob("*.json")]
        newest = sorted(files, key=lambda file: file.stat().st_mtime)[-self._keep :]
        for file in set(self._shards) - set(newest):
            del self._shards[file]
        for file in newest:
            if file not in self._shards:
                self._shards[file] = list(self._read(file))
        return [example for shard in self._shards.values() for example in shard]

    def _read(self, file: Path) -> Iterator[Example]:
        frames = np.load(file.with_suffix(".npy"), mmap_mode="r")
        start = 0
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if row["frames"] <= self._longest and row["voice"] in self._voices:
                yield self._encoder.example(frames, start, row)
            start += row["frames"]


class Maker:
    """Puts batches together."""

    def __init__(self, encoder: Encoder, every: int, frames: int, seed: int, *, calm: bool) -> None:
        self._encoder = encoder
        self._every = every
        self._frames = frames
        self._calm = calm
        self._pad = encoder.tokenizer.pad_id
        self._end = encoder.tokenizer.eos_id
        self._rng = random.Random(seed)
        self._numpy = np.random.default_rng(seed)

    def epoch(self, examples: list[Example]) -> Iterator[Batch]:
        """Every example once, in batches of about the same length, which come in random order.

        Batches of one width hold one number of clips: new shapes cost time.
        """
        order = sorted(examples, key=lambda example: (_up(example.frames, STEP), self._rng.random()))
        groups: list[list[Example]] = []
        for width, same in itertools.groupby(order, key=lambda example: _up(example.frames, STEP)):
            group, count = list(same), min(MOST_CLIPS, max(1, self._frames // width))
            groups += [group[start : start + count] for start in range(0, len(group), count)]
        self._rng.shuffle(groups)
        for group in groups:
            yield self.batch(group)

    def batch(self, group: list[Example]) -> Batch:
        """One batch; widths are rounded up, so that few different shapes occur."""
        width = _up(max(example.frames for example in group), STEP)
        features = np.zeros((len(group), width, group[0].shard.shape[1]), np.float32)
        for row, example in zip(features, group, strict=True):
            part = example.shard[example.start : example.start + example.frames].astype(np.float32)
            row[: example.frames] = part if self._calm else self.augmented(part)
        kinds = [self._kind(example) for example in group]
        sequences = [
            self._sequence(example, example.language, kind) for example, kind in zip(group, kinds, strict=True)
        ]
        sequences += [self._translation(example) for example in group[:: self._every]]
        tokens, token_lengths = _padded(sequences, 8, self._pad)
        labels = torch.full((len(group), width // 8), IGNORED)
        for row, example in zip(labels, group, strict=True):
            row[: len(example.labels)] = torch.from_numpy(example.labels)
        spans = torch.full((len(group), tokens.shape[1], 2), -1)
        for row, example, kind in zip(spans, group, kinds, strict=True):
            row[PROMPT : PROMPT + len(example.spans[kind])] = torch.from_numpy(example.spans[kind])
        lengths = torch.tensor([example.frames for example in group])
        mels = torch.from_numpy(features).transpose(1, 2)
        return Batch(mels, lengths, tokens, token_lengths, labels, spans)

    def _kind(self, example: Example) -> str:
        kind = self._rng.choices(["pnc", "nopnc", "timed"], [50, 20, 30])[0]
        # The times of very many words do not fit the decoder.
        return kind if PROMPT + len(example.targets[example.language, kind]) < MOST_TOKENS else "pnc"

    def _translation(self, example: Example) -> list[int]:
        target = self._rng.choice(LANGUAGES[1:]) if example.language == "en" else "en"
        if (target, "pnc") not in example.targets:  # a piece of a sentence
            target = example.language
        return self._sequence(example, target, self._rng.choices(["pnc", "nopnc"], [75, 25])[0])

    def _sequence(self, example: Example, target: str, kind: str) -> list[int]:
        prompt = self._encoder.prompt(example.language, target, kind)
        return [*prompt, *example.targets[target, kind], self._end]

    def augmented(self, part: np.ndarray) -> np.ndarray:
        """Shift by some mel bins, mask bins and frames, add noise."""
        frames, bins = part.shape
        if shift := self._rng.randint(-2, 2):
            part = np.roll(part, shift, axis=1)
            part[:, slice(0, shift) if shift > 0 else slice(shift, None)] = 0.0
        if self._rng.random() < 0.5:
            noise = self._numpy.standard_normal(part.shape, dtype=np.float32)
            part += self._rng.uniform(0.0, 0.3) * noise
        for _ in range(2):
            width = self._rng.randint(0, 11)
            start = self._rng.randint(0, bins - width)
            part[:, start : start + width] = 0.0
        for _ in range(2 + frames // 300):
            width = self._rng.randint(0, 10)
            start = self._rng.randint(0, frames - width)
            part[start : start + width] = 0.0
        return part


def stream(sets: Sets, maker: Maker, ahead: int = 12) -> Iterator[Batch]:
    """Batches without end, made by a thread a few steps ahead."""
    ready: queue.Queue[Batch] = queue.Queue(ahead)

    def work() -> None:
        while True:
            for batch in maker.epoch(sets.examples()):
                ready.put(batch)

    threading.Thread(target=work, daemon=True).start()
    while True:
        yield ready.get()


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _padded(sequences: list[list[int]], multiple: int, value: int) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    out = torch.full((len(sequences), _up(max(1, int(lengths.max())), multiple)), value)
    for row, sequence in zip(out, sequences, strict=True):
        row[: len(sequence)] = torch.tensor(sequence)
    return out, lengths
