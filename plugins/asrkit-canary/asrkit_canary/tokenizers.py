"""SentencePiece tokenizers: one model for everything, or one per language behind a common list of special tokens.

Source: NeMo 3.0 ``common/tokenizers/{canary_tokenizer,aggregate_tokenizer,sentencepiece_tokenizer}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import sentencepiece

from asrkit.config import Config
from asrkit.errors import CheckpointError, OptionError, listed
from asrkit.interfaces import Checkpoint, Tokenizer

__all__ = ["SPECIAL", "Aggregate", "SentencePiece", "read_tokenizer"]

BOUNDARY = "\u2581"
SPECIAL = re.compile(r"<\|[^|]*\|>|<pad>")
"""What special tokens look like."""
LANGUAGE = re.compile(r"<\|([a-z]{2})\|>")


class SentencePiece:
    """One SentencePiece model; special tokens are pieces of it.

    Args:
        model: the content of a ``.model`` file.
        name: the file, for messages.

    Raises:
        CheckpointError: it is not a SentencePiece model.
    """

    def __init__(self, model: bytes, name: str = "tokenizer") -> None:
        self._model = sentencepiece.SentencePieceProcessor()
        try:
            loaded = self._model.LoadFromSerializedProto(model) if model else False
        except RuntimeError:
            loaded = False
        if not loaded:
            raise CheckpointError(f"{name}: is no SentencePiece model ({len(model)} bytes)")
        self.size: int = self._model.get_piece_size()
        self._special = {
            piece: id_ for id_ in range(self.size) if SPECIAL.fullmatch(piece := self._model.id_to_piece(id_))
        }
        self.languages = tuple(match[1] for piece in self._special if (match := LANGUAGE.fullmatch(piece)))

    def encode(self, text: str, language: str | None = None) -> tuple[int, ...]:
        """Ids of a text; special tokens in it are recognised."""
        return tuple(self._model.encode(text))

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, without the word boundary of the first piece."""
        text: str = self._model.decode(list(ids))
        return text

    def piece(self, id: int) -> str:
        """The piece of an id."""
        piece: str = self._model.id_to_piece(id)
        return piece

    def token(self, piece: str) -> int | None:
        """The id of a special token."""
        return self._special.get(piece)


class Aggregate:
    """Special tokens and one SentencePiece model per language, one after another in the space of ids.

    Args:
        tokenizers: by name in the order of the configuration, which defines the offsets; ``spl_tokens`` holds the
            special tokens.
    """

    def __init__(self, tokenizers: Mapping[str, SentencePiece]) -> None:
        if "spl_tokens" not in tokenizers:
            raise CheckpointError(
                f"an aggregate tokenizer needs 'spl_tokens' among its parts, found: {listed(tokenizers)}"
            )
        self._parts = dict(tokenizers)
        self._offsets: dict[str, int] = {}
        self.size = 0
        for name, part in self._parts.items():
            self._offsets[name] = self.size
            self.size += part.size
        self.languages = tuple(name for name in self._parts if name != "spl_tokens")

    def encode(self, text: str, language: str | None = None) -> tuple[int, ...]:
        """Ids of a text in the sub-tokenizer of a language.

        Raises:
            OptionError: there is none for it.
        """
        if language not in self.languages:
            raise OptionError(f"the tokenizer has no language {language!r}; it has: {listed(self.languages)}")
        offset = self._offsets[language]
        return tuple(offset + id_ for id_ in self._parts[language].encode(text))

    def decode(self, ids: Sequence[int]) -> str:
        """All pieces joined; word boundaries become spaces, also a leading one."""
        return "".join(self.piece(id_) for id_ in ids).replace(BOUNDARY, " ")

    def piece(self, id: int) -> str:
        """The piece of an id."""
        for name in reversed(self._parts):
            if id >= self._offsets[name]:
                return self._parts[name].piece(id - self._offsets[name])
        raise IndexError(id)

    def token(self, piece: str) -> int | None:
        """The id of a special token; sub-tokenizers repeat each other's pieces, so they are not searched."""
        id_ = self._parts["spl_tokens"].token(piece)
        return None if id_ is None else self._offsets["spl_tokens"] + id_


def read_tokenizer(config: Config, checkpoint: Checkpoint) -> Tokenizer:
    """The tokenizer: ``agg`` holds one SentencePiece model per language, ``bpe`` is a single one."""
    if config.choice("type", "agg", "bpe") == "bpe":
        return _sentencepiece(config, checkpoint)
    parts = config.section("langs")
    # The order of the mapping defines the ids.
    return Aggregate({name: _sentencepiece(parts.section(name), checkpoint) for name in parts.values})


def _sentencepiece(config: Config, checkpoint: Checkpoint) -> SentencePiece:
    name = config.string("model_path")
    return SentencePiece(checkpoint.file(name), f"{checkpoint.path}: {name}")
