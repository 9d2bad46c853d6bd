from __future__ import annotations

import numpy as np
import pytest
import soundfile

from asrkit.testing.archives import write_nemo


@pytest.fixture
def model(install, family, tmp_path):
    """The path of a checkpoint of the family, which is also registered as ``speller``."""
    path = write_nemo(tmp_path / "speller.nemo", {"target": "x.Speller"}, {"a": np.zeros(1, np.float32)})
    spec = family.spec("speller", str(path), translations=(("en", "de"),))
    install(fake={"register_models": lambda register: register(spec)})
    return path


@pytest.fixture
def recording(family, tmp_path):
    def recording(text, name=None):
        path = tmp_path / f"{name or text}.wav"
        soundfile.write(path, family.spell(text), family.RATE, subtype="FLOAT")
        return path

    return recording
