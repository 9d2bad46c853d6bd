"""Measure asrkit on MLX beside mlx-whisper, on a Mac: tokens a second, real-time factor, memory.

    ASRKIT_PYTHON whisper_on_mlx.py --mlx-whisper-python PYTHON --whisper-model MODEL --asrkit-model FILE.nemo \
        --audio SPEECH.wav --work FOLDER

The models are different ones, with different tokens and different accuracy: what is measured is two programs at work,
not one model twice. (This file is not called mlx_whisper.py because it would then be imported in that package's place.)
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from compare import HERE, RATE, Worker, measure, recording
from report import PARTS, describe_machine, summarize


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for logs and results")
    parser.add_argument("--mlx-whisper-python", required=True, help="Python of the environment with mlx-whisper")
    parser.add_argument("--asrkit-python", default=sys.executable, help="Python of asrkit's environment (this one)")
    parser.add_argument("--whisper-model", required=True, help="folder, or hub repository, of a Whisper model for MLX")
    parser.add_argument("--asrkit-model", required=True, help="a Canary .nemo file")
    parser.add_argument("--audio", required=True, help="speech, 16 kHz, one channel")
    parser.add_argument("--seconds", type=float, default=30, help="how much of it; at most 30, one window of Whisper's")
    parser.add_argument("--language", default="en")
    parser.add_argument("--precision", choices=["fp16", "fp32"], default="fp16")
    parser.add_argument("--tokens", type=int, default=0, help="0: until the text ends; else asrkit generates so many")
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--pause", type=float, default=0.3, help="seconds of rest before each run")
    args = parser.parse_args()
    if not 0 < args.seconds <= 30:
        parser.error("--seconds is more than 0 and at most 30")
    return args


def table(contestants: dict[str, dict[str, Any]], seconds: float) -> list[str]:
    """One row a contestant."""
    rows = [
        "| contestant | all, ms | least to most | features | encoder | decoder | tokens | tokens a second, decoder | "
        "tokens a second, all | times real time | peak of the process, MB | peak of MLX, MB |",
        "| --- " + "| ---: " * 11 + "|",
    ]
    for name, found in contestants.items():
        count, whole, parts = len(found["tokens"]), found["median"], found["parts"]
        times = " | ".join(f"{1e3 * parts[part]:.0f}" for part in PARTS)
        spread = f"{1e3 * found['least']:.0f} to {1e3 * found['most']:.0f}"
        rows.append(
            f"| {name} | {1e3 * whole:.0f} | {spread} | {times} | {count} | {count / parts['decoder']:.0f} | "
            f"{count / whole:.0f} | {seconds / whole:.1f} | "
            f"{found['peak_bytes'] / 1e6:.0f} | {found['mlx_peak_bytes'] / 1e6:.0f} |"
        )
    return rows


def main() -> None:
    """Measure and report."""
    args = arguments()
    logs = args.work / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    samples = str(args.work / "speech.npy")
    wave = recording(args.audio, args.seconds)
    np.save(samples, wave)
    usual = ["--language", args.language, "--precision", args.precision, "--tokens", str(args.tokens)]
    whisper = [args.mlx_whisper_python, str(HERE / "worker_mlx_whisper.py"), args.whisper_model, samples, *usual]
    asrkit = [args.asrkit_python, str(HERE / "worker_asrkit.py"), args.asrkit_model, samples, *usual]
    workers: list[Worker] = []
    try:
        for name, command in (("mlx-whisper", whisper), ("asrkit-mlx", [*asrkit, "--backend", "mlx"])):
            workers.append(Worker(name, command, None, logs / f"{name}.txt"))
        answers = measure(workers, args.warmup + args.repeats, args.pause)
    finally:
        for worker in workers:
            worker.close()
    found = {worker.name: summarize(worker.loaded, answers[worker.name], args.warmup) for worker in workers}
    results = {
        "command": shlex.join([sys.executable, *sys.argv]),
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "machine": describe_machine(),
        "seconds": len(wave) / RATE,
        "models": {"mlx-whisper": args.whisper_model, "asrkit-mlx": Path(args.asrkit_model).name},
        "contestants": found,
    }
    (args.work / "whisper.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    machine = results["machine"]
    models = ", ".join(f"{name} {model}" for name, model in results["models"].items())
    lines = [
        f"{results['date']}, {machine['processor']}, {machine['system']}; {results['seconds']:.1f} s of audio, "
        f"{args.precision}; different models: {models}",
        "",
        *table(found, results["seconds"]),
    ]
    (args.work / "whisper.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
