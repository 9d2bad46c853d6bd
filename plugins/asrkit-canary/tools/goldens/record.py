"""Record the golden data of the tiny models.

    python record.py OUT_DIR [VARIANT ...]

For each variant OUT_DIR/<variant>/ gets model.nemo, arrays.npz and golden.json; the README tells what is in
them.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import auxiliary
import nemo
import numpy as np
import torch
from clips import as_float, load_clips
from models import build
from nemo.collections.asr.models import EncDecMultiTaskModel
from nemo.utils import logging
from observe import ENCODER_ROUNDING, LOGITS_ROUNDING, decode, decoding, fed, limit, logits, rounding, stages, steps
from prompts import prompt_table, tokenizer_table, usual_prompts
from transcripts import alignment_table, timed_table, transcribe, write_waves
from variants import IGNORED, SETTINGS, VARIANTS, Variant

FULL = ("c100", "c256", "c337")  # clips whose arrays are kept
ARRAYS = ("features", "pre_encode", "encoder", "projection", "transf_encoder")
FORCED = 12  # generated tokens in the teacher-forced sequence
CLEAR = 2e-3  # least difference of the two best logits at every step


def record(variant: Variant, out: Path) -> None:
    """Build the model of `variant`, save it, load it again with NeMo, and record what the loaded one does."""
    folder = out / variant.name
    folder.mkdir(parents=True, exist_ok=True)
    clips = load_clips(out / "clips.npz")
    with tempfile.TemporaryDirectory() as scratch:
        built = build(variant, Path(scratch))
        built.save_to(str(folder / "model.nemo"))
        if variant.aligner:
            auxiliary.add(folder / "model.nemo", Path(scratch))
        files = write_waves(clips, Path(scratch))
        model = EncDecMultiTaskModel.restore_from(str(folder / "model.nemo"), map_location="cpu").eval()
        arrays: dict[str, np.ndarray] = {}
        golden: dict[str, Any] = {
            "variant": variant.name,
            "source": {"nemo": nemo.__version__, "torch": torch.__version__, "seed": variant.weights.seed},
            "delta": variant.shape.delta,
            "max_length": variant.shape.max_length,
            "clips": check_evidence(
                {name: clip_record(model, name, clip, variant, arrays) for name, clip in clips.items()}, variant, model
            ),
            "limits": list(limits(model, clips)),
            "prompts": prompt_table(model),
            "tokenizer": tokenizer_table(model),
        }
        model.change_decoding_strategy(variant.shape.decoding)
        golden["transcripts"] = list(transcripts(model, clips, files))
        golden["timed_texts"] = timed_table()
        if variant.aligner:
            waves = {name: as_float(clip) for name, clip in clips.items() if name in FULL}
            golden["alignments"] = alignment_table(model, waves)
            for name, wave in waves.items():
                arrays[f"{name}.ctc"] = auxiliary.log_probabilities(model, wave)
    np.savez_compressed(folder / "arrays.npz", **arrays)
    write_json(folder / "golden.json", golden)


def clip_record(
    model: EncDecMultiTaskModel, name: str, clip: np.ndarray, variant: Variant, arrays: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Lengths, ids and margins of one clip with the default prompt; its arrays go into `arrays`."""
    wave, left = fed(as_float(clip))
    found = stages(model, wave)
    prompt = usual_prompts(model)[0]
    runs = searches(model, found, prompt, variant.shape.delta)
    least = {}
    for kind in ("greedy", "beam1"):
        best, clear = steps(model, found, prompt, runs[kind]["generated"])
        assert best == runs[kind]["generated"], (variant.name, name, kind)
        assert clear.min() >= CLEAR, (variant.name, name, kind, clear.min())
        least[kind] = float(clear.min())
    longest = model.transf_decoder.max_sequence_length
    fed_back = max(((prompt + run["generated"])[:longest] for run in (runs["greedy"], runs["beam1"])), key=len)
    worst = rounding(model, found, fed_back)
    assert worst["encoder"] <= ENCODER_ROUNDING, (variant.name, name, worst)
    assert worst["logits"] <= LOGITS_ROUNDING, (variant.name, name, worst)
    frames = found["encoder"].shape[1]
    if name in FULL:
        forced = prompt + runs["greedy"]["generated"][:FORCED]
        names = [key for key in ARRAYS if key in found and (key != "features" or name != "c256")]  # for size
        kept = {key: found[key][0] for key in names} | {"logits": logits(model, found, forced)}
        arrays.update({f"{name}.{key}": value.numpy() for key, value in kept.items()})
        arrays[f"{name}.tokens"] = np.asarray(forced)
    return {
        "samples": len(clip),
        "fed_samples": len(wave),
        "left_zeros": left,
        "feature_frames": found["features"].shape[2],
        "feature_length": int(found["feature_length"]),
        "encoded_frames": frames,
        "encoded_length": int(found["encoded_length"]),
        "limit": limit(model, frames, variant.shape.delta),
        "prompt": prompt,
        "least_margin": min(least.values()),
        "rounding": {key: float(f"{value:.2g}") for key, value in worst.items()},
        **runs,
    }


