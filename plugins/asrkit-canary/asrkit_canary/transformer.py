"""The pre-norm Transformer decoder and the optional Transformer encoder of NeMo's multitask models.

Source: NeMo 3.0 ``asr/modules/transformer``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import attrs

from asrkit.arrays import Array, Encoded, varying
from asrkit.config import Config
from asrkit.errors import CheckpointError
from asrkit.nn import LayerNorm, Linear, length_mask
from asrkit.weights import Weights

__all__ = [
    "Memory",
    "Past",
    "TransformerConfig",
    "TransformerDecoder",
    "TransformerEncoder",
    "read_decoder",
]


@attrs.frozen
class TransformerConfig:
    """Sizes of a stack of Transformer blocks."""

    layers: int
    width: int
    """M."""
    heads: int
    inner: int
    max_tokens: int = 0
    """Positions of the decoder's table."""

    @classmethod
    def read(cls, config: Config) -> TransformerConfig:
        """From ``transf_decoder.config_dict`` or ``transf_encoder``; a variant not built here is a CheckpointError."""
        config.choice("hidden_act", "relu", default="relu")
        config.choice("pre_ln", True, default=False)
        config.choice("pre_ln_final_layer_norm", True, default=True)
        config.choice("learn_positional_encodings", False, default=False)
        width = config.integer("hidden_size")
        return cls(
            layers=config.integer("num_layers", default=0),
            width=width,
            heads=config.divisor("num_attention_heads", width, default=1),
            inner=config.integer("inner_size"),
            max_tokens=config.integer("max_sequence_length", default=512),
        )


@varying(keys=("batch", None, "frames", None), values=("batch", None, "frames", None), valid=("batch", "frames"))
class Memory(NamedTuple):
    """What a decoder keeps of an utterance."""

    keys: tuple[Array, ...]
    """Per block (B, H, S, E)."""
    values: tuple[Array, ...]
    """Per block (B, H, S, E)."""
    valid: Array
    """(B, S) booleans."""


@varying(keys=("batch", None, "past", None), values=("batch", None, "past", None), used=("batch",))
class Past(NamedTuple):
    """What a decoder keeps of its own tokens."""

    keys: tuple[Array, ...]
    """Per block (B, H, C, E)."""
    values: tuple[Array, ...]
    """Per block (B, H, C, E)."""
    used: Array
    """(B,) int32, tokens seen so far; the same for all rows."""


def read_decoder(weights: Weights, config: Config, width: int) -> TransformerDecoder:
    """The decoder of a multitask model, with what stands between it and its encoder.

    Args:
        weights: all tensors of the model: head and projection lie beside ``transf_decoder``.
        config: the whole configuration.
        width: D, of the encoder's states.
    """
    sizes = TransformerConfig.read(config.section("transf_decoder").section("config_dict"))
    config.section("head", optional=True).choice("num_layers", 1, default=1)
    projection = None
    if "encoder_decoder_proj" in weights:
        projection = Linear(weights / "encoder_decoder_proj", width, sizes.width)
    elif width != sizes.width:
        raise CheckpointError(
            f"{weights.source}: encoder width {width} and decoder width {sizes.width} differ, but there is no "
            "'encoder_decoder_proj'"
        )
    encoder = None
    between = config.section("transf_encoder", optional=True)
    if between.integer("num_layers", default=0) > 0:
        between.choice("mask_future", False, default=False)
        encoder = TransformerEncoder(weights / "transf_encoder", TransformerConfig.read(between))
    return TransformerDecoder(
        weights / "transf_decoder", weights / "log_softmax" / "mlp" / "layer0", sizes, projection, encoder
    )


