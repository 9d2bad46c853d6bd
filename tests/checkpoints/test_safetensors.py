import io
import json
import re

import numpy as np
import pytest

from asrkit.checkpoints import safetensors as module
from asrkit.checkpoints.mapped import MappedTensors, Stored
from asrkit.checkpoints.safetensors import read_safetensors, write_safetensors
from asrkit.errors import CheckpointError


def entry(first, last, shape=(1,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [first, last]}


def safetensors_file(header, size):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(size)


DAMAGED = "the header's entry for the tensor 'w' is damaged"
TIED = "the header's list of tied tensors is damaged"
FILES_REFUSED = {
    "short": (b"abc", " is not a safetensors file, or cut short: it begins with b'abc'"),
    "text": (
        b"version https://git-lfs",
        " is not a safetensors file, or cut short: it begins with b'version https://'",
    ),
    "header outside": (
        safetensors_file({}, 0)[:-1],
        r" is not a safetensors file, or cut short: it begins with b'\x02\x00\x00\x00\x00\x00\x00\x00{'",
    ),
    "doubled": (
        safetensors_file(b'{"w": 1, "w": 1}', 0),
        ": the safetensors header is not JSON that can be read: the key 'w' stands twice in one object",
    ),
    "metadata": (
        safetensors_file({"__metadata__": {"a": 1}}, 0),
        ": the safetensors '__metadata__' is not a mapping of strings",
    ),
    "metadata list": (
        safetensors_file({"__metadata__": []}, 0),
        ": the safetensors '__metadata__' is not a mapping of strings",
    ),
    "list": (
        safetensors_file(b"[1]", 0),
        r" is not a safetensors file, or cut short: it begins with b'\x03\x00\x00\x00\x00\x00\x00\x00[1]'",
    ),
    "no mapping": (safetensors_file({"w": 1}, 0), f": {DAMAGED}"),
    "negative": (safetensors_file({"w": entry(-4, 0)}, 4), f": {DAMAGED}"),
    "fraction": (safetensors_file({"w": entry(0, 4.0)}, 4), f": {DAMAGED}"),
    "boolean": (safetensors_file({"w": entry(0, 4, [True])}, 4), f": {DAMAGED}"),
    "axes": (safetensors_file({"w": entry(0, 4, [1] * 33)}, 4), f": {DAMAGED}"),
    "three offsets": (
        safetensors_file({"w": {"dtype": "F32", "shape": [], "data_offsets": [0, 2, 4]}}, 4),
        f": {DAMAGED}",
    ),
    "float8": (
        safetensors_file({"w": entry(0, 1, dtype="F8_E4M3")}, 1),
        ": the tensor 'w' is 'F8_E4M3', which NumPy cannot hold; supported are "
        "BF16, BOOL, F16, F32, F64, I16, I32, I64, I8, U16, U32, U64, U8",
    ),
    "size": (
        safetensors_file({"w": entry(0, 8)}, 8),
        ": the tensor 'w', F32 of shape (1,), has 4 bytes, but its offsets are 0 and 8",
    ),
    "backwards": (
        safetensors_file({"w": entry(4, 0)}, 4),
        ": the tensor 'w', F32 of shape (1,), has 4 bytes, but its offsets are 4 and 0",
    ),
    "overlap": (
        safetensors_file({"v": entry(0, 4), "w": entry(2, 6)}, 6),
        ": the tensor 'w' at 2 overlaps the one before it, which ends at 4",
    ),
    "hole": (
        safetensors_file({"v": entry(0, 4), "w": entry(8, 12)}, 12),
        ": the tensor 'w' at 8 leaves a hole before it, which ends at 4",
    ),
    "cut short": (
        safetensors_file({"w": entry(0, 4)}, 3),
        ": its tensors end at byte 73, but the file at 72: it is damaged, download or copy it again",
    ),
    "too long": (
        safetensors_file({"w": entry(0, 4)}, 5),
        ": its tensors end at byte 73, but the file at 74: it is damaged, download or copy it again",
    ),
    "tied text": (safetensors_file({"__metadata__": {"tied": "x"}}, 0), f": {TIED}"),
    "tied list": (safetensors_file({"__metadata__": {"tied": "[1]"}}, 0), f": {TIED}"),
    "tied to nothing": (safetensors_file({"__metadata__": {"tied": '{"a": "b"}'}}, 0), f": {TIED}"),
    "tied to a list": (safetensors_file({"__metadata__": {"tied": '{"a": []}'}}, 0), f": {TIED}"),
    "tied twice": (
        safetensors_file({"__metadata__": {"tied": '{"w": "w"}'}, "w": entry(0, 4)}, 4),
        f": {TIED}",
    ),
}


@pytest.mark.parametrize(("data", "message"), FILES_REFUSED.values(), ids=FILES_REFUSED)
def test_damaged_files_are_refused(data, message):
    with pytest.raises(CheckpointError, match="^" + re.escape(f"'x'{message}") + "$"):
        read_safetensors(data, "'x'")


def test_a_huge_header_is_refused(monkeypatch):
    data = safetensors_file({"w": entry(0, 4)}, 4)
    monkeypatch.setattr(module, "MAX_HEADER", 61)
    assert read_safetensors(data, "'x'") == {"w": Stored("F32", (1,), (4,), 69)}
    monkeypatch.setattr(module, "MAX_HEADER", 60)
    with pytest.raises(CheckpointError, match=r"^'x' is not a safetensors file, or cut short"):
        read_safetensors(data, "'x'")


def test_wide_elements_come_first_and_the_order_of_names_stays():
    file = io.BytesIO()
    tensors = {"b": np.array([True]), "a": np.array([1.5, 2.5]), "c": np.array([[3]], np.int16)}
    write_safetensors(file, tensors)
    data = file.getvalue()
    entries = read_safetensors(data, "'x'")
    start = entries["a"].offset
    assert start % 64 == 0
    assert entries == {
        "b": Stored("BOOL", (1,), (1,), start + 18),
        "a": Stored("F64", (2,), (8,), start),
        "c": Stored("I16", (1, 1), (2, 2), start + 16),
    }
    assert list(entries) == ["b", "a", "c"]
    found = MappedTensors(data, entries, "'x'")
    assert {name: found[name].tolist() for name in found} == {"b": [True], "a": [1.5, 2.5], "c": [[3]]}
