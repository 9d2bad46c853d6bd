"""Results and requests that cross the host world: frozen, comparable, without behaviour of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

__all__ = [
    "Alternative",
    "Clip",
    "Clock",
    "Failure",
    "Heard",
    "Hypothesis",
    "Notice",
    "Passage",
    "Recording",
    "Request",
    "Segment",
    "Timing",
    "Transcript",
    "Word",
]


@attrs.frozen
class Notice:
    """A typed warning that travels with a result."""

    code: str
    """A stable name such as ``language-assumed``."""
    message: str
    """One line for a reader."""
    once: bool = False
    """It holds for a whole run, so that a command line says it once and not for every recording."""


@attrs.frozen
class Clip:
    """A stretch of one recording, ready for a frontend."""

    samples: Any = attrs.field(eq=False)
    """(S,) float32 mono at the frontend's rate."""
    start: float = 0.0
    """Seconds from the start of the recording."""
    spans: tuple[tuple[float, float], ...] | None = None
    """Where somebody speaks in it, in seconds from the start of the recording; None if nobody listened."""
    overlap: float = 0.0
    """Seconds at its beginning that the clip before has too."""
    sure: bool = False
    """Whether the spans are speech and not just anything loud."""
    closed: bool = False
    """Whether the next clip has nothing of it, so that its text is certain before that one is read."""
    notices: tuple[Notice, ...] = ()
    rate: int = 16000
    """Hz."""
    seconds: float = attrs.field()
    """How long it is; also when its samples were let go of."""

    @seconds.default
    def _seconds(self) -> float:
        return len(self.samples) / self.rate


@attrs.frozen
class Clock:
    """Turns encoder frames into seconds from the start of the recording."""

    step: float
    """Seconds per encoder frame."""
    start: float = 0.0
    """The time of frame 0; a frontend that puts silence before a clip moves it."""
    duration: float = float("inf")
    """Where the recording ends, in seconds; no time lies beyond it."""
    begin: float = 0.0
    """Where it begins: an excerpt's times are those of the file."""

    def seconds(self, frame: int) -> float:
        """The time of a frame, inside the recording."""
        return min(max(self.start + frame * self.step, self.begin), self.duration)


@attrs.frozen
class Request:
    """What one row of a batch asks of a decoding strategy."""

    prompt: tuple[int, ...]
    """Token ids the decoder starts from."""
    limit: int
    """How many new tokens at most."""
    stops: frozenset[int]
    """Token ids that end the row; they are not part of the hypothesis."""
    stops_after: int = 0
    """How many tokens come first whatever they are: among these, a stop token is one like any other."""
    suppress_first: frozenset[int] = frozenset()
    """Token ids that may not come first."""


@attrs.frozen
class Hypothesis:
    """One decoded row."""

    tokens: tuple[int, ...]
    """Token ids without prompt and stop token."""
    scores: tuple[float, ...]
    """Natural log-probability of each token."""
    finished: bool
    """Whether a stop token, or the end of the recording, ended it; False means that the limit did."""
    confidences: tuple[float, ...] = ()
    """How sure the model was of each token, from 0 to 1; empty if the strategy does not tell."""
    rank: float | None = None
    """What a beam search ordered its hypotheses by, the highest first; None if there was no choice."""
    frames: tuple[int, ...] = ()
    """Encoder frame in which each token starts, from searches that know it."""
    ends: tuple[int, ...] = ()
    """Encoder frame after the last one of each token, from the same searches."""

    @property
    def score(self) -> float:
        """Sum of the tokens' log-probabilities."""
        return sum(self.scores)


@attrs.frozen
class Word:
    """A word with its times in seconds."""

    text: str
    start: float
    end: float
    confidence: float | None = None
    """That of its least sure token, from 0 to 1, if it was asked for."""


@attrs.frozen
class Segment:
    """A stretch of text with its times in seconds."""

    text: str
    start: float
    end: float
    words: tuple[Word, ...] = ()


@attrs.frozen
class Alternative:
    """One of several texts that a search found."""

    text: str
    score: float
    """What the search ordered them by, the highest first: a sum of log-probabilities over a penalty of the length."""
    tokens: tuple[int, ...]


@attrs.frozen
class Passage:
    """What a dialect reads out of one hypothesis."""

    text: str
    """Text without special tokens and outer spaces."""
    raw_text: str
    """The tokenizer's own text of all tokens."""
    tokens: tuple[int, ...]
    """Token ids without prompt, as the reference implementation reports them."""
    segments: tuple[Segment, ...] = ()
    """Stretches of the text whose times the model knows; a text without them gets those of the speech in its clip."""
    notices: tuple[Notice, ...] = ()
    confidences: tuple[float, ...] = ()
    """How sure the model was of each of the tokens; empty if nobody asked. The pipeline adds them."""
    alternatives: tuple[Alternative, ...] = ()
    """What the search found, the best first, if it gave more than one. The pipeline adds them."""


@attrs.frozen
class Heard:
    """A clip and what was read from it."""

    clip: Clip
    passage: Passage


@attrs.frozen
class Timing:
    """Seconds spent per stage; of a batch, a recording's share by its length."""

    load: float = 0.0
    """Loading the model, once; not part of the total."""
    audio: float = 0.0
    """Reading, mixing and resampling."""
    features: float = 0.0
    inference: float = 0.0
    """Encoder and decoder."""
    total: float = 0.0


@attrs.frozen
class Transcript:
    """The result for one recording.

    The fields are those of the ``json`` format. Times are in seconds.
    """

    file: str
    """The path as given, or a name for audio that came without one."""
    model: str
    backend: str
    precision: str
    language: str | None
    target_language: str | None
    task: str | None
    duration: float
    text: str
    raw_text: str
    segments: tuple[Segment, ...]
    tokens: tuple[int, ...]
    warnings: tuple[Notice, ...] = ()
    timing: Timing = attrs.field(factory=Timing, eq=False)
    revision: str | None = None
    """The commit of the hub repository that the model came from; None for a file of this machine."""
    confidences: tuple[float, ...] = ()
    """How sure the model was of each of the tokens, from 0 to 1; empty if nobody asked."""
    alternatives: tuple[Alternative, ...] = ()
    """What the search found, the best first, if more than one was asked for and the recording is a single clip."""

    @property
    def confidence(self) -> float | None:
        """Mean over the tokens, since the least of a long text is always low; None if nobody asked."""
        return sum(self.confidences) / len(self.confidences) if self.confidences else None


@attrs.frozen
class Recording:
    """A recording with wishes of its own, for a call that takes many."""

    source: Any
    """A path, bytes, a file object, or (samples, rate)."""
    offset: float = 0.0
    """Seconds from which it is read."""
    duration: float | None = None
    """Seconds that are read; None means to the end."""
    options: Mapping[str, Any] = attrs.field(factory=dict)
    """Options of the model for this one; they go before those of the call."""


@attrs.frozen
class Failure:
    """A recording that could not be transcribed."""

    file: str
    error: Exception
