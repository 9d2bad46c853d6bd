"""Matrices in few bits: one set of values on every backend and in converted folders, rows that do not meet."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from asrkit.checkpoints import quantized
from asrkit.checkpoints.quantized import precision_of
from asrkit.cli import main
from asrkit.loading import load_model, open_checkpoint
from asrkit.plugins import registry
from asrkit.quantize import Quantized
from asrkit.testing.archives import write_nemo
from asrkit.transcriber import Model
from asrkit_canary import random_checkpoint
from conftest import BACKENDS, read_clips, samples

LABELS = [label for label in ("numpy", "mlx", "onnxruntime") if label in BACKENDS]
labels = pytest.mark.parametrize("label", LABELS)
precisions = pytest.mark.parametrize("precision", ["int8", "int4"])
CLIPS = ("c100", "c043", "c256")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a cache of its own, and in it a model wide enough for four bits and for MLX's groups."""
    folder = tmp_path_factory.mktemp("quantized")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASRKIT_CACHE", str(folder / "cache"))
        for name in ("width", "decoder"):
            patch.setitem(random_checkpoint.SIZES, name, 64)
        source = open_checkpoint(registry(), random_checkpoint.write_random_checkpoint(folder / "tied.nemo"))
        tensors = dict(source.tensors())
        # A head of its own: one that is the embedding mostly says the last token again, whatever is wrong.
        head = np.random.default_rng(9).standard_normal(tensors["log_softmax.mlp.layer0.weight"].shape)
        tensors["log_softmax.mlp.layer0.weight"] = head.astype(np.float32)
        for name in tensors:
            if name.endswith(("out_projection.weight", "dense_out.weight")):
                tensors[name] = tensors[name] * np.float32(0.3)
        files = {name: source.file(name) for name in source.files()}
        write_nemo(folder / "model.nemo", dict(source.config), tensors, files)
        yield folder


@pytest.fixture(scope="module")
def load(place):
    """Loads the model of a file or folder, once."""

    @functools.cache
    def load(label: str, precision: str | None, name: str = "model.nemo") -> Model:
        return load_model(place / name, label, precision)

    return load


@pytest.fixture(scope="module")
def folder(place):
    """The name of the folder that ``asrkit convert`` makes for a precision."""

    @functools.cache
    def folder(precision: str) -> str:
        main(["convert", str(place / "model.nemo"), str(place / precision), "--precision", precision])
        return precision

    return folder


@functools.cache
def states(model: Model, *names: str) -> list[np.ndarray]:
    """The valid encoder states of clips in one batch."""
    features = model.parts.frontend([samples(read_clips()[name]) for name in names])
    encoded = model.backend.to_host(model.encode(features))
    return [values[:length] for values, length in zip(encoded.values, encoded.lengths, strict=True)]


@functools.cache
def logits(model: Model, *names: str) -> np.ndarray:
    """(clips, 16, V): what a model says after each of 16 given tokens, to clips in one batch."""
    decoder, backend = model.parts.decoder, model.backend
    memory = decoder.memorize(model.encode(model.parts.frontend([samples(read_clips()[name]) for name in names])))
    rows = int(memory.valid.shape[0])
    tokens = np.random.default_rng(5).integers(0, decoder.size, 16)
    cache, said = decoder.start(rows, backend.bucket("past", len(tokens))), []
    for token in tokens:
        found, cache = decoder.step(memory, cache, backend.asarray(np.full((rows, 1), token)))
        said.append(backend.to_host(found)[: len(names)])
    return np.stack(said, axis=1)


def away(found: Any, expected: Any) -> float:
    """Distance by the size of what was expected, both as root mean squares."""
    found, expected = (np.concatenate([part.reshape(-1) for part in parts]) for parts in (found, expected))
    return float(np.sqrt(((found - expected) ** 2).mean() / (expected**2).mean()))


@labels
@precisions
def test_a_row_alone_gives_what_it_gives_in_a_padded_batch(load, label, precision):
    model = load(label, precision)
    together, shared = logits(model, *CLIPS), states(model, *CLIPS)
    for n, name in enumerate(CLIPS):
        alone = logits(model, name)[0]
        assert np.array_equal(alone.argmax(axis=-1), together[n].argmax(axis=-1)), name
        assert away([together[n]], [alone]) < 1e-3
        assert away([shared[n]], states(model, name)) < 1e-3
    # What is said depends on the tokens and on the recording, or the above would mean little.
    assert len(set(together.argmax(axis=-1).reshape(-1))) > 5
    assert away([together[0]], [together[1]]) > 0.02


@labels
@precisions
def test_texts_of_a_batch_are_those_of_its_rows(load, label, precision):
    model = load(label, precision)
    sources = [(read_clips()[name], 16000) for name in CLIPS[:2]]
    alone = [model.transcribe(source, language="en").tokens for source in sources]
    together = [result.tokens for result in model.transcribe(sources, batch_size=2, language="en")]
    assert together == alone
    assert all(alone)


