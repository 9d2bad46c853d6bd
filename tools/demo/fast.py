"""What makes training on a few processor cores bearable; none of it changes what the model computes.

The other half is the environment in which `train.sh` starts training.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class PooledDropout(nn.Module):
    """Dropout whose masks are cut out of one pool of random numbers: drawing them anew costs a sixth of a step."""

    _pools: dict[float, torch.Tensor] = {}

    def __init__(self, share: float, size: int = 1 << 24) -> None:
        super().__init__()
        self.share = share
        self.size = size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Zero a share of the values and scale the others up, in training."""
        if not self.training or self.share == 0.0:
            return x
        count = x.numel()
        pool = self._pool()
        if count > len(pool):
            return functional.dropout(x, self.share)
        start = int(torch.randint(len(pool) - count + 1, ()))
        return x * pool[start : start + count].view(x.shape).to(x.dtype)

    def _pool(self) -> torch.Tensor:
        if self.share not in self._pools:
            kept = torch.rand(self.size) >= self.share
            self._pools[self.share] = kept.to(torch.bfloat16) / (1 - self.share)
        return self._pools[self.share]


class Subsampling(nn.Module):
    """NeMo's dw_striding subsampling with narrow masks and channels last; holds NeMo's own layers."""

    def __init__(self, original: nn.Module) -> None:
        super().__init__()
        self.conv = original.conv
        self.out = original.out

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """As `ConvSubsampling.forward`: (batch, frames, bins), zero behind the clips' ends, and lengths."""
        first, _, *blocks = self.conv
        with torch.autocast("cpu", enabled=False):
            lengths = _halved(lengths)
            x = _First.apply(x.float(), first.weight, first.bias, _valid(x.shape[1] + 1, lengths))
            for depthwise, pointwise in zip(blocks[0::3], blocks[1::3], strict=True):
                lengths = _halved(lengths)
                x = depthwise(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    x = functional.linear(x, pointwise.weight[:, :, 0, 0], pointwise.bias)
                x = functional.relu(x.float() * _valid(2 * x.shape[1], lengths))
        return self.out(x.transpose(2, 3).flatten(2)), lengths


class _First(torch.autograd.Function):
    """The convolution from one channel, as a product, with mask and ReLU: (batch, frames, bins, channels).

    The gradient of torch's own is slow for many shapes; the input needs none.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        valid: torch.Tensor,
    ) -> torch.Tensor:
        """As Conv2d with kernel 3, stride 2 and padding 1."""
        patches = functional.pad(x, (1, 1, 1, 1)).unfold(1, 3, 2).unfold(2, 3, 2)
        shape = patches.shape[:3]
        patches = patches.reshape(-1, 9)
        y = (patches @ weight.view(-1, 9).T).add_(bias).view(*shape, -1)
        y.mul_(valid).relu_()
        ctx.save_for_backward(patches, y)
        return y

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Gradients of weight and bias."""
        patches, y = ctx.saved_tensors
        flat = torch.ops.aten.threshold_backward(gradient, y, 0).reshape(-1, y.shape[-1])
        return None, (patches.T @ flat).T.reshape(-1, 1, 3, 3), flat.sum(0), None


def _halved(lengths: torch.Tensor) -> torch.Tensor:
    return torch.where(lengths > 0, (lengths - 1) // 2 + 1, lengths)


def _valid(double: int, lengths: torch.Tensor) -> torch.Tensor:
    """One up to each clip's end, for (batch, frames, bins, channels) with half as many frames as `double`."""
    return (torch.arange(double // 2)[None] < lengths[:, None])[:, :, None, None].float()


def quicken(model: nn.Module) -> None:
    """Put the fast parts into a NeMo model; the names in its state dict stay the same."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Dropout):
                setattr(module, name, PooledDropout(child.p))
    model.encoder.pre_encode = Subsampling(model.encoder.pre_encode)
