"""Plugins are found, called one by one, and a broken one breaks nothing but itself."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from types import ModuleType

import click
import pytest

from asrkit import plugins as plugins_module
from asrkit.errors import PluginError, UnknownNameError
from asrkit.hookspecs import INTERFACE, hookimpl
from asrkit.loading import backend_problem
from asrkit.models import ModelSpec, PathSource
from asrkit.plugins import GROUP, Plugins, load_plugins
from asrkit.registry import KINDS, PARTS


def module(**hooks):
    """A plugin's module with these functions as its hooks."""
    made = ModuleType("fake")
    made.ASRKIT_INTERFACE = INTERFACE
    for name, function in hooks.items():
        setattr(made, name, hookimpl(function))
    return made


@pytest.fixture
def point(monkeypatch):
    """Makes entry points of modules, or of the source of a module that is imported when the plugin is."""

    def point(name, what):
        assert isinstance(what, ModuleType)
        monkeypatch.setitem(sys.modules, f"fake_{name}", what)
        return importlib.metadata.EntryPoint(name, f"fake_{name}", GROUP)

    return point


def parts(*names, kind="encoder", factory="nowhere:nothing"):
    def register_parts(register):
        for name in names:
            getattr(register, kind)(name, factory)

    return module(register_parts=register_parts)


def found(plugins):
    return {plugin.name: plugin.error and str(plugin.error) for plugin in plugins.found}


def test_core_alone():
    plugins = Plugins(points=[])
    assert found(plugins) == {"asrkit": None}
    assert plugins.registry.names("backend") == ["mlx", "numpy"]
    assert plugins.registry.names("format") == ["json", "jsonl", "srt", "tsv", "txt", "vtt"]
    assert (plugins.found[0].distribution, plugins.found[0].version) == (
        "asrkit-core",
        importlib.import_module("asrkit").__version__,
    )


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "model"])
def test_everything_the_core_registers_can_be_loaded(kind):
    for entry in Plugins(points=[]).registry.entries(kind):
        if (entry.kind, entry.name) == ("backend", "mlx"):
            pytest.importorskip("mlx.core", exc_type=ImportError)
        assert callable(entry.load())


def registered(point, **hooks):
    """What a plugin with these hooks registers."""
    plugins = Plugins(points=[point("mine", module(**hooks))])
    assert found(plugins) == {"asrkit": None, "mine": None}
    return plugins.registry


def test_hook_register_backends(point):
    entry = registered(
        point, register_backends=lambda register: register("b", "a:b", "asrkit.builtins:probe_numpy")
    ).get("backend", "b")
    assert (entry.plugin, entry.factory, backend_problem(entry)) == ("mine", "a:b", None)


@pytest.mark.parametrize("kind", PARTS)
def test_hook_register_parts(point, kind):
    registry = registered(point, register_parts=lambda register: getattr(register, kind)("p", "builtins:int"))
    entry = registry.get(kind, "p")
    assert (entry.plugin, entry.kind, entry.load()) == ("mine", kind, int)


def test_hook_register_models(point):
    spec = ModelSpec("m", PathSource("m.nemo"), "a:b", "attention", "greedy", ("en",), (), "none", "text")
    entry = registered(point, register_models=lambda register: register(spec)).get("model", "m")
    assert (entry.plugin, entry.factory) == ("mine", spec)


def test_hook_register_formats(point):
    def register_formats(register):
        register("f", "a:b", ".f")
        register("one", "a:b", ".one", single=True)

    registry = registered(point, register_formats=register_formats)
    assert (registry.get("format", "f").suffix, registry.get("format", "f").single) == (".f", False)
    assert registry.get("format", "one").single


def test_hook_register_commands(point):
    plugins = Plugins(points=[point("mine", module(register_commands=lambda cli: cli.add_command(mine)))])
    plugins.register_commands(click.Group)
    assert plugins.commands["mine"] == {"mine": mine}


def raises(error):
    def hook(register):
        raise error

    return hook


