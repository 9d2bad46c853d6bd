from __future__ import annotations

import io
import re

import attrs
import numpy as np
import pytest
import soundfile

from asrkit.errors import AudioError, OptionError, UnknownNameError, UsageError
from asrkit.interfaces import CTCDecoder
from asrkit.registry import Entry
from asrkit.values import Clip, Failure, Notice, Recording


@attrs.frozen
class Shy:
    """A strategy with an option, for decoders that the family has not."""

    decodes = CTCDecoder
    width: int = 4

    def bind(self, decoder, backend):
        raise AssertionError("never asked")


class Halves:
    """A segmenter that cuts in the middle."""

    listens = False

    def split(self, blocks, rate, longest):
        samples = np.concatenate(list(blocks))
        middle = len(samples) // 2
        yield from (Clip(samples[:middle], rate=rate), Clip(samples[middle:], middle / rate, rate=rate))

    def part(self, left, right):
        return left, right


@pytest.fixture
def registry(registry):
    registry.add(Entry("strategy", "shy", "test", Shy))
    registry.add(Entry("segmenter", "halves", "test", Halves))
    return registry


def refused(call, message, error=OptionError):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call()


def test_one_recording(model, say):
    result = model.transcribe(say("hallo"))
    assert result.text == "hallo"
    assert result.tokens == (8, 1, 12, 12, 15)
    assert (result.file, result.model, result.backend, result.precision) == ("<samples>", "speller", "numpy", "fp32")
    assert (result.language, result.target_language, result.task) == ("en", None, None)
    assert result.duration == 0.5
    assert [(s.text, s.start, s.end) for s in result.segments] == [("hallo", 0.0, 0.5)]
    assert [notice.code for notice in result.warnings] == ["language-assumed"]


def test_a_list_gives_a_list(model, say):
    assert [t.text for t in model.transcribe([say("ab"), say("c")])] == ["ab", "c"]
    assert [t.text for t in model.transcribe([say("ab")])] == ["ab"]
    assert model.transcribe([]) == []


@pytest.mark.parametrize("bad", [b"no audio", "no/such.wav", (np.full(9, np.nan), 1000), 3])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 4])
def test_a_bad_recording_does_not_stop_the_others(model, say, bad, batch_size):
    found = list(model.outcomes([say("a"), bad, say("b"), bad], batch_size=batch_size))
    assert [getattr(f, "text", None) for f in found] == ["a", None, "b", None]
    for failure in found[1::2]:
        assert isinstance(failure, Failure)
        assert isinstance(failure.error, AudioError)
        assert failure.file in ("<bytes>", "no/such.wav", "<samples>", "<file>")


def test_only_bad_recordings(model):
    assert [type(f) for f in model.outcomes([b"x", b"y"], batch_size=2)] == [Failure, Failure]


def test_transcribe_raises_the_first_failure(model, say):
    refused(lambda: model.transcribe([say("a"), "no/such.wav", b"x"]), "no/such.wav: there is no such file", AudioError)


def test_kinds_of_audio(model, say, tmp_path):
    samples, rate = say("hey")
    path = tmp_path / "hey.wav"
    soundfile.write(path, samples, rate, subtype="FLOAT")
    for source, name in [
        (path, str(path)),
        (str(path), str(path)),
        (path.read_bytes(), "<bytes>"),
        (io.BytesIO(path.read_bytes()), "<file>"),
        (((samples * 2**15).astype(np.int16), rate), "<samples>"),
        ((samples.astype(np.float64), rate), "<samples>"),
        ((np.stack([samples, samples], 1), rate), "<samples>"),
    ]:
        result = model.transcribe(source)
        assert (result.text, result.file) == ("hey", name)


def test_an_array_with_its_rate(model, say):
    samples, rate = say("hey")
    result = model.transcribe(samples, rate=rate)
    assert (result.text, result.file) == ("hey", "<samples>")
    assert [t.text for t in model.transcribe([samples, samples[:100]], rate=rate, batch_size=2)] == ["hey", "h"]


