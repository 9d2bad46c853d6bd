"""Recordings of any length through a model: cut, decoded in batches, put together again."""

from __future__ import annotations

import itertools
import random

import attrs
import numpy as np
import pytest

from asrkit.errors import AudioError, OptionError, UsageError
from asrkit.registry import Entry
from asrkit.segmenters.fixed import Fixed
from asrkit.values import Clip, Failure, Passage, Segment, Word


@attrs.frozen
class Spaces:
    """A segmenter that cuts at each silent frame: words are the letters between."""

    listens = True

    def split(self, blocks, rate, longest):
        samples, begin = np.zeros(0, np.float32), 0
        for block in blocks:
            samples = np.concatenate([samples, block])
            while (ends := np.flatnonzero(samples == 0)).size and ends[0] + 100 <= len(samples):
                if ends[0]:
                    yield self.clip(samples[: ends[0]], begin / rate, rate)
                samples, begin = samples[ends[0] + 100 :], begin + int(ends[0]) + 100
        if len(samples):
            yield self.clip(samples, begin / rate, rate)

    def clip(self, samples, start, rate):
        return Clip(samples, start, ((start, start + len(samples) / rate),), rate=rate)

    def part(self, left, right):
        return left, right


@pytest.fixture
def registry(registry):
    registry.add(Entry("segmenter", "spaces", "test", Spaces))
    return registry


@pytest.fixture
def model(make, family):
    class Untimed(family.Plain):
        """Like most models: knows no times."""

        def read(self, hypothesis, clock, options):
            return attrs.evolve(super().read(hypothesis, clock, options), segments=())

    return make(segmenter="spaces", dialect=Untimed())


TEXT = "the quick brown fox jumps over the lazy dog and runs away from all of them"


def test_clips_become_one_text_with_times(model, say):
    result = model.transcribe(say("ab  cd e"), language="en")
    assert result.text == "ab cd e"
    assert [(s.text, s.start, s.end) for s in result.segments] == [
        ("ab", 0, 0.2), ("cd", 0.4, pytest.approx(0.6)), ("e", 0.7, pytest.approx(0.8))
    ]  # fmt: skip
    assert result.duration == 0.8


@pytest.mark.parametrize("seed", range(8))
def test_batches_order_and_company_change_nothing(model, say, seed):
    rng = random.Random(seed)
    texts = [" ".join(rng.choices(TEXT.split(), k=rng.randint(0, 12))) or " " for _ in range(7)]
    alone = {text: model.transcribe(say(text), language="en") for text in texts}
    for batch_size in (1, 2, 3, 16, "auto"):
        rng.shuffle(texts)
        for text, found in zip(
            texts, model.transcribe([say(t) for t in texts], batch_size=batch_size, language="en"), strict=True
        ):
            assert found == alone[text]


def test_clips_of_many_recordings_share_batches(model, say):
    model.parts.decoder.steps.clear()
    list(model.outcomes([say("ab cd"), say("ef gh"), say("ij kl")], batch_size=6))
    assert max(model.parts.decoder.steps) == 6


def test_batches_go_by_length(make, say, monkeypatch):
    from asrkit import pipeline

    monkeypatch.setattr(pipeline, "AUTO_SECONDS", 2.0)
    model = make(segmenter="spaces")
    list(model.outcomes([say("abcdefghij abcdefghij a b c d e f g h i j k l m n o p q r s t u v w x")]))
    first = [rows for rows, _ in itertools.groupby(model.parts.decoder.steps)]
    assert first[0] == 2, "two clips of a second"
    assert pipeline.AUTO_ROWS in first, "many short ones"


def test_a_bad_clip_fails_its_recording_only(make, say, family):
    class Picky(family.Identity):
        def __call__(self, features):
            if (features.values == 26).any():
                raise AudioError("no z")
            return super().__call__(features)

    model = make(segmenter="spaces", encoder=Picky())
    found = list(model.outcomes([say("ab cd"), say("ef z gh"), say("ij")], batch_size=4))
    assert [getattr(one, "text", None) for one in found] == ["ab cd", None, "ij"]
    assert isinstance(found[1], Failure)


@pytest.mark.parametrize("size", [1, 77, 100, 1000, 10**6])
def test_a_stream_gives_the_same_segments(model, say, size):
    samples, rate = say(TEXT)
    blocks = (samples[start : start + size] for start in range(0, len(samples), size))
    assert (
        tuple(model.transcribe_stream(blocks, rate, language="en"))
        == model.transcribe((samples, rate), language="en").segments
    )


