import gc
import io
import os
from pathlib import Path

import numpy as np
import pytest

from asrkit.checkpoints.directory import DirectoryCheckpoint
from asrkit.checkpoints.mapped import MappedFile, MappedTensors, Origin, origin_of
from asrkit.checkpoints.nemo import NemoCheckpoint
from asrkit.checkpoints.safetensors import read_safetensors, write_safetensors
from asrkit.testing.archives import BFloat16, write_nemo

MATRIX = np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32)
TENSORS = {"matrix": MATRIX, "bytes": np.arange(7, dtype=np.int8), "half": MATRIX.astype(np.float16)}


def content(tensors):
    file = io.BytesIO()
    write_safetensors(file, tensors)
    return file.getvalue()


def opened(path):
    file = MappedFile(path)
    return MappedTensors(file.data, read_safetensors(file.data, "'x'"), "'x'")


def lies_there(array):
    """Whether the bytes on disk at an array's origin are its own."""
    origin = origin_of(array)
    data = origin.path.read_bytes()[origin.offset :][: array.nbytes]
    return data == array.tobytes()


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content(TENSORS))
    return path


@pytest.fixture
def tensors(path):
    return opened(path)


@pytest.mark.parametrize("name", TENSORS)
def test_a_tensor_lies_where_the_header_says(path, tensors, name):
    assert origin_of(tensors[name]) == Origin(path.resolve(), tensors.stored(name).offset)
    assert lies_there(tensors[name])


def test_views_in_order_lie_further_on(path, tensors):
    start = tensors.stored("matrix").offset
    assert origin_of(tensors["matrix"][2:4]).offset == start + 2 * 5 * 4
    for view in (tensors["matrix"][2:4], tensors["matrix"].reshape(-1)[7:], tensors["matrix"].view(np.uint8)[1, 3:9]):
        assert lies_there(view)
    assert lies_there(np.require(tensors["matrix"], np.float32, "A"))
    assert lies_there(np.asarray(memoryview(tensors["matrix"])))


@pytest.mark.parametrize(
    "change",
    [
        lambda matrix: matrix.copy(),
        lambda matrix: matrix.T,
        lambda matrix: matrix[:, ::2],
        lambda matrix: matrix[::-1],
        lambda matrix: matrix.astype(np.float64),
        lambda matrix: matrix + 0,
        lambda matrix: np.broadcast_to(matrix[0], (3, 5)),
        lambda matrix: np.concatenate([matrix, matrix]),
    ],
)
def test_what_is_no_view_in_order_lies_nowhere(tensors, change):
    assert origin_of(change(tensors["matrix"])) is None


def test_arrays_that_come_from_no_file_lie_nowhere():
    assert origin_of(MATRIX) is None
    assert origin_of(np.frombuffer(b"12345678", np.uint8)) is None


def test_widened_tensors_lie_nowhere(tmp_path):
    path = write_nemo(tmp_path / "x.nemo", {}, {"brain": BFloat16.rounded(MATRIX), "plain": MATRIX})
    tensors = NemoCheckpoint(path).tensors()
    assert origin_of(tensors["brain"]) is None
    assert lies_there(tensors["plain"])
    assert origin_of(tensors["plain"]).path == path.resolve()


def test_a_folder_is_an_origin_too(tmp_path, path):
    (tmp_path / "config.json").write_text("{}")
    path.rename(tmp_path / "model.safetensors")
    found = DirectoryCheckpoint(tmp_path).tensors()["matrix"]
    assert origin_of(found).path == (tmp_path / "model.safetensors").resolve()
    assert lies_there(found)


def test_links_and_relative_paths_are_resolved(path, monkeypatch):
    link = path.with_name("link")
    link.symlink_to(path)
    monkeypatch.chdir(path.parent)
    assert origin_of(opened("link")["matrix"]).path == path.resolve()
    assert origin_of(opened(Path(path.name))["matrix"]).path.is_absolute()


def replaced(path):
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(0, 10**18))
    other.replace(path)


def longer(path):
    stat = path.stat()
    with path.open("ab") as file:
        file.write(b"more")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def touched(path):
    os.utime(path, ns=(0, 10**18))


def rewritten(path):
    path.unlink()
    path.write_bytes(content({"matrix": MATRIX * 2}))


@pytest.mark.parametrize("change", [replaced, longer, touched, rewritten, Path.unlink])
def test_a_file_that_is_no_longer_the_one_that_was_mapped_is_no_origin(path, tensors, change):
    matrix = tensors["matrix"]
    assert origin_of(matrix) is not None
    change(path)
    assert origin_of(matrix) is None
    assert np.array_equal(matrix, MATRIX)


def test_arrays_outlive_what_they_were_opened_with(path):
    file = MappedFile(path)
    tensors = MappedTensors(file.data, read_safetensors(file.data, "'x'"), "'x'")
    matrix, expected = tensors["matrix"], Origin(path.resolve(), tensors.stored("matrix").offset)
    file.close()
    del file, tensors
    gc.collect()
    # Others that are opened now must not take its place.
    others = [opened(path) for _ in range(3)]
    assert origin_of(matrix) == expected
    assert origin_of(others[0]["matrix"]) == expected
    assert lies_there(matrix)
