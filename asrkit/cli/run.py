"""``asrkit run``: recordings to text."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import click

from asrkit import __version__
from asrkit.cli import on_download, say, verbosity
from asrkit.cli.interrupt import Stop, stoppable
from asrkit.cli.layout import layout_options, take_layout
from asrkit.cli.noise import without_noise
from asrkit.cli.options import (
    Command,
    complete_files,
    complete_names,
    decoder_option,
    decoding_options,
    language_options,
    length_options,
    loading_options,
    model_option,
    option,
    verbosity_options,
)
from asrkit.cli.progress import Progress
from asrkit.cli.results import ALL, Format, Report, choose_formats
from asrkit.errors import PluginError, UsageError
from asrkit.inputs import STDIN, Input, collect
from asrkit.models import HubSource
from asrkit.outputs import Outputs
from asrkit.plugins import registry

__all__ = ["command", "extra_options"]


FLAGS = {"backend", "batch_size", "channel", "device", "files_from", "format", "guards", "manifest"}
FLAGS |= {"decoder", "segmenter", "timestamps"}
FLAGS |= {"max_line_count", "max_line_width", "max_words_per_line", "model", "output_dir", "overwrite", "precision"}
FLAGS |= {"recursive", "strategy", "threads", "tokens"}
"""What -o cannot set, since it is not an option of the model."""


@click.command("run", cls=Command)
@click.argument("audio", nargs=-1, shell_complete=complete_files)
@model_option
@decoder_option
@option("--recursive", "-r", is_flag=True, section="Recordings", help="Go into the folders of folders.")
@option(
    "--files-from",
    multiple=True,
    metavar="FILE",
    section="Recordings",
    help="Paths, one a line or separated by NUL; - is standard input.",
)
@option(
    "--manifest",
    "manifests",
    multiple=True,
    metavar="FILE",
    section="Recordings",
    help="A NeMo manifest: recordings or parts of them, with their languages.",
)
@option(
    "--channel",
    type=click.IntRange(min=1),
    section="Recordings",
    show_default="the mean of all",
    help="The channel to take, from 1 on.",
)
@language_options("en, with a warning", "the one that is spoken", "ASRKIT_LANGUAGE")
@option("--itn/--no-itn", default=None, section="Language and text", show_default="off", help="Numbers in digits.")
@option(
    "--task",
    type=click.Choice(["transcribe", "translate"]),
    section="Language and text",
    help="Follows from the languages if omitted.",
)
@option(
    "--format",
    "format_name",
    default="txt",
    show_default=True,
    section="Output",
    envvar="ASRKIT_FORMAT",
    shell_complete=complete_names("format", ALL),
    help="A format that `asrkit plugins` lists, or all.",
)
@option(
    "--output-dir",
    type=click.Path(file_okay=False, path_type=Path),
    section="Output",
    envvar="ASRKIT_OUTPUT_DIR",
    help="One file a recording, there.",
)
@option(
    "--timestamps",
    type=click.Choice(["none", "segment", "word"]),
    section="Output",
    show_default="the best there are for segments",
    help="segment times come from the model or from speech detection, word times from the model.",
)
@option("--overwrite", is_flag=True, section="Output", help="Replace outputs that exist, and do everything again.")
@option("--tokens", is_flag=True, section="Output", help="Add token ids (json, jsonl).")
@layout_options
@loading_options()
@length_options
@decoding_options
@verbosity_options
def command(
    audio: tuple[str, ...],
    model: str,
    decoder: str | None,
    backend: str,
    device: str | None,
    threads: int | None,
    precision: str | None,
    strategy: str | None,
    batch_size: int | str,
    segmenter: str | None,
    guards: str,
    timestamps: str | None,
    format_name: str,
    output_dir: Path | None,
    overwrite: bool,
    recursive: bool,
    files_from: tuple[str, ...],
    manifests: tuple[str, ...],
    channel: int | None,
    tokens: bool,
    options: tuple[str, ...],
    **asked: Any,
) -> None:
    """Transcribe or translate recordings.

    AUDIO are files, folders, or - for a recording on standard input. The text goes to stdout, everything else to
    stderr. A recording that cannot be read does not stop the others; the exit code is then 1.

    With --output-dir, the same command again goes on where it was stopped. What exists is kept.

    \b
    Examples:
      asrkit run --model canary-180m-flash --language en talk.wav
      asrkit run -m canary-180m-flash -l de --target-language en rede.wav
      asrkit run -m canary-180m-flash -l en --format json talk.wav > talk.json
      asrkit run -m canary-180m-flash -l en --output-dir texts recordings/
      asrkit run -m canary-180m-flash -l en - < talk.mp3
      asrkit run -m model.nemo -l en --backend numpy --precision int8 talk.wav

    A model is downloaded when it is first asked for by its name. `asrkit models` lists the names.
    """
    layout = take_layout(asked)
    formats = choose_formats(format_name, {"tokens": True if tokens else None, "layout": layout})
    if timestamps == "none" and (timed := [one.name for one in formats if one.single]):
        raise UsageError(f"--timestamps none leaves nothing for format {timed[0]!r}, which is made of times")
    extra = extra_options(options, FLAGS, asked)
    inputs = collect(audio, recursive=recursive, lists=files_from, manifests=manifests)
    outputs = None
    if output_dir is not None:
        arguments: dict[str, Any] = {"asrkit": __version__, "model": model, "backend": backend, "precision": precision}
        arguments |= {"decoder": decoder, "device": device, "strategy": strategy}
        arguments |= {"channel": channel, "tokens": tokens, "layout": layout}
        arguments |= {"segmenter": segmenter, "guards": guards, "timestamps": timestamps}
        arguments |= {**_stamp(model), **asked, **extra}
        outputs = Outputs(output_dir, inputs, [one.suffix for one in formats], arguments, overwrite)
    else:
        _check_stdout(formats, format_name, inputs, overwrite)
    todo, kept = _todo(inputs, outputs)
    if not todo:
        sys.exit(1 if kept else 0)

    from asrkit.loading import load_model, model_settings

    settings: dict[str, Any] = {"decoder": decoder}
    settings |= {name: extra.pop(name) for name in model_settings(model, on_download()) if name in extra}
    loaded = load_model(model, backend, precision, device=device, threads=threads, tell=on_download(), **settings)
    capabilities = loaded.backend.capabilities
    versions = ", ".join(" ".join(pair) for pair in capabilities.versions)
    say(f"loaded {model} for {loaded.backend.name} on {capabilities.device} in {loaded.precision} ({versions})", 1)
    if any(one.source == STDIN for one in todo) and sys.stdin.isatty():
        say("reading a recording from standard input; - is meant for a pipe or a file", 0)
    # A single recording has nothing that could be kept: there Ctrl-C stops at once.
    with without_noise(), stoppable() if len(todo) > 1 else nullcontext(Stop()) as stop, _progress(todo) as progress:
        sources = (one.recording() for one in todo if not stop.asked)
        wishes = {"strategy": strategy, "batch_size": batch_size, "channel": channel, **asked, **extra}
        wishes |= {"segmenter": segmenter, "guards": guards == "on", "timestamps": timestamps}
        wishes |= {"progress": progress and progress.reach, "stop": lambda: stop.asked}
        outcomes = loaded.outcomes(sources, **wishes)
        report = Report(progress, [one.name for one in formats])
        if outputs is None:
            _reconfigure(sys.stdout)
            formats[0].write(report.transcripts(outcomes), sys.stdout)
        else:
            for one, outcome in zip(todo, outcomes, strict=False):
                for transcript in report.transcripts([outcome]):
                    try:
                        outputs.save(one, {format_.suffix: format_.text(transcript) for format_ in formats})
                    except OSError as error:
                        where = error.filename or next(iter(outputs.paths(one).values()))
                        report.failure(f"{where}: cannot be written: {error.strerror or error}")
                    except PluginError as error:
                        report.failure(f"{transcript.file}: {error}")
    if stop.asked and report.done < len(todo):
        how = (
            "" if outputs is None else "; the same command" + (" without --overwrite" if overwrite else "") + " goes on"
        )
        say(f"stopped: {report.done} of {len(todo)} recordings are done{how}")
        sys.exit(130)
    if outputs is not None and len(inputs) > 1:
        failed = f", {report.failed} failed" if report.failed else ""
        say(f"{report.done - report.failed} recordings done{failed}; their texts are in {output_dir}", 0)
    if report.failed or kept:
        sys.exit(1)


def _check_stdout(formats: list[Format], name: str, inputs: list[Input], overwrite: bool) -> None:
    """Refuse what cannot be written to standard output."""
    if sys.stdout is None:
        raise OSError(errno.EBADF, "it is closed", "stdout")
    if overwrite:
        raise UsageError("--overwrite is about files; it needs --output-dir")
    if name == ALL:
        raise UsageError("--format all writes several files a recording; it needs --output-dir")
    if formats[0].single and len(inputs) > 1:
        raise UsageError(f"a file of format {name!r} holds one recording, found {len(inputs)}; use --output-dir")


def _todo(inputs: list[Input], outputs: Outputs | None) -> tuple[list[Input], int]:
    """The recordings that are to be decoded, and how many cannot be because their outputs stay."""
    if outputs is None:
        return inputs, 0
    todo, done, kept = [], 0, 0
    for one in inputs:
        state = outputs.state(one)
        if state.kind == "new":
            todo.append(one)
        elif state.kind == "done":
            done += 1
        else:
            kept += 1
            say(f"error: {state.reason}")
    if done:
        say(f"{done} of {len(inputs)} recordings were done before", 0)
    return todo, kept


def _stamp(model: str) -> dict[str, Any]:
    """What tells a model from another one that takes its place: the commit on the hub, or the file's size and time."""
    from asrkit.sources import find_model, name_model

    if isinstance(name_model(registry(), model)[1], HubSource):
        return {"revision": find_model(registry(), model, on_download()).revision}
    try:
        found = os.stat(model)
    except (OSError, ValueError):  # a registered name
        return {}
    return {"model_file": [found.st_size, found.st_mtime_ns]}