def after_registering(register):
    register.encoder("half", "a:b")
    register.encoder("other half", "a:b")
    raise RuntimeError("gave\nup")


BROKEN = {
    "misspelt": (module(register_part=lambda register: None), "PluginValidationError: unknown hook 'register_part'"),
    "arguments": (module(register_parts=lambda parts: None), "PluginValidationError: .*'parts'"),
    "raising": (module(register_parts=after_registering), "RuntimeError: gave up"),
    "silent": (module(register_models=raises(KeyError())), "KeyError"),
    "name": (parts("a:b"), "ValueError: encoder name 'a:b': a name is not empty and holds no colon"),
    "empty": (parts(""), "ValueError: encoder name '': a name is not empty and holds no colon"),
    "kind": (parts("x", kind="decipherer"), "AttributeError: .*decipherer"),
}


@pytest.mark.parametrize(("name", "broken"), [(name, what[0]) for name, what in BROKEN.items()], ids=BROKEN)
def test_broken_plugin_breaks_nothing_but_itself(point, name, broken):
    plugins = Plugins(points=[point("before", parts("one")), point(name, broken), point("late", parts("two"))])
    assert plugins.registry.names("encoder") == ["one", "two"]
    assert [plugin.name for plugin in plugins.found] == ["asrkit", "before", name, "late"]
    problem = found(plugins)[name]
    assert re.search(f"^plugin '{name}' is broken: {BROKEN[name][1]}", problem)
    assert "\n" not in problem
    assert [other for other, error in found(plugins).items() if error] == [name]
    plugins.registry.get("encoder", "one")
    with pytest.raises(UnknownNameError) as caught:
        plugins.registry.get("encoder", "half")
    assert str(caught.value) == f"there is no encoder 'half'; there is: one, two; {problem}"


