"""What watches over the answers for single clips: none although somebody speaks, one that stops far too early, that
repeats itself, or that does not end. Each is decoded again in a way that usually helps, and each leaves a notice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import attrs
import numpy as np

from asrkit.alignment import align, sentences, without_marks
from asrkit.segmenters.joining import merge, onward, part
from asrkit.segmenters.spans import quietest
from asrkit.values import Clip, Heard, Hypothesis, Notice, Passage

__all__ = ["Reading", "loop", "mend", "unlooped", "where"]

LEAST_SPEECH = 0.5
"""Seconds of speech for which there must be a text: detectors take a cough for less."""
EARLY_SPEECH = 4.0
"""Seconds of speech from which its length says something about that of its text."""
EARLY_LETTERS = 5.0
"""Letters for each second of speech below which a text is looked at again; slow speech has about eight."""
EARLY_GAIN = 1.3
"""How many times the letters a second look must bring to be believed."""
FASTEST = 40.0
"""Letters a second that nobody speaks."""
COPIES, LOOP_LETTERS = 4, 24
"""How often, and over how many letters in all, the same must be said in a row to be a loop."""
LOOP = re.compile(rf"(\S.{{0,119}}?)\1{{{COPIES - 1},}}")
LEAD = 0.25
"""Seconds of silence that are put before a clip, or of a pause that are taken away, to look at it anew."""
SHORTEST = 4.0
"""Seconds of the shortest clip that is halved."""
HALVES_SHARE = 1.0
"""Seconds that two halves share where there is no pause between them."""
AGAIN = "it was decoded again in halves"
HOP = 0.032
"""Seconds, the grid on which a quiet place is looked for."""


@attrs.frozen
class Reading:
    """A clip, and one answer for it."""

    clip: Clip
    hypothesis: Hypothesis
    passage: Passage


Read = Callable[[Sequence[Clip], bool], list[Reading]]
"""Decodes clips; if the second argument is true, a text must come first."""


def mend(reading: Reading, read: Read, can_force: bool) -> Passage:
    """The passage of a clip, decoded again if it cannot be right.

    What is decoded again is decoded the same way each time, so that the same recording gives the same text.

    Args:
        reading: the plain answer.
        read: decodes variants of the clip.
        can_force: whether a search of this model can be made to begin with a text.
    """
    problem = _problem(reading)
    if problem is None:
        return reading.passage
    again = _speechless if problem == "no-text" else _halved
    passage = again(reading, problem, read, can_force)
    clip = reading.clip
    segments = tuple(onward(segment, clip.start, clip.start + clip.seconds) for segment in passage.segments)
    return attrs.evolve(passage, segments=segments)


def loop(text: str) -> str | None:
    """What a text says again and again in a row, without capitals and punctuation, or None."""
    letters = " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split()) + " "
    for found in LOOP.finditer(letters):
        if len(found[0]) >= LOOP_LETTERS:
            return found[1].strip()
    return None


def unlooped(text: str) -> str:
    """A text in which words that are said again and again in a row stand once; scripts without spaces stay."""
    words = text.split()
    plain = [without_marks(word) for word in words]
    kept, n = [], 0
    while n < len(words):
        size, copies = max(((size, _copies(plain, n, size)) for size in range(1, 31)), key=lambda found: found[1])
        if copies < COPIES:
            size = copies = 1
        kept += words[n : n + size]
        n += size * copies
    return " ".join(kept)


def _copies(words: Sequence[str], first: int, size: int) -> int:
    """How often the words from ``first`` on are said in a row."""
    copies = 1
    while words[first : first + size] == words[first + copies * size : first + (copies + 1) * size] != []:
        copies += 1
    return copies


def _problem(reading: Reading) -> str | None:
    """The code of what is wrong with an answer, or None."""
    text, spoken = reading.passage.text, _speech(reading.clip)
    if not text:
        return "no-text" if spoken >= LEAST_SPEECH else None
    if not reading.hypothesis.finished:
        return "token-limit"
    if loop(text):
        return "loop"
    if spoken >= EARLY_SPEECH and _letters(text) < EARLY_LETTERS * spoken:
        return "early-stop"
    return None


def _speech(clip: Clip) -> float:
    """Seconds of speech; 0 if nobody listened."""
    return sum(end - start for start, end in clip.spans or ())


def _letters(text: str) -> int:
    return sum(map(str.isalnum, text))


def where(clip: Clip) -> str:
    """The stretch of a recording that a clip is, for messages."""
    return f"from {clip.start:.2f} to {clip.start + clip.seconds:.2f} s"


def _noted(passage: Passage, *notices: Notice) -> Passage:
    """A passage with these notices about its length instead of the dialect's own."""
    others = tuple(notice for notice in passage.notices if notice.code != "token-limit")
    return attrs.evolve(passage, notices=(*others, *notices))


