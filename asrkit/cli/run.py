"""``asrkit run``: recordings to text."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import IO, Any

import click

from asrkit.cli import say
from asrkit.cli.options import (
    Command,
    complete_files,
    complete_names,
    decoding_options,
    language_options,
    loading_options,
    model_option,
    option,
    verbosity_options,
)
from asrkit.errors import UsageError
from asrkit.plugins import registry
from asrkit.registry import Entry
from asrkit.values import Failure, Transcript

__all__ = ["command", "extra_options"]


FLAGS = {"backend", "batch_size", "device", "format", "model", "output_dir", "precision"}
FLAGS |= {"strategy", "threads", "tokens"}
"""What -o cannot set, since it is not an option of the model."""


@click.command("run", cls=Command)
@click.argument("audio", nargs=-1, required=True, shell_complete=complete_files)
@model_option
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
    shell_complete=complete_names("format"),
    help="txt, json or jsonl.",
)
@option(
    "--output-dir",
    type=click.Path(file_okay=False, path_type=Path),
    section="Output",
    envvar="ASRKIT_OUTPUT_DIR",
    help="One file a recording, there.",
)
@option("--tokens", is_flag=True, section="Output", help="Add token ids (json, jsonl).")
@loading_options()
@decoding_options(batch_size=1)
@verbosity_options
def command(
    audio: tuple[str, ...],
    model: str,
    backend: str,
    device: str | None,
    threads: int | None,
    precision: str | None,
    strategy: str | None,
    batch_size: int,
    format_name: str,
    output_dir: Path | None,
    tokens: bool,
    options: tuple[str, ...],
    **asked: Any,
) -> None:
    """Transcribe or translate recordings.

    The text goes to stdout, everything else to stderr. A recording that cannot be read does not stop the others; the
    exit code is then 1.

    \b
    Examples:
      asrkit run --model canary-180m-flash --language en talk.wav
      asrkit run -m canary-180m-flash -l de --target-language en rede.wav
      asrkit run -m canary-180m-flash -l en --format json talk.wav > talk.json
      asrkit run -m canary-180m-flash -l en --output-dir texts *.flac
      asrkit run -m model.nemo -l en --backend numpy --precision int8 talk.wav

    A model is downloaded when it is first asked for by its name. `asrkit models` lists the names.
    """
    entry = registry().get("format", format_name)
    write = _writer(entry, tokens)
    extra = extra_options(options, FLAGS, asked)
    if output_dir is not None:
        _check_names(audio, output_dir, entry.suffix)
    elif sys.stdout is None:
        raise OSError(errno.EBADF, "it is closed", "stdout")

    from asrkit.loading import load_model, model_settings

    settings = {name: extra.pop(name) for name in model_settings(model) if name in extra}
    loaded = load_model(model, backend, precision, device=device, threads=threads, **settings)
    capabilities = loaded.backend.capabilities
    versions = ", ".join(" ".join(pair) for pair in capabilities.versions)
    say(f"loaded {model} for {loaded.backend.name} on {capabilities.device} in {loaded.precision} ({versions})", 1)
    outcomes = loaded.outcomes(list(audio), strategy=strategy, batch_size=batch_size, **{**asked, **extra})
    report = _Report()
    if output_dir is None:
        _reconfigure(sys.stdout)
        write(report.transcripts(outcomes), sys.stdout)
    else:
        output_dir.mkdir(parents=True, exist_ok=True)
        for transcript in report.transcripts(outcomes):
            path = output_dir / (Path(transcript.file).stem + entry.suffix)
            try:
                with _replacing(path) as file:
                    write([transcript], file)
            except OSError as error:
                report.failure(f"{path}: cannot be written: {error.strerror or error}")
    if report.failed:
        sys.exit(1)


class _Report:
    """Tells the user on stderr what happened to each recording."""

    def __init__(self) -> None:
        self.failed = 0
        self._told: set[str] = set()

    def failure(self, message: str) -> None:
        """Count and tell one."""
        self.failed += 1
        say(f"error: {message}")

    def transcripts(self, outcomes: Iterable[Transcript | Failure]) -> Iterator[Transcript]:
        """The transcripts among the outcomes."""
        for outcome in outcomes:
            if isinstance(outcome, Failure):
                self.failure(str(outcome.error))
                continue
            for notice in outcome.warnings:
                if notice.once and notice.code in self._told:
                    continue
                self._told.add(notice.code)
                say(f"warning: {notice.message}" if notice.once else f"warning: {outcome.file}: {notice.message}", 0)
            say(f"{outcome.file}: {outcome.duration:.1f} s of audio in {outcome.timing.total:.2f} s", 1)
            yield outcome


def _writer(entry: Entry, tokens: bool) -> Any:
    """The format's write function, with ids if they are wanted."""
    write = entry.load()
    if not tokens:
        return write
    if "tokens" not in signature(write).parameters:
        raise UsageError(f"format {entry.name!r} has no place for --tokens; use json or jsonl")
    return lambda transcripts, file: write(transcripts, file, tokens=True)


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


def _check_names(audio: tuple[str, ...], folder: Path, suffix: str) -> None:
    """Refuse, before anything is done, to write two recordings to one file or one over a recording."""
    owners: dict[str, str] = {}
    recordings = {os.path.realpath(path) for path in audio}
    for path in audio:
        name = Path(path).stem + suffix
        if os.path.realpath(folder / name) in recordings:
            raise UsageError(f"{folder / name} would be written over a recording; use another --output-dir")
        if name in owners:
            raise UsageError(f"{owners[name]} and {path} would both be written to {name}; use two folders")
        owners[name] = path


@contextmanager
def _replacing(path: Path) -> Iterator[IO[str]]:
    """A text file that appears under its name only when it is complete."""
    partial = path.with_name(path.name + ".part")
    try:
        with partial.open("w", encoding="utf-8") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _reconfigure(stream: Any) -> None:
    """Text is UTF-8 whatever the locale says; a transcript must not fail on an accent."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(encoding="utf-8")
