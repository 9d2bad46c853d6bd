"""What searches over an attention decoder have in common: requests are checked, put into groups and taken out again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import attrs
import numpy as np

from asrkit.arrays import Array, Encoded, map_tree, varying
from asrkit.errors import BackendError
from asrkit.interfaces import AttentionDecoder, Backend
from asrkit.values import Hypothesis, Request

__all__ = ["Batches", "Rows", "take_rows"]


@varying(rows=("rows",))
class Rows(NamedTuple):
    """Rows to keep of everything in a tree."""

    tree: Any
    rows: Array
    """(B',) int32."""


@attrs.frozen
class Batches:
    """A decoder's rows on the device: all of a call, those of one group, those that are still alive."""

    decoder: AttentionDecoder
    backend: Backend
    memorize: Callable[[Encoded], Any]
    select: Callable[[Rows], Any]

    @classmethod
    def bind(cls, decoder: AttentionDecoder, backend: Backend) -> Batches:
        """Compile what is needed for one decoder."""
        xp = backend.ops.xp

        def select(choice: Rows) -> Any:
            return take_rows(xp, choice.tree, choice.rows)

        return cls(decoder, backend, backend.compile(decoder.memorize), backend.compile(select))

    def decode(
        self,
        encoded: Encoded,
        requests: Sequence[Request],
        group: Callable[[Any, list[Request]], list[list[Hypothesis]]],
    ) -> list[list[Hypothesis]]:
        """Decode in groups of requests whose prompts have one length.

        Args:
            group: decodes one group, given its memory and its requests.

        Raises:
            ValueError: a request that the decoder cannot meet.
        """
        for request in requests:
            self._check(request)
        size = len(self.backend.to_host(encoded.lengths))  # more rows than requests where rows come in buckets
        memory = self.memorize(encoded)
        groups: dict[int, list[int]] = defaultdict(list)
        for row, request in enumerate(requests):
            groups[len(request.prompt)].append(row)
        found: dict[int, list[Hypothesis]] = {}
        for rows in groups.values():
            taken = self.take(memory, rows, size)
            found.update(zip(rows, group(taken, [requests[row] for row in rows]), strict=True))
        return [found[row] for row in range(len(requests))]

    def _check(self, request: Request) -> None:
        """Ids are checked here because a device may read foreign memory for one out of range."""
        wrong = [i for i in (*request.prompt, *request.suppress_first) if not 0 <= i < self.decoder.size]
        if wrong:
            raise ValueError(f"token ids {wrong} are outside the decoder's {self.decoder.size} classes")
        # The last new token is chosen, never fed back, so it needs no position.
        if len(request.prompt) + request.limit - 1 > self.decoder.max_tokens:
            raise ValueError(
                f"a prompt of {len(request.prompt)} and {request.limit} new tokens do not fit into "
                f"the decoder's {self.decoder.max_tokens} positions"
            )

    def width(self, rows: int) -> int:
        """How many rows are decoded for so many that are needed."""
        return self.backend.bucket("batch", rows)

    def fill(self, items: Sequence[Any]) -> list[Any]:
        """Items for all rows of a bucket: copies of the last stand where nobody reads."""
        return [*items, *[items[-1]] * (self.width(len(items)) - len(items))]

    def take(self, tree: Any, rows: Sequence[int], size: int) -> Any:
        """Some of a tree's ``size`` rows, filled up to a bucket."""
        padded = self.fill(rows)
        return tree if padded == list(range(size)) else self.select(Rows(tree, self.ids(padded)))

    def ids(self, values: Any) -> Array:
        """Integers for the device."""
        return self.backend.asarray(np.array(values, np.int32))

    def cache(self, rows: int, prompt: int, limit: int) -> Any:
        """An empty cache with room for a prompt and new tokens."""
        return self.decoder.start(rows, self.backend.bucket("past", prompt + max(limit - 1, 0)))

    def banned(self, requests: list[Request]) -> Array | None:
        """(B, V) booleans, True where a token may not come first; None if all may."""
        if not any(request.suppress_first for request in requests):
            return None
        banned = np.zeros((self.width(len(requests)), self.decoder.size), bool)
        for row, request in enumerate(requests):
            banned[row, sorted(request.suppress_first)] = True
        return self.backend.asarray(banned)

    def check_scores(self, scores: np.ndarray) -> None:
        """Raise BackendError unless all are numbers."""
        if not np.isfinite(scores).all():
            raise BackendError(
                f"the model computed NaN or infinity on backend {self.backend.name!r}: the recording or the "
                "checkpoint is damaged, or the precision too low"
            )


def take_rows(xp: Any, tree: Any, rows: Array) -> Any:
    """The rows (B',) of everything in a tree; for graph code."""
    return map_tree(lambda leaf: xp.take(leaf, rows, axis=0), tree)
