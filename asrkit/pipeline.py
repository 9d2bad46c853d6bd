"""Recordings into clips, clips of many recordings into batches, and their passages back into results, in order."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import attrs
import numpy as np

from asrkit.alignment import align, sentences
from asrkit.arrays import Encoded, Features
from asrkit.audio import Stream
from asrkit.batching import chunks
from asrkit.confidence import with_words
from asrkit.errors import AsrkitError, AudioError, PluginError
from asrkit.guards import Reading, mend, where
from asrkit.interfaces import Aligner, Backend
from asrkit.jobs import Job, Opened, Plan
from asrkit.models import Parts
from asrkit.values import Alternative, Clip, Clock, Failure, Heard, Hypothesis, Notice, Passage, Request, Word

__all__ = ["Pipeline", "with_hypotheses"]

AHEAD = 2
"""Batches of clips that are collected before they are put together by length: little padding, and not much to keep."""
AUTO_ROWS, AUTO_SECONDS = 16, 160.0
"""Clips, and seconds of them with their padding, in a batch whose size nobody chose: a decoder's step costs one core
hardly more for sixteen rows than for one, and the encoder's memory grows with the seconds."""

SLACK = 0.5
"""Seconds beyond what a model was trained on that nobody needs to hear about."""
NOBODY = Notice("no-speech", "nobody was heard speaking, so nothing was decoded; vad 'none' decodes everything")


@attrs.frozen(eq=False)
class _Piece:
    """A clip of a recording, ready to be decoded."""

    job: Job
    number: int
    clip: Clip


