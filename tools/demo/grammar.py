"""The spoken world of canary-demo: parallel sentences in English, German, Spanish and French.

A template is one pattern per language; its slots stand in curly brackets and name a table of `grammar_slots`.
A table's row holds one entry per language, and an entry may hold several ready-inflected forms, so no
grammatical rule is needed:

    {room}          the first form
    {person.2}      the third form
    {person:b}      another row of the same table (never the same row as the plain one)
    {colour~animal} the form whose number stands behind the `+` of the animal's entry (a gender, for example)

Every sentence belongs to training or, one in ten, to the held-out part, by a hash of its English text.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from grammar_city import CITY
from grammar_home import HOME
from grammar_slots import TABLES

LANGUAGES = ("en", "de", "es", "fr")
HELD_OUT_SHARE = 10  # one sentence in so many
SLOT = re.compile(r"\{(\w+)(?::(\w))?(?:\.(\d))?(?:~(\w+))?\}")
PUNCTUATION = re.compile(r"[.,?!¿¡]")

Forms = tuple[tuple[str, ...], int]  # the forms of an entry, and the form that it asks of its neighbours


@dataclass(frozen=True)
class Sentence:
    """One sentence in every language."""

    template: str
    texts: dict[str, str]

    @property
    def held_out(self) -> bool:
        """Whether the sentence is kept from training, in all languages."""
        digest = hashlib.sha256(self.texts["en"].encode()).digest()
        return int.from_bytes(digest[:8]) % HELD_OUT_SHARE == 0


@dataclass(frozen=True)
class Template:
    """A pattern per language over common slots."""

    name: str
    theme: str
    patterns: dict[str, str]

    @cached_property
    def slots(self) -> list[tuple[str, str]]:
        """The slots as pairs of table and mark, in the order of the English pattern."""
        found = [(table, mark) for table, mark, _, _ in SLOT.findall(self.patterns["en"])]
        return list(dict.fromkeys(found))

    def fill(self, rows: dict[tuple[str, str], int]) -> Sentence:
        """The sentence with the given row in every slot."""
        return Sentence(self.name, {language: self._text(language, rows) for language in LANGUAGES})

    def sentences(self) -> Iterator[Sentence]:
        """Every sentence of the template."""
        for choice in itertools.product(*(range(len(_table(table))) for table, _ in self.slots)):
            rows = dict(zip(self.slots, choice, strict=True))
            if _distinct(rows):
                yield self.fill(rows)

    def draw(self, rng: random.Random, *, held_out: bool) -> Sentence:
        """A random sentence of the training or of the held-out part."""
        while True:
            rows = {slot: rng.randrange(len(_table(slot[0]))) for slot in self.slots}
            if _distinct(rows) and (sentence := self.fill(rows)).held_out == held_out:
                return sentence

    def _text(self, language: str, rows: dict[tuple[str, str], int]) -> str:
        def form(match: re.Match[str]) -> str:
            table, mark, number, neighbour = match.groups()
            forms, _ = _entry(table, rows[table, mark or ""], language)
            wanted = int(number or 0)
            if neighbour:
                wanted = _entry(neighbour, rows[neighbour, ""], language)[1]
            return forms[min(wanted, len(forms) - 1)]

        text = SLOT.sub(form, self.patterns[language])
        start = next(index for index, letter in enumerate(text) if letter.isalpha())
        return text[:start] + text[start].upper() + text[start + 1 :]


def plain(text: str) -> str:
    """Lower case without punctuation; apostrophes and hyphens inside words are spelling and stay."""
    return " ".join(PUNCTUATION.sub(" ", text).lower().split())


def draw(rng: random.Random, *, held_out: bool) -> Sentence:
    """A random sentence; every template is equally likely."""
    return rng.choice(TEMPLATES).draw(rng, held_out=held_out)


def _table(name: str) -> list[tuple[Forms, ...]]:
    return TABLES[name]


def _entry(table: str, row: int, language: str) -> Forms:
    return TABLES[table][row][LANGUAGES.index(language)]


def _distinct(rows: dict[tuple[str, str], int]) -> bool:
    keys = [(table, row) for (table, _), row in rows.items()]
    return len(set(keys)) == len(keys)


def _parse(text: str) -> Iterator[Template]:
    for block in text.strip().split("\n\n"):
        head, *patterns = (line.strip() for line in block.strip().splitlines())
        theme, name = head.strip("# ").split("/")
        yield Template(name, theme, dict(zip(LANGUAGES, patterns, strict=True)))


TEMPLATES = [*_parse(HOME), *_parse(CITY)]
