from __future__ import annotations

import random
from itertools import pairwise

import pytest

from asrkit.errors import OptionError
from asrkit.subtitles import Cue, Layout, cues, timestamp
from asrkit.timed_units import width
from asrkit.values import Segment, Transcript, Word

TALE = "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness."


def transcript(*segments, duration=60.0, text=None):
    text = " ".join(segment.text for segment in segments) if text is None else text
    return Transcript("f.wav", "m", "numpy", "fp32", "en", None, None, duration, text, text, segments, ())


def spoken(text, start=0.0, pauses=None, rate=15):
    """A segment whose words are spoken one after the other, some after a pause."""
    words = []
    for n, word in enumerate(text.split()):
        start += (pauses or {}).get(n, 0)
        words.append(Word(word, start, start + len(word) / rate))
        start = words[-1].end + 1 / rate
    return Segment(text, words[0].start, words[-1].end, tuple(words))


def shown(*segments, layout=None, **changes):
    return [cue.lines for cue in cues(transcript(*segments, **changes), layout)]


@pytest.mark.parametrize("make", [spoken, lambda text: Segment(text, 0.0, 7.4)], ids=["words", "span"])
def test_clauses_are_kept_together(make):
    assert shown(make(TALE)) == [
        ("It was the best of times,", "it was the worst of times,"),
        ("it was the age of wisdom,", "it was the age of foolishness."),
    ]


def test_sentences_are_not_mixed():
    text = "We stayed at home for the whole of that day. Then the rain stopped and everybody went out to see the river."
    first, second = shown(spoken(text))
    assert " ".join(first) == "We stayed at home for the whole of that day."
    assert " ".join(second) == "Then the rain stopped and everybody went out to see the river."


def test_short_sentences_share_a_cue():
    assert shown(Segment("Yes.", 0, 0.3), Segment("Why not?", 0.4, 1.0)) == [("Yes. Why not?",)]


def test_a_pause_breaks_where_nothing_else_does():
    text = "I think that we should perhaps go to the big market hall on the corner today"
    for pause, at in ((0.6, 6), (0.6, 8), (1.5, 2)):
        (first, second) = shown(spoken(text, pauses={at: pause}))
        assert len(" ".join(first).split()) == at
        assert len(" ".join(second).split()) == 16 - at


def test_silence_is_never_bridged():
    assert shown(spoken("Well I do", pauses={1: 1.0})) == [("Well",), ("I do",)]
    assert shown(spoken("Well I do", pauses={1: 0.9})) == [("Well I do",)]
    # Not even for a word that has hardly any time of its own.
    assert shown(spoken("Well no", pauses={1: 1.1}), duration=1.5) == [("Well",), ("no",)]


def test_sentences_that_can_stand_alone_do():
    assert len(shown(spoken("I see what you mean now. That is fine with me then."))) == 2


def test_slow_speech_is_not_shown_at_once():
    assert shown(Segment("one two nine ten", 0, 12)) == [("one two",), ("nine ten",)]


def test_the_lower_line_is_the_longer_one():
    assert shown(Segment("aaa bbb ccc", 0, 2), layout=Layout(8)) == [("aaa", "bbb ccc")]


def test_no_orphans():
    text = "this sentence is a little longer than what two whole lines of a subtitle can hold on"
    assert len(text) == 84
    for cue in shown(spoken(text + " us")):
        assert min(len(line.split()) for line in cue) > 1
        assert sum(map(len, cue)) > 30
    text = "We walked down to the old station and then all along the river to the new house, though."
    assert min(len(" ".join(cue).split()) for cue in shown(spoken(text))) > 1
    (lines,) = shown(spoken("the line would be full but for one more it"))
    assert len(lines) == 1
    (lines,) = shown(spoken("the line would be full but for one more at it"))
    assert max(map(len, lines)) - min(map(len, lines)) < 8


def test_times_are_those_of_the_words():
    segment = spoken(TALE, start=2.0, rate=25)
    first, second = cues(transcript(segment))
    assert first.start == 2000
    assert second.start == round(segment.words[12].start * 1000)
    assert first.end == second.start - 83
    assert second.end == second.start + (25 + 1 + 30) * 1000 // 17  # longer than the words: to be read


