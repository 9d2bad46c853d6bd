"""A family of parts without weights, small enough to be worked out by hand.

A recording spells its own text: a frame of 100 samples whose mean magnitude is n/100 is the letter n (a, b, c, ...).
"""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import attrs
import numpy as np
import pytest

from asrkit import plugins
from asrkit.arrays import Encoded, Features, varying
from asrkit.backends.numpy import NumpyBackend
from asrkit.cli import main
from asrkit.errors import OptionError
from asrkit.hookspecs import INTERFACE, hookimpl
from asrkit.models import ModelSpec, Parts, PathSource
from asrkit.options import build_options
from asrkit.transcriber import Model
from asrkit.values import Notice, Passage, Request, Segment

RATE, HOP = 1000, 100
STOP, SIZE = 0, 27


def spell(text: str) -> np.ndarray:
    """(S,) float32: a recording of letters; a space is silence."""
    return np.repeat([0 if letter == " " else (ord(letter) - 96) / 100 for letter in text], HOP).astype(np.float32)


class Energies:
    """Frontend: the mean magnitude of each frame, times 100."""

    rate = RATE
    hop = HOP / RATE

    def frames(self, samples: int) -> int:
        return max(samples // HOP, 1)

    def lead(self, samples: int) -> int:
        return 0

    def __call__(self, waveforms) -> Features:
        rows = [np.abs(w[: len(w) // HOP * HOP]).reshape(-1, HOP).mean(axis=1) * 100 for w in waveforms]
        values = np.zeros((len(rows), max(1, *map(len, rows)), 1), np.float32)
        for n, row in enumerate(rows):
            values[n, : len(row), 0] = row
        return Features(values, np.array([len(row) for row in rows]))


class Identity:
    stride = 1

    def __call__(self, features: Features) -> Encoded:
        return Encoded(features.values, features.lengths)


@varying(used=("batch",))
class Past(NamedTuple):
    used: Any


class Speller:
    """Attention decoder that says state n - offset after n tokens, and the stop token behind the last state.

    ``steps`` records the rows of each step.
    """

    def __init__(self, backend, offset: int = 1, size: int = SIZE, max_tokens: int = 1000) -> None:
        self.backend, self.offset, self.size, self.max_tokens = backend, offset, size, max_tokens
        self.steps: list[int] = []

    def memorize(self, encoded: Encoded) -> Encoded:
        return encoded

    def start(self, rows: int, room: int) -> Past:
        return Past(self.backend.asarray(np.zeros(rows, np.int32)))

    def step(self, memory, cache, tokens):
        xp = self.backend.xp
        self.steps.append(getattr(tokens, "_data", tokens).shape[0])
        used = cache.used + tokens.shape[1]
        index = used - self.offset
        inside = index < memory.lengths
        index = xp.where(inside, index, index * 0)[:, None]
        letters = xp.take_along_axis(memory.values[:, :, 0], index, axis=1)
        wanted = xp.where(inside[:, None], xp.astype(letters + 0.5, xp.int32), index * 0 + STOP)
        slots = xp.arange(self.size, dtype=xp.int32)
        return 0.0 - xp.astype(xp.abs(slots[None, :] - wanted), xp.float32), Past(used)


class Letters:
    """Tokenizer: id 0 is the stop token, 1 to 26 are letters."""

    size = SIZE
    languages = ("en", "de")

    def encode(self, text, language=None):
        return tuple(ord(letter) - 96 for letter in text)

    def decode(self, ids):
        return "".join(self.piece(i) for i in ids)

    def piece(self, id):
        return chr(96 + id) if id else "<stop>"

    def token(self, piece):
        return STOP if piece == "<stop>" else None


@attrs.frozen
class Wishes:
    language: str = "en"
    limit: int | None = None


class Plain:
    """Dialect with two prompt tokens and an option."""

    languages = ("en", "de")
    Options = Wishes

    def resolve(self, wishes):
        if unknown := set(wishes) - {"language", "limit"}:
            raise OptionError(f"no option {sorted(unknown)}")
        if wishes.get("language", "en") not in self.languages:
            raise OptionError(f"no language {wishes['language']!r}; there is: de, en")
        notices = () if "language" in wishes else (Notice("language-assumed", "assumed en", once=True),)
        return build_options(Wishes, wishes, "the model"), notices

    def prompt(self, options, previous=()):
        return (1, 2 + self.languages.index(options.language))

    def request(self, options, frames, previous=()):
        return Request(self.prompt(options), frames + 1 if options.limit is None else options.limit, frozenset({STOP}))

    def timed(self, options):
        raise OptionError("nobody knows when a letter is spoken")

    def wordless(self, options):
        return frozenset({STOP})

    def read(self, hypothesis, clock, options):
        text = Letters().decode(hypothesis.tokens)
        end = clock.seconds(len(hypothesis.tokens))
        segments = (Segment(text, clock.seconds(0), end),) if text else ()
        return Passage(text.strip(), text, hypothesis.tokens, segments)


def build(checkpoint, backend, precision, spec=None, settings=None) -> Parts:
    """Builder of the family."""
    notices = (Notice("settings", repr(settings)),) if settings else ()
    return Parts(
        Energies(),
        Identity(),
        Speller(backend, 2),
        Letters(),
        Plain(),
        strategy="greedy",
        segmenter="whole",
        notices=notices,
    )


def spec(name: str = "speller", path: str = "speller.nemo", **changes) -> ModelSpec:
    """A registered model of the family."""
    given = {
        "build": build,
        "decoder": "attention",
        "strategy": "greedy",
        "languages": ("en", "de"),
        "tasks": ("transcribe",),
        "licence": "none",
        "summary": "spells",
        "targets": ("Speller",),
    }
    return ModelSpec(name=name, source=PathSource(path), **given | changes)


@pytest.fixture
def family():
    """The parts above."""
    names = "Energies Identity Letters Plain Speller Wishes build spec spell RATE HOP SIZE STOP"
    return SimpleNamespace(**{name: globals()[name] for name in names.split()})


@pytest.fixture
def registry():
    """What the core registers."""
    return plugins.Plugins(points=[]).registry


@pytest.fixture
def make(registry):
    """Makes a model of the family: ``make(backend, part=...)``."""

    def make(backend=None, **changes):
        backend = backend or NumpyBackend()
        parts = attrs.evolve(build(None, backend, "fp32"), **changes)
        return Model("speller", parts, backend, "fp32", registry, ("edges",), 0.125)

    return make


@pytest.fixture
def model(make):
    return make()


@pytest.fixture
def say():
    """A letter recording as (samples, rate)."""
    return lambda text: (spell(text), RATE)


@pytest.fixture(autouse=True)
def _all_plugins(monkeypatch):
    """Whatever the environment allows."""
    monkeypatch.delenv("ASRKIT_PLUGINS", raising=False)


@pytest.fixture
def install(monkeypatch):
    """Makes these the only installed plugins: ``install(name={hook: implementation})``."""

    def install(**hooks):
        points = []
        for name, functions in hooks.items():
            module = ModuleType(f"fake_{name}")
            module.ASRKIT_INTERFACE = INTERFACE
            for hook, function in functions.items():
                setattr(module, hook, hookimpl(function))
            monkeypatch.setitem(sys.modules, module.__name__, module)
            points.append(EntryPoint(name, module.__name__, plugins.GROUP))
        made = plugins.Plugins(points=points)
        monkeypatch.setattr(plugins, "_plugins", lambda: made)
        return made

    return install


@pytest.fixture
def call(capsys):
    """Runs a command: (exit code, stdout, stderr)."""

    def call(*args):
        code = 0
        try:
            main([str(arg) for arg in args])
        except SystemExit as leave:
            code = leave.code or 0
        return (code, *capsys.readouterr())

    return call