class Pipeline:
    """One call of a model: see ``Model.outcomes``.

    Args:
        parts: of the model.
        backend: that they were built for.
        encode: features to encoder states.
        lock: held while the model computes.
        plan: how.
    """

    def __init__(
        self,
        parts: Parts,
        backend: Backend,
        encode: Callable[[Features], Encoded],
        lock: threading.RLock,
        plan: Plan,
    ) -> None:
        self.parts, self.backend = parts, backend
        self.encode, self.lock, self.plan = encode, lock, plan

    def run(self, openers: Iterable[tuple[str, Callable[[], Opened]]]) -> Iterator[tuple[Job, Heard | Failure | None]]:
        """What is certain of each recording, in order, as soon as it and all before it are; at the end of each one
        None, or its Failure.

        Args:
            openers: the name of each recording, and what opens it.
        """
        waiting: deque[Job] = deque()
        ready: list[_Piece] = []
        for index, (name, opener) in enumerate(openers):
            if self._stopped():
                break
            job = Job(index, name, self.plan.segmenter())
            waiting.append(job)
            stopped = False
            for piece in self._pieces(job, opener):
                if stopped:  # looked at only here, where it is known that the recording goes on
                    return
                ready.append(piece)
                if self._enough(ready):
                    self._decode_all(ready)
                    ready = []
                    yield from self._finished(waiting)
                    stopped = self._stopped()
            yield from self._finished(waiting)
        self._decode_all(ready)
        yield from self._finished(waiting)

    def _stopped(self) -> bool:
        return self.plan.stop is not None and self.plan.stop()

    def _enough(self, ready: list[_Piece]) -> bool:
        size = self.plan.batch_size
        if size is not None:
            return len(ready) >= (size * AHEAD if size > 1 else 1)
        return len(ready) >= AHEAD * AUTO_ROWS or sum(piece.clip.seconds for piece in ready) >= AHEAD * AUTO_SECONDS

    def _batches(self, ordered: list[_Piece]) -> Iterator[list[_Piece]]:
        """Batches of clips, the longest of which comes first."""
        if self.plan.batch_size is not None:
            yield from chunks(ordered, self.plan.batch_size)
            return
        while ordered:
            rows = max(1, min(AUTO_ROWS, int(AUTO_SECONDS / max(ordered[0].clip.seconds, 0.1))))
            yield ordered[:rows]
            ordered = ordered[rows:]

    def _finished(self, waiting: deque[Job]) -> Iterator[tuple[Job, Heard | Failure | None]]:
        while waiting:
            job = waiting[0]
            try:
                for heard in job.settle():
                    yield job, heard
            except PluginError as error:
                job.error = _of(job, error)
            if not job.done:
                return
            waiting.popleft()
            yield job, None if job.error is None else Failure(job.name, job.error)

    def _pieces(self, job: Job, opener: Callable[[], Opened]) -> Iterator[_Piece]:
        """Read one recording and work out what is asked of each of its clips."""
        with ExitStack() as held:
            start = time.perf_counter()
            try:
                job.source = source = opener()
                stream = held.enter_context(source.stream)
                clips = iter(job.segmenter.split(_blocks(job, stream), stream.rate, self.parts.longest))
                while (clip := next(clips, None)) is not None:
                    piece = self._piece(job, clip)
                    job.notices += tuple(notice for notice in clip.notices if notice not in job.notices)
                    job.spent("audio", time.perf_counter() - start)
                    yield piece
                    start = time.perf_counter()
                    if job.error is not None:
                        return
                if job.broken is not None:
                    raise job.broken
                job.duration, job.whole = stream.duration, True
                silent = (NOBODY,) if not job.clips else ()
                job.notices = (*source.notices, *job.notices, *silent, *stream.notices)
            except PluginError as error:
                job.error = _of(job, error)
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
        job.clips += 1
        job.known_seconds += clip.seconds
        job.known_until = clip.start + clip.seconds - offset
        return _Piece(job, job.clips - 1, clip)

    def _request(self, clip: Clip, asked: Any, forced: bool) -> Request:
        frames = -(-self.parts.frontend.frames(len(clip.samples)) // self.parts.encoder.stride)
        request = self.parts.dialect.request(asked, frames)
        if not forced:
            return request
        first = request.suppress_first | self.parts.dialect.wordless(asked)
        return attrs.evolve(request, suppress_first=first)

    def _decode_all(self, pieces: list[_Piece]) -> None:
        """Decode clips, those of like length together, the longest first: what does not fit fails at once."""
        ordered = sorted((p for p in pieces if p.job.error is None), key=lambda p: -len(p.clip.samples))
        for number, batch in enumerate(self._batches(ordered)):
            if number and self._stopped():
                return
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
                f"there is not enough memory to decode {seconds:.0f} s at once; try a smaller max_segment or batch_size"
            )
        # Out here nothing holds on to the arrays of what failed, which matters most after a MemoryError.
        if problem is not None and len(pieces) == 1:
            pieces[0].job.error = _of(pieces[0].job, problem)
        elif problem is not None:
            for piece in pieces:
                self._try([piece])

    def _read(self, pieces: list[_Piece]) -> None:
        """Decode clips in one batch and give their recordings the passages."""
        readings = self._decode([piece.job for piece in pieces], [piece.clip for piece in pieces])
        for piece, reading in zip(pieces, readings, strict=True):
            job, clip = piece.job, attrs.evolve(piece.clip, samples=np.zeros(0, np.float32))
            passage = self._mended(job, reading) if self.plan.guarded else reading.passage
            job.heard[piece.number] = Heard(clip, passage)
            seconds = job.decoded(clip)
            if self.plan.progress is not None:
                self.plan.progress(job.index, seconds)

    def _mended(self, job: Job, reading: Reading) -> Passage:
        """The passage of a reading, looked at by the guards; a second look that fails leaves the first."""
        assert job.source is not None
        asked = job.source.asked

        def again(clips: Sequence[Clip], forced: bool) -> list[Reading]:
            return self._decode([job] * len(clips), clips, forced)

        try:
            return mend(reading, again, can_force=bool(self.parts.dialect.wordless(asked)))
        except (AsrkitError, MemoryError) as error:
            why = "there is not enough memory" if isinstance(error, MemoryError) else error
            text = f"{where(reading.clip)} the text looks wrong, and looking again failed: {why}"
            return attrs.evolve(reading.passage, notices=(*reading.passage.notices, Notice("guard-failed", text)))

    def _decode(self, jobs: Sequence[Job], clips: Sequence[Clip], forced: bool = False) -> list[Reading]:
        """One batch: an answer for each clip."""
        start = time.perf_counter()
        features = self.parts.frontend([clip.samples for clip in clips])
        middle = time.perf_counter()
        try:
            encoded = self.encode(features)
            asked = [job.source.asked for job in jobs if job.source is not None]
            readings = self._answers(encoded, clips, asked, forced)
            if self.plan.aligner is not None:
                readings = _aligned(readings, self.plan.aligner)
            elif self.plan.words and (timed := [self.parts.dialect.timed(one) for one in asked]) != asked:
                others = self._answers(encoded, clips, timed, forced)
                words = [[word for each in other.passage.segments for word in each.words] for other in others]
                readings = [_with_times(one, known) for one, known in zip(readings, words, strict=True)]
        finally:
            self.backend.release()
        readings = [attrs.evolve(one, passage=with_words(one.passage, self.parts.tokenizer)) for one in readings]
        end = time.perf_counter()
        samples = sum(len(clip.samples) for clip in clips) or 1
        for job, clip in zip(jobs, clips, strict=True):
            share = len(clip.samples) / samples
            job.spent("features", share * (middle - start))
            job.spent("inference", share * (end - middle))
        return readings

    def _answers(self, encoded: Encoded, clips: Sequence[Clip], asked: Sequence[Any], forced: bool) -> list[Reading]:
        """Search, and read what was found."""
        requests = [self._request(clip, one, forced) for clip, one in zip(clips, asked, strict=True)]
        found = self.plan.decode(encoded, requests)
        if len(found) != len(clips) or not all(found):
            raise PluginError(f"the strategy gave {len(found)} results for {len(clips)} clips, or an empty one")
        return [
            Reading(clip, hypotheses[0], self._passage(clip, hypotheses, one))
            for clip, hypotheses, one in zip(clips, found, asked, strict=True)
        ]

    def _passage(self, clip: Clip, hypotheses: Sequence[Hypothesis], asked: Any) -> Passage:
        parts = self.parts
        lead = parts.frontend.lead(len(clip.samples)) / parts.frontend.rate
        step = parts.frontend.hop * parts.encoder.stride
        clock = Clock(step, clip.start - lead, clip.start + clip.seconds, max(clip.start, 0.0))
        passages = [parts.dialect.read(hypothesis, clock, asked) for hypothesis in hypotheses]
        passage = with_hypotheses(passages, hypotheses)
        if clip.seconds > parts.longest + SLACK:
            text = (
                f"{clip.seconds:.0f} s were decoded in one piece, more than the {parts.longest:g} s the model is "
                "meant for; text may be missing or repeated"
            )
            passage = attrs.evolve(passage, notices=(*passage.notices, Notice("long-recording", text)))
        return passage


