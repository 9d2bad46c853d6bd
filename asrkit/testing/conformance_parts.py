"""Holds encoders, decoders, strategies and whole models to one result on every backend, alone or in a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np

from asrkit.arrays import Encoded, Features
from asrkit.interfaces import AttentionDecoder, Backend, Encoder, Strategy
from asrkit.models import Parts
from asrkit.plugins import registry
from asrkit.testing.conformance_host import noise
from asrkit.testing.small import SmallDecoder
from asrkit.testing.where import Backends, chosen
from asrkit.transcriber import Model
from asrkit.values import Hypothesis, Request

__all__ = ["check_decoder", "check_encoder", "check_model", "check_strategy"]


def check_encoder(
    build: Callable[[Backend], Encoder],
    bins: int,
    *,
    backends: Backends = None,
    atol: float = 1e-4,
) -> None:
    """One result on every backend: for a row alone, in a batch of unequal rows, and with more padding.

    Args:
        build: makes the encoder for a backend.
        bins: F, feature bins it takes.
        backends: by label, or one, which is compared with NumPy; all that run here if not given.
        atol: largest absolute difference.
    """
    rng = np.random.default_rng(3)
    rows = [rng.standard_normal((frames, bins)).astype(np.float32) for frames in (97, 40, 64)]
    expected: list[np.ndarray] | None = None
    for label, backend in chosen(backends).items():
        encoder = build(backend)
        encode = backend.compile(lambda features, encoder=encoder: encoder(features))
        alone = [_valid(backend, encode, [row], len(row))[0] for row in rows]
        together = _valid(backend, encode, rows, max(len(row) for row in rows))
        padded = _valid(backend, encode, rows, 130)
        expected = expected or alone
        for n, want in enumerate(expected):
            most = -(-len(rows[n]) // encoder.stride)
            assert 0 < len(want) <= most, f"{label}: {len(rows[n])} frames give {len(want)} states, at most {most} fit"
            for way, found in (("alone", alone[n]), ("in a batch", together[n]), ("padded", padded[n])):
                _close(want, found, atol, f"{label}: row {n} {way}")


def _valid(backend: Backend, encode: Any, rows: list[np.ndarray], width: int) -> list[np.ndarray]:
    """The valid states of each row, encoded together at a width."""
    values = np.stack([np.pad(row, ((0, width - len(row)), (0, 0))) for row in rows])
    lengths = np.array([len(row) for row in rows])
    encoded = backend.to_host(encode(Features(backend.asarray(values), backend.asarray(lengths))))
    return [states[:count] for states, count in zip(encoded.values, encoded.lengths, strict=True)]


def check_decoder(
    build: Callable[[Backend], AttentionDecoder],
    width: int,
    *,
    backends: Backends = None,
    atol: float = 2e-4,
) -> None:
    """One result on every backend: token by token or in one pass, alone, in a batch, with padded states.

    Args:
        build: makes the decoder for a backend.
        width: D of the encoder states it takes.
        backends: by label, or one, which is compared with NumPy; all that run here if not given.
        atol: largest absolute difference between logits.
    """
    rng = np.random.default_rng(4)
    rows = [rng.standard_normal((frames, width)).astype(np.float32) for frames in (21, 13, 34)]
    expected: np.ndarray | None = None
    for label, backend in chosen(backends).items():
        decoder = build(backend)
        tokens = np.random.default_rng(5).integers(0, decoder.size, (len(rows), 9))
        run = _stepper(decoder, backend)
        single = np.stack([run([row], tokens[n : n + 1], (9,), len(row))[0] for n, row in enumerate(rows)])
        expected = single if expected is None else expected
        _close(expected, single, atol, f"{label}: one pass, alone")
        for way, cuts, frames in (
            ("one pass, in a batch", (9,), 34),
            ("prompt, then token by token", (5, 1, 1, 1, 1), 34),
            ("token by token", (1,) * 9, 34),
            ("with padded states", (5, 1, 1, 1, 1), 50),
        ):
            _close(expected, run(rows, tokens, cuts, frames), atol, f"{label}: {way}")


def _stepper(decoder: AttentionDecoder, backend: Backend) -> Callable[..., np.ndarray]:
    """Runs tokens through the compiled decoder in pieces and gives the last logits (B, V)."""
    from asrkit.strategies.greedy import Turn

    memorize = backend.compile(decoder.memorize)

    def forward(turn: Turn) -> tuple[Any, Any]:
        logits, cache = decoder.step(turn.memory, turn.cache, turn.tokens)
        # In a tree with named sizes, since every varying size must have a name.
        return Turn(None, cache, logits[:, :1], None), Encoded(logits[:, None, :], turn.tokens[:, 0])

    step = backend.compile(forward)

    def run(rows: list[np.ndarray], tokens: np.ndarray, cuts: tuple[int, ...], frames: int) -> np.ndarray:
        states = np.stack([np.pad(row, ((0, frames - len(row)), (0, 0)), constant_values=9.0) for row in rows])
        lengths = np.array([len(row) for row in rows])
        memory = memorize(Encoded(backend.asarray(states), backend.asarray(lengths)))
        cache = decoder.start(len(rows), backend.bucket("past", sum(cuts)))
        done, logits = 0, None
        for cut in cuts:
            piece = backend.asarray(tokens[:, done : done + cut])
            state, logits = step(Turn(memory, cache, piece, None))
            cache, done = state.cache, done + cut
        assert logits is not None
        result: np.ndarray = backend.to_host(logits.values)[:, 0]
        return result

    return run


def check_strategy(
    strategy: Strategy,
    build: Callable[[Backend], Any] = SmallDecoder,
    width: int = SmallDecoder.width,
    *,
    backends: Backends = None,
) -> None:
    """The same hypotheses on every backend, alone or in a batch; limits, stops and suppressed tokens are honoured.

    Args:
        build: makes a decoder of the family it drives; a small one with attention if not given.
        width: D of the encoder states that takes.
        backends: by label, or one, which is compared with NumPy; all that run here if not given.
    """
    rng = np.random.default_rng(6)
    rows = [rng.standard_normal((frames, width)).astype(np.float32) for frames in (21, 13, 34, 8)]
    free = [Request((1, 2, 3), 12, frozenset()), Request((1, 2, 3), 7, frozenset())]
    requests = [free[0], free[1], Request((4, 5), 12, frozenset()), free[0]]
    expected: dict[str, list[list[tuple[int, ...]]]] = {}
    for label, backend in chosen(backends).items():
        decoder = build(backend)
        run = _searcher(strategy.bind(decoder, backend), backend)

        def compare(way: str, asked: list[Request], run: Any = run, label: str = label) -> list[list[Hypothesis]]:
            """The hypotheses, once they are those of each row alone, and those of the backends before."""
            found = run(rows, asked)
            alone = [run([row], [request])[0] for row, request in zip(rows, asked, strict=True)]
            texts, single = ([[one.tokens for one in best] for best in many] for many in (found, alone))
            assert texts == single, f"{label}: {way}: {texts} in a batch, {single} alone"
            assert texts == expected.setdefault(way, texts), f"{label}: {way}: {texts}, expected {expected[way]}"
            return found

        full = compare("without stops", requests)
        for request, best in zip(requests, full, strict=True):
            counts = [len(one.tokens) for one in best]
            assert counts == [request.limit] * len(best), f"{label}: limits are not honoured"
        stop = full[0][0].tokens[5]
        for best in compare("with a stop", [attrs.evolve(request, stops=frozenset({stop})) for request in requests]):
            for one in best:
                assert stop not in one.tokens, f"{label}: stops are not honoured: {stop} is among {one.tokens}"
        every = frozenset(range(decoder.size))
        for after in (0, 1, 3):
            late = [attrs.evolve(request, stops=every, stops_after=after) for request in requests]
            for one in (one for best in run(rows, late) for one in best):
                assert one.finished, f"{label}: stops are not honoured"
                assert len(one.tokens) == after, f"{label}: stops_after is not honoured: {one.tokens}"
        first = full[0][0].tokens[0]
        banned = [attrs.evolve(request, suppress_first=frozenset({first})) for request in requests]
        for one in (one for best in run(rows, banned) for one in best):
            assert one.tokens[0] != first, f"{label}: suppress_first is not honoured"


def _searcher(decode: Any, backend: Backend) -> Callable[..., list[list[Hypothesis]]]:
    """Decodes rows of states together and gives the hypotheses of each."""

    def run(rows: list[np.ndarray], requests: list[Request]) -> list[list[Hypothesis]]:
        longest = max(len(row) for row in rows)
        values = np.stack([np.pad(row, ((0, longest - len(row)), (0, 0))) for row in rows])
        lengths = backend.asarray(np.array([len(row) for row in rows]))
        found: list[list[Hypothesis]] = decode(Encoded(backend.asarray(values), lengths), requests)
        assert len(found) == len(requests), f"{len(found)} results for {len(requests)} requests"
        assert all(found), "every row has at least one hypothesis"
        for best in found:
            ranks = [one.rank for one in best]
            right = len(best) == 1 or (None not in ranks and ranks == sorted(ranks, key=lambda rank: -(rank or 0.0)))
            assert right, f"several hypotheses need ranks, the highest first: {ranks}"
        return found

    return run


def check_model(build: Callable[[Backend], Parts], *, backends: Backends = None, **options: Any) -> None:
    """The same transcripts on every backend, one by one or in a batch.

    Args:
        build: makes the parts for a backend.
        backends: by label, or one, which is compared with NumPy; all that run here if not given.
        options: for ``Model.transcribe``.
    """
    expected: list[tuple[int, ...]] | None = None
    for label, backend in chosen(backends).items():
        parts = build(backend)
        model = Model(label, parts, backend, backend.capabilities.precisions[0], registry())
        rate = parts.frontend.rate
        sources: list[Any] = [(noise(seconds, rate, n), rate) for n, seconds in enumerate((1.5, 0.3, 2.2))]
        alone = [model.transcribe(source, **options).tokens for source in sources]
        together = [result.tokens for result in model.transcribe(sources, batch_size=3, **options)]
        assert alone == together, f"{label}: {together} in a batch, {alone} alone"
        expected = expected or alone
        assert alone == expected, f"{label}: {alone}, expected {expected}"


def _close(expected: np.ndarray, found: np.ndarray, atol: float, label: str) -> None:
    assert found.shape == expected.shape, f"{label}: shape {found.shape}, expected {expected.shape}"
    assert np.isfinite(found).all(), f"{label}: not finite"
    worst = float(np.abs(found - expected).max())
    assert worst <= atol, f"{label}: differs by {worst:.3g}, allowed are {atol:.3g}"
