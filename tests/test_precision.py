"""Which precision a model is built in, what is converted, and what a backend lets be chosen."""

from __future__ import annotations

import os
import re

import attrs
import numpy as np
import pytest

from asrkit import load_model
from asrkit.backends.numpy import NumpyBackend
from asrkit.checkpoints import quantized
from asrkit.checkpoints.directory import DirectoryCheckpoint, write_directory
from asrkit.cli import main
from asrkit.errors import OptionError
from asrkit.loading import create_backend, quantized_checkpoint
from asrkit.quantize import Quantized, quantize
from asrkit.testing.archives import write_nemo
from asrkit.weights import Weights

MATRIX = np.random.default_rng(0).standard_normal((8, 64)).astype(np.float32)


def ready():
    """A probe that finds no problem."""


class Fp32(NumpyBackend):
    """A backend without precisions to choose from."""

    name = "fp32-only"

    def __init__(self):
        super().__init__()
        self.capabilities = attrs.evolve(self.capabilities, precisions=("fp32",))


class Threaded(NumpyBackend):
    name = "threaded"

    def __init__(self, device=None, threads=None):
        super().__init__(device)
        self.threads = threads


@pytest.fixture
def plugin(install, family, tmp_path, monkeypatch):
    """A model with a tied table and matrix; gives what was read of each load."""
    monkeypatch.setenv("ASRKIT_CACHE", str(tmp_path / "cache"))
    read = []

    def build(checkpoint, backend, precision, spec=None, settings=None):
        weights = Weights(checkpoint.tensors(), backend, precision, str(checkpoint.path))
        found = weights.matrix("a", shape=(8, 64, 1)), weights.table("t", shape=(8, 64)), weights.vector("b")
        head = weights.matrix("head", shape=(8, 64))
        weights.check()
        if isinstance(head, np.ndarray):  # not where a build only tells which tensors are matrices
            read.extend([found, head])
        return family.build(checkpoint, backend, precision)

    def backends(register):
        register("fp32-only", Fp32, ready)
        register("threaded", Threaded, ready)

    spec = family.spec("speller", str(tmp_path / "speller.nemo"), build=build)
    hooks = {"register_models": lambda register: register(spec), "register_backends": backends}
    install(fake=hooks)
    return read


@pytest.fixture
def nemo(tmp_path):
    tensors = {"a": MATRIX[:, :, None] * 2, "t": MATRIX, "head": MATRIX, "b": np.arange(3, dtype=np.float32)}
    return write_nemo(tmp_path / "speller.nemo", {"target": "x.Speller"}, tensors)


@pytest.fixture(params=["int8", "int4"])
def folder(request, plugin, nemo, tmp_path):
    """A converted folder, named after its precision."""
    write_directory(quantized_checkpoint(nemo, request.param), tmp_path / request.param)
    plugin.clear()
    return tmp_path / request.param


def refused(error, message, call, *args, **options):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        call(*args, **options)


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(("asked", "found"), [(None, "fp32"), ("fp32", "fp32"), ("int8", "int8"), ("int4", "int4")])
def test_a_checkpoint_as_it_is_published_runs_in_what_is_asked(nemo, asked, found):
    assert load_model(nemo, "numpy", asked).precision == found


def test_a_converted_folder_runs_in_its_own_precision(folder, plugin, tmp_path):
    for asked in (None, folder.name):
        model = load_model(folder, "numpy", asked)
        assert model.precision == folder.name
    # What it holds is not quantised, and not remembered, once more.
    assert not (tmp_path / "cache").exists()
    (a, table, _), head = plugin[:2]
    assert np.array_equal(a, quantize(MATRIX * 2, folder.name).widen())
    assert np.array_equal(head, quantize(MATRIX, folder.name).widen())
    assert np.array_equal(table, MATRIX)


def test_a_converted_folder_has_no_other_precision(folder):
    for asked in {"fp32", "int8", "int4"} - {folder.name}:
        message = f"{folder}: was converted to {folder.name} and has no precision {asked!r}; leave the precision out"
        refused(OptionError, message, load_model, folder, "numpy", asked)


def test_a_backend_without_its_precision_is_named(folder):
    message = f"backend 'fp32-only' has no precision {folder.name!r}; it has: fp32"
    refused(OptionError, message, load_model, folder, "fp32-only")


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_a_folder_holds_what_loading_in_that_precision_gives(plugin, nemo, tmp_path, precision):
    load_model(nemo, "numpy", precision)
    write_directory(quantized_checkpoint(nemo, precision), tmp_path / "out")
    load_model(tmp_path / "out", "numpy")
    (first, head, second, other) = plugin
    for expected, found in zip((*first, head), (*second, other), strict=True):
        assert np.array_equal(found, expected)


def test_only_matrices_become_smaller(folder, nemo):
    checkpoint = DirectoryCheckpoint(folder)
    tensors = checkpoint.tensors()
    bits = 8 if folder.name == "int8" else 4
    assert {name: tensors[name].bits for name in tensors if isinstance(tensors[name], Quantized)} == {
        "a": bits,
        "head": bits,
    }
    assert checkpoint.config == {"target": "x.Speller"}
    assert (tensors["t"].dtype, tensors["b"].dtype) == (np.float32, np.float32)


