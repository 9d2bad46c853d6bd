"""The segmenter that cuts where nobody speaks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import attrs
import numpy as np

from asrkit.segmenters.cutter import Cutter
from asrkit.segmenters.detectors import check_detector, choose_detector
from asrkit.segmenters.joining import part
from asrkit.segmenters.limits import check_limits, clip_limits
from asrkit.values import Clip, Heard

__all__ = ["Pauses"]


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
    """Seconds of the longest clip; by default what the model is meant for."""
    overlap: float | None = None
    """Seconds that two clips share where there was no pause between them; by default two, or a quarter of a clip."""

    uncut: bool = True
    """Leave a recording that fits the model in one piece, which is only known at its end. A stream does not wait."""

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
        return self._split(blocks, rate, *clip_limits(self.max_segment, self.overlap, longest))

    def _split(self, blocks: Iterable[np.ndarray], rate: int, limit: float, overlap: float) -> Iterator[Clip]:
        detector, notices = choose_detector(self.vad, rate)
        cutter = Cutter(detector, notices, rate, limit, overlap)
        held: list[Clip] = []
        start: list[np.ndarray] = []
        count, short = 0, self.uncut
        for block in blocks:
            count += len(block)
            short = short and count <= limit * rate
            held += cutter.hear(block)
            if short:
                start.append(block)
                continue
            yield from held
            held, start = [], []
        held += cutter.end()
        yield from [_one(held, np.concatenate(start), rate, cutter)] if short and start else held

    def part(self, left: Heard, right: Heard) -> tuple[Heard, Heard]:
        """What each of two clips contributes."""
        return part(left, right)


def _one(clips: Sequence[Clip], samples: np.ndarray, rate: int, cutter: Cutter) -> Clip:
    """All of a short recording, with the speech in its clips."""
    spans = tuple(span for clip in clips for span in clip.spans or ()) if cutter.detector is not None else None
    return Clip(samples, 0.0, spans, sure=cutter.sure, notices=cutter.notices, rate=rate)
