"""Weights that ONNX Runtime reads from a file itself, graphs that are kept, devices that do not start."""

from __future__ import annotations

import os
import re
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import pytest

from asrkit.arrays import varying
from asrkit.checkpoints.mapped import MappedFile, MappedTensors, origin_of
from asrkit.checkpoints.quantized import combined, split
from asrkit.checkpoints.safetensors import read_safetensors, write_safetensors
from asrkit.errors import BackendError
from asrkit.quantize import quantize
from asrkit_onnxruntime import backend as module
from asrkit_onnxruntime.backend import OrtBackend


@varying(values=("batch", "time", None))
class Batch(NamedTuple):
    values: Any


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


X = normal(2, 5, 64)
PLAIN = {"one": normal(48, 64, seed=1), "two": normal(32, 48, seed=2), "small": normal(3, seed=3)}


def stored(path, tensors):
    """Tensors as they are mapped from a file that holds them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write_safetensors(file, split(tensors))
    mapped = MappedFile(path)
    return combined(MappedTensors(mapped.data, read_safetensors(mapped.data, "'x'"), "'x'"), "'x'")


class Model:
    """Two projections one after another, on a backend of their own."""

    def __init__(self, tensors, precision="fp32", **options):
        self.backend, self.graphs, self.sessions = OrtBackend(**options), [], []
        one, two = (self.backend.weight("matrix", precision, tensors[name]) for name in ("one", "two"))
        session = self.backend.session

        def recorded(graph, outputs):
            self.graphs.append(graph)
            self.sessions.append(session(graph, outputs))
            return self.sessions[-1]

        self.backend.session = recorded
        ops = self.backend.ops
        self._run = self.backend.compile(lambda batch: Batch(ops.linear(ops.linear(batch.values, one), two)))

    def __call__(self, x=X):
        return self.backend.to_host(self._run(Batch(self.backend.asarray(x)))).values

    def places(self):
        """Where each large constant is: {(shape): (file, offset, bytes)}."""
        found = {}
        for tensor in self.graphs[0].initializers:
            facts = {entry.key: entry.value for entry in tensor.external_data}
            if facts:
                found[tuple(tensor.dims)] = tuple(facts.get(key) for key in ("location", "offset", "length"))
        return found


def expected(tensors):
    return X @ tensors["one"].T @ tensors["two"].T


def close(found, want):
    np.testing.assert_allclose(found, want, rtol=0, atol=1e-3)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folder of kept graphs."""
    monkeypatch.setenv("ASRKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "onnxruntime"


@pytest.fixture
def tensors(tmp_path):
    return stored(tmp_path / "model.safetensors", PLAIN)


# Weights in files


def test_large_weights_stay_in_their_file(tensors, tmp_path):
    model = Model(tensors)
    model()
    data = (tmp_path / "model.safetensors").read_bytes()
    places = model.places()
    assert set(places) == {(48, 64), (32, 48)}
    for name in ("one", "two"):
        file, offset, length = places[tensors[name].shape]
        assert (file, int(length)) == ("model.safetensors", tensors[name].nbytes)
        assert data[int(offset) :][: int(length)] == PLAIN[name].tobytes()


@pytest.mark.parametrize("precision", ["fp32", "int8", "int4"])
def test_results_are_those_of_weights_that_are_lent(tmp_path, precision):
    given = PLAIN if precision == "fp32" else {name: quantize(PLAIN[name], precision) for name in ("one", "two")}
    lent, mapped = Model(given, precision), Model(stored(tmp_path / "x", given), precision)
    assert np.array_equal(lent(), mapped())
    large = {shape for shape, (file, *_) in mapped.places().items() if file == "x"}
    assert len(large) == 2
    assert {file for file, *_ in lent.places().values()} == {"memory"}


def test_the_session_itself_reads_the_file(tensors, tmp_path, monkeypatch):
    """Told that they lie in another file, it computes with what that one holds."""
    doubled = stored(tmp_path / "other.safetensors", {name: tensor * 2 for name, tensor in PLAIN.items()})
    other = {name: origin_of(doubled[name]) for name in ("one", "two")}
    shapes = {doubled[name].shape: origin for name, origin in other.items()}
    monkeypatch.setattr(module, "origin_of", lambda array: shapes.get(array.shape))
    close(Model(tensors)(), 4 * expected(PLAIN))


def replaced(path):
    stored(path.with_name("new"), {name: tensor * 3 for name, tensor in PLAIN.items()})
    os.utime(path.with_name("new"), ns=(0, 10**18))
    path.with_name("new").replace(path)


def touched(path):
    os.utime(path, ns=(0, 10**18))


@pytest.mark.parametrize("change", [replaced, touched, os.unlink])
def test_a_file_that_changed_since_is_not_read(tensors, tmp_path, change):
    model = Model(tensors)
    change(tmp_path / "model.safetensors")
    close(model(), expected(PLAIN))
    assert {file for file, *_ in model.places().values()} == {"memory"}


def test_a_running_session_does_not_mind_its_file_going(tensors, tmp_path):
    model = Model(tensors)
    first = model()
    replaced(tmp_path / "model.safetensors")
    assert np.array_equal(model(), first)


def test_of_two_folders_the_one_with_more_is_read(tmp_path):
    one = stored(tmp_path / "a" / "x.safetensors", {"one": PLAIN["one"]})
    two = stored(tmp_path / "b" / "y.safetensors", {"two": PLAIN["two"]})
    model = Model({**one, **two})
    close(model(), expected(PLAIN))
    assert {shape: file for shape, (file, *_) in model.places().items()} == {
        (48, 64): "x.safetensors",
        (32, 48): "memory",
    }


def test_two_files_of_one_folder_are_both_read(tmp_path):
    one = stored(tmp_path / "x.safetensors", {"one": PLAIN["one"]})
    two = stored(tmp_path / "y.safetensors", {"two": PLAIN["two"]})
    model = Model({**one, **two})
    close(model(), expected(PLAIN))
    assert {file for file, *_ in model.places().values()} == {"x.safetensors", "y.safetensors"}


@pytest.mark.parametrize("name", ["with space.safetensors", "ümläut-日本.safetensors", "a'b\"c.nemo"])
def test_files_may_be_called_what_they_like(tmp_path, name):
    model = Model(stored(tmp_path / "folder ü" / name, PLAIN))
    close(model(), expected(PLAIN))
    assert {file for file, *_ in model.places().values()} == {name}


def test_a_link_is_followed(tensors, tmp_path):
    (tmp_path / "away").mkdir()
    link = tmp_path / "away" / "link.safetensors"
    link.symlink_to(tmp_path / "model.safetensors")
    mapped = MappedFile(link)
    model = Model(MappedTensors(mapped.data, read_safetensors(mapped.data, "'x'"), "'x'"))
    close(model(), expected(PLAIN))
    assert {file for file, *_ in model.places().values()} == {"model.safetensors"}


# Graphs that are kept


def test_a_second_start_takes_the_kept_graph(tensors, cache, monkeypatch):
    first = Model(tensors)()
    (file,) = cache.iterdir()
    before = file.stat().st_mtime_ns
    monkeypatch.setattr(module.optimised, "keep", lambda *_: pytest.fail("optimised again"))
    assert np.array_equal(Model(tensors)(), first)
    assert file.stat().st_mtime_ns == before


def test_a_kept_graph_holds_no_weights(cache, tmp_path):
    many = {"one": normal(512, 64), "two": normal(32, 512, seed=2)}
    for given in (many, stored(tmp_path / "x", many)):
        Model(given)()
    assert len(list(cache.iterdir())) == 2
    assert all(file.stat().st_size < 10_000 for file in cache.iterdir())


def test_other_weights_have_a_graph_of_their_own(tmp_path, cache):
    doubled = {name: tensor * 2 for name, tensor in PLAIN.items()}
    close(Model(PLAIN)(), expected(PLAIN))
    close(Model(doubled)(), expected(doubled))
    close(Model(stored(tmp_path / "x", PLAIN))(), expected(PLAIN))
    # A new file under the same name.
    (tmp_path / "x").unlink()
    again = stored(tmp_path / "x", doubled)
    os.utime(tmp_path / "x", ns=(0, 10**18))
    mapped = MappedFile(tmp_path / "x")
    again = MappedTensors(mapped.data, read_safetensors(mapped.data, "'x'"), "'x'")
    close(Model(again)(), expected(doubled))
    assert len(list(cache.iterdir())) == 4


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-5],
        lambda data: data[:20],
        lambda data: b"[1]\n" + data,
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: bytes(256) + data,
    ],
)
def test_a_damaged_graph_is_made_again(tensors, cache, damage):
    first = Model(tensors)()
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert module.optimised.recall(file.stem) is None
    assert np.array_equal(Model(tensors)(), first)
    assert [path.name for path in cache.iterdir()] == [file.name]
    assert module.optimised.recall(file.stem) is not None