@contextmanager
def _progress(inputs: list[Input]) -> Iterator[Progress | None]:
    """Tells how far the run has come."""
    if verbosity() < 0 or sys.stderr is None:
        yield None
        return
    seconds: float | None = None
    if sys.stderr.isatty():
        from asrkit.audio_files import seconds_of

        known = [seconds_of(one.source, one.offset, one.duration) for one in inputs]
        seconds = None if None in known else sum(filter(None, known))
    with Progress(len(inputs), seconds, sys.stderr, verbose=verbosity() > 0) as progress:
        yield progress


def extra_options(options: tuple[str, ...], flags: set[str], asked: Mapping[str, Any]) -> dict[str, str]:
    """What was given with -o, by name.

    Args:
        options: each NAME=VALUE.
        flags: what the command has flags for and -o cannot set.
        asked: the model's options that have flags too, None where they were not given.
    """
    extra = _pairs(options)
    if "rate" in extra:
        raise UsageError("'rate' is for arrays of samples in Python; files bring their own")
    if python := sorted({"progress", "stop"} & set(extra)):
        raise UsageError(f"{python[0]!r} is a function, in Python only")
    if "channel" in extra and "channel" not in flags:
        raise UsageError("'channel' is asked for with `asrkit run --channel`; here it is the mean of all channels")
    if "timestamps" in extra and "timestamps" not in flags:
        raise UsageError("'timestamps' is asked for with `asrkit run --timestamps`; here only the text counts")
    for name in sorted(flags & set(extra)):
        raise UsageError(f"{name!r} is not set with -o but with --{name.replace('_', '-')}")
    twice = sorted(set(extra) & {name for name, value in asked.items() if value is not None})
    if twice:
        raise UsageError(f"option {twice[0]!r} is given twice: as a flag and with -o")
    return extra


def _pairs(options: tuple[str, ...]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for given in options:
        name, equals, value = given.partition("=")
        if not equals or not name:
            raise UsageError(f"-o takes NAME=VALUE, found {given!r}")
        name = name.replace("-", "_")
        if name in pairs:
            raise UsageError(f"option {name!r} is given twice")
        pairs[name] = value
    return pairs


def _reconfigure(stream: Any) -> None:
    """Text is UTF-8 whatever the locale says; a transcript must not fail on an accent."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(encoding="utf-8")
