"""The documentation does what it says: its code runs, its commands parse, its tables and links are right."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from asrkit.cli import COMMANDS, cli, main
from asrkit.loading import backend_problem
from asrkit.models import HubSource
from asrkit.options import option_names
from asrkit.plugins import registry

ROOT = Path(__file__).parents[1]
RECORDING = "tests/data/synthetic-speech.wav"
READMES = [ROOT / "README.md", *(ROOT / f"plugins/asrkit-{name}/README.md" for name in ("canary", "parakeet"))]
PAGES = sorted([*READMES, *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^()\s]+)\)")


def blocks(*languages: str) -> list:
    """(page, code) of every fenced block in one of the languages."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            if match[1] in languages:
                line = text.count("\n", 0, match.start()) + 1
                found.append(pytest.param(match[2], id=f"{page.relative_to(ROOT)}:{line}"))
    return found


def command_lines(code: str) -> list[tuple[dict[str, str], list[str]]]:
    """The asrkit commands of a shell block, with the variables before them, without redirections after them."""
    found = []
    for line in code.splitlines():
        for part in line.split(" && "):
            words = shlex.split(part, comments=True)
            variables = dict(word.split("=", 1) for word in words if re.match(r"[A-Z_]+=", word))
            words = words[len(variables) :]
            if words[:1] == ["asrkit"]:
                cut = next((n for n, word in enumerate(words) if word in (">", "|")), len(words))
                found.append((variables, words[1:cut]))
    return found


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    """A checkpoint with random weights."""
    path = tmp_path_factory.mktemp("checkpoint") / "random-canary.nemo"
    write = pytest.importorskip("asrkit_canary.random_checkpoint").write_random_checkpoint
    write(path)
    return path


@pytest.fixture
def place(tmp_path, monkeypatch, checkpoint) -> Path:
    """A working directory with the files that the documentation speaks of."""
    shutil.copy(checkpoint, tmp_path / "random-canary.nemo")
    shutil.copy(ROOT / RECORDING, tmp_path / "talk.wav")
    (tmp_path / RECORDING).parent.mkdir(parents=True)
    shutil.copy(ROOT / RECORDING, tmp_path / RECORDING)
    samples = ROOT / "plugins/asrkit-demo/samples"
    shutil.copytree(samples, tmp_path / "plugins/asrkit-demo/samples")
    monkeypatch.syspath_prepend(ROOT / "docs/examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("code", blocks("python"))
def test_python_runs(code, place):
    compiled = compile(code, "<documentation>", "exec")
    if not code.startswith("# not run"):
        exec(compiled, {"__name__": "__main__"})


@pytest.mark.parametrize("code", blocks("sh", "console"))
def test_commands_run(code, place, capsys):
    for variables, words in command_lines(code):
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                if name != "ASRKIT_PLUGINS":  # which are loaded once per process
                    patch.setenv(name, value)
            check(words, capsys)


def check(words, capsys) -> None:
    """The command parses; if its files are here, it also runs."""
    check_parses(words)
    if all(Path(word).exists() for word in words if looks_like_file(word)) and not needs_network(words):
        with pytest.raises(SystemExit) as leave:
            sys.exit(main(list(words)))
        assert not leave.value.code, f"asrkit {shlex.join(words)}: {capsys.readouterr().err}"


def check_parses(words: list[str]) -> None:
    """Every command exists and takes these options; click's errors say what it does not take."""
    command, context, rest = cli, None, list(words)
    while True:
        context = command.make_context(command.name or "asrkit", rest, parent=context)
        if not isinstance(command, click.Group) or not context._protected_args:
            return
        _, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])


def looks_like_file(word: str) -> bool:
    return bool(re.search(r"\.(nemo|wav|flac)$", word)) or ("checkpoint/" in word)


def needs_network(words: list[str]) -> bool:
    """Whether a command is about a model that would have to be downloaded."""
    if words[0] == "models":
        return False
    specs = [entry.factory for entry in registry().entries("model")]
    hub = {spec.name for spec in specs if isinstance(spec.source, HubSource)}
    return any(word.partition("@")[0] in hub for word in [*words, os.environ.get("ASRKIT_MODEL", "")])


def test_shell_blocks_hold_commands():
    lines = [words for block in blocks("sh", "console") for _, words in command_lines(block.values[0])]
    assert len(lines) > 20
    assert {words[0] for words in lines} == {*COMMANDS, "duration"}  # which the tutorial's plugin adds


def test_check_of_commands_notices_mistakes():
    for line in ("walk talk.wav", "run --modell x talk.wav", "run talk.wav", "run -m x --batch-size 0 talk.wav"):
        with pytest.raises(click.UsageError):
            check_parses(shlex.split(line))


def test_cli_reference_is_up_to_date(tmp_path):
    page = tmp_path / "cli.md"
    subprocess.run([sys.executable, ROOT / "tools/cli_reference.py", page], check=True, timeout=60)
    expected = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    assert page.read_text(encoding="utf-8") == expected, "run: python tools/cli_reference.py"


