import io
import logging
import os
import re
import types

import numpy as np
import pytest

from asrkit.checkpoints import quantized as module
from asrkit.checkpoints.directory import DirectoryCheckpoint, write_directory
from asrkit.checkpoints.mapped import MappedTensors, origin_of
from asrkit.checkpoints.quantized import CachedCheckpoint, QuantizedCheckpoint, combined, precision_of, split
from asrkit.checkpoints.safetensors import read_safetensors, write_safetensors
from asrkit.errors import CheckpointError
from asrkit.quantize import Quantized, quantize


def matrix(outputs, inputs, seed=0):
    return np.random.default_rng(seed).standard_normal((outputs, inputs)).astype(np.float32)


EIGHT, FOUR = quantize(matrix(5, 64), "int8"), quantize(matrix(7, 96, 1), "int4")
BIAS = np.arange(5, dtype=np.float32)
BYTES, SCALES = np.zeros((64, 5), np.int8), np.ones(5, np.float32)
HALVES, BLOCKS = np.zeros((7, 32), np.uint8), np.ones((7, 2), np.float32)


def same(found, expected):
    """Two quantised matrices, to the bit."""
    assert found.bits == expected.bits
    for name in ("values", "scales"):
        a, b = getattr(found, name), getattr(expected, name)
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def stored(tensors):
    """Tensors that went through a file."""
    file = io.BytesIO()
    write_safetensors(file, tensors)
    data = file.getvalue()
    return MappedTensors(data, read_safetensors(data, "'x'"), "'x'")


def test_what_is_split_and_written_is_read_and_combined():
    tensors = {"a.weight": EIGHT, "a.bias": BIAS, "b.weight": FOUR, "c.scales": BIAS}
    parts = split(tensors)
    assert sorted(parts) == [
        "a.bias",
        "a.weight.int8",
        "a.weight.scales",
        "b.weight.int4",
        "b.weight.scales",
        "c.scales",
    ]
    found = combined(stored(parts), "'x'")
    assert (sorted(found), len(found)) == (sorted(tensors), 4)
    for name in ("a.weight", "b.weight"):
        assert isinstance(found[name], Quantized)
        same(found[name], tensors[name])
    for name in ("a.bias", "c.scales"):
        assert np.array_equal(found[name], BIAS)
    assert "a.weight.int8" not in found
    with pytest.raises(KeyError):
        found["a.weight.scales"]


def test_tensors_without_matrices_in_few_bits_stay_what_they_are():
    plain = stored({"a": BIAS, "a.scales": BIAS})
    assert split(plain) is plain
    assert combined(plain, "'x'") is plain
    assert split({}) == {}


@pytest.mark.parametrize(
    ("tensors", "precision"),
    [
        ({"a": EIGHT, "b": BIAS}, "int8"),
        ({"a": FOUR}, "int4"),
        ({"a": EIGHT, "b": FOUR}, "int4"),
        ({"b": BIAS}, None),
        ({}, None),
    ],
)
def test_precision_is_the_smallest_among_the_matrices(tensors, precision):
    assert precision_of(combined(stored(split(tensors)), "'x'")) == precision


def refused(parts, message):
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        combined(parts, "'x'")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"w.int8": BYTES}, "'x': 'w.int8' is a quantised matrix without its 'w.scales', or twice"),
        (
            {"w.int4": HALVES, "v.scales": BLOCKS},
            "'x': 'w.int4' is a quantised matrix without its 'w.scales', or twice",
        ),
        (
            {"w.int8": BYTES, "w.scales": SCALES, "w": matrix(5, 64)},
            "'x': 'w.int8' is a quantised matrix without its 'w.scales', or twice",
        ),
        (
            {"w.int8": BYTES, "w.int4": HALVES, "w.scales": SCALES},
            "'x': 'w.int4' is a quantised matrix without its 'w.scales', or twice",
        ),
    ],
    ids=["no scales", "other scales", "plain too", "both kinds"],
)
def test_matrices_without_scales_or_twice_are_refused(parts, message):
    refused(parts, message)


