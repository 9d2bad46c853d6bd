"""Record the golden data of the tiny models.

    python record.py OUT_DIR [VARIANT ...]

For each variant OUT_DIR/<variant>/ gets model.nemo, arrays.npz and golden.json; the README tells what is in them.
"""

from __future__ import annotations

import json
import sys
import tempfile
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nemo
import numpy as np
import torch
from nemo.utils import logging
from parakeets import CLASSES, DURATIONS, VARIANTS, Variant, build, sounds

LENGTHS = {"c001": 1700, "c043": 6880, "c100": 16000, "c256": 40960, "c337": 53920}
FULL = ("c043", "c256")  # clips whose arrays are kept
CLEAR = 2e-3  # least difference of the two best scores at every choice


def clips_of(out: Path) -> dict[str, np.ndarray]:
    """The clips, made and stored first if they do not exist."""
    file = out / "clips.npz"
    if not file.exists():
        out.mkdir(parents=True, exist_ok=True)
        made = {
            name: sounds.speechlike(samples, seed) for seed, (name, samples) in enumerate(LENGTHS.items(), start=11)
        }
        np.savez_compressed(file, **made)
    with np.load(file) as stored:
        return {name: stored[name] for name in stored.files}


def record(variant: Variant, name: str, out: Path) -> None:
    """Build, save, load again with NeMo, and record what the loaded model does."""
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    clips = clips_of(out)
    with tempfile.TemporaryDirectory() as scratch:
        build(variant, Path(scratch), torch.from_numpy(sounds.as_float(clips["c256"]))[None]).save_to(
            str(folder / "model.nemo")
        )
        model = CLASSES[variant.kind].restore_from(str(folder / "model.nemo"), map_location="cpu").eval()
        files = write_waves(clips, Path(scratch))
        arrays: dict[str, np.ndarray] = {}
        golden: dict[str, Any] = {
            "variant": name,
            "source": {"nemo": nemo.__version__, "torch": torch.__version__, "seed": variant.seed},
            "pieces": model.tokenizer.ids_to_tokens(list(range(model.tokenizer.vocab_size))),
        }
        heads = ["ctc"] if variant.kind == "ctc" else ["transducer"]
        if variant.kind == "tdt_ctc":
            heads.append("ctc")
        for head in heads:
            if variant.kind == "tdt_ctc":
                model.change_decoding_strategy(None, decoder_type="rnnt" if head == "transducer" else "ctc")
            golden[head] = {clip: one(model, head, clip, clips[clip], files[clip], arrays) for clip in clips}
    np.savez_compressed(folder / "arrays.npz", **arrays)
    write_json(folder / "golden.json", golden)
    for head in heads:
        for clip, row in golden[head].items():
            print(name, head, clip, row["frames"], len(row["tokens"]), repr(row["text"]), f"{row['clear']:.4f}")


@torch.inference_mode()
def one(
    model: Any, head: str, clip: str, samples: np.ndarray, file: str, arrays: dict[str, np.ndarray]
) -> dict[str, Any]:
    """One clip alone: what `transcribe()` says of its file, and the numbers on the way there."""
    signal = torch.from_numpy(sounds.as_float(samples))[None]
    features, length = model.preprocessor(input_signal=signal, length=torch.tensor([len(samples)]))
    states, count = model.encoder(audio_signal=features, length=length)
    found = model.transcribe([file], timestamps=True, return_hypotheses=True, batch_size=1, verbose=False)
    hypothesis = (found[0] if isinstance(found, tuple) else found)[0]
    model.eval()  # NeMo leaves parts of it in training mode
    frames = int(count[0])
    if head == "ctc":
        decoder = model.ctc_decoder if hasattr(model, "ctc_decoder") else model.decoder
        scores = decoder(encoder_output=states)[0, :frames].numpy()
        path, clear = ctc_path(scores)
        tokens = path["tokens"]
    else:
        path, scores, clear = transducer_path(model, states[:, :, :frames])
        tokens = [int(token) for token in hypothesis.y_sequence]
        assert path["tokens"] == tokens, (clip, path["tokens"], tokens)
    if clip in FULL:
        arrays[f"{clip}.{head}"] = scores
        arrays[f"{clip}.encoder"] = states[0, :, :frames].T.numpy()
    assert clear >= CLEAR, (head, clip, clear)
    times = {kind: [stamp(entry) for entry in hypothesis.timestamp.get(kind, [])] for kind in ("word", "segment")}
    return {
        "frames": frames,
        **path,
        "text": hypothesis.text,
        "score": float(hypothesis.score),
        "clear": clear,
        **times,
    }


