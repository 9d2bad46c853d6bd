"""What is known of a recording while it is on its way through a model, and how a call wants it done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs

from asrkit.audio import Stream, check_excerpt
from asrkit.errors import AsrkitError, OptionError
from asrkit.interfaces import Aligner, Decode, Segmenter
from asrkit.values import Clip, Heard, Notice, Timing

__all__ = ["TIMESTAMPS", "Call", "Job", "Opened", "Plan"]

TIMESTAMPS = ("none", "segment", "word")


@attrs.frozen
class Call:
    """What holds for all recordings of a call; see ``Model.outcomes``."""

    rate: Any = None
    channel: Any = None
    strategy: Any = None
    segmenter: Any = None
    timestamps: Any = None
    batch_size: Any = "auto"
    guards: Any = True
    progress: Any = None
    stop: Any = None
    wishes: dict[str, Any] = attrs.field(factory=dict)
    """Options of the dialect."""
    listens: bool = False
    """Whether the segmenter tells where somebody speaks."""

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            OptionError: the first such value.
        """
        size = self.batch_size
        if size != "auto" and (type(size) is not int or size < 1):
            raise OptionError(f"batch_size must be a whole number from 1 on, or 'auto', found {size!r}")
        if not isinstance(self.guards, bool):
            raise OptionError(f"guards is True or False, found {self.guards!r}")
        if self.timestamps not in (None, *TIMESTAMPS):
            raise OptionError(f"timestamps is one of {', '.join(TIMESTAMPS)}, found {self.timestamps!r}")
        for name in ("progress", "stop"):
            value = getattr(self, name)
            if value is not None and not callable(value):
                raise OptionError(f"{name} is a function, found {value!r}")
        check_excerpt(self.channel, 0, None)


@attrs.frozen
class Opened:
    """A recording that is about to be read."""

    name: str
    stream: Stream
    asked: Any
    """What the dialect made of the options."""
    offset: float
    """Seconds of the file that come before it."""
    notices: tuple[Notice, ...]


@attrs.define
class Job:
    """A recording on its way."""

    index: int
    """Its place among the recordings of the call, from 0 on."""
    name: str
    segmenter: Segmenter
    source: Opened | None = None
    clips: int = 0
    """How many are known."""
    heard: dict[int, Heard] = attrs.field(factory=dict)
    """What was read from clips, without their samples, until it is settled."""
    settled: list[Heard] = attrs.field(factory=list)
    """What no later clip changes, in order."""
    next: int = 0
    """The first clip that nothing was read from."""
    whole: bool = False
    """Whether all of its clips are known."""
    known_until: float = 0.0
    """Seconds up to which it has been cut into clips, from where reading began."""
    known_seconds: float = 0.0
    """Seconds of all those clips."""
    done_seconds: float = 0.0
    """Seconds of those that are decoded."""
    duration: float = 0.0
    notices: tuple[Notice, ...] = ()
    broken: AsrkitError | None = None
    """Why reading ended, where something had been read before."""
    error: AsrkitError | None = None
    seconds: dict[str, float] = attrs.field(factory=dict)

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do."""
        return self.error is not None or (self.whole and len(self.settled) == self.clips)

    def settle(self) -> Iterator[Heard]:
        """What has become certain: a clip's text is when the next one has been read too, or has nothing of it."""
        while self.next in self.heard:
            left, right = self.heard.pop(self.next - 1, None), self.heard[self.next]
            if left is not None:
                left, self.heard[self.next] = self.segmenter.part(left, right)
                yield self._settled(left)
            if right.clip.closed:
                yield self._settled(self.heard.pop(self.next))
            self.next += 1
        # At the end, also if it came too early, nothing can change any more.
        if (self.error is not None or (self.whole and self.next == self.clips)) and self.next - 1 in self.heard:
            yield self._settled(self.heard.pop(self.next - 1))

    def _settled(self, heard: Heard) -> Heard:
        self.settled.append(heard)
        return heard

    def decoded(self, clip: Clip) -> float:
        """Take note of a clip that is decoded; seconds of the recording that are done, silence left out included."""
        self.done_seconds += clip.seconds
        return self.known_until * self.done_seconds / self.known_seconds if self.known_seconds else 0.0

    def spent(self, stage: str, seconds: float) -> None:
        """Take note of time that went into it."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def timing(self, load: float) -> Timing:
        """The seconds spent, rounded."""
        total = sum(self.seconds.values())
        return Timing(load=load, total=round(total, 4), **{stage: round(s, 4) for stage, s in self.seconds.items()})


@attrs.frozen
class Plan:
    """How the recordings of one call are decoded."""

    decode: Decode
    """The search."""
    segmenter: Callable[[], Segmenter]
    """A new one for each recording."""
    batch_size: int | None
    """Clips that are decoded together; None means what is good for their lengths."""
    guarded: bool
    """Whether answers are looked at, and clips decoded again."""
    words: bool
    """Whether each word's time is asked for."""
    progress: Callable[[int, float], None] | None = None
    """Told the place of a recording in the call and how many of its seconds are done."""
    stop: Callable[[], bool] | None = None
    """Asked after each batch; once it says so, what is not finished is given up."""
    aligner: Aligner | None = None
    """What tells each word's time, if the model's answers do not."""
