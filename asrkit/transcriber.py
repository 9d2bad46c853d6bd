"""The way of a recording through the parts of a model."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

import attrs
import numpy as np

from asrkit import audio
from asrkit.arrays import Encoded, Features
from asrkit.audio import Audio
from asrkit.audio_files import AudioInput, describe
from asrkit.batching import chunks, to_device
from asrkit.errors import AsrkitError, AudioError, OptionError, PluginError, UsageError, listed, suggestion
from asrkit.interfaces import Backend, Decode, PreparedEncoder, Segmenter
from asrkit.models import Parts
from asrkit.options import build_options, option_names
from asrkit.registry import Registry
from asrkit.values import Clip, Clock, Failure, Notice, Passage, Recording, Request, Timing, Transcript

__all__ = ["Model"]


class Model:
    """A model that is ready to transcribe. ``asrkit.load_model`` makes one.

    One model may be shared between threads: its calls run one after another. Two models, also of one checkpoint, share
    nothing but the memory-mapped file and may run side by side. The parts by themselves have no lock.

    Args:
        name: shown in results.
        parts: what it is made of.
        backend: the backend the parts were built for.
        precision: the precision they were built in.
        registry: where strategies and segmenters are looked up.
        settings: names of the load-time options, for messages.
        load_time: seconds that loading took.
        revision: the commit of the hub repository it came from.
    """

    def __init__(
        self,
        name: str,
        parts: Parts,
        backend: Backend,
        precision: str,
        registry: Registry,
        settings: Sequence[str] = (),
        load_time: float = 0.0,
        revision: str | None = None,
    ) -> None:
        self.name = name
        self.parts = parts
        self.backend = backend
        self.precision = precision
        self._registry = registry
        self._settings = tuple(settings)
        self._load_time = load_time
        self._revision = revision

        def encode(features: Features) -> Encoded:
            return parts.encoder(features)

        def encode_with(features: Features, context: Any) -> Encoded:
            return parts.encoder(features, context)  # type: ignore[call-arg]  # only for a PreparedEncoder

        self._encode = backend.compile(encode)
        self._encode_with = backend.compile(encode_with)
        self._prepared_for: tuple[int, Any] = (0, None)
        self._bound: dict[Any, Decode] = {}
        self._lock = threading.RLock()

    @overload
    def transcribe(self, source: list[AudioInput], **options: Any) -> list[Transcript]: ...

    @overload
    def transcribe(self, source: AudioInput | np.ndarray, **options: Any) -> Transcript: ...

    def transcribe(self, source: Any, **options: Any) -> Transcript | list[Transcript]:
        """Transcribe one recording, or a list of them.

        Args:
            source: a path, the bytes of an audio file, a file object, ``(samples, rate)``, an array together with
                ``rate=``, or a list of such. Samples are (S,) or (S, channels), floats at ±1 or signed integers.
            options: as for :meth:`outcomes`.

        Raises:
            AudioError: a recording cannot be used; of a list, the first one. :meth:`outcomes` goes on instead.
            OptionError: an option the model does not have, or a value it cannot take.
        """
        many = isinstance(source, list)
        results = []
        for outcome in self.outcomes(source if many else [source], **options):
            if isinstance(outcome, Failure):
                raise outcome.error
            results.append(outcome)
        return results if many else results[0]

    def outcomes(
        self,
        sources: Iterable[Any],
        /,
        *,
        rate: int | None = None,
        strategy: str | None = None,
        batch_size: int = 1,
        channel: int | None = None,
        **options: Any,
    ) -> Iterator[Transcript | Failure]:
        """Transcribe recordings as they come; a recording that fails gives a Failure and does not stop the others.

        Args:
            sources: as for :meth:`transcribe`, or ``Recording`` with an offset, a duration or options of its own.
            rate: sample rate in Hz of sources that are bare arrays.
            channel: the channel to take, from 1 on; None means the mean of all.
            strategy: name of the decoding strategy, if not the model's own.
            batch_size: recordings that are decoded together.
            options: options of the model's dialect (``language``, ``target_language``, ``task``, ``pnc``, ...) and of
                the strategy. None means not given.

        Raises:
            OptionError: before the first recording is read.
        """
        if isinstance(sources, str | bytes | bytearray | os.PathLike | tuple | np.ndarray) or hasattr(sources, "read"):
            raise UsageError("outcomes takes several recordings: put a single one into a list")
        if type(batch_size) is not int or batch_size < 1:
            raise OptionError(f"batch_size must be a whole number from 1 on, found {batch_size!r}")
        audio.check_excerpt(channel, 0, None)
        strategy = self.parts.strategy if strategy is None else strategy
        wishes, strategy_options = self._sort(options, strategy)
        self._ask(wishes)
        decode = self._decode(strategy, strategy_options)
        segmenter: Segmenter = self._registry.get("segmenter", self.parts.segmenter).load()()
        return self._run(sources, _Call(rate, channel, batch_size, strategy, wishes), decode, segmenter)

    def option_names(self, strategy: str | None = None) -> list[str]:
        """Names of the options that :meth:`outcomes` takes."""
        factory = self._registry.get("strategy", strategy or self.parts.strategy).load()
        return sorted({*option_names(self.parts.dialect.Options), *option_names(factory)})

    def _sort(self, options: Mapping[str, Any], strategy: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Options for the dialect and for the strategy."""
        own = option_names(self.parts.dialect.Options)
        searching = option_names(self._registry.get("strategy", strategy).load())
        given = {name: value for name, value in options.items() if value is not None}
        clash = sorted(set(own) & set(searching))
        if clash:
            raise PluginError(f"strategy {strategy!r} and model {self.name!r} both have an option {clash[0]!r}")
        for name in given:
            if name in own or name in searching:
                continue
            if name in self._settings:
                raise OptionError(f"option {name!r} is set when the model is loaded: load_model(..., {name}=...)")
            names = [*own, *searching, *self._settings]
            raise OptionError(
                f"model {self.name!r} with strategy {strategy!r} has no option {name!r}"
                f"{suggestion(name, names)}; it has: {listed(names)}"
            )
        return (
            {name: value for name, value in given.items() if name in own},
            {name: value for name, value in given.items() if name in searching and name not in own},
        )

    def _ask(self, wishes: dict[str, Any]) -> tuple[Any, tuple[Notice, ...]]:
        """What is asked of a recording, with notices about what was assumed."""
        asked, notices = self.parts.dialect.resolve(wishes)
        return asked, (*self.parts.notices, *notices)

    def _decode(self, name: str, options: dict[str, Any]) -> Decode:
        factory = self._registry.get("strategy", name).load()
        strategy = build_options(factory, options, f"strategy {name!r}")
        if not hasattr(strategy, "decodes"):
            raise PluginError(f"strategy {name!r} does not say what it decodes: it needs a class attribute 'decodes'")
        if not isinstance(self.parts.decoder, strategy.decodes):
            raise OptionError(
                f"strategy {name!r} decodes with a {strategy.decodes.__name__}, which model {self.name!r} has not; "
                f"its own strategy is {self.parts.strategy!r}"
            )
        with self._lock:
            key = (name, strategy)
            if key not in self._bound:
                self._bound[key] = strategy.bind(self.parts.decoder, self.backend)
            return self._bound[key]

    def _run(
        self, sources: Iterable[Any], call: _Call, decode: Decode, segmenter: Segmenter
    ) -> Iterator[Transcript | Failure]:
        for batch in chunks(sources, call.batch_size):
            timing = {"load": self._load_time}
            with _Timer(timing, "total"):
                with _Timer(timing, "audio"):
                    jobs = [self._prepare(source, call, segmenter) for source in batch]
                ready = [job for job in jobs if isinstance(job, _Job)]
                with self._lock:
                    self._try(ready, decode, timing)
            for job in jobs:
                if isinstance(job, Failure):
                    yield job
                elif job.error is not None:
                    yield Failure(job.recording.name, job.error)
                else:
                    yield self._transcript(job, segmenter.join(job.passages), Timing(**timing))

    def _prepare(self, source: Any, call: _Call, segmenter: Segmenter) -> _Job | Failure:
        """Read one recording and work out what is asked of each of its clips."""
        given = source if isinstance(source, Recording) else Recording(source)
        name = describe(given.source)
        try:
            asked, notices = self._ask(self._own(given, call, name))
            recording = self._load(given, call)
            clips = list(segmenter.split(recording.samples, recording.rate))
            try:
                requests = [self.parts.dialect.request(asked, self._frames(len(clip.samples))) for clip in clips]
            except AsrkitError as error:
                raise AudioError(f"{recording.name}: {error}") from error
        except AsrkitError as error:
            return Failure(name, error)
        except MemoryError:
            return Failure(name, AudioError(f"{name}: there is not enough memory to read it; cut the recording"))
        return _Job(recording, given.offset, asked, (*notices, *recording.notices), clips, requests)

    def _own(self, given: Recording, call: _Call, name: str) -> dict[str, Any]:
        """The wishes for one recording: its own before those of the call."""
        wishes, searching = self._sort(given.options, call.strategy)
        if searching:
            raise OptionError(f"{name}: option {listed(searching)} is one of the whole call, not of one recording")
        return {**call.wishes, **wishes}

    def _load(self, given: Recording, call: _Call) -> Audio:
        source = given.source
        if isinstance(source, np.ndarray):
            if call.rate is None:
                raise OptionError("an array of samples needs its rate: rate=16000, or (samples, 16000)")
            source = (source, call.rate)
        elif call.rate is not None:
            raise OptionError("rate is for bare arrays; other audio brings its own")
        rate = self.parts.frontend.rate
        return audio.load(source, rate, channel=call.channel, offset=given.offset, duration=given.duration)

    def _try(self, jobs: list[_Job], decode: Decode, timing: dict[str, float]) -> None:
        """Decode jobs together; if that fails, one by one, so that only those fail that must."""
        problem: AsrkitError | None = None
        try:
            self._read(jobs, decode, timing)
        except AsrkitError as error:
            problem = error.with_traceback(None)
        except MemoryError:
            seconds = max(job.recording.duration for job in jobs)
            problem = AudioError(
                f"there is not enough memory to decode {seconds:.0f} s in one piece; cut the recording"
            )
        # Out here nothing holds on to the arrays of what failed, which matters most after a MemoryError.
        if problem is not None and len(jobs) == 1:
            jobs[0].error = AudioError(f"{jobs[0].recording.name}: {problem}")
        elif problem is not None:
            for job in jobs:
                job.passages.clear()
                self._try([job], decode, timing)

    def _read(self, jobs: list[_Job], decode: Decode, timing: dict[str, float]) -> None:
        """Decode the clips of all jobs together and give each job its passages."""
        parts = self.parts
        clips = [clip for job in jobs for clip in job.clips]
        if not clips:
            return
        with _Timer(timing, "features"):
            features = parts.frontend([clip.samples for clip in clips])
        with _Timer(timing, "inference"):
            requests = [request for job in jobs for request in job.requests]
            try:
                found = decode(self.encode(features), requests)
            finally:
                self.backend.release()
        if len(found) != len(requests) or not all(found):
            raise PluginError(f"the strategy gave {len(found)} results for {len(requests)} clips, or an empty one")
        hypotheses = iter(found)
        step = parts.frontend.hop * parts.encoder.stride
        for job in jobs:
            for clip in job.clips:
                lead = parts.frontend.lead(len(clip.samples)) / parts.frontend.rate
                clock = Clock(step, job.offset + clip.start - lead, job.offset + job.recording.duration, job.offset)
                passage = parts.dialect.read(next(hypotheses)[0], clock, job.asked)
                seconds = len(clip.samples) / job.recording.rate
                if seconds > parts.longest:
                    text = (
                        f"{seconds:.0f} s were decoded in one piece, more than the {parts.longest:g} s the model was "
                        "trained on; text may be missing or repeated"
                    )
                    notices = (*passage.notices, Notice("long-recording", text))
                    passage = attrs.evolve(passage, notices=notices)
                job.passages.append(passage)

    def encode(self, features: Features) -> Encoded:
        """Encoder states of host features, on the model's backend; may have more rows and frames than asked."""
        moved = to_device(features, self.backend)
        frames = self.backend.bucket("time", features.values.shape[1])
        context = self._prepared(-(-frames // self.parts.encoder.stride))
        return self._encode(moved) if context is None else self._encode_with(moved, context)

    def _prepared(self, states: int) -> Any:
        """What the encoder prepares for so many states, kept for the longest recording so far."""
        encoder = self.parts.encoder
        if not isinstance(encoder, PreparedEncoder):
            return None
        reach, context = self._prepared_for  # one attribute: another thread may replace it at any time
        if states > reach:
            reach = max(64, 1 << (states - 1).bit_length())  # doubled, so that it is seldom done again
            context = encoder.prepare(reach)
            if context is not None:
                self._prepared_for = reach, context
        return context

    def _frames(self, samples: int) -> int:
        """Encoder frames of a clip alone."""
        return -(-self.parts.frontend.frames(samples) // self.parts.encoder.stride)

    def _transcript(self, job: _Job, passage: Passage, timing: Timing) -> Transcript:
        return Transcript(
            file=job.recording.name,
            model=self.name,
            backend=self.backend.name,
            precision=self.precision,
            language=getattr(job.asked, "language", None),
            target_language=getattr(job.asked, "target_language", None),
            task=getattr(job.asked, "task", None),
            duration=job.recording.duration,
            text=passage.text,
            raw_text=passage.raw_text,
            segments=passage.segments,
            tokens=passage.tokens,
            warnings=(*job.notices, *passage.notices),
            timing=timing,
            revision=self._revision,
        )


@attrs.frozen
class _Call:
    """What holds for all recordings of a call."""

    rate: int | None
    channel: int | None
    batch_size: int
    strategy: str
    wishes: dict[str, Any]


@attrs.define
class _Job:
    """A recording on its way."""

    recording: Audio
    offset: float
    """Seconds of the file that come before it."""
    asked: Any
    notices: tuple[Notice, ...]
    clips: list[Clip]
    requests: list[Request]
    passages: list[Passage] = attrs.field(factory=list)
    error: AsrkitError | None = None


class _Timer:
    """Adds the seconds spent inside a ``with`` block to a dict."""

    def __init__(self, timing: dict[str, float], name: str) -> None:
        self._timing, self._name = timing, name

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        seconds = self._timing.get(self._name, 0.0) + time.perf_counter() - self._start
        self._timing[self._name] = round(seconds, 4)
