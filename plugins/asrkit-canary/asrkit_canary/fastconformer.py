"""The FastConformer encoder: strided subsampling, then conformer blocks with relative positions.

Source: NeMo 3.0 ``ConformerEncoder`` and "Fast Conformer with Linearly Scalable Attention" (arXiv 2305.05084).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import attrs
import numpy as np

from asrkit.arrays import Array, Encoded, Features, varying
from asrkit.config import Config
from asrkit.nn import Conv2d, LayerNorm, Linear, NormedConv1d, Pointwise, length_mask
from asrkit.ops import Ops
from asrkit.weights import Weights

__all__ = ["FastConformer", "FastConformerConfig", "Positions"]


@attrs.frozen
class FastConformerConfig:
    """Sizes of an encoder, as the ``encoder`` section of a checkpoint gives them."""

    bins: int
    """F, feature bins."""
    layers: int
    width: int
    """D."""
    heads: int
    inner: int
    """Width inside a feed-forward module."""
    stride: int
    """Subsampling factor, a power of two."""
    channels: int
    """Channels of the subsampling convolutions."""
    kernel: int
    """Width of the depthwise convolutions, odd."""
    biased: bool
    """Whether the projections and convolutions of the blocks have biases."""
    scaled: bool
    """Whether subsampled features are multiplied by sqrt(D)."""
    context: tuple[int, int] | None = None
    """States to the left and to the right that a state attends to, -1 for all of a side; None for all."""

    @classmethod
    def read(cls, config: Config, biased: bool = True) -> FastConformerConfig:
        """From the ``encoder`` section; a variant that is not built here is a CheckpointError.

        Args:
            biased: what the tensors say: files without the key ``use_bias`` exist with biases and without.
        """
        config.choice("subsampling", "dw_striding")
        config.choice("self_attention_model", "rel_pos", "rel_pos_local_attn", default="rel_pos")
        config.choice("conv_norm_type", "batch_norm", default="batch_norm")
        config.choice("att_context_style", "regular", default="regular")
        config.choice("causal_downsampling", False, default=False)
        kernel = config.integer("conv_kernel_size", default=31)
        if kernel < 1 or kernel % 2 == 0:
            raise config.error("conv_kernel_size", "an odd number")
        config.choice("conv_context_size", None, [kernel // 2, kernel // 2], default=None)
        config.choice("untie_biases", True, default=True)
        config.choice("global_tokens", 0, default=0)
        config.choice("use_bias", biased, default=biased)
        config.choice("feat_out", -1, config.values.get("d_model"), default=-1)
        config.choice("reduction", None, default=None)
        stride = config.integer("subsampling_factor", default=4)
        if stride < 2 or stride & (stride - 1):
            raise config.error("subsampling_factor", "a power of two from 2 on")
        width = config.integer("d_model")
        channels = config.integer("subsampling_conv_channels", default=-1)
        return cls(
            bins=config.integer("feat_in"),
            layers=config.integer("n_layers"),
            width=width,
            heads=config.divisor("n_heads", width, default=4),
            inner=width * config.integer("ff_expansion_factor", default=4),
            stride=stride,
            channels=width if channels == -1 else channels,
            kernel=kernel,
            biased=biased,
            scaled=config.boolean("xscaling", default=True),
            context=_context(config),
        )


def _context(config: Config) -> tuple[int, int] | None:
    """How far attention reaches: ``att_context_size``, alone or as the only one of a list."""
    given = config.values.get("att_context_size")
    size = given[0] if isinstance(given, list) and len(given) == 1 else given
    if size is None or size == [-1, -1]:
        return None
    if not (isinstance(size, list) and len(size) == 2 and all(type(n) is int and n >= -1 for n in size)):
        raise config.error("att_context_size", "one pair of whole numbers, left and right")
    return size[0], size[1]


FAR = 1 << 30
"""More states than there can be."""

PREPARED = 1024
"""States (82 s for Canary) up to which the projected positions are kept: for more of them they take too much memory."""


@varying(offsets=(None, None, "offsets", None))
class Positions(NamedTuple):
    """What depends on nothing but the number of states."""

    offsets: tuple[Array, ...]
    """Per layer (1, H, 2N, E), for the offsets N-1 ... -N."""


class FastConformer:
    """Features to encoder states, (B, T, F) to (B, S, D) with S = ceil(T / stride).

    Args:
        weights: the scope that holds ``pre_encode`` and ``layers``; the blocks have biases if the first one has.
        config: the ``encoder`` section.

    Raises:
        CheckpointError: the section asks for a variant that is not built here.
    """

    def __init__(self, weights: Weights, config: Config) -> None:
        self._build(weights, FastConformerConfig.read(config, "layers.0.feed_forward1.linear1.bias" in weights))

    def _build(self, weights: Weights, config: FastConformerConfig) -> None:
        self.ops = weights.ops
        self.bins = config.bins
        self.stride = config.stride
        self.width = config.width
        self._dtype = weights.dtype
        self._scale = math.sqrt(config.width) if config.scaled else 1.0
        self._context = config.context
        self.pre_encode = Subsampling(weights / "pre_encode", config)
        self.layers = [ConformerBlock(weights / "layers" / n, config) for n in range(config.layers)]
        # In double precision as far as possible: the error grows with the offset it is multiplied by.
        rates = np.exp(np.arange(0, config.width, 2) * (-math.log(10000.0) / config.width))
        self._rates = weights.backend.asarray(rates.astype(np.float32))

    def prepare(self, frames: int) -> Positions | None:
        """The projected positions for up to ``frames`` states, which depend on nothing else; None for very many.

        Computed at once and not per call: that is a tenth of the encoder's products.
        """
        if frames > PREPARED:
            return None
        table = self.ops.xp.astype(self._positions(frames), self._dtype)
        return Positions(tuple(layer.self_attn.offsets(table) for layer in self.layers))

    def __call__(self, features: Features, context: Positions | None = None) -> Encoded:
        """Encode a batch; the states beyond a row's length mean nothing.

        Args:
            context: what :meth:`prepare` gave for at least as many states.
        """
        xp = self.ops.xp
        x, lengths = self.pre_encode(xp.astype(features.values, self._dtype), features.lengths)
        if self._scale != 1.0:
            x = x * self._scale
        offsets = self._offsets(x.shape[1], context)
        valid = length_mask(self.ops, lengths, x.shape[1])
        visible = valid[:, None, None, :]
        if self._context is not None:
            visible = xp.logical_and(visible, band(self.ops, x.shape[1], *self._context))
        for layer, by_layer in zip(self.layers, offsets, strict=True):
            x = layer(x, by_layer, valid, visible)
        return Encoded(x, lengths)

    def _offsets(self, frames: int, context: Positions | None) -> list[Array]:
        """Projected positions for the offsets T-1 ... -T, per layer (1, H, 2T, E)."""
        if context is None:
            table = self.ops.xp.astype(self._positions(frames), self._dtype)
            return [layer.self_attn.offsets(table) for layer in self.layers]
        first = context.offsets[0].shape[2] // 2 - frames
        return [offsets[:, :, first : first + 2 * frames, :] for offsets in context.offsets]

    def _positions(self, frames: int) -> Array:
        """Rows for the offsets T-1 ... -T: (1, 2T, D), sines in even and cosines in odd columns."""
        xp = self.ops.xp
        offsets = xp.astype((frames - 1) - xp.arange(2 * frames, dtype=xp.int32), xp.float32)
        angles = offsets[:, None] * self._rates[None, :]
        table = xp.stack([xp.sin(angles), xp.cos(angles)], axis=-1)
        return xp.reshape(table, (1, 2 * frames, self.width))


class Subsampling:
    """Strided 3x3 convolutions that halve time and bins until ``stride`` is reached, then a projection."""

    def __init__(self, weights: Weights, config: FastConformerConfig) -> None:
        self.ops = weights.ops
        conv = weights / "conv"
        channels, stages = config.channels, config.stride.bit_length() - 1
        depthwise, pointwise = (channels, 1, 3, 3), (channels, channels, 1, 1)
        self.first = Conv2d(conv / 0, depthwise, stride=(2, 2), padding=1, relu=True)
        # The checkpoint numbers activations too: 0 conv, 1 ReLU, then depthwise, pointwise, ReLU for each stage.
        self.stages = [
            (
                Conv2d(conv / (2 + 3 * n), depthwise, stride=(2, 2), padding=1, groups=channels),
                Conv2d(conv / (3 + 3 * n), pointwise, relu=True),
            )
            for n in range(stages - 1)
        ]
        bins = config.bins
        for _ in range(stages):
            bins = (bins - 1) // 2 + 1
        self.size = channels * bins
        self.out = Linear(weights / "out", self.size, config.width)

    def __call__(self, x: Array, lengths: Array) -> tuple[Array, Array]:
        """(B, T, F) and (B,) to (B, S, D) and (B,); what lies beyond a row's length is
        zeroed before each convolution."""
        xp = self.ops.xp
        valid = length_mask(self.ops, lengths, x.shape[1])
        x = xp.where(valid[:, :, None], x, xp.asarray(0.0, dtype=x.dtype))[..., None]
        lengths, frames = (lengths + 1) // 2, (x.shape[1] + 1) // 2
        x = self.first(x, length_mask(self.ops, lengths, frames))
        for n, (depthwise, pointwise) in enumerate(self.stages):
            lengths, frames = (lengths + 1) // 2, (frames + 1) // 2
            # What no convolution over time follows can stay as it is: nothing reads it.
            last = n == len(self.stages) - 1
            x = pointwise(depthwise(x), None if last else length_mask(self.ops, lengths, frames))
        # Channel-major, bin-minor, as the projection expects it.
        x = xp.permute_dims(x, (0, 1, 3, 2))
        return self.out(xp.reshape(x, (x.shape[0], x.shape[1], self.size))), lengths


class ConformerBlock:
    """Half a feed-forward module, attention, convolution, the other half, norm."""

    def __init__(self, weights: Weights, config: FastConformerConfig) -> None:
        width = config.width
        self.norm_feed_forward1 = LayerNorm(weights / "norm_feed_forward1", width)
        self.feed_forward1 = FeedForward(weights / "feed_forward1", config)
        self.norm_self_att = LayerNorm(weights / "norm_self_att", width)
        self.self_attn = RelativeAttention(weights / "self_attn", config)
        self.norm_conv = LayerNorm(weights / "norm_conv", width)
        self.conv = ConvolutionModule(weights / "conv", config)
        self.norm_feed_forward2 = LayerNorm(weights / "norm_feed_forward2", width)
        self.feed_forward2 = FeedForward(weights / "feed_forward2", config)
        self.norm_out = LayerNorm(weights / "norm_out", width)

    def __call__(self, x: Array, offsets: Array, valid: Array, visible: Array) -> Array:
        """(B, S, D) with projected offsets (1, H, 2S, E), valid (B, S) and visible as attention takes it."""
        x = x + self.feed_forward1(self.norm_feed_forward1(x))
        x = x + self.self_attn(self.norm_self_att(x), offsets, visible)
        x = x + self.conv(self.norm_conv(x), valid)
        x = x + self.feed_forward2(self.norm_feed_forward2(x))
        return self.norm_out(x)


class FeedForward:
    """Half of what two projections with a swish between them give."""

    def __init__(self, weights: Weights, config: FastConformerConfig) -> None:
        self.ops = weights.ops
        self.linear1 = Linear(weights / "linear1", config.width, config.inner, bias=config.biased)
        self.linear2 = Linear(weights / "linear2", config.inner, config.width, bias=config.biased)

    def __call__(self, x: Array) -> Array:
        """(B, S, D) to the same."""
        return self.linear2(self.ops.silu(self.linear1(x)), scale=0.5)


class RelativeAttention:
    """Self-attention whose scores also depend on the offset between query and key (Transformer-XL)."""

    def __init__(self, weights: Weights, config: FastConformerConfig) -> None:
        width, heads = config.width, config.heads
        self.ops = weights.ops
        self.width, self.heads, self.depth = width, heads, width // heads
        self.qkv = Linear(weights, width, width, names=("linear_q", "linear_k", "linear_v"), bias=config.biased)
        # Never in few bits: what is prepared must equal what is computed on the way, and it is prepared only once.
        self.linear_pos = Linear(weights.unquantised() / "linear_pos", width, width, bias=False)
        self.linear_out = Linear(weights / "linear_out", width, width, bias=config.biased)
        self.pos_bias_u = weights.vector("pos_bias_u", shape=(heads, self.depth))
        self.pos_bias_v = weights.vector("pos_bias_v", shape=(heads, self.depth))

    def offsets(self, positions: Array) -> Array:
        """Positions (1, N, D) projected and split: (1, H, N, E)."""
        return self._heads(self.linear_pos(positions))

    def __call__(self, x: Array, offsets: Array, visible: Array) -> Array:
        """(B, S, D) with offsets (1, H, 2S, E) to the same; visible, (B, 1, 1 or S, S) booleans, says which key a query
        attends to."""
        xp, scale = self.ops.xp, 1.0 / math.sqrt(self.depth)
        qkv = self.qkv(x)
        q, k, v = (qkv[..., n * self.width : (n + 1) * self.width] for n in range(3))
        q = xp.reshape(q, (q.shape[0], q.shape[1], self.heads, self.depth))
        by_offset = self.ops.matmul(xp.permute_dims(q + self.pos_bias_v, (0, 2, 1, 3)), xp.matrix_transpose(offsets))
        y = self.ops.attention(
            xp.permute_dims(q + self.pos_bias_u, (0, 2, 1, 3)),
            self._heads(k),
            self._heads(v),
            scale=scale,
            mask=visible,
            bias=shift(self.ops, by_offset * scale),
        )
        y = xp.permute_dims(y, (0, 2, 1, 3))
        return self.linear_out(xp.reshape(y, (y.shape[0], y.shape[1], self.width)))

    def _heads(self, x: Array) -> Array:
        x = self.ops.xp.reshape(x, (x.shape[0], x.shape[1], self.heads, self.depth))
        return self.ops.xp.permute_dims(x, (0, 2, 1, 3))


def shift(ops: Ops, scores: Array) -> Array:
    """Scores by offset to scores by key: (B, H, S, 2S), column m for the offset S-1-m, to (B, H, S, S).

    Row i needs the columns S-1-i ... 2S-2-i. Read from the (S-1)-th number on in rows of 2S-1, one shorter than they
    are, each row begins one place further left than the row above it. The last column is there for that only.
    """
    xp = ops.xp
    batch, heads, frames, columns = scores.shape
    flat = xp.reshape(scores, (batch, heads, frames * columns))
    x = flat[:, :, frames - 1 : frames - 1 + frames * (2 * frames - 1)]
    return xp.reshape(x, (batch, heads, frames, 2 * frames - 1))[..., :frames]


def band(ops: Ops, size: int, left: int, right: int) -> Array:
    """(1, 1, size, size) booleans: which keys lie at most so far to the left and to the right of each query."""
    xp = ops.xp
    places = xp.arange(size, dtype=xp.int32)
    away = places[None, :] - places[:, None]
    inside = xp.logical_and(
        away >= (-left if left >= 0 else -FAR),
        away <= (right if right >= 0 else FAR),
    )
    return inside[None, None, :, :]


class ConvolutionModule:
    """Pointwise convolution with a gate, depthwise convolution with batch norm, swish, pointwise convolution."""

    def __init__(self, weights: Weights, config: FastConformerConfig) -> None:
        width, biased = config.width, config.biased
        self.ops = weights.ops
        self.pointwise_conv1 = Pointwise(weights / "pointwise_conv1", width, 2 * width, bias=biased)
        self.depthwise_conv = NormedConv1d(
            weights, "depthwise_conv", "batch_norm", width, config.kernel // 2, bias=biased
        )
        self.pointwise_conv2 = Pointwise(weights / "pointwise_conv2", width, width, bias=biased)

    def __call__(self, x: Array, valid: Array) -> Array:
        """(B, S, D) to the same; invalid positions count as zero."""
        x = self.ops.glu(self.pointwise_conv1(x))
        x = self.ops.xp.where(valid[:, :, None], x, self.ops.xp.asarray(0.0, dtype=x.dtype))
        return self.pointwise_conv2(self.ops.silu(self.depthwise_conv(x)))
