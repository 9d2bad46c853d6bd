"""What holds for the tests of every distribution in this repository."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

# Read when huggingface_hub is imported. Tests ask no hub but their own, and see nobody's cache.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HOME"] = str(Path(__file__).parent / ".no-hub-cache")


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither read nor fill the cache of whoever runs them, and know nothing of their standing wishes."""
    before = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("ASRKIT_")}
    os.environ["ASRKIT_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    if "ASRKIT_PLUGINS" in before:
        os.environ["ASRKIT_PLUGINS"] = before["ASRKIT_PLUGINS"]
    yield
    for name in [name for name in os.environ if name.startswith("ASRKIT_")]:
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(autouse=True, scope="session")
def _own_signals() -> Iterator[None]:
    """Tests are interrupted as from a terminal, also where they run in the background and Ctrl-C is ignored."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