def test_a_span_is_shared_in_proportion():
    found = cues(transcript(Segment("aaaa bb cccc", 10.0, 20.0)), Layout(4, 1))
    assert [(cue.start, cue.lines) for cue in found] == [(10000, ("aaaa",)), (14000, ("bb",)), (16000, ("cccc",))]
    assert [cue.end for cue in found] == [14000 - 83, 16000 - 83, 20000]


def test_cues_last_long_enough_and_not_too_long():
    assert cues(transcript(Segment("Yes.", 1.0, 1.2))) == (Cue(1000, 2000, ("Yes.",)),)
    assert cues(transcript(Segment("Yes.", 1.0, 1.2), duration=1.5)) == (Cue(1000, 1500, ("Yes.",)),)
    assert cues(transcript(Segment("Yes.", 1.0, 30.0))) == (Cue(1000, 8000, ("Yes.",)),)
    first, second = cues(transcript(Segment("Yes.", 1.0, 1.2), Segment("No.", 2.5, 2.7)))
    assert (first.end, second.start) == (2000, 2500)
    first, second = cues(
        transcript(Segment("Yes.", 1.0, 1.2), Segment("No.", 2.2, 2.4)), Layout(max_words_per_line=1, max_line_count=1)
    )
    assert (first.end, second.start) == (2000, 2200)


def test_words_with_one_time_share_it():
    for ends in ((2.0, 2.0), (1.2, 2.0), (2.0, 1.2)):
        words = tuple(Word(text, 1.0, end) for text, end in zip(("one", "two"), ends, strict=True))
        found = cues(transcript(Segment("one two", 1.0, 2.0, words)), Layout(1, 1))
        assert [(cue.start, cue.lines) for cue in found] == [(1000, ("one",)), (1500, ("two",))]


def test_a_word_that_lasts_into_the_next_is_cut_there():
    words = (Word("今天", 0, 4), Word("明天", 1, 2))
    found = cues(transcript(Segment("今天明天", 0, 4, words)), Layout(2, 1))
    assert [cue.start for cue in found] == [0, 500, 1000, 1500]


def test_times_without_an_end():
    assert cues(transcript(Segment("one", 1.0, float("inf")), duration=3.0)) == (Cue(1000, 3000, ("one",)),)


def test_words_that_differ_from_the_text_still_time_it():
    words = (Word("twenty", 1.0, 2.0), Word("one", 5.0, 6.0))
    found = cues(transcript(Segment("21 one", 1.0, 6.0, words)), Layout(1, 1))
    assert [line for cue in found for line in cue.lines] == ["21", "one"]
    assert found[0].start == 1000


def test_long_words_are_not_cut():
    word = "Donaudampfschifffahrtsgesellschaft"
    assert shown(spoken(f"die {word} ist"), layout=Layout(10)) == [("die", word), ("ist",)]


def test_marks_stay_with_their_words():
    lines = [
        line
        for columns in range(11, 30)
        for cue in shown(Segment("Ah ! « Bonjour » dit-il ; « oui » .", 0, 5), layout=Layout(columns))
        for line in cue
    ]
    assert not [line for line in lines if line[0] in "!»;." or line[-1] == "«"]


def test_scripts_without_spaces():
    text = (
        "今天天气很好，我们一起去公园散步吧。你觉得怎么样？「我」觉得非常好，因为昨天下了一整天的雨，大家都待在家里。"
    )
    found = shown(Segment(text, 0, 12), layout=Layout(20))
    assert "".join(line for cue in found for line in cue) == text
    assert max(width(line) for cue in found for line in cue) <= 20
    assert not [line for cue in found for line in cue if line[0] in "，。？」" or line[-1] == "「"]
    assert shown(Segment("今天。", 0, 0.4), Segment("明天。", 0.4, 0.8)) == [("今天。明天。",)]
    assert shown(Segment("안녕하세요 여러분", 0, 3), layout=Layout(6)) == [("안녕하세요", "여러분")]
    quoted = "他说：「今天天气很好。」我们一起去公园散步吧，大家都很高兴"
    assert shown(Segment(quoted, 0, 8), layout=Layout(30))[1][0].startswith("我们")


