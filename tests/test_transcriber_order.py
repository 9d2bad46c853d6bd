"""What a model does when: batches, threads, what is made once."""

from __future__ import annotations

import re
import threading
import weakref

import attrs
import numpy as np
import pytest

from asrkit.arrays import Encoded
from asrkit.backends.numpy import NumpyBackend
from asrkit.errors import AsrkitError, AudioError, BackendError
from asrkit.registry import Entry
from asrkit.strategies.greedy import Greedy
from asrkit.testing import StrictBackend
from asrkit.values import Failure


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("backend", [NumpyBackend, StrictBackend])
def test_batches_change_nothing(make, say, batch_size, backend):
    texts = ["a", "hello", "", "zz", "abcdefghij", "x", "yes"]
    sources = [say(text) if text else (np.zeros(50, np.float32), 1000) for text in texts]
    found = make(backend()).transcribe(sources, batch_size=batch_size)
    assert [t.text for t in found] == texts
    assert [t.duration for t in found] == [len(text) / 10 or 0.05 for text in texts]


def test_batches_are_decoded_together(model, say):
    model.transcribe([say("ab"), say("cd"), say("e")], batch_size=2)
    assert model.parts.decoder.steps == [2, 2, 2, 1, 1]


def test_outcomes_come_as_they_are_made(model, say):
    taken = []

    def sources():
        for text in ("a", "b", "c"):
            taken.append(text)
            yield say(text)

    outcomes = model.outcomes(sources(), batch_size=1)
    assert taken == []
    assert next(outcomes).text == "a"
    assert taken == ["a"]


