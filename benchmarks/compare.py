"""Measure asrkit beside NeMo and onnx-asr: same weights, same samples, same number of tokens, one run.

    ASRKIT_PYTHON compare.py --nemo-python NEMO_PYTHON --onnx-asr-python ONNX_ASR_PYTHON --work FOLDER

Each contestant is a process of its own, with the Python of its own virtual environment. They load one after another and
are then asked in turn, one at a time. README.md tells how to set up the environments and what is compared.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from report import describe_machine, summarize, tables

HERE = Path(__file__).resolve().parent
MAKER = HERE.parent / "plugins" / "asrkit-canary" / "tools" / "goldens" / "full_size.py"
RANDOM_MODEL = "canary-180m-flash-random.nemo"  # as the maker calls it
RATE = 16000
DISTURBED = 0.25  # cores that others keep busy on average during a run; the clock of /proc/stat is coarse
CONTESTANTS = (
    "nemo",
    "onnx-asr-fp32",
    "onnx-asr-int8",
    "asrkit-numpy-fp32",
    "asrkit-onnxruntime-fp32",
    "asrkit-onnxruntime-int8",
    "asrkit-onnxruntime-int4",
)


class Worker:
    """One contestant's process."""

    def __init__(self, name: str, command: list[str], threads: int | None, log: Path) -> None:
        self.name, self.log = name, log
        environment = dict(os.environ)
        if threads is not None:
            counts = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
            # Without a GPU in sight PyTorch stays on the CPU.
            environment |= {**dict.fromkeys(counts, str(threads)), "CUDA_VISIBLE_DEVICES": ""}
        with log.open("w", encoding="utf-8") as errors:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
            )
        self.loaded = self._answer()

    def run(self) -> dict[str, Any]:
        """One run, from samples to tokens, and how many cores others kept busy meanwhile (None: cannot be told)."""
        assert self.process.stdin is not None
        before, start = busy_seconds(), time.perf_counter()
        self.process.stdin.write('{"run": true}\n')
        self.process.stdin.flush()
        answer = self._answer()
        after, wall = busy_seconds(), time.perf_counter() - start
        others = None if before is None or after is None else (after - before - answer["cpu_seconds"]) / wall
        return answer | {"others": others}

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            raise SystemExit(f"{self.name} ended with status {self.process.returncode}; what it said is in {self.log}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def busy_seconds() -> float | None:
    """Seconds that all processors together have worked, or were taken away from this machine, where Linux tells."""
    if not Path("/proc/stat").exists():
        return None
    user, nice, system, _, _, irq, softirq, steal, *_ = map(int, Path("/proc/stat").read_text().split()[1:11])
    return float(user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def bursts(seconds: float) -> np.ndarray:
    """Seeded noise that comes and goes ten times a second: not speech, but no model can tell by its speed."""
    generator = np.random.default_rng(0)
    count = round(seconds * RATE)
    loudness = generator.uniform(0, 1, -(-count // (RATE // 10))) ** 2
    wave = np.repeat(loudness, RATE // 10)[:count] * generator.standard_normal(count) * 0.1
    return wave.astype(np.float32)


def recording(file: str, seconds: float) -> np.ndarray:
    """The first so many seconds of a mono recording at 16 kHz, or all of it if it is shorter."""
    wave, rate = soundfile.read(file, dtype="float32", frames=round(seconds * RATE))
    if rate != RATE or wave.ndim != 1:
        raise SystemExit(f"{file}: not one channel at {RATE} Hz")
    return wave


def prepare(args: argparse.Namespace) -> str:
    """Make what is missing of model and graphs, and return the model's path."""
    model = args.model or str(args.work / RANDOM_MODEL)
    if not Path(model).exists():
        if args.model or not args.nemo_python:
            raise SystemExit(f"{model}: no such file, and without --nemo-python none is made")
        subprocess.run([args.nemo_python, str(MAKER), str(args.work)], check=True)
    if any(name.startswith("onnx-asr") for name in args.contestants):
        folder = graphs(args, model)
        if not args.nemo_python and not (folder / "decoder-model.onnx").exists():
            raise SystemExit(f"{folder}: no graphs there, and without --nemo-python none are made")
        if not (folder / "decoder-model.onnx").exists():
            subprocess.run([args.nemo_python, str(HERE / "export_onnx.py"), model, str(folder)], check=True)
        if not (folder / "decoder-model.int8.onnx").exists():
            subprocess.run([args.onnx_asr_python, str(HERE / "quantize_onnx.py"), str(folder)], check=True)
    return model


def graphs(args: argparse.Namespace, model: str) -> Path:
    """The folder of a model's ONNX graphs."""
    folder: Path = args.work / f"onnx-{Path(model).stem}"
    return folder


def command(name: str, args: argparse.Namespace, model: str, samples: str) -> list[str]:
    """The command line of a contestant's worker."""
    usual = ["--tokens", str(args.tokens), "--threads", str(args.threads)]
    if name == "nemo":
        return [args.nemo_python, str(HERE / "worker_nemo.py"), model, samples, *usual]
    if name.startswith("onnx-asr-"):
        worker = [args.onnx_asr_python, str(HERE / "worker_onnx_asr.py"), str(graphs(args, model)), samples]
        return [*worker, *usual, "--precision", name.removeprefix("onnx-asr-")]
    _, backend, precision = name.split("-")
    worker = [args.asrkit_python, str(HERE / "worker_asrkit.py"), model, samples]
    return [*worker, *usual, "--backend", backend, "--precision", precision]


def measure(workers: list[Worker], rounds: int, pause: float, more: int = 0) -> dict[str, list[dict[str, Any]]]:
    """All answers, warm-up included. Everybody is asked once a round, and each round starts with the next one.

    As long as some are left of `more` rounds, one in which others were busy is not kept.
    """
    kept: list[dict[str, dict[str, Any]]] = []
    number = 0
    while len(kept) < rounds:
        start = number % len(workers)
        answers = {}
        for worker in workers[start:] + workers[:start]:
            time.sleep(pause)  # thread pools go on spinning for a moment after their work
            answers[worker.name] = worker.run()
        number += 1
        disturbed = any((answer["others"] or 0) > DISTURBED for answer in answers.values())
        if disturbed and number - len(kept) <= more:
            print("a round with others at work, measured again", file=sys.stderr)
            continue
        kept.append(answers)
        print(f"round {len(kept)} of {rounds}", file=sys.stderr)
    return {worker.name: [answers[worker.name] for answers in kept] for worker in workers}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for model, graphs, logs and results")
    parser.add_argument("--nemo-python", help="Python of the environment with nemo_toolkit")
    parser.add_argument("--onnx-asr-python", help="Python of the environment with onnx-asr, onnxruntime and onnx")
    parser.add_argument("--asrkit-python", default=sys.executable, help="Python of asrkit's environment (this one)")
    parser.add_argument("--model", help=f"a Canary .nemo file; otherwise {RANDOM_MODEL} in the work folder")
    parser.add_argument("--audio", help="a recording, 16 kHz, one channel; otherwise seeded bursts of noise")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--tokens", type=int, default=40, help="tokens that everybody generates")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--pause", type=float, default=0.3, help="seconds of rest before each run")
    parser.add_argument("--more", type=int, default=0, help="rounds to repeat, at most, because others were busy")
    parser.add_argument(
        "--contestants",
        type=lambda text: text.split(","),
        default=list(CONTESTANTS),
        help=f"names between commas, also any other asrkit-BACKEND-PRECISION; otherwise {','.join(CONTESTANTS)}",
    )
    args = parser.parse_args()
    for name in args.contestants:
        if name == "nemo" or name in ("onnx-asr-fp32", "onnx-asr-int8"):
            option = "nemo_python" if name == "nemo" else "onnx_asr_python"
            if not getattr(args, option):
                parser.error(f"{name} needs --{option.replace('_', '-')}")
        elif not (name.startswith("asrkit-") and name.count("-") == 2):
            parser.error(f"unknown contestant {name!r}")
    return args


def main() -> None:
    """Prepare, measure, report."""
    args = arguments()
    (args.work / "logs").mkdir(parents=True, exist_ok=True)
    model = prepare(args)
    samples = str(args.work / "samples.npy")
    wave = recording(args.audio, args.seconds) if args.audio else bursts(args.seconds)
    np.save(samples, wave)
    load_before = os.getloadavg()
    workers: list[Worker] = []
    try:
        for name in args.contestants:
            print(f"loading {name}", file=sys.stderr)
            log = args.work / "logs" / f"{name}.txt"
            workers.append(Worker(name, command(name, args, model, samples), args.threads, log))
        prompts = {tuple(worker.loaded["prompt"]) for worker in workers}
        if len(prompts) > 1:
            raise SystemExit(f"the prompts differ: {prompts}")
        answers = measure(workers, args.warmup + args.repeats, args.pause, args.more)
    finally:
        for worker in workers:
            worker.close()
    results = {
        "command": shlex.join([sys.executable, *sys.argv]),
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "machine": describe_machine() | {"load_before": load_before, "load_after": os.getloadavg()},
        "settings": {key: getattr(args, key) for key in ("tokens", "threads", "warmup", "repeats", "pause", "more")}
        | {
            "seconds": len(wave) / RATE,
            "model": Path(model).name,
            "audio": Path(args.audio).name if args.audio else "bursts of noise, seed 0",
        },
        "contestants": {worker.name: summarize(worker.loaded, answers[worker.name], args.warmup) for worker in workers},
    }
    text = tables(results)
    (args.work / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (args.work / "results.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
