"""Search for seeds whose outputs make good tests; prints candidates, best last.

    python search.py VARIANT [SEEDS [FIRST]]

Good means: every choice is clear (margin), texts differ by clip and use many tokens, some clips end by
themselves while others run into the length limit, and rounding is small. How likely the end is, is set by the
bias of the end token; a variant that has to show padding tokens is tried with several biases of that one.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from clips import as_float, make_clips
from models import Variant, build, randomize
from nemo.collections.asr.models import EncDecMultiTaskModel
from nemo.utils import logging
from observe import (
    ENCODER_ROUNDING,
    LOGITS_ROUNDING,
    decode,
    decoding,
    fed,
    logits,
    margins,
    rounding,
    stages,
    steps,
)
from prompts import usual_prompts
from variants import EOS, PAD, VARIANTS

# Twice what record.py insists on.
NEEDED = 4e-3
PAD_BIASES = (0.0, 1.0, 2.0, 3.0)


def candidates(variant: Variant, seeds: range) -> list[tuple[float, int, dict[str, float]]]:
    """(score, seed, biases) for the seeds that have all the properties."""
    found = []
    waves = [as_float(clip) for clip in make_clips().values()]
    with tempfile.TemporaryDirectory() as folder:
        model = build(variant, Path(folder))
        prompt = usual_prompts(model)[0]
        for seed in seeds:
            for pad in PAD_BIASES if variant.pads else (0.0,):
                weights = dataclasses.replace(variant.weights, seed=seed, bias={PAD: pad} if pad else {})
                randomize(model, weights)
                runs = [trace(model, wave, prompt, variant.shape.delta) for wave in waves]
                choice = best_bias(runs, variant, model.tokenizer.pad_id)
                if choice is None:
                    continue
                weights.bias[EOS] = choice[1]
                randomize(model, weights)
                if all(sound(model, wave, prompt, variant.shape.delta) for wave in waves):
                    found.append((choice[0], seed, weights.bias))
                    print(*found[-1], flush=True)
    return sorted(found, key=lambda row: row[0])


def sound(model: EncDecMultiTaskModel, wave: np.ndarray, prompt: list[int], delta: int) -> bool:
    """Whether the searches' choices are clear and rounding is small."""
    found = stages(model, fed(wave)[0])
    for strategy in ("greedy", "beam"):
        generated = decode(model, found, prompt, decoding(strategy, delta))["generated"]
        best, clear = steps(model, found, prompt, generated)
        if best != generated or clear.min() < NEEDED:
            return False
    if generated[0] == model.tokenizer.eos_id and len(set(generated)) < 3:
        return False  # nothing to see behind an end token that comes first
    worst = rounding(model, found, (prompt + generated)[: model.transf_decoder.max_sequence_length])
    return worst["encoder"] < ENCODER_ROUNDING and worst["logits"] < LOGITS_ROUNDING


def trace(
    model: EncDecMultiTaskModel, wave: np.ndarray, prompt: list[int], delta: int
) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Tokens, margins among the rest, and lead over the end token at each step when the end is forbidden."""
    head = model.log_softmax.mlp.layer0.bias.data
    eos = model.tokenizer.eos_id
    found = stages(model, fed(wave)[0])
    kept = float(head[eos])
    head[eos] = -1e4
    tokens = decode(model, found, prompt, decoding("greedy", delta))["generated"]
    scores = logits(model, found, prompt + tokens)
    head[eos] = kept
    free = margins(scores, len(prompt), len(tokens))
    raw = logits(model, found, prompt + tokens)[len(prompt) - 1 : -1]
    lead = scores[len(prompt) - 1 : -1].max(dim=1).values - raw[:, eos]
    return tokens, free, lead.numpy()


def best_bias(
    runs: list[tuple[list[int], np.ndarray, np.ndarray]], variant: Variant, pad: int
) -> tuple[float, float] | None:
    """Score and bias of the end token that give the most varied texts; None where no bias will do."""
    best = None
    for bias in np.arange(-8, 16, 0.125):
        texts, ended, clear = [], 0, np.inf
        for tokens, free, lead in runs:
            stops = np.flatnonzero(lead < bias)
            count = int(stops[0]) if len(stops) else len(tokens)
            ended += bool(len(stops))
            texts.append(tuple(tokens[:count]))
            clear = min([clear, *free[:count], *np.abs(lead[: count + 1] - bias)])
        padded = sum(pad in text[2:-2] for text in texts)
        short = sorted(len(text) for text in texts)
        if variant.ends_at_once and short.pop(0) > 0:
            continue
        if clear < NEEDED or not 2 <= ended <= 4 or len(set(texts)) < len(texts) or short[0] < 3:
            continue
        if variant.pads and not 1 <= padded <= 3:
            continue
        score = float(np.mean([len(set(text)) for text in texts]))
        if best is None or score > best[0]:
            best = (score, float(bias))
    return best


if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.setLevel("ERROR")
    count, first = (int(value) for value in (sys.argv[2:] + ["40", "1"][len(sys.argv[2:]) :])[:2])
    for line in candidates(VARIANTS[sys.argv[1]], range(first, first + count)):
        print(*line)
