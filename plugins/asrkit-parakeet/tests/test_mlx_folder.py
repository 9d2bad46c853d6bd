"""Checkpoints in the layout of parakeet-mlx: golden models turned into it give the same texts."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from parakeet_goldens import BACKENDS, GOLDENS, read_clips, read_golden

from asrkit.checkpoints.directory import DirectoryCheckpoint, write_directory
from asrkit.checkpoints.safetensors import write_safetensors
from asrkit.errors import CheckpointError
from asrkit.loading import load_model, open_checkpoint, quantized_checkpoint
from asrkit.plugins import registry
from asrkit.testing import check_checkpoint
from asrkit.transcriber import Model
from asrkit_parakeet.build import build
from asrkit_parakeet.mlx_folder import MLXFolder, standard_name


def write_mlx(name, folder, **changes):
    """A golden model as ``mlx.nn`` would save it."""
    checkpoint = open_checkpoint(registry(), GOLDENS / name / "model.nemo")
    tensors = {}
    for key, tensor in checkpoint.tensors().items():
        if key.startswith("preprocessor") or key.endswith("num_batches_tracked") or "bias_hh" in key:
            continue
        if match := re.fullmatch(r"(.+\.lstm)\.(weight_ih|weight_hh|bias_ih)_l(\d+)", key):
            kind = {"weight_ih": "Wx", "weight_hh": "Wh", "bias_ih": "bias"}[match[2]]
            if kind == "bias":
                tensor = tensor + checkpoint.tensors()[key.replace("bias_ih", "bias_hh")]
            key = f"{match[1]}.{match[3]}.{kind}"
        elif tensor.ndim > 2:
            tensor = np.moveaxis(tensor, 1, -1)
        tensors[key] = np.ascontiguousarray(tensor)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(dict(checkpoint.config) | changes), encoding="utf-8")
    with (folder / "model.safetensors").open("wb") as file:
        write_safetensors(file, tensors)
    return folder


@pytest.mark.parametrize("name", ["ctc", "rnnt", "tdt", "tdt_ctc"])
def test_same_texts_as_the_archive(name, label, tmp_path):
    backend = BACKENDS[label]
    parts = build(open_checkpoint(registry(), write_mlx(name, tmp_path / "model")), backend, "fp32")
    model = Model(name, parts, backend, "fp32", registry())
    golden = read_golden(name, "ctc" if name == "ctc" else "rnnt" if name == "rnnt" else "tdt")
    for clip, samples in read_clips().items():
        found = model.transcribe((samples, 16000), segmenter="whole", guards=False)
        assert list(found.tokens) == golden.facts[clip]["tokens"]
        assert found.text == golden.facts[clip]["text"].strip()


def test_it_is_a_checkpoint_of_its_own_kind(tmp_path):
    folder = write_mlx("tdt", tmp_path / "model")
    assert isinstance(open_checkpoint(registry(), folder), MLXFolder)
    check_checkpoint(open_checkpoint(registry(), folder))
    names = set(open_checkpoint(registry(), folder).tensors())
    assert {name for name in names if standard_name(name) != name} == set()
    missing = set(open_checkpoint(registry(), GOLDENS / "tdt/model.nemo").tensors()) - names
    assert all(name.endswith("num_batches_tracked") for name in missing)


def test_other_folders_are_left_alone(tmp_path):
    plain = tmp_path / "plain"
    write_directory(open_checkpoint(registry(), GOLDENS / "tdt/model.nemo"), plain)
    assert isinstance(open_checkpoint(registry(), plain), DirectoryCheckpoint)
    assert not MLXFolder.recognises(tmp_path)
    (plain / "model.safetensors").write_bytes(b"nothing")
    assert not MLXFolder.recognises(plain)
    with pytest.raises(CheckpointError, match="is not a safetensors file"):
        open_checkpoint(registry(), plain)


def test_in_few_bits_it_says_what_the_archive_says(tmp_path):
    folder = write_mlx("tdt", tmp_path / "model")
    write_directory(quantized_checkpoint(folder, "int8"), tmp_path / "small")
    samples = read_clips()["c256"]
    texts = [
        load_model(path, backend="numpy", precision="int8").transcribe((samples, 16000)).text
        for path in (folder, tmp_path / "small", GOLDENS / "tdt/model.nemo")
    ]
    assert texts[0] == texts[1] == texts[2]


def test_without_pieces_it_is_refused(tmp_path):
    folder = write_mlx("ctc", tmp_path / "model", decoder={"num_classes": 72})
    with pytest.raises(CheckpointError, match="holds no tokenizer: neither a file of it nor a list of pieces"):
        load_model(folder, backend="numpy")