def _blocks(job: Job, stream: Stream) -> Iterator[np.ndarray]:
    """The samples of a recording; where they break off, what came before is cut into clips as if it were all."""
    heard = False
    try:
        for block in stream.blocks():
            heard = heard or len(block) > 0
            yield block
    except AsrkitError as error:
        if not heard:
            raise
        job.broken = error


def with_hypotheses(passages: Sequence[Passage], hypotheses: Sequence[Hypothesis]) -> Passage:
    """What was read from the best hypothesis, with what the search tells of it and of the others.

    Args:
        passages: what was read from each.
    """
    passage, best = passages[0], hypotheses[0]
    count = len(passage.tokens)
    if best.confidences and best.tokens[:count] == passage.tokens:  # a dialect may leave out tokens at the end
        passage = attrs.evolve(passage, confidences=best.confidences[:count])
    if len(hypotheses) == 1:
        return passage
    scores = [one.score if one.rank is None else one.rank for one in hypotheses]
    found = [Alternative(one.text, score, one.tokens) for one, score in zip(passages, scores, strict=True)]
    return attrs.evolve(passage, alternatives=tuple(found))


def _aligned(readings: Sequence[Reading], aligner: Aligner) -> list[Reading]:
    """Answers whose words have the times that an aligner gives them."""
    spoken = [one for one in readings if one.passage.text]
    if not spoken:
        return list(readings)
    found = aligner([one.clip.samples for one in spoken], [one.passage.text for one in spoken])
    if len(found) != len(spoken):
        raise PluginError(f"the aligner gave {len(found)} results for {len(spoken)} clips")
    rows = iter(found)
    return [_with_times(one, _later(next(rows), one.clip.start)) if one.passage.text else one for one in readings]


def _later(words: Sequence[Word], seconds: float) -> list[Word]:
    return [attrs.evolve(word, start=word.start + seconds, end=word.end + seconds) for word in words]


def _with_times(reading: Reading, known: Sequence[Word]) -> Reading:
    """An answer whose words have the times that somebody else found for the same clip."""
    clip, passage = reading.clip, reading.passage
    if not passage.text:
        return reading
    bounds = clip.spans or ((clip.start, clip.start + clip.seconds),)
    words, found = align(passage.text, known, max(bounds[0][0], 0.0), bounds[-1][1], clip.spans or ())
    notices = passage.notices
    if 2 * found < len(words):
        rest = "the others lie between them" if found else "they lie evenly over the speech"
        text = f"the model timed {found or 'none'} of {len(words)} words from {clip.start:.2f} s on; {rest}"
        notices = (*notices, Notice("times-estimated", text))
    return attrs.evolve(reading, passage=attrs.evolve(passage, segments=sentences(words), notices=notices))


def _of(job: Job, error: AsrkitError) -> AsrkitError:
    """An error that names the recording; one of a plugin keeps its cause, for who looks for the mistake."""
    if not isinstance(error, PluginError):
        return AudioError(f"{job.name}: {error}")
    named = PluginError(f"{job.name}: {error}")
    named.__cause__ = error.__cause__
    return named