def test_what_is_joined_stays_joined():
    assert shown(Segment("a\u00a0! b", 0, 1), layout=Layout(1)) == [("a\u00a0!",), ("b",)]
    accented = "か\u3099" * 3  # each a kana with a combining mark
    assert shown(Segment(accented, 0, 3), layout=Layout(2, 3)) == [("か\u3099",) * 3]


def test_nothing_said():
    assert cues(transcript()) == ()
    assert cues(transcript(Segment(" \n\u00a0 ", 0, 1), text="")) == ()


def test_text_without_segments():
    assert cues(transcript(text="hello", duration=0.5)) == (Cue(0, 500, ("hello",)),)


@pytest.mark.parametrize("name", ["max_line_width", "max_line_count", "max_words_per_line"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "3", True])
def test_layout_of_nothing(name, value):
    with pytest.raises(OptionError, match=f"layout: option '{name}' is a whole number from 1, not {value!r}"):
        Layout(**{name: value})


def test_timestamps():
    assert timestamp(0, ",") == "00:00:00,000"
    assert timestamp(3_723_004, ".") == "01:02:03.004"
    assert timestamp(123 * 3_600_000 + 999, ",") == "123:00:00,999"


VOCABULARY = [
    "a",
    "I",
    "it's",
    "we",
    "seven.",
    "Well,",
    "which",
    "something",
    "3",
    "e\u0301te\u0301",
    "well-established!",
]
VOCABULARY += [
    "今天天气很好。",
    "Grüße",
    "«",
    "»",
    "?",
    "-",
    "Rindfleischetikettierungsüberwachungsaufgabe",
    "안녕",
    "🎧",
    "1,5",
]


def random_transcript(chance, words=VOCABULARY):
    """Segments as models make them, and worse: times that collide, go back or leave the recording."""
    wild = chance.random() < 0.3
    time, segments = chance.choice([0.0, chance.uniform(0, 5)]), []
    for _ in range(chance.randrange(8)):
        time += chance.choice([0.0, 0.0, chance.uniform(0, 3)])
        start, timed = time, []
        for _ in range(chance.randrange(1, 40)):
            text = chance.choice(words)
            length = chance.choice([len(text) / chance.uniform(8, 25), 0.0 if wild else 0.1])
            begin = time + (chance.uniform(-2, 2) if wild else 0)
            timed.append(Word(text, begin, begin + length))
            time += length + chance.choice([0.0, 0.05, chance.uniform(0, 1.5)])
        text = chance.choice([" ", "  ", "\n"]).join(word.text for word in timed)
        segments.append(Segment(text, start, time, tuple(timed) if chance.random() < 0.6 else ()))
    return transcript(*segments, duration=time * chance.choice([1.0, 1.0, 1.2, 0.5]) + 0.2)


def random_layout(chance):
    return Layout(chance.choice([42, 42, 1, 12, 30, 100]), chance.randint(1, 3), chance.choice([None, None, 1, 4]))


def flat(text):
    return "".join(text.split())


@pytest.mark.parametrize("seed", range(300))
def test_rules_hold_for_any_transcript(seed):
    chance = random.Random(seed)
    given, layout = random_transcript(chance), random_layout(chance)
    found = cues(given, layout)
    assert flat("".join(line for cue in found for line in cue.lines)) == flat(given.text)
    for cue in found:
        assert 0 <= cue.start < cue.end <= given.duration * 1000
        assert cue.end - cue.start <= 7000
        assert 1 <= len(cue.lines) <= layout.max_line_count
        for line in cue.lines:
            assert line == line.strip()
            assert line
            # Only what cannot be cut may be wider.
            assert width(line) <= layout.max_line_width or " " not in line
            assert len(line.split()) <= (layout.max_words_per_line or 1000)
    assert all(before.end <= after.start for before, after in pairwise(found))


@pytest.mark.parametrize("seed", range(50))
def test_starts_are_those_of_words_as_far_as_they_can_be(seed):
    chance = random.Random(seed)
    segment = spoken(" ".join(chance.choices(["a", "house,", "stands", "there."], k=80)), chance.uniform(0, 9), rate=12)
    words = {round(word.start * 1000): word.text for word in segment.words}
    for cue in cues(transcript(segment), random_layout(chance)):
        assert words[cue.start] == cue.lines[0].split()[0]
