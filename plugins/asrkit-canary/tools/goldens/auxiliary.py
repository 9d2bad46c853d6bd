"""The auxiliary CTC model inside an archive, as canary-1b-v2 carries one for its time stamps.

NeMo 3.0.0 reads the members `timestamps_asr_model_config.yaml` and `timestamps_asr_model_weights.ckpt` but
has no code that writes them: `save_to` of a model with such a part drops it. So a CTC model is saved by NeMo
on its own and the members of its archive are put, under those names, into the archive of the main model.
"""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import numpy as np
import torch
import vocabularies
from models import Shape, Weights, encoder, preprocessor, randomize
from nemo.collections.asr.models import EncDecCTCModelBPE, EncDecMultiTaskModel
from omegaconf import OmegaConf

PREFIX = "timestamps_asr_"


def add(archive: Path, scratch: Path) -> None:
    """Make a tiny CTC model and put it into `archive`."""
    shape = Shape(mels=64, channels=4, encoder_width=16, encoder_heads=2, encoder_layers=1, use_bias=False)
    folder = vocabularies.plain(scratch / "ctc-vocabulary", 72)
    config = {
        "sample_rate": 16000,
        "log_prediction": False,
        "ctc_reduction": "mean_volume",
        "tokenizer": {"dir": str(folder), "type": "bpe"},
        "preprocessor": preprocessor(shape.mels),
        "encoder": encoder(shape),
        "decoder": {
            "_target_": "nemo.collections.asr.modules.ConvASRDecoder",
            "feat_in": shape.encoder_width,
            "num_classes": -1,
            "vocabulary": [],
        },
        "decoding": {"strategy": "greedy_batch"},
        "optim": {"name": "adamw", "lr": 1e-3},
    }
    model = EncDecCTCModelBPE(OmegaConf.create(config)).eval()
    randomize(model, Weights(seed=3))
    model.save_to(str(scratch / "ctc.nemo"))
    _merge(archive, scratch / "ctc.nemo", scratch / "merge")


@torch.inference_mode()
def log_probabilities(main: EncDecMultiTaskModel, wave: np.ndarray) -> np.ndarray:
    """(frames, vocabulary + 1) log-probabilities of the auxiliary model for one clip, blank last."""
    found, count, _ = main.timestamps_asr_model.eval()(
        input_signal=torch.from_numpy(wave)[None], input_signal_length=torch.tensor([len(wave)])
    )
    return found[0, : int(count)].numpy()


def _merge(archive: Path, other: Path, scratch: Path) -> None:
    for source, prefix in ((archive, ""), (other, PREFIX)):
        folder = scratch / f"from-{source.stem}"
        with tarfile.open(source) as members:
            members.extractall(folder, filter="data")
        for file in sorted(folder.iterdir()):
            # Vocabulary files have a random name, which the configuration refers to: only the model's two are
            # renamed.
            name = prefix + file.name if file.name.startswith("model_") else file.name
            shutil.move(file, scratch / name)
        folder.rmdir()
    with tarfile.open(archive, "w") as members:
        members.add(scratch, arcname="./")
