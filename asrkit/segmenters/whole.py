"""The segmenter that does not cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs
import numpy as np

from asrkit.segmenters.joining import join
from asrkit.values import Clip, Passage

__all__ = ["Whole"]


@attrs.frozen
class Whole:
    """Decode a recording in one piece, whatever its length."""

    def split(self, blocks: Iterable[np.ndarray], rate: int, longest: float) -> Iterator[Clip]:
        """One clip with everything."""
        yield Clip(np.concatenate(list(blocks)), rate=rate)

    def join(self, clips: list[Clip], passages: list[Passage]) -> Passage:
        """The one passage."""
        return join(clips, passages)
