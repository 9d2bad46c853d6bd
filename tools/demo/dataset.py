"""Sets of clips on disk: log-mel features by NeMo's front end, in shards that training reads.

    python dataset.py OUT_DIR --mixture first --shards 20 --size 2000 --seed 1

A shard is `<name>.npy`, the features of all its clips one after the other as fp16, and `<name>.json`, a row per
clip. A finished shard appears under its name in one step, so that training may look for shards at any time.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from clips import MIXTURES, Clip, Studio
from model import front_end
from synthesizer import RATE

LEAST = RATE  # NeMo's transcribe() centres shorter clips in a second of zeros


class Features:
    """NeMo's front end as it works in `transcribe()`, one clip at a time."""

    def __init__(self) -> None:
        self._front_end = front_end()

    @torch.no_grad()
    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Normalised log-mel features, (frames, bins)."""
        missing = max(0, LEAST - len(samples))
        wave = torch.from_numpy(np.pad(samples, (missing // 2, missing - missing // 2)))[None]
        features, length = self._front_end(input_signal=wave, length=torch.tensor([wave.shape[1]]))
        return features[0, :, : int(length)].T.numpy()


def padding(samples: np.ndarray) -> float:
    """Seconds that the front end puts before a short clip."""
    return max(0, LEAST - len(samples)) // 2 / RATE


def row(clip: Clip, frames: int) -> dict[str, object]:
    """What training needs to know about a clip."""
    shift = padding(clip.samples)
    words = [(round(start + shift, 3), round(end + shift, 3)) for start, end in clip.words]
    return {"frames": frames, "language": clip.language, "texts": clip.texts, "words": words, "voice": clip.voice}


def write_shard(studio: Studio, features: Features, size: int, file: Path) -> float:
    """Make a shard of `size` clips; returns the seconds of sound in it."""
    arrays, rows, seconds = [], [], 0.0
    for _ in range(size):
        clip = studio.clip()
        arrays.append(features(clip.samples).astype(np.float16))
        rows.append(row(clip, len(arrays[-1])))
        seconds += len(clip.samples) / RATE
    np.save(file.with_suffix(".npy"), np.concatenate(arrays))
    unfinished = file.with_suffix(".part")
    unfinished.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in rows), encoding="utf-8")
    unfinished.rename(file.with_suffix(".json"))
    return seconds


def main() -> None:
    """Write the shards that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--mixture", choices=MIXTURES, default="second")
    parser.add_argument("--shards", type=int, default=10)
    parser.add_argument("--size", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    features = Features()
    for number in range(arguments.shards):
        seed = arguments.seed * 1000 + number
        file = arguments.out / f"{arguments.mixture}-{seed}"
        if file.with_suffix(".json").exists():
            continue
        began = time.time()
        seconds = write_shard(Studio(MIXTURES[arguments.mixture], seed), features, arguments.size, file)
        print(f"{file.name}: {seconds / 3600:.2f} h in {time.time() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
