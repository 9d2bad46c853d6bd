"""The segmenter that does not cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
import numpy as np

from asrkit.values import Clip, Passage

__all__ = ["Whole"]


@attrs.frozen
class Whole:
    """Decode a recording in one piece, whatever its length."""

    def split(self, samples: np.ndarray, rate: int) -> Iterator[Clip]:
        """One clip with everything."""
        yield Clip(samples)

    def join(self, passages: Sequence[Passage]) -> Passage:
        """Texts in order with a space between them."""
        if len(passages) == 1:
            return passages[0]
        return Passage(
            text=" ".join(passage.text for passage in passages if passage.text),
            raw_text=" ".join(passage.raw_text for passage in passages),
            tokens=tuple(token for passage in passages for token in passage.tokens),
            segments=tuple(segment for passage in passages for segment in passage.segments),
            notices=tuple(notice for passage in passages for notice in passage.notices),
        )
