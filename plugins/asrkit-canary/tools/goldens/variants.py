"""The models of the golden data. The seeds and biases were found by search.py."""

from __future__ import annotations

from pathlib import Path

import vocabularies
from models import Shape, Variant, Weights, aggregate, unified


def _special_as_nemo(folder: Path) -> Path:
    return vocabularies.canary2_special(folder, keep_normalizer=True)


EOS = "<|endoftext|>"
PAD = "<pad>"

# With these the logits have a standard deviation of 1.5 to 3 and NeMo's rounding stays far below what a test can see.
CALM: dict[str, float] = {"gain": 2.0, "sharpness": 2.2, "embedding": 0.12, "turned": 3.0, "subsampling": 0.6}
CALM_BY_POSITION = CALM | {"sharpness": 2.5, "embedding": 0.07, "turned": 5.0}

AGGREGATE_2 = Variant(
    name="canary2-agg",
    shape=Shape(),
    weights=Weights(seed=31, **CALM_BY_POSITION, bias={EOS: 4.875}),
    ends_at_once=True,
    # This one keeps the special vocabulary exactly as NeMo makes it, with its normalisation table.
    tokenizer=aggregate(_special_as_nemo, 56),
)

AGGREGATE_1 = Variant(
    name="canary1-agg",
    shape=Shape(
        prompt_format="canary",
        mels=64,
        channels=12,
        encoder_width=40,
        encoder_heads=5,
        encoder_layers=3,
        kernel=5,
        width=40,
        heads=2,
        layers=2,
        inner=64,
        max_length=96,
        decoding={
            "strategy": "greedy",
            "greedy": {"temperature": None, "n_samples": 1, "max_generation_delta": 20},
        },
    ),
    weights=Weights(seed=84, **CALM, bias={EOS: 0.0}),
    tokenizer=aggregate(vocabularies.canary1_special, 48),
)

UNIFIED = Variant(
    name="canary2-unified",
    shape=Shape(
        mels=128,
        channels=8,
        encoder_width=40,
        encoder_heads=4,
        use_bias=False,
        xscaling=True,
        bridge_layers=1,
        width=42,
        heads=7,
        inner=64,
        max_length=128,
    ),
    weights=Weights(seed=1, **CALM, bias={EOS: 5.75, PAD: 1.0}),
    pads=True,
    tokenizer=unified(99),
    aligner=True,
)

VARIANTS = {variant.name: variant for variant in (AGGREGATE_2, AGGREGATE_1, UNIFIED)}

# The settings of `transcribe()` that are recorded, by prompt format.
SETTINGS = {
    "canary2": [
        {},
        {"pnc": "no"},
        {"source_lang": "en", "target_lang": "de"},
        {"source_lang": "de", "target_lang": "de"},
        {"source_lang": "fr", "target_lang": "es", "pnc": "no"},
        {"timestamp": "yes"},
    ],
    "canary": [
        {},
        {"pnc": "no"},
        {"taskname": "asr", "source_lang": "de", "target_lang": "de"},
        {"taskname": "ast", "source_lang": "en", "target_lang": "de"},
        {"taskname": "s2t_translation", "source_lang": "es", "target_lang": "en", "pnc": "no"},
        {"task": "ast", "source_lang": "en", "target_lang": "fr"},
        {"source_lang": "en", "target_lang": "fr"},
    ],
}

# Settings that NeMo's `transcribe()` ignores for files without a word; recorded for one clip.
IGNORED = [
    {"itn": "yes"},
    {"diarize": "yes"},
    {"decodercontext": "the dog"},
    {"context": "the dog"},
    {"emotion": "<|emo:happy|>"},
]
