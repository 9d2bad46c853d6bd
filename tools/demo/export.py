"""A checkpoint of `train.py` as a `.nemo` whose weights are exact in fp16.

python export.py WORK_DIR/c.pt MODEL.nemo --work WORK_DIR
"""

from __future__ import annotations

import argparse
import io
import tarfile
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


def halve(archive: Path) -> None:
    """Store the weights of a `.nemo` in fp16: NeMo and asrkit read the same values, and the file is half as large.

    The front end's mel matrix and window stay as they are, tied tensors stay one, and no times or owners are kept.
    """
    with tarfile.open(archive) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}
    state = torch.load(io.BytesIO(files["./model_weights.ckpt"]), weights_only=True)
    made: dict[int, torch.Tensor] = {}
    for name, tensor in state.items():
        if tensor.is_floating_point() and not name.startswith("preprocessor."):
            state[name] = made.setdefault(tensor.data_ptr(), tensor.half())
    buffer = io.BytesIO()
    torch.save(state, buffer)
    files["./model_weights.ckpt"] = buffer.getvalue()
    with tarfile.open(archive, "w") as tar:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


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
    size = arguments.out.stat().st_size
    halve(arguments.out)
    tensors = {tensor.data_ptr(): tensor.numel() for tensor in model.state_dict().values()}
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{parameters} parameters; {size} bytes as .nemo in fp32")
    print(f"{2 * sum(tensors.values())} bytes of tensors in fp16, {arguments.out.stat().st_size} as .nemo")


if __name__ == "__main__":
    main()
