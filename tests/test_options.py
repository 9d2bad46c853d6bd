from __future__ import annotations

import re
from typing import Literal

import attrs
import pytest

from asrkit.errors import OptionError, UsageError
from asrkit.options import build_options, option_names


@attrs.frozen
class Options:
    width: int = 4
    alpha: float = 0.5
    flag: bool | None = None
    name: str = "x"
    mode: Literal["fast", "exact"] = "fast"
    choice: Literal["one", "two"] | None = None
    number: int | float = attrs.field(default=1, validator=attrs.validators.ge(0))
    derived: int = attrs.field(init=False, default=7)


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("width", 3, 3),
        ("width", "3", 3),
        ("width", "-3", -3),
        ("alpha", 1, 1.0),
        ("alpha", "0.25", 0.25),
        ("alpha", "1e-3", 0.001),
        *(("flag", word, True) for word in (True, "yes", "TRUE", "on", "1")),
        *(("flag", word, False) for word in (False, "no", "False", "off", "0")),
        ("flag", None, None),
        ("name", "3", "3"),
        ("mode", "exact", "exact"),
        ("choice", "two", "two"),
        ("choice", None, None),
        ("number", "2", 2),
        ("number", "2.5", 2.5),
        ("number", 2.5, 2.5),
    ],
)
def test_value_is_converted(name, given, value):
    found = getattr(build_options(Options, {name: given}, "strategy 'x'"), name)
    assert found == value
    assert type(found) is type(value)


def test_defaults():
    assert build_options(Options, {}, "x") == Options()


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        (
            "widht",
            3,
            "has no option 'widht' (did you mean 'width'?); it has: alpha, choice, flag, mode, name, number, width",
        ),
        ("derived", 3, "has no option 'derived'; it has: alpha, choice, flag, mode, name, number, width"),
        ("width", "three", ": option 'width' takes a whole number, not 'three'"),
        ("width", 3.0, ": option 'width' takes a whole number, not 3.0"),
        ("width", True, ": option 'width' takes a whole number, not True"),
        ("alpha", True, ": option 'alpha' takes a number, not True"),
        ("alpha", "much", ": option 'alpha' takes a number, not 'much'"),
        ("flag", "maybe", ": option 'flag' takes yes or no or nothing, not 'maybe'"),
        ("flag", 1, ": option 'flag' takes yes or no or nothing, not 1"),
        ("name", 3, ": option 'name' takes a text, not 3"),
        ("mode", "slow", ": option 'mode' is fast or exact, not 'slow'"),
        ("choice", "three", ": option 'choice' is one or two, not 'three'"),
        ("number", -1, ": 'number' must be >= 0: -1"),
    ],
)
def test_wrong_value_is_named(name, given, message):
    with pytest.raises(
        OptionError, match=f"^strategy 'x'{re.escape(message if message[0] == ':' else ' ' + message)}$"
    ):
        build_options(Options, {name: given}, "strategy 'x'")


def test_missing_option_is_an_option_error():
    @attrs.frozen
    class Needs:
        path: str

    with pytest.raises(OptionError, match="path"):
        build_options(Needs, {}, "strategy 'x'")


def test_option_error_is_wrong_usage():
    assert issubclass(OptionError, UsageError)


def test_option_names():
    assert option_names(Options) == ("width", "alpha", "flag", "name", "mode", "choice", "number")
    assert option_names(object) == ()
