"""A report as text: a table of what loading costs and one of what running costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["render"]


def render(report: dict[str, Any]) -> str:
    """The tables, in Markdown that is also aligned for a terminal, below lines on what was measured and where."""
    configurations = report["configurations"]
    forced = report["tokens"] is not None
    names = [(one["backend"], one["precision"]) for one in configurations]
    loads = [("backend", "precision", "load cold", "load warm", "first text cold", "first text warm", "peak memory")]
    runs = [
        (
            *("backend", "precision", "batch", "features", "encoder"),
            *(("per token", "end to end", "tokens/s") if forced else ("decoder", "end to end", "tokens")),
            *("x real time", "ratio"),
        )
    ]
    for name, one in zip(names, configurations, strict=True):
        cold, warm = one["cold"], one["warm"]
        seconds = [f"{part[key]:.2f} s" for key in ("load", "first") for part in (cold, warm)]
        loads.append((*name, *seconds, _memory(one["peak_memory"])))
        for batch in one["batches"]:
            runs.append(
                (
                    *name,
                    str(batch["batch_size"]),
                    *(_spread(batch[key], 1000) for key in ("features", "encoder")),
                    _spread(batch["ms_per_token"]) if forced else _spread(batch["decoder"], 1000),
                    _spread(batch["total"], 1000),
                    f"{batch['tokens_per_second']['median']:.0f}" if forced else str(batch["tokens"]),
                    f"{batch['times_real_time']['median']:.1f}",
                    f"{batch['ratio']:.2f}",
                )
            )
    return "\n".join([*_head(report), "", *_aligned(loads), "", *_aligned(runs)])


def _head(report: dict[str, Any]) -> list[str]:
    machine = report["machine"]
    memory = "" if machine["memory"] is None else f", {machine['memory'] / 1e9:.1f} GB"
    versions = {
        name: number for one in report["configurations"] for name, number in one["versions"].items() if name != "numpy"
    }
    threads = "the backend's choice" if report["threads"] is None else str(report["threads"])
    settings = "".join(f", {name}={value}" for name, value in machine["environment"].items())
    return [
        f"{report['command']}",
        f"{report['date']}, asrkit {report['asrkit']}, model {report['model']}",
        f"{machine['processor']}, {machine['usable_cores']} of {machine['cores']} cores{memory}; {machine['system']}",
        f"Python {machine['python']}, numpy {machine['numpy']}"
        + "".join(f", {name} {number}" for name, number in versions.items())
        + f"; threads: {threads}{settings}",
        f"{report['audio']['seconds']:.1f} s of {'noise' if report['audio']['file'] is None else 'audio'}, "
        f"{'no tokens' if report['tokens'] is None else str(report['tokens']) + ' tokens'} forced in each row; "
        f"median of {report['repeats']} runs ± half the interquartile range",
        "ratio: end to end time per recording, relative to the first row",
    ]


def _spread(summary: dict[str, Any], scale: float = 1) -> str:
    """Milliseconds with half the interquartile range in percent of them."""
    low, high = summary["quartiles"]
    median = summary["median"]
    percent = 50 * (high - low) / median if median else 0.0
    return f"{median * scale:.{1 if median * scale >= 10 else 2}f} ms ±{percent:.0f} %"


def _memory(peak: int | None) -> str:
    return "not measured" if peak is None else f"{peak / 1e6:.0f} MB"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines of a Markdown table, numbers to the right; the first row is its head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    left = 2  # the names of a configuration

    def line(cells: Sequence[str]) -> str:
        return (
            "| "
            + " | ".join(
                cell.ljust(width) if n < left else cell.rjust(width)
                for n, (cell, width) in enumerate(zip(cells, widths, strict=True))
            )
            + " |"
        )

    rule = ["-" * width if n < left else "-" * (width - 1) + ":" for n, width in enumerate(widths)]
    return [line(rows[0]), line(rule), *(line(row) for row in rows[1:])]
