"""The spoken world keeps its promises: `pytest tools/demo`, or `python -m pytest` in this folder."""

from __future__ import annotations

import random
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import grammar
from grammar import LANGUAGES, SLOT, TEMPLATES, Template, draw, plain

LEAST_SENTENCES = 200
LEAST_WORDS = 250


@pytest.fixture(scope="module")
def sentences() -> dict[str, list[grammar.Sentence]]:
    """Every sentence by template."""
    return {template.name: list(template.sentences()) for template in TEMPLATES}


def test_enough_templates_and_themes() -> None:
    """At least 25 templates of unlike names over a dozen themes."""
    assert len({template.name for template in TEMPLATES}) == len(TEMPLATES) >= 25
    assert len({template.theme for template in TEMPLATES}) >= 12


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.name)
def test_template(template: Template, sentences: dict[str, list[grammar.Sentence]]) -> None:
    """Each has hundreds of unlike sentences, the same slots in every language, and a tenth held out."""
    found = sentences[template.name]
    assert len(found) >= LEAST_SENTENCES
    slots = {language: {match[:2] for match in SLOT.findall(template.patterns[language])} for language in LANGUAGES}
    for language in LANGUAGES:
        assert slots[language] == slots["en"]
        assert len({sentence.texts[language] for sentence in found}) == len(found)
    share = sum(sentence.held_out for sentence in found) / len(found)
    assert 0.04 < share < 0.17


@pytest.mark.parametrize("language", LANGUAGES)
def test_language(language: str, sentences: dict[str, list[grammar.Sentence]]) -> None:
    """Many words, no sentence in two templates, tidy text."""
    texts = [sentence.texts[language] for found in sentences.values() for sentence in found]
    assert len(set(texts)) == len(texts)
    assert len({word for text in texts for word in plain(text).split()}) >= LEAST_WORDS
    for text in texts:
        assert text == " ".join(text.split())
        assert text[-1] in ".?!"
        assert not set(text) & set("{}|+~/:0123456789")
        assert " ?" not in text
        assert " !" not in text
        start = text.lstrip("¿¡")
        assert start[0].isupper()


def test_held_out_share(sentences: dict[str, list[grammar.Sentence]]) -> None:
    """A tenth of all sentences."""
    flags = [sentence.held_out for found in sentences.values() for sentence in found]
    assert 0.09 < sum(flags) / len(flags) < 0.11


def test_draws_are_balanced() -> None:
    """Every template comes equally often, and only sentences of the part that was asked for."""
    rng = random.Random(1)
    drawn = [draw(rng, held_out=True) for _ in range(100 * len(TEMPLATES))]
    assert all(sentence.held_out for sentence in drawn)
    counts = Counter(sentence.template for sentence in drawn)
    assert len(counts) == len(TEMPLATES)
    assert min(counts.values()) > 60
    assert max(counts.values()) < 150


def test_plain() -> None:
    """Lower case without punctuation; apostrophes and hyphens are spelling."""
    assert plain("¿Hará frío, Ana?") == "hará frío ana"
    assert plain("Est-ce qu'il pleut? Oui!") == "est-ce qu'il pleut oui"


@pytest.mark.parametrize(
    ("english", "german", "spanish", "french"),
    [
        (
            "The black cow is sleeping under the table.",
            "Die schwarze Kuh schläft unter dem Tisch.",
            "La vaca negra duerme debajo de la mesa.",
            "La vache noire dort sous la table.",
        ),
        (
            "We need two white shirts.",
            "Wir brauchen zwei weiße Hemden.",
            "Necesitamos dos camisas blancas.",
            "Il nous faut deux chemises blanches.",
        ),
        (
            "The museum is next to the station.",
            "Das Museum ist neben dem Bahnhof.",
            "El museo está al lado de la estación.",
            "Le musée est à côté de la gare.",
        ),
        (
            "The museum is behind the station.",
            "Das Museum ist hinter dem Bahnhof.",
            "El museo está detrás de la estación.",
            "Le musée est derrière la gare.",
        ),
    ],
)
def test_agreement(
    english: str, german: str, spanish: str, french: str, sentences: dict[str, list[grammar.Sentence]]
) -> None:
    """Adjectives and articles agree with their nouns."""
    found = {sentence.texts["en"]: sentence.texts for part in sentences.values() for sentence in part}
    assert found[english] == {"en": english, "de": german, "es": spanish, "fr": french}
