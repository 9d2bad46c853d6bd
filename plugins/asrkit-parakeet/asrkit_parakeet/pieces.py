"""A tokenizer made of the list of pieces in a configuration, for checkpoints without their tokenizer's file."""

from __future__ import annotations

from collections.abc import Sequence

from asrkit.config import Config
from asrkit.errors import CheckpointError, OptionError

__all__ = ["Pieces", "vocabulary_of"]

BOUNDARY = "\u2581"
UNKNOWN, SIGN = "<unk>", " \u2047 "
"""The unknown piece, and the sign that SentencePiece writes for it."""


def vocabulary_of(config: Config) -> list[str]:
    """The pieces that a whole configuration lists, at one of the places where it does.

    Raises:
        CheckpointError: it lists none.
    """
    auxiliary = config.section("aux_ctc", optional=True)
    for section in (config, auxiliary):
        for part in ("joint", "decoder"):
            pieces = section.section(part, optional=True).values.get("vocabulary")
            if pieces:
                if not isinstance(pieces, list) or not all(isinstance(piece, str) for piece in pieces):
                    raise section.section(part).error("vocabulary", "a list of strings")
                return pieces
    raise CheckpointError(f"{config.source}: holds no tokenizer: neither a file of it nor a list of pieces")


class Pieces:
    """Reads ids; it cannot make them out of a text.

    Args:
        pieces: in the order of their ids, a word boundary written as U+2581.
    """

    languages: tuple[str, ...] = ()

    def __init__(self, pieces: Sequence[str]) -> None:
        self._pieces = tuple(pieces)
        self.size = len(self._pieces)

    def encode(self, text: str, language: str | None = None) -> tuple[int, ...]:
        """Refused: how a text falls into pieces is not in the list."""
        raise OptionError("the checkpoint came without its tokenizer's file, so that texts cannot be encoded")

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, without the word boundary of the first piece."""
        joined = "".join(SIGN if self._pieces[id_] == UNKNOWN else self._pieces[id_] for id_ in ids)
        return joined.removeprefix(BOUNDARY).replace(BOUNDARY, " ")

    def piece(self, id: int) -> str:
        """The piece of an id."""
        return self._pieces[id]

    def token(self, piece: str) -> int | None:
        """None: there are no special tokens."""
        return None