@pytest.mark.parametrize(
    ("kind", "values", "scales"),
    [
        ("int8", BYTES, SCALES.astype(np.float64)),
        ("int8", BYTES, np.ones(64, np.float32)),
        ("int8", BYTES, SCALES[:, None]),
        ("int8", BYTES, np.float32(1).reshape(())),
        ("int8", BYTES[0], SCALES),
        ("int8", BYTES[None], SCALES),
        ("int8", BYTES.view(np.uint8), SCALES),
        ("int8", BYTES.astype(np.float32), SCALES),
        ("int4", HALVES, BLOCKS.astype(np.float16)),
        ("int4", HALVES, BLOCKS[:, :1]),
        ("int4", HALVES, BLOCKS.T),
        ("int4", HALVES, np.ones(7, np.float32)),
        ("int4", HALVES, BLOCKS[:, :, None]),
        ("int4", HALVES.view(np.int8), BLOCKS),
        ("int4", HALVES[:, :24], BLOCKS),
        ("int4", HALVES[:, :24], BLOCKS[:, :1]),
    ],
)
def test_values_and_scales_that_make_no_matrix_are_refused(kind, values, scales):
    message = f"'x': 'w.{kind}' {values.dtype} {values.shape} and its scales {scales.shape} make no quantised matrix"
    refused({f"w.{kind}": values, "w.scales": scales}, message)
    assert "\n" not in message


# The cache


class Plain:
    """A checkpoint in memory."""

    path, config, precision = "plain", {"k": 1}, None

    def __init__(self, identity="one", **tensors):
        if identity is not None:
            self.identity = identity
        self._tensors = tensors or {"a": matrix(5, 64), "b": matrix(7, 96, 1), "wide": matrix(4, 64)[:, :, None]}

    def tensors(self):
        return self._tensors

    def files(self):
        return ()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ASRKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "quantized"


@pytest.fixture
def made(monkeypatch):
    """The (shape, precision) of every matrix that is quantised."""
    calls = []

    def counted(values, precision):
        calls.append((values.shape, precision))
        return quantize(values, precision)

    monkeypatch.setattr(module, "quantize", counted)
    return calls


def ask(checkpoint, precision="int8", names=("a", "b", "wide")):
    """What a start of the program does: opens, asks, saves."""
    cached = CachedCheckpoint(checkpoint, precision)
    found = {name: cached.tensors().quantized(name, precision) for name in names}
    cached.save()
    return found


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_a_second_start_reads_what_the_first_one_made(folder, made, precision):
    first = ask(Plain(), precision)
    assert sorted(made) == [((4, 64), precision), ((5, 64), precision), ((7, 96), precision)]
    (file,) = folder.iterdir()
    assert re.fullmatch(r"[0-9a-f]{32}\.safetensors", file.name)
    before = file.stat().st_mtime_ns
    made.clear()
    second = ask(Plain(), precision)
    assert made == []
    assert file.stat().st_mtime_ns == before
    for name, tensor in Plain().tensors().items():
        same(second[name], first[name])
        same(second[name], quantize(tensor.reshape(tensor.shape[:2]), precision))
        # Mapped, so that a runtime can read it from there.
        assert origin_of(second[name].values).path == file.resolve()


def test_a_matrix_is_made_once_in_a_process(folder, made):
    cached = CachedCheckpoint(Plain(), "int8")
    assert cached.tensors().quantized("a", "int8") is cached.tensors().quantized("a", "int8")
    assert len(made) == 1


def test_only_what_is_new_is_made(folder, made):
    ask(Plain(), names=("a",))
    made.clear()
    ask(Plain())
    assert sorted(made) == [((4, 64), "int8"), ((7, 96), "int8")]
    made.clear()
    ask(Plain())
    assert made == []


@pytest.mark.parametrize(("identity", "precision"), [("two", "int8"), ("one", "int4")])
def test_another_checkpoint_or_precision_has_a_file_of_its_own(folder, made, identity, precision):
    first = ask(Plain())
    made.clear()
    ask(Plain(identity), precision)
    assert len(made) == 3
    assert len(list(folder.iterdir())) == 2
    made.clear()
    again = ask(Plain())
    assert made == []
    same(again["a"], first["a"])


def test_other_rules_have_a_file_of_their_own(folder, made, monkeypatch):
    ask(Plain())
    made.clear()
    monkeypatch.setattr(module, "VERSION", module.VERSION + 1)
    ask(Plain())
    assert len(made) == 3


def test_a_part_in_more_bits_keeps_them(folder, made):
    """A model in int4 asks for some of its matrices in int8."""
    for _ in range(2):
        cached = CachedCheckpoint(Plain(), "int4")
        assert cached.tensors().quantized("a", "int8").bits == 8
        assert cached.tensors().quantized("b", "int4").bits == 4
        cached.save()
    assert made == [((5, 64), "int8"), ((7, 96), "int4")]


def test_a_width_without_whole_blocks_is_kept_too(folder, made):
    for _ in range(2):
        assert ask(Plain(a=matrix(5, 40)), "int4", ("a",))["a"].bits == 8
    assert made == [((5, 40), "int4")]


def test_without_an_identity_nothing_is_kept(folder, made):
    for _ in range(2):
        ask(Plain(identity=None))
    assert len(made) == 6
    assert not folder.exists()


