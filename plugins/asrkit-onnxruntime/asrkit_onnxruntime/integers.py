"""Products with matrices in eight and four bits, as nodes.

Activations are rounded row by row to unsigned bytes around a middle: one scale for a whole batch would let a loud
row, or padding, change its neighbours, and signed bytes have no fast kernel on x86.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from asrkit.quantize import BLOCK, Quantized
from asrkit_onnxruntime.array import OrtArray
from asrkit_onnxruntime.graph import IR_VERSION, OPSET, Graph

__all__ = ["eight_bits", "four_bits", "magnitude"]

MICROSOFT = "com.microsoft"


def eight_bits(graph: Graph, x: OrtArray, weight: Quantized) -> str:
    """x (..., I) with a matrix (O, I), without bias: (..., O)."""
    top = magnitude()
    absolute = graph.emit("Abs", [x.name])
    largest = graph.emit("ReduceMax", [absolute, graph.constant(np.array([-1], np.int64))], keepdims=1)
    # A row of zeros has the scale 0, and so the result 0, whatever bytes 0/0 becomes.
    scale = graph.emit("Mul", [largest, graph.constant(np.array(1 / top, np.float32))])
    middle = graph.constant(np.array(top + 1, np.uint8))
    middles = graph.emit("Expand", [middle, graph.shape((*x.shape[:-1], 1))])
    # A block as long as the row: a scale for each row whatever the number of axes.
    whole = graph.emit("QuantizeLinear", [x.name, scale, middles], axis=-1, block_size=weight.shape[1])
    inputs = [whole, graph.constant(weight.values), graph.constant(np.array(1, np.float32))]
    inputs += [graph.constant(weight.scales), middle]
    product = graph.emit("MatMulIntegerToFloat", inputs, domain=MICROSOFT)
    name: str = graph.emit("Mul", [product, scale])
    return name


def four_bits(graph: Graph, x: OrtArray, weight: Quantized) -> str:
    """x (..., I) with a matrix (O, I), without bias: (..., O); x is rounded by blocks of its rows."""
    outputs, inputs = weight.shape
    blocks = weight.values.reshape(outputs, inputs // BLOCK, BLOCK // 2)
    names = [x.name, graph.constant(blocks), graph.constant(weight.scales.reshape(-1))]
    sizes = {"K": inputs, "N": outputs, "bits": 4, "block_size": BLOCK}
    name: str = graph.emit("MatMulNBits", names, domain=MICROSOFT, accuracy_level=4, **sizes)
    return name


@cache
def magnitude() -> int:
    """The largest rounded activation that this processor's products take: 127, or 63 where they saturate.

    x86 without VNNI adds pairs of products in sixteen bits: 2 * 255 * 127 does not fit, 2 * 127 * 127 does. Tried
    here rather than read from a list of processors.
    """
    inputs, outputs = 256, 64
    nodes = [helper.make_node("MatMulInteger", ["a", "b"], ["y"])]
    taken = [helper.make_tensor_value_info("a", TensorProto.UINT8, ["rows", inputs])]
    given = [helper.make_tensor_value_info("y", TensorProto.INT32, ["rows", outputs])]
    matrix = onnx.numpy_helper.from_array(np.full((inputs, outputs), 127, np.int8), "b")
    graph = helper.make_graph(nodes, "saturation", taken, given, [matrix])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    exact = all(
        (session.run(None, {"a": np.full((rows, inputs), 255, np.uint8)})[0] == inputs * 255 * 127).all()
        for rows in (1, 32)
    )
    return 127 if exact else 63
