"""From probabilities of speech to stretches of it, and from these to the place where a recording is cut."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

__all__ = ["BEGIN", "best_pause", "quietest", "spans_of"]

Span = tuple[int, int]
"""First hop, and the one after the last."""

BEGIN, GO_ON = 0.5, 0.35
"""Probability from which speech begins, and down to which it goes on. Source: Silero's own defaults."""


def spans_of(probabilities: np.ndarray, bridge: int, least: int) -> list[Span]:
    """Stretches of speech.

    Args:
        probabilities: one a hop.
        bridge: gaps of up to so many hops are part of the speech around them.
        least: hops a stretch must have, after that.
    """
    spans: list[Span] = []
    speaking = False
    for hop, probability in enumerate(probabilities):
        if not speaking and probability >= BEGIN:
            speaking = True
            if spans and hop - spans[-1][1] <= bridge:
                spans[-1] = (spans[-1][0], hop + 1)
            else:
                spans.append((hop, hop + 1))
        elif speaking and probability >= GO_ON:
            spans[-1] = (spans[-1][0], hop + 1)
        else:
            speaking = False
    return [span for span in spans if span[1] - span[0] >= least]


def best_pause(spans: Sequence[Span], first: int, last: int, enough: int) -> int | None:
    """The hop in the middle of the pause to cut at, or None if nobody pauses.

    A long pause is more probably the end of a sentence; a late one makes fewer cuts. Beyond ``enough`` hops a pause
    gets no better by being longer.

    Args:
        spans: stretches of speech.
        first: a cut before this hop would leave a short piece.
        last: the latest hop to cut at.
    """
    best: tuple[float, int] | None = None
    for (_, end), (start, _) in itertools.pairwise(spans):
        middle = (end + start) // 2
        if not first <= middle <= last:
            continue
        score = min(start - end, enough) / enough + middle / last
        if best is None or score > best[0]:
            best = score, middle
    return best[1] if best else None


def quietest(samples: np.ndarray, hop: int, first: int, last: int) -> int:
    """The hop between two limits around which about a tenth of a second is quietest: between two words, if possible.

    Args:
        samples: (S,) from hop 0 on.
        hop: samples of each.
    """
    piece = samples[first * hop : last * hop]
    powers = np.square(piece, dtype=np.float64).reshape(-1, hop).sum(axis=1)
    around = np.convolve(powers, [1, 2, 1], mode="same")
    return first + int(np.argmin(around))
