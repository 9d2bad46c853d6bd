"""How Canary models are asked and how their answers are read.

Source: NeMo 3.0 ``common/prompts/{canary,canary2}`` and ``asr/parts/submodules/multitask_decoding``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import attrs

from asrkit.alignment import forward, sentences
from asrkit.config import Config
from asrkit.errors import OptionError, listed, suggestion
from asrkit.interfaces import Tokenizer
from asrkit.models import ModelSpec
from asrkit.options import build_options, option_names
from asrkit.values import Clock, Hypothesis, Notice, Passage, Request, Word
from asrkit_canary.tokenizers import SPECIAL, Aggregate

__all__ = ["Canary", "Canary2", "Canary2Options", "CanaryOptions", "Limits"]

TIMED = re.compile(r"<\|(\d+)\|>(.*?)<\|(\d+)\|>")
MARK = re.compile(r"<\|\d+\|>")


@attrs.frozen
class CanaryOptions:
    """What a user may ask of a ``canary`` model."""

    language: str = "en"
    target_language: str = "en"
    task: str = "transcribe"
    pnc: bool = True
    """Punctuation and capitals."""


@attrs.frozen
class Canary2Options(CanaryOptions):
    """What a user may ask of a ``canary2`` model."""

    itn: bool = False
    """Inverse text normalisation: numbers in digits."""
    timestamp: bool = False
    """Word times as tokens in the text."""
    diarize: bool = False
    emotion: str = "undefined"
    context: str = ""
    """Text that came before, in the target language."""


@attrs.frozen
class Limits:
    """How long an answer may get, and what ends it."""

    max_tokens: int
    """Positions of the decoder, prompt included."""
    delta: int
    """Tokens more than encoder frames; negative means no limit but the positions."""
    beam: bool
    """Whether the checkpoint asks for a beam, which has room for one more token."""
    width: int = 1
    """Of the beam that the checkpoint asks for."""

    @classmethod
    def read(cls, config: Config) -> Limits:
        """From the sections ``decoding`` and ``transf_decoder`` of the whole configuration."""
        positions = config.section("transf_decoder").section("config_dict").integer("max_sequence_length", default=512)
        decoding = config.section("decoding", optional=True)
        strategy = decoding.choice("strategy", "greedy", "greedy_batch", "beam", default="beam")
        section = decoding.section("beam" if strategy == "beam" else "greedy", optional=True)
        delta = section.integer("max_generation_delta", default=-1)
        if strategy != "beam":
            section.choice("temperature", None, default=None)
            section.choice("n_samples", 1, default=1)
            return cls(positions, delta, False)
        return cls(positions, delta, True, section.integer("beam_size", default=1))


class Canary:
    """The ``canary`` prompt: start, language, task, target language, punctuation.

    Args:
        tokenizer: the model's.
        limits: from its decoding section.
        languages: that it knows; by default the tokenizer's.
        translations: (from, to) pairs that it knows; None means any.
        aligned: whether the model comes with an aligner, as canary-1b-v2 does, and writes no timestamp tokens.
    """

    Options: ClassVar[type] = CanaryOptions

    def __init__(
        self,
        tokenizer: Tokenizer,
        limits: Limits,
        languages: Sequence[str] | None = None,
        translations: Sequence[tuple[str, str]] | None = None,
        aligned: bool = False,
    ) -> None:
        self.tokenizer = tokenizer
        self.limits = limits
        self.languages = tuple(languages or tokenizer.languages)
        self.translations = translations
        self.aligned = aligned
        self.stop, self.pad = self._token("<|endoftext|>"), self._token("<pad>")
        pieces = {id_: tokenizer.piece(id_) for id_ in range(tokenizer.size)}
        self._specials = frozenset(id_ for id_, piece in pieces.items() if SPECIAL.fullmatch(piece) or piece == "<unk>")
        self._marks = frozenset(id_ for id_ in self._specials if MARK.fullmatch(pieces[id_]))

    @classmethod
    def build(
        cls, tokenizer: Tokenizer, config: Config, spec: ModelSpec | None = None, aligned: bool = False
    ) -> Canary:
        """From the whole configuration of a checkpoint, and what is known of a model with a name."""
        return cls(
            tokenizer,
            Limits.read(config),
            spec.languages if spec else None,
            spec.translations if spec else None,
            aligned,
        )

    def resolve(self, wishes: Mapping[str, Any]) -> tuple[Any, tuple[Notice, ...]]:
        """Options from wishes: the target is the language unless given, the task follows from the two.

        Raises:
            OptionError: a value that the model does not have, or wishes that contradict each other.
        """
        typed: Any = build_options(self.Options, wishes, "the model")
        values, notices = {name: getattr(typed, name) for name in wishes}, []
        if "language" not in values:
            values["language"] = "en" if "en" in self.languages else self.languages[0]
            if len(self.languages) > 1:
                text = f"no language was given, {values['language']!r} was assumed; the model knows: "
                notices.append(Notice("language-assumed", text + listed(self.languages, limit=30), once=True))
        for name in ("language", "target_language"):
            if values.get(name, values["language"]) not in self.languages:
                raise OptionError(self._unknown(name, values[name]))
        task = values.get("task")
        if task not in (None, "transcribe", "translate"):
            raise OptionError(f"the model has no task {task!r}; it has: transcribe, translate")
        source, target = values["language"], values.get("target_language")
        if task == "translate" and target is None:
            raise OptionError("task 'translate' needs a target language")
        target = values["target_language"] = target or source
        values["task"] = task or ("transcribe" if source == target else "translate")
        if (values["task"] == "translate") == (source == target):
            raise OptionError(f"task {task!r} contradicts language {source!r} with target language {target!r}")
        pairs = self.translations
        if source != target and pairs is not None and (source, target) not in pairs:
            targets = [there for here, there in pairs if here == source]
            raise OptionError(f"the model does not translate {source!r} to {target!r}, only to: {listed(targets)}")
        options: Any = build_options(self.Options, values, "the model")
        if self.aligned and getattr(options, "timestamp", False):
            raise OptionError(
                "the model writes no timestamp tokens, which option 'timestamp' asks for; ask for timestamps 'word', "
                "which its aligner gives"
            )
        self.prompt(options)  # says now if the vocabulary lacks a token
        return options, tuple(notices)

    def prompt(self, options: Any, previous: Sequence[int] = ()) -> tuple[int, ...]:
        """Prompt ids.

        Raises:
            OptionError: the vocabulary lacks a token that the options ask for.
        """
        return self._ids(self._slots(options))

    def request(self, options: Any, frames: int, previous: Sequence[int] = ()) -> Request:
        """Limit and stop tokens as the checkpoint's decoding section has them, for a clip alone."""
        prompt, limits = self.prompt(options, previous), self.limits
        length = limits.max_tokens
        if limits.delta >= 0:
            length = min(length, frames + limits.delta)
        room = length - len(prompt) + limits.beam
        if room < 1:
            raise OptionError(
                f"a prompt of {len(prompt)} tokens leaves no room for text: the model takes {length} tokens here; "
                "give a shorter context"
            )
        if not limits.beam:
            return Request(prompt, room, frozenset({self.stop}))
        # NeMo's beam, also of one, looks for ends from the second token on: text may follow an end that came first.
        return Request(prompt, room, frozenset({self.stop, self.pad}), stops_after=1)

    def read(self, hypothesis: Hypothesis, clock: Clock, options: Any) -> Passage:
        """Text of a hypothesis: special tokens are left out, times are taken from timestamp tokens if there are any."""
        tokens = list(hypothesis.tokens)
        while tokens and tokens[-1] in (self.stop, self.pad):
            tokens.pop()
        known = [token for token in tokens if token < self.tokenizer.size]
        notices = []
        if len(known) < len(tokens):
            count = len(tokens) - len(known)
            what = "id without a token" if count == 1 else "ids without tokens"
            notices.append(Notice("unknown-tokens", f"{count} {what} in the vocabulary left out"))
        if not hypothesis.finished:
            text = f"the text may be cut off: the limit of {len(hypothesis.tokens)} tokens was reached"
            notices.append(Notice("token-limit", text))
        raw = self.tokenizer.decode(known)
        # Only if they were asked for: timestamps that a model utters unasked must not cost the text between them.
        words = forward(timed_words(raw, clock)) if getattr(options, "timestamp", False) else ()
        text = without_specials(raw)
        if words:
            timed = " ".join(word.text for word in words)
            if len("".join(timed.split())) < len("".join(text.split())):
                notices.append(Notice("untimed-text", f"text without a pair of timestamps was left out of: {text}"))
            text = timed
        elif text and getattr(options, "timestamp", False):
            notices.append(Notice("no-times", "timestamps were asked for, the model gave none"))
        return Passage(text, raw, tuple(tokens), sentences(words), tuple(notices))

    def timed(self, options: Any) -> Any:
        """Options for an answer with timestamp tokens; unchanged where an aligner finds the times."""
        if not self.aligned and "timestamp" not in option_names(self.Options):
            raise OptionError("the model gives no times of words; segment times come from speech detection")
        if options.language != options.target_language:
            raise OptionError("the model times the words that are spoken, not those of a translation")
        return options if self.aligned else attrs.evolve(options, timestamp=True)

    def wordless(self, options: Any) -> frozenset[int]:
        """Special tokens, and ids that the vocabulary has not; timestamps are allowed where they are asked for."""
        timed = getattr(options, "timestamp", False)
        return self._specials - self._marks if timed else self._specials

    def _slots(self, options: Any) -> list[str]:
        return [
            "<|startoftranscript|>",
            f"<|{options.language}|>",
            f"<|{options.task}|>",
            f"<|{options.target_language}|>",
            flag("pnc", options.pnc),
        ]

    def _ids(self, slots: Sequence[str]) -> tuple[int, ...]:
        """Special tokens are looked up one by one; a single SentencePiece model gets the whole string instead, since
        NeMo lets it put its word boundary in front."""
        ids = tuple(self._token(slot) for slot in slots)
        return ids if isinstance(self.tokenizer, Aggregate) else self.tokenizer.encode("".join(slots))

    def _token(self, piece: str) -> int:
        id_ = self.tokenizer.token(piece)
        if id_ is None:
            raise OptionError(f"the model's vocabulary has no token {piece!r}, which this needs")
        return id_

    def _unknown(self, name: str, language: str) -> str:
        what = name.replace("_", " ")
        near = suggestion(language, self.languages)
        return f"the model has no {what} {language!r}{near}; it has: {listed(self.languages, limit=30)}"


