"""``asrkit bench``: how fast a model runs here, and how much memory it takes."""

from __future__ import annotations

import json
import math
import shlex

import click

from asrkit.cli import on_download, say
from asrkit.cli.options import (
    Command,
    complete_files,
    decoder_option,
    loading_options,
    model_option,
    option,
    verbosity_options,
)
from asrkit.errors import OptionError, UsageError
from asrkit.plugins import registry

__all__ = ["command"]


class _Typed(Command):
    """A command that remembers how it was called."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[__name__] = list(args)
        return super().parse_args(ctx, args)


@click.command("bench", cls=_Typed)
@model_option
@decoder_option
@loading_options(repeated=True)
@option(
    "--batch-size",
    "batch_sizes",
    type=click.IntRange(min=1),
    multiple=True,
    default=[1],
    show_default=True,
    section="Machine",
    help="Recordings decoded together. May be repeated.",
)
@option("--audio", section="Measurement", shell_complete=complete_files, show_default="noise", help="A recording.")
@option(
    "--seconds",
    type=click.FloatRange(min=0.1, max=3600),
    section="Measurement",
    show_default="10",
    help="Length of the noise.",
)
@option(
    "--tokens",
    type=click.IntRange(min=1),
    section="Measurement",
    show_default="40",
    help="Said by each row, if the model has an attention decoder.",
)
@option(
    "--repeats",
    type=click.IntRange(min=1),
    default=7,
    show_default=True,
    section="Measurement",
    help="Runs that count.",
)
@option(
    "--warm-up",
    type=click.IntRange(min=0),
    default=2,
    show_default=True,
    section="Measurement",
    help="Runs before those.",
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
@verbosity_options
@click.pass_context
def command(
    ctx: click.Context,
    model: str,
    decoder: str | None,
    backends: tuple[str, ...],
    precisions: tuple[str, ...],
    batch_sizes: tuple[int, ...],
    audio: str | None,
    seconds: float | None,
    tokens: int | None,
    repeats: int,
    warm_up: int,
    device: str | None,
    threads: int | None,
    format_name: str,
) -> None:
    """Measure a model: loading, features, encoder, decoder, memory.

    Every backend in every precision runs in a process of its own; the processes are asked in turn. Each row of
    an attention decoder says the same number of tokens, whatever the weights are; others say what they hear.

    \b
    Examples:
      asrkit bench --model canary-180m-flash
      asrkit bench -m canary-180m-flash --backend numpy --backend onnxruntime
      asrkit bench -m canary-180m-flash --precision fp32 --precision int8
      asrkit bench -m canary-180m-flash --batch-size 1 --batch-size 8
      asrkit bench -m parakeet-tdt_ctc-110m --decoder ctc --audio talk.wav
    """
    if audio is not None and seconds is not None:
        raise UsageError("--seconds is the length of the noise; it cannot be given together with --audio")
    if seconds is not None and math.isnan(seconds):
        raise UsageError("--seconds takes a number")

    from asrkit.bench.session import Plan, check_backends, choose_backends, measure
    from asrkit.bench.table import render
    from asrkit.loading import model_settings, own_precision

    settings = model_settings(model, on_download())  # a model that is not there is told before anything is started
    if decoder is not None and "decoder" not in settings:
        raise OptionError(f"model {model!r} has one decoder and no choice: leave --decoder {decoder} out")
    own = own_precision(model, on_download())  # downloads it, if need be, before several processes would
    precisions = precisions or (own,)
    backends = backends or choose_backends(registry(), threads, _tell, device)
    names = check_backends(registry(), backends, precisions, threads, device)
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
        device=device,
        decoder=decoder,
    )
    report = measure(plan, shlex.join(["asrkit", "bench", *ctx.meta[__name__]]), tell=_tell)
    click.echo(json.dumps(report, indent=2) if format_name == "json" else render(report))


def _tell(line: str) -> None:
    say(line, 0)
