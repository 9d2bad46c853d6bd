"""The words of one text with the times of another one of the same speech."""

from __future__ import annotations

import difflib
from bisect import bisect_right
from collections.abc import Sequence

import attrs

from asrkit.values import Segment, Word

__all__ = ["align", "forward", "sentences", "without_marks"]

SENTENCE_ENDS = (".", "?", "!", "…", "。", "？", "！")
NEAR = 0.4
"""Seconds from the nearest speech at which a word's time is not believed."""
TINY = 1e-9
CLOSING = "\"'”’»)]」』"


def align(
    text: str, known: Sequence[Word], start: float, end: float, spans: Sequence[tuple[float, float]] = ()
) -> tuple[tuple[Word, ...], int]:
    """The words of a text, each with its times, and how many of them found theirs.

    Words that both texts have in common take the times of the other text, unless nobody speaks there. Words without one
    lie evenly, by their letters, over the speech between the neighbours that have one. Times never go back.

    Args:
        text: whose words are wanted.
        known: words of the same speech, as somebody else wrote them, with their times.
        start, end: seconds between which it was said, as far as anybody knows.
        spans: stretches in which somebody speaks; empty if nobody listened.
    """
    words = text.split()
    known = [word for word in known if not spans or _spoken(word, spans)]
    start, end = min([start, *(word.start for word in known)]), max([end, *(word.end for word in known)])
    found: list[Word | None] = [None] * len(words)
    known = _forward(known)
    ours, theirs = [without_marks(word) for word in words], [without_marks(word.text) for word in known]
    for block in difflib.SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks():
        for n in range(block.size):
            found[block.a + n] = known[block.b + n]
    times: list[Word] = []
    n = 0
    while n < len(words):
        word = found[n]
        if word is not None:
            times.append(Word(words[n], word.start, max(word.start, word.end)))
            n += 1
            continue
        last, after = next(((m, later.start) for m, later in enumerate(found) if m > n and later), (len(words), end))
        before = times[-1].end if times else start
        times += _between(words[n:last], before, max(after, before), spans)
        n = last
    return tuple(times), sum(word is not None for word in found)


def sentences(words: Sequence[Word]) -> tuple[Segment, ...]:
    """Words collected into segments that end with a sentence."""
    segments: list[Segment] = []
    current: list[Word] = []
    for n, word in enumerate(words):
        current.append(word)
        if word.text.rstrip(CLOSING).endswith(SENTENCE_ENDS) or n == len(words) - 1:
            text = " ".join(each.text for each in current)
            segments.append(Segment(text, current[0].start, current[-1].end, tuple(current)))
            current = []
    return tuple(segments)


def forward(words: Sequence[Word]) -> tuple[Word, ...]:
    """Words whose times do not go back: where one would, it begins when the last one ends."""
    found: list[Word] = []
    for word in words:
        start = max(word.start, found[-1].end) if found else word.start
        found.append(attrs.evolve(word, start=start, end=max(word.end, start)))
    return tuple(found)


def without_marks(word: str) -> str:
    """A word without capitals and punctuation, which two writers of the same speech may see differently."""
    return "".join(letter for letter in word.casefold() if letter.isalnum()) or word


def _forward(words: Sequence[Word]) -> list[Word]:
    """The most words that one can keep so that times do not go back, none lasting into the next."""
    ends: list[float] = []  # the smallest start with which a row of so many words can end
    rows: list[int] = []
    before: list[int | None] = []
    for n, word in enumerate(words):
        place = bisect_right(ends, word.start)
        before.append(rows[place - 1] if place else None)
        ends[place : place + 1], rows[place : place + 1] = [word.start], [n]
    kept: list[Word] = []
    n_: int | None = rows[-1] if rows else None
    while n_ is not None:
        end = min(words[n_].end, kept[-1].start) if kept else words[n_].end
        kept.append(Word(words[n_].text, words[n_].start, max(end, words[n_].start)))
        n_ = before[n_]
    return kept[::-1]


def _spoken(word: Word, spans: Sequence[tuple[float, float]]) -> bool:
    """Whether somebody speaks when a word is said, or nearly then."""
    middle = (word.start + word.end) / 2
    return any(first - NEAR <= middle <= last + NEAR for first, last in spans)


def _between(words: Sequence[str], start: float, end: float, spans: Sequence[tuple[float, float]]) -> list[Word]:
    """Words evenly over the speech between two times, or over all that lies between them if nobody speaks there."""
    pieces = [(max(first, start), min(last, end)) for first, last in spans if first < end and last > start]
    pieces = pieces or [(start, end)]
    share = sum(last - first for first, last in pieces) / sum(len(word) for word in words)
    times, said = [], 0
    for word in words:
        first = _reached(pieces, said * share, begins=True)
        said += len(word)
        times.append(Word(word, first, max(_reached(pieces, said * share, begins=False), first)))
    return times


def _reached(pieces: Sequence[tuple[float, float]], seconds: float, begins: bool) -> float:
    """The time at which so many seconds have been spoken; at a pause, its end for what begins there."""
    for first, last in pieces:
        if seconds < last - first - TINY or (not begins and seconds <= last - first + TINY):
            return min(first + seconds, last)
        seconds -= last - first
    return pieces[-1][1]
