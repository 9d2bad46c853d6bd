"""Convolutions over channels-last activations."""

from __future__ import annotations

import numpy as np

from asrkit.arrays import Array
from asrkit.weights import Weights

__all__ = ["Conv1d", "Conv2d", "NormedConv1d"]


class Conv1d:
    """Convolution over time, (B, T, C) to (B, T', O).

    Args:
        weights: the scope that holds ``weight`` (O, C/groups, K) and perhaps ``bias``.
        padding: zeros before and after.
        groups: 1, or C for a depthwise kernel.
    """

    def __init__(
        self, weights: Weights, *, stride: int = 1, padding: tuple[int, int] = (0, 0), groups: int = 1
    ) -> None:
        self.ops = weights.ops
        self.stride, self.padding, self.groups = stride, padding, groups
        self.weight = weights.kernel("weight", shape=(None, None, None))
        self.bias = weights.optional_vector("bias")

    def __call__(self, x: Array) -> Array:
        """Convolve."""
        return self.ops.conv1d(x, self.weight, self.bias, stride=self.stride, padding=self.padding, groups=self.groups)


class NormedConv1d(Conv1d):
    """Depthwise convolution over time with the batch norm after it folded into kernel and bias, (B, T, D) to the same.

    Args:
        weights: the scope that holds both.
        conv: scope of the convolution, kernel (D, 1, K) with K odd; the output is as long as the input.
        norm: scope of the batch norm: ``weight``, ``bias``, ``running_mean``, ``running_var``.
        size: D.
    """

    def __init__(self, weights: Weights, conv: str, norm: str, size: int, eps: float = 1e-5) -> None:
        self.ops = weights.ops
        kernel = (weights / conv).host("weight", shape=(size, 1, None)).astype(np.float64)
        bias: np.ndarray | float = 0.0
        if "bias" in weights / conv:
            bias = (weights / conv).host("bias", shape=(size,))
        statistics = {
            name: (weights / norm).host(name, shape=(size,)).astype(np.float64)
            for name in ("weight", "bias", "running_mean", "running_var")
        }
        (weights / norm).ignore(["num_batches_tracked"])  # a training counter
        scale = statistics["weight"] / np.sqrt(statistics["running_var"] + eps)
        shift = (bias - statistics["running_mean"]) * scale + statistics["bias"]
        # Folded in double precision on the host: in half precision it would damage the weights.
        self.weight = weights.constant("kernel", kernel * scale[:, None, None])
        self.bias = weights.constant("vector", shift)
        reach = kernel.shape[-1] // 2
        self.stride, self.padding, self.groups = 1, (reach, kernel.shape[-1] - 1 - reach), size


class Conv2d:
    """Convolution over an image, (B, H, W, C) to (B, H', W', O); arguments as for :class:`Conv1d`."""

    def __init__(
        self, weights: Weights, *, stride: tuple[int, int] = (1, 1), padding: int = 0, groups: int = 1
    ) -> None:
        self.ops = weights.ops
        self.stride, self.groups = stride, groups
        self.padding = ((padding, padding), (padding, padding))
        self.weight = weights.kernel("weight", shape=(None, None, None, None))
        self.bias = weights.optional_vector("bias")

    def __call__(self, x: Array) -> Array:
        """Convolve."""
        return self.ops.conv2d(x, self.weight, self.bias, stride=self.stride, padding=self.padding, groups=self.groups)