def documented_keys(heading: str) -> list[str]:
    text = (ROOT / "docs/reference/json.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert section, f"no heading '## {heading}'"
    return re.findall(r"^\| `([\w-]+)`", section[1], re.MULTILINE)


def test_json_keys_are_documented(place, capsys):
    main(["run", "-m", "random-canary.nemo", "-o", "timestamp=yes", "--format", "json", "--tokens", "talk.wav"])
    (result,) = json.loads(capsys.readouterr().out)
    assert documented_keys("Keys") == list(result)
    assert sorted(documented_keys("Timing")) == sorted(result["timing"])
    assert result["warnings"]
    assert {warning["code"] for warning in result["warnings"]} <= set(documented_keys("Warnings"))
    assert documented_keys("Segments") == ["start", "end", "text", "words"]
    for segment in result["segments"]:
        assert set(segment) == {"start", "end", "text", "words"}, "this checkpoint should write timestamps"
        assert all(set(word) == {"start", "end", "text"} for word in segment["words"])
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    listed = re.search(r"objects have these keys: (.*?)\. \[JSON\]", readme, re.DOTALL)
    assert listed
    assert re.findall(r"`(\w+)`", listed[1]) == list(result)


def test_json_keys_that_are_asked_for_are_documented(place, capsys):
    usual, asked = set(documented_keys("Keys")), set()
    for options in (["--strategy", "attention-beam", "-o", "n_best=2"], ["-o", "confidence=yes"]):
        main(["run", "-m", "random-canary.nemo", "-l", "en", "--format", "json", "--tokens", *options, "talk.wav"])
        (result,) = json.loads(capsys.readouterr().out)
        assert usual < set(result)
        asked |= set(result) - usual
    assert asked == set(documented_keys("Confidence and alternatives"))


def test_strategies_are_documented():
    text = (ROOT / "docs/plugins/parts.md").read_text(encoding="utf-8")
    table = text.partition("The core's strategies:")[2].partition("What they are for")[0]
    rows = re.findall(r"^\| `([\w-]+)` \| `(\w+)` \| (.*) \|$", table, re.MULTILINE)
    core = [entry for entry in registry().entries("strategy") if entry.plugin == "asrkit"]
    assert sorted(name for name, _, _ in rows) == sorted(entry.name for entry in core)
    for name, drives, options in rows:
        strategy = registry().get("strategy", name).load()
        assert strategy.decodes.__name__ == drives
        assert options == ", ".join(f"`{option}`" for option in option_names(strategy))


def compose(backend: str, strategy: str) -> str:
    command = [sys.executable, ROOT / "docs/examples/compose.py", "random-canary.nemo", "talk.wav"]
    command += ["--backend", backend, "--strategy", strategy]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("strategy", ["greedy", "sampling"])  # of the core, and of the plugin of the tutorial
@pytest.mark.parametrize("backend", registry().names("backend"))
def test_example_composes_on_every_backend(backend, strategy, place, capfd):
    problem = backend_problem(registry().get("backend", backend))
    if problem is not None:
        pytest.skip(problem)
    found = compose(backend, strategy)
    words = ["-m", "random-canary.nemo", "-l", "en", "--format", "jsonl", "--backend", backend, "--strategy", strategy]
    main(["run", *words, "talk.wav"])
    assert found == json.loads(capfd.readouterr().out)["raw_text"] + "\n"
    if backend != "numpy":
        assert found == compose("numpy", strategy)


def quoted(page: str) -> list:
    """(file, code) of every block of a page that is quoted from a file, which is named before it or before the last."""
    text = (ROOT / "docs/plugins" / page).read_text(encoding="utf-8")
    place = ROOT / {"tutorial.md": "plugins/asrkit-example", "backends.md": "docs/examples"}[page]
    found, file = [], None
    for name, language, code in re.findall(
        r"^(?:`([\w/.-]+)`:\n\n)?```(py|toml)\n(.*?)^```", text, re.DOTALL | re.MULTILINE
    ):
        file = place / name if name else file
        found.append(pytest.param(file, code, id=f"{page}:{text.count(chr(10), 0, text.index(code))}"))
        assert language == file.suffix[1:]
    return found


QUOTED = [*quoted("tutorial.md"), *quoted("backends.md")]


@pytest.mark.parametrize(("file", "code"), QUOTED)
def test_tutorials_quote_what_is_there(file, code):
    assert code in file.read_text(encoding="utf-8")


def test_tutorials_show_everything_that_is_registered():
    files = {param.values[0] for param in QUOTED}
    assert {*(ROOT / "plugins/asrkit-example/asrkit_example").glob("[a-z]*.py")} <= files
    assert {*(ROOT / "docs/examples/asrkit_array_api").glob("[a-z]*.py")} <= files


def test_backend_of_the_docs_is_found_and_transcribes(tmp_path):
    info = tmp_path / "asrkit_array_api-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: asrkit-array-api\nVersion: 1\n", encoding="utf-8")
    point = "array-api = asrkit_array_api.plugin"
    (info / "entry_points.txt").write_text(f"[asrkit]\n{point}\n", encoding="utf-8")
    paths = [str(tmp_path), str(ROOT / "docs/examples"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}

    def asrkit(*words) -> str:
        command = [sys.executable, "-m", "asrkit", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    assert re.search(r"^array-api +cpu; fp32, int8, int4; array-api-strict ", asrkit("backends"), re.MULTILINE)
    clip = ROOT / "plugins/asrkit-demo/samples/en-000.flac"
    words = ("run", "-m", "canary-demo", "-l", "en", "-q", "--backend", "array-api", clip)
    assert asrkit(*words) == "Martin never eats potatoes.\n"


def test_example_is_short():
    lines = (ROOT / "docs/examples/compose.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 70


def anchors(page: Path) -> set[str]:
    """Headings the way GitHub makes anchors of them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])
def test_links_resolve(page):
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        if anchor:
            assert anchor in anchors(target), f"{link}: no such heading"
