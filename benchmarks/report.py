"""Turn the answers of the contestants into numbers and tables."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from pathlib import Path
from typing import Any

PARTS = ("features", "encoder", "decoder")

# What is set against what: a contestant and its baseline.
RATIOS = (
    ("asrkit-onnxruntime-int8", "onnx-asr-int8"),
    ("asrkit-onnxruntime-int4", "onnx-asr-int8"),
    ("asrkit-onnxruntime-fp32", "onnx-asr-fp32"),
    ("asrkit-onnxruntime-fp32", "nemo"),
    ("asrkit-numpy-fp32", "nemo"),
    ("asrkit-numpy-fp32", "onnx-asr-fp32"),
)


def describe_machine() -> dict[str, Any]:
    """Processor, memory and system."""
    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), processor)
    elif platform.system() == "Darwin":
        asked = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True)
        processor = asked.stdout.strip() or processor
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    system = f"{platform.system()} {platform.machine()}"
    return {"processor": processor, "cores": os.cpu_count(), "memory_bytes": memory, "system": system}


def summarize(loaded: dict[str, Any], answers: list[dict[str, Any]], warmup: int) -> dict[str, Any]:
    """One contestant's numbers; times in seconds."""
    runs = [answer["seconds"] for answer in answers[warmup:]]
    others = [answer["others"] for answer in answers[warmup:]]
    if any(answer["tokens"] != answers[0]["tokens"] for answer in answers):
        raise SystemExit("a contestant's tokens differ from run to run")
    totals = [run["all"] for run in runs]
    return {
        "versions": loaded["versions"],
        "facts": loaded["facts"],
        "load": loaded["load_seconds"],
        "first": answers[0]["seconds"]["all"],
        "median": statistics.median(totals),
        "least": min(totals),
        "most": max(totals),
        "parts": {part: statistics.median(run[part] for run in runs) for part in PARTS},
        "runs": runs,
        "others": None if None in others else others,
        "peak_bytes": answers[-1]["peak_bytes"],
        "mlx_peak_bytes": answers[-1]["mlx_peak_bytes"],
        "prompt": loaded["prompt"],
        "tokens": answers[0]["tokens"],
    }


def agreement(tokens: list[int], reference: list[int]) -> tuple[int, int]:
    """Number of equal positions, and number of equal tokens before the first difference."""
    same = [one == other for one, other in zip(tokens, reference, strict=True)]
    return sum(same), same.index(False) if False in same else len(same)


def reference_of(contestants: dict[str, Any]) -> str:
    """Whose tokens the others' are compared with: NeMo's, else those of the first in float32, else of the first."""
    names = list(contestants)
    return next((name for name in names if name == "nemo" or name.endswith("fp32")), names[0])


def tables(results: dict[str, Any]) -> str:
    """The report in Markdown."""
    contestants = results["contestants"]
    return "\n".join(
        [*_header(results), *_times(contestants), *_ratios(contestants), *_versions(contestants), ""],
    )


def _header(results: dict[str, Any]) -> list[str]:
    machine, settings = results["machine"], results["settings"]
    loads = ", ".join(f"{machine[key][0]:.1f}" for key in ("load_before", "load_after"))
    return [
        f"{results['date']}, {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_bytes'] / 2**30:.0f} GiB, {machine['system']}; load average before and after: {loads}",
        "",
        f"`{results['command']}`",
        "",
        f"{settings['model']}, {settings['seconds']:g} s of audio ({settings['audio']}), {settings['tokens']} tokens, "
        f"{settings['threads']} threads; medians of {settings['repeats']} interleaved runs after {settings['warmup']}.",
        "",
    ]


def _times(contestants: dict[str, Any]) -> list[str]:
    reference = reference_of(contestants)
    rows = [
        f"| contestant | all, ms | least to most | features | encoder | decoder | load, s | first run, s | peak, MB | "
        f"others, cores | tokens as {reference}: all / until the first other |",
        "| --- " + "| ---: " * 10 + "|",
    ]
    for name, found in contestants.items():
        same, prefix = agreement(found["tokens"], contestants[reference]["tokens"])
        parts = " | ".join(f"{1e3 * found['parts'][part]:.0f}" for part in PARTS)
        others = f"{max(found['others']):.2f}" if found["others"] else "?"
        spread = f"{1e3 * found['least']:.0f} to {1e3 * found['most']:.0f}"
        rows.append(
            f"| {name} | {1e3 * found['median']:.0f} | {spread} | {parts} | "
            f"{found['load']:.2f} | {found['first']:.2f} | {found['peak_bytes'] / 1e6:.0f} | {others} | "
            f"{same} / {prefix} of {len(found['tokens'])} |"
        )
    return rows


def _ratios(contestants: dict[str, Any]) -> list[str]:
    rows = [
        "",
        "| contestant | baseline | times as fast | in single rounds | its peak memory |",
        "| --- | --- " + "| ---: " * 3 + "|",
    ]
    for name, baseline in RATIOS:
        if name not in contestants or baseline not in contestants:
            continue
        ours, theirs = contestants[name], contestants[baseline]
        rounds = [there["all"] / here["all"] for here, there in zip(ours["runs"], theirs["runs"], strict=True)]
        memory = ours["peak_bytes"] / theirs["peak_bytes"]
        rows.append(
            f"| {name} | {baseline} | {theirs['median'] / ours['median']:.2f} | "
            f"{min(rounds):.2f} to {max(rounds):.2f} | {memory:.2f} of the baseline's |"
        )
    return rows if len(rows) > 3 else []


def _versions(contestants: dict[str, Any]) -> list[str]:
    rows = ["", "Versions:", ""]
    for name, found in contestants.items():
        facts = {**found["versions"], **found["facts"]}
        rows.append(f"- {name}: " + ", ".join(f"{key} {value}" for key, value in facts.items()))
    return rows
