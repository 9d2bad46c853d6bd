"""The segmenter that does not cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs
import numpy as np

from asrkit.segmenters.joining import part
from asrkit.values import Clip, Heard

__all__ = ["Whole"]


@attrs.frozen
class Whole:
    """Decode a recording in one piece, whatever its length."""

    listens = False

    def split(self, blocks: Iterable[np.ndarray], rate: int, longest: float) -> Iterator[Clip]:
        """One clip with everything."""
        yield Clip(np.concatenate(list(blocks)), rate=rate)

    def part(self, left: Heard, right: Heard) -> tuple[Heard, Heard]:
        """What each of two clips contributes."""
        return part(left, right)