@labels
@precisions
def test_a_converted_folder_gives_just_what_the_original_gives(load, folder, label, precision):
    model, converted = load(label, precision), load(label, None, folder(precision))
    assert converted.precision == precision
    for found, expected in zip(states(converted, *CLIPS), states(model, *CLIPS), strict=True):
        assert np.array_equal(found, expected)
    assert np.array_equal(logits(converted, *CLIPS), logits(model, *CLIPS))
    source = (read_clips()["c100"], 16000)
    expected = model.transcribe(source, language="en").tokens
    assert converted.transcribe(source, language="en").tokens == expected


@labels
@precisions
def test_the_cache_gives_just_what_was_made(load, place, label, precision, monkeypatch):
    expected = states(load(label, precision), *CLIPS)

    def fail(*_):
        raise AssertionError("quantised again")

    monkeypatch.setattr(quantized, "quantize", fail)
    model = load_model(place / "model.nemo", label, precision)
    for found, want in zip(states(model, *CLIPS), expected, strict=True):
        assert np.array_equal(found, want)


@precisions
def test_a_converted_folder_is_smaller_and_names_its_matrices(place, folder, precision):
    checkpoint = open_checkpoint(registry(), place / folder(precision))
    tensors = checkpoint.tensors()
    assert precision_of(tensors) == precision
    few = {name: tensors[name].bits for name in tensors if isinstance(tensors[name], Quantized)}
    assert few["encoder.layers.0.conv.pointwise_conv1.weight"] == 8
    assert few["transf_decoder._decoder.layers.0.first_sub_layer.query_net.weight"] == (8 if precision == "int8" else 4)
    assert few["log_softmax.mlp.layer0.weight"] == (8 if precision == "int8" else 4)
    assert {name for name in few if "depthwise" in name or "embedding" in name or "norm" in name} == set()
    plain = open_checkpoint(registry(), place / "model.nemo").tensors()
    assert set(tensors) == set(plain)
    for name in set(plain) - set(few):
        assert np.array_equal(tensors[name], plain[name])
        assert tensors[name].dtype == plain[name].dtype


def test_states_in_eight_bits_are_near(load):
    """A weight is off by a step / sqrt(12), where a step is the largest of 64 normal numbers / 127: 0.6 %. A dozen
    products one after another make sqrt(12) times as much of it, 2 %; a wrong scale or order would make 100 %.
    """
    expected = states(load("numpy", "fp32"), *CLIPS)
    eight = states(load("numpy", "int8"), *CLIPS)
    assert 0.001 < away(eight, expected) < 0.05
    # Of int4 the encoder is in eight bits.
    for found, want in zip(states(load("numpy", "int4"), *CLIPS), eight, strict=True):
        assert np.array_equal(found, want)


@pytest.mark.parametrize("label", LABELS[1:])
@precisions
def test_backends_are_near_to_each_other(load, label, precision):
    """ONNX Runtime rounds activations too, to steps of a 127th of a row's largest number: once more as much."""
    allowed = 0.06 if label == "onnxruntime" else 1e-4
    assert away(states(load(label, precision), *CLIPS), states(load("numpy", precision), *CLIPS)) < allowed
    # In four bits it is blocks of activations that are rounded; what is checked is that layouts agree.
    found, expected = (logits(load(name, precision), *CLIPS) for name in (label, "numpy"))
    assert away([found], [expected]) < 2 * allowed


PLACES = {
    "feed forward": lambda parts: parts.encoder.layers[0].feed_forward1.linear1.weight,
    "pointwise": lambda parts: parts.encoder.layers[1].conv.pointwise_conv1.weight,
    "joined": lambda parts: parts.encoder.layers[0].self_attn.qkv.weight,
    "decoder": lambda parts: parts.decoder.layers[1].third_sub_layer.dense_out.weight,
    "decoder joined": lambda parts: parts.decoder.layers[0].second_sub_layer.kv.weight,
    "head": lambda parts: parts.decoder.head.weight,
}


def values(weight: Any) -> np.ndarray:
    """What a backend's matrix stands for, (O, I)."""
    if isinstance(weight, Quantized):
        return weight.widen()
    if isinstance(weight, tuple):
        return np.concatenate(weight)
    if isinstance(weight, np.ndarray):
        return weight
    import mlx.core as mx

    return np.array(
        mx.dequantize(weight.values, weight.scales, weight.offsets, group_size=weight.group, bits=weight.bits)
    )


@labels
@precisions
@pytest.mark.parametrize("where", PLACES)
def test_weights_are_the_same_values_everywhere(load, label, precision, where):
    weight = PLACES[where](load(label, precision).parts)
    expected = values(PLACES[where](load("numpy", precision).parts))
    found = values(weight)
    assert found.dtype == np.float32
    assert expected.any()
    if label == "mlx":
        assert weight.bits == (8 if precision == "int8" or where in ("feed forward", "pointwise", "joined") else 4)
        # Unsigned numbers and an offset: two roundings of up to 255 steps in place of one of 127.
        np.testing.assert_allclose(found, expected, rtol=0, atol=float(np.abs(expected).max()) * 2**-20)
    else:
        assert np.array_equal(found, expected)