def _speechless(reading: Reading, problem: str, read: Read, can_force: bool) -> Passage:
    """Look again at a clip without text, then insist on one where what was heard is surely speech."""
    clip = reading.clip
    for variant, how in _variants(clip):
        again = read([variant], False)[0]
        if again.passage.text and _problem(again) in (None, "early-stop"):
            text = f"{where(clip)} the model gave no text although somebody speaks; it did {how}"
            return _noted(again.passage, Notice("mended-no-text", text))
    if clip.sure and can_force:
        again = read([clip], True)[0]
        if again.passage.text and _problem(again) in (None, "early-stop"):
            text = f"{where(clip)} the model gave no text although somebody speaks; its most probable words were taken"
            return _noted(again.passage, Notice("forced-text", text))
    text = f"{where(clip)} somebody seems to speak, but the model gives no text"
    return _noted(reading.passage, Notice(problem, text))


def _variants(clip: Clip) -> list[tuple[Clip, str]]:
    """The same speech, placed otherwise."""
    assert clip.spans
    silence = np.zeros(round(LEAD * clip.rate), np.float32)
    later = attrs.evolve(
        clip,
        samples=np.concatenate([silence, clip.samples]),
        start=clip.start - len(silence) / clip.rate,
        seconds=(len(silence) + len(clip.samples)) / clip.rate,
    )
    found = [(later, f"with {LEAD:g} s of silence before it")]
    first = round(max(clip.spans[0][0] - clip.start - LEAD / 2, 0) * clip.rate)
    last = round(min(clip.spans[-1][1] - clip.start + LEAD, clip.seconds) * clip.rate)
    if first > 0 or last < len(clip.samples):
        found.append((_excerpt(clip, first, last), "without the silence around it"))
    return found


def _excerpt(clip: Clip, first: int, last: int) -> Clip:
    """The samples of a clip from one to another."""
    start, end = clip.start + first / clip.rate, clip.start + last / clip.rate
    spans = clip.spans and tuple((max(a, start), min(b, end)) for a, b in clip.spans if a < end and b > start)
    return attrs.evolve(
        clip, samples=clip.samples[first:last], start=start, seconds=end - start, spans=spans, overlap=0.0
    )


def _halved(reading: Reading, problem: str, read: Read, can_force: bool) -> Passage:
    """Decode a clip in two halves, and these again in halves if need be."""
    clip, passage = reading.clip, reading.passage
    again = _in_halves(clip, read, can_force) if clip.seconds >= SHORTEST else None
    if problem == "early-stop":
        if again is None or _letters(again.text) < EARLY_GAIN * _letters(passage.text):
            return passage  # somebody speaks slowly
        return _noted(
            again, Notice("mended-early-stop", f"{where(clip)} the text was too short for the speech; {AGAIN}")
        )
    what = f"repeated {loop(passage.text)!r}" if problem == "loop" else "did not end"
    if again is not None and again.text:
        left = [notice for notice in again.notices if notice.code in (problem, "loop", "token-limit")]
        again = attrs.evolve(again, notices=tuple(notice for notice in again.notices if not _ours(notice)))
        code, help_ = (left[0].code, ", which did not help everywhere") if left else (f"mended-{problem}", "")
        return _noted(again, Notice(code, f"{where(clip)} the text {what}; {AGAIN}{help_}"))
    unit = loop(passage.text)
    if unit is None or _letters(passage.text) < FASTEST * clip.seconds:
        text = "the text may be cut off at the limit of its length" if unit is None else f"the text repeats {unit!r}"
        return _noted(passage, Notice("token-limit" if unit is None else "loop", f"{where(clip)} {text}"))
    text = f"{where(clip)} the text repeated {unit!r} more often than anybody could say it; it was written once"
    words = [word for segment in passage.segments for word in segment.words]
    kept = unlooped(passage.text)
    segments = sentences(align(kept, words, clip.start, clip.start + clip.seconds)[0]) if words else ()
    once = attrs.evolve(passage, text=kept, segments=segments, alternatives=())
    return _noted(once, Notice("loop", text))


def _ours(notice: Notice) -> bool:
    return notice.code.startswith("mended-") or notice.code in ("loop", "token-limit")


def _in_halves(clip: Clip, read: Read, can_force: bool) -> Passage:
    readings = read(_halves(clip), False)
    first, second = (Heard(one.clip, mend(one, read, can_force)) for one in readings)
    return merge(part(first, second))


def _halves(clip: Clip) -> list[Clip]:
    """Two halves of a clip, cut at its longest pause around the middle, or at the quietest point with an overlap."""
    low, high = clip.start + clip.seconds / 4, clip.start + clip.seconds * 3 / 4
    ends = zip((clip.spans or ())[:-1], (clip.spans or ())[1:], strict=True)
    gaps = [(start - end, (start + end) / 2) for (_, end), (start, _) in ends if low <= (start + end) / 2 <= high]
    if gaps:
        middle = round((max(gaps)[1] - clip.start) * clip.rate)
        return [_excerpt(clip, 0, middle), _excerpt(clip, middle, len(clip.samples))]
    hop = max(round(HOP * clip.rate), 1)
    hops = len(clip.samples) // hop
    middle = quietest(clip.samples, hop, hops * 2 // 5, hops * 3 // 5) * hop
    half = round(min(HALVES_SHARE, clip.seconds / 8) * clip.rate / 2)
    second = attrs.evolve(_excerpt(clip, middle - half, len(clip.samples)), overlap=2 * half / clip.rate)
    return [_excerpt(clip, 0, middle + half), second]
