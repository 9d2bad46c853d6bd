"""``asrkit bench``: how fast a model runs here, and how much memory it takes."""

from __future__ import annotations

import json
import math
import shlex

import click

from asrkit.cli import say
from asrkit.errors import UsageError
from asrkit.plugins import registry

__all__ = ["command"]


class _Typed(click.Command):
    """A command that remembers how it was called."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[__name__] = list(args)
        return super().parse_args(ctx, args)


@click.command("bench", cls=_Typed)
@click.option("--model", "-m", required=True, help="A .nemo file, a converted folder, or a name from `asrkit models`.")
@click.option(
    "--backend", "backends", multiple=True, help="May be repeated.  [default: all that are meant to run here]"
)
@click.option("--precision", "precisions", multiple=True, help="May be repeated.  [default: fp32, or the folder's]")
@click.option(
    "--batch-size",
    "batch_sizes",
    type=click.IntRange(min=1),
    multiple=True,
    default=[1],
    show_default=True,
    help="Recordings decoded together; may be repeated.",
)
@click.option("--audio", help="A recording to measure with.  [default: noise]")
@click.option("--seconds", type=click.FloatRange(min=0.1, max=3600), help="Length of the noise.  [default: 10]")
@click.option("--tokens", type=click.IntRange(min=1), default=40, show_default=True, help="Said by each row.")
@click.option("--repeats", type=click.IntRange(min=1), default=7, show_default=True, help="Runs that count.")
@click.option("--warm-up", type=click.IntRange(min=0), default=2, show_default=True, help="Runs before those.")
@click.option(
    "--threads", type=click.IntRange(1, 1024), help="Processor threads, where the backend lets them be chosen."
)
@click.option("--format", "format_name", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def command(
    ctx: click.Context,
    model: str,
    backends: tuple[str, ...],
    precisions: tuple[str, ...],
    batch_sizes: tuple[int, ...],
    audio: str | None,
    seconds: float | None,
    tokens: int,
    repeats: int,
    warm_up: int,
    threads: int | None,
    format_name: str,
) -> None:
    """Measure a model: loading, features, encoder, decoder, memory.

    Every backend in every precision runs in a process of its own; the processes are asked in turn. Each row says the
    same number of tokens, whatever the weights are.

    \b
    asrkit bench --model checkpoint.nemo
    asrkit bench --model checkpoint.nemo --backend numpy --backend onnxruntime --batch-size 1 --batch-size 8
    asrkit bench --model checkpoint.nemo --backend onnxruntime --precision fp32 --precision int8 --format json
    """
    if audio is not None and seconds is not None:
        raise UsageError("--seconds is the length of the noise; it cannot be given together with --audio")
    if seconds is not None and math.isnan(seconds):
        raise UsageError("--seconds takes a number")

    from asrkit.bench.session import Plan, check_backends, choose_backends, measure
    from asrkit.bench.table import render
    from asrkit.loading import model_settings, own_precision

    model_settings(model)  # a model that is not there is told before anything is started
    precisions = precisions or (own_precision(model),)
    names = check_backends(registry(), backends or choose_backends(registry(), threads, say), precisions, threads)
    plan = Plan(
        model=model,
        backends=names,
        precisions=precisions,
        batch_sizes=batch_sizes,
        tokens=tokens,
        repeats=repeats,
        warm_up=warm_up,
        seconds=10.0 if seconds is None else seconds,
        audio=audio,
        threads=threads,
    )
    report = measure(plan, shlex.join(["asrkit", "bench", *ctx.meta[__name__]]), tell=say)
    click.echo(json.dumps(report, indent=2) if format_name == "json" else render(report))
