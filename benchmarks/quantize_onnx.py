"""Quantise the graphs of export_onnx.py: int8 weights, activations quantised while running.

    ONNX_ASR_PYTHON quantize_onnx.py FOLDER

Only matrix products are quantised. `quantize_dynamic` can take convolutions and embeddings too; where this was written
that was slower, and the comparison is with the faster of the two.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from onnxruntime.quantization import QuantType, quantize_dynamic


def main() -> None:
    """Write encoder-model.int8.onnx and decoder-model.int8.onnx next to the float32 graphs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    logging.getLogger().setLevel("ERROR")  # a line for every product of two activations, which stays float32
    for name in ("encoder-model", "decoder-model"):
        quantize_dynamic(
            folder / f"{name}.onnx",
            folder / f"{name}.int8.onnx",
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["MatMul"],
        )


if __name__ == "__main__":
    main()