def test_a_second_load_quantises_nothing(plugin, nemo, tmp_path, monkeypatch):
    load_model(nemo, "numpy", "int8")
    assert len(list((tmp_path / "cache" / "quantized").iterdir())) == 1

    def fail(*_):
        raise AssertionError("quantised again")

    monkeypatch.setattr(quantized, "quantize", fail)
    load_model(nemo, "numpy", "int8")
    assert np.array_equal(plugin[2][0], plugin[0][0])
    assert np.array_equal(plugin[3], plugin[1])


@pytest.mark.usefixtures("plugin")
def test_fp32_touches_no_cache(nemo, tmp_path):
    load_model(nemo, "numpy")
    assert not (tmp_path / "cache").exists()


@pytest.mark.usefixtures("plugin")
def test_a_model_runs_where_nothing_can_be_kept(nemo, tmp_path, family, caplog):
    (tmp_path / "cache").write_text("in the way")
    model = load_model(nemo, "numpy", "int8")
    assert model.transcribe((family.spell("hi"), family.RATE)).text == "hi"
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("precision", ["fp32", "fp16", "INT8", "", "int2"])
def test_what_cannot_be_converted_to_is_named(precision):
    message = f"checkpoints can be converted to int8 or int4, not to {precision!r}"
    refused(OptionError, message, quantized_checkpoint, "nowhere.nemo", precision)


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_what_is_converted_is_not_converted_again(folder, precision):
    message = f"{folder}: is quantised already; convert the original"
    refused(OptionError, message, quantized_checkpoint, folder, precision)


@pytest.fixture
def convert(capsys):
    """Runs ``asrkit convert``: (exit code, stderr)."""

    def convert(*args):
        code = 0
        try:
            main(["convert", *map(str, args)])
        except SystemExit as leave:
            code = leave.code or 0
        out, err = capsys.readouterr()
        assert out == ""
        return code, err

    return convert


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_the_command_converts(convert, nemo, tmp_path, precision):
    assert convert(nemo, tmp_path / "out", "--precision", precision) == (0, f"asrkit: wrote {tmp_path / 'out'}\n")
    assert load_model(tmp_path / "out", "numpy").precision == precision


def test_the_command_copies_a_converted_folder(convert, folder, tmp_path):
    assert convert(folder, tmp_path / "copy")[0] == 0
    copy, original = (DirectoryCheckpoint(path).tensors() for path in (tmp_path / "copy", folder))
    assert set(copy) == set(original) == {"a", "t", "head", "b"}
    for name in ("a", "head"):
        assert copy[name].values.tobytes() == original[name].values.tobytes()
        assert copy[name].scales.tobytes() == original[name].scales.tobytes()
    assert np.array_equal(copy["t"], original["t"])


def test_the_command_refuses_what_cannot_be(convert, folder, tmp_path):
    before = sorted(os.listdir(tmp_path))
    expected = (2, f"asrkit: error: {folder}: is quantised already; convert the original\n")
    assert convert(folder, tmp_path / "out", "--precision", "int8") == expected
    code, err = convert(folder, tmp_path / "out", "--precision", "fp16")
    assert code == 2
    assert "'fp16' is not one of 'int8', 'int4'" in err
    assert sorted(os.listdir(tmp_path)) == before


# Threads and devices


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize("wish", [{"threads": 2}, {"device": "cpu"}])
def test_what_a_backend_does_not_let_be_chosen_is_named(nemo, wish):
    (name,) = wish
    message = f"backend 'fp32-only' does not let {name} be chosen"
    refused(OptionError, message, load_model, nemo, "fp32-only", **wish)


@pytest.mark.usefixtures("plugin")
def test_numpy_has_no_threads_to_choose(nemo):
    refused(OptionError, "backend 'numpy' does not let threads be chosen", load_model, nemo, "numpy", threads=2)


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize("threads", [0, -1, 2.5, "2", True, 1025])
@pytest.mark.parametrize("backend", ["threaded", "numpy", "auto"])
def test_threads_are_one_or_more(nemo, backend, threads):
    message = f"threads must be a whole number from 1 to 1024, found {threads!r}"
    refused(OptionError, message, load_model, nemo, backend, threads=threads)


@pytest.mark.usefixtures("plugin")
def test_wishes_reach_the_backend(nemo):
    assert load_model(nemo, "threaded", threads=3, device="cpu").backend.threads == 3
    assert load_model(nemo, "threaded").backend.threads is None


def test_auto_takes_a_backend_that_lets_threads_be_chosen(install):
    def backends(register):
        register("threaded", Threaded, ready)

    registry = install(fake={"register_backends": backends}).registry
    chosen = create_backend(registry, "auto", threads=2)
    assert (chosen.name, chosen.threads) == ("threaded", 2)


def test_auto_says_that_no_backend_lets_threads_be_chosen(registry):
    with pytest.raises(OptionError, match=r"^no backend can run here: .*numpy' does not let threads be chosen"):
        create_backend(registry, "auto", threads=2)


@pytest.mark.usefixtures("plugin")
def test_a_device_that_was_asked_for_is_named_with_the_precision(nemo):
    message = "backend 'numpy' has no precision 'fp16' on device 'cpu'; it has: fp32, int8, int4"
    refused(OptionError, message, load_model, nemo, "numpy", "fp16", device="cpu")