class TransformerDecoder:
    """An attention decoder with cached keys and values.

    Args:
        weights: the scope of ``transf_decoder``.
        head: the scope of the output layer, ``weight`` (V, M) and ``bias`` (V,).
        config: sizes.
        projection: encoder width to M, where they differ.
        encoder: a Transformer encoder between the two, where there is one.
    """

    def __init__(
        self,
        weights: Weights,
        head: Weights,
        config: TransformerConfig,
        projection: Linear | None = None,
        encoder: TransformerEncoder | None = None,
    ) -> None:
        self.ops = weights.ops
        self.config = config
        self.max_tokens = config.max_tokens
        self.projection, self.encoder = projection, encoder
        self._dtype = weights.dtype
        embedding = weights / "_embedding"
        self.size = head.shape("weight")[0]
        self.token_embedding = embedding.table("token_embedding.weight", shape=(self.size, config.width))
        self.positions = embedding.vector("position_embedding.pos_enc", shape=(config.max_tokens, config.width))
        embedding.ignore(["token_type_embedding"])  # NeMo does not use it at inference
        self.layer_norm = LayerNorm(embedding / "layer_norm", config.width)
        self.layers = [DecoderBlock(weights / "_decoder" / "layers" / n, config) for n in range(config.layers)]
        self.final_layer_norm = LayerNorm(weights / "_decoder" / "final_layer_norm", config.width)
        self.head = Linear(head, config.width, self.size)

    def memorize(self, encoded: Encoded) -> Memory:
        """Cross-attention keys and values of encoder states (B, S, D)."""
        states, valid = self.between(encoded)
        pairs = [layer.second_sub_layer.keys_and_values(states) for layer in self.layers]
        return Memory(tuple(k for k, _ in pairs), tuple(v for _, v in pairs), valid)

    def between(self, encoded: Encoded) -> tuple[Array, Array]:
        """What is attended to, (B, S, M), and which of it is valid, (B, S)."""
        states = encoded.values if self.projection is None else self.projection(encoded.values)
        valid = length_mask(self.ops, encoded.lengths, states.shape[1])
        return states if self.encoder is None else self.encoder(states, valid), valid

    def start(self, rows: int, room: int) -> Past:
        """An empty past with room for that many tokens."""
        xp, config = self.ops.xp, self.config
        shape = (rows, config.heads, room, config.width // config.heads)
        keys, values = (tuple(xp.zeros(shape, dtype=self._dtype) for _ in self.layers) for _ in ("keys", "values"))
        return Past(keys, values, xp.zeros((rows,), dtype=xp.int32))

    def step(self, memory: Memory, cache: Past, tokens: Array) -> tuple[Array, Past]:
        """Tokens (B, N) to the float32 logits (B, V) of the last one."""
        xp = self.ops.xp
        new = xp.arange(tokens.shape[1], dtype=xp.int32)
        places = cache.used[:, None] + new[None, :]
        x = self.layer_norm(self.ops.embed(tokens, self.token_embedding) + self.ops.embed(places, self.positions))
        keys, values = [], []
        for n, layer in enumerate(self.layers):
            x, k, v = layer(x, (cache.keys[n], cache.values[n], cache.used, places), memory, n)
            keys.append(k)
            values.append(v)
        logits = self.head(self.final_layer_norm(x[:, -1, :]))
        used = cache.used + tokens.shape[1]
        return xp.astype(logits, xp.float32), Past(tuple(keys), tuple(values), used)


class DecoderBlock:
    """Causal self-attention, cross-attention, feed-forward, each behind a norm."""

    def __init__(self, weights: Weights, config: TransformerConfig) -> None:
        width = config.width
        self.ops = weights.ops
        self.layer_norm_1 = LayerNorm(weights / "layer_norm_1", width)
        self.first_sub_layer = SelfAttention(weights / "first_sub_layer", width, config.heads)
        self.layer_norm_2 = LayerNorm(weights / "layer_norm_2", width)
        self.second_sub_layer = CrossAttention(weights / "second_sub_layer", width, config.heads)
        self.layer_norm_3 = LayerNorm(weights / "layer_norm_3", width)
        self.third_sub_layer = FeedForward(weights / "third_sub_layer", width, config.inner)

    def __call__(
        self, x: Array, past: tuple[Array, Array, Array, Array], memory: Memory, n: int
    ) -> tuple[Array, Array, Array]:
        """(B, N, M) to the same, with this block's new cache of keys and values.

        Args:
            past: keys and values (B, H, C, E) of this block, the number used (B,), the places (B, N) of the new tokens.
            memory: of the utterance.
            n: which block this is.
        """
        attended, keys, values = self.first_sub_layer.extend(self.layer_norm_1(x), past)
        x = x + attended
        mask = memory.valid[:, None, None, :]
        x = x + self.second_sub_layer(self.layer_norm_2(x), memory.keys[n], memory.values[n], mask)
        return x + self.third_sub_layer(self.layer_norm_3(x)), keys, values


class _Heads:
    """What both kinds of attention share: splitting into heads and joining them again."""

    def __init__(self, weights: Weights, width: int, heads: int) -> None:
        self.ops = weights.ops
        self.width, self.heads, self.depth = width, heads, width // heads
        self.out_projection = Linear(weights / "out_projection", width, width)

    def split(self, x: Array) -> Array:
        """(B, N, M) to (B, H, N, E)."""
        xp = self.ops.xp
        return xp.permute_dims(xp.reshape(x, (x.shape[0], x.shape[1], self.heads, self.depth)), (0, 2, 1, 3))

    def attend(self, q: Array, k: Array, v: Array, mask: Array) -> Array:
        """Heads to the projected result (B, N, M)."""
        y = self.ops.attention(q, k, v, scale=1.0 / math.sqrt(self.depth), mask=mask)
        y = self.ops.xp.permute_dims(y, (0, 2, 1, 3))
        return self.out_projection(self.ops.xp.reshape(y, (y.shape[0], y.shape[1], self.width)))


class SelfAttention(_Heads):
    """Attention among tokens (decoder) or frames (encoder)."""

    def __init__(self, weights: Weights, width: int, heads: int) -> None:
        super().__init__(weights, width, heads)
        self.qkv = Linear(weights, width, width, names=("query_net", "key_net", "value_net"))

    def __call__(self, x: Array, mask: Array) -> Array:
        """(B, N, M) to the same, under a mask (B, 1, 1 or N, N)."""
        return self.attend(*self._project(x), mask)

    def extend(self, x: Array, past: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array]:
        """Causal attention to the past and the new tokens; see :class:`DecoderBlock`."""
        xp = self.ops.xp
        q, k, v = self._project(x)
        keys, values, used, places = past
        keys, all_keys = self.ops.extend(keys, k, used)
        values, all_values = self.ops.extend(values, v, used)
        slots = xp.arange(all_keys.shape[2], dtype=xp.int32)[None, None, None, :]
        mask = slots <= places[:, None, :, None]
        return self.attend(q, all_keys, all_values, mask), keys, values

    def _project(self, x: Array) -> tuple[Array, Array, Array]:
        qkv = self.qkv(x)
        q, k, v = (self.split(qkv[..., n * self.width : (n + 1) * self.width]) for n in range(3))
        return q, k, v


class CrossAttention(_Heads):
    """Attention from tokens to encoder states, whose keys and values are made once."""

    def __init__(self, weights: Weights, width: int, heads: int) -> None:
        super().__init__(weights, width, heads)
        self.query_net = Linear(weights / "query_net", width, width)
        self.kv = Linear(weights, width, width, names=("key_net", "value_net"))

    def keys_and_values(self, states: Array) -> tuple[Array, Array]:
        """(B, S, M) to (B, H, S, E) each."""
        kv = self.kv(states)
        return self.split(kv[..., : self.width]), self.split(kv[..., self.width :])

    def __call__(self, x: Array, keys: Array, values: Array, mask: Array) -> Array:
        """(B, N, M) to the same."""
        return self.attend(self.split(self.query_net(x)), keys, values, mask)


class FeedForward:
    """Two projections with a ReLU between them."""

    def __init__(self, weights: Weights, width: int, inner: int) -> None:
        self.ops = weights.ops
        self.dense_in = Linear(weights / "dense_in", width, inner)
        self.dense_out = Linear(weights / "dense_out", inner, width)

    def __call__(self, x: Array) -> Array:
        """(B, N, M) to the same."""
        return self.dense_out(self.ops.xp.maximum(self.dense_in(x), 0.0))


class TransformerEncoder:
    """Pre-norm Transformer blocks over encoder states, without positions of their own."""

    def __init__(self, weights: Weights, config: TransformerConfig) -> None:
        self.layers = [EncoderBlock(weights / "layers" / n, config) for n in range(config.layers)]
        self.final_layer_norm = LayerNorm(weights / "final_layer_norm", config.width)

    def __call__(self, x: Array, valid: Array) -> Array:
        """(B, S, M) with valid (B, S) to the same."""
        for layer in self.layers:
            x = layer(x, valid[:, None, None, :])
        return self.final_layer_norm(x)


class EncoderBlock:
    """Self-attention and feed-forward, each behind a norm."""

    def __init__(self, weights: Weights, config: TransformerConfig) -> None:
        self.layer_norm_1 = LayerNorm(weights / "layer_norm_1", config.width)
        self.first_sub_layer = SelfAttention(weights / "first_sub_layer", config.width, config.heads)
        self.layer_norm_2 = LayerNorm(weights / "layer_norm_2", config.width)
        self.second_sub_layer = FeedForward(weights / "second_sub_layer", config.width, config.inner)

    def __call__(self, x: Array, mask: Array) -> Array:
        """(B, S, M) to the same."""
        x = x + self.first_sub_layer(self.layer_norm_1(x), mask)
        return x + self.second_sub_layer(self.layer_norm_2(x))
