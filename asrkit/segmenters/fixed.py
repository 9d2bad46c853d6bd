"""The segmenter that cuts by the clock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs
import numpy as np

from asrkit.segmenters.joining import part
from asrkit.segmenters.limits import check_limits, clip_limits
from asrkit.values import Clip, Heard

__all__ = ["Fixed"]


@attrs.frozen
class Fixed:
    """Cut into windows of one length, each of which begins before the last one ends. Nobody listens for speech."""

    max_segment: float | None = None
    """Seconds of a window; by default what the model is meant for."""
    overlap: float | None = None
    """Seconds that two windows share; by default two, or a quarter of a window."""

    def __attrs_post_init__(self) -> None:
        check_limits(self.max_segment, self.overlap)

    listens = False

    def split(self, blocks: Iterable[np.ndarray], rate: int, longest: float) -> Iterator[Clip]:
        """Windows, as soon as their samples are there; the last one is shorter."""
        return self._split(blocks, rate, *clip_limits(self.max_segment, self.overlap, longest))

    def _split(self, blocks: Iterable[np.ndarray], rate: int, limit: float, overlap: float) -> Iterator[Clip]:
        size, step = int(limit * rate), int(limit * rate) - round(overlap * rate)
        samples, begin, shared = np.zeros(0, np.float32), 0, 0
        for block in blocks:
            samples = np.concatenate([samples, block])
            while len(samples) > size:
                yield Clip(samples[:size].copy(), begin / rate, overlap=shared / rate, rate=rate)
                samples, begin, shared = samples[step:], begin + step, size - step
        yield Clip(samples, begin / rate, overlap=shared / rate, rate=rate)

    def part(self, left: Heard, right: Heard) -> tuple[Heard, Heard]:
        """What each of two windows contributes."""
        return part(left, right)
