import json
import mmap
import os
import re
import types

import numpy as np
import pytest
import safetensors.numpy

from asrkit.checkpoints import directory as module
from asrkit.checkpoints.directory import DirectoryCheckpoint, write_directory
from asrkit.checkpoints.nemo import NemoCheckpoint
from asrkit.errors import CheckpointError
from asrkit.testing.archives import BFloat16, tar_archive, torch_archive, write_nemo

CONFIG = {"z": 1, "tokenizer": {"langs": {"spl": "ü", "en": [1.5, None]}}}
MATRIX = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
TENSORS = {
    "bool": np.array([True, False, True]),
    "z.matrix": MATRIX,
    "a.tied": MATRIX,
    "transposed": MATRIX.T,
    "scalar": np.array(2.5, np.float32),
    "counter": np.array(7, np.int64),
    "empty": np.zeros((0, 4), np.float32),
    "half": MATRIX.astype(np.float16),
    "brain": BFloat16.rounded(MATRIX),
    "double": MATRIX.astype(np.float64),
    "int32": np.arange(3, dtype=np.int32),
    "int16": np.arange(3, dtype=np.int16),
    "int8": np.arange(3, dtype=np.int8),
    "uint8": np.arange(3, dtype=np.uint8),
}
FILES = {"98bf_tokenizer.model": b"en", "11aa_tokenizer.model": b"de"}


def plain_checkpoint(**changes):
    """The least that the Checkpoint protocol asks for, without blocks()."""
    parts = {"path": "plain", "config": CONFIG, "tensors": dict, "files": tuple, "file": FILES.__getitem__}
    return types.SimpleNamespace(**parts | changes)


def refused(call, message):
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        call()


@pytest.fixture
def source(tmp_path):
    models = {"timestamps_asr_": ({"k": 1}, {"w": MATRIX})}
    return NemoCheckpoint(write_nemo(tmp_path / "x.nemo", CONFIG, TENSORS, FILES, models=models))


@pytest.fixture
def target(tmp_path):
    return tmp_path / "made" / "folder"


@pytest.fixture
def converted(source, target):
    return write_directory(source, target)


def test_everything_comes_through(source, converted, target):
    assert converted.path == target
    assert converted.config == CONFIG
    assert list(converted.config["tokenizer"]["langs"]) == ["spl", "en"]
    assert list(converted.tensors()) == [name for name in TENSORS if name != "a.tied"] + ["a.tied"]
    for name, given in source.tensors().items():
        found = converted.tensors()[name]
        assert (found.shape, found.dtype) == (given.shape, given.dtype), name
        assert np.array_equal(found, given), name
        assert not found.flags.writeable, name
    assert set(converted.files()) == set(source.files())
    for name in ("11aa_tokenizer.model", "./11aa_tokenizer.model", "nemo:11aa_tokenizer.model"):
        assert converted.file(name) == b"de" == b"".join(converted.blocks(name))
    assert converted.file("timestamps_asr_model_weights.ckpt") == source.file("timestamps_asr_model_weights.ckpt")
    assert sorted(os.listdir(target.parent)) == ["folder"]


def test_tensors_are_aligned_views_of_the_mapped_file(converted):
    for name in TENSORS:
        array = converted.tensors().raw(name)
        assert array.flags.aligned, name
        while isinstance(array, np.ndarray):
            array = array.base
        assert isinstance(array.obj, mmap.mmap), name


def test_tied_tensors_are_written_once_and_are_one_again(converted, target):
    assert converted.tensors()["z.matrix"] is converted.tensors()["a.tied"]
    data = (target / "model.safetensors").read_bytes()
    assert data.count(MATRIX.tobytes()) == 1


def test_the_safetensors_library_reads_the_same(source, target):
    write_directory(source, target)
    with safetensors.safe_open(target / "model.safetensors", "np") as file:
        assert json.loads(file.metadata()["tied"]) == {"a.tied": "z.matrix"}
        for name in file.keys():  # noqa: SIM118 - it is no mapping
            if name != "brain":
                assert np.array_equal(file.get_tensor(name), TENSORS[name]), name


