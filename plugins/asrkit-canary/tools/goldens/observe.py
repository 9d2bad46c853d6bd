"""What NeMo computes for one clip alone, stage by stage: NeMo's batches are not the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from nemo.collections.asr.models import EncDecMultiTaskModel

SHORTEST = 16000  # `transcribe()` centres shorter clips in one second of zeros

# Float32 results may differ by this much from float64 results: the other half of a test's tolerance, and more, is
# left to the program under test.
ENCODER_ROUNDING = 2e-5
LOGITS_ROUNDING = 3e-5


def fed(wave: np.ndarray) -> tuple[np.ndarray, int]:
    """What `transcribe()` gives to the model for `wave`, and the number of zeros in front."""
    missing = max(0, SHORTEST - len(wave))
    left = missing // 2
    return np.pad(wave, (left, missing - left)), left


@torch.inference_mode()
def stages(model: EncDecMultiTaskModel, wave: np.ndarray) -> dict[str, torch.Tensor]:
    """Every intermediate result from the samples to the states that the decoder attends to, batch axis kept.

    `features` (1, mels, frames); `pre_encode`, `encoder`, `projection` and `transf_encoder` (1, T, width).
    """
    model.eval()
    signal = torch.from_numpy(np.ascontiguousarray(wave))[None]
    features, lengths = model.preprocessor(input_signal=signal, length=torch.tensor([len(wave)]))
    return encoded(model, features, lengths)


@torch.inference_mode()
def encoded(model: EncDecMultiTaskModel, features: torch.Tensor, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
    """What `stages` returns, from the features on."""
    kept: dict[str, torch.Tensor] = {"features": features, "feature_length": lengths}
    hook = model.encoder.pre_encode.register_forward_hook(lambda _m, _i, out: kept.update(pre_encode=out[0].clone()))
    outputs, kept["encoded_length"] = model.encoder(audio_signal=features, length=lengths)
    hook.remove()
    kept["encoder"] = outputs.transpose(1, 2)
    if not isinstance(model.encoder_decoder_proj, torch.nn.Identity):
        kept["projection"] = model.encoder_decoder_proj(kept["encoder"])
    _, _, states, mask = model.forward(processed_signal=features, processed_signal_length=lengths)
    if model.use_transf_encoder:
        kept["transf_encoder"] = states
    return kept | {"states": states, "mask": mask}


def rounding(model: EncDecMultiTaskModel, found: dict[str, torch.Tensor], tokens: list[int]) -> dict[str, float]:
    """How far NeMo's float32 results from the features on are from its float64 results.

    The largest difference over all valid frames and over the logits after each of `tokens`.
    """
    scores = logits(model, found, tokens)
    model.double()
    exact = encoded(model, found["features"].double(), found["feature_length"])
    exact_scores = logits(model, exact, tokens)
    model.float()  # exact again: every weight was a float32
    assert exact_scores.dtype == torch.float64
    valid = int(found["encoded_length"])
    worst = {key: (found[key] - exact[key])[:, :valid].abs().max() for key in ("pre_encode", "encoder", "states")}
    worst["logits"] = (scores - exact_scores).abs().max()
    return {key: float(value) for key, value in worst.items()}


@torch.inference_mode()
def logits(model: EncDecMultiTaskModel, found: dict[str, torch.Tensor], tokens: list[int]) -> torch.Tensor:
    """Logits (len(tokens), vocabulary) after each of `tokens`, all fed at once."""
    ids = torch.tensor([tokens])
    hidden = model.transf_decoder(
        input_ids=ids,
        decoder_mask=torch.ones_like(ids),
        encoder_embeddings=found["states"],
        encoder_mask=found["mask"],
    )
    with model.log_softmax.with_log_softmax_enabled(False) as head:
        return head.forward(hidden_states=hidden)[0]


def decoding(strategy: str, delta: int, **beam: Any) -> dict[str, Any]:
    """A decoding configuration for `change_decoding_strategy`."""
    options = {"max_generation_delta": delta}
    return {"strategy": strategy, "greedy": options, "beam": {"beam_size": 1, **options, **beam}}


@torch.inference_mode()
def decode(
    model: EncDecMultiTaskModel, found: dict[str, torch.Tensor], prompt: list[int], choice: dict[str, Any]
) -> dict[str, Any]:
    """Decode with NeMo's search: `generated` as it comes out, `ids` and `text` of the hypothesis."""
    model.change_decoding_strategy(choice)
    inputs = {
        "encoder_hidden_states": found["states"],
        "encoder_input_mask": found["mask"],
        "decoder_input_ids": torch.tensor([prompt]),
    }
    searcher = model.decoding.decoding
    if choice["strategy"] == "greedy":
        whole = searcher.greedy_search(**inputs)[0]
    else:
        whole = searcher.beam_search(**inputs, return_beam_scores=True)[2]
    hypothesis = model.decoding.decode_predictions_tensor(**inputs, return_hypotheses=True)[0]
    model.eval()  # NeMo leaves the decoder in training mode
    if isinstance(hypothesis, list):
        hypothesis = hypothesis[0]
    return {
        "generated": whole[0, len(prompt) :].tolist(),
        "ids": hypothesis.y_sequence.tolist(),
        "text": hypothesis.text,
    }


def margins(scores: torch.Tensor, prompt_length: int, count: int) -> np.ndarray:
    """Difference of the two best logits at each of the `count` generation steps."""
    best = scores[prompt_length - 1 : prompt_length - 1 + count].topk(2).values
    return (best[:, 0] - best[:, 1]).numpy()


def steps(
    model: EncDecMultiTaskModel, found: dict[str, torch.Tensor], prompt: list[int], generated: list[int]
) -> tuple[list[int], np.ndarray]:
    """The best token and its margin at every step that led to `generated`, fed all at once."""
    # The last token of a beam may lie beyond the position table: it is never fed again.
    tokens = (prompt + generated)[: model.transf_decoder.max_sequence_length]
    scores = logits(model, found, tokens)
    best = scores[len(prompt) - 1 :].argmax(dim=1).tolist()
    return best[: len(generated)], margins(scores, len(prompt), len(generated))


def limit(model: EncDecMultiTaskModel, frames: int, delta: int) -> int:
    """NeMo's length limit, prompt included, for an encoder output of `frames` frames (padded ones too)."""
    longest = model.transf_decoder.max_sequence_length
    return longest if delta < 0 else min(longest, frames + delta)
