"""``asrkit eval``: how well a model recognises recordings whose text is known."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any, Literal

import click

from asrkit.cli import on_download, say
from asrkit.cli.options import (
    Command,
    complete_files,
    decoder_option,
    decoding_options,
    language_options,
    length_options,
    loading_options,
    model_option,
    option,
    verbosity_options,
)
from asrkit.cli.run import extra_options

__all__ = ["command", "render"]

FLAGS = {
    "backend",
    "batch_size",
    "device",
    "format",
    "guards",
    "segmenter",
    "language",
    "limit",
    "model",
    "normalizer",
    "precision",
}
FLAGS |= {"strategy", "target_language", "threads", "worst"}
"""What -o cannot set, since there is a flag for it."""


@click.command("eval", cls=Command)
@click.argument("manifest", shell_complete=complete_files)
@model_option
@decoder_option
@language_options("the manifest's", "the manifest's, else the one spoken")
@option(
    "--normalizer",
    type=click.Choice(["none", "whisper"]),
    default="none",
    show_default=True,
    section="Measurement",
    help="What is taken out of both texts before they are compared.",
)
@option(
    "--limit",
    type=click.IntRange(min=1),
    section="Measurement",
    help="Only the first so many of each pair of languages.",
)
@option(
    "--worst", type=click.IntRange(min=0), default=5, show_default=True, section="Measurement", help="Clips to list."
)
@option(
    "--format",
    "format_name",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    section="Measurement",
    help="How the figures are written.",
)
@loading_options()
@length_options
@decoding_options
@verbosity_options
def command(
    manifest: str,
    model: str,
    decoder: str | None,
    language: str | None,
    target_language: str | None,
    pnc: bool | None,
    normalizer: str,
    backend: str,
    device: str | None,
    threads: int | None,
    precision: str | None,
    strategy: str | None,
    batch_size: int | Literal["auto"],
    segmenter: str | None,
    guards: str,
    limit: int | None,
    worst: int,
    format_name: str,
    options: tuple[str, ...],
    **cutting: Any,
) -> None:
    """Measure error rates over a NeMo manifest.

    A recording that cannot be read does not stop the others; the exit code is then 1. Needs: pip install
    jiwer whisper-normalizer

    \b
    Examples:
      asrkit eval --model canary-180m-flash test/manifest.jsonl
      asrkit eval -m canary-180m-flash --target-language de manifest.jsonl
      asrkit eval -m canary-180m-flash --normalizer whisper --limit 100 \\
          --format json manifest.jsonl > eval.json
    """
    extra = extra_options(options, FLAGS, {"pnc": pnc, **cutting})
    said = {
        "language": language,
        "target_language": target_language,
        "pnc": pnc,
        "decoder": decoder,
        "strategy": strategy,
        "threads": threads,
        "batch_size": batch_size,
        "limit": limit,
        "segmenter": segmenter,
        "guards": guards,
        **cutting,
        **extra,
    }

    from asrkit.evaluation import Plan, evaluate, scorer
    from asrkit.loading import load_model, model_settings
    from asrkit.manifests import read_manifest

    scorer(normalizer)  # a package that is missing is told before anything is loaded
    groups = read_manifest(manifest, language, target_language, limit)
    settings: dict[str, Any] = {"decoder": decoder}
    settings |= {name: extra.pop(name) for name in model_settings(model, on_download()) if name in extra}
    loaded = load_model(model, backend, precision, device=device, threads=threads, tell=on_download(), **settings)
    plan = Plan(
        model=model,
        manifest=manifest,
        groups=groups,
        normalizer=normalizer,
        worst=worst,
        strategy=strategy,
        batch_size=batch_size,
        options={"pnc": pnc, "segmenter": segmenter, "guards": guards == "on", **cutting, **extra},
        said={name: value for name, value in said.items() if value is not None},
    )
    report = evaluate(loaded, plan, tell=_tell)
    click.echo(json.dumps(report, indent=2) if format_name == "json" else render(report))
    if report["failures"]:
        sys.exit(1)


def _tell(line: str) -> None:
    """Errors are told in any case."""
    say(line, -1 if line.startswith("error: ") else 0)


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
