"""One text out of the passages of many clips, each stretch of it with the times at which somebody spoke."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

from asrkit.alignment import without_marks
from asrkit.values import Clip, Heard, Notice, Passage, Segment, Word

__all__ = ["merge", "onward", "part", "seam", "spread", "timed"]

Span = tuple[float, float]

NEAR = 1.5
"""Seconds by which the times of the same word in two clips may differ, where they are estimated from speech; the time
of a word comes on top."""
ENDS, RESTS = (".", "?", "!", "…", "。", "？", "！"), (",", ";", ":", "–", "—", "，", "、")
END_BONUS, REST_BONUS = 1.5, 0.5
"""Seconds by which a word may be misplaced to end a stretch with the end of a sentence, or with a comma."""
LEFT_OUT = Notice("alternatives-left-out", "decoded in several clips, each with alternatives of its own: left out")
PAUSE = 0.5
"""Seconds between two stretches of speech that make them two segments."""


def part(left: Heard, right: Heard) -> tuple[Heard, Heard]:
    """Two neighbouring clips without what both heard: the words in their overlap are said once.

    Tokens and raw texts stay as the model gave them.
    """
    overlap = right.clip.overlap
    ours, theirs = _words(left), _words(right)
    if overlap <= 0 or not ours or not theirs:
        return left, right
    middle = right.clip.start + overlap / 2
    sure = _knows_times(left) and _knows_times(right)
    spacing = max(left.clip.seconds / len(ours), right.clip.seconds / len(theirs))
    found = seam(ours, theirs, middle, NEAR + spacing if sure else NEAR + spacing + overlap)
    if found is None and sure:
        # Nothing in common: what the one says after the middle and the other before it, a model heard at the edge.
        found = (
            sum(word.start + word.end < 2 * middle for word in ours),
            sum(word.start + word.end < 2 * middle for word in theirs),
        )
    if found is None:
        found = len(ours), 0  # a word that is there twice is better than one that is lost
    cut, onward = found
    return (
        Heard(_inside(left.clip, -math.inf, middle), _cut(left.passage, ours, 0, cut)),
        Heard(_inside(right.clip, middle, math.inf), _cut(right.passage, theirs, onward, len(theirs))),
    )


def timed(heard: Heard) -> tuple[Segment, ...]:
    """The segments of a clip: those of the model if it knows times, else its text over the speech that was heard."""
    clip, passage = heard.clip, heard.passage
    if passage.segments or not passage.text:
        return passage.segments
    return tuple(spread(passage.text, clip.spans or [(clip.start, clip.start + clip.seconds)]))


def merge(pieces: Sequence[Heard]) -> Passage:
    """One passage for clips that follow each other and have nothing in common any more; times do not go back."""
    passages = [piece.passage for piece in pieces]
    segments: list[Segment] = []
    for piece in pieces:
        for segment in timed(piece):
            segments.append(onward(segment, segments[-1].end if segments else -math.inf))
    tokens = tuple(token for passage in passages for token in passage.tokens)
    confidences = tuple(confidence for passage in passages for confidence in passage.confidences)
    notices = tuple(notice for passage in passages for notice in passage.notices)
    if len(passages) > 1 and any(passage.alternatives for passage in passages):
        notices = (*(notice for notice in notices if notice != LEFT_OUT), LEFT_OUT)
    return Passage(
        text=" ".join(passage.text for passage in passages if passage.text),
        raw_text=" ".join(passage.raw_text for passage in passages),
        tokens=tokens,
        segments=tuple(segments),
        notices=notices,
        confidences=confidences if len(confidences) == len(tokens) else (),
        alternatives=passages[0].alternatives if len(passages) == 1 else (),
    )


def onward(segment: Segment, earliest: float, latest: float = math.inf) -> Segment:
    """A segment moved so that it and its words begin after one time and end before another."""
    if segment.start >= earliest and segment.end <= latest:
        return segment

    def within(time: float) -> float:
        return min(max(time, earliest), latest)

    words = tuple(attrs.evolve(word, start=within(word.start), end=within(word.end)) for word in segment.words)
    return attrs.evolve(segment, start=within(segment.start), end=within(segment.end), words=words)


def _knows_times(heard: Heard) -> bool:
    """Whether the times of its words mean something: they come from the model, or from speech."""
    return bool(heard.passage.segments) or heard.clip.spans is not None


def _words(heard: Heard) -> list[Word]:
    """The words of a clip, segment by segment; where nobody timed them they lie evenly."""
    found: list[Word] = []
    for segment in timed(heard):
        words = segment.text.split()
        step = (segment.end - segment.start) / max(len(words), 1)
        even = [Word(w, segment.start + n * step, segment.start + (n + 1) * step) for n, w in enumerate(words)]
        found += segment.words or even
    return found


def _inside(clip: Clip, first: float, last: float) -> Clip:
    """A clip with only the speech between two times; its start and seconds stay."""
    if not clip.spans:
        start, end = max(clip.start, first), min(clip.start + clip.seconds, last)
        return attrs.evolve(clip, spans=((start, max(start, end)),))
    cut = [(max(start, first), min(end, last)) for start, end in clip.spans if start < last and end > first]
    edge = min(max(clip.spans[0][0], first), last)
    return attrs.evolve(clip, spans=tuple(cut) or ((edge, edge),))


def _cut(passage: Passage, words: Sequence[Word], first: int, last: int) -> Passage:
    """A passage with only the words from ``first`` to ``last``."""
    if (first, last) == (0, len(words)):
        return passage
    segments, count = [], 0
    for segment in passage.segments:
        size = len(segment.words or segment.text.split())
        low, high = max(first - count, 0), max(last - count, 0)
        count += size
        if low >= high or low >= size:
            continue
        if not segment.words:
            segments.append(attrs.evolve(segment, text=" ".join(segment.text.split()[low:high])))
            continue
        kept = segment.words[low:high]
        text = " ".join(word.text for word in kept)
        segments.append(attrs.evolve(segment, text=text, start=kept[0].start, end=kept[-1].end, words=kept))
    text = " ".join(word.text for word in words[first:last])
    return attrs.evolve(passage, text=text, segments=tuple(segments))


def seam(left: Sequence[Word], right: Sequence[Word], middle: float, near: float) -> tuple[int, int] | None:
    """Where the words of one clip end and those of the next go on, when both heard what lies between them.

    The longest run of words that both share, said at about the same time, is cut in its middle: words at the very edge
    of a clip are those that a model hears wrong. Of equally long runs the one next to the middle is taken.

    Args:
        left, right: the words, with times that may be estimates.
        middle: seconds of the middle of what both heard.
        near: seconds by which the times of the same word may differ.

    Returns:
        How many words of ``left`` are kept, and how many of ``right`` are left out; None if they share nothing.
    """
    ours, theirs = [without_marks(word.text) for word in left], [without_marks(word.text) for word in right]
    best: tuple[int, float, int, int] | None = None
    before: dict[tuple[int, int], int] = {}  # the lengths of runs that end with a pair of words
    for a, word in enumerate(left):
        for b, other in enumerate(right):
            apart = abs(word.start + word.end - other.start - other.end) / 2
            if ours[a] != theirs[b] or apart > near:
                continue
            size = before[a, b] = before.get((a - 1, b - 1), 0) + 1
            # One short word may be there twice by chance, unless it is just where it should be.
            if size == 1 and len(ours[a]) <= 3 and not (b == 0 and a == len(left) - 1):
                continue
            off = abs(left[a - size // 2].start - middle)
            if best is None or (size, -off) > best[:2]:
                best = size, -off, a, b
    if best is None:
        return None
    size, _, a, b = best
    return a + 1 - size + size // 2, b + 1 - size + size // 2


def spread(text: str, spans: Sequence[Span]) -> list[Segment]:
    """A text over the stretches of speech in which it was spoken.

    Words fall where they would if everybody spoke evenly; a stretch rather ends with a sentence or a comma.

    Args:
        text: that is not empty.
        spans: seconds; at least one.
    """
    merged = [list(spans[0])]
    for start, end in spans[1:]:
        if start - merged[-1][1] < PAUSE:
            merged[-1][1] = end
        else:
            merged.append([start, end])
    words = text.split()
    speech = sum(end - start for start, end in merged)
    letters = sum(map(len, words))
    if len(merged) == 1 or len(words) < 2 or speech <= 0:
        return [Segment(text, merged[0][0], merged[-1][1])]
    # spoken[n]: seconds of speech that have gone by before word n.
    spoken = [0.0]
    for word in words:
        spoken.append(spoken[-1] + speech * len(word) / letters)
    segments, first, gone = [], 0, 0.0
    for number, (start, end) in enumerate(merged):
        gone += end - start
        last = len(words) if number == len(merged) - 1 else _nearest(words, spoken, first, gone)
        if last > first:
            segments.append(Segment(" ".join(words[first:last]), start, end))
        first = last
    return segments


def _nearest(words: Sequence[str], spoken: Sequence[float], first: int, gone: float) -> int:
    """How many words are spoken when ``gone`` seconds of speech are over, at least ``first``."""

    def cost(count: int) -> float:
        before = words[count - 1] if count else ""
        bonus = END_BONUS if before.endswith(ENDS) else REST_BONUS if before.endswith(RESTS) else 0.0
        return abs(spoken[count] - gone) - bonus

    return min(range(first, len(words) + 1), key=cost)