class Canary2(Canary):
    """The ``canary2`` prompt: context, start, emotion, languages, then a row of switches; arguments as for Canary."""

    Options: ClassVar[type] = Canary2Options

    def prompt(self, options: Any, previous: Sequence[int] = ()) -> tuple[int, ...]:
        """Prompt ids; ``previous`` tokens stand where the context would, before it."""
        if isinstance(self.tokenizer, Aggregate):
            context = self.tokenizer.encode(options.context, options.target_language) if options.context else ()
            slots = self._slots(options)
            return (*self._ids(slots[:1]), *previous, *context, *self._ids(slots[1:]))
        if previous:
            options = attrs.evolve(options, context=self.tokenizer.decode(previous) + options.context)
        slots = self._slots(options)
        self._check(slots)
        return self.tokenizer.encode("".join([slots[0], options.context, *slots[1:]]))

    def _slots(self, options: Any) -> list[str]:
        return [
            "<|startofcontext|>",
            "<|startoftranscript|>",
            f"<|emo:{options.emotion}|>",
            f"<|{options.language}|>",
            f"<|{options.target_language}|>",
            flag("pnc", options.pnc),
            flag("itn", options.itn),
            flag("timestamp", options.timestamp),
            flag("diarize", options.diarize),
        ]

    def _check(self, slots: Sequence[str]) -> None:
        for slot in slots:
            self._token(slot)


def flag(name: str, value: bool) -> str:
    """The token of a switch."""
    return f"<|{name}|>" if value else f"<|no{name}|>"


def without_specials(raw: str) -> str:
    """Text without special tokens and outer spaces; where some were left out, spaces are folded."""
    text = SPECIAL.sub(" ", raw) if SPECIAL.search(raw) else raw
    return " ".join(text.split()) if text is not raw else text.strip()


def timed_words(raw: str, clock: Clock) -> tuple[Word, ...]:
    """Words between pairs of timestamp tokens, the way NeMo reads them; none if there is no pair."""
    found = []
    for match in TIMED.finditer(raw.strip()):
        text = without_specials(match[2])
        if text:
            start, end = (clock.seconds(int(match[n])) for n in (1, 3))
            found.append(Word(text, start, max(start, end)))
    return tuple(found)
