"""Every rung of every guard, with answers that are scripted: what a decoder says depends on the clip it hears."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

from asrkit.errors import BackendError
from asrkit.guards import Reading, loop, mend, unlooped
from asrkit.values import Clip, Hypothesis, Notice, Passage

RATE = 1000
ALL = object()


def clip(seconds=10.0, *spans, sure=True):
    noise = np.random.default_rng(0).standard_normal(round(seconds * RATE)).astype(np.float32)
    return Clip(noise, 100.0, tuple((100 + a, 100 + b) for a, b in spans) if spans else None, sure=sure, rate=RATE)


class Script:
    """Answers by the (begin, end) of a clip in seconds from 100 on, ``forced`` or whatever else; and what was asked."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []

    def reading(self, clip, key):
        text = self.answers.get(key, "")
        finished = not text.endswith("…")
        return Reading(clip, Hypothesis((1,) * len(text), (), finished), Passage(text.strip("…"), text, ()))

    def __call__(self, clips, forced):
        found = []
        for one in clips:
            key = "forced" if forced else f"{one.start - 100:g}_{one.start + one.seconds - 100:g}"
            self.asked.append(key)
            assert len(one.samples) == round(one.seconds * RATE)
            found.append(self.reading(one, key))
        return found


def guarded(first, clip, can_force=True, **answers):
    script = Script(first=first, **answers)
    passage = mend(script.reading(clip, "first"), script, can_force)
    return passage, [notice.code for notice in passage.notices], script.asked


def test_a_good_answer_stays():
    passage, codes, asked = guarded("This is what somebody has said in it.", clip(4.0, (1, 3)))
    assert (passage.text, codes, asked) == ("This is what somebody has said in it.", [], [])


@pytest.mark.parametrize("spans", [(), ((3.0, 3.4),)])
def test_nothing_is_asked_where_nobody_speaks(spans):
    passage, codes, asked = guarded("", clip(10.0, *spans), forced="Thank you.")
    assert (passage.text, codes, asked) == ("", [], [])


def test_no_text_then_silence_before_it_helps():
    passage, codes, asked = guarded(
        "", clip(10.0, (2, 9)), **{"-0.25_10": "What was said in all of these seven seconds."}
    )
    assert passage.text == "What was said in all of these seven seconds."
    assert (codes, asked) == (["mended-no-text"], ["-0.25_10"])
    assert passage.notices[0].message == (
        "from 100.00 to 110.00 s the model gave no text although somebody speaks; "
        "it did with 0.25 s of silence before it"
    )


def test_no_text_then_the_speech_alone_helps():
    passage, codes, asked = guarded("", clip(10.0, (2, 9)), **{"1.875_9.25": "What was said in all of these seven s."})
    assert passage.text == "What was said in all of these seven s."
    assert (codes, asked) == (["mended-no-text"], ["-0.25_10", "1.875_9.25"])


def test_no_text_then_the_best_text():
    passage, codes, asked = guarded("", clip(10.0, (2, 9)), forced="What was said in all of these seven seconds.")
    assert passage.text.startswith("What was said")
    assert (codes, asked) == (["forced-text"], ["-0.25_10", "1.875_9.25", "forced"])


@pytest.mark.parametrize(("sure", "can_force"), [(False, True), (True, False)])
def test_nothing_is_forced_on_what_may_be_noise(sure, can_force):
    passage, codes, asked = guarded("", clip(10.0, (2, 9), sure=sure), can_force, forced="Thank you.")
    assert (passage.text, codes) == ("", ["no-text"])
    assert "forced" not in asked


def test_no_text_at_all():
    passage, codes, asked = guarded("", clip(10.0, (2, 9)))
    assert (passage.text, codes) == ("", ["no-text"])
    assert asked == ["-0.25_10", "1.875_9.25", "forced"]


def test_a_loop_is_no_help():
    passage, codes, _ = guarded("", clip(10.0, (2, 9)), **{"-0.25_10": "thank you " * 9}, forced="no no " * 20)
    assert (passage.text, codes) == ("", ["no-text"])


LOOP = "so it goes " * 30
HALVES = {"0_5": "The first half of all of it, and more.", "5_10": "The second half of all of it, as well."}
SPOKEN = ((0.0, 4.8), (5.2, 10.0))


@pytest.mark.parametrize(("first", "code"), [(LOOP, "mended-loop"), ("It goes on and on and…", "mended-token-limit")])
def test_halves_help(first, code):
    passage, codes, asked = guarded(first, clip(10.0, *SPOKEN), **HALVES)
    assert passage.text == "The first half of all of it, and more. The second half of all of it, as well."
    assert (codes, asked) == ([code], ["0_5", "5_10"])
    assert [(s.start, s.end) for s in passage.segments] == [(100.0, 104.8), (105.2, 110.0)]


def test_halves_of_halves():
    quarters = {"0_5": LOOP, "5_10": "The second half of all of it, as well."}
    quarters |= {"0_2.5": "First quarter of it, so.", "2.5_5": "Second quarter of it."}
    spans = ((0.0, 2.4), (2.6, 4.8), (5.2, 10.0))
    passage, codes, _ = guarded(LOOP, clip(10.0, *spans), **quarters)
    assert passage.text == "First quarter of it, so. Second quarter of it. The second half of all of it, as well."
    assert codes == ["mended-loop"]


