from __future__ import annotations

import re

import attrs
import numpy as np
import pytest

from asrkit import load_model
from asrkit.backends.numpy import NumpyBackend
from asrkit.errors import BackendError, CheckpointError, OptionError, PluginError, UnknownNameError, UsageError
from asrkit.loading import create_backend, model_settings
from asrkit.models import HubSource
from asrkit.testing.archives import write_nemo


@attrs.frozen
class Settings:
    edges: str = "zeros"
    count: int = 1


def backends(register):
    register("broken", "nowhere:nothing", lambda: "needs a flux capacitor")
    register("raising", "nowhere:nothing", lambda: 1 / 0)


@pytest.fixture
def nemo(tmp_path):
    """Writes a checkpoint of a class."""

    def nemo(name="speller.nemo", **config):
        return write_nemo(tmp_path / name, {"target": "somewhere.Speller"} | config, {"a": np.zeros(1, np.float32)})

    return nemo


@pytest.fixture
def plugin(install, family, nemo):
    """Installs a plugin with a model in a file, one on the hub, and one with settings."""

    def configurable(*given):
        return family.build(*given)

    configurable.Settings = Settings
    specs = [
        family.spec("speller", str(nemo())),
        attrs.evolve(family.spec("far-away"), source=HubSource("some/repo", "far.nemo")),
        family.spec("configurable", str(nemo("c.nemo")), build=configurable, targets=("Configurable",)),
    ]

    def models(register):
        for spec in specs:
            register(spec)

    return install(fake={"register_models": models, "register_backends": backends})


def refused(error, message, *args, **options):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        load_model(*args, **options)


@pytest.mark.usefixtures("plugin")
def test_by_name(family):
    model = load_model("speller", backend="numpy")
    result = model.transcribe((family.spell("hi"), family.RATE))
    assert (result.text, result.model, result.backend, result.precision) == ("hi", "speller", "numpy", "fp32")
    assert result.timing.load >= 0


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_by_path(nemo, family, kind):
    path = kind(nemo("other.nemo"))
    model = load_model(path, backend="numpy")
    assert model.name == str(path)
    assert model.transcribe((family.spell("hi"), family.RATE)).text == "hi"


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "spellar",
            "there is no model 'spellar' (did you mean 'speller'?); there is: configurable, far-away, speller; "
            "or give the path of a .nemo file, or owner/repo of a model on the Hugging Face hub",
        ),
        (
            "qqq@main",
            "there is no model 'qqq'; there is: configurable, far-away, speller; "
            "or give the path of a .nemo file, or owner/repo of a model on the Hugging Face hub",
        ),
    ],
)
def test_unknown_name(name, message):
    refused(UnknownNameError, message, name)


@pytest.mark.usefixtures("plugin")
def test_a_wrong_wish_is_told_before_anything_is_downloaded(monkeypatch):
    monkeypatch.setattr("asrkit.loading.find_model", None)
    message = "backend 'numpy' has no precision 'fp8'; it has: fp32, int8, int4"
    refused(OptionError, message, "far-away", backend="numpy", precision="fp8")


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize("path", ["no/such.nemo", "nosuch.nemo", "./speller"])
def test_path_that_does_not_exist(path):
    refused(CheckpointError, f"{path}: there is no such file or folder", path, backend="numpy")


@pytest.mark.usefixtures("plugin")
def test_registered_file_that_has_gone(install, family):
    install(fake={"register_models": lambda register: register(family.spec("gone", "g.nemo"))})
    refused(CheckpointError, "g.nemo: there is no such file or folder", "gone", backend="numpy")


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize("content", [b"", b"no checkpoint at all"])
def test_file_of_no_known_format(tmp_path, content):
    path = tmp_path / "x.bin"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"^{re.escape(str(path))}: ") as caught:
        load_model(path, backend="numpy")
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    ("config", "target"), [({"target": "nemo.collections.EncDecCTCModel"}, "EncDecCTCModel"), ({"target": ""}, "")]
)
def test_class_that_nobody_builds(nemo, config, target):
    path = nemo("x.nemo", **config)
    message = (
        f"{path}: its configuration names the class {target!r}, which no installed plugin builds; "
        "there is: Configurable, Speller"
    )
    refused(CheckpointError, message, path, backend="numpy")


