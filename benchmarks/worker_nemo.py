"""NeMo as a contestant: its modules in float32 on the CPU, and its own greedy search with its own cache."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from nemo.collections.asr.models import EncDecMultiTaskModel
from nemo.utils import logging
from worker import Run, Stopwatch, serve

# English to English with punctuation, everything else off: what asrkit asks for by default.
PROMPT = {
    "role": "user",
    "slots": {
        "source_lang": "en",
        "target_lang": "en",
        "decodercontext": "",
        "emotion": "<|emo:undefined|>",
        "pnc": "yes",
        "itn": "no",
        "timestamp": "no",
        "diarize": "no",
    },
}


def load(path: str, count: int, threads: int) -> tuple[Run, list[int], dict[str, Any]]:
    """The model, and a search that generates exactly `count` tokens."""
    torch.set_num_threads(threads)
    logging.setLevel("ERROR")
    model = EncDecMultiTaskModel.restore_from(path, map_location="cpu").eval()
    prompt = model.prompt.encode_dialog([PROMPT])["context_ids"].tolist()
    model.change_decoding_strategy({"strategy": "greedy", "greedy": {"max_generation_delta": -1}})
    searcher = model.decoding.decoding.greedy_search
    searcher.max_seq_length = len(prompt) + count
    searcher.eos = -1  # no token ends the text
    model.eval()

    @torch.inference_mode()
    def run(wave: np.ndarray, watch: Stopwatch) -> list[int]:
        signal, length = torch.from_numpy(wave)[None], torch.tensor([len(wave)])
        features, frames = model.preprocessor(input_signal=signal, length=length)
        watch.lap("features")
        _, _, states, mask = model.forward(processed_signal=features, processed_signal_length=frames)
        watch.lap("encoder")
        whole = searcher(
            decoder_input_ids=torch.tensor([prompt]), encoder_hidden_states=states, encoder_input_mask=mask
        )[0]
        tokens = whole[0, len(prompt) :].tolist()
        watch.lap("decoder")
        return tokens

    return run, prompt, {"threads": torch.get_num_threads()}


def main() -> None:
    """Serve one model."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("samples")
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    args = parser.parse_args()
    serve(lambda: load(args.model, args.tokens, args.threads), args.samples, ("nemo_toolkit", "torch", "numpy"))


if __name__ == "__main__":
    main()
