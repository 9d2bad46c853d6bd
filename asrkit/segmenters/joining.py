"""One text out of the passages of many clips, each stretch of it with the times at which somebody spoke."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence

from asrkit.values import Clip, Passage, Segment, Word

__all__ = ["join", "seam", "spread"]

Span = tuple[float, float]

SPARE = 5
"""Words beyond those that the overlap should hold in which a common run is looked for: people do not speak evenly."""
ENDS, RESTS = (".", "?", "!", "…", "。", "？", "！"), (",", ";", ":", "–", "—", "，", "、")
END_BONUS, REST_BONUS = 1.5, 0.5
"""Seconds by which a word may be misplaced to end a stretch with the end of a sentence, or with a comma."""
PAUSE = 0.5
"""Seconds between two stretches of speech that make them two segments."""


def join(clips: Sequence[Clip], passages: Sequence[Passage]) -> Passage:
    """One passage for the whole recording: what two clips heard both is said once, and times come from the words if
    they have some, else from the speech that was detected.

    Tokens and raw texts are those of all clips, one after another, as the model gave them.
    """
    words = [_words(passage) for passage in passages]
    bounds = [[0, len(found)] for found in words]
    spans = [_bounds(clip) for clip in clips]
    for n, clip in enumerate(clips[1:], 1):
        if clip.overlap <= 0:
            continue
        left, right = words[n - 1], words[n]
        cut, onward = seam(
            [word.text for word in left],
            [word.text for word in right],
            _share(clip.overlap, clips[n - 1], passages[n - 1]),
            _share(clip.overlap, clip, passages[n]),
        )
        bounds[n - 1][1], bounds[n][0] = max(cut, bounds[n - 1][0]), onward
        middle = clip.start + clip.overlap / 2
        spans[n - 1] = _inside(spans[n - 1], -math.inf, middle)
        spans[n] = _inside(spans[n], middle, math.inf)
    segments: list[Segment] = []
    texts = []
    for passage, found, (first, last), times in zip(passages, words, bounds, spans, strict=True):
        whole = (first, last) == (0, len(found))
        text = passage.text if whole else " ".join(word.text for word in found[first:last])
        if text:
            texts.append(text)
        if passage.segments and whole:
            segments += passage.segments
        elif any(segment.words for segment in passage.segments):
            segments += _cut(passage.segments, first, last)
        elif text:
            segments += spread(text, times)
    return Passage(
        text=" ".join(texts),
        raw_text=" ".join(passage.raw_text for passage in passages),
        tokens=tuple(token for passage in passages for token in passage.tokens),
        segments=tuple(segments),
        notices=tuple(notice for passage in passages for notice in passage.notices),
    )


def _words(passage: Passage) -> list[Word]:
    timed = [word for segment in passage.segments for word in segment.words]
    return timed or [Word(text, 0.0, 0.0) for text in passage.text.split()]


def _bounds(clip: Clip) -> list[Span]:
    """Where the speech of a clip is; all of it if nobody listened."""
    return list(clip.spans) if clip.spans else [(clip.start, clip.start + clip.seconds)]


def _inside(spans: Sequence[Span], first: float, last: float) -> list[Span]:
    cut = [(max(start, first), min(end, last)) for start, end in spans if start < last and end > first]
    return cut or [(min(max(spans[0][0], first), last), max(min(spans[-1][1], last), first))]


def _share(overlap: float, clip: Clip, passage: Passage) -> float:
    """How many of a clip's words should lie in the overlap, if they were spoken evenly."""
    return overlap / clip.seconds * len(_words(passage))


def _cut(segments: Sequence[Segment], first: int, last: int) -> list[Segment]:
    """Segments with only the words from ``first`` to ``last``."""
    kept, count = [], 0
    for segment in segments:
        words = segment.words[max(first - count, 0) : max(last - count, 0)]
        count += len(segment.words)
        if words:
            kept.append(Segment(" ".join(word.text for word in words), words[0].start, words[-1].end, words))
    return kept


def seam(left: Sequence[str], right: Sequence[str], tail: float, head: float) -> tuple[int, int]:
    """Where the words of one clip end and those of the next go on, when both heard what lies between them.

    The longest run of words that the end of one and the beginning of the other share is cut in its middle: words at
    the very edge of a clip are those that a model hears wrong. Without such a run each gives up half of what should
    lie in the overlap.

    Args:
        left, right: the words.
        tail: how many words of ``left`` should lie in the overlap.
        head: how many of ``right``.

    Returns:
        How many words of ``left`` are kept, and how many of ``right`` are left out.
    """
    first = max(len(left) - math.ceil(tail) - SPARE, 0)
    last = min(math.ceil(head) + SPARE, len(right))
    ours, theirs = [_plain(word) for word in left[first:]], [_plain(word) for word in right[:last]]
    match = difflib.SequenceMatcher(None, ours, theirs, autojunk=False).find_longest_match()
    if match.size > 1 or (match.size == 1 and len(ours[match.a]) > 3):
        half = match.size // 2
        return first + match.a + half, match.b + half
    return len(left) - min(round(tail / 2), len(left)), min(round(head / 2), len(right))


def _plain(word: str) -> str:
    """A word without what a clip's edge changes: capitals and punctuation."""
    return "".join(letter for letter in word.casefold() if letter.isalnum()) or word


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