def test_a_stream_gives_segments_as_they_are_final(model, say):
    samples, rate = say("ab cd ef")
    read = []

    def blocks():
        for start in range(0, len(samples), 100):
            read.append(start)
            yield samples[start : start + 100]

    segments = model.transcribe_stream(blocks(), rate)
    assert read == []
    assert next(segments).text == "ab"
    assert len(read) < 8, "the rest has not been read"


def test_a_stream_with_overlaps(make, say, registry, family):
    registry.add(Entry("segmenter", "windows", "test", lambda: Fixed(max_segment=1.0, overlap=0.3)))
    samples, rate = say("abcdefghijklmnopqrstuvwxyz")
    model = make(segmenter="windows")
    whole = model.transcribe((samples, rate))
    assert tuple(model.transcribe_stream(iter([samples]), rate)) == whole.segments


def test_what_a_stream_cannot_be(model, say):
    with pytest.raises(
        OptionError, match=r"^transcribe_stream decodes clips as they come; it has no option 'batch_size'$"
    ):
        model.transcribe_stream([], 1000, batch_size=2)
    with pytest.raises(OptionError, match="has no option 'x'"):
        model.transcribe_stream([], 1000, x=2)
    with pytest.raises(AudioError, match=r"^<samples>: holds no samples$"):
        next(model.transcribe_stream([], 1000))
    blocks = [np.zeros(5, np.float32), np.zeros((5, 2), np.float32)]
    with pytest.raises(AudioError, match=r"^<samples>: a block has 2 channels, the first had 1$"):
        list(model.transcribe_stream(blocks, 1000))


def test_progress(model, say):
    told = []
    model.transcribe([say("ab cd ef"), say("gh")], progress=lambda *args: told.append(args), batch_size=1)
    assert told == [(0, pytest.approx(0.2)), (0, pytest.approx(0.5)), (0, pytest.approx(0.8)), (1, pytest.approx(0.2))]


class TestTimestamps:
    @pytest.fixture
    def timed(self, family):
        """Asked for times, it tells those of words, and forgets capitals, marks and the last word."""

        @attrs.frozen
        class Options:
            language: str = "en"
            limit: int | None = None
            timestamp: bool = False

        class Timed(family.Plain):
            Options_ = Options

            def resolve(self, wishes):
                _, notices = super().resolve(wishes)
                return Options(**wishes), notices

            def timed(self, options):
                return attrs.evolve(options, timestamp=True)

            def read(self, hypothesis, clock, options):
                letters = super().read(hypothesis, clock, options).text
                if not options.timestamp:
                    return Passage(" ".join(letters.upper()), letters, hypothesis.tokens)
                words = [Word(c, clock.seconds(n), clock.seconds(n + 1)) for n, c in enumerate(letters[:-1])]
                segments = (Segment("", 0, 0, tuple(words)),) if words else ()
                return Passage(letters, letters, hypothesis.tokens, segments)

        return Timed()

    def test_words(self, make, say, timed):
        model = make(segmenter="spaces", dialect=timed)
        result = model.transcribe(say("abc de"), timestamps="word", language="en")
        assert result.text == "A B C D E"
        words = [(w.text, w.start, w.end) for s in result.segments for w in s.words]
        times = pytest.approx([0.0, 0.1, 0.1, 0.2, 0.2, 0.3, 0.4, 0.5, 0.5, 0.6])
        assert [w[0] for w in words] == list("ABCDE")
        assert [t for w in words for t in w[1:]] == times
        assert result.warnings == ()

    def test_without_being_asked(self, make, say, timed):
        model = make(segmenter="spaces", dialect=timed)
        result = model.transcribe(say("abc de"), language="en")
        assert [(s.text, s.words) for s in result.segments] == [("A B C", ()), ("D E", ())]
        assert model.transcribe(say("abc de"), timestamps="none", language="en").segments == ()
        assert model.transcribe(say("abc de"), timestamps="segment", language="en").segments == result.segments

    def test_words_that_the_model_did_not_time(self, make, say, timed):
        model = make(segmenter="spaces", dialect=timed)
        result = model.transcribe(say("a b"), timestamps="word", language="en")
        assert [notice.code for notice in result.warnings] == ["times-estimated", "times-estimated"]
        assert [(w.text, w.start, w.end) for s in result.segments for w in s.words] == [
            ("A", 0.0, 0.1), ("B", 0.2, pytest.approx(0.3))
        ]  # fmt: skip

    def test_what_a_model_cannot_give(self, make, model, say):
        with pytest.raises(OptionError, match="nobody knows when a letter is spoken"):
            model.transcribe(say("a"), timestamps="word")
        with pytest.raises(OptionError, match="segment times need the segmenter 'pauses' with vad"):
            make().transcribe(say("a"), timestamps="segment")
        with pytest.raises(OptionError, match=r"^timestamps is one of none, segment, word, found 'words'$"):
            model.transcribe(say("a"), timestamps="words")
        with pytest.raises(OptionError, match=r"^guards is True or False, found 'off'$"):
            model.transcribe(say("a"), guards="off")