def test_halves_overlap_where_there_is_no_pause():
    class Any(Script):
        def __call__(self, clips, forced):
            assert clips[1].overlap == pytest.approx(1.0, abs=0.1)
            assert clips[0].start + clips[0].seconds == pytest.approx(clips[1].start + clips[1].overlap)
            return [self.reading(one, key) for one, key in zip(clips, ("left", "right"), strict=True)]

    left, right = (
        "one two three four five, many, many more, fine",
        "fine six seven eight nine ten eleven twelve",
    )
    script = Any(first=LOOP, left=left, right=right)
    passage = mend(script.reading(clip(10.0, (0, 10)), "first"), script, True)
    assert passage.text == left + right.removeprefix("fine")


def test_a_loop_that_stays_is_told():
    short = clip(3.0, (0, 3))
    passage, codes, asked = guarded("ha ha ha ha ha ha ha ha ha", short)
    assert (passage.text, codes, asked) == ("ha ha ha ha ha ha ha ha ha", ["loop"], [])
    passage, codes, _ = guarded("The end. " + "Thank you. " * 40, short)
    assert (passage.text, codes) == ("The end. Thank you.", ["loop"])
    passage, codes, _ = guarded("It goes on…", short)
    assert (passage.text, codes) == ("It goes on", ["token-limit"])


def test_halves_that_do_not_help_everywhere():
    passage, codes, _ = guarded(
        LOOP, clip(6.0, (0, 2.9), (3.1, 6)), **{"0_3": "Fine here, and long.", "3_6": "ha " * 12}
    )
    assert passage.text.startswith("Fine here, and long. ha ha")
    assert codes == ["loop"]
    assert passage.notices[0].message.endswith("it was decoded again in halves, which did not help everywhere")


def test_a_text_that_is_too_short():
    passage, codes, _ = guarded("So.", clip(10.0, *SPOKEN), **HALVES)
    assert passage.text.startswith("The first half")
    assert codes == ["mended-early-stop"]


def test_slow_speech_stays():
    halves = {"0_5": "Yes,", "5_10": "of course."}
    passage, codes, asked = guarded("Yes, of course.", clip(10.0, *SPOKEN), **halves)
    assert (passage.text, codes) == ("Yes, of course.", [])
    assert "0_5" in asked


def test_other_notices_stay():
    reading = Reading(
        clip(3.0, (0, 3)),
        Hypothesis((1,), (), False),
        Passage("a", "a", (), (), (Notice("x", "y"), Notice("token-limit", "z"))),
    )
    assert [n.code for n in mend(reading, Script(), True).notices] == ["x", "token-limit"]


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("thank you " * 9, "thank you"),
        ("Thank you, thank you. Thank YOU! thank you; thank you", "thank you"),
        ("and it was " + "a very long thing to say, " * 4, "a very long thing to say"),
        ("n" * 40, "n"),
        ("谢谢大家" * 10, "谢谢大家"),
        ("no no no no", None),
        ("very very very good", None),
        ("We said one, two, three, four, five, six, seven and then we said it all again and again.", None),
        ("", None),
    ],
)
def test_what_is_a_loop(text, unit):
    assert loop(text) == unit


def test_loops_stand_once():
    assert unlooped("Well, " + "thank you. " * 12 + "Bye.") == "Well, thank you. Bye."
    assert unlooped("a b c " * 7) == "a b c"
    assert unlooped("no no no yes") == "no no no yes"


@pytest.fixture
def speaks():
    """Makes a segmenter that hears speech in all of one clip."""

    @attrs.frozen
    class All:
        listens = True
        sure: bool = True

        def split(self, blocks, rate, longest):
            samples = np.concatenate(list(blocks))
            yield Clip(samples, 0.0, ((0.0, len(samples) / rate),), sure=self.sure, rate=rate)

        def part(self, left, right):
            return left, right

    return All


class TestPipeline:
    """Through a model: the letters of tests/conftest.py."""

    @pytest.fixture
    def mute(self, family):
        """A decoder that would rather stop than begin."""

        class Mute(family.Speller):
            def step(self, memory, cache, tokens):
                xp = self.backend.xp
                scores, past = super().step(memory, cache, tokens)
                bias = np.zeros((1, self.size), np.float32)
                bias[0, family.STOP] = 100.0
                return scores + xp.astype(cache.used[:, None] == 0, xp.float32) * xp.asarray(bias), past

        return Mute

    def model(self, make, registry, mute, speaks):
        from asrkit.backends.numpy import NumpyBackend
        from asrkit.registry import Entry

        registry.add(Entry("segmenter", "all", "test", speaks))
        backend = NumpyBackend()
        return make(backend, decoder=mute(backend, 2), segmenter="all")

    def test_forced(self, make, registry, mute, speaks, say):
        model = self.model(make, registry, mute, speaks)
        result = model.transcribe(say("hallohallo"), language="en")
        assert (result.text, [w.code for w in result.warnings]) == ("hallohallo", ["forced-text"])
        unsure = model.transcribe(say("hallohallo"), language="en", sure=False)
        assert (unsure.text, [w.code for w in unsure.warnings]) == ("", ["no-text"])
        plain = model.transcribe(say("hallohallo"), language="en", guards=False)
        assert (plain.text, plain.warnings) == ("", ())

    def test_a_second_look_that_fails_leaves_the_first(self, make, registry, mute, speaks, say, family):
        class Once(family.Identity):
            def __call__(self, features):
                if features.values[0, 0, 0] == 0:
                    raise BackendError("no")
                return super().__call__(features)

        model = self.model(make, registry, mute, speaks)
        model = make(model.backend, decoder=mute(model.backend, 2), segmenter="all", encoder=Once())
        result = model.transcribe(say("hallohallo"), language="en")
        assert (result.text, [w.code for w in result.warnings]) == ("", ["guard-failed"])
        assert result.warnings[0].message.endswith("the text looks wrong, and looking again failed: no")