def test_an_array_without_its_rate(model, say):
    message = "an array of samples needs its rate: rate=16000, or (samples, 16000)"
    refused(lambda: model.transcribe(say("a")[0]), message)


@pytest.mark.parametrize("source", [b"x", "x.wav", (np.zeros(3), 1000)])
def test_a_rate_for_audio_that_brings_its_own(model, source):
    refused(lambda: model.transcribe(source, rate=8000), "rate is for bare arrays; other audio brings its own")


def test_other_rates_are_resampled(model, say):
    samples, rate = say("mmm")
    result = model.transcribe((np.repeat(samples, 2), 2 * rate))
    assert result.text[1] == "m"
    assert result.duration == 0.3


NAMES = "confidence, confidence_measure, edges, language, limit"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"langauge": "de"},
            "model 'speller' with strategy 'greedy' and segmenter 'whole' has no option 'langauge' "
            "(did you mean 'language'?); "
            f"it has: {NAMES}",
        ),
        ({"x": 1}, f"model 'speller' with strategy 'greedy' and segmenter 'whole' has no option 'x'; it has: {NAMES}"),
        ({"edges": "reflect"}, "option 'edges' is set when the model is loaded: load_model(..., edges=...)"),
        ({"language": "fr"}, "no language 'fr'; there is: de, en"),
        *(
            ({"batch_size": size}, f"batch_size must be a whole number from 1 on, or 'auto', found {size!r}")
            for size in (0, -1, True, 2.0, "2", None)
        ),
        *(
            (
                {name: 1},
                f"model 'speller' with strategy 'greedy' and segmenter 'whole' has no option {name!r}; it has: {NAMES}",
            )
            for name in ("self", "sources")
        ),
        (
            {"strategy": "shy"},
            "strategy 'shy' decodes with a CTCDecoder, which model 'speller' has not; its own strategy is 'greedy'",
        ),
        ({"strategy": "shy", "width": "x"}, "strategy 'shy': option 'width' takes a whole number, not 'x'"),
    ],
)
def test_options_are_refused_before_anything_is_read(model, options, message):
    refused(lambda: model.outcomes(["never read"], **options), message)


@pytest.mark.parametrize(("name", "hint"), [("gredy", " (did you mean 'greedy'?)"), ("", "")])
def test_unknown_strategy(model, name, hint):
    message = (
        f"there is no strategy {name!r}{hint}; there is: attention-beam, ctc-beam, ctc-greedy, greedy, shy, "
        "transducer-beam, transducer-greedy"
    )
    refused(lambda: model.transcribe(b"", strategy=name), message, UnknownNameError)


def test_none_means_not_given(model, say):
    # Also for options that only other models have: a program may always pass all it knows.
    result = model.transcribe(say("ab"), language=None, limit=None, strategy=None, target_language=None)
    assert (result.language, result.text) == ("en", "ab")
    assert [notice.code for notice in result.warnings] == ["language-assumed"]


def test_options_reach_the_dialect(model, say):
    result = model.transcribe(say("abc"), language="de", limit=2)
    assert (result.language, result.text, [w.code for w in result.warnings]) == ("de", "ab", ["token-limit"])


def test_option_names(model):
    assert model.option_names() == ["confidence", "confidence_measure", "language", "limit"]
    assert model.option_names("shy") == ["language", "limit", "width"]


@pytest.mark.parametrize("text", ["", "ab"])
def test_timing(model, say, text):
    result = model.transcribe(say(text or " "))
    timing = attrs.asdict(result.timing)
    assert list(timing) == ["load", "audio", "features", "inference", "total"]
    assert result.timing.load == 0.125
    assert all(seconds >= 0 for seconds in timing.values())
    assert result.timing.total >= result.timing.inference
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        result.timing.load = 1


def test_results_are_equal_whatever_they_took(model, say):
    assert model.transcribe(say("ab")) == model.transcribe(say("ab"))


def test_notices_of_the_model_come_first(make, say):
    model = make(notices=(Notice("old", "an old checkpoint"),))
    assert [n.code for n in model.transcribe(say("a")).warnings] == ["old", "language-assumed"]


