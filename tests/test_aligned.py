"""Words' times from an aligner: asked for when wanted, laid into the recording, honest where there are none."""

from __future__ import annotations

import pytest

import asrkit
from asrkit.errors import CheckpointError, OptionError, PluginError
from asrkit.values import Passage, Word


class Aligner:
    """Says that each word lasts 20 ms, 50 ms after the last one began; ``calls`` has the texts of each batch."""

    def __init__(self):
        self.calls = []

    def __call__(self, waveforms, texts):
        assert len(waveforms) == len(texts)
        self.calls.append(list(texts))
        return [
            [Word(word, n / 20, n / 20 + 0.02) for n, word in enumerate(text.split())] if "X" not in text else []
            for text in texts
        ]


@pytest.fixture
def aligner():
    return Aligner()


@pytest.fixture
def built():
    """How often the aligner was built."""
    return []


@pytest.fixture
def model(make, family, aligner, built):
    class Aligned(family.Plain):
        """The aligner tells."""

        def timed(self, options):
            return options

        def read(self, hypothesis, clock, options):
            text = " ".join(super().read(hypothesis, clock, options).text.upper())
            return Passage(text, text, hypothesis.tokens)

    def build():
        built.append(True)
        return aligner

    return make(segmenter="fixed", dialect=Aligned(), aligner=build)


def words(result):
    return [(w.text, round(w.start, 2), round(w.end, 2)) for segment in result.segments for w in segment.words]


def ask(model, source, **options):
    return model.transcribe(source, language="en", timestamps="word", guards=False, **options)


def test_words_get_the_times_of_the_aligner(model, say, aligner):
    result = ask(model, say("ab        cde"), max_segment=1.0, overlap=0.0)
    assert words(result) == [
        ("A", 0.0, 0.02), ("B", 0.05, 0.07), ("C", 1.0, 1.02), ("D", 1.05, 1.07), ("E", 1.1, 1.12)
    ]  # fmt: skip
    assert aligner.calls == [["A B", "C D E"]]
    assert (result.text, result.warnings) == ("A B C D E", ())


def test_times_are_those_of_the_file(model, say):
    assert words(ask(model, asrkit.Recording(say("abcd"), offset=0.2))) == [("C", 0.2, 0.22), ("D", 0.25, 0.27)]


def test_it_is_built_when_words_are_asked_for_and_once(model, say, built):
    for timestamps in (None, "none"):
        model.transcribe(say("ab"), language="en", timestamps=timestamps)
    assert built == []
    for _ in range(2):
        ask(model, say("ab"))
    assert built == [True]


def test_without_being_asked_answers_tell_no_times(model, say):
    assert words(model.transcribe(say("ab"), language="en")) == []
    with pytest.raises(OptionError, match="the model gives no times for this, and nobody listens"):
        model.transcribe(say("ab"), language="en", timestamps="segment")


def test_a_text_without_times_lies_evenly_and_that_is_told(model, say):
    result = ask(model, say("axbc"))
    assert words(result) == [("A", 0.0, 0.1), ("X", 0.1, 0.2), ("B", 0.2, 0.3), ("C", 0.3, 0.4)]
    (notice,) = result.warnings
    assert notice.code == "times-estimated"
    assert notice.message == "the model timed none of 4 words from 0.00 s on; they lie evenly over the speech"


def test_silence_is_not_aligned(model, say, aligner):
    results = ask(model, [say("    "), say("ab")])
    assert aligner.calls == [["A B"]]
    assert [words(result) for result in results] == [[], [("A", 0.0, 0.02), ("B", 0.05, 0.07)]]
    assert ask(model, say("    ")).segments == ()
    assert len(aligner.calls) == 1


def test_mistakes_of_an_aligner_are_told(make, model, say, aligner):
    def other(aligner):
        return make(dialect=model.parts.dialect, aligner=aligner)

    with pytest.raises(PluginError, match="the aligner gave 0 results for 1 clips"):
        ask(other(lambda: lambda waveforms, texts: []), say("ab"))
    with pytest.raises(PluginError, match=r"aligner .* failed: ZeroDivisionError"):
        ask(other(lambda: lambda waveforms, texts: 1 // 0), say("ab"))
    with pytest.raises(PluginError, match="the aligner of model 'speller' failed: ZeroDivisionError"):
        ask(other(lambda: 1 // 0), say("ab"))

    def broken():
        raise CheckpointError("model.nemo: no such tensor")

    with pytest.raises(CheckpointError, match=r"^model\.nemo: no such tensor$"):
        ask(other(broken), say("ab"))
