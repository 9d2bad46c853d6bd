"""One model, run again and again over the same recording, with the same number of tokens where that can be forced."""

from __future__ import annotations

import time
from typing import Any

import attrs
import numpy as np

from asrkit import audio
from asrkit.errors import AsrkitError, OptionError
from asrkit.interfaces import AttentionDecoder, Decode
from asrkit.plugins import registry
from asrkit.transcriber import Model

__all__ = ["TOKENS", "Runs", "bursts"]

TOKENS = 40
"""Said by each row, where nobody asks for another number."""


class Runs:
    """Timed runs of a model from samples to token ids.

    Every row of an attention decoder is forced to say the same number of tokens, so that random weights do the work of
    trained ones. A CTC decoder's work is that of its frames; a transducer's too, and that of what it hears.

    Args:
        model: any model.
        tokens: how many each row says; None: :data:`TOKENS`, if the decoder can be forced.
        seconds: length of the synthetic recordings.
        file: a recording to use in their place.

    Raises:
        AudioError: the file cannot be used.
        OptionError: the model's decoder cannot be forced to a number of tokens, or has no room for that many.
    """

    def __init__(self, model: Model, tokens: int | None = None, seconds: float = 10.0, file: str | None = None) -> None:
        self._model = model
        parts = model.parts
        forced = isinstance(parts.decoder, AttentionDecoder)
        if tokens is not None and not forced:
            raise OptionError(
                f"model {model.name!r} has no attention decoder: it cannot be forced to {tokens} tokens, leave them out"
            )
        self.tokens = (tokens or TOKENS) if forced else None
        """That each row is forced to say; None if it says what it hears."""
        self._decode = self._bind(parts.decoder)
        self._recording = None if file is None else audio.load(file, parts.frontend.rate).samples
        self._samples = (
            max(round(seconds * parts.frontend.rate), 1) if self._recording is None else len(self._recording)
        )
        self.seconds = self._samples / parts.frontend.rate
        """Length of one recording."""
        frames = -(-parts.frontend.frames(self._samples) // parts.encoder.stride)
        options, _ = parts.dialect.resolve({})
        request = parts.dialect.request(options, frames)
        if self.tokens is not None:
            most = parts.decoder.max_tokens - len(request.prompt) + 1  # the last token is never fed back
            if self.tokens > most:
                raise OptionError(
                    f"model {model.name!r} has room for {most} tokens after its prompt, asked was: {self.tokens}"
                )
            request = attrs.evolve(request, limit=self.tokens, stops=frozenset(), stops_after=0)
        self._request = request

    def _bind(self, decoder: Any) -> Decode:
        name = registry().meant("strategy", self._model.parts.strategy)
        strategy = registry().get("strategy", name).load()()
        if not isinstance(decoder, strategy.decodes):
            raise OptionError(f"strategy {name!r} does not decode what model {self._model.name!r} has")
        bound: Decode = strategy.bind(decoder, self._model.backend)
        return bound

    def run(self, rows: int) -> dict[str, float]:
        """Seconds of one run over that many recordings: features, encoder, decoder, and total, which is all three; and
        how many tokens all of them said.

        Raises:
            AsrkitError: a row did not say the tokens it was forced to.
        """
        waveforms = [self._waveform(row) for row in range(rows)]
        backend = self._model.backend
        start = time.perf_counter()
        features = self._model.parts.frontend(waveforms)
        featured = time.perf_counter()
        encoded = self._model.encode(features)
        backend.to_host(encoded)  # a backend may return before it has computed
        coded = time.perf_counter()
        found = self._decode(encoded, [self._request] * rows)
        end = time.perf_counter()
        backend.release()
        said = [len(hypotheses[0].tokens) for hypotheses in found]
        if self.tokens is not None and said != [self.tokens] * rows:
            raise AsrkitError(
                f"model {self._model.name!r} was forced to {self.tokens} tokens in each of {rows} rows and said "
                f"{said}: its strategy {self._model.parts.strategy!r} cannot be measured this way"
            )
        stages = {"features": featured - start, "encoder": coded - featured, "decoder": end - coded}
        return stages | {"total": end - start, "tokens": sum(said)}

    def _waveform(self, row: int) -> np.ndarray:
        if self._recording is not None:
            return self._recording
        return bursts(self._samples, self._model.parts.frontend.rate, row)


def bursts(samples: int, rate: int, seed: int) -> np.ndarray:
    """(S,) float32: noise that comes and goes about as often as syllables do; the same for the same seed."""
    noise = np.random.default_rng(seed).standard_normal(samples, np.float32)
    loud = np.sin(2 * np.pi * 4 * np.arange(samples) / rate) > 0
    return noise * np.where(loud, np.float32(0.1), np.float32(0.001))
