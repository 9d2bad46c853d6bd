"""Convolutions over channels-last activations."""

from __future__ import annotations

import numpy as np

from asrkit.arrays import Array
from asrkit.weights import Weights

__all__ = ["Conv1d", "Conv2d", "NormedConv1d"]


class Conv1d:
    """Convolution over time, (B, T, C) to (B, T', O).

    Args:
        weights: the scope that holds ``weight`` and ``bias``.
        shape: of the kernel, (O, C/groups, K).
        stride: steps in time.
        padding: zeros before and after.
        groups: 1, or C for a depthwise kernel.
        bias: whether there is one.
    """

    def __init__(
        self,
        weights: Weights,
        shape: tuple[int, int, int],
        *,
        stride: int = 1,
        padding: tuple[int, int] = (0, 0),
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        self.ops = weights.ops
        self.stride, self.padding, self.groups = stride, padding, groups
        self.weight = weights.kernel("weight", shape=shape)
        self.bias = weights.vector("bias", shape=shape[:1]) if bias else None

    def __call__(self, x: Array) -> Array:
        """Convolve."""
        return self.ops.conv1d(x, self.weight, self.bias, stride=self.stride, padding=self.padding, groups=self.groups)


class NormedConv1d(Conv1d):
    """Depthwise convolution over time with the batch norm after it folded into kernel and bias, (B, T, D) to the same.

    Args:
        weights: the scope that holds both.
        conv: scope of the convolution, kernel (D, 1, K).
        norm: scope of the batch norm: ``weight``, ``bias``, ``running_mean``, ``running_var``.
        size: D.
        reach: frames to each side; K is 2 * reach + 1.
        bias: whether the convolution has one.
    """

    def __init__(
        self, weights: Weights, conv: str, norm: str, size: int, reach: int, *, bias: bool = True, eps: float = 1e-5
    ) -> None:
        self.ops = weights.ops
        kernel = (weights / conv).host("weight", shape=(size, 1, 2 * reach + 1)).astype(np.float64)
        offset = (weights / conv).host("bias", shape=(size,)) if bias else np.zeros(size)
        statistics = {
            name: (weights / norm).host(name, shape=(size,)).astype(np.float64)
            for name in ("weight", "bias", "running_mean", "running_var")
        }
        (weights / norm).ignore(["num_batches_tracked"])  # a training counter
        scale = statistics["weight"] / np.sqrt(statistics["running_var"] + eps)
        shift = (offset - statistics["running_mean"]) * scale + statistics["bias"]
        # Folded in double precision on the host: in half precision it would damage the weights.
        self.weight = weights.constant("kernel", kernel * scale[:, None, None])
        self.bias = weights.constant("vector", shift)
        self.stride, self.padding, self.groups = 1, (reach, reach), size


class Conv2d:
    """Convolution over an image, (B, H, W, C) to (B, H', W', O); arguments as for :class:`Conv1d`.

    Args:
        relu: whether a ReLU follows.
    """

    def __init__(
        self,
        weights: Weights,
        shape: tuple[int, int, int, int],
        *,
        stride: tuple[int, int] = (1, 1),
        padding: int = 0,
        groups: int = 1,
        bias: bool = True,
        relu: bool = False,
    ) -> None:
        self.ops = weights.ops
        self.relu = relu
        self.stride, self.groups = stride, groups
        self.padding = ((padding, padding), (padding, padding))
        self.weight = weights.kernel("weight", shape=shape)
        self.bias = weights.vector("bias", shape=shape[:1]) if bias else None

    def __call__(self, x: Array, valid: Array | None = None) -> Array:
        """Convolve; rows of the result that are not ``valid`` (B, H') become zero."""
        return self.ops.conv2d(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            groups=self.groups,
            relu=self.relu,
            valid=valid,
        )
