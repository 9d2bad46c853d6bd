"""A mistake in a plugin's code is one line that names the part and the plugin, and stops nothing else."""

from __future__ import annotations

import logging
import re

import attrs
import pytest

from asrkit.blame import blaming
from asrkit.errors import AudioError, PluginError
from asrkit.interfaces import AttentionDecoder
from asrkit.segmenters.whole import Whole
from asrkit.values import Clip, Failure


def breaks(cls, *methods):
    """The class with methods that raise where the recording says z, or always if that cannot be known."""

    def broken(name):
        def method(self, *args):
            raise ZeroDivisionError("by\nnought")

        return method

    return type("Wrong", (cls,), {name: broken(name) for name in methods})


@attrs.frozen
class Stumbling:
    """A strategy that divides by nought."""

    decodes = AttentionDecoder

    def bind(self, decoder, backend):
        return lambda encoded, requests: [1 / 0 for _ in requests]


@attrs.frozen
class Unbound:
    decodes = AttentionDecoder

    def bind(self, decoder, backend):
        raise KeyError("no such table")


class Late(Whole):
    """Fails while its clips are asked for, which is after it was called."""

    def split(self, blocks, rate, longest):
        yield from super().split(blocks, rate, longest)
        raise LookupError("no more")


class Lost(Whole):
    """Two clips, which it cannot part."""

    def split(self, blocks, rate, longest):
        (samples,) = blocks
        yield Clip(samples[:100], rate=rate)
        yield Clip(samples[100:], 0.1, rate=rate)

    def part(self, left, right):
        return (left, right)[7:][0]


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("frontend", "__call__"),
        ("frontend", "frames"),
        ("frontend", "lead"),
        ("encoder", "__call__"),
        ("dialect", "resolve"),
        ("dialect", "request"),
        ("dialect", "read"),
    ],
)
def test_part_of_a_builder(family, make, say, kind, method):
    cls = {"frontend": family.Energies, "encoder": family.Identity, "dialect": family.Plain}[kind]
    model = make(**{kind: breaks(cls, method)()})
    where = " on backend 'numpy'" if kind == "encoder" else ""
    line = f"{kind} Wrong of module '{__name__}'{where} failed: ZeroDivisionError: by nought"
    with pytest.raises(PluginError, match=re.escape(line)) as caught:
        model.transcribe(say("a"))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert "\n" not in str(caught.value)


def test_plugin_of_a_part_is_named_by_its_package(registry):
    registry.packages["asrkit_mine"] = "mine"
    part = type("Wrong", (), {"__module__": "asrkit_mine.dialects"})()
    assert registry.describe("dialect", part) == "dialect Wrong of plugin 'mine'"
    assert registry.describe("segmenter", Whole()) == "segmenter Whole of plugin 'asrkit'"


@pytest.mark.parametrize(
    ("kind", "factory", "message"),
    [
        ("strategy", Stumbling, "strategy 'mine' of plugin 'fake' on backend 'numpy' failed: ZeroDivisionError"),
        ("strategy", Unbound, "strategy 'mine' of plugin 'fake' on backend 'numpy' failed: KeyError: 'no such table'"),
        ("segmenter", Lost, "segmenter 'mine' of plugin 'fake' failed: IndexError: tuple index out of range"),
        ("segmenter", Late, "segmenter 'mine' of plugin 'fake' failed: LookupError: no more"),
        ("segmenter", breaks(Whole, "split"), "segmenter 'mine' of plugin 'fake' failed: ZeroDivisionError"),
    ],
)
def test_registered_part(install, make, say, kind, factory, message):
    made = install(fake={"register_parts": lambda register: getattr(register, kind)("mine", factory)})
    model = make()
    model._registry = made.registry
    with pytest.raises(PluginError, match=message):
        model.transcribe(say("ab"), **{kind: "mine"})


def test_names_that_others_take_too_do_not_break_a_model(install, make, say):
    def register_parts(register):
        register.strategy("greedy", Stumbling)
        register.segmenter("whole", Lost)

    model = make()
    model._registry = install(fake={"register_parts": register_parts}).registry
    assert model.transcribe(say("ab")).text == "ab"
    assert "language" in model.option_names()
    with pytest.raises(PluginError, match="write asrkit:greedy or fake:greedy to select one"):
        model.transcribe(say("ab"), strategy="greedy")


def test_other_recordings_are_not_lost(family, make, say):
    class Picky(family.Energies):
        def __call__(self, waveforms):
            if any(waveform.max() > 0.2 for waveform in waveforms):
                raise IndexError("a loud one")
            return super().__call__(waveforms)

    found = list(make(frontend=Picky()).outcomes([say("a"), say("z"), say("b")], batch_size=3))
    assert [getattr(outcome, "text", None) for outcome in found] == ["a", None, "b"]
    assert isinstance(found[1], Failure)
    assert type(found[1].error) is PluginError
    assert str(found[1].error).startswith("<samples>: frontend ")


@pytest.mark.parametrize("error", [AudioError("as it is"), MemoryError("as it is"), KeyError("as it is")])
def test_what_is_no_mistake_passes(error):
    with pytest.raises(type(error), match="as it is") as caught, blaming("x", KeyError):
        raise error
    assert caught.value is error


def test_traceback_is_in_the_log(caplog):
    with caplog.at_level(logging.DEBUG, "asrkit"), pytest.raises(PluginError), blaming("x"):
        _ = 1 / 0
    (record,) = caplog.records
    assert record.levelno == logging.DEBUG
    assert re.search(r"(?s)^Traceback .*test_blame.py.*\nZeroDivisionError: division by zero$", record.getMessage())
