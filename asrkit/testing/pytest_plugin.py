"""The pytest plugin: a fixture ``backend``, with which a test runs once on every backend that can run here."""

from __future__ import annotations

import functools
from typing import Any

import pytest

__all__ = ["backend", "pytest_generate_tests"]

CHOICE = "_asrkit_backend"
"""Asked for by the fixture below and by nothing else: where a test has a ``backend`` of its own, it is not here."""


@functools.cache
def _backends() -> dict[str, Any]:
    # Not imported before a test asks: this module is loaded wherever asrkit is installed and pytest runs.
    from asrkit.testing.where import installed_backends

    return installed_backends()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a backend, where the fixture is asked for."""
    if CHOICE in metafunc.fixturenames:
        metafunc.parametrize(CHOICE, tuple(_backends()), indirect=True, scope="session")


@pytest.fixture(scope="session", name=CHOICE)
def _choice(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def backend(_asrkit_backend: str) -> Any:
    """A backend: the strict one, each registered one that can run here, and MLX once more with compilation forced."""
    return _backends()[_asrkit_backend]