def test_what_the_safetensors_library_writes_is_read(target):
    target.mkdir(parents=True)
    tensors = {name: value for name, value in TENSORS.items() if name != "brain"}
    contiguous = {name: np.array(value, order="C") for name, value in tensors.items()}
    safetensors.numpy.save_file(contiguous, target / "model.safetensors", {"format": "np"})
    (target / "config.json").write_text(json.dumps(CONFIG))
    found = DirectoryCheckpoint.open(target).tensors()
    assert set(found) == set(tensors)
    assert all(np.array_equal(found[name], tensors[name]) for name in tensors)


def test_bfloat16_keeps_its_bits(source, converted):
    assert converted.tensors().stored("brain").dtype == "BF16"
    assert np.array_equal(converted.tensors().raw("brain"), TENSORS["brain"].bits)


def test_a_folder_converts_to_the_same_folder(converted, target, tmp_path):
    again = write_directory(converted, tmp_path / "again")
    for name in ("config.json", "model.safetensors", *converted.files()):
        assert (tmp_path / "again" / name).read_bytes() == (target / name).read_bytes(), name
    assert again.identity.split("-")[2] == converted.identity.split("-")[2]


def test_an_auxiliary_model_is_opened_alike(converted):
    config, tensors = converted.open_model("timestamps_asr_")
    assert config == {"k": 1}
    assert np.array_equal(tensors["w"], MATRIX)
    assert converted.open_model() == (converted.config, converted.tensors())


def test_any_checkpoint_can_be_converted(target):
    order = np.asarray(MATRIX[::-1], dtype=">f4")
    tensors = {"w": MATRIX, "tied": MATRIX, "reversed": MATRIX[::-1], "big endian": order}
    checkpoint = plain_checkpoint(tensors=lambda: tensors, files=lambda: ("sub/a.txt",), file=lambda name: b"a")
    made = write_directory(checkpoint, target)
    assert all(np.array_equal(made.tensors()[name], tensors[name]) for name in tensors)
    assert made.tensors()["w"] is made.tensors()["tied"]
    assert made.files() == ("sub/a.txt",)
    assert made.file("sub/a.txt") == b"a"


def test_tensors_built_on_access_are_not_taken_for_one(target):
    class Lazy:  # each array gets the address of the one before it
        def __iter__(self):
            return iter("abc")

        def __getitem__(self, name):
            return np.full(1000, ord(name), np.float32)

    made = write_directory(plain_checkpoint(tensors=Lazy), target)
    assert [made.tensors()[name][0] for name in "abc"] == [97, 98, 99]


def test_arrays_outlive_the_checkpoint(source, target):
    with write_directory(source, target) as checkpoint:
        array = checkpoint.tensors()["z.matrix"]
    del checkpoint
    assert np.array_equal(array, MATRIX)


def test_recognises_a_folder_with_both_files(converted, target, tmp_path):
    assert DirectoryCheckpoint.recognises(target)
    assert not any(
        DirectoryCheckpoint.recognises(path) for path in (tmp_path, tmp_path / "x.nemo", target / "no", "\0")
    )


def test_the_identity_changes_with_the_weights_file(converted, target):
    os.utime(target / "model.safetensors", ns=(5, 5))
    assert re.fullmatch(r"\d+-5-[0-9a-f]{32}", DirectoryCheckpoint(target).identity)


def test_hidden_files_and_links_to_folders_are_passed_over(converted, target, tmp_path):
    before = converted.files()
    (target / ".cache").mkdir()
    (target / ".cache" / "x").touch()
    (target / ".hidden").touch()
    (target / "link").symlink_to(tmp_path, target_is_directory=True)
    assert converted.files() == before


def test_no_name_leads_out_of_the_folder(converted, target):
    (target.parent / "secret").write_text("s")
    for name in ("../secret", str(target.parent / "secret"), "config.json/../../secret"):
        with pytest.raises(CheckpointError, match="holds no file"):
            converted.file(name)


def test_a_missing_or_large_file_is_named(converted, target, monkeypatch):
    refused(
        lambda: converted.file("98bf_tokeniser.model"),
        f"'{target}' holds no file '98bf_tokeniser.model' (did you mean '98bf_tokenizer.model'?); it holds "
        "11aa_tokenizer.model, 98bf_tokenizer.model, timestamps_asr_model_config.yaml, "
        "timestamps_asr_model_weights.ckpt",
    )
    monkeypatch.setattr(module, "MAX_FILE", 1)
    refused(
        lambda: converted.file("98bf_tokenizer.model"),
        f"'{target}/98bf_tokenizer.model' has 2 bytes; at most 1 are read into memory",
    )