def test_a_checkpoint_that_is_wrapped_looks_as_before(folder):
    checkpoint = Plain()
    cached = CachedCheckpoint(checkpoint, "int8")
    assert (cached.path, cached.config, cached.identity, cached.files()) == ("plain", {"k": 1}, "one", ())
    assert list(cached.tensors()) == ["a", "b", "wide"]
    assert len(cached.tensors()) == 3
    assert cached.tensors()["a"] is checkpoint.tensors()["a"]
    assert cached.made == {}
    cached.save()  # of nothing
    assert not folder.exists()


def cut(data):
    return data[:-10]


def no_header(data):
    return b"not a header" + data[12:]


def other_name(data):
    return data.replace(b'"a.scales"', b'"z.scales"')


def other_dtype(data):
    return data.replace(b'"dtype":"I8"', b'"dtype":"U8"')


@pytest.mark.parametrize("damage", [cut, no_header, other_name, other_dtype, lambda data: b""])
def test_a_damaged_file_is_told_and_made_again(folder, made, caplog, damage):
    first = ask(Plain())
    (file,) = folder.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    made.clear()
    with caplog.at_level(logging.WARNING, "asrkit"):
        second = ask(Plain())
    (message,) = caplog.messages
    assert message.startswith(repr(str(file)))
    assert message.endswith("; quantised weights are made again")
    assert "\n" not in message
    assert len(made) == 3
    made.clear(), caplog.clear()
    third = ask(Plain())
    assert (made, caplog.messages) == ([], [])
    for name in first:
        same(second[name], first[name])
        same(third[name], first[name])


def test_a_file_that_holds_something_else_is_not_used(folder, made):
    """As if two checkpoints had the same identity: shapes are looked at."""
    ask(Plain(), names=("a",))
    made.clear()
    other = Plain(a=matrix(6, 32))
    same(ask(other, names=("a",))["a"], quantize(other.tensors()["a"], "int8"))
    assert made == [((6, 32), "int8")]


@pytest.fixture
def full(monkeypatch):
    """A disk that takes nothing."""

    def write_whole(path, write):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_whole", write_whole)


def unwritable(folder):
    return f"quantised weights were not kept in {folder} ({{}}): they are made again at every start"


@pytest.mark.usefixtures("full")
def test_a_full_disk_costs_a_warning(folder, made, caplog):
    for _ in range(2):
        with caplog.at_level(logging.WARNING, "asrkit"):
            found = ask(Plain())
        same(found["a"], quantize(matrix(5, 64), "int8"))
    assert caplog.messages == [unwritable(folder).format("No space left on device")] * 2
    assert len(made) == 6


def test_a_cache_that_is_a_file_costs_a_warning(folder, made, caplog):
    folder.parent.write_text("in the way")
    with caplog.at_level(logging.WARNING, "asrkit"):
        ask(Plain())
    (message,) = caplog.messages
    assert re.fullmatch(re.escape(unwritable(folder)).replace(r"\{\}", "(File exists|Not a directory)"), message)
    assert len(made) == 3
    assert os.listdir(folder.parent.parent) == ["cache"]


def test_a_disk_that_fills_up_leaves_no_debris(folder, made, caplog, monkeypatch):
    def write_safetensors(file, tensors):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_safetensors", write_safetensors)
    ask(Plain())
    assert caplog.messages == [unwritable(folder).format("No space left on device")]
    assert list(folder.iterdir()) == []


# What `asrkit convert --precision` writes


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_a_converted_folder_holds_the_matrices_that_were_asked_for(tmp_path, precision):
    source = Plain()
    read = CachedCheckpoint(source, precision)
    for name in ("a", "wide"):
        read.tensors().quantized(name, precision)
    converted = QuantizedCheckpoint(source, read)
    assert (converted.path, converted.config) == ("plain", {"k": 1})
    written = write_directory(converted, tmp_path / "out")
    for checkpoint in (written, DirectoryCheckpoint(tmp_path / "out")):
        assert checkpoint.precision == precision
        assert sorted(checkpoint.tensors()) == ["a", "b", "wide"]
        same(checkpoint.tensors()["a"], quantize(matrix(5, 64), precision))
        same(checkpoint.tensors()["wide"], quantize(matrix(4, 64), precision))
        assert np.array_equal(checkpoint.tensors()["b"], matrix(7, 96, 1))


def test_a_folder_in_few_bits_can_be_copied(tmp_path):
    source = types.SimpleNamespace(path="x", config={}, tensors=lambda: {"a": FOUR}, files=tuple, file=None)
    copy = write_directory(write_directory(source, tmp_path / "one"), tmp_path / "two")
    assert copy.precision == "int4"
    same(copy.tensors()["a"], FOUR)
