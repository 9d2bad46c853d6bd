import mmap
import os
import re
import struct

import numpy as np
import pytest

from asrkit.checkpoints import nemo
from asrkit.checkpoints.nemo import NemoCheckpoint
from asrkit.errors import CheckpointError
from asrkit.testing.archives import (
    BFloat16,
    tar_archive,
    write_nemo,
)

CONFIG = {"sample_rate": 16000, "tokenizer": {"langs": {"spl": 1, "en": 2, "de": 3}}}
RANDOM = np.random.default_rng(0)
MATRIX = RANDOM.normal(size=(6, 5)).astype(np.float32)
WIDE = RANDOM.normal(size=(10, 8)).astype(np.float32)
TENSORS = {
    "z.matrix": MATRIX,
    "a.tied": MATRIX,
    "transposed": MATRIX.T,
    "strided": WIDE[2:9:2, 1:7:3],
    "fortran": np.asfortranarray(WIDE[:4]),
    "reversed": MATRIX[::-1],
    "scalar": np.array(2.5, np.float32),
    "counter": np.array(7, np.int64),
    "empty": np.zeros((0, 4), np.float32),
    "half": MATRIX.astype(np.float16),
    "brain": BFloat16.rounded(MATRIX),
    "double": MATRIX.astype(np.float64),
    "int32": np.arange(-3, 3, dtype=np.int32),
    "int16": np.arange(-300, 300, dtype=np.int16),
    "int8": np.arange(-3, 3, dtype=np.int8),
    "uint8": np.arange(250, 256, dtype=np.uint8),
    "bool": np.array([True, False, True]),
}


def expected(value):
    return value.values if isinstance(value, BFloat16) else value


def end_of(array):
    """What an array looks into, at the end of its chain of bases."""
    while isinstance(array, np.ndarray):
        array = array.base
    return array.obj if isinstance(array, memoryview) else array


def refused(path, message, call=NemoCheckpoint):
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        call(path)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.nemo"


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"prefix": ""},
        {"root": "archive"},
        {"location": "cuda:0"},
        {"alignment": 1},
    ],
    ids=str,
)
def test_every_tensor_comes_back_exactly(path, form):
    tensors = NemoCheckpoint.open(write_nemo(path, CONFIG, TENSORS, **form)).tensors()
    assert list(tensors) == list(TENSORS)
    for name, given in TENSORS.items():
        found, value = tensors[name], expected(given)
        assert (found.shape, found.dtype) == (value.shape, value.dtype), name
        assert np.array_equal(found, value), name
        assert not found.flags.writeable, name


@pytest.mark.parametrize("name", [name for name in TENSORS if name != "brain"])
def test_tensors_are_views_of_the_mapped_file(path, name):
    assert isinstance(end_of(NemoCheckpoint(write_nemo(path, CONFIG, TENSORS)).tensors()[name]), mmap.mmap)


def test_a_view_shows_what_the_file_holds_now(path):
    array = NemoCheckpoint(write_nemo(path, CONFIG, {"w": MATRIX})).tensors()["w"]
    at = path.read_bytes().index(MATRIX.tobytes())
    with path.open("r+b") as file:
        file.seek(at)
        file.write(struct.pack("<f", 1234.0))
    assert array[0, 0] == 1234.0


def test_unaligned_storages_are_mapped_too(path):
    aligned = []
    for root in ("m", "mm", "mmm", "mmmm"):  # each letter moves the storage by one byte, at least
        array = NemoCheckpoint(write_nemo(path, CONFIG, {"w": MATRIX}, root=root, alignment=1)).tensors()["w"]
        assert isinstance(end_of(array), mmap.mmap)
        assert np.array_equal(array, MATRIX)
        aligned.append(array.flags.aligned)
    assert not all(aligned)