def test_class_that_several_plugins_build(install, family, nemo):
    def other(*given):
        return family.build(*given)

    one = {"register_models": lambda register: register(family.spec("one"))}
    two = {"register_models": lambda register: register(family.spec("two", build=other))}
    install(one=one, two=two)
    path = nemo()
    message = f"{path}: several plugins build 'Speller'; restrict them with ASRKIT_PLUGINS"
    refused(PluginError, message, path, backend="numpy")


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "gpu"}, "backend 'numpy' has no device 'gpu'; it has: cpu"),
        ({"backend": "broken"}, "backend 'broken' cannot run here: needs a flux capacitor"),
        ({"backend": "raising"}, "backend 'raising' cannot run here: ZeroDivisionError: division by zero"),
    ],
)
def test_backend_that_cannot(options, message):
    refused(BackendError, message, "speller", **{"backend": "numpy"} | options)


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize("precision", ["fp16", "FP32", ""])
def test_precision_that_a_backend_lacks(precision):
    message = f"backend 'numpy' has no precision {precision!r}; it has: fp32, int8, int4"
    refused(OptionError, message, "speller", backend="numpy", precision=precision)


@pytest.mark.usefixtures("plugin")
def test_allow_list_is_told_where_a_class_is_missing(nemo, monkeypatch):
    monkeypatch.setenv("ASRKIT_PLUGINS", "fake")
    path = nemo("x.nemo", target="Other")
    with pytest.raises(CheckpointError, match=r"\(only the plugins of ASRKIT_PLUGINS='fake' were loaded\)$"):
        load_model(path, backend="numpy")


@pytest.mark.usefixtures("plugin")
def test_unknown_backend():
    message = "there is no backend 'nunpy' (did you mean 'numpy'?); there is: broken, mlx, numpy, raising"
    refused(UnknownNameError, message, "speller", backend="nunpy")


@pytest.mark.usefixtures("plugin")
def test_auto_is_numpy_where_mlx_has_no_gpu(monkeypatch):
    from asrkit import builtins

    monkeypatch.setattr(builtins, "probe_mlx", lambda: "not today")
    chosen = load_model("speller").backend.name
    assert chosen in ("numpy", "mlx")
    if chosen == "mlx":
        assert load_model("speller").backend.capabilities.device == "gpu"


@pytest.mark.parametrize(
    ("device", "expected"), [("gpu", "mlx"), ("cpu", "numpy"), (None, "numpy")], ids=["gpu", "cpu", "absent"]
)
def test_auto(plugin, device, expected):
    class Fake(NumpyBackend):
        name = "mlx"

        def __init__(self, device_=None, **_):
            super().__init__()
            self.capabilities = attrs.evolve(self.capabilities, device=device, rank=20 if device == "gpu" else -10)

    registry = plugin.registry
    registry._entries["backend"]["mlx"] = [
        attrs.evolve(entry, factory=Fake, probe=lambda: None if device else "absent")
        for entry in registry._entries["backend"]["mlx"]
    ]
    assert load_model("speller").backend.name == expected


@pytest.mark.usefixtures("plugin")
def test_settings(family):
    model = load_model("configurable", backend="numpy", edges="reflect", count="3")
    (notice,) = model.parts.notices
    assert notice.message == repr(Settings("reflect", 3))
    assert model_settings("configurable") == ("edges", "count")
    assert model_settings("speller") == ()
    with pytest.raises(OptionError, match="option 'edges' is set when the model is loaded"):
        model.transcribe((family.spell("a"), family.RATE), edges="zeros")


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize("settings", [{}, {"edges": None}])
def test_settings_that_are_not_given(settings):
    (notice,) = load_model("configurable", backend="numpy", **settings).parts.notices
    assert notice.message == repr(Settings())


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        (
            "configurable",
            {"edgse": 1},
            "model 'configurable' has no option 'edgse' (did you mean 'edges'?); it has: count, edges",
        ),
        ("configurable", {"count": "x"}, "model 'configurable': option 'count' takes a whole number, not 'x'"),
        ("speller", {"edges": "x"}, "model 'speller' has no load-time options, asked was: edges"),
        ("speller", {"decoder": "ctc"}, "model 'speller' has one decoder and no choice: leave decoder 'ctc' out"),
    ],
)
def test_settings_that_a_model_has_not(name, settings, message):
    refused(OptionError, message, name, backend="numpy", **settings)