def test_plugin_that_raises_on_import(tmp_path, monkeypatch):
    (tmp_path / "asrkit_fake_broken.py").write_text("import no_such_module_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    plugins = Plugins(points=[importlib.metadata.EntryPoint("broken", "asrkit_fake_broken", GROUP)])
    expected = "plugin 'broken' is broken: ModuleNotFoundError: No module named 'no_such_module_anywhere'"
    assert found(plugins) == {"asrkit": None, "broken": expected}
    assert isinstance(plugins.registry.broken["broken"], PluginError)


def test_plugin_that_ends_the_process_on_import(tmp_path, monkeypatch):
    (tmp_path / "asrkit_fake_exit.py").write_text("raise SystemExit('no')\n")
    monkeypatch.syspath_prepend(tmp_path)
    plugins = Plugins(points=[importlib.metadata.EntryPoint("exit", "asrkit_fake_exit", GROUP)])
    assert found(plugins) == {"asrkit": None, "exit": "plugin 'exit' is broken: SystemExit: no"}


def test_two_owners_of_one_name(point):
    plugins = Plugins(points=[point("a", parts("same", "mine")), point("b", parts("same"))])
    get = plugins.registry.get
    with pytest.raises(PluginError) as caught:
        get("encoder", "same")
    assert str(caught.value) == ("encoder 'same' is registered by 2 plugins; write a:same or b:same to select one")
    assert not isinstance(caught.value, UnknownNameError)
    assert get("encoder", "a:same").plugin == "a"
    assert get("encoder", "b:same").plugin == "b"
    assert get("encoder", "mine").plugin == get("encoder", "a:mine").plugin == "a"
    with pytest.raises(UnknownNameError, match=r"^there is no encoder 'b:mine'"):
        get("encoder", "b:mine")


def test_one_plugin_with_one_name_twice(point):
    plugins = Plugins(points=[point("a", parts("same", "same"))])
    with pytest.raises(PluginError, match="same"):
        plugins.registry.get("encoder", "a:same")


def test_a_plugin_may_take_a_name_of_the_core(point):
    plugins = Plugins(points=[point("a", parts("greedy", kind="strategy"))])
    with pytest.raises(PluginError, match="write asrkit:greedy or a:greedy to select one"):
        plugins.registry.get("strategy", "greedy")
    assert plugins.registry.meant("strategy", "greedy") == "asrkit:greedy"
    assert plugins.registry.meant("segmenter", "whole") == "whole"
    assert plugins.registry.get("strategy", "asrkit:greedy").plugin == "asrkit"


def test_two_distributions_with_one_plugin_name(point, monkeypatch):
    first = point("same", parts("one"))
    monkeypatch.setitem(sys.modules, "fake_second", parts("two"))
    second = importlib.metadata.EntryPoint("same", "fake_second", GROUP)
    plugins = Plugins(points=[first, second])
    assert [plugin.name for plugin in plugins.found] == ["asrkit", "same", "same"]
    assert plugins.found[1].error is None
    assert str(plugins.found[2].error).endswith("plugin 'same' is installed twice; uninstall one of the distributions")
    # The first goes on working: which one that is depends on nothing but the order of the points.
    assert plugins.registry.names("encoder") == ["one"]


def test_plugin_cannot_call_itself_asrkit(point):
    plugins = Plugins(points=[point("asrkit", parts("one"))])
    assert plugins.registry.names("backend") == ["mlx", "numpy"]
    assert plugins.registry.names("encoder") == []


@pytest.mark.parametrize(
    ("value", "names", "missing"),
    [
        (None, ["a", "b"], []),
        ("", [], []),
        ("a", ["a"], []),
        (" b , a,", ["a", "b"], []),
        ("b,zz,yy", ["b"], ["yy", "zz"]),
        ("asrkit", [], []),
    ],
)
def test_allow_list(point, monkeypatch, value, names, missing):
    if value is None:
        monkeypatch.delenv("ASRKIT_PLUGINS", raising=False)
    else:
        monkeypatch.setenv("ASRKIT_PLUGINS", value)
    plugins = Plugins(points=[point("a", parts("one")), point("b", parts("two"))])
    assert found(plugins) == {"asrkit": None} | dict.fromkeys(names) | {
        name: f"plugin {name!r} of ASRKIT_PLUGINS is not installed" for name in missing
    }


def test_what_is_not_allowed_is_not_imported(tmp_path, monkeypatch):
    (tmp_path / "asrkit_fake_unwanted.py").write_text("raise RuntimeError\n")
    monkeypatch.syspath_prepend(tmp_path)
    points = [importlib.metadata.EntryPoint("unwanted", "asrkit_fake_unwanted", GROUP)]
    assert found(Plugins(points=points, allowed=set())) == {"asrkit": None}


def test_missing_plugin_is_told_when_something_unknown_is_asked_for():
    registry = Plugins(points=[], allowed={"canary"}).registry
    with pytest.raises(UnknownNameError, match=r"; plugin 'canary' of ASRKIT_PLUGINS is not installed$"):
        registry.get("model", "x")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("on", "there is no encoder 'on' (did you mean 'one'?); there is: one, three, two"),
        ("zzz", "there is no encoder 'zzz'; there is: one, three, two"),
        ("", "there is no encoder ''; there is: one, three, two"),
    ],
)
def test_unknown_name(point, name, message):
    plugins = Plugins(points=[point("a", parts("three", "one", "two"))])
    with pytest.raises(UnknownNameError, match=f"^{re.escape(message)}$"):
        plugins.registry.get("encoder", name)


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        ("no_such_module_anywhere:x", "ModuleNotFoundError: No module named 'no_such_module_anywhere'"),
        ("asrkit.values:Nothing", "AttributeError: module 'asrkit.values' has no attribute 'Nothing'"),
    ],
)
def test_factory_that_cannot_be_imported(point, factory, reason):
    plugins = Plugins(points=[point("a", parts("one", factory=factory))])
    with pytest.raises(PluginError) as caught:
        plugins.registry.get("encoder", "one").load()
    assert str(caught.value) == f"encoder 'one' of plugin 'a' cannot be loaded: {reason}"


