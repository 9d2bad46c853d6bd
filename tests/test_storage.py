from __future__ import annotations

import os
from pathlib import Path

import platformdirs
import pytest

from asrkit.storage import cache_folder, write_whole


def test_the_cache_lies_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("ASRKIT_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    assert not cache_folder().exists()


@pytest.mark.parametrize("value", [None, ""])
def test_by_default_it_lies_where_the_platform_says(monkeypatch, tmp_path, value):
    monkeypatch.delenv("ASRKIT_CACHE", raising=False)
    if value is not None:
        monkeypatch.setenv("ASRKIT_CACHE", value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == Path(platformdirs.user_cache_dir("asrkit", appauthor=False))
    assert cache_folder().name == "asrkit"


def test_parents_are_made_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "a" / "b" / "c.bin"
    write_whole(path, lambda file: file.write(b"content"))
    assert path.read_bytes() == b"content"
    assert os.listdir(path.parent) == ["c.bin"]


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "c.bin"
    path.write_bytes(b"old")

    def write(file):
        file.write(b"half")
        file.flush()
        assert path.read_bytes() == b"old"
        (other,) = set(os.listdir(tmp_path)) - {"c.bin"}
        assert other.startswith("c.bin.")
        assert other.endswith(".part")
        file.write(b" and half")

    write_whole(path, write)
    assert path.read_bytes() == b"half and half"
    assert os.listdir(tmp_path) == ["c.bin"]


def test_who_reads_the_old_file_goes_on_reading_it(tmp_path):
    path = tmp_path / "c.bin"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        write_whole(path, lambda file: file.write(b"new"))
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("a bug"), KeyboardInterrupt()])
@pytest.mark.parametrize("before", [b"old", None])
def test_after_an_error_nothing_is_left_behind(tmp_path, error, before):
    path = tmp_path / "c.bin"
    if before is not None:
        path.write_bytes(before)

    def write(file):
        file.write(b"half")
        raise error

    with pytest.raises(type(error)) as caught:
        write_whole(path, write)
    assert caught.value is error
    assert os.listdir(tmp_path) == (["c.bin"] if before is not None else [])
    assert before is None or path.read_bytes() == before


def test_after_a_failed_renaming_nothing_is_left_behind(tmp_path):
    path = tmp_path / "c.bin"
    (path / "full").mkdir(parents=True)  # a folder in its place
    with pytest.raises(OSError, match=r"c\.bin"):
        write_whole(path, lambda file: file.write(b"x"))
    assert os.listdir(tmp_path) == ["c.bin"]


def test_two_writers_do_not_meet(tmp_path):
    path = tmp_path / "c.bin"

    def outer(file):
        file.write(b"outer")
        write_whole(path, lambda other: other.write(b"inner"))
        assert path.read_bytes() == b"inner"

    write_whole(path, outer)
    assert path.read_bytes() == b"outer"
    assert os.listdir(tmp_path) == ["c.bin"]
