"""How long a clip may be, and how much of it the next one shares."""

from __future__ import annotations

from asrkit.errors import OptionError

__all__ = ["LONGEST_UNKNOWN", "MOST_SHARED", "check_limits", "clip_limits"]

LONGEST_UNKNOWN = 1200.0
"""Seconds of a clip at most, where a model does not say how long one may be: it has to be in memory at once."""
MOST_SHARED = 2.0
"""Seconds that two clips share unless somebody says otherwise, or a quarter of a short clip: some five words."""


def check_limits(max_segment: float | None, overlap: float | None) -> None:
    """Refuse what no model could make sense of.

    Raises:
        OptionError: a number of seconds cannot be.
    """
    if max_segment is not None and not 1 <= max_segment < 1e6:
        raise OptionError(f"max_segment is a number of seconds from 1 on, found {max_segment:g}")
    if overlap is not None and not 0 <= overlap < 1e6:
        raise OptionError(f"overlap is a number of seconds from 0 on, found {overlap:g}")


def clip_limits(max_segment: float | None, overlap: float | None, longest: float) -> tuple[float, float]:
    """Seconds of the longest clip, and those that two clips share.

    Args:
        max_segment, overlap: what was asked for.
        longest: what the model is meant for.

    Raises:
        OptionError: they do not go together.
    """
    longest = min(longest, LONGEST_UNKNOWN)
    if max_segment is not None and max_segment > longest:
        raise OptionError(f"max_segment is at most {longest:g} s, what the model takes, found {max_segment:g}")
    limit = longest if max_segment is None else max_segment
    shared = min(MOST_SHARED, limit / 4) if overlap is None else overlap
    if shared > limit / 2:
        raise OptionError(f"overlap is at most half of a clip, {limit / 2:g} s here, found {shared:g}")
    return limit, shared