# The interface


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        (
            INTERFACE + 1,
            f"was written for interface {INTERFACE + 1} of plugins, this asrkit has 1; upgrade asrkit-core",
        ),
        (INTERFACE - 1, f"was written for interface {INTERFACE - 1} of plugins, this asrkit has 1; upgrade the plugin"),
        (None, "does not say which interface it was written for: its module needs ASRKIT_INTERFACE = 1, found None"),
        ("1", "does not say which interface it was written for: its module needs ASRKIT_INTERFACE = 1, found '1'"),
    ],
)
def test_another_interface(point, stated, message):
    other = module(register_parts=lambda register: pytest.fail("no hook of it may be called"))
    other.ASRKIT_INTERFACE = stated
    plugins = Plugins(points=[point("a", parts("one")), point("old", other)])
    assert found(plugins) == {"asrkit": None, "a": None, "old": f"plugin 'old' {message}"}
    assert plugins.registry.names("encoder") == ["one"]


# What is told


def test_clashes(point):
    add = {"register_commands": lambda cli: cli.add_command(mine)}
    first, second = parts("same", "one"), parts("same")
    for each in (first, second):
        each.register_commands = hookimpl(add["register_commands"])
    plugins = Plugins(points=[point("a", first), point("b", second), point("c", parts("two", "two"))])
    plugins.register_commands(click.Group)
    assert plugins.clashes() == [
        "encoder 'same' is registered by 2 plugins; write a:same or b:same to select one",
        "encoder 'two' is registered 2 times by plugin 'c'; uninstall it",
        "command 'mine' is registered by 2 plugins; write a:mine or b:mine to select one",
    ]
    assert found(plugins) == dict.fromkeys(["asrkit", "a", "b", "c"])


@pytest.mark.parametrize("wish", ["", "0", "no", None])
def test_nothing_is_traced_unasked(point, monkeypatch, capsys, wish):
    monkeypatch.setenv("ASRKIT_TRACE_PLUGINS", wish) if wish is not None else None
    Plugins(points=[point("a", parts("one"))])
    assert capsys.readouterr() == ("", "")


def test_trace(point, monkeypatch, capsys):
    monkeypatch.setenv("ASRKIT_TRACE_PLUGINS", "1")
    points = [point("a", parts("one", "two")), point("b", module(register_models=raises(KeyError("gone"))))]
    Plugins(points=points).register_commands(click.Group)
    out, err = capsys.readouterr()
    assert out == ""
    assert re.search(r"^asrkit: plugin 'asrkit': imported asrkit.builtins from \S+builtins.py in [\d.]+ ms$", err, re.M)
    assert "asrkit: plugin 'a': register_parts: encoder one, encoder two\n" in err
    assert re.search(r"^asrkit: plugin 'b': Traceback .*^KeyError: 'gone'$", err, re.M | re.S)


# Commands


@click.command("mine")
def mine():
    """A plugin's command."""


def test_commands_of_a_broken_plugin(point):
    def half(cli):
        raise RuntimeError("no commands today")

    broken = parts("one")
    broken.register_commands = hookimpl(half)
    points = [
        point("a", broken),
        point("b", module(register_commands=lambda cli: cli.add_command(mine))),
    ]
    plugins = Plugins(points=points)
    plugins.register_commands(click.Group)
    assert plugins.commands == {"asrkit": {}, "b": {"mine": mine}}
    problem = "plugin 'a' is broken: RuntimeError: no commands today"
    assert found(plugins) == {"asrkit": None, "a": problem, "b": None}
    assert plugins.registry.names("encoder") == []
    with pytest.raises(UnknownNameError, match=f"{problem}$"):
        plugins.registry.get("encoder", "one")


def test_plugin_cannot_replace_a_command_of_asrkit(point):
    from asrkit.cli import _Added

    plugins = Plugins(points=[point("a", module(register_commands=lambda cli: cli.add_command(mine, "run")))])
    plugins.register_commands(_Added)
    assert found(plugins)["a"] == "plugin 'a' is broken: ValueError: command 'run' is one of asrkit's own"


def test_plugins_are_loaded_once():
    assert load_plugins() is load_plugins()
    assert plugins_module.registry() is load_plugins().registry
