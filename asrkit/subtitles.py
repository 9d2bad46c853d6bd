"""Subtitles: the text of a transcript as cues, short stretches of lines with their times.

Where cues and their lines break is what costs least. Both searches are the same one, over partitions of units.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

import attrs

from asrkit.errors import OptionError, UsageError
from asrkit.timed_units import Unit, join, units, width
from asrkit.values import Segment, Transcript

__all__ = ["Cue", "Layout", "cues", "only", "spans", "timestamp"]

# Practice that is much the same everywhere. Netflix's Timed Text Style Guide: 42 characters a line, 2 lines, 5/6 of a
# second to 7 seconds, 2 frames between subtitles, 17 characters a second for adults.
SPEED = 17
"""Characters a second that are read with ease: cues last as long as this needs, where there is silence after them."""
FAST = 21
"""Characters a second beyond which a text is hardly read."""
SHORTEST = 1000
"""Milliseconds that a cue lasts at least, if the next one leaves it the time."""
LONGEST = 7000
"""Milliseconds that a cue lasts at most."""
GAP = 83
"""Milliseconds between cues, 2 frames of 24 a second, if that leaves the first one long enough."""
PAUSE = 300
"""Milliseconds of silence at which it is good to break."""
SILENCE = 1000
"""Milliseconds of silence that no cue goes across."""

SENTENCE_ENDS = frozenset(".!?…。！？؟।۔")
CLOSING = "\"'”’»)]」』）"
CLAUSE_ENDS = frozenset(",;:–—、，；：،؛")

# Costs of a break after a unit, by what is there. The scale is arbitrary; what counts is how they compare.
AFTER_SENTENCE, AFTER_PAUSE, AFTER_CLAUSE, ANYWHERE, FORBIDDEN = 0.0, 1.0, 2.0, 4.0, 40.0
ORPHAN = 3.0
"""Of a short word alone in a cue, without having been spoken alone."""
CROWDED = 6.0
"""Of a cue that, with full lines, breaks one where it is forbidden."""
LINE = 1e6
"""Of each line: more than all else together, so that a cue has as few as possible."""

Options = Callable[[int], Iterator[tuple[int, float]]]


@attrs.frozen
class Layout:
    """How much text a cue holds.

    Raises:
        OptionError: a number is not a whole one above 0.
    """

    max_line_width: int = 42
    """Characters; wide ones, such as Chinese, count twice. A word that is longer has a line for itself."""
    max_line_count: int = 2
    """Lines of a cue."""
    max_words_per_line: int | None = None
    """None for no limit. In scripts without spaces each character is a word."""

    def __attrs_post_init__(self) -> None:
        for name, value in attrs.asdict(self).items():
            if name == "max_words_per_line" and value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise OptionError(f"layout: option {name!r} is a whole number from 1, not {value!r}")


@attrs.frozen
class Cue:
    """What is shown at one time."""

    start: int
    """Milliseconds, the unit of the files, so that nothing is rounded twice."""
    end: int
    lines: tuple[str, ...]


def cues(transcript: Transcript, layout: Layout | None = None) -> tuple[Cue, ...]:
    """The cues of a transcript: all of its text, in order, none overlapping the next or leaving the recording.

    A cue never starts before its text is spoken, unless the model's times leave it no millisecond; it may stay after
    that, to be read.

    Args:
        layout: None for the usual one.
    """
    latest = int(transcript.duration * 1000)
    layout = layout or Layout()
    pieces = units(spans(transcript), latest)
    groups = _partition(pieces, _cue_options(pieces, layout, latest))
    lines = [tuple(map(join, _partition(group, _line_options(group, layout)))) for group in groups]
    return tuple(_timed(groups, lines, latest))


def only(transcripts: Iterable[Transcript], name: str) -> Transcript | None:
    """The transcript for a file that holds one recording; None where that recording failed.

    Args:
        name: the format, for the message.

    Raises:
        UsageError: there are several.
    """
    found = list(transcripts)
    if len(found) > 1:
        raise UsageError(f"a file of format {name!r} holds one recording, found {len(found)}; use --output-dir")
    return found[0] if found else None


def spans(transcript: Transcript) -> tuple[Segment, ...]:
    """The segments of a transcript; a text without any is one over the whole recording."""
    if transcript.segments or not transcript.text.strip():
        return transcript.segments
    return (Segment(transcript.text, 0.0, transcript.duration),)


def timestamp(milliseconds: int, separator: str) -> str:
    """``HH:MM:SS``, the separator and three digits; hours have more digits where they need them."""
    seconds, fraction = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{separator}{fraction:03}"


def _cost_after(text: str) -> float:
    if all(unicodedata.category(character) in ("Ps", "Pi") for character in text):
        return FORBIDDEN  # an opening bracket belongs to what follows
    mark = text.rstrip(CLOSING)[-1:]
    return AFTER_SENTENCE if mark in SENTENCE_ENDS else AFTER_CLAUSE if mark in CLAUSE_ENDS else ANYWHERE


def _break_costs(units: Sequence[Unit]) -> list[float]:
    """What a break before each unit costs; the outer ends are free."""
    costs = [0.0]
    judged = ANYWHERE
    for before, after in pairwise(units):
        if before.text.strip(CLOSING):  # else it is a quotation mark or bracket that closes what was judged before
            judged = _cost_after(before.text)
        cost = judged
        if all(unicodedata.category(character) in ("Po", "Pe", "Pf") for character in after.text):
            cost = FORBIDDEN  # nothing starts with a mark that belongs to what stands before it
        elif cost < FORBIDDEN and (before.ends_segment or after.start - before.end >= PAUSE):
            cost = min(cost, AFTER_PAUSE)
        costs.append(cost)
    return [*costs, 0.0]


def _cue_options(units: Sequence[Unit], layout: Layout, latest: int) -> Options:
    """The cues that can begin with a unit, and what they cost."""
    room = layout.max_line_width * layout.max_line_count
    breaks = _break_costs(units)

    def options(i: int) -> Iterator[tuple[int, float]]:
        lines, words, used, total, inside = 1, 0, 0, 0, 0.0
        for j in range(i + 1, len(units) + 1):
            unit = units[j - 1]
            if words:
                pause = unit.start - units[j - 2].end
                if pause >= SILENCE or unit.end - units[i].start > LONGEST:
                    return
                # What a reader would wait for, and what had better start a cue of its own.
                inside += (2 * pause / 1000 if pause >= PAUSE else 0) + 1.5 * (breaks[j - 1] == AFTER_SENTENCE)
            full = used + unit.spaced + unit.width > layout.max_line_width or words == layout.max_words_per_line
            if words and full:
                lines, words, used = lines + 1, 0, 0
                inside += CROWDED * (breaks[j - 1] == FORBIDDEN)
            if lines > layout.max_line_count:
                return
            used += unit.width + (unit.spaced and words > 0)
            total += unit.width + unit.spaced
            words += 1
            shown = min((units[j].start if j < len(units) else latest) - units[i].start, LONGEST)
            alone = j == i + 1 and max(breaks[i], breaks[j]) > AFTER_PAUSE and 3 * unit.width < layout.max_line_width
            yield j, 1 + breaks[j] + inside + 2 * (total / room) ** 2 + _haste(total, shown) + ORPHAN * alone

    return options


def _haste(columns: int, shown: int) -> float:
    """What it costs that a cue is shown for so few milliseconds."""
    speed = columns / max(shown, 50) * 1000
    short = 4 * max(0.0, 1 - shown / SHORTEST)
    return short + 0.2 * max(0.0, min(speed, FAST) - SPEED) + min(max(0.0, speed - FAST), FAST)


def _line_options(units: Sequence[Unit], layout: Layout) -> Options:
    """The lines that can begin with a unit, and what they cost: as few as possible, then even ones, well broken."""
    breaks = _break_costs(units)

    def options(i: int) -> Iterator[tuple[int, float]]:
        used = 0
        for j in range(i + 1, len(units) + 1):
            unit, words = units[j - 1], j - i
            used += unit.width + (unit.spaced and words > 1)
            if words > 1 and (used > layout.max_line_width or words > (layout.max_words_per_line or words)):
                return
            full = min(used / layout.max_line_width, 1.0)
            yield j, LINE + 10 * full**2 + breaks[j] / 2

    return options


def _partition(units: Sequence[Unit], options: Options) -> list[Sequence[Unit]]:
    """The cheapest way to cut units into stretches; ``options(i)`` gives (end, cost) of those that begin at i."""
    best = [0.0] + [math.inf] * len(units)
    came = [0] * len(best)
    for i in range(len(units)):
        for j, cost in options(i):
            if best[i] + cost < best[j]:
                best[j], came[j] = best[i] + cost, i
    found = []
    end = len(units)
    while end:
        found.append(units[came[end] : end])
        end = came[end]
    return found[::-1]


def _timed(groups: Sequence[Sequence[Unit]], lines: Sequence[tuple[str, ...]], latest: int) -> Iterator[Cue]:
    """Cues from groups of units: starts are those of the speech, ends are stretched to be read."""
    starts: list[int] = []
    for group in groups:
        starts.append(max(group[0].start, starts[-1] + 1 if starts else 0))
    limit = max(latest, len(starts))  # a millisecond each, whatever the model says
    following = limit
    for n in range(len(starts) - 1, -1, -1):
        starts[n] = min(starts[n], following - 1)
        following = starts[n]
    for n, (start, group) in enumerate(zip(starts, groups, strict=True)):
        room = limit - start if n == len(starts) - 1 else starts[n + 1] - start
        if n < len(starts) - 1 and room - GAP >= SHORTEST:
            room -= GAP
        reading = width(" ".join(lines[n])) * 1000 // SPEED
        wanted = max(group[-1].end - start, reading, SHORTEST)
        yield Cue(start, start + min(wanted, room, LONGEST), lines[n])