@pytest.mark.parametrize(("text", "warned"), [("abcdefgh", []), ("abcdefghij", ["long-recording"])])
def test_longer_than_the_model_was_trained_on(make, say, text, warned):
    result = make(longest=0.3).transcribe(say(text), language="en")
    assert [notice.code for notice in result.warnings] == warned
    assert result.text == text


def test_clips_have_their_own_clocks(make, say):
    result = make(segmenter="halves").transcribe(say("abcdef"))
    assert result.text == "abc def"
    third = pytest.approx(0.3)
    assert [(s.text, s.start, s.end) for s in result.segments] == [
        ("abc", 0, third),
        ("def", third, pytest.approx(0.6)),
    ]


def test_silence_before_a_clip_is_taken_off_its_times(make, say, family):
    class Late(family.Energies):
        def lead(self, samples):
            return 200

        def __call__(self, waveforms):
            return super().__call__([np.concatenate([np.full(200, 0.26, np.float32), w]) for w in waveforms])

        def frames(self, samples):
            return super().frames(samples + 200)

    (segment,) = make(frontend=Late()).transcribe(say("abcd"), limit=3).segments
    # Two frames of silence before it: frame 3, where the text ends, is at 0.1 s; nothing begins before the start.
    assert (segment.text, segment.start, segment.end) == ("zza", 0.0, pytest.approx(0.1))


@pytest.mark.parametrize("single", ["a.wav", b"x", io.BytesIO(b"x"), (np.zeros(3), 16000), np.zeros(3)])
def test_outcomes_of_a_single_recording_are_refused(model, single):
    with pytest.raises(UsageError, match="put a single one into a list"):
        model.outcomes(single)


def test_an_excerpt_has_the_times_of_its_file(model, say):
    samples, rate = say("abcdef")
    (found,) = model.outcomes([Recording((samples, rate), offset=0.2, duration=0.3)])
    assert found.text == "cde"
    assert found.duration == pytest.approx(0.3)
    (segment,) = found.segments
    assert (segment.start, segment.end) == (pytest.approx(0.2), pytest.approx(0.5))


def test_a_recording_has_wishes_of_its_own(model, say):
    sources = [Recording(say("ab"), options={"language": "de"}), say("ab"), Recording(say("abc"), options={"limit": 1})]
    found = list(model.outcomes(sources, language="en", batch_size=3))
    assert [(one.language, one.text) for one in found] == [("de", "ab"), ("en", "ab"), ("en", "a")]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"options": {"language": "xx"}}, "no language 'xx'"),
        ({"options": {"colour": 1}}, "has no option 'colour'"),
        ({"offset": 5.0}, "was to be read from 5 s on"),
        ({"offset": -1.0}, "offset is a number of seconds"),
    ],
)
def test_wrong_wishes_fail_their_recording_only(model, say, wrong, message):
    good, bad = model.outcomes([say("ab"), Recording(say("ab"), **wrong)], batch_size=2)
    assert good.text == "ab"
    assert message in str(bad.error)


def test_channels(model, say):
    both = np.stack([say("abc")[0], say("def")[0]], axis=1)
    assert model.transcribe((both, 1000), channel=2).text == "def"
    assert model.transcribe((both, 1000), channel=1).text == "abc"
    with pytest.raises(AudioError, match="channel 3 was asked for, there are 2 channels"):
        model.transcribe((both, 1000), channel=3)
    with pytest.raises(OptionError, match="a channel is a whole number from 1 on, found 0"):
        model.outcomes([], channel=0)


def test_what_the_file_lacks_is_told_in_the_result(model, say, tmp_path):
    path = tmp_path / "x.wav"
    soundfile.write(path, np.tile(say("abc")[0], 2), 1000, subtype="FLOAT")
    path.write_bytes(path.read_bytes()[:-1200])
    found = model.transcribe(path)
    assert found.text == "abc"
    assert [notice.code for notice in found.warnings] == ["language-assumed", "truncated"]
