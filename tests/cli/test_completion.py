"""Shell completion: the scripts, and what they are answered."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from asrkit.cli import COMMANDS, COMPLETE


@pytest.fixture
def complete(call, monkeypatch):
    """What a line that ends at the cursor is completed to, as fish would be told: the candidates' (type, value)."""

    def complete(line):
        *_, word = line.split(" ")
        monkeypatch.setenv(COMPLETE, "fish_complete")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", word)
        code, out, err = call()
        assert (code, err) == (0, "")
        return [tuple(entry.partition("\t")[0].split(",", 1)) for entry in out.splitlines()]

    return complete


def values(found):
    assert {kind for kind, _ in found} <= {"plain"}
    return [value for _, value in found]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script(call, shell):
    code, out, err = call("completion", shell)
    assert (code, err) == (0, "")
    assert f"{COMPLETE}={shell}_complete" in out


@pytest.mark.parametrize("shell", ["tcsh", ""])
def test_unknown_shell(call, shell):
    code, out, err = call("completion", shell)
    assert (code, out) == (2, "")
    assert "'bash', 'zsh', 'fish'" in err


def test_names(complete, model):
    assert values(complete("asrkit ")) == list(COMMANDS)
    assert values(complete("asrkit do")) == ["doctor"]
    assert "--target-language" in values(complete("asrkit run --ta"))
    assert values(complete("asrkit run -m ")) == ["speller"]
    assert values(complete("asrkit run -m speller -l ")) == ["de", "en"]
    assert values(complete("asrkit run --backend ")) == ["auto", "mlx", "numpy"]
    assert values(complete("asrkit bench --backend numpy --backend m")) == ["mlx"]
    assert values(complete("asrkit run --format js")) == ["json", "jsonl"]
    assert values(complete("asrkit run --strategy g")) == ["greedy"]
    assert values(complete("asrkit eval --precision f")) == ["fp32", "fp16"]
    assert values(complete("asrkit run --task tran")) == ["transcribe", "translate"]
    assert values(complete("asrkit convert ")) == ["speller"]
    assert values(complete("asrkit completion z")) == ["zsh"]


def test_languages_of_the_model_that_was_named(complete, family, install):
    specs = [family.spec("one", languages=("en",)), family.spec("two", languages=("fr", "it"))]
    install(fake={"register_models": lambda register: [register(spec) for spec in specs]})
    assert values(complete("asrkit run -l ")) == ["en", "fr", "it"]
    assert values(complete("asrkit run -m two -l ")) == ["fr", "it"]


@pytest.mark.parametrize("line", ["asrkit run ta", "asrkit run -m ./x", "asrkit eval man", "asrkit bench --audio ta"])
def test_files_are_left_to_the_shell(complete, model, line):
    assert complete(line) == [("file", line.split()[-1])]


def test_it_is_silent_when_something_is_wrong(call, monkeypatch):
    for name, value in {COMPLETE: "bash_complete", "COMP_WORDS": "asrkit run", "COMP_CWORD": "what"}.items():
        monkeypatch.setenv(name, value)
    assert call() == (1, "", "")


def test_in_a_real_bash(tmp_path):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here")
    program = tmp_path / "asrkit"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m asrkit "$@"\n', "utf-8")
    program.chmod(0o755)
    script = 'eval "$(asrkit completion bash)"; COMP_WORDS=(asrkit com); COMP_CWORD=1; _asrkit_completion asrkit com; '
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [bash, "--norc", "-c", script + 'echo "${COMPREPLY[@]}"'],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )
    assert done.stdout == "completion\n", done.stderr