def test_times_lie_inside_an_excerpt(model, say):
    from asrkit.values import Recording

    result = model.transcribe(Recording(say("ab cd ef gh"), offset=0.3, duration=0.5), language="en")
    assert result.text == "cd ef"
    assert [(s.start, s.end) for s in result.segments] == [(0.3, 0.5), (0.6, pytest.approx(0.8))]


def test_a_call_may_be_stopped_between_batches(model, say):
    asked = []

    def stop():
        asked.append(None)
        return len(asked) > 3

    found = list(model.outcomes([say("ab"), say("cd"), say("ef"), say("gh")], batch_size=1, stop=stop))
    assert [t.text for t in found] in (["ab"], ["ab", "cd"]), "what is done is kept, the rest is not begun"


def test_a_stream_that_breaks_off_keeps_what_was_said(model, say):
    samples, rate = say("ab cd ef")

    def blocks():
        yield samples[:300]
        yield samples[300:600]
        raise ConnectionError("gone")

    segments = model.transcribe_stream(blocks(), rate)
    assert [next(segments).text, next(segments).text] == ["ab", "cd"]
    with pytest.raises(AudioError, match=r"^<samples>: the blocks of samples broke off: ConnectionError: gone$"):
        next(segments)


def test_a_stream_tells_its_warnings(model, say):
    samples, rate = say("ab cd")
    told = []
    list(model.transcribe_stream([samples], rate, notify=told.append))
    assert [notice.code for notice in told] == ["language-assumed"]


@pytest.mark.parametrize("channels", [1, 2])
def test_blocks_may_be_empty_and_share_their_room(model, say, channels):
    samples, rate = say("ab cd")
    room = np.zeros((100, channels), np.float32)

    def blocks():
        yield room[:0]
        for start in range(0, len(samples), 100):
            room[:] = samples[start : start + 100, None]
            yield room
            yield room[:0]

    found = model.transcribe_stream(blocks(), rate, segmenter="whole", language="en")
    assert [segment.text for segment in found] == ["ab cd".replace(" ", "")[:2]]


def test_what_is_no_stream(model):
    with pytest.raises(UsageError, match=r"^blocks are arrays of samples, one after another, found NoneType$"):
        model.transcribe_stream(None, 1000)
    with pytest.raises(OptionError, match=r"^progress is a function, found 3$"):
        model.transcribe_stream([], 1000, progress=3)
    with pytest.raises(
        OptionError, match=r"^a stream gives segments with their times; timestamps 'none' leaves nothing$"
    ):
        model.transcribe_stream([], 1000, timestamps="none")


def test_lengths_are_refused_before_anything_is_read(make):
    model = make(longest=20.0, segmenter="pauses")
    with pytest.raises(OptionError, match=r"^max_segment is at most 20 s, what the model takes, found 30$"):
        model.outcomes(["never read"], max_segment=30, vad="none")


def test_silence_is_told(make, family):
    model = make(longest=2.0, segmenter="pauses")
    result = model.transcribe((np.zeros(10 * family.RATE, np.float32), family.RATE), vad="energy", language="en")
    assert (result.text, [w.code for w in result.warnings]) == ("", ["no-speech"])


def test_a_stream_that_breaks_off_within_a_clip(model, say):
    samples, rate = say("ab cd")

    def blocks():
        yield samples[:450]
        raise OSError("gone")

    segments = model.transcribe_stream(blocks(), rate)
    assert [next(segments).text, next(segments).text] == ["ab", "c"]
    with pytest.raises(AudioError, match=r"broke off: OSError: gone$"):
        next(segments)


def test_stop_is_not_for_transcribe(model, say):
    with pytest.raises(OptionError, match=r"^transcribe gives a result for each recording; stop, which gives some up"):
        model.transcribe(say("ab"), stop=lambda: True)