def test_two_threads_give_what_one_gives(make, say):
    model = make()
    texts = [f"{a}{b}" * n for n, (a, b) in enumerate(zip("abcdefgh", "stuvwxyz", strict=True), 1)]
    found = {}

    def work(name):
        found[name] = [t.text for t in model.transcribe([say(text) for text in texts], batch_size=3, language=name)]

    threads = [threading.Thread(target=work, args=(name,)) for name in ("en", "de")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {"en": texts, "de": texts}


def test_one_call_at_a_time(make, say, family):
    reached = []

    class Energies(family.Energies):
        def __call__(self, waveforms):
            reached.append(threading.current_thread())
            if len(reached) == 1:
                second.start()
                second.join(timeout=0.1)
                assert len(reached) == 1
            return super().__call__(waveforms)

    model = make(frontend=Energies())
    second = threading.Thread(target=model.transcribe, args=(say("b"),))
    assert model.transcribe(say("a")).text == "a"
    second.join()
    assert len(reached) == 2


def test_a_thread_may_stop_in_the_middle(model, say):
    """An iterator that is given up must not keep the others waiting."""
    outcomes = model.outcomes([say("a"), say("b")])
    next(outcomes)
    done = []
    thread = threading.Thread(target=lambda: done.append(model.transcribe(say("c")).text))
    thread.start()
    thread.join(timeout=10)
    assert done == ["c"]


def test_the_backend_is_released_after_each_batch(make, say):
    class Releasing(NumpyBackend):
        count = 0

        def release(self):
            self.count += 1

    model = make(Releasing())
    model.transcribe([say("a")] * 5, batch_size=2)
    assert model.backend.count == 3


def test_requests_are_for_a_clip_alone(make, say, family):
    asked = []

    class Halving:
        stride = 2

        def __call__(self, features):
            return Encoded(features.values[:, ::2], (features.lengths + 1) // 2)

    class Plain(family.Plain):
        def request(self, options, frames, previous=()):
            asked.append(frames)
            return super().request(options, frames, previous)

    found = make(encoder=Halving(), dialect=Plain()).transcribe([say("axbxc"), say("ax")], batch_size=2)
    assert [t.text for t in found] == ["abc", "a"]
    assert asked == [3, 1]


def test_a_strategy_is_bound_once_for_each_set_of_options(make, say, registry):
    bound = []

    @attrs.frozen
    class Wide(Greedy):
        width: int = 4

        def bind(self, decoder, backend):
            bound.append(self.width)
            return super().bind(decoder, backend)

    registry.add(Entry("strategy", "wide", "test", Wide))
    model = make(strategy="wide")
    for options in ({}, {"width": 2}, {"width": 4}, {"width": "2"}):
        model.transcribe(say("a"), **options)
    assert bound == [4, 2]


class Picky:
    """An encoder that fails at batches above a size and at recordings with a z."""

    stride = 1

    def __init__(self, error, most=100):
        self.error, self.most, self.seen = error, most, []

    def __call__(self, features):
        rows = len(features.values)
        self.seen.append(rows)
        if rows > self.most or (np.round(features.values) == 26).any():
            raise self.error
        return Encoded(features.values, features.lengths)


MEMORY = "there is not enough memory to decode {} s at once; try a smaller max_segment or batch_size"
ERRORS = pytest.mark.parametrize(
    ("error", "message"),
    [(MemoryError(), MEMORY), (BackendError("out of luck"), "out of luck"), (AudioError("too odd"), "too odd")],
)


@ERRORS
@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_what_fails_alone_fails_alone(make, say, error, message, batch_size):
    texts = ["ab", "z" * 12, "c", "de", "f", "zz"]
    found = list(make(encoder=Picky(error)).outcomes([say(text) for text in texts], batch_size=batch_size))
    assert [getattr(outcome, "text", None) for outcome in found] == ["ab", None, "c", "de", "f", None]
    for outcome, seconds in ((found[1], 1), (found[5], 0)):
        assert isinstance(outcome, Failure)
        assert isinstance(outcome.error, AsrkitError)
        assert str(outcome.error) == f"<samples>: {message.format(seconds)}"
        assert outcome.file == "<samples>"


@ERRORS
def test_a_batch_that_is_too_large_is_decoded_one_by_one(make, say, error, message):
    encoder = Picky(error, most=1)
    found = make(encoder=encoder).transcribe([say("ab"), say("c"), say("de")], batch_size=3)
    assert [t.text for t in found] == ["ab", "c", "de"]
    assert [t.tokens for t in found] == [(1, 2), (3,), (4, 5)]
    assert encoder.seen == [3, 1, 1, 1]


def test_a_failure_while_features_are_made_is_one_recordings(make, say, family):
    class Energies(family.Energies):
        def __call__(self, waveforms):
            if any(waveform.max() > 0.255 for waveform in waveforms):
                raise AudioError("samples are too large")
            return super().__call__(waveforms)

    found = list(make(frontend=Energies()).outcomes([say("a"), say("z"), say("b")], batch_size=3))
    assert [getattr(outcome, "text", None) for outcome in found] == ["a", None, "b"]
    with pytest.raises(AudioError, match=f"^{re.escape('<samples>: samples are too large')}$"):
        raise found[1].error


@pytest.mark.parametrize("error", [MemoryError, BackendError, ZeroDivisionError])
def test_the_backend_is_released_after_a_failure_too(make, say, error):
    class Releasing(NumpyBackend):
        count = 0

        def release(self):
            self.count += 1

    model = make(Releasing(), encoder=Picky(error()))
    assert isinstance(next(model.outcomes([say("z"), say("a")], batch_size=1)), Failure)
    assert model.backend.count == 1


def test_a_failed_batch_is_no_longer_in_memory_when_its_recordings_are_tried(make, say):
    made, alive = [], []

    class Arrays:
        """Stands for those of a batch."""

    class Encoder:
        stride = 1

        def __call__(self, features):
            alive.append(sum(reference() is not None for reference in made))
            arrays = Arrays()
            made.append(weakref.ref(arrays))
            if len(features.values) > 1:
                raise MemoryError
            return Encoded(features.values, features.lengths)

    make(encoder=Encoder()).transcribe([say("a"), say("b")], batch_size=2)
    assert alive == [0, 0, 0]
