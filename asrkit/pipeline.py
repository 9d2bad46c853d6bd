"""Recordings into clips, clips of many recordings into batches, and their passages back into results, in order."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import attrs
import numpy as np

from asrkit.arrays import Encoded, Features
from asrkit.audio import Stream
from asrkit.batching import chunks
from asrkit.errors import AsrkitError, AudioError, PluginError
from asrkit.interfaces import Backend, Decode, Segmenter
from asrkit.models import Parts
from asrkit.values import Clip, Clock, Failure, Notice, Passage, Request, Timing

__all__ = ["Job", "Opened", "Pipeline"]

AHEAD = 4
"""Batches of clips that are collected before they are put together by length: little padding, and not much to keep."""


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

    name: str
    source: Opened | None
    clips: list[Clip] = attrs.field(factory=list)
    """Without their samples, once they are decoded."""
    passages: dict[int, Passage] = attrs.field(factory=dict)
    whole: bool = False
    """Whether all of its clips are known."""
    duration: float = 0.0
    notices: tuple[Notice, ...] = ()
    error: AsrkitError | None = None
    seconds: dict[str, float] = attrs.field(factory=dict)

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do."""
        return self.error is not None or (self.whole and len(self.passages) == len(self.clips))

    def spent(self, stage: str, seconds: float) -> None:
        """Take note of time that went into it."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def timing(self, load: float) -> Timing:
        """The seconds spent, rounded."""
        total = sum(self.seconds.values())
        return Timing(load=load, total=round(total, 4), **{stage: round(s, 4) for stage, s in self.seconds.items()})


@attrs.frozen(eq=False)
class _Piece:
    """A clip of a recording, ready to be decoded."""

    job: Job
    number: int
    clip: Clip
    request: Request


class Pipeline:
    """One call of a model: see ``Model.outcomes``.

    Args:
        parts: of the model.
        backend: that they were built for.
        encode: features to encoder states.
        decode: the search.
        segmenter: a new one for each recording.
        lock: held while the model computes.
        batch_size: clips that are decoded together.
    """

    def __init__(
        self,
        parts: Parts,
        backend: Backend,
        encode: Callable[[Features], Encoded],
        decode: Decode,
        segmenter: Callable[[], Segmenter],
        lock: threading.RLock,
        batch_size: int,
    ) -> None:
        self.parts, self.backend = parts, backend
        self.encode, self.decode = encode, decode
        self.segmenter, self.lock, self.batch_size = segmenter, lock, batch_size

    def run(self, openers: Iterable[tuple[str, Callable[[], Opened]]]) -> Iterator[tuple[Job, Passage | Failure]]:
        """Each recording with its passage, in order, as soon as it and those before it are done.

        Args:
            openers: the name of each recording, and what opens it.
        """
        waiting: deque[tuple[Job, Segmenter]] = deque()
        ready: list[_Piece] = []
        for name, opener in openers:
            job, segmenter = Job(name, None), self.segmenter()
            waiting.append((job, segmenter))
            for piece in self._pieces(job, opener, segmenter):
                ready.append(piece)
                if len(ready) >= (self.batch_size * AHEAD if self.batch_size > 1 else 1):
                    self._decode_all(ready)
                    ready = []
                    yield from self._finished(waiting)
            yield from self._finished(waiting)
        self._decode_all(ready)
        yield from self._finished(waiting)

    def _finished(self, waiting: deque[tuple[Job, Segmenter]]) -> Iterator[tuple[Job, Passage | Failure]]:
        while waiting and waiting[0][0].done:
            job, segmenter = waiting.popleft()
            if job.error is not None:
                yield job, Failure(job.name, job.error)
                continue
            yield job, segmenter.join(job.clips, [job.passages[number] for number in range(len(job.clips))])

    def _pieces(self, job: Job, opener: Callable[[], Opened], segmenter: Segmenter) -> Iterator[_Piece]:
        """Read one recording and work out what is asked of each of its clips."""
        with ExitStack() as held:
            start = time.perf_counter()
            try:
                job.source = source = opener()
                stream = held.enter_context(source.stream)
                clips = iter(segmenter.split(stream.blocks(), stream.rate, self.parts.longest))
                while (clip := next(clips, None)) is not None:
                    piece = self._piece(job, clip)
                    job.notices += tuple(notice for notice in clip.notices if notice not in job.notices)
                    job.spent("audio", time.perf_counter() - start)
                    yield piece
                    start = time.perf_counter()
                    if job.error is not None:
                        return
                job.duration, job.whole = stream.duration, True
                job.notices = (*source.notices, *job.notices, *stream.notices)
            except AsrkitError as error:
                job.error = error
            except MemoryError:
                job.error = AudioError(f"{job.name}: there is not enough memory to read it; cut the recording")
            job.spent("audio", time.perf_counter() - start)

    def _piece(self, job: Job, clip: Clip) -> _Piece:
        assert job.source is not None
        offset = job.source.offset
        spans = clip.spans and tuple((start + offset, end + offset) for start, end in clip.spans)
        clip = attrs.evolve(clip, start=clip.start + offset, spans=spans)
        frames = -(-self.parts.frontend.frames(len(clip.samples)) // self.parts.encoder.stride)
        try:
            request = self.parts.dialect.request(job.source.asked, frames)
        except AsrkitError as error:
            raise AudioError(f"{job.name}: {error}") from error
        job.clips.append(attrs.evolve(clip, samples=np.zeros(0, np.float32)))
        return _Piece(job, len(job.clips) - 1, clip, request)

    def _decode_all(self, pieces: list[_Piece]) -> None:
        """Decode clips, those of like length together, the longest first: what does not fit fails at once."""
        ordered = sorted((p for p in pieces if p.job.error is None), key=lambda p: -len(p.clip.samples))
        for batch in chunks(ordered, self.batch_size):
            with self.lock:
                self._try(batch)

    def _try(self, pieces: list[_Piece]) -> None:
        """Decode clips together; if that fails, one by one, so that only those fail that must."""
        problem: AsrkitError | None = None
        try:
            self._read(pieces)
        except AsrkitError as error:
            problem = error.with_traceback(None)
        except MemoryError:
            seconds = max(piece.clip.seconds for piece in pieces)
            problem = AudioError(
                f"there is not enough memory to decode {seconds:.0f} s in one piece; cut the recording"
            )
        # Out here nothing holds on to the arrays of what failed, which matters most after a MemoryError.
        if problem is not None and len(pieces) == 1:
            pieces[0].job.error = AudioError(f"{pieces[0].job.name}: {problem}")
        elif problem is not None:
            for piece in pieces:
                self._try([piece])

    def _read(self, pieces: list[_Piece]) -> None:
        """Decode clips in one batch and give their recordings the passages."""
        start = time.perf_counter()
        features = self.parts.frontend([piece.clip.samples for piece in pieces])
        middle = time.perf_counter()
        try:
            found = self.decode(self.encode(features), [piece.request for piece in pieces])
        finally:
            self.backend.release()
        if len(found) != len(pieces) or not all(found):
            raise PluginError(f"the strategy gave {len(found)} results for {len(pieces)} clips, or an empty one")
        for piece, hypotheses in zip(pieces, found, strict=True):
            piece.job.passages[piece.number] = self._passage(piece, hypotheses[0])
        end = time.perf_counter()
        samples = sum(len(piece.clip.samples) for piece in pieces) or 1
        for piece in pieces:
            share = len(piece.clip.samples) / samples
            piece.job.spent("features", share * (middle - start))
            piece.job.spent("inference", share * (end - middle))

    def _passage(self, piece: _Piece, hypothesis: Any) -> Passage:
        parts, source, clip = self.parts, piece.job.source, piece.clip
        assert source is not None
        lead = parts.frontend.lead(len(clip.samples)) / parts.frontend.rate
        step = parts.frontend.hop * parts.encoder.stride
        clock = Clock(step, clip.start - lead, clip.start + clip.seconds, clip.start)
        passage = parts.dialect.read(hypothesis, clock, source.asked)
        if clip.seconds > parts.longest:
            text = (
                f"{clip.seconds:.0f} s were decoded in one piece, more than the {parts.longest:g} s the model was "
                "trained on; text may be missing or repeated"
            )
            passage = attrs.evolve(passage, notices=(*passage.notices, Notice("long-recording", text)))
        return passage