def test_what_is_no_folder_with_a_checkpoint_is_named(converted, target):
    def opening(path):
        return lambda: DirectoryCheckpoint(path)

    layout = "a directory checkpoint holds 'config.json' and 'model.safetensors'"
    refused(opening(target / "no"), f"'{target}/no' does not exist; {layout}")
    refused(opening(target / "config.json"), f"'{target}/config.json' is not a directory; {layout}")
    (target / "model.safetensors").unlink()
    refused(opening(target), f"'{target}' is no checkpoint: it holds no 'model.safetensors'")


def test_a_full_folder_is_only_overwritten_when_asked_and_when_it_is_a_checkpoint(source, converted, target):
    (target / "old.txt").touch()
    refused(
        lambda: write_directory(source, target),
        f"'{target}' is not empty; ask to overwrite it, or name another directory",
    )
    assert (target / "old.txt").exists()
    made = write_directory(converted, target, overwrite=True)  # from itself, even
    assert np.array_equal(made.tensors()["z.matrix"], MATRIX)
    assert os.listdir(target.parent) == ["folder"]
    (target / "config.json").unlink()
    refused(
        lambda: write_directory(source, target, overwrite=True),
        f"'{target}' holds no checkpoint, so it is not overwritten; name another directory",
    )
    file = target / "model.safetensors"
    refused(lambda: write_directory(source, file), f"'{file}' exists and is not a directory")


def test_an_empty_folder_is_filled(source, target):
    target.mkdir(parents=True)
    assert write_directory(source, target).config == CONFIG


def broken(name):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"files": lambda: ("a",), "file": broken},
            "'TARGET' cannot be written: No space left on device",
        ),
        ({"files": lambda: ("../a",)}, "'plain': the file name '../a' leaves the archive with '..'"),
        ({"files": lambda: ("/a",)}, "'plain': the file name '/a' is absolute"),
        (
            {"files": lambda: ("config.json",)},
            "'plain': its file 'config.json' would take the place of the converted model's own",
        ),
        (
            {"tensors": lambda: {"w": np.zeros(3, np.complex64)}},
            "the tensor 'w' is 'complex64', which safetensors does not have",
        ),
        (
            {"config": {1: 2}},
            "'plain': its configuration cannot be kept as JSON (it has dates, NaN or keys that are no strings)",
        ),
        (
            {"config": {"a": {1, 2}}},
            "'plain': its configuration cannot be kept as JSON (it has dates, NaN or keys that are no strings)",
        ),
    ],
)
@pytest.mark.parametrize("there", [False, True])
def test_a_failure_leaves_nothing_behind_and_the_old_folder_as_it_was(source, target, there, changes, message):
    target.parent.mkdir()
    if there:
        write_directory(source, target)
    before = {path: path.stat().st_mtime_ns for path in target.parent.rglob("*")}
    refused(
        lambda: write_directory(plain_checkpoint(**changes), target, overwrite=True),
        message.replace("TARGET", str(target)),
    )
    assert {path: path.stat().st_mtime_ns for path in target.parent.rglob("*")} == before


def test_the_old_folder_comes_back_when_the_new_one_cannot_take_its_place(converted, target, monkeypatch):
    rename = type(target).rename

    def failing(path, to):
        if path.suffix == ".part":
            raise OSError(5, "Input/output error")
        return rename(path, to)

    monkeypatch.setattr(type(target), "rename", failing)
    refused(
        lambda: write_directory(plain_checkpoint(), target, overwrite=True),
        f"'{target}' cannot be written: Input/output error",
    )
    assert os.listdir(target.parent) == ["folder"]
    assert np.array_equal(DirectoryCheckpoint(target).tensors()["z.matrix"], MATRIX)


def test_a_file_in_the_archive_may_not_take_the_place_of_the_converted_model(tmp_path, target):
    path = tmp_path / "y.nemo"
    members = [
        ("model_config.yaml", b"a: 1"),
        ("model_weights.ckpt", torch_archive({})),
        ("config.json", b""),
    ]
    path.write_bytes(tar_archive(members))
    refused(
        lambda: write_directory(NemoCheckpoint(path), target),
        f"'{path}': its file 'config.json' would take the place of the converted model's own",
    )
