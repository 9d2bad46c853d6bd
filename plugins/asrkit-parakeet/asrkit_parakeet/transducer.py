"""Prediction network and joint network of a transducer.

Source: NeMo 3.0 ``RNNTDecoder`` and ``RNNTJoint``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from asrkit.arrays import Array, Encoded, varying
from asrkit.config import Config
from asrkit.errors import CheckpointError
from asrkit.nn import Linear
from asrkit.weights import Weights

__all__ = ["LSTM", "State", "Transducer", "read_transducer"]


@varying(hidden=("batch", None), cell=("batch", None))
class State(NamedTuple):
    """What the layers of an LSTM remember: (B, H) each, layer by layer."""

    hidden: tuple[Array, ...]
    cell: tuple[Array, ...]


class LSTM:
    """Layers of an LSTM, one step at a time.

    Args:
        weights: the scope that holds ``weight_ih_l0`` and so on.
        width: H, of the input and of every layer.
        layers: how many there are.
    """

    def __init__(self, weights: Weights, width: int, layers: int) -> None:
        self.ops = weights.ops
        square, gates = (4 * width, width), (4 * width,)
        self.layers = []
        for n in range(layers):
            # Two biases are added to the same sum, so that one will do.
            biases = [weights.host(f"bias_{kind}_l{n}", shape=gates).astype(np.float64) for kind in ("ih", "hh")]
            self.layers.append(
                (
                    weights.matrix(f"weight_ih_l{n}", shape=square),
                    weights.matrix(f"weight_hh_l{n}", shape=square),
                    weights.constant("vector", biases[0] + biases[1]),
                )
            )

    def __call__(self, x: Array, state: State) -> tuple[Array, State]:
        """(B, H) and a state to the last layer's output (B, H) and the new state."""
        hidden, cell = [], []
        for layer, before, remembered in zip(self.layers, state.hidden, state.cell, strict=True):
            x, kept = self.ops.lstm(x, before, remembered, *layer)
            hidden.append(x)
            cell.append(kept)
        return x, State(tuple(hidden), tuple(cell))


class Transducer:
    """A transducer: RNNT, or TDT where there is more than one duration.

    Args:
        weights: the whole checkpoint's; ``decoder.prediction`` and ``joint`` are read.
        width: D of the encoder's states.
        durations: that a token can last; ``(1,)`` for RNNT.
        activation: of the joint network: ``relu``, ``tanh`` or ``sigmoid``.

    Raises:
        CheckpointError: the joint's outputs do not fit the vocabulary of the prediction network.
    """

    def __init__(
        self, weights: Weights, width: int, durations: tuple[int, ...] = (1,), activation: str = "relu"
    ) -> None:
        prediction, joint = weights / "decoder" / "prediction", weights / "joint"
        size, hidden = (prediction / "embed").shape("weight")
        inner = (joint / "enc").shape("weight")[0]
        lstm = prediction / "dec_rnn" / "lstm"
        layers = 0
        while f"weight_ih_l{layers}" in lstm:
            layers += 1
        # Behind the activation stands a dropout in training, which the checkpoint numbers.
        last = next((name for name in ("2", "1") if f"{name}.weight" in joint / "joint_net"), "2")
        outputs = (joint / "joint_net" / last).shape("weight")[0]
        timed = len(durations) if len(durations) > 1 else 0
        if outputs != size + timed:
            raise CheckpointError(
                f"{weights.source}: its joint network has {outputs} outputs, asrkit can run {size + timed}: one for "
                f"each of {size} classes, blank included, and for each of {timed} durations"
            )
        self.ops, self.backend, self.dtype = weights.ops, weights.backend, weights.dtype
        self.size, self.blank = size, size - 1
        self.durations = durations
        self.hidden, self.activation = hidden, activation
        # The row of the blank is zero in a trained model: nothing was said yet.
        self.embed = (prediction / "embed").table("weight", shape=(size, hidden))
        self.lstm = LSTM(lstm, hidden, layers)
        self.pred = Linear(joint / "pred", hidden, inner)
        self.enc = Linear(joint / "enc", width, inner)
        self.out = Linear(joint / "joint_net" / last, inner, outputs)

    def project(self, encoded: Encoded) -> Array:
        """All frames once: (B, S, D) to (B, S, J)."""
        return self.enc(encoded.values)

    def start(self, rows: int) -> State:
        """The state before the first token."""
        xp = self.ops.xp
        empty = tuple(xp.zeros((rows, self.hidden), dtype=self.dtype) for _ in self.lstm.layers)
        return State(empty, tuple(xp.zeros((rows, self.hidden), dtype=self.dtype) for _ in self.lstm.layers))

    def predict(self, state: State, tokens: Array) -> tuple[Array, State]:
        """Tokens (B,) int32 to predictions (B, J), and the new state."""
        said = self.ops.embed(tokens[:, None], self.embed)[:, 0, :]
        x, state = self.lstm(said, state)
        return self.pred(x), state

    def join(self, frames: Array, predicted: Array) -> tuple[Array, Array | None]:
        """Frames and predictions (B, J) to logits (B, V) and, for TDT, logits of the durations (B, N)."""
        x = frames + predicted
        if self.activation == "relu":
            x = self.ops.xp.maximum(x, self.ops.xp.asarray(0.0, dtype=x.dtype))
        else:
            x = self.ops.sigmoid(x) if self.activation == "sigmoid" else self.ops.xp.tanh(x)
        z = self.ops.xp.astype(self.out(x), self.ops.xp.float32)
        return z[:, : self.size], z[:, self.size :] if len(self.durations) > 1 else None


def read_transducer(weights: Weights, config: Config, width: int) -> Transducer:
    """A transducer as a checkpoint describes it.

    Args:
        weights: the whole checkpoint's.
        config: the whole configuration.
        width: D of the encoder's states.

    Raises:
        CheckpointError: something in it is not built here.
    """
    decoder, joint = config.section("decoder", optional=True), config.section("joint", optional=True)
    decoder.choice("blank_as_pad", True, default=True)
    decoder.choice("normalization_mode", None, default=None)
    activation = joint.section("jointnet", optional=True).choice(
        "activation", "relu", "tanh", "sigmoid", default="relu"
    )
    joint.choice("num_extra_outputs", 0, len(_durations(config)), default=0)
    return Transducer(weights, width, _durations(config) or (1,), activation)


def _durations(config: Config) -> tuple[int, ...]:
    """The durations of a TDT; none for RNNT. Several sections may name them, and must agree."""
    found = [
        (section, section.values[key])
        for section, key in (
            (config.section("model_defaults", optional=True), "tdt_durations"),
            (config.section("decoding", optional=True), "durations"),
        )
        if section.values.get(key)
    ]
    if not found:
        return ()
    section, durations = found[0]
    key = "tdt_durations" if section.path == "model_defaults" else "durations"
    if not isinstance(durations, list) or not all(type(one) is int and one >= 0 for one in durations):
        raise section.error(key, "a list of whole numbers from 0 on")
    if len(durations) < 2 or max(durations) == 0 or any(other != durations for _, other in found):
        raise section.error(key, "several durations, the same in 'model_defaults' and 'decoding'")
    return tuple(durations)