def check_evidence(
    rows: dict[str, dict[str, Any]], variant: Variant, model: EncDecMultiTaskModel
) -> dict[str, dict[str, Any]]:
    """`rows`, once they show what the variant is there to show."""
    eos, pad = model.tokenizer.eos_id, model.tokenizer.pad_id
    texts = {tuple(row["greedy"]["ids"]) for row in rows.values()}
    assert len(texts) == len(rows), (variant.name, "two clips have the same text")
    ended = [row["greedy"]["generated"][-1] == eos for row in rows.values()]
    assert 0 < sum(ended) < len(ended), (variant.name, ended)
    if variant.ends_at_once:
        # With a beam of 1 the search goes on after an end token that comes first.
        first = [row["beam1"]["generated"] for row in rows.values() if row["greedy"]["generated"] == [eos]]
        assert first, (variant.name, "no end token at once")
        assert all(generated[0] == eos and len(set(generated)) > 2 for generated in first), (variant.name, first)
    if variant.pads:
        # A beam of 1 stops at a padding token, the greedy search does not.
        inside = [row for row in rows.values() if pad in row["greedy"]["generated"][:-1]]
        assert inside, (variant.name, "no padding token inside a text")
        assert all(row["beam1"]["generated"][-1] == pad for row in inside), variant.name
    return rows


def searches(
    model: EncDecMultiTaskModel, found: dict[str, torch.Tensor], prompt: list[int], delta: int
) -> dict[str, dict[str, Any]]:
    """Greedy search and the beams of 1 and 4, the latter without and with a length penalty."""
    choices = {
        "greedy": decoding("greedy", delta),
        "beam1": decoding("beam", delta),
        "beam4": decoding("beam", delta, beam_size=4),
        "beam4_penalty": decoding("beam", delta, beam_size=4, length_penalty=1.0),
    }
    return {name: decode(model, found, prompt, choice) for name, choice in choices.items()}


def limits(model: EncDecMultiTaskModel, clips: dict[str, np.ndarray]) -> Iterable[dict[str, Any]]:
    """How many tokens come out when the end token cannot win; delta -1 leaves only the table's length."""
    prompt = usual_prompts(model)[0]
    head = model.log_softmax.mlp.layer0.bias.data
    kept = head.clone()
    head[model.tokenizer.eos_id] = head[model.tokenizer.pad_id] = -1e4
    for name in ("c100", "c256", "c790"):
        found = stages(model, fed(as_float(clips[name]))[0])
        frames = found["encoder"].shape[1]
        for delta in (0, 7, 50, -1):
            row = {"clip": name, "delta": delta, "frames": frames, "limit": limit(model, frames, delta)}
            for strategy, beam in (("greedy", 1), ("beam", 1), ("beam", 2)):
                key = f"{strategy}{beam}" if strategy == "beam" else strategy
                choice = decoding(strategy, delta, beam_size=beam)
                row[key] = len(decode(model, found, prompt, choice)["generated"])
            yield row
    head.copy_(kept)


def transcripts(
    model: EncDecMultiTaskModel, clips: dict[str, np.ndarray], files: dict[str, str]
) -> Iterable[dict[str, Any]]:
    """Clips with settings; each row has the settings as given to `transcribe()` and what came of them.

    Rows in which some choice was unclear are left out.
    """
    wanted = [(name, settings) for settings in SETTINGS[model.prompt_format] for name in clips]
    if model.prompt_format == "canary2":
        wanted += [("c100", settings) for settings in IGNORED]
        wanted += [(name, {"timestamps": True}) for name in clips]
    for name, settings in wanted:
        row = transcribe(model, files[name], **settings)
        found = stages(model, fed(as_float(clips[name]))[0])
        # The token that ended the text is not among the ids; it has to be clear too.
        _, clears = steps(model, found, row["prompt"], [*row["ids"], model.tokenizer.eos_id])
        clear = float(clears.min())
        if clear >= CLEAR:
            yield {"clip": name, "settings": settings, "least_margin": clear, **row}
        else:
            print("left out:", name, settings, clear)


def write_json(file: Path, golden: dict[str, Any]) -> None:
    """JSON with one row of a table, or one clip, a line: small, and still readable in a diff."""
    lines = []
    for key, value in golden.items():
        if isinstance(value, list) and value:
            body = "[\n" + ",\n".join(_line(row) for row in value) + "\n]"
        elif key in ("clips", "tokenizer"):
            body = "{\n" + ",\n".join(f"{_line(name)}: {_line(row)}" for name, row in value.items()) + "\n}"
        else:
            body = _line(value)
        lines.append(f"{_line(key)}: {body}")
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.setLevel("ERROR")
    for chosen in sys.argv[2:] or VARIANTS:
        record(VARIANTS[chosen], Path(sys.argv[1]))
        print(chosen, flush=True)
