"""The fixture ``backend`` runs a test on every backend, and gives way to whoever has one of that name."""

from __future__ import annotations

import re
import subprocess
import sys

from asrkit.testing import installed_backends

TESTS = """
import pytest


def test_given(backend):
    assert backend.to_host(backend.xp.ones(2, dtype=backend.xp.float32)).tolist() == [1, 1]


@pytest.mark.parametrize("backend", ["a word"])
def test_own_parameter(backend):
    assert backend == "a word"


def test_nothing_asked():
    pass


class TestOwnFixture:
    @pytest.fixture
    def backend(self):
        return "a fixture"

    def test_own_fixture(self, backend):
        assert backend == "a fixture"
"""


def test_fixture(tmp_path):
    (tmp_path / "test_mine.py").write_text(TESTS, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-v", "-p", "asrkit.testing.pytest_plugin", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, tmp_path], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    passed = re.findall(r"::(test_\w+(?:\[.*?\])?) PASSED", done.stdout)
    own = ["test_own_parameter[a word]", "test_nothing_asked", "test_own_fixture"]
    assert sorted(passed) == sorted([*own, *(f"test_given[{label}]" for label in installed_backends())])


def test_pytest_starts_without_array_libraries(tmp_path):
    (tmp_path / "test_light.py").write_text("import sys\ndef test(): assert 'numpy' not in sys.modules\n")
    command = [sys.executable, "-m", "pytest", "-p", "asrkit.testing.pytest_plugin", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, tmp_path], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
