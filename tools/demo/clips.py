"""Clips of one or several sentences, or of none, with their texts in every language and the times of their words."""

from __future__ import annotations

import itertools
import random
from collections import deque
from dataclasses import dataclass, field, replace

import grammar
import noise
import numpy as np
import voices
from synthesizer import RATE, Synthesizer, Voice

LONGEST = 15.0  # seconds
SHORTEST = 0.5


@dataclass(frozen=True)
class Mixture:
    """What a set of clips is made of; shares are probabilities."""

    variants: tuple[str, ...] = voices.TRAINING
    held_out: bool = False
    several: float = 0.45
    most: int = 6
    empty: float = 0.04
    noisy: float = 0.6
    loudest_noise: float = 8.0  # decibels below the speech
    reverberated: float = 0.3
    rates: tuple[int, int] = (150, 245)
    pitches: tuple[int, int] = (15, 85)
    gaps: tuple[float, ...] = ()  # seconds of the longest gap between sentences, one drawn for each; () means 1.0
    voices: float = 0.0  # that another voice, in another room, speaks the next sentence
    cut: float = 0.0  # that the clip begins inside of its first sentence, and the same of its end and last one
    generators: tuple[noise.Generator, ...] = noise.TRAINING


MIXTURES = {
    "first": Mixture(several=0.12, most=3, reverberated=0.15),
    "second": Mixture(),
    # Windows of long recordings: full of speech, by several people, with long pauses, none, or cut out of a sentence.
    "windows": Mixture(several=0.9, most=9, empty=0.02, gaps=(0.0, 0.15, 0.5, 1.0, 2.0, 4.0), voices=0.4, cut=0.3),
    "noises": Mixture(empty=1.0, generators=noise.LATER),
}


@dataclass(frozen=True)
class Clip:
    """Samples at 16 kHz; `texts` by language, `words` the times of the spoken language's words."""

    samples: np.ndarray
    language: str
    texts: dict[str, str]
    words: list[tuple[float, float]]
    sentences: int
    voice: str
    templates: list[str] = field(default_factory=list)


