"""The segmenter that cuts where nobody speaks."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import attrs
import numpy as np

from asrkit.segmenters.detectors import Detector, check_detector, choose_detector
from asrkit.segmenters.joining import part
from asrkit.segmenters.limits import check_limits, clip_limits
from asrkit.segmenters.spans import best_pause, quietest, spans_of
from asrkit.values import Clip, Heard, Notice

__all__ = ["Pauses"]

PAD = 0.2
"""Seconds that are kept before and after speech: detectors are late with soft sounds."""
BRIDGE = 0.2
"""Seconds of a gap that does not count as a pause."""
LEAST = 0.1
"""Seconds of the shortest speech."""
LONG_PAUSE = 2.0
"""Seconds of a pause that ends a clip, however short."""
GOOD_PAUSE = 1.0
"""Seconds beyond which a pause is no better place for a cut."""
EARLIEST = 1 / 3
"""Share of a window before which it is not cut at an ordinary pause."""


@attrs.frozen
class Pauses:
    """Cut at pauses; what fits the model is one clip as it is.

    Speech is packed into windows as long as the model takes. A window ends in the middle of a pause, the longer and
    later the better. Where somebody talks on without a pause, it ends at the quietest point, and the next one begins
    a little earlier, so that no word is cut in both. Long stretches without speech are left out.
    """

    vad: str = "silero"
    """What detects speech: ``silero``, ``energy``, or ``none``, which cuts at the quietest points only."""
    max_segment: float | None = None
    """Seconds of the longest clip; by default what the model was trained on."""
    overlap: float | None = None
    """Seconds that two clips share where there was no pause between them; by default two, or a quarter of a clip."""

    def __attrs_post_init__(self) -> None:
        check_limits(self.max_segment, self.overlap)
        check_detector(self.vad)

    @property
    def listens(self) -> bool:
        """Whether speech is detected."""
        return self.vad != "none"

    def split(self, blocks: Iterable[np.ndarray], rate: int, longest: float) -> Iterator[Clip]:
        """Clips of a recording, as soon as they are certain; of the recording only about one window is kept.

        Args:
            blocks: (S,) float32, one after another.
            rate: Hz.
            longest: seconds that the model takes in one piece.
        """
        limit, overlap = clip_limits(self.max_segment, self.overlap, longest)
        detector, notices = choose_detector(self.vad, rate)
        cutter = _Cutter(detector, notices, rate, limit, overlap)
        for block in blocks:
            yield from cutter.hear(block)
        yield from cutter.end()

    def part(self, left: Heard, right: Heard) -> tuple[Heard, Heard]:
        """What each of two clips contributes."""
        return part(left, right)


class _Cutter:
    """What was heard since the last cut, and what the detector says of it."""

    def __init__(
        self, detector: Detector | None, notices: tuple[Notice, ...], rate: int, limit: float, overlap: float
    ) -> None:
        self.rate, self.detector, self.notices = rate, detector, notices
        self.hop = detector.hop if detector is not None else max(rate * 32 // 1000, 1)
        self.limit = max(int(limit * rate) // self.hop, 4) if limit < 1e9 else None
        self.shared = self._hops(overlap)
        self.samples = np.zeros(0, np.float32)
        self.speech = np.zeros(0, np.float32)
        """Probability of each whole hop of the samples."""
        self.begin = 0
        """Where the samples begin in the recording, a whole number of hops."""
        self.overlap = 0
        """Hops at the beginning of the samples that the last clip had too."""
        self.cut = False
        """Whether anything was cut off yet."""
        self.looked = 0

    def _hops(self, seconds: float) -> int:
        return round(seconds * self.rate / self.hop)

    def hear(self, block: np.ndarray) -> Iterator[Clip]:
        """Take samples in; give the clips that are certain."""
        while len(block):
            # Never more than it takes to decide on a cut: where cuts lie must not depend on the size of blocks.
            room = len(block) if self.limit is None else (self.limit + 1) * self.hop - len(self.samples)
            self.samples = np.concatenate([self.samples, block[:room]])
            block = block[room:]
            self._detect()
            while self.limit is not None and len(self.speech) > self.limit:
                clip = self._window()
                if clip is not None:
                    yield clip

    def _detect(self) -> None:
        known = len(self.speech) * self.hop
        whole = (len(self.samples) - known) // self.hop * self.hop
        if whole:
            heard = self.samples[known : known + whole]
            fresh = self.detector(heard) if self.detector is not None else np.ones(whole // self.hop, np.float32)
            self.speech = np.concatenate([self.speech, fresh])

    def _spans(self) -> list[tuple[int, int]]:
        return spans_of(self.speech, self._hops(BRIDGE), self._hops(LEAST))

    def _window(self) -> Clip | None:
        """Cut off one clip, or silence."""
        assert self.limit is not None
        spans, pad = self._spans(), self._hops(PAD)
        if not spans:
            self._drop(len(self.speech) - pad)
            return None
        start = 0 if self.overlap else max(spans[0][0] - pad, 0)
        if start:
            self._drop(start)
            return None  # there may be room for more now
        for (_, end), (following, _) in itertools.pairwise(spans):
            if following - end >= self._hops(LONG_PAUSE) and end + pad <= self.limit:
                return self._take(end + pad, following - pad)
        enough = self._hops(GOOD_PAUSE)
        cut = best_pause(spans, int(self.limit * EARLIEST), self.limit, enough)
        if cut is None and spans[-1][1] + pad <= self.limit:
            cut = spans[-1][1] + pad
        if cut is None:
            cut = best_pause(spans, enough, self.limit, enough)  # a short clip is better than a cut through speech
        if cut is not None:
            return self._take(cut, cut)
        half = self.shared // 2
        middle = quietest(self.samples, self.hop, max(self.limit * 2 // 3 - half, half + 1), self.limit - half)
        return self._take(middle + half, middle - half)

    def end(self) -> Iterator[Clip]:
        """What is left."""
        pad = self._hops(PAD)
        if not self.cut:
            yield self._clip(len(self.samples), self._spans())
            return
        spans = self._spans()
        if not spans and not self.overlap:
            return
        start = 0 if self.overlap else max(spans[0][0] - pad, 0)
        self._drop(start)
        spans = self._spans()
        last = spans[-1][1] + pad if spans else len(self.speech)
        yield self._clip(len(self.samples) if last >= len(self.speech) else last * self.hop, spans)

    def _take(self, upto: int, onward: int) -> Clip:
        """The clip of the first hops; the next begins at ``onward``."""
        clip = self._clip(upto * self.hop, self._spans())
        self._drop(onward)
        self.overlap = max(upto - onward, 0)
        return clip

    def _clip(self, samples: int, spans: list[tuple[int, int]]) -> Clip:
        begin, step, end = self.begin / self.rate, self.hop / self.rate, samples / self.rate
        inside = [(max(first * step, 0.0), min(last * step, end)) for first, last in spans if first * step < end]
        return Clip(
            self.samples[:samples].copy(),
            begin,
            None if self.detector is None else tuple((begin + first, begin + last) for first, last in inside),
            self.overlap * step,
            self.detector is not None and self.detector.sure,
            self.notices,
            self.rate,
        )

    def _drop(self, hops: int) -> None:
        if hops <= 0:
            return
        self.samples, self.speech = self.samples[hops * self.hop :], self.speech[hops:]
        self.begin += hops * self.hop
        self.overlap = max(self.overlap - hops, 0)
        self.cut = True