@pytest.mark.usefixtures("plugin")
def test_settings_of_a_path(nemo):
    path = nemo("x.nemo", target="Configurable")
    assert model_settings(str(path)) == ("edges", "count")
    assert load_model(path, backend="numpy", count=2).parts.notices[0].message == repr(Settings(count=2))


def test_builder_that_cannot_be_imported(install, family, nemo):
    spec = family.spec(path=str(nemo()), build="no_such_module_anywhere:build")
    install(fake={"register_models": lambda register: register(spec)})
    with pytest.raises(PluginError, match="no_such_module_anywhere"):
        load_model("speller", backend="numpy")


@pytest.mark.usefixtures("plugin")
def test_no_name():
    refused(UsageError, "no model was named; give a name from `asrkit models` or a path", "")


def ranked(name, rank):
    """The factory of a backend with a rank."""

    def factory(device=None):
        backend = NumpyBackend(device)
        backend.name = name
        backend.capabilities = attrs.evolve(backend.capabilities, rank=rank)
        return backend

    return factory


def exploding(device=None):
    raise RuntimeError("no driver")


def ready():
    """A probe that finds no problem."""


@pytest.mark.parametrize(
    ("ranks", "best"),
    [({}, "numpy"), ({"low": -1}, "numpy"), ({"high": 1}, "high"), ({"high": 30, "higher": 40, "low": -5}, "higher")],
)
def test_auto_takes_the_highest_rank_that_runs(install, ranks, best):
    def register_backends(register):
        for name, rank in ranks.items():
            register(name, ranked(name, rank), ready)
        register("best", ranked("best", 1000), lambda: "not here")
        register("exploding", exploding, ready)

    registry = install(fake={"register_backends": register_backends}).registry
    absent(registry, "mlx")
    assert create_backend(registry, "auto").name == best


def absent(registry, name):
    """Makes a registered backend one that cannot run."""
    registry._entries["backend"][name] = [
        attrs.evolve(entry, probe=lambda: "absent") for entry in registry._entries["backend"][name]
    ]


def test_auto_where_nothing_runs(install):
    registry = install(fake={"register_backends": lambda register: register("exploding", exploding, ready)}).registry
    absent(registry, "mlx"), absent(registry, "numpy")
    with pytest.raises(BackendError, match=r"^no backend can run here: ") as caught:
        create_backend(registry, "auto")
    for name, problem in (("exploding", "no driver"), ("mlx", "absent"), ("numpy", "absent")):
        assert re.search(f"{name}'[^;]*: {problem}", str(caught.value))


def test_auto_with_a_device_nobody_has(registry):
    with pytest.raises(BackendError, match=r"^no backend can run here: .*has no device 'tpu'"):
        create_backend(registry, "auto", "tpu")


def test_backend_that_cannot_start(install):
    registry = install(fake={"register_backends": lambda register: register("exploding", exploding, ready)}).registry
    message = "backend 'exploding' of plugin 'fake' cannot start: RuntimeError: no driver"
    with pytest.raises(BackendError, match=f"^{re.escape(message)}$"):
        create_backend(registry, "exploding")


def test_builder_that_stumbles(install, family, nemo):
    def build(*_):
        raise KeyError("n_layers")

    path = nemo()
    install(fake={"register_models": lambda register: register(family.spec(path=str(path), build=build))})
    message = f"{path}: no model could be built from it: KeyError: 'n_layers'"
    refused(CheckpointError, message, "speller", backend="numpy")
