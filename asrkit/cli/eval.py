"""``asrkit eval``: how well a model recognises recordings whose text is known."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import click

from asrkit.cli import say
from asrkit.cli.run import extra_options

__all__ = ["command", "render"]

FLAGS = {"backend", "batch_size", "device", "format", "language", "limit", "model", "normalizer", "precision"}
FLAGS |= {"strategy", "target_language", "threads", "worst"}
"""What -o cannot set, since there is a flag for it."""


@click.command("eval")
@click.argument("manifest")
@click.option("--model", "-m", required=True, help="A .nemo file, a converted folder, or a name from `asrkit models`.")
@click.option("--language", "-l", help="Language that is spoken.  [default: the manifest's]")
@click.option("--target-language", help="Language of the text.  [default: the manifest's, else the one spoken]")
@click.option("--pnc/--no-pnc", default=None, help="Punctuation and capitals.  [default: on]")
@click.option("--normalizer", type=click.Choice(["none", "whisper"]), default="none", show_default=True)
@click.option("--backend", default="auto", show_default=True, help="auto, or a name from `asrkit backends`.")
@click.option("--device", help="One of the backend's devices.  [default: the backend's]")
@click.option("--threads", type=click.IntRange(1, 1024), help="Processor threads, if the backend has a choice.")
@click.option("--precision", help="One that `asrkit backends` lists.  [default: the checkpoint's, else fp32]")
@click.option("--strategy", help="Decoding strategy.  [default: the model's]")
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=8, show_default=True, help="Recordings decoded together."
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many of each pair of languages.")
@click.option("--worst", type=click.IntRange(min=0), default=5, show_default=True, help="Clips to list.")
@click.option("--format", "format_name", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("-o", "options", multiple=True, metavar="NAME=VALUE", help="Any other option of the model.")
def command(
    manifest: str,
    model: str,
    language: str | None,
    target_language: str | None,
    pnc: bool | None,
    normalizer: str,
    backend: str,
    device: str | None,
    threads: int | None,
    precision: str | None,
    strategy: str | None,
    batch_size: int,
    limit: int | None,
    worst: int,
    format_name: str,
    options: tuple[str, ...],
) -> None:
    """Measure error rates on the recordings that a NeMo manifest lists.

    A recording that cannot be read does not stop the others; the exit code is then 1. Needs: pip install
    jiwer whisper-normalizer

    \b
    asrkit eval --model checkpoint.nemo test/manifest.jsonl
    asrkit eval --model checkpoint.nemo --target-language de --limit 100 test/manifest.jsonl
    asrkit eval --model checkpoint.nemo --normalizer whisper --format json test/manifest.jsonl > eval.json
    """
    extra = extra_options(options, FLAGS, {"pnc": pnc})
    said = {
        "language": language,
        "target_language": target_language,
        "pnc": pnc,
        "strategy": strategy,
        "threads": threads,
        "batch_size": batch_size,
        "limit": limit,
        **extra,
    }

    from asrkit.evaluation import Plan, evaluate, scorer
    from asrkit.loading import load_model, model_settings
    from asrkit.manifests import read_manifest

    scorer(normalizer)  # a package that is missing is told before anything is loaded
    groups = read_manifest(manifest, language, target_language, limit)
    settings = {name: extra.pop(name) for name in model_settings(model) if name in extra}
    loaded = load_model(model, backend, precision, device=device, threads=threads, **settings)
    plan = Plan(
        model=model,
        manifest=manifest,
        groups=groups,
        normalizer=normalizer,
        worst=worst,
        strategy=strategy,
        batch_size=batch_size,
        options={"pnc": pnc, **extra},
        said={name: value for name, value in said.items() if value is not None},
    )
    report = evaluate(loaded, plan, tell=say)
    click.echo(json.dumps(report, indent=2) if format_name == "json" else render(report))
    if report["failures"]:
        sys.exit(1)


def render(report: dict[str, Any]) -> str:
    """The figures as a Markdown table, below what they were measured with and above the worst clips."""
    from asrkit.evaluation import pair_name

    weights = report["weights"]
    rows: list[tuple[str, ...]] = [
        ("languages", "clips", "WER", "95 %", "CER", "95 %", "exact", "empty", "failed", "x real time")
    ]
    rows += [_row(pair_name((one["source_lang"], one["target_lang"])), one) for one in report["languages"]]
    rows.append(_row("all", report["overall"]))
    lines = [
        f"{report['date']}, model {report['model']}, manifest {report['manifest']}",
        "weights " + ("not known" if weights is None else f"{weights['file']}, sha256 {weights['sha256']}"),
        f"{report['backend']} on {report['device']} in {report['precision']}; normalizer: {report['normalizer']}; "
        + ", ".join(f"{name}={value}" for name, value in report["options"].items()),
        ", ".join(" ".join(pair) for pair in report["versions"].items()),
        "",
        *_aligned(rows),
    ]
    if report["worst"]:
        lines += ["", "worst clips:"]
    for one in report["worst"]:
        lines += [
            f"{one['file']}: {one['errors']} word errors, {one['character_errors']} of characters",
            f"  reference:  {one['reference']}",
            f"  hypothesis: {one['hypothesis']}",
        ]
    return "\n".join(lines)


def _row(name: str, one: dict[str, Any]) -> tuple[str, ...]:
    speed = one["times_real_time"]
    return (
        name,
        str(one["clips"]),
        *(cell for rate in ("wer", "cer") for cell in (_percent(one[rate]), _between(one[f"{rate}_interval"]))),
        f"{one['exact']} of {one['clips']}",
        f"{one['empty']} of {one['empty_references']}",
        str(one["failed"]),
        "-" if speed is None else f"{speed:.1f}",
    )


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.2f} %"


def _between(interval: list[float] | None) -> str:
    return "-" if interval is None else f"{100 * interval[0]:.2f} to {100 * interval[1]:.2f}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines of a Markdown table, all but the first column to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = []
    for row in (rows[0], rule, *rows[1:]):
        first, *others = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("| " + " | ".join([row[0].ljust(len(first)), *others]) + " |")
    return lines
