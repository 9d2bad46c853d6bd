"""Record what NeMo's beams find with the tiny models that are there already, and its confidences of greedy tokens.

    python beams.py GOLDENS_DIR [VARIANT ...]

GOLDENS_DIR/<variant>/ gets beams.json; the README tells what is in it.
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import torch
from nemo.collections.asr.parts.submodules.ctc_batched_beam_decoding import BatchedBeamCTCComputer
from nemo.collections.asr.parts.submodules.rnnt_beam_decoding import BeamBatchedRNNTInfer
from nemo.collections.asr.parts.submodules.tdt_beam_decoding import BeamBatchedTDTInfer
from nemo.utils import logging
from omegaconf import open_dict
from parakeets import CLASSES, DURATIONS, VARIANTS, sounds
from record import clips_of

SETTINGS = {
    "ctc": ({"beam_size": 4, "beam_threshold": 20.0}, {"beam_size": 7, "beam_threshold": 2.0}),
    "transducer": (
        {"beam_size": 4, "max_symbols": 10, "score_norm": True},
        {"beam_size": 6, "max_symbols": 2, "score_norm": False},
    ),
}
"""Options, by the names that asrkit has for them."""


@torch.inference_mode()
def record(name: str, out: Path) -> None:
    """All clips of one model, each alone."""
    kind = VARIANTS[name].kind
    model = CLASSES[kind].restore_from(str(out / name / "model.nemo"), map_location="cpu").eval()
    found: dict[str, Any] = {}
    for head in {"ctc": ["ctc"], "tdt_ctc": ["transducer", "ctc"]}.get(kind, ["transducer"]):
        searches = [search(model, kind, head, dict(options)) for options in SETTINGS[head]]
        greedy = confident(model, kind, head)
        found[head] = {}
        for clip, samples in clips_of(out).items():
            signal = torch.from_numpy(sounds.as_float(samples))[None]
            features, length = model.preprocessor(input_signal=signal, length=torch.tensor([len(samples)]))
            states, count = model.encoder(audio_signal=features, length=length)
            beams = [beam(states, count) for beam in searches]
            found[head][clip] = {"beams": beams, "confidences": [round(one, 7) for one in greedy(states, count)]}
            print(name, head, clip, [[round(each["score"], 4) for each in beam] for beam in beams])
    text = json.dumps(found, separators=(",", ":")).replace('"c', '\n"c')
    (out / name / "beams.json").write_text(text + "\n", encoding="utf-8")


def classifier(model: Any) -> Any:
    """The CTC decoder of a model."""
    return model.ctc_decoder if hasattr(model, "ctc_decoder") else model.decoder


def search(model: Any, kind: str, head: str, options: dict[str, Any]) -> Any:
    """A beam of NeMo's: states and lengths to its hypotheses, the best first."""
    size = model.tokenizer.vocab_size
    if head == "ctc":
        beam = BatchedBeamCTCComputer(blank_index=size, return_best_hypothesis=False, **options)

        def by_frames(states: torch.Tensor, count: torch.Tensor) -> list[dict[str, Any]]:
            scores = classifier(model)(encoder_output=states)[:, : int(count[0])]
            (best,) = beam(scores, count).to_nbest_hyps_list(score_norm=False)
            return [row(one) for one in best.n_best_hypotheses]

        return by_frames
    options["max_symbols_per_step"] = options.pop("max_symbols")
    given = {"decoder_model": model.decoder, "joint_model": model.joint, "blank_index": size, **options}
    given["return_best_hypothesis"] = False
    beam = BeamBatchedRNNTInfer(**given) if kind == "rnnt" else BeamBatchedTDTInfer(durations=DURATIONS, **given)

    def by_steps(states: torch.Tensor, count: torch.Tensor) -> list[dict[str, Any]]:
        ((best,),) = beam(encoder_output=states, encoded_lengths=count)
        return [row(one) for one in best.n_best_hypotheses]

    return by_steps


def row(hypothesis: Any) -> dict[str, Any]:
    """What is kept of a hypothesis."""
    kept = {
        "tokens": [int(token) for token in hypothesis.y_sequence],
        "starts": [int(frame) for frame in hypothesis.timestamp],
        "score": float(hypothesis.score),
    }
    if hypothesis.token_duration is not None and len(hypothesis.token_duration) == len(kept["tokens"]):
        kept["durations"] = [int(length) for length in hypothesis.token_duration]
    return kept


def confident(model: Any, kind: str, head: str) -> Any:
    """NeMo's greedy search with its default confidences: states and lengths to those of the tokens."""
    transducer = head == "transducer"
    section = model.cfg.aux_ctc.decoding if kind == "tdt_ctc" and not transducer else model.cfg.decoding
    changed = copy.deepcopy(section)
    with open_dict(changed):
        changed.confidence_cfg = {"preserve_frame_confidence": True, "preserve_token_confidence": True}
    if kind == "tdt_ctc":
        model.change_decoding_strategy(changed, decoder_type="rnnt" if transducer else "ctc", verbose=False)
    else:
        model.change_decoding_strategy(changed, verbose=False)

    def greedy(states: torch.Tensor, count: torch.Tensor) -> list[float]:
        if transducer:
            found = model.decoding.rnnt_decoder_predictions_tensor(states, count, return_hypotheses=True)
        else:
            decoding = model.ctc_decoding if hasattr(model, "ctc_decoding") else model.decoding
            scores = classifier(model)(encoder_output=states)
            found = decoding.ctc_decoder_predictions_tensor(scores, count, return_hypotheses=True)
        return [float(one) for one in found[0].token_confidence]

    return greedy


if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.setLevel("ERROR")
    for chosen in sys.argv[2:] or VARIANTS:
        record(chosen, Path(sys.argv[1]))
