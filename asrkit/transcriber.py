"""The way of a recording through the parts of a model."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, overload

import attrs
import numpy as np

from asrkit import audio
from asrkit.arrays import Encoded, Features
from asrkit.audio_files import AudioInput, describe
from asrkit.batching import to_device
from asrkit.blame import Watched, blaming
from asrkit.errors import OptionError, PluginError, UsageError, listed
from asrkit.interfaces import Aligner, Backend, Decode, PreparedEncoder, Segmenter
from asrkit.jobs import Call, Job, Opened, Plan
from asrkit.models import Parts
from asrkit.options import build_options, option_names, share_options
from asrkit.pipeline import Pipeline
from asrkit.registry import Registry
from asrkit.segmenters.joining import merge, onward, timed
from asrkit.values import Failure, Heard, Notice, Passage, Recording, Segment, Transcript

__all__ = ["Model"]


class Model:
    """A model that is ready to transcribe. ``asrkit.load_model`` makes one.

    One model may be shared between threads: their batches run one after another. Two models, also of one checkpoint,
    share nothing but the memory-mapped file and may run side by side. The parts by themselves have no lock.

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
        self._aligner: Aligner | None = None
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
        if options.get("stop") is not None:
            raise OptionError(
                "transcribe gives a result for each recording; stop, which gives some up, is for outcomes"
            )
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
        segmenter: str | None = None,
        batch_size: int | Literal["auto"] = "auto",
        channel: int | None = None,
        guards: bool = True,
        timestamps: Literal["none", "segment", "word"] | None = None,
        progress: Callable[[int, float], None] | None = None,
        stop: Callable[[], bool] | None = None,
        **options: Any,
    ) -> Iterator[Transcript | Failure]:
        """Transcribe recordings as they come; a recording that fails gives a Failure and does not stop the others.

        Args:
            sources: as for :meth:`transcribe`, or ``Recording`` with an offset, a duration or options of its own.
            rate: sample rate in Hz of sources that are bare arrays.
            channel: the channel to take, from 1 on; None means the mean of all.
            strategy: name of the decoding strategy, if not the model's own.
            segmenter: name of what cuts long recordings into clips, if not the model's own.
            batch_size: clips that are decoded together, of one or several recordings; ``"auto"`` goes by their
                lengths.
            guards: whether a clip is decoded again where the text is empty although somebody speaks, far too short
                for the speech, repeats itself or does not end. What was done is among the result's warnings.
            timestamps: ``"segment"`` times come from the model or from speech detection, ``"word"`` times from the
                model; either is an error where there are none. ``"none"`` leaves times out. By default segments have
                the best times there are.
            progress: called after each batch with the place of a recording in the call, from 0 on, and how many of its
                seconds are done.
            stop: asked after each batch; once it says True, recordings that are not finished are given up.
            options: options of the model's dialect (``language``, ``target_language``, ``task``, ``pnc``, ...), of
                the strategy and of the segmenter (``vad``, ``max_segment``, ``overlap``). None means not given.

        Raises:
            OptionError: before the first recording is read.
        """
        if isinstance(sources, str | bytes | bytearray | os.PathLike | tuple | np.ndarray) or hasattr(sources, "read"):
            raise UsageError("outcomes takes several recordings: put a single one into a list")
        given = Call(rate, channel, strategy, segmenter, timestamps, batch_size, guards, progress, stop)
        return self._run(sources, *self._plan(given, options))

    def transcribe_stream(
        self,
        blocks: Iterable[np.ndarray],
        rate: int,
        *,
        notify: Callable[[Notice], None] | None = None,
        **options: Any,
    ) -> Iterator[Segment]:
        """Transcribe a recording while it is made; each segment comes as soon as no later sound can change it.

        How long a segment is waited for is up to the segmenter: by default to a pause of two seconds, or to the end of
        a full window. Together they are the segments that :meth:`transcribe` gives for all blocks at once, but that it
        leaves a recording that fits the model uncut, which is only known at its end (``uncut=False`` cuts there too).

        Args:
            blocks: samples (S,) or (S, channels), one block after another, each of any size.
            rate: Hz.
            notify: called with each warning about the recording, when it is known.
            options: as for :meth:`outcomes`, but for ``batch_size``: clips are decoded as they come.

        Raises:
            AudioError: there are no samples, or some that cannot be used, or the blocks break off; segments that came
                before are right.
            OptionError: an option the model does not have, or a value it cannot take.
        """
        if not isinstance(blocks, Iterable):
            raise UsageError(f"blocks are arrays of samples, one after another, found {type(blocks).__name__}")
        for name in ("batch_size", "rate"):
            if name in options:
                raise OptionError(f"transcribe_stream decodes clips as they come; it has no option {name!r}")
        names = ("channel", "strategy", "segmenter", "timestamps", "guards", "progress", "stop")
        given = Call(batch_size=1, **{name: options.pop(name) for name in names if name in options})
        if given.timestamps == "none":
            raise OptionError("a stream gives segments with their times; timestamps 'none' leaves nothing")
        segmenter = given.segmenter or self._registry.meant("segmenter", self.parts.segmenter)
        if "uncut" in option_names(self._registry.get("segmenter", segmenter).load()):
            options.setdefault("uncut", False)
        return self._stream((iter(blocks), rate), *self._plan(given, options), notify)

    def _stream(
        self, source: Any, call: Call, plan: Plan, notify: Callable[[Notice], None] | None
    ) -> Iterator[Segment]:
        latest, told = -math.inf, 0
        for job, event in self._pipeline(plan).run(self._openers([source], call)):
            if isinstance(event, Heard) and event.passage.alternatives:
                raise OptionError("a stream gives segments and no alternatives; n_best is for whole recordings")
            notices = [*job.notices[told:], *(event.passage.notices if isinstance(event, Heard) else ())]
            told = len(job.notices)
            if notify is not None:
                for notice in notices:
                    notify(notice)
            if isinstance(event, Failure):
                raise event.error
            for segment in () if event is None else timed(event):
                found = onward(segment, latest)
                latest = found.end
                yield found

    def _plan(self, call: Call, options: Mapping[str, Any]) -> tuple[Call, Plan]:
        """Refuse what cannot be asked for, before anything is read."""
        call.check()
        if call.strategy is None:
            call = attrs.evolve(call, strategy=self._registry.meant("strategy", self.parts.strategy))
        if call.segmenter is None:
            call = attrs.evolve(call, segmenter=self._registry.meant("segmenter", self.parts.segmenter))
        wishes, searching, cutting = self._sort(options, call)
        entry = self._registry.get("segmenter", call.segmenter)

        def segmenter() -> Segmenter:
            return Watched(build_options(entry.load(), cutting, f"segmenter {call.segmenter!r}"), str(entry))

        # Lengths that do not go with the model are refused here, though nothing is there to be cut yet.
        segmenter().split(iter(()), self.parts.frontend.rate, self.parts.longest)
        call = attrs.evolve(call, wishes=wishes, listens=segmenter().listens)
        self._ask(wishes, call)
        decode = self._decode(call.strategy, searching)
        size = None if call.batch_size == "auto" else call.batch_size
        words = call.timestamps == "word"
        aligner = self._align() if words else None
        return call, Plan(decode, segmenter, size, call.guards, words, call.progress, call.stop, aligner)

    def _pipeline(self, plan: Plan) -> Pipeline:
        whose = f"{self._registry.describe('encoder', self.parts.encoder)} on backend {self.backend.name!r}"
        parts = attrs.evolve(self.parts, frontend=self._watched("frontend"), dialect=self._watched("dialect"))
        return Pipeline(parts, self.backend, Watched(self.encode, whose), self._lock, plan)

    def _watched(self, kind: str) -> Any:
        """A part of the model, whose mistakes are told with its name and its plugin."""
        part = getattr(self.parts, kind)
        return Watched(part, self._registry.describe(kind, part))

    def option_names(self, strategy: str | None = None, segmenter: str | None = None) -> list[str]:
        """Names of the options that :meth:`outcomes` takes."""
        meant = self._registry.meant
        owners = self._owners(
            strategy or meant("strategy", self.parts.strategy), segmenter or meant("segmenter", self.parts.segmenter)
        )
        return sorted({name for _, names in owners for name in names})

    def _owners(self, strategy: str, segmenter: str) -> list[tuple[str, tuple[str, ...]]]:
        """Who takes which options: the dialect, the strategy, the segmenter."""
        return [
            (f"model {self.name!r}", option_names(self.parts.dialect.Options)),
            (f"strategy {strategy!r}", option_names(self._registry.get("strategy", strategy).load())),
            (f"segmenter {segmenter!r}", option_names(self._registry.get("segmenter", segmenter).load())),
        ]

    def _sort(self, options: Mapping[str, Any], call: Call) -> list[dict[str, Any]]:
        """Options for the dialect, for the strategy and for the segmenter."""
        return share_options(options, self._owners(call.strategy, call.segmenter), self._settings)

    def _ask(self, wishes: dict[str, Any], call: Call) -> tuple[Any, tuple[Notice, ...]]:
        """What is asked of a recording, with notices about what was assumed."""
        dialect = self._watched("dialect")
        asked, notices = dialect.resolve(wishes)
        if call.timestamps == "word":
            dialect.timed(asked)
        elif call.timestamps == "segment" and not call.listens and not self._knows_times(asked):
            raise OptionError(
                "the model gives no times for this, and nobody listens for speech: segment times need the segmenter "
                "'pauses' with vad 'silero' or 'energy'"
            )
        own = self.parts.strategy_notices if call.strategy == self.parts.strategy else ()
        return asked, (*self.parts.notices, *own, *notices)

    def _knows_times(self, asked: Any) -> bool:
        """Whether every answer tells times, without being asked for them."""
        try:
            return self.parts.aligner is None and bool(self.parts.dialect.timed(asked) == asked)
        except OptionError:
            return False

    def _decode(self, name: str, options: dict[str, Any]) -> Decode:
        entry = self._registry.get("strategy", name)
        what = f"{entry} on backend {self.backend.name!r}"
        strategy = build_options(entry.load(), options, f"strategy {name!r}")
        if not hasattr(strategy, "decodes"):
            raise PluginError(f"strategy {name!r} does not say what it decodes: it needs a class attribute 'decodes'")
        with blaming(what):
            fits = isinstance(self.parts.decoder, strategy.decodes)
        if not fits:
            raise OptionError(
                f"strategy {name!r} decodes with a {strategy.decodes.__name__}, which model {self.name!r} has not; "
                f"its own strategy is {self.parts.strategy!r}"
            )
        with self._lock:
            key = (name, strategy)
            if key not in self._bound:
                with blaming(what):
                    self._bound[key] = Watched(strategy.bind(self.parts.decoder, self.backend), what)
            return self._bound[key]

    def _align(self) -> Aligner | None:
        """The model's aligner, if it has one; built the first time, since many calls never need it."""
        with self._lock:
            if self._aligner is None and self.parts.aligner is not None:
                with blaming(f"the aligner of model {self.name!r}"):
                    aligner = self.parts.aligner()
                self._aligner = Watched(aligner, self._registry.describe("aligner", aligner))
            return self._aligner

    def _run(self, sources: Iterable[Any], call: Call, plan: Plan) -> Iterator[Transcript | Failure]:
        for job, event in self._pipeline(plan).run(self._openers(sources, call)):
            if isinstance(event, Failure):
                yield event
            elif event is None:
                yield self._transcript(job, merge(job.settled), call)

    def _openers(self, sources: Iterable[Any], call: Call) -> Iterator[tuple[str, Callable[[], Opened]]]:
        for source in sources:
            given = source if isinstance(source, Recording) else Recording(source)
            name = describe(given.source)
            yield name, partial(self._open, given, call, name)

    def _open(self, given: Recording, call: Call, name: str) -> Opened:
        """Open one recording and work out what is asked of it."""
        asked, notices = self._ask(self._own(given, call, name), call)
        source = given.source
        if isinstance(source, np.ndarray):
            if call.rate is None:
                raise OptionError("an array of samples needs its rate: rate=16000, or (samples, 16000)")
            source = (source, call.rate)
        elif call.rate is not None:
            raise OptionError("rate is for bare arrays; other audio brings its own")
        rate = self.parts.frontend.rate
        stream = audio.open_audio(source, rate, channel=call.channel, offset=given.offset, duration=given.duration)
        return Opened(name, stream, asked, given.offset, notices)

    def _own(self, given: Recording, call: Call, name: str) -> dict[str, Any]:
        """The wishes for one recording: its own before those of the call."""
        wishes, *others = self._sort(given.options, call)
        if wrong := [option for other in others for option in other]:
            raise OptionError(f"{name}: option {listed(wrong)} is one of the whole call, not of one recording")
        return {**call.wishes, **wishes}

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

    def _transcript(self, job: Job, passage: Passage, call: Call) -> Transcript:
        assert job.source is not None
        asked = job.source.asked
        return Transcript(
            file=job.name,
            model=self.name,
            backend=self.backend.name,
            precision=self.precision,
            language=getattr(asked, "language", None),
            target_language=getattr(asked, "target_language", None),
            task=getattr(asked, "task", None),
            duration=job.duration,
            text=passage.text,
            raw_text=passage.raw_text,
            segments=() if call.timestamps == "none" else self._inside(job, passage.segments),
            tokens=passage.tokens,
            warnings=(*job.notices, *passage.notices),
            timing=job.timing(self._load_time),
            revision=self._revision,
            confidences=passage.confidences,
            alternatives=passage.alternatives,
        )

    def _inside(self, job: Job, segments: Sequence[Segment]) -> tuple[Segment, ...]:
        """Times within the part of the file that was read; rounding may have put one a hair outside."""
        assert job.source is not None
        begin = job.source.offset
        return tuple(onward(segment, begin, begin + job.duration) for segment in segments)
