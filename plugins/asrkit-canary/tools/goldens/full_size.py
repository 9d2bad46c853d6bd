"""A random model of the size of canary-180m-flash, and what NeMo makes of given audio with it.

    python full_size.py OUT_DIR AUDIO...

OUT_DIR (outside the repository: the model has 730 MB) gets canary-180m-flash-random.nemo, unless it is there,
and full.npz and full.json with features, encoder output, greedy tokens, margins, times and peak memory.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nemo
import numpy as np
import soundfile
import torch
import vocabularies
from models import Shape, Variant, Weights, aggregate, build
from nemo.collections.asr.models import EncDecMultiTaskModel
from nemo.utils import logging
from observe import decoding, fed, logits, margins, stages
from prompts import usual_prompts
from variants import EOS

TOKENS = 40  # generated tokens a clip; the end token cannot win
THREADS = 2

FLASH = Variant(
    name="canary-180m-flash-random",
    shape=Shape(
        mels=128,
        channels=256,
        encoder_width=512,
        encoder_heads=8,
        encoder_layers=17,
        encoder_factor=4,
        width=1024,
        heads=8,
        layers=4,
        inner=4096,
        max_length=1024,
    ),
    weights=Weights(seed=1, gain=16.0, attention=1.0, centred=True, bias={EOS: -1000.0, "<pad>": -1000.0}),
    tokenizer=aggregate(vocabularies.released_special, 1024, vocabularies.pseudo_language),
)


def make(archive: str) -> None:
    """Build and save the model. Run in a process of its own, so that its memory does not count below."""
    logging.setLevel("ERROR")
    with tempfile.TemporaryDirectory() as folder:
        model = build(FLASH, Path(folder))
        assert model.tokenizer.vocab_size == 5248, model.tokenizer.vocab_size
        model.save_to(archive)


def measure(model: EncDecMultiTaskModel, file: str, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Tokens, margins and times of one file; its arrays go into `arrays`."""
    samples, rate = soundfile.read(file, dtype="float32")
    assert rate == 16000, (file, rate)
    assert samples.ndim == 1, (file, samples.shape)
    wave, _ = fed(samples)
    prompt = usual_prompts(model)[0]
    found = stages(model, wave)
    times = dict(zip(("features", "encoder"), encoding_times(model, wave), strict=True))
    start = time.perf_counter()
    generated = greedy(model, found, prompt)
    times["decoding"] = time.perf_counter() - start
    scores = logits(model, found, prompt + generated)
    name = Path(file).stem
    for key in ("features", "pre_encode", "encoder", "projection"):
        arrays[f"{name}.{key}"] = found[key][0].numpy()
    arrays[f"{name}.logits"] = scores[len(prompt) - 1 : -1].numpy()
    clear = margins(scores, len(prompt), len(generated))
    return {
        "file": Path(file).name,
        "samples": len(samples),
        "feature_length": int(found["feature_length"]),
        "encoded_length": int(found["encoded_length"]),
        "encoded_frames": found["encoder"].shape[1],
        "prompt": prompt,
        "generated": generated,
        "text": model.tokenizer.ids_to_text(generated),
        "margins": [round(float(value), 5) for value in clear],
        "least_margin": float(clear.min()),
        "seconds": times,
    }


def greedy(model: EncDecMultiTaskModel, found: dict[str, torch.Tensor], prompt: list[int]) -> list[int]:
    """NeMo's greedy search, cut after `TOKENS` tokens by shortening its idea of the position table."""
    model.change_decoding_strategy(decoding("greedy", -1))
    searcher = model.decoding.decoding.greedy_search
    searcher.max_seq_length = len(prompt) + TOKENS
    whole = searcher(
        decoder_input_ids=torch.tensor([prompt]),
        encoder_hidden_states=found["states"],
        encoder_input_mask=found["mask"],
    )[0]
    return whole[0, len(prompt) :].tolist()


@torch.inference_mode()
def encoding_times(model: EncDecMultiTaskModel, wave: np.ndarray) -> tuple[float, float]:
    """Seconds for the features and for the encoder, the best of three."""
    signal, length = torch.from_numpy(wave)[None], torch.tensor([len(wave)])
    rounds = []
    for _ in range(3):
        start = time.perf_counter()
        features, count = model.preprocessor(input_signal=signal, length=length)
        middle = time.perf_counter()
        model.encoder(audio_signal=features, length=count)
        rounds.append((middle - start, time.perf_counter() - middle))
    return min(first for first, _ in rounds), min(second for _, second in rounds)


def peak_memory() -> int | None:
    """Peak resident memory of this process in kB, where the system tells."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), None)


def main(out: Path, files: list[str]) -> None:
    """Make the model if needed, run the files, write the results."""
    out.mkdir(parents=True, exist_ok=True)
    archive = out / f"{FLASH.name}.nemo"
    if not archive.exists():
        maker = multiprocessing.get_context("spawn").Process(target=make, args=(str(archive),))
        maker.start()
        maker.join()
        assert maker.exitcode == 0, maker.exitcode
    peaks = {"imports": peak_memory()}
    start = time.perf_counter()
    model = EncDecMultiTaskModel.restore_from(str(archive), map_location="cpu").eval()
    load = time.perf_counter() - start
    peaks["load"] = peak_memory()
    arrays: dict[str, np.ndarray] = {}
    results = {Path(file).stem: measure(model, file, arrays) for file in files}
    peaks["all"] = peak_memory()
    np.savez_compressed(out / "full.npz", **arrays)
    golden = {
        "source": {"nemo": nemo.__version__, "torch": torch.__version__, "seed": FLASH.weights.seed},
        "threads": torch.get_num_threads(),
        "load_seconds": load,
        "peak_kilobytes": peaks,
        "files": results,
    }
    (out / "full.json").write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(THREADS)
    logging.setLevel("ERROR")
    main(Path(sys.argv[1]), sys.argv[2:])
