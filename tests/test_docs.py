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
PAGES = sorted([ROOT / "README.md", ROOT / "plugins/asrkit-canary/README.md", *ROOT.glob("docs/**/*.md")])
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
    assert {words[0] for words in lines} == set(COMMANDS)


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


@pytest.mark.parametrize("backend", registry().names("backend"))
def test_example_composes_on_every_backend(backend, place, capfd):
    problem = backend_problem(registry().get("backend", backend))
    if problem is not None:
        pytest.skip(problem)
    command = [sys.executable, ROOT / "docs/examples/compose.py", "random-canary.nemo", "talk.wav"]
    done = subprocess.run([*command, "--backend", backend], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    main(["run", "-m", "random-canary.nemo", "-l", "en", "--format", "jsonl", "--backend", backend, "talk.wav"])
    assert done.stdout == json.loads(capfd.readouterr().out)["raw_text"] + "\n"


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