def stamp(entry: dict[str, Any]) -> list[Any]:
    """Text, first frame, last frame."""
    return [entry.get("word", entry.get("segment")), int(entry["start_offset"]), int(entry["end_offset"])]


def ctc_path(scores: np.ndarray) -> tuple[dict[str, Any], float]:
    """Collapsed tokens with their first and last frames, and the least margin."""
    best = scores.argmax(-1)
    blank = scores.shape[1] - 1
    tokens, first, last = [], [], []
    previous = blank
    for frame, token in enumerate(best.tolist()):
        if token != blank and token == previous:
            last[-1] = frame + 1
        elif token != blank:
            tokens.append(token)
            first.append(frame)
            last.append(frame + 1)
        previous = token
    top = np.sort(scores, axis=-1)
    clear = float((top[:, -1] - top[:, -2]).min()) if len(scores) else 1.0
    return {"tokens": tokens, "starts": first, "ends": last}, clear


def transducer_path(model: Any, states: torch.Tensor) -> tuple[dict[str, Any], np.ndarray, float]:
    """The greedy path by NeMo's own modules: tokens, frames, durations, raw outputs of each joint, least margin."""
    joint, decoder = model.joint, model.decoder
    size = model.tokenizer.vocab_size
    durations = DURATIONS if joint.num_extra_outputs else None
    projected = joint.project_encoder(states.transpose(1, 2))
    predicted, state = decoder.predict(None, None, add_sos=False, batch_size=1)
    predicted = joint.project_prednet(predicted)
    frame, emitted, clear = 0, 0, 1.0
    tokens, starts, lengths, rows = [], [], [], []
    while frame < projected.shape[1]:
        z = joint.joint_net(projected[:, frame : frame + 1, None, :] + predicted[:, None])[0, 0, 0]
        rows.append(z.numpy())
        parts = [z[: size + 1]] if durations is None else [z[: size + 1], z[size + 1 :]]
        clear = min([clear, *(float(part.topk(2).values.diff().abs()) for part in parts)])
        token = int(parts[0].argmax())
        length = int(durations[int(parts[1].argmax())]) if durations else int(token == size)
        if token == size:
            frame, emitted = frame + max(length, 1), 0
            continue
        tokens.append(token)
        starts.append(frame)
        lengths.append(length)
        predicted, state = decoder.predict(torch.tensor([[token]]), state, add_sos=False, batch_size=1)
        predicted = joint.project_prednet(predicted)
        emitted, frame = emitted + 1, frame + length
        if length:
            emitted = 0
        elif emitted >= 10:
            frame, emitted = frame + 1, 0
    path = {"tokens": tokens, "starts": starts, "durations": lengths}
    return path, np.stack(rows) if rows else np.zeros((0, size + 1), np.float32), clear


def write_waves(clips: dict[str, np.ndarray], folder: Path) -> dict[str, str]:
    """The clips as files, by name."""
    files = {}
    for name, samples in clips.items():
        files[name] = str(folder / f"{name}.wav")
        with wave.open(files[name], "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(sounds.RATE)
            file.writeframes(samples.astype("<i2").tobytes())
    return files


def write_json(file: Path, golden: dict[str, Any]) -> None:
    """JSON with one clip a line."""
    lines: list[str] = []
    for key, value in golden.items():
        lines.append(f"{json.dumps(key)}: {_body(value) if key in ('ctc', 'transducer') else _line(value)}")
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _body(rows: dict[str, Any]) -> str:
    inner: Iterator[str] = (f"{json.dumps(name)}: {_line(row)}" for name, row in rows.items())
    return "{\n" + ",\n".join(inner) + "\n}"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.setLevel("ERROR")
    for chosen in sys.argv[2:] or VARIANTS:
        record(VARIANTS[chosen], chosen, Path(sys.argv[1]))