def test_shared_storages_stay_shared(path):
    tensors = NemoCheckpoint(write_nemo(path, CONFIG, TENSORS)).tensors()
    assert tensors["z.matrix"] is tensors["a.tied"]
    assert np.shares_memory(tensors["z.matrix"], tensors["transposed"])
    assert tensors["transposed"].strides == (4, 20)
    assert tensors["strided"].strides == (64, 12)
    assert not np.shares_memory(tensors["z.matrix"], tensors["strided"])
    assert path.read_bytes().count(MATRIX.tobytes()) == 1


def test_tied_bfloat16_is_widened_once_and_stays_exact(path):
    brain = BFloat16(np.array([0x3F80, 0x0001, 0x7F80, 0xFF80, 0x8000, 0x7F7F], np.uint16))
    tensors = NemoCheckpoint(write_nemo(path, CONFIG, {"a": brain, "b": BFloat16(brain.bits)})).tensors()
    found = tensors["a"]
    assert found is tensors["b"]
    assert found.dtype == np.float32
    assert found.view(np.uint32).tolist() == [bits << 16 for bits in brain.bits.tolist()]
    assert found[:2].tolist() == [1.0, 2.0**-133]
    assert tensors.raw("a").tolist() == brain.bits.tolist()


def test_arrays_outlive_the_checkpoint(path):
    with NemoCheckpoint(write_nemo(path, CONFIG, TENSORS)) as checkpoint:
        array = checkpoint.tensors()["z.matrix"]
    del checkpoint
    path.unlink()
    assert np.array_equal(array, MATRIX)


def test_a_closed_checkpoint_says_so(path):
    checkpoint = NemoCheckpoint(write_nemo(path, CONFIG, TENSORS, {"vocab.txt": b"a"}))
    tensors = checkpoint.tensors()
    checkpoint.close()
    closed = "was closed; open it again to read"
    refused(
        "z.matrix",
        f"'{path}', member 'model_weights.ckpt' {closed} 'z.matrix'",
        lambda name: tensors[name],
    )
    refused("vocab.txt", f"'{path}' {closed} 'vocab.txt'", checkpoint.file)


def test_the_configuration_keeps_its_order(path):
    config = NemoCheckpoint(write_nemo(path, CONFIG, {})).config
    assert config == CONFIG
    assert list(config["tokenizer"]["langs"]) == ["spl", "en", "de"]


def test_a_model_within_a_training_configuration_is_found(path):
    assert NemoCheckpoint(write_nemo(path, {"trainer": 1, "model": CONFIG}, {})).config == CONFIG
    assert NemoCheckpoint(write_nemo(path, {"model": "tiny"}, {})).config == {"model": "tiny"}


def test_files_are_found_by_every_spelling_of_their_names(path):
    files = {"98bf_tokenizer.model": b"en", "11aa_tokenizer.model": b"de"}
    checkpoint = NemoCheckpoint(write_nemo(path, CONFIG, {}, files))
    assert checkpoint.files() == ("98bf_tokenizer.model", "11aa_tokenizer.model")
    for name in ("11aa_tokenizer.model", "./11aa_tokenizer.model", "nemo:11aa_tokenizer.model"):
        assert checkpoint.file(name) == b"de"
        assert b"".join(checkpoint.blocks(name)) == b"de"
    assert checkpoint.file("model_config.yaml").startswith(b"sample_rate")


def test_a_missing_file_is_named_with_what_there_is(path):
    checkpoint = NemoCheckpoint(write_nemo(path, CONFIG, {}, {"98bf_tokenizer.model": b""}))
    refused(
        "nemo:98bf_tokeniser.model",
        f"'{path}' holds no file 'nemo:98bf_tokeniser.model' (did you mean '98bf_tokenizer.model'?); "
        "it holds 98bf_tokenizer.model, model_config.yaml, model_weights.ckpt",
        checkpoint.file,
    )


