"""Check recorded golden data: load the archive with NeMo again and compare with what was written.

python verify.py OUT_DIR [VARIANT ...]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import auxiliary
import numpy as np
import torch
from clips import as_float, load_clips
from nemo.collections.asr.models import EncDecMultiTaskModel
from nemo.utils import logging
from observe import fed, logits, stages
from prompts import prompt_table, tokenizer_table
from record import searches
from variants import VARIANTS

TOLERANCE = 1e-5


def verify(folder: Path) -> float:
    """Raise where something differs; the largest difference of any array otherwise."""
    golden: dict[str, Any] = json.loads((folder / "golden.json").read_text(encoding="utf-8"))
    model = EncDecMultiTaskModel.restore_from(str(folder / "model.nemo"), map_location="cpu").eval()
    assert prompt_table(model) == golden["prompts"]
    assert json.loads(json.dumps(tokenizer_table(model))) == golden["tokenizer"]
    worst = 0.0
    with np.load(folder / "arrays.npz") as arrays:
        for name, clip in load_clips(folder.parent / "clips.npz").items():
            row = golden["clips"][name]
            found = stages(model, fed(as_float(clip))[0])
            for kind, run in searches(model, found, row["prompt"], golden["delta"]).items():
                assert run == row[kind], (folder.name, name, kind)
            mine = [key for key in arrays.files if key.startswith(f"{name}.") and not key.endswith(".tokens")]
            for key in mine:
                stage = key.partition(".")[2]
                if stage == "ctc":
                    again = torch.from_numpy(auxiliary.log_probabilities(model, as_float(clip)))
                elif stage == "logits":
                    again = logits(model, found, arrays[f"{name}.tokens"].tolist())
                else:
                    again = found[stage][0]
                worst = max(worst, float(np.abs(again.numpy() - arrays[key]).max()))
    assert worst < TOLERANCE, (folder.name, worst)
    return worst


if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.setLevel("ERROR")
    for chosen in sys.argv[2:] or VARIANTS:
        print(chosen, verify(Path(sys.argv[1]) / chosen), flush=True)
