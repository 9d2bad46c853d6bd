"""Plugins of others as they are found when they are installed: a project that was just begun, and broken ones."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from asrkit.cli.new_plugin import FILES

ROOT = Path(__file__).parents[2]


def lay_out(place: Path, name: str, version: str, point: str) -> None:
    """What pip leaves in a folder of packages, beside the packages."""
    info = place / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[asrkit]\n{point}\n", encoding="utf-8")


def python(*args, path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs Python with a folder of packages more."""
    paths = os.pathsep.join([str(path), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", **variables}
    return subprocess.run(
        [sys.executable, *map(str, args)],
        cwd=path,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
    )


# A project that was just begun


@pytest.fixture
def begun(call, tmp_path, monkeypatch):
    """The folder of a project as ``asrkit plugins new`` writes it."""
    monkeypatch.chdir(tmp_path)
    code, out, err = call("plugins", "new", "my-search")
    assert (code, out) == (0, "")
    assert err == (
        'asrkit: wrote asrkit-my-search; install and test it: pip install -e "./asrkit-my-search[test]" && '
        "python -m pytest asrkit-my-search\n"
    )
    return tmp_path / "asrkit-my-search"


def test_new_project_is_found_and_passes_its_tests(begun):
    project = tomllib.loads((begun / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ((name, value),) = project["entry-points"]["asrkit"].items()
    lay_out(begun, project["name"], project["version"], f"{name} = {value}")
    listed = python("-m", "asrkit", "plugins", path=begun)
    rows = [line.split(maxsplit=1) for line in listed.stdout.splitlines() if line.startswith("my-search")]
    assert rows == [["my-search", "asrkit-my-search 0.1.0"], ["my-search", "strategy: my-search"]]
    # The compiled backends have their turn where the project is really installed, in .ci/run.
    options = ["-p", "asrkit.testing.pytest_plugin", "-p", "no:cacheprovider", "-W", "error", "-k", "not mlx"]
    tested = python("-m", "pytest", "-q", *options, path=begun)
    assert tested.returncode == 0, tested.stdout
    assert re.search(r"^[579] passed", tested.stdout, re.MULTILINE)


def test_new_project_is_decoded_with(begun, call, family, install, model, recording, monkeypatch):
    monkeypatch.syspath_prepend(begun)
    plugin = importlib.import_module("asrkit_my_search.plugin")
    install(
        fake={
            "register_models": lambda register: register(family.spec("speller", str(model))),
            "register_parts": plugin.register_parts,
        }
    )
    run = ("run", "-m", "speller", "-l", "en", "-q", "--strategy", "my-search")
    assert call(*run, recording("abab")) == (0, "abab\n", "")
    code, out, _ = call(*run, "-o", "penalty=100", recording("abab", "again"))
    assert code == 0
    assert len(set(out.strip())) == len(out.strip())  # no letter twice


def test_every_file_of_the_skeleton_is_written(begun):
    skeleton = {path.name.removesuffix(".in") for path in (ROOT / "asrkit/cli/skeleton").iterdir()}
    assert skeleton == set(FILES)
    assert len([path for path in begun.rglob("*") if path.is_file()]) == len(FILES)
    assert not [path for path in begun.rglob("*.*") if path.is_file() and "$" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("My Search", "'My Search' is no name of a plugin: .* (did you mean 'my-search'?)"),
        ("9", "'9' is no name of a plugin: it takes small letters, digits and single hyphens"),
        ("a--b", "'a--b' is no name of a plugin: .* (did you mean 'a-b'?)"),
        ("../x", "'../x' is no name of a plugin: .* (did you mean 'x'?)"),
        ("asrkit", "a plugin 'asrkit' is there already; choose another name"),
        ("asrkit-core", "a plugin 'core' is there already; choose another name"),
        ("fake", "a plugin 'fake' is there already; choose another name"),
        ("greedy", "a strategy 'greedy' is there already; choose another name"),
        ("asrkit-mine", "asrkit-mine is there already; choose another name, or move it away"),
    ],
)
def test_names_that_cannot_be(call, model, tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "asrkit-mine").mkdir()
    code, out, err = call("plugins", "new", name)
    assert (code, out) == (2, "")
    pattern = re.escape(message).replace(r"\.\*", ".*")
    assert re.fullmatch(f"asrkit: error: {pattern}\n", err)
    assert [path.name for path in tmp_path.glob("asrkit-*")] == ["asrkit-mine"]


# Broken ones

HEAD = "from asrkit import hookimpl\n\nASRKIT_INTERFACE = 1\n\n\n@hookimpl\n"
PARTS = HEAD + "def register_parts(register):\n    register.strategy({name!r}, 'asrkit.strategies.greedy:Greedy')\n"

MODULES = {
    "fine": PARTS.format(name="fine"),
    "first": PARTS.format(name="same"),
    "second": PARTS.format(name="same"),
    "raising": "import a_package_that_is_nowhere\n",
    "misspelt": HEAD + "def register_part(register):\n    pass\n",
    "newer": PARTS.format(name="newer").replace("INTERFACE = 1", "INTERFACE = 2"),
    "silent": PARTS.format(name="silent").replace("ASRKIT_INTERFACE = 1\n", ""),
    "loud": HEAD + "def register_commands(cli):\n    raise RuntimeError('not today')\n",
}

PROBLEMS = {
    "raising": "plugin 'raising' is broken: ModuleNotFoundError: No module named 'a_package_that_is_nowhere'",
    "misspelt": "plugin 'misspelt' is broken: PluginValidationError: unknown hook 'register_part' in plugin ",
    "newer": "plugin 'newer' was written for interface 2 of plugins, this asrkit has 1; upgrade asrkit-core",
    "silent": "plugin 'silent' does not say which interface it was written for: ",
    "loud": "plugin 'loud' is broken: RuntimeError: not today",
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A folder of packages with all of them."""
    place = tmp_path_factory.mktemp("packages")
    for name, source in MODULES.items():
        (place / f"third_{name}.py").write_text(source, encoding="utf-8")
        lay_out(place, f"third-{name}", "1.2", f"{name} = third_{name}")
    return place


def test_each_broken_plugin_is_named_in_one_line(broken):
    done = python("-m", "asrkit", "plugins", path=broken)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    for name in MODULES:
        rows = [line.split(maxsplit=1)[1] for line in lines if line.split(maxsplit=1)[0] == name]
        assert rows[0] == f"third-{name} 1.2"
        if name in PROBLEMS:
            assert len(rows) == 2
            assert rows[1].startswith(PROBLEMS[name])
        else:
            assert rows[1:] == [f"strategy: {'fine' if name == 'fine' else 'same'}"]
    assert lines[-1] == "strategy 'same' is registered by 2 plugins; write first:same or second:same to select one"


def test_the_others_go_on(broken):
    script = """
from asrkit.errors import AsrkitError
from asrkit.plugins import registry
print(registry().get("strategy", "fine").load().__name__)
print(registry().get("strategy", "second:same").plugin)
for name in ("same", "newer"):
    try:
        registry().get("strategy", name)
    except AsrkitError as error:
        print(error)
"""
    done = python("-c", script, path=broken)
    first, second, same, newer = done.stdout.splitlines()
    assert (first, second) == ("Greedy", "second")
    assert same == "strategy 'same' is registered by 2 plugins; write first:same or second:same to select one"
    assert newer.startswith("there is no strategy 'newer'")
    assert PROBLEMS["newer"] in newer


def test_doctor_tells_of_them(broken):
    done = python("-m", "asrkit", "doctor", path=broken)
    assert done.returncode == 1
    for problem in PROBLEMS.values():
        assert problem in done.stdout
    assert "write first:same or second:same" in done.stdout


def test_trace_tells_where_a_plugin_stumbled(broken):
    done = python("-m", "asrkit", "plugins", path=broken, ASRKIT_TRACE_PLUGINS="1")
    assert "asrkit: plugin 'fine': register_parts: strategy fine\n" in done.stderr
    assert f'File "{broken / "third_raising.py"}", line 1' in done.stderr


def test_those_that_are_left_out_are_not_loaded(broken):
    done = python("-m", "asrkit", "plugins", path=broken, ASRKIT_PLUGINS="fine")
    assert {line.split()[0] for line in done.stdout.splitlines()} == {"asrkit", "fine"}
