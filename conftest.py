"""What holds for the tests of every distribution in this repository."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither read nor fill the cache of whoever runs them."""
    before = os.environ.get("ASRKIT_CACHE")
    os.environ["ASRKIT_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["ASRKIT_CACHE"]
    else:
        os.environ["ASRKIT_CACHE"] = before