def test_a_kept_graph_that_does_not_run_is_made_again(tensors, cache, monkeypatch):
    first = Model(tensors)()
    recall = module.optimised.recall

    def wrong(key):
        found = recall(key)
        return type(found)(b"no graph", found.lent) if found else None

    monkeypatch.setattr(module.optimised, "recall", wrong)
    assert np.array_equal(Model(tensors)(), first)
    assert len(list(cache.iterdir())) == 1


def test_a_cache_that_is_a_file_is_no_error(tensors, cache):
    cache.parent.write_text("in the way")
    close(Model(tensors)(), expected(PLAIN))
    assert cache.parent.read_text() == "in the way"


def test_nothing_is_left_in_the_folder_for_temporary_files(tensors, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(module.optimised.tempfile, "tempdir", str(tmp_path / "temporary"))
    Model(tensors)()
    assert os.listdir(tmp_path / "temporary") == []


# Devices


AZURE = "AzureExecutionProvider"
azure = pytest.mark.skipif(AZURE not in onnxruntime.get_available_providers(), reason="not in this onnxruntime")


def refused(message, call):
    with pytest.raises(BackendError, match=f"^{re.escape(message)}$"):
        call()


@azure
def test_a_device_that_does_not_start_is_named(monkeypatch):
    monkeypatch.setattr(onnxruntime.InferenceSession, "get_providers", lambda self: ["CPUExecutionProvider"])
    message = (
        f"device '{AZURE}' of backend 'onnxruntime' did not start: {AZURE} is in this onnxruntime, but the libraries "
        "or hardware it needs are not here"
    )
    refused(message, Model(PLAIN, device=AZURE))
    close(Model(PLAIN)(), expected(PLAIN))


@azure
def test_another_device_is_used_and_named():
    model = Model(PLAIN, device=AZURE)
    close(model(), expected(PLAIN))
    assert model.sessions[0].get_providers()[0] == AZURE
    assert model.backend.capabilities.device == AZURE


def test_only_the_processor_has_products_of_integers(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [AZURE, "CPUExecutionProvider"])
    assert OrtBackend(AZURE).capabilities.precisions == ("fp32",)
    for device in (None, "cpu"):
        assert OrtBackend(device).capabilities.precisions == ("fp32", "int8", "int4")
        assert OrtBackend(device).capabilities.device == "cpu"


def test_a_missing_gpu_says_what_to_install(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [AZURE, "CPUExecutionProvider"])
    message = (
        "backend 'onnxruntime' has no device 'cuda' here; it has: cpu; "
        "pip install onnxruntime-gpu in place of onnxruntime"
    )
    refused(message, lambda: OrtBackend("cuda"))


def test_a_session_that_cannot_be_made_is_one_line(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no\nmemory")

    monkeypatch.setattr(module.onnxruntime, "InferenceSession", fail)
    refused("ONNX Runtime made no session on device 'cpu': RuntimeError: no memory", Model(PLAIN))


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_those_that_were_asked_for(threads):
    model = Model(PLAIN, threads=threads)
    close(model(), expected(PLAIN))
    assert model.sessions[0].get_session_options().intra_op_num_threads == threads
