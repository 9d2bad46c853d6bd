"""Cuts a recording while it is heard: where clips begin and end."""

from __future__ import annotations

import attrs
import numpy as np

from asrkit.segmenters.detectors import Detector
from asrkit.segmenters.spans import BEGIN, best_pause, quietest, spans_of
from asrkit.values import Clip, Notice

__all__ = ["Cutter"]

PAD = 0.2
"""Seconds that are kept before and after speech: detectors are late with soft sounds."""
BRIDGE = 0.2
"""Seconds of a gap that does not count as a pause."""
SURE_PAUSE = 0.4
"""Seconds of a gap in which nobody speaks for sure, so that no word is cut in two."""
LEAST = 0.1
"""Seconds of the shortest speech."""
LONG_PAUSE = 2.0
"""Seconds of a pause that ends a clip, however short."""
GOOD_PAUSE = 1.0
"""Seconds beyond which a pause is no better place for a cut."""
EARLIEST = 1 / 3
"""Share of a window before which it is not cut at an ordinary pause."""
GRID = 16
"""Hops from one look for a long pause to the next."""
SPOKEN, MOST_GAIN = 0.03, 30.0
"""Root mean square of a loud hop of speech, and how many times louder a quiet recording is made for the detector."""
SILENT = 1e-6


class Cutter:
    """What was heard since the last cut, and what the detector says of it."""

    def __init__(
        self, detector: Detector | None, notices: tuple[Notice, ...], rate: int, limit: float, overlap: float
    ) -> None:
        self.rate, self.detector, self.notices = rate, detector, notices
        self.hop = detector.hop if detector is not None else max(rate * 32 // 1000, 1)
        self.limit = max(int(limit * rate) // self.hop - 1, 4)
        self.shared = self._hops(overlap)
        self.sure = detector is not None and detector.sure
        self._room = np.zeros(0, np.float32)
        self._count = 0
        self.speech = np.zeros(0, np.float32)
        """Probability of each whole hop of the samples."""
        self.begin = 0
        """Where the samples begin in the recording, a whole number of hops."""
        self.overlap = 0
        """Hops at the beginning of the samples that the last clip had too."""
        self.cut = False
        """Whether anything was cut off yet."""
        self.loudest = SILENT
        """Root mean square of the loudest hop so far."""

    def _hops(self, seconds: float) -> int:
        return round(seconds * self.rate / self.hop)

    @property
    def samples(self) -> np.ndarray:
        """(S,) what was heard since the last cut."""
        return self._room[: self._count]

    def hear(self, block: np.ndarray) -> list[Clip]:
        """Take samples in; give the clips that are certain."""
        clips = []
        while len(block):
            # What is cut off may not depend on the size of blocks, so it is decided at the same places for any.
            known = self.begin // self.hop + len(self.speech)
            stop = min(self.limit + 1, (known // GRID + 1) * GRID - self.begin // self.hop)
            room = stop * self.hop - self._count
            self._append(block[:room])
            block = block[room:]
            self._detect()
            if len(self.speech) < stop:
                break
            while len(self.speech) > self.limit:
                clips.append(self._window())
            clips.append(self._silence())
        return [clip for clip in clips if clip is not None]

    def _append(self, block: np.ndarray) -> None:
        if self._count + len(block) > len(self._room):
            room = np.empty(2 * (self._count + len(block)), np.float32)
            room[: self._count] = self.samples
            self._room = room
        self._room[self._count : self._count + len(block)] = block
        self._count += len(block)

    def _detect(self) -> None:
        known = len(self.speech) * self.hop
        whole = (self._count - known) // self.hop * self.hop
        if not whole:
            return
        fresh = np.ones(whole // self.hop, np.float32)
        if self.detector is not None:
            hops = self.samples[known : known + whole].reshape(-1, self.hop)
            # Quiet recordings are made louder for the detector, as if the loudest so far were ordinary speech.
            levels = np.maximum.accumulate([self.loudest, *np.sqrt(np.mean(np.square(hops, dtype=np.float64), axis=1))])
            self.loudest = float(levels[-1])
            gains = np.clip(SPOKEN / levels[1:], 1.0, MOST_GAIN).astype(np.float32)
            fresh = self.detector((hops * gains[:, None]).reshape(-1))
        self.speech = np.concatenate([self.speech, fresh])

    def _silence(self) -> Clip | None:
        """Cut off what came before a long pause, as soon as the pause is long enough."""
        long = self._hops(LONG_PAUSE)
        if len(self.speech) < long or self.speech[-long:].max() >= BEGIN:
            return None
        spans, pad = self._spans(), self._hops(PAD)
        if not spans:
            if not self.overlap:
                self._drop(len(self.speech) - long)
            return None
        if len(self.speech) - spans[-1][1] < long:
            return None
        start = 0 if self.overlap else max(spans[0][0] - pad, 0)
        self._drop(start)
        return self._take(spans[-1][1] - start + pad, len(self.speech) - pad)

    def _spans(self) -> list[tuple[int, int]]:
        return spans_of(self.speech, self._hops(BRIDGE), self._hops(LEAST))

    def _window(self) -> Clip | None:
        """Cut off one clip, or silence."""
        spans, pad = self._spans(), self._hops(PAD)
        if not spans:
            self._drop(len(self.speech) - pad)
            return None
        start = 0 if self.overlap else max(spans[0][0] - pad, 0)
        if start:
            self._drop(start)
            return None  # there may be room for more now
        enough = self._hops(GOOD_PAUSE)
        # A shorter gap may be a consonant that was not heard: cut there with an overlap, like anywhere else.
        spans = spans_of(self.speech, self._hops(SURE_PAUSE), self._hops(LEAST))
        cut = best_pause(spans, int(self.limit * EARLIEST), self.limit, enough)
        if cut is None and spans[-1][1] + pad <= self.limit:
            cut = spans[-1][1] + pad
        if cut is None:
            cut = best_pause(spans, enough, self.limit, enough)  # a short clip is better than a cut through speech
        if cut is not None:
            return self._take(cut, cut)
        half = self.shared // 2
        # Late enough that the clips before and after this one do not meet in it.
        earliest = min(max(self.limit * 2 // 3 - half, 3 * half + 1), self.limit - half - 1)
        middle = quietest(self.samples, self.hop, earliest, self.limit - half)
        return self._take(middle + half, middle - half)

    def end(self) -> list[Clip]:
        """What is left; nothing if nobody speaks in it, unless it is all there is."""
        spans, pad = self._spans(), self._hops(PAD)
        if not self.cut:
            return [self._clip(self._count, spans)]
        if not spans:
            return []
        self._drop(0 if self.overlap else max(spans[0][0] - pad, 0))
        spans = self._spans()
        last = spans[-1][1] + pad
        return [self._clip(self._count if last >= len(self.speech) else last * self.hop, spans)]

    def _take(self, upto: int, onward: int) -> Clip:
        """The clip of the first hops; the next begins at ``onward``."""
        clip = attrs.evolve(self._clip(upto * self.hop, self._spans()), closed=upto <= onward)
        self._drop(onward)
        self.overlap = max(upto - onward, 0)
        return clip

    def _clip(self, samples: int, spans: list[tuple[int, int]]) -> Clip:
        begin, step, end = self.begin / self.rate, self.hop / self.rate, samples / self.rate
        inside = [(max(first * step, 0.0), min(last * step, end)) for first, last in spans if first * step < end]
        spoken = tuple((begin + first, begin + last) for first, last in inside)
        return Clip(
            self.samples[:samples].copy(),
            begin,
            None if self.detector is None else spoken,
            self.overlap * step,
            sure=self.sure,
            notices=self.notices,
            rate=self.rate,
        )

    def _drop(self, hops: int) -> None:
        if hops <= 0:
            return
        self._room = self.samples[hops * self.hop :].copy()
        self._count = len(self._room)
        self.speech = self.speech[hops:]
        self.begin += hops * self.hop
        self.overlap = max(self.overlap - hops, 0)
        self.cut = True
