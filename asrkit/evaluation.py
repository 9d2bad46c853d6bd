"""How well a model recognises: error rates over the recordings that a manifest lists.

The errors are counted by jiwer, which is an optional package.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import attrs
import numpy as np

from asrkit import __version__
from asrkit.errors import OptionError, UsageError
from asrkit.manifests import Pair, Row
from asrkit.plugins import registry
from asrkit.sources import find_model
from asrkit.transcriber import Model
from asrkit.values import Failure, Recording, Transcript

__all__ = [
    "NORMALIZERS",
    "Figures",
    "Plan",
    "Score",
    "digest",
    "evaluate",
    "pair_name",
    "scorer",
]

NORMALIZERS = ("none", "whisper")
RESAMPLES = 1000
SEED = 0
INSTALL = "pip install jiwer whisper-normalizer"

Tell = Callable[[str], None]
Normalize = Callable[[str, str | None], str]


@attrs.frozen
class Score:
    """A recording that was transcribed, beside its reference; both texts as they are compared."""

    file: str
    reference: str
    hypothesis: str
    words: int
    word_errors: int
    characters: int
    character_errors: int


@attrs.frozen
class Plan:
    """What to evaluate a model with."""

    model: str
    """As it was named."""
    manifest: str
    groups: Mapping[Pair, Sequence[Row]]
    normalizer: str = "none"
    worst: int = 5
    strategy: str | None = None
    batch_size: int | Literal["auto"] = "auto"
    options: Mapping[str, Any] = attrs.field(factory=dict)
    """Options of ``Model.outcomes``, without languages."""
    said: Mapping[str, Any] = attrs.field(factory=dict)
    """All options by name, for the report."""


def digest(name: str) -> dict[str, str] | None:
    """The file that holds a model's weights and its SHA-256; None for a folder of an unknown kind."""
    path = Path(find_model(registry(), name).path)
    if path.is_dir():
        path /= "model.safetensors"
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return {"file": str(path), "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def scorer(normalizer: str) -> Callable[[str, str, str, str | None], Score]:
    """A function that compares: file, reference, hypothesis, language of both.

    Raises:
        UsageError: a package is missing.
    """
    try:
        import jiwer
    except ImportError:
        raise UsageError(f"evaluation needs the package jiwer: {INSTALL}") from None
    normalize = _normalizer(normalizer)

    def score(file: str, reference: str, hypothesis: str, language: str | None) -> Score:
        reference, hypothesis = (" ".join(normalize(text, language).split()) for text in (reference, hypothesis))
        if not reference:
            return Score(file, reference, hypothesis, 0, len(hypothesis.split()), 0, len(hypothesis))
        words, characters = jiwer.process_words(reference, hypothesis), jiwer.process_characters(reference, hypothesis)
        errors = [one.substitutions + one.insertions + one.deletions for one in (words, characters)]
        return Score(file, reference, hypothesis, len(reference.split()), errors[0], len(reference), errors[1])

    return score


def _normalizer(name: str) -> Normalize:
    if name == "none":
        return lambda text, language: text
    if name != "whisper":
        raise OptionError(f"there is no normalizer {name!r}; there is: {', '.join(NORMALIZERS)}")
    try:
        from whisper_normalizer.basic import BasicTextNormalizer
        from whisper_normalizer.english import EnglishTextNormalizer
    except ImportError:
        raise UsageError(f"--normalizer whisper needs the package whisper-normalizer: {INSTALL}") from None
    english, basic = EnglishTextNormalizer(), BasicTextNormalizer()

    def normalize(text: str, language: str | None) -> str:
        is_english = language is not None and language.lower().replace("_", "-").split("-")[0] == "en"
        normalized: str = (english if is_english else basic)(text)
        return normalized

    return normalize


@attrs.define
class Figures:
    """What was found in some of the recordings, summed up by :meth:`report`."""

    scores: list[Score] = attrs.field(factory=list)
    failed: int = 0
    audio: float = 0.0
    """Seconds of the recordings that were transcribed."""
    spent: float = 0.0
    """Seconds that it took."""

    def add(self, other: Figures) -> None:
        """Take in what was found in other recordings."""
        self.scores += other.scores
        self.failed += other.failed
        self.audio += other.audio
        self.spent += other.spent

    def report(self) -> dict[str, Any]:
        """The figures, as docs/guides/evaluation.md lists them."""
        said = [score for score in self.scores if score.reference]
        silent = [score for score in self.scores if not score.reference]
        words, characters = sum(score.words for score in said), sum(score.characters for score in said)
        word_errors = sum(score.word_errors for score in said)
        character_errors = sum(score.character_errors for score in said)
        return {
            "clips": len(said),
            "words": words,
            "word_errors": word_errors,
            "wer": word_errors / words if said else None,
            "wer_interval": _interval([score.word_errors for score in said], [score.words for score in said]),
            "characters": characters,
            "character_errors": character_errors,
            "cer": character_errors / characters if said else None,
            "cer_interval": _interval([score.character_errors for score in said], [score.characters for score in said]),
            "exact": sum(score.reference == score.hypothesis for score in said),
            "empty_references": len(silent),
            "empty": sum(not score.hypothesis for score in silent),
            "failed": self.failed,
            "audio_seconds": round(self.audio, 3),
            "seconds": round(self.spent, 3),
            "times_real_time": float(f"{self.audio / self.spent:.6g}") if self.audio and self.spent else None,
        }


def _interval(errors: Sequence[int], units: Sequence[int]) -> list[float] | None:
    """95 % of the rates that resampled recordings have lie in it; the same recordings give the same interval."""
    if not errors:
        return None
    random = np.random.default_rng(SEED)
    above, below = np.asarray(errors), np.asarray(units)
    rates = []
    for _ in range(RESAMPLES):
        chosen = random.integers(len(above), size=len(above))
        rates.append(above[chosen].sum() / below[chosen].sum())
    return [float(bound) for bound in np.percentile(rates, [2.5, 97.5])]


def evaluate(model: Model, plan: Plan, tell: Tell = lambda line: None) -> dict[str, Any]:
    """Transcribe all recordings of a plan, one pair of languages after the other, and compare.

    Args:
        model: the model, loaded.
        plan: what to do.
        tell: hears of warnings, and of recordings that fail.

    Returns:
        The report: plain dicts, lists, strings and numbers, as docs/guides/evaluation.md lists them.

    Raises:
        OptionError: an option or a language that the model does not have, before anything is read.
        UsageError: a package is missing.
    """
    score = scorer(plan.normalizer)
    warn = _Warnings(tell)
    runs = [(pair, rows, _start(model, plan, pair, rows)) for pair, rows in plan.groups.items()]
    overall, groups, failures = Figures(), [], []
    for pair, rows, outcomes in runs:
        tell(f"{pair_name(pair)}: {len(rows)} recordings")
        start = time.perf_counter()
        found = list(outcomes)  # scoring is none of the model's time
        figures = Figures(spent=time.perf_counter() - start)
        for row, outcome in zip(rows, found, strict=True):
            if isinstance(outcome, Failure):
                tell(f"error: {outcome.error}")
                failures.append({"file": row.file, "line": row.line, "error": str(outcome.error)})
                figures.failed += 1
                continue
            warn(row, outcome)
            figures.audio += outcome.duration
            language = pair[1] or outcome.target_language or outcome.language
            figures.scores.append(score(row.file, row.reference, outcome.text, language))
        overall.add(figures)
        groups.append({"source_lang": pair[0], "target_lang": pair[1], **figures.report()})
    worst = sorted(overall.scores, key=lambda one: (-one.word_errors, -one.character_errors))
    capabilities = model.backend.capabilities
    packages = ("jiwer",) if plan.normalizer == "none" else ("jiwer", "whisper-normalizer")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": plan.model,
        "weights": digest(plan.model),
        "manifest": plan.manifest,
        "backend": model.backend.name,
        "device": capabilities.device,
        "precision": model.precision,
        "options": dict(plan.said),
        "normalizer": plan.normalizer,
        "versions": {
            "asrkit": __version__,
            **dict(capabilities.versions),
            **{name: version(name) for name in packages},
        },
        "overall": overall.report(),
        "languages": groups,
        "worst": [
            {
                "file": one.file,
                "errors": one.word_errors,
                "character_errors": one.character_errors,
                "reference": one.reference,
                "hypothesis": one.hypothesis,
            }
            for one in worst[: plan.worst]
            if one.character_errors
        ],
        "failures": failures,
    }


