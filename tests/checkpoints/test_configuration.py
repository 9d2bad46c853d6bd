import re

import pytest

from asrkit.checkpoints import configuration
from asrkit.checkpoints.configuration import read_json, read_yaml
from asrkit.errors import CheckpointError


def refused(read, data, message):
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        read(data, "'x'")


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (read_yaml, "z: 1\na: {y: [1, 2.5, null], b: true}"),
        (read_json, '{"z": 1, "a": {"y": [1, 2.5, null], "b": true}}'),
    ],
)
def test_a_mapping_is_read_in_its_order(read, text):
    config = read(text.encode(), "'x'")
    assert config == {"z": 1, "a": {"y": [1, 2.5, None], "b": True}}
    assert (list(config), list(config["a"])) == (["z", "a"], ["y", "b"])


def test_a_model_within_a_training_configuration_is_found():
    assert read_yaml(b"trainer: 1\nmodel: {a: 1}", "'x'") == {"a": 1}
    assert read_yaml(b"model: tiny", "'x'") == {"model": "tiny"}


def test_aliases_are_read():
    assert read_yaml(b"a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}", "'x'") == {
        "a": {"b": 1},
        "c": {"b": 1},
        "d": {"b": 1, "e": 2},
    }


DEEP = "is nested deeper than 100 levels, which no configuration needs"
BOMB = "a: &a0 [x, x]\n" + "".join(f"k{i}: &a{i + 1} [*a{i}, *a{i}]\n" for i in range(40))
MERGE = "a: &a0 {x: 1, y: 2}\n" + "".join(f"k{i}: &a{i + 1} {{<<: [*a{i}, *a{i}]}}\n" for i in range(40))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1", " holds 'list' at its top, a configuration is a mapping"),
        ("", " holds 'NoneType' at its top, a configuration is a mapping"),
        ("- " * 100_000 + "1", f" {DEEP}"),
        ("[" * 100_000, f" {DEEP}"),
        ("{a: " * 101 + "1" + "}" * 101, f" {DEEP}"),
        (BOMB, " grows beyond 1000000 values, which no configuration needs"),
        (MERGE, " grows beyond 1000000 values, which no configuration needs"),
        ("a: &a [*a]", ": the alias '*a' stands for nothing, or contains itself"),
        ("a: *b", ": the alias '*b' stands for nothing, or contains itself"),
    ],
    ids=[
        "list",
        "empty",
        "deep",
        "deep flow",
        "deep mapping",
        "bomb",
        "merge bomb",
        "recursion",
        "no anchor",
    ],
)
def test_configurations_that_are_none_are_refused(text, message):
    refused(read_yaml, text.encode(), f"'x'{message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: !!python/object/apply:os.system [false]",
            "asks for more than plain values: could not determine",
        ),
        ("a: !unknown 1", "asks for more than plain values: could not determine"),
        ("a: [1", "is not YAML: while parsing"),
        ("a: \x07", "is not YAML: "),
        ("a: 2020-99-99", "holds a value that cannot be read: ValueError("),
        ("a: !!bool x", "holds a value that cannot be read: KeyError("),
    ],
)
def test_configurations_with_odd_values_are_refused_in_one_line(text, message):
    with pytest.raises(CheckpointError, match=re.escape(f"'x' {message}")) as info:
        read_yaml(text.encode(), "'x'")
    assert "\n" not in str(info.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "'x' holds 'list' at its top, a configuration is a mapping"),
        ('{"a": 1, "a": 2}', "'x' is not JSON that can be read: the key 'a' stands twice in one object"),
        ("{", "'x' is not JSON that can be read: Expecting property name enclosed in double quotes"),
        ("[" * 100_000, "'x' is not JSON that can be read: maximum recursion depth exceeded"),
    ],
)
def test_json_that_is_no_configuration_is_refused(text, message):
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}"):
        read_json(text.encode(), "'x'")


@pytest.mark.parametrize("read", [read_yaml, read_json])
def test_a_huge_configuration_is_refused(read, monkeypatch):
    monkeypatch.setattr(configuration, "MAX_BYTES", 10)
    assert read(b'{"a": 1}', "'x'") == {"a": 1}
    refused(read, b'{"a": 1234}', "'x' has more than 10 bytes, which no configuration needs")
