"""Text of segments in units that are never cut: words, or characters in scripts that write no spaces.

Each unit has its times: from the model's words where there are any, else in proportion to its place in the segment.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate

import attrs

from asrkit.values import Segment, Word

__all__ = ["Unit", "join", "units", "width"]

BLANKS = re.compile(r"[^\S\u00a0\u2007\u202f]+")
"""White space at which a line may break, which is all but the no-break spaces."""


@attrs.frozen
class Unit:
    """A stretch of text that is never cut, with its times in milliseconds."""

    text: str
    start: int
    end: int
    spaced: bool
    """Whether a space stands between it and the unit before."""
    ends_segment: bool

    width: int = attrs.field(init=False)
    """Columns."""

    @width.default
    def _measured(self) -> int:
        return width(self.text)


def units(segments: Iterable[Segment], latest: int) -> list[Unit]:
    """All text of the segments, in order; starts never go back.

    Args:
        latest: milliseconds; no time lies beyond it.
    """
    found: list[Unit] = []
    earliest = 0
    for segment in segments:
        parts = [(part, n == 0) for token in BLANKS.split(segment.text) for n, part in enumerate(_parts(token.strip()))]
        if not parts:
            continue
        timeline = _timeline(segment, earliest, latest)
        sizes = [_size(part) for part, _ in parts]
        reached = list(accumulate((span[2] for span in timeline), initial=0))
        scale = reached[-1] / sum(sizes)  # 1 unless the words are others than those of the text
        done = 0
        for n, ((text, first), size) in enumerate(zip(parts, sizes, strict=True)):
            start = _time(timeline, reached, done * scale, bisect_right)
            end = _time(timeline, reached, (done + size) * scale, bisect_left)
            spaced = first and not (found and n == 0 and _dense(found[-1].text[-1]) and _dense(text[0]))
            found.append(Unit(text, start, end, spaced, n == len(parts) - 1))
            done += size
        earliest = found[-1].start
    return found


def _timeline(segment: Segment, earliest: int, latest: int) -> list[tuple[int, int, int]]:
    """(start, end, characters) of the words, or of the segment if it has none; starts rise and ends respect them."""
    words = [word for word in segment.words if _size(word.text)] or [Word(segment.text, segment.start, segment.end)]
    found: list[tuple[int, int, int]] = []
    for word in words:
        start = max(round(min(word.start * 1000, latest)), earliest)
        end = max(round(min(word.end * 1000, latest)), start)
        size = _size(word.text)
        if found and found[-1][0] == start:  # words that share a start share the time until the last of them ends
            _, before, more = found.pop()
            end, size = max(before, end), more + size
        found.append((start, end, size))
        earliest = start
    starts = [start for start, _, _ in found[1:]] + [latest]
    return [(start, min(end, following), size) for (start, end, size), following in zip(found, starts, strict=True)]


def _time(
    timeline: Sequence[tuple[int, int, int]],
    reached: Sequence[int],
    position: float,
    bisect: Callable[[Sequence[float], float], int],
) -> int:
    """The time at a position in characters: where two words meet, the first one's end or the second one's start."""
    n = min(max(bisect(reached, position) - 1, 0), len(timeline) - 1)
    start, end, size = timeline[n]
    return round(start + (end - start) * min((position - reached[n]) / size, 1.0))


def _parts(token: str) -> Iterator[str]:
    """A word, taken apart between characters where the script writes no spaces."""
    part = ""
    for character in token:
        if part and (_dense(part[-1]) or _dense(character)) and unicodedata.category(character)[0] not in "MC":
            yield part
            part = ""
        part += character
    if part:
        yield part


@lru_cache(4096)
def _dense(character: str) -> bool:
    """Whether a character is of a script without spaces: Han, kana and the punctuation of their width, not Hangul."""
    kinds = {"W": "LP", "F": "P"}.get(unicodedata.east_asian_width(character), "")
    return unicodedata.category(character)[0] in kinds and not unicodedata.name(character, "").startswith("HANGUL")


def width(text: str) -> int:
    """How many columns a text fills where every character fills one, wide ones two, and combining ones none."""
    return sum(map(_columns, text))


@lru_cache(4096)
def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _size(text: str) -> int:
    """How many characters are no white space."""
    return sum(map(len, text.split()))


def join(units: Sequence[Unit]) -> str:
    """The text of successive units."""
    return units[0].text + "".join(" " * unit.spaced + unit.text for unit in units[1:])
