"""How Parakeet models are asked, which is not at all, and how their answers are read."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import attrs

from asrkit.alignment import sentences
from asrkit.errors import OptionError, listed, suggestion
from asrkit.interfaces import Tokenizer
from asrkit.models import ModelSpec
from asrkit.options import build_options
from asrkit.values import Clock, Hypothesis, Notice, Passage, Request, Segment, Word
from asrkit_parakeet.words import Head, Reader

__all__ = ["Parakeet", "ParakeetOptions"]

SENTENCE_ENDS = (".", "?", "!")
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]+)*")


@attrs.frozen
class ParakeetOptions:
    """What a user may ask."""

    language: str | None = None
    """The language that is spoken. Nothing is made of it but a note in the result: the model hears for itself."""
    target_language: str | None = None
    """The same one: these models do not translate."""
    task: str = "transcribe"
    times: Literal["frames", "nemo"] = "frames"
    """``frames`` gives words the times of their own frames, ``nemo`` those that NeMo gives them."""


class Parakeet:
    """Text, words and segments out of tokens and their frames.

    Args:
        tokenizer: the model's.
        head: what finds the tokens.
        languages: that the model knows; empty if nobody has said.
    """

    Options: ClassVar[type] = ParakeetOptions

    def __init__(self, tokenizer: Tokenizer, head: Head, languages: Sequence[str] = ()) -> None:
        self.languages = tuple(languages)
        self._tokenizer = tokenizer
        self._reader = Reader(tokenizer, head)

    @classmethod
    def build(cls, tokenizer: Tokenizer, config: Any, spec: ModelSpec | None = None, head: Head = "tdt") -> Parakeet:
        """From what is known of a model with a name; the configuration of a checkpoint tells no languages."""
        return cls(tokenizer, head, spec.languages if spec else tokenizer.languages)

    def resolve(self, wishes: Mapping[str, Any]) -> tuple[ParakeetOptions, tuple[Notice, ...]]:
        """Options from wishes.

        Raises:
            OptionError: a language that the model does not know, or a translation.
        """
        asked = build_options(ParakeetOptions, wishes, "the model")
        if asked.task != "transcribe":
            raise OptionError(f"the model has no task {asked.task!r}; it has: transcribe")
        language = asked.language or asked.target_language
        if asked.target_language is not None and asked.target_language != language:
            raise OptionError(f"the model does not translate, asked was: {language!r} to {asked.target_language!r}")
        if language is not None and not self._knows(language):
            known = f"it has: {listed(self.languages, limit=30)}" if self.languages else "a language is written like en"
            raise OptionError(f"the model has no language {language!r}{suggestion(language, self.languages)}; {known}")
        notices = []
        if language is not None and len(self.languages) != 1:
            text = (
                f"the model finds the language by itself: language {language!r} is noted in the result and nothing else"
            )
            notices.append(Notice("language-noted", text, once=True))
        if language is None and len(self.languages) == 1:
            language = self.languages[0]
        return attrs.evolve(asked, language=language, target_language=language), tuple(notices)

    def _knows(self, language: str) -> bool:
        return language in self.languages if self.languages else LANGUAGE.fullmatch(language) is not None

    def prompt(self, options: ParakeetOptions, previous: Sequence[int] = ()) -> tuple[int, ...]:
        """Nothing: the model takes no prompt."""
        return ()

    def request(self, options: ParakeetOptions, frames: int, previous: Sequence[int] = ()) -> Request:
        """No limit but the frames, and no tokens that end a text."""
        return Request((), sys.maxsize, frozenset())

    def timed(self, options: ParakeetOptions) -> ParakeetOptions:
        """The same: every answer tells when each word is spoken."""
        return options

    def wordless(self, options: ParakeetOptions) -> frozenset[int]:
        """None: a search by frames leaves no token out."""
        return frozenset()

    def read(self, hypothesis: Hypothesis, clock: Clock, options: ParakeetOptions) -> Passage:
        """Text of a hypothesis; words and segments if the search has told the frames of its tokens."""
        segments: tuple[Segment, ...] = ()
        if hypothesis.tokens and len(hypothesis.frames) == len(hypothesis.ends) == len(hypothesis.tokens):
            read = self._reader.words_as_nemo if options.times == "nemo" else self._reader.words
            words = [Word(w.text, clock.seconds(w.start), clock.seconds(w.end)) for w in read(hypothesis)]
            segments = _segments_as_nemo(words) if options.times == "nemo" else sentences(words)
        raw = self._tokenizer.decode(hypothesis.tokens)
        return Passage(self._reader.text(hypothesis.tokens), raw, hypothesis.tokens, segments)


def _segments_as_nemo(words: Sequence[Word]) -> tuple[Segment, ...]:
    """Words collected into segments that end with a full stop, a question or an exclamation mark."""
    segments: list[Segment] = []
    current: list[Word] = []
    for n, word in enumerate(words):
        current.append(word)
        if word.text.endswith(SENTENCE_ENDS) or n == len(words) - 1:
            text = " ".join(each.text for each in current)
            segments.append(Segment(text, current[0].start, current[-1].end, tuple(current)))
            current = []
    return tuple(segments)
