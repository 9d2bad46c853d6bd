"""Features and encoder output as NeMo 2.4 computes them, before its front end changed in 2.5.

    python older_front_end.py GOLDENS/canary1-agg      (in a virtualenv with nemo_toolkit[asr]==2.4.0)

Writes arrays_2_4.npz and golden_2_4.json next to the model. Only the two modules concerned are used, built
from the archive's own configuration: the whole archive was written by a newer NeMo.
"""

from __future__ import annotations

import json
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import nemo
import numpy as np
import torch
from clips import as_float, load_clips
from nemo.collections.asr.modules import AudioToMelSpectrogramPreprocessor, ConformerEncoder
from observe import fed
from omegaconf import OmegaConf

KEPT = ("c100", "c256", "c337")
WITH_FEATURES = ("c100", "c337")  # the others only the much smaller encoder output


def modules(archive: Path) -> tuple[AudioToMelSpectrogramPreprocessor, ConformerEncoder]:
    """The front end and the encoder of `archive` with its weights."""
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(archive) as members:
            members.extractall(folder, filter="data")
        config = OmegaConf.load(Path(folder) / "model_config.yaml")
        state = torch.load(Path(folder) / "model_weights.ckpt", weights_only=True)
    built = []
    for name, kind in (("preprocessor", AudioToMelSpectrogramPreprocessor), ("encoder", ConformerEncoder)):
        options = {key: value for key, value in config[name].items() if key != "_target_"}
        module = kind(**options).eval()
        own = {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}
        module.load_state_dict(own)
        built.append(module)
    return built[0], built[1]


@torch.inference_mode()
def record(folder: Path) -> None:
    """Run every clip alone and store what comes out."""
    preprocessor, encoder = modules(folder / "model.nemo")
    arrays: dict[str, np.ndarray] = {}
    lengths: dict[str, Any] = {}
    for name, clip in load_clips(folder.parent / "clips.npz").items():
        wave, _ = fed(as_float(clip))
        features, count = preprocessor(input_signal=torch.from_numpy(wave)[None], length=torch.tensor([len(wave)]))
        encoded, valid = encoder(audio_signal=features, length=count)
        lengths[name] = {
            "feature_frames": features.shape[2],
            "feature_length": int(count),
            "encoded_frames": encoded.shape[2],
            "encoded_length": int(valid),
        }
        if name in WITH_FEATURES:
            arrays[f"{name}.features"] = features[0].numpy()
        if name in KEPT:
            arrays[f"{name}.encoder"] = encoded[0].T.numpy()
    np.savez_compressed(folder / "arrays_2_4.npz", **arrays)
    source = {"nemo": nemo.__version__, "torch": torch.__version__}
    text = json.dumps({"variant": folder.name, "source": source, "clips": lengths}, indent=1)
    (folder / "golden_2_4.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    record(Path(sys.argv[1]))
