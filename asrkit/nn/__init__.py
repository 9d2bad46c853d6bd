"""Layers that exist with their weights or not at all; each takes a view of the weights and is then a pure function."""

from __future__ import annotations

from asrkit.nn.conv import Conv1d, Conv2d, NormedConv1d
from asrkit.nn.linear import Linear, Pointwise
from asrkit.nn.mask import length_mask
from asrkit.nn.norm import LayerNorm

__all__ = ["Conv1d", "Conv2d", "LayerNorm", "Linear", "NormedConv1d", "Pointwise", "length_mask"]
