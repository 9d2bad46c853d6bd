"""A checkpoint of `train.py` as a `.nemo` whose weights are exact in fp16.

python export.py WORK_DIR/c.pt MODEL.nemo --work WORK_DIR
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from nemo.utils import AppState, logging
from recognize import load


def rounded(tensor: torch.Tensor) -> torch.Tensor:
    """Rounded to fp16 and back; counters stay."""
    if not tensor.is_floating_point():
        return tensor
    if tensor.abs().max() > torch.finfo(torch.float16).max:
        raise ValueError("a weight is too large for fp16")
    return tensor.half().to(tensor.dtype).contiguous()


def main() -> None:
    """Round and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="the vocabulary's place")
    arguments = parser.parse_args()
    logging.setLevel("ERROR")
    model = load(arguments.checkpoint, arguments.work)
    head = model.log_softmax.mlp.layer0
    with torch.no_grad():
        # Every parameter and running statistic; the front end's mel matrix and window are constants of NeMo.
        for name, tensor in model.state_dict().items():
            if not name.startswith("preprocessor."):
                tensor.copy_(rounded(tensor))
    assert head.weight is model.transf_decoder.embedding.token_embedding.weight
    for name, language in model.cfg.tokenizer.langs.items():
        language.dir = name  # NeMo would keep this machine's path
    AppState().model_restore_path = None
    model.save_to(str(arguments.out))
    tensors = {tensor.data_ptr(): tensor.numel() for tensor in model.state_dict().values()}
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{parameters} parameters; {arguments.out.stat().st_size} bytes as .nemo in fp32")
    print(f"{2 * sum(tensors.values())} bytes of tensors in fp16")


if __name__ == "__main__":
    main()
