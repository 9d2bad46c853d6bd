from __future__ import annotations

import math
import re

import pytest

from asrkit.config import Config
from asrkit.errors import CheckpointError

VALUES = {
    "encoder": {"n_layers": 17, "inner": {"deep": True}},
    "rate": 16000.0,
    "name": "x",
    "flag": False,
    "nothing": None,
    "list": [1],
    "long": "y" * 500,
}


@pytest.fixture
def config():
    return Config(VALUES, "model.nemo")


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (lambda c: c.section("encoder").integer("n_layers"), 17),
        (lambda c: c.section("encoder").section("inner").boolean("deep"), True),
        (lambda c: c.number("rate"), 16000.0),
        (lambda c: c.section("encoder").divisor("n_layers", 34), 17),
        (lambda c: c.divisor("gone", 12, default=4), 4),
        (lambda c: c.section("encoder").number("n_layers"), 17.0),
        (lambda c: c.string("name"), "x"),
        (lambda c: c.boolean("flag"), False),
        (lambda c: c.choice("name", "w", "x"), "x"),
        (lambda c: c.choice("gone", 1, 2, default=2), 2),
        (lambda c: c.integer("gone", default=3), 3),
        (lambda c: c.section("encoder").integer("n_layers", least=17), 17),
        (lambda c: c.number("gone", default=0.5, above=0), 0.5),
        (lambda c: c.choice("flag", 0, False), False),
        (lambda c: c.integer("nothing", default=3), 3),
        (lambda c: c.number("gone", default=0.5), 0.5),
        (lambda c: c.boolean("gone", default=True), True),
        (lambda c: c.string("gone", default=""), ""),
        (lambda c: dict(c.section("gone", optional=True).values), {}),
        (lambda c: c.section("nothing", optional=True).integer("n", default=1), 1),
    ],
)
def test_read(config, read, value):
    found = read(config)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda c: c.integer("rate"), "16000.0 at 'rate', asrkit can run a whole number"),
        (lambda c: c.integer("flag"), "False at 'flag', asrkit can run a whole number"),
        (lambda c: c.number("flag"), "False at 'flag', asrkit can run a finite number"),
        (lambda c: c.number("name"), "'x' at 'name', asrkit can run a finite number"),
        (lambda c: c.boolean("rate"), "16000.0 at 'rate', asrkit can run true or false"),
        (lambda c: c.string("list"), "[1] at 'list', asrkit can run a string"),
        (lambda c: c.choice("name", "y", 3), "'x' at 'name', asrkit can run 'y' or 3"),
        (lambda c: c.integer("gone"), "nothing at 'gone', asrkit can run only with a value there"),
        (lambda c: c.string("nothing"), "None at 'nothing', asrkit can run only with a value there"),
        (lambda c: c.section("gone"), "nothing at 'gone', asrkit can run a section"),
        (lambda c: c.section("list", optional=True), "[1] at 'list', asrkit can run a section"),
        (
            lambda c: c.section("encoder").section("inner").integer("deep"),
            "True at 'encoder.inner.deep', asrkit can run a whole number",
        ),
        (
            lambda c: c.section("encoder").divisor("n_layers", 16),
            "17 at 'encoder.n_layers', asrkit can run a divisor of the width 16",
        ),
        (
            lambda c: Config({"n": 0}, "model.nemo").divisor("n", 16),
            "0 at 'n', asrkit can run a divisor of the width 16",
        ),
        (
            lambda c: Config({"n": -4}, "model.nemo").divisor("n", 16),
            "-4 at 'n', asrkit can run a divisor of the width 16",
        ),
        (lambda c: c.integer("long"), "'" + "y" * 199 + " at 'long', asrkit can run a whole number"),
    ],
)
def test_wrong_value_is_named(config, read, message):
    with pytest.raises(CheckpointError, match=f"^model.nemo: its configuration has {re.escape(message)}$"):
        read(config)


@pytest.mark.parametrize(("key", "there"), [("name", True), ("flag", True), ("nothing", False), ("gone", False)])
def test_contains(config, key, there):
    assert (key in config) is there


@pytest.mark.parametrize(
    ("value", "read", "wanted"),
    [
        (math.nan, lambda c: c.number("n"), "a finite number"),
        (math.inf, lambda c: c.number("n", above=0), "a finite number"),
        (-math.inf, lambda c: c.number("n"), "a finite number"),
        (0, lambda c: c.number("n", above=0), "a number above 0"),
        (-0.5, lambda c: c.number("n", above=0), "a number above 0"),
        (0.5, lambda c: c.number("n", above=0.5), "a number above 0.5"),
        (0, lambda c: c.integer("n", least=1), "a whole number from 1 on"),
        (-3, lambda c: c.integer("n", least=0), "a whole number from 0 on"),
        (True, lambda c: c.choice("n", 1, 2), "1 or 2"),
        (1, lambda c: c.choice("n", True), "True"),
        (0, lambda c: c.choice("n", False, "x"), "False or 'x'"),
    ],
)
def test_value_out_of_range_is_named(value, read, wanted):
    message = f"model.nemo: its configuration has {value!r} at 'n', asrkit can run {wanted}"
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        read(Config({"n": value}, "model.nemo"))


def test_a_number_beyond_floats_is_no_finite_number():
    with pytest.raises(CheckpointError, match=r"asrkit can run a finite number$"):
        Config({"n": 10**400}, "model.nemo").number("n")