def pair_name(pair: Sequence[str | None]) -> str:
    """``en``, or ``en-de`` for a translation."""
    source, target = pair
    if source == target:
        return source or "no language"
    return f"{source or '?'}-{target or '?'}"


def _start(model: Model, plan: Plan, pair: Pair, rows: Sequence[Row]) -> Iterator[Transcript | Failure]:
    """The outcomes of rows; options are checked now, recordings are read as they are asked for."""
    source, target = pair
    languages = {"language": source, "target_language": None if target == source else target}

    def start(files: Iterable[str | Recording], **languages: str | None) -> Iterator[Transcript | Failure]:
        given = {**plan.options, **languages}
        return model.outcomes(files, strategy=plan.strategy, batch_size=plan.batch_size, **given)

    try:
        return start([_source(row) for row in rows], **languages)
    except OptionError as error:
        start([])  # an option that is wrong in any language has nothing to do with the line
        raise OptionError(f"{plan.manifest}, line {rows[0].line}: {error}") from None


def _source(row: Row) -> str | Recording:
    return row.file if row.offset is None else Recording(row.file, row.offset, row.duration)


class _Warnings:
    """Tells the warnings of transcripts, those of the whole run only once."""

    def __init__(self, tell: Tell) -> None:
        self._tell, self._told = tell, set[str]()

    def __call__(self, row: Row, transcript: Transcript) -> None:
        for notice in transcript.warnings:
            if not notice.once:
                self._tell(f"warning: {row.file}: {notice.message}")
            elif notice.code not in self._told:
                self._told.add(notice.code)
                self._tell(f"warning: {notice.message}")
        if row.duration is None or row.offset is not None:
            return
        if abs(row.duration - transcript.duration) > max(0.1, 0.01 * row.duration):
            self._tell(
                f"warning: {row.file}: is {transcript.duration:.1f} s long, its line says {row.duration:.1f} s; "
                "the whole recording was transcribed"
            )
