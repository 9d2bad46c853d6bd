"""The checks of encoders, decoders and strategies pass right parts and fail wrong ones, saying why."""

from __future__ import annotations

import attrs
import pytest

from asrkit.arrays import Encoded
from asrkit.backends.numpy import NumpyBackend
from asrkit.errors import SeamError
from asrkit.interfaces import AttentionDecoder
from asrkit.nn import length_mask
from asrkit.strategies.attention_beam import AttentionBeam
from asrkit.strategies.greedy import Greedy
from asrkit.testing import (
    SmallDecoder,
    StrictBackend,
    check_decoder,
    check_encoder,
    check_model,
    check_strategy,
    installed_backends,
)

NUMPY = {"numpy": NumpyBackend()}
WIDTH, BINS = SmallDecoder.width, 5

# Encoders


class Means:
    """Halves the time: each state is the mean of two valid frames."""

    stride = 2

    def __init__(self, backend):
        self.backend, self.xp, self.ops = backend, backend.xp, backend.ops

    def masked(self, features):
        values, lengths = features
        return self.xp.where(length_mask(self.ops, lengths, values.shape[1])[:, :, None], values, values * 0.0)

    def __call__(self, features):
        values = self.ops.pad(self.masked(features), 1, 0, 1)
        half = (features.values.shape[1] + 1) // 2
        values = values[:, : 2 * half, :]
        pairs = self.xp.reshape(values, (values.shape[0], half, 2, BINS))
        return Encoded(self.xp.mean(pairs, axis=2), (features.lengths + 1) // 2)


class Neighbours(Means):
    def __call__(self, features):
        states, lengths = super().__call__(features)
        return Encoded(states - self.xp.mean(states, axis=0, keepdims=True), lengths)


class Padding(Means):
    """Also depends on padding: the mean over all of the width."""

    def __call__(self, features):
        states, lengths = super().__call__(features)
        return Encoded(states - self.xp.mean(states, axis=1, keepdims=True), lengths)


class Unmasked(Means):
    """Its last state of an odd row reads the padding; only a part before it that leaves something there tells."""

    def masked(self, features):
        return features.values + 1.0


class Lengths(Means):
    def __call__(self, features):
        states, _ = super().__call__(features)
        return Encoded(states, features.lengths * 0 + states.shape[1])


class Branches(Means):
    def __call__(self, features):
        if self.xp.max(features.values) > 100:
            return None
        return super().__call__(features)


class OneBackend(Means):
    def __call__(self, features):
        states, lengths = super().__call__(features)
        return Encoded(states * (1.01 if self.backend.name == "mlx" else 1.0), lengths)


class NotFinite(Means):
    def __call__(self, features):
        states, lengths = super().__call__(features)
        return Encoded(states * float("inf") * 0.0, lengths)


def test_right_encoder():
    check_encoder(Means, BINS)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (Neighbours, "numpy: row 0 in a batch: differs by"),
        (Padding, "numpy: row 0 padded: differs by"),
        (Unmasked, "numpy: row 0 in a batch: differs by|numpy: row 0 padded: differs by"),
        (Lengths, "numpy: row 0 padded: shape"),
        (NotFinite, "numpy: row 0 alone: not finite"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_wrong_encoder(encoder, message):
    with pytest.raises(AssertionError, match=message):
        check_encoder(encoder, BINS, backends=NUMPY)


def test_encoder_that_branches_fails_on_the_strict_backend():
    check_encoder(Branches, BINS, backends=NUMPY)  # which is why there is a strict one
    with pytest.raises(SeamError, match="a decision about a value"):
        check_encoder(Branches, BINS)


def test_encoder_that_differs_on_one_backend():
    if "mlx" not in installed_backends():
        pytest.skip("mlx is not installed")
    with pytest.raises(AssertionError, match=r"^mlx: row 0 alone: differs by"):
        check_encoder(OneBackend, BINS)


# Decoders


class Forgetful(SmallDecoder):
    def past(self, cache, tokens):
        return self.xp.sum(self.ops.embed(tokens, self.table), axis=1)


class ReadsPadding(SmallDecoder):
    def mean(self, encoded):
        return self.xp.mean(encoded.values, axis=1)


class Mixes(SmallDecoder):
    def past(self, cache, tokens):
        sums = super().past(cache, tokens)
        return sums + self.xp.sum(sums, axis=0, keepdims=True)


def test_right_decoder():
    check_decoder(SmallDecoder, WIDTH)


@pytest.mark.parametrize(
    ("decoder", "message"),
    [
        (Forgetful, "numpy: prompt, then token by token: differs by"),
        (ReadsPadding, "numpy: one pass, in a batch: differs by"),
        (Mixes, "numpy: one pass, in a batch: differs by"),
    ],
)
def test_wrong_decoder(decoder, message):
    with pytest.raises(AssertionError, match=f"^{message}"):
        check_decoder(decoder, WIDTH, backends=NUMPY)


# Strategies


@pytest.mark.parametrize(
    "strategy", [Greedy(), Greedy(confidence=True), AttentionBeam(), AttentionBeam(3, 1.0, 3)], ids=str
)
def test_right_strategy(strategy):
    check_strategy(strategy)


def with_requests(change):
    """Greedy search that does not hear all of a request."""

    class Deaf:
        decodes = AttentionDecoder

        def bind(self, decoder, backend):
            decode = Greedy().bind(decoder, backend)
            return lambda encoded, requests: decode(encoded, [change(request) for request in requests])

    return Deaf()


def with_results(change):
    class Changed:
        decodes = AttentionDecoder

        def bind(self, decoder, backend):
            decode = Greedy().bind(decoder, backend)
            return lambda encoded, requests: change(decode(encoded, requests))

    return Changed()


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        (with_requests(lambda r: attrs.evolve(r, limit=r.limit + 1)), "numpy: limits are not honoured"),
        (with_requests(lambda r: attrs.evolve(r, stops=frozenset())), "numpy: stops are not honoured"),
        (with_requests(lambda r: attrs.evolve(r, suppress_first=frozenset())), "numpy: suppress_first is not honoured"),
        (with_requests(lambda r: attrs.evolve(r, stops_after=1)), "numpy: stops_after is not honoured"),
        (with_results(lambda found: [best * 2 for best in found]), "several hypotheses need ranks, the highest first"),
        (with_results(lambda found: found[:1]), "1 results for 4 requests"),
        (with_results(lambda found: [[] for _ in found]), "every row has at least one hypothesis"),
        (with_results(lambda found: [*found[:2], *found[:1:-1]]), "numpy: without stops: .* in a batch, .* alone"),
    ],
)
def test_wrong_strategy(strategy, message):
    with pytest.raises(AssertionError, match=f"^{message}"):
        check_strategy(strategy, SmallDecoder, WIDTH, backends=NUMPY)


def test_strict_backend_comes_first():
    """A part that leaves the subset must not be blamed for what it does on a real backend."""
    assert isinstance(next(iter(installed_backends().values())), StrictBackend)


def test_right_model(family):
    check_model(lambda backend: family.build(None, backend, "fp32"))


def test_wrong_model(family):
    class Mixes(family.Identity):
        def __call__(self, features):
            return features._replace(values=features.values[::-1])

    def build(backend):
        return attrs.evolve(family.build(None, backend, "fp32"), encoder=Mixes())

    with pytest.raises(AssertionError, match=r"^numpy: .* in a batch, .* alone"):
        check_model(build, backends=NUMPY)
