"""Record NeMo's beams and the confidence of its greedy search, for models that `record.py` made.

    python beams.py OUT_DIR [VARIANT ...]

Writes OUT_DIR/<variant>/golden_beams.json; the README tells what is in it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import nemo
import torch
from clips import as_float, load_clips
from nemo.collections.asr.models import EncDecMultiTaskModel
from nemo.utils import logging
from observe import decoding, encoded, fed, logits, stages
from variants import VARIANTS

BEAMS = [(size, penalty) for size in (1, 4) for penalty in (0.0, 1.0)]
DIGITS = 7
FORCED = 12  # tokens of the sequence whose logits are sharpened, as in record.py
SHARPER = (3, 6, 20)
ROUNDING = 5e-4  # of a float32 score, a sum of up to a hundred
ENTROPY = {"name": "entropy", "entropy_type": "tsallis", "alpha": 0.33, "entropy_norm": "exp"}  # NeMo's defaults
MEASURES = {"max_prob": {"name": "max_prob", "alpha": 1.0}, "entropy": ENTROPY}


def record(folder: Path) -> None:
    """Run every clip alone and store what comes out."""
    golden = json.loads((folder / "golden.json").read_text(encoding="utf-8"))
    model = EncDecMultiTaskModel.restore_from(str(folder / "model.nemo"), map_location="cpu").eval()
    rows = {}
    for name, clip in load_clips(folder.parent / "clips.npz").items():
        found = stages(model, fed(as_float(clip))[0])
        prompt = golden["clips"][name]["prompt"]
        beams = [beam(model, found, prompt, golden["delta"], size, penalty) for size, penalty in BEAMS]
        kept = [row for row in beams if row is not None]
        if missing := len(beams) - len(kept):
            print("left out as rounding decides:", folder.name, name, missing)
        rows[name] = {"beams": kept, "confidence": confidence(model, found, prompt, golden["delta"])}
        assert rows[name]["confidence"]["ids"] == golden["clips"][name]["greedy"]["ids"], name
    lines = [f"{json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items()]
    head = json.dumps({"nemo": nemo.__version__, "torch": torch.__version__})
    text = '{"source": ' + head + ',\n"clips": {\n' + ",\n".join(lines) + "\n}}\n"
    (folder / "golden_beams.json").write_text(text, encoding="utf-8")


def beam(
    model: EncDecMultiTaskModel,
    found: dict[str, torch.Tensor],
    prompt: list[int],
    delta: int,
    size: int,
    penalty: float,
) -> dict[str, Any] | None:
    """All hypotheses of one search, in NeMo's order and with float64 scores; None if float32 gives others."""
    model.change_decoding_strategy(decoding("beam", delta, beam_size=size, length_penalty=penalty))
    prefixes, scores = search(model, found, prompt)
    model.double()
    exact = encoded(model, found["features"].double(), found["feature_length"])
    exact_prefixes, exact_scores = search(model, exact, prompt)
    model.float()
    if prefixes.tolist() != exact_prefixes.tolist():
        return None
    assert float((scores - exact_scores).abs().max()) < ROUNDING
    ends = (model.tokenizer.eos_id, model.tokenizer.pad_id)
    hypotheses = []
    for ids, score in zip(prefixes[:, len(prompt) :].tolist(), exact_scores.tolist(), strict=True):
        finished = len(ids) > 1 and ids[-1] in ends
        while ids and ids[-1] in ends:
            ids.pop()
        hypotheses.append({"ids": ids, "finished": finished, "score": round(score, DIGITS)})
    return {"beam_size": size, "length_penalty": penalty, "hypotheses": hypotheses}


@torch.inference_mode()
def search(
    model: EncDecMultiTaskModel, found: dict[str, torch.Tensor], prompt: list[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids (beam, length) with the prompt, and scores (beam,)."""
    model.eval()
    searcher = model.decoding.decoding.beam_search
    ids, scores, *_ = searcher(
        encoder_hidden_states=found["states"],
        encoder_input_mask=found["mask"],
        decoder_input_ids=torch.tensor([prompt]),
        return_beam_scores=True,
    )
    return ids[0], scores[0]


@torch.inference_mode()
def confidence(
    model: EncDecMultiTaskModel, found: dict[str, torch.Tensor], prompt: list[int], delta: int
) -> dict[str, Any]:
    """The ids of the greedy search and the confidence of each; and with logits multiplied by some numbers."""
    values = {}
    for name, measure in MEASURES.items():
        wanted = {"preserve_frame_confidence": True, "preserve_token_confidence": True, "method_cfg": measure}
        model.change_decoding_strategy({**decoding("greedy", delta), "confidence_cfg": wanted})
        model.eval()
        hypothesis = model.decoding.decode_predictions_tensor(
            encoder_hidden_states=found["states"],
            encoder_input_mask=found["mask"],
            decoder_input_ids=torch.tensor([prompt]),
            return_hypotheses=True,
        )[0]
        model.eval()  # NeMo leaves the decoder in training mode
        values[name] = written(hypothesis.token_confidence)
    # Calm random models are sure of nothing; sharpened logits show the rest of the measure.
    scores = logits(model, found, [*prompt, *hypothesis.y_sequence.tolist()[:FORCED]])
    measure = model.decoding.decoding.greedy_search._get_confidence_tensor
    sharpened = {str(by): written(measure((scores * by).log_softmax(-1))) for by in SHARPER}
    return {"ids": hypothesis.y_sequence.tolist(), **values, "sharpened": sharpened}


def written(values: torch.Tensor) -> list[float]:
    """Six significant digits of each."""
    return [float(f"{float(value):.6g}") for value in values]


if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.setLevel("ERROR")
    for chosen in sys.argv[2:] or VARIANTS:
        record(Path(sys.argv[1]) / chosen)
        print(chosen, flush=True)
