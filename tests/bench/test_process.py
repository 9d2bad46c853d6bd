"""Worker processes: how they are spoken to, how they fail, and that none is left behind."""

from __future__ import annotations

import sys
import textwrap

import pytest

from asrkit.bench.process import WorkerProcess
from asrkit.errors import AsrkitError, UsageError

ECHO = """
    import json, os, sys
    for line in sys.stdin:
        print(json.dumps({"said": json.loads(line), "cache": os.environ["ASRKIT_CACHE"]}), flush=True)
    print("good bye", file=sys.stderr)
"""


@pytest.fixture
def start(tmp_path):
    def start(script):
        return WorkerProcess("numpy in fp32", tmp_path, [sys.executable, "-c", textwrap.dedent(script)])

    return start


def test_question_and_answer(start, tmp_path):
    with start(ECHO) as worker:
        for n in range(3):
            assert worker.ask({"rows": n}) == {"said": {"rows": n}, "cache": str(tmp_path / "cache")}
    assert worker._process.returncode == 0
    assert (tmp_path / "stderr.txt").read_text() == "good bye\n"


def test_it_does_not_outlive_an_exception(start):
    worker = start("import time; print('{}', flush=True); time.sleep(60)")
    with pytest.raises(KeyboardInterrupt), worker:
        _interrupted(worker)
    assert worker._process.returncode not in (None, 0)


def _interrupted(worker):
    worker.ask({})
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("import os; os.kill(os.getpid(), 9)", "(Killed): it said nothing on stderr"),
        ("raise MemoryError('no more')", "(exit code 1): MemoryError: no more"),
        ("import sys; print('a\\nb\\n\\n', file=sys.stderr); sys.exit(3)", "(exit code 3): b"),
    ],
    ids=["killed", "exception", "exit"],
)
def test_a_worker_that_dies(start, script, message):
    with start(f"import sys; sys.stdin.readline()\n{script}") as worker, pytest.raises(AsrkitError) as caught:
        worker.ask({})
    assert str(caught.value) == f"the process that measured numpy in fp32 ended {message}"


def test_a_worker_that_died_before_it_was_asked(start):
    with start("raise SystemExit('gone')") as worker:
        worker._process.wait()
        with pytest.raises(AsrkitError, match=r"ended \(exit code 1\): gone"):
            worker.ask({"padding": "x" * 10_000})


@pytest.mark.parametrize(("usage", "kind"), [("true", UsageError), ("false", AsrkitError)])
def test_an_error_of_asrkit(start, usage, kind):
    script = f"""input(); print('{{"error": "no such thing", "usage": {usage}}}', flush=True)"""
    with start(script) as worker, pytest.raises(AsrkitError, match=r"^no such thing$") as caught:
        worker.ask({})
    assert type(caught.value) is kind
