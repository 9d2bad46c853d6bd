"""Texts from NeMo's `transcribe()` on wav files, one clip at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from nemo.collections.asr.models import EncDecMultiTaskModel
from nemo.collections.asr.parts.utils.rnnt_utils import Hypothesis
from nemo.collections.asr.parts.utils.timestamp_utils import (
    get_forced_aligned_timestamps_with_external_model,
    process_aed_timestamp_outputs,
)


def write_waves(clips: dict[str, np.ndarray], folder: Path) -> dict[str, str]:
    """The clips as 16-bit wav files."""
    files = {name: str(folder / f"{name}.wav") for name in clips}
    for name, file in files.items():
        soundfile.write(file, clips[name], 16000, subtype="PCM_16")
    return files


def transcribe(model: EncDecMultiTaskModel, file: str, **settings: Any) -> dict[str, Any]:
    """One call of `transcribe()`: the prompt made of `settings`, the ids and the text as returned."""
    model.eval()
    seen: list[list[int]] = []
    decode = model.decoding.decode_predictions_tensor

    def spy(*args: Any, **kwargs: Any) -> Any:
        seen.append(kwargs["decoder_input_ids"][0].tolist())
        return decode(*args, **kwargs)

    model.decoding.decode_predictions_tensor = spy
    try:
        hypothesis = model.transcribe([file], batch_size=1, return_hypotheses=True, verbose=False, **settings)[0]
    finally:
        model.decoding.decode_predictions_tensor = decode
    found = {
        "prompt": seen[0],
        "ids": [int(token) for token in hypothesis.y_sequence],
        "text": hypothesis.text,
    }
    return found | ({"timestamps": timed} if (timed := _timestamps(hypothesis)) else {})


KINDS = ("char", "word", "segment")
TIMED = [
    "<|0|> Hello,<|4|><|5|> world.<|9|><|12|> And<|14|> <|14|> more<|20|>",
    " <|3|>one<|3|> two <|7|>three<|9|>",
    "<|0|> Who?<|4|><|5|> <|6|><|7|> lost<|8|><|9|> open",
    "no marks at all.",
    " <|5|> one mark",
    "<|1|> a<|2|><|3|> line\nbreak<|4|><|5|> b!<|6|>",
    "<|1|> a b<|2|>.<|3|> c<|4|>",
    "<|10|> back<|2|><|2|> .<|3|>",
    "",
]


def timed_table() -> list[dict[str, Any]]:
    """NeMo's reading of texts with time stamp tokens, frames of 80 ms."""
    rows = []
    for text in TIMED:
        hypothesis = Hypothesis(score=0.0, y_sequence=[], text=text)
        read = process_aed_timestamp_outputs([hypothesis], 8, 0.01)[0]
        rows.append({"text": text, "result": read.text, "timestamps": _timestamps(read)})
    return rows


SPOKEN = [
    "the dog",
    "The dog, and the key.",
    "la. el! ¿Qué? ...",
    "the the dog dog",
    "日本 x",
    "a b c d e f g h i j k l",
]


def alignment_table(model: EncDecMultiTaskModel, clips: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Given texts, aligned by the auxiliary model with given clips."""
    rows = []
    for name, clip in clips.items():
        for text in SPOKEN:
            hypothesis = Hypothesis(score=0.0, y_sequence=[], text=text)
            aligned = get_forced_aligned_timestamps_with_external_model(
                audio=[torch.from_numpy(clip)],
                external_ctc_model=model.timestamps_asr_model,
                main_model_predictions=[hypothesis],
                batch_size=1,
                timestamp_type=["char", "word", "segment"],
                viterbi_device=torch.device("cpu"),
                verbose=False,
            )[0]
            rows.append({"clip": name, "text": text, "result": aligned.text, "timestamps": _timestamps(aligned)})
    return rows


def _timestamps(hypothesis: Hypothesis) -> dict[str, list[dict[str, Any]]]:
    found = hypothesis.timestamp if isinstance(hypothesis.timestamp, dict) else {}
    return {kind: [_plain(entry) for entry in found.get(kind, [])] for kind in ("word", "segment") if kind in found}


def _plain(entry: dict[str, Any]) -> dict[str, Any]:
    """A time stamp entry with Python numbers, so that it goes into JSON."""
    return {key: value.item() if isinstance(value, np.generic) else value for key, value in entry.items()}