def test_a_large_file_is_streamed_but_not_read(path, monkeypatch):
    checkpoint = NemoCheckpoint(write_nemo(path, CONFIG, {}, {"large": b"x" * (3 << 20)}))
    monkeypatch.setattr(nemo, "MAX_FILE", 2 << 20)
    refused(
        "large",
        f"'{path}', member 'large' has 3145728 bytes; at most 2097152 are read into memory",
        checkpoint.file,
    )
    assert [len(block) for block in checkpoint.blocks("large")] == [1 << 20] * 3


def test_an_auxiliary_model_is_visible_and_opened_alike(path):
    models = {"timestamps_asr_": ({"k": 1}, {"w": WIDE})}
    checkpoint = NemoCheckpoint(write_nemo(path, CONFIG, TENSORS, models=models))
    assert checkpoint.files() == ("timestamps_asr_model_config.yaml", "timestamps_asr_model_weights.ckpt")
    config, tensors = checkpoint.open_model("timestamps_asr_")
    assert config == {"k": 1}
    assert np.array_equal(tensors["w"], WIDE)
    assert isinstance(end_of(tensors["w"]), mmap.mmap)
    assert checkpoint.open_model() == (checkpoint.config, checkpoint.tensors())
    with pytest.raises(CheckpointError, match=r"holds no file 'other_model_config\.yaml'"):
        checkpoint.open_model("other_")


def test_the_identity_changes_with_the_weights_and_without_their_size_or_time(path):
    def identity(tensors, config=CONFIG):
        write_nemo(path, config, tensors)
        os.utime(path, ns=(5, 5))
        return NemoCheckpoint(path).identity

    first = identity({"w": MATRIX})
    assert re.fullmatch(r"\d+-5-[0-9a-f]{32}", first)
    assert identity({"w": MATRIX}) == first
    assert identity({"w": MATRIX + 1}) != first
    os.utime(path, ns=(6, 6))
    assert NemoCheckpoint(path).identity.split("-")[1] == "6"


def test_recognises_by_content_or_name(path, tmp_path):
    write_nemo(path, CONFIG, {})
    other = tmp_path / "model"
    other.write_bytes(path.read_bytes())
    text = tmp_path / "text.nemo"
    text.write_text("x")
    (tmp_path / "folder.nemo").mkdir()
    (tmp_path / "note.txt").write_text("x")
    assert [NemoCheckpoint.recognises(found) for found in (path, other, text)] == [True] * 3
    no = (tmp_path / "folder.nemo", tmp_path / "note.txt", tmp_path / "missing.nemo", "\0")
    assert not any(NemoCheckpoint.recognises(found) for found in no)


def test_what_cannot_be_opened_is_named(path, tmp_path):
    refused(path, f"there is no file '{path}'")
    refused(tmp_path, f"'{tmp_path}' is a directory, not a checkpoint file")
    path.touch()
    refused(path, f"'{path}' is empty: download or copy it again")
    path.write_text("<html>not found</html>")
    refused(path, f"'{path}' is not a tar archive: it begins with b'<html>not found<'")
    long = tmp_path / ("n" * 300)
    refused(long, f"'{long}' cannot be read: File name too long")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    refused(pipe, f"'{pipe}' is not a regular file: a checkpoint has to be one to be mapped")


def test_an_unreadable_file_is_named(path):
    write_nemo(path, CONFIG, {}).chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # root reads everything, so be nobody for a moment
    try:
        refused(path, f"'{path}' cannot be read: Permission denied")
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("missing", ["model_config.yaml", "model_weights.ckpt"])
def test_a_tar_without_a_model_is_named(path, missing):
    kept = [name for name in ("model_config.yaml", "model_weights.ckpt") if name != missing]
    path.write_bytes(tar_archive([(kept[0], b"a: 1"), ("readme", b"")]))
    refused(
        path,
        f"'{path}' is a tar archive but no NeMo model: it holds no {missing!r}, only {kept[0]}, readme",
    )
