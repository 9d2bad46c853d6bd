"""Export a Canary `.nemo` file the way onnx-asr's models of type "nemo-conformer-aed" are laid out.

    NEMO_PYTHON export_onnx.py MODEL.nemo FOLDER

FOLDER gets encoder-model.onnx, decoder-model.onnx, vocab.txt, config.json, and prompt.json with the ids that NeMo puts
before the text. NeMo has no export for these models, so the two graphs are traced from NeMo's own modules by the
exporter that NeMo's `export()` uses for all other models (TorchScript, opset 17).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from nemo.collections.asr.models import EncDecMultiTaskModel
from nemo.core.classes.common import typecheck
from nemo.utils import logging
from worker_nemo import PROMPT

OPSET = 17  # what NeMo's `export()` takes by default
FRAMES = 512  # of the example that is traced


class Encoder(torch.nn.Module):
    """Features to what the decoder attends to."""

    def __init__(self, model: EncDecMultiTaskModel) -> None:
        super().__init__()
        self.encoder, self.projection, self.later = model.encoder, model.encoder_decoder_proj, None
        if model.use_transf_encoder:
            self.later = model.transf_encoder

    def forward(self, audio_signal: torch.Tensor, length: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """States (B, T, width) and which of them are real."""
        encoded, lengths = self.encoder.forward_for_export(audio_signal=audio_signal, length=length)
        states = self.projection(encoded.transpose(1, 2))
        mask = (torch.arange(states.shape[1])[None] < lengths[:, None]).to(torch.int64)
        if self.later is not None:
            states = self.later(encoder_states=states, encoder_mask=mask)
        return states, mask


class Decoder(torch.nn.Module):
    """Tokens to logits. `decoder_mems` are the inputs of all layers so far: NeMo's cache, before keys and values."""

    def __init__(self, model: EncDecMultiTaskModel) -> None:
        super().__init__()
        self.embedding, self.decoder = model.transf_decoder.embedding, model.transf_decoder.decoder
        self.head = model.log_softmax

    def forward(
        self,
        input_ids: torch.Tensor,
        encoder_embeddings: torch.Tensor,
        encoder_mask: torch.Tensor,
        decoder_mems: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities after each new token, and the cache with the new tokens."""
        # A tensor, so that the trace does not keep the example's position.
        start = torch.zeros_like(input_ids[:1, 0]) + decoder_mems.shape[2]
        states = self.embedding(input_ids, start_pos=start)
        hidden, _ = self.decoder(
            states,
            # One new token sees all, the first ones see each other causally: one mask is right for both.
            torch.ones_like(input_ids),
            encoder_embeddings,
            encoder_mask,
            decoder_mems,
            return_mems=True,
            return_mems_as_list=False,
        )
        return self.head(hidden_states=hidden[-1][:, -input_ids.shape[1] :]), hidden


def examples(model: EncDecMultiTaskModel) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
    """Inputs to trace encoder and decoder with; batch and lengths differ from one another and from 1."""
    width = model.transf_decoder.hidden_size
    layers = len(model.transf_decoder.decoder.layers) + 1 + (model.transf_decoder.decoder.final_layer_norm is not None)
    features = torch.randn(2, model.cfg.preprocessor.features, FRAMES)
    mask = torch.ones(2, 64, dtype=torch.int64)
    decoder = (torch.full((2, 5), 5), torch.randn(2, 64, width), mask, torch.randn(layers, 2, 0, width))
    return (features, torch.tensor([FRAMES, FRAMES - 99])), decoder


def write_graphs(model: EncDecMultiTaskModel, folder: Path) -> None:
    """Both graphs, with dynamic batch and lengths."""
    for_encoder, for_decoder = examples(model)
    with typecheck.disable_checks(), torch.inference_mode():
        model.encoder.update_max_seq_length(seq_length=FRAMES * 16, device=torch.device("cpu"))
        torch.onnx.export(
            Encoder(model).eval(),
            for_encoder,
            str(folder / "encoder-model.onnx"),
            input_names=["audio_signal", "length"],
            output_names=["encoder_embeddings", "encoder_mask"],
            dynamic_axes={
                "audio_signal": {0: "batch", 2: "frames"},
                "length": {0: "batch"},
                "encoder_embeddings": {0: "batch", 1: "states"},
                "encoder_mask": {0: "batch", 1: "states"},
            },
            opset_version=OPSET,
            dynamo=False,
        )
        torch.onnx.export(
            Decoder(model).eval(),
            for_decoder,
            str(folder / "decoder-model.onnx"),
            input_names=["input_ids", "encoder_embeddings", "encoder_mask", "decoder_mems"],
            output_names=["logits", "decoder_hidden_states"],
            dynamic_axes={
                "input_ids": {0: "batch", 1: "new"},
                "encoder_embeddings": {0: "batch", 1: "states"},
                "encoder_mask": {0: "batch", 1: "states"},
                "decoder_mems": {1: "batch", 2: "past"},
                "logits": {0: "batch", 1: "new"},
                "decoder_hidden_states": {1: "batch", 2: "all"},
            },
            opset_version=OPSET,
            dynamo=False,
        )


def write_texts(model: EncDecMultiTaskModel, folder: Path) -> None:
    """Vocabulary, configuration and prompt."""
    pieces = model.tokenizer.ids_to_tokens(list(range(model.tokenizer.vocab_size)))
    # onnx-asr reads "PIECE ID" split at the blank; a piece has none, but may have a line break.
    lines = [f"{piece.translate({32: '▁', 10: '▁', 13: '▁'})} {number}\n" for number, piece in enumerate(pieces)]
    (folder / "vocab.txt").write_text("".join(lines), encoding="utf-8")
    config = {
        "model_type": "nemo-conformer-aed",
        "features_size": model.cfg.preprocessor.features,
        "subsampling_factor": model.cfg.encoder.subsampling_factor,
        "max_sequence_length": model.transf_decoder.max_sequence_length,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    prompt = model.prompt.encode_dialog([PROMPT])["context_ids"].tolist()
    (folder / "prompt.json").write_text(json.dumps(prompt) + "\n", encoding="utf-8")


def main() -> None:
    """Export one model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    logging.setLevel("ERROR")
    args.folder.mkdir(parents=True, exist_ok=True)
    model = EncDecMultiTaskModel.restore_from(args.model, map_location="cpu").eval()
    write_texts(model, args.folder)
    write_graphs(model, args.folder)


if __name__ == "__main__":
    main()