class Studio:
    """Makes clips; the same seed makes the same clips."""

    def __init__(self, mixture: Mixture, seed: int) -> None:
        self.mixture = mixture
        self.python = random.Random(seed)
        self.numpy = np.random.default_rng(seed)
        self.synthesizer = Synthesizer()
        self._babble: deque[np.ndarray] = deque(maxlen=12)

    def clip(self, language: str | None = None) -> Clip:
        """A random clip of the mixture."""
        language = language or self.python.choice(grammar.LANGUAGES)
        if self.python.random() < self.mixture.empty:
            return self.empty(language)
        count = 1
        if self.python.random() < self.mixture.several:
            count = self.python.randint(2, self.mixture.most)
        return self.spoken(language, count)

    def empty(self, language: str) -> Clip:
        """A clip without speech; its text is empty."""
        longest = LONGEST if self.python.random() < 0.3 else 4.0
        samples = noise.empty(self.numpy, self.mixture.generators, self.python.uniform(SHORTEST, longest))
        return Clip(samples, language, dict.fromkeys(grammar.LANGUAGES, ""), [], 0, "")

    def spoken(self, language: str, count: int) -> Clip:
        """A clip of `count` sentences by one voice or several, or of fewer where they would not fit."""
        voice = self.voice(language)
        pieces: list[np.ndarray] = [self._silence(0.0, 0.5)]
        chosen: list[grammar.Sentence] = []
        words: list[tuple[float, float]] = []
        length = len(pieces[0])
        together = [0]  # the piece with which each voice begins
        for number in range(count):
            sentence = grammar.draw(self.python, held_out=self.mixture.held_out)
            if number and self.python.random() < self.mixture.voices:
                voice = self.voice(language)
                together.append(len(pieces))
            speech = self.synthesizer.say(sentence.texts[language], voice)
            gap = self._gap() if number else pieces[0][:0]
            if length + len(gap) + len(speech.samples) > (LONGEST - 0.05) * RATE:
                break
            start = (length + len(gap)) / RATE
            chosen.append(sentence)
            words += [(start + first, start + last) for first, last in speech.words]
            pieces += [gap, speech.samples]
            length += len(gap) + len(speech.samples)
            self._babble.append(speech.samples)
        pieces.append(self._silence(0.0, min(0.6, LONGEST - length / RATE)))
        bounds = [*(first for first in together if first < len(pieces)), len(pieces)]
        samples = np.concatenate(
            [self._room(np.concatenate(pieces[first:last])) for first, last in itertools.pairwise(bounds)]
        )
        texts = {name: " ".join(sentence.texts[name] for sentence in chosen) for name in grammar.LANGUAGES}
        names = [sentence.template for sentence in chosen]
        clip = Clip(samples, language, texts, words, len(chosen), voice.variant, names)
        return self._cut_out(clip)

    def _gap(self) -> np.ndarray:
        if not self.mixture.gaps:
            return self._silence(0.12, 1.0)
        return self._silence(0.0, self.python.choice(self.mixture.gaps))

    def _cut_out(self, clip: Clip) -> Clip:
        """Some of a clip's words, as a cut through speech leaves them; then nobody knows a translation."""
        count = len(clip.words)
        first = self.python.randint(1, 4) if self.python.random() < self.mixture.cut else 0
        last = count - (self.python.randint(1, 4) if self.python.random() < self.mixture.cut else 0)
        if (first, last) == (0, count) or last - first < 3:
            return clip
        begin = 0.0 if first == 0 else (clip.words[first - 1][1] + clip.words[first][0]) / 2
        end = len(clip.samples) / RATE if last == count else (clip.words[last - 1][1] + clip.words[last][0]) / 2
        samples = clip.samples[int(begin * RATE) : int(end * RATE)]
        text = " ".join(clip.texts[clip.language].split()[first:last])
        words = [(max(start - begin, 0.0), stop - begin) for start, stop in clip.words[first:last]]
        return replace(clip, samples=samples, texts={clip.language: text}, words=words)

    def voice(self, language: str) -> Voice:
        """A random voice of the mixture."""
        accents = voices.ACCENTS[language]
        accent = self.python.choices(accents, [3, 2, 1][: len(accents)])[0]
        rate, pitch = self.python.randint(*self.mixture.rates), self.python.randint(*self.mixture.pitches)
        return Voice(accent, self.python.choice(self.mixture.variants), rate, pitch, self.python.randint(25, 75))

    def _silence(self, least: float, most: float) -> np.ndarray:
        return np.zeros(int(self.python.uniform(least, most) * RATE), np.float32)

    def _room(self, samples: np.ndarray) -> np.ndarray:
        """Level, reverberation and noise."""
        if self.python.random() < self.mixture.reverberated:
            samples = noise.reverberated(self.numpy, samples)
        samples = noise.levelled(samples, self.python.choice([1.0, 3.0, 6.0, 12.0, 24.0]))
        if self.python.random() < self.mixture.noisy:
            kind = self.python.choice([noise.white, noise.coloured, noise.coloured, noise.hum, self._voices])
            ratio = self.python.uniform(self.mixture.loudest_noise, 35)
            quiet = 6.0 if kind == self._voices else 0.0  # a single voice in the babble must not be understood
            samples = noise.mixed(samples, kind(self.numpy, len(samples)), ratio + quiet)
        return np.clip(samples, -1, 1).astype(np.float32)

    def _voices(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Babble: the last sentences spoken, backwards and on top of each other."""
        out = np.zeros(count, np.float32)
        for speech in self._babble:
            out += np.roll(np.resize(speech[::-1], count), int(rng.integers(count)))
        return out + 1e-4 * noise.white(rng, count)
