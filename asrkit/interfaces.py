"""The parts of a recogniser, as Protocols: there is no base class to inherit.

Axis letters: B rows, T feature frames, F feature bins, S encoder frames, D width, H heads, E head width, V vocabulary,
N tokens. Encoders and decoders are graph world (see ``asrkit.arrays``); everything else is plain Python and NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias, TypeVar, runtime_checkable

import attrs

from asrkit.arrays import Array, Encoded, Features
from asrkit.ops import Ops
from asrkit.values import Clip, Clock, Heard, Hypothesis, Passage, Request, Word

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np  # for annotations only: listing plugins must not import an array library

    from asrkit.quantize import Quantized

__all__ = [
    "Aligner",
    "AttentionDecoder",
    "Backend",
    "CTCDecoder",
    "Capabilities",
    "Checkpoint",
    "Decode",
    "Dialect",
    "Encoder",
    "Frontend",
    "PreparedEncoder",
    "Segmenter",
    "Strategy",
    "Tokenizer",
    "TransducerDecoder",
]

Fn = TypeVar("Fn", bound=Callable[..., Any])
Cache: TypeAlias = Any
Memory: TypeAlias = Any
State: TypeAlias = Any


@attrs.frozen
class Capabilities:
    """What a backend can do here."""

    device: str
    """Where it computes, such as ``cpu`` or ``gpu``."""
    precisions: tuple[str, ...]
    """Accepted values of ``precision``, the default first."""
    rank: int = 0
    """How much it recommends itself here: ``auto`` takes the highest. numpy has 0."""
    reason: str = ""
    """Why it has that rank, in a few words."""
    ahead: bool = False
    """Work runs asynchronously, so a strategy should issue one step before it reads the last."""
    versions: tuple[tuple[str, str], ...] = ()
    """(name, version) of the libraries it computes with."""
    notes: tuple[str, ...] = ()
    """What a user should know before choosing it here."""


class Backend(Protocol):
    """Where arrays live and graph code runs."""

    name: str
    xp: Any
    """Namespace with exactly ``asrkit.arrays.SUBSET`` and the dtypes. Its creation functions also work outside
    ``compile``, with sizes that are plain numbers: a cache is made there."""
    ops: Ops
    capabilities: Capabilities

    def asarray(self, values: np.ndarray) -> Array:
        """Move a host array over; integers become int32, floats float32, booleans stay."""
        ...

    def to_host(self, tree: Any) -> Any:
        """A tree with NumPy arrays in place of device arrays: int64, float32 or bool. Waits for the results."""
        ...

    def weight(self, role: str, precision: str, *tensors: np.ndarray | Quantized) -> Array:
        """Lay out one weight for this backend; the result is a handle for its ops.

        Args:
            role: ``matrix`` (O, I) for ``linear``, ``table`` (V, D) for ``embed``, ``kernel`` for convolutions,
                ``vector`` for everything of one axis and small constants, which graph code may use directly.
            precision: one of the capabilities' precisions.
            tensors: several are joined along their first axis. In ``int8`` and ``int4`` a matrix comes as
                ``asrkit.quantize.Quantized``: a backend without integer products widens it and computes with the
                same values. What it rounds of the activations it must round row by row, so that no row of a batch
                changes another.
        """
        ...

    def layout(self, role: str, precision: str) -> str:
        """The role whose layout a weight gets: ``matrix`` for a ``table`` too where both look alike, so that tied
        tensors are stored once."""
        ...

    def dtype(self, precision: str) -> Any:
        """The dtype activations have in this precision."""
        ...

    def compile(self, fn: Fn) -> Fn:
        """The only door into the graph world: ``fn`` over trees of arrays, ready to be called many times."""
        ...

    def bucket(self, axis: str, size: int) -> int:
        """The size to pad a varying axis ("batch", "time") to, so that few shapes are compiled.

        For "past" it is the room a cache starts with: a backend whose caches grow gives 0.
        """
        ...

    def dispatch(self, tree: Any) -> None:
        """Begin to compute a tree without waiting for it."""
        ...

    def release(self) -> None:
        """Give back what was held only for speed, after a request."""
        ...


class Frontend(Protocol):
    """Waveforms to features."""

    rate: int
    """Sample rate in Hz that it takes."""
    hop: float
    """Seconds per feature frame."""

    def __call__(self, waveforms: Sequence[np.ndarray]) -> Features:
        """Features of mono float32 waveforms (S,); each row is what that waveform alone would give."""
        ...

    def frames(self, samples: int) -> int:
        """Width T of the features of one waveform of that many samples, alone."""
        ...

    def lead(self, samples: int) -> int:
        """How many samples of silence it puts before such a waveform."""
        ...


class Encoder(Protocol):
    """Features to states."""

    stride: int
    """Feature frames per encoder frame."""

    def __call__(self, features: Features) -> Encoded:
        """Encode a batch. A row alone equals the same row in any batch, up to its length."""
        ...


@runtime_checkable
class PreparedEncoder(Protocol):
    """An encoder with something that depends only on how many states there are, and is computed once."""

    stride: int

    def prepare(self, frames: int) -> Any:
        """A tree for up to ``frames`` states, or None if it would be too large to keep."""
        ...

    def __call__(self, features: Features, context: Any = None) -> Encoded:
        """As :class:`Encoder`, with the same result whether it is given a prepared tree or None."""
        ...


@runtime_checkable
class CTCDecoder(Protocol):
    """A frame-by-frame classifier."""

    size: int
    """V, the number of classes, the blank among them."""
    blank: int

    def __call__(self, encoded: Encoded) -> Array:
        """(B, S, V) log-probabilities."""
        ...


@runtime_checkable
class AttentionDecoder(Protocol):
    """A decoder that attends to the encoder's states and to its own past."""

    size: int
    """V, the number of classes."""
    max_tokens: int
    """Positions it has, prompt included."""

    def memorize(self, encoded: Encoded) -> Memory:
        """What is computed once per utterance: cross-attention keys and values. Rows on axis 0."""
        ...

    def start(self, rows: int, room: int) -> Cache:
        """An empty self-attention cache with room for that many positions. Rows on axis 0."""
        ...

    def step(self, memory: Memory, cache: Cache, tokens: Array) -> tuple[Array, Cache]:
        """Take tokens (B, N) int32; give the float32 logits (B, V) of the last one, and the new cache.

        The cache passed in is used up: a backend may have written into it.
        """
        ...


@runtime_checkable
class TransducerDecoder(Protocol):
    """A prediction network and a joint network (RNNT; TDT with more than one duration)."""

    size: int
    """V, the number of tokens with the blank."""
    blank: int
    durations: tuple[int, ...]
    """(1,) is RNNT."""

    def project(self, encoded: Encoded) -> Array:
        """All frames once: (B, S, J)."""
        ...

    def start(self, rows: int) -> State:
        """The state before the first token. Rows on axis 0."""
        ...

    def predict(self, state: State, tokens: Array) -> tuple[Array, State]:
        """Tokens (B,) int32 to predictions (B, J), and the new state."""
        ...

    def join(self, frames: Array, predicted: Array) -> tuple[Array, Array | None]:
        """Frames (B, J) and predictions (B, J) to token scores (B, V) and, for TDT, duration scores."""
        ...


Decode: TypeAlias = Callable[[Encoded, Sequence[Request]], list[list[Hypothesis]]]
"""Encoded rows (at least as many as requests) to the n best hypotheses of each request, best first."""


class Strategy(Protocol):
    """A search over one family of decoders. Its options are its attrs fields."""

    decodes: type
    """The Protocol of the decoders it drives."""

    def bind(self, decoder: Any, backend: Backend) -> Decode:
        """Compile what is needed and return the search itself."""
        ...


class Tokenizer(Protocol):
    """Text to ids and back."""

    size: int
    languages: tuple[str, ...]
    """Languages it was made for, or has tokens for; empty if it does not say."""

    def encode(self, text: str, language: str | None = None) -> tuple[int, ...]:
        """Ids of a text; ``language`` picks a sub-tokenizer where there are several."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, special tokens included."""
        ...

    def piece(self, id: int) -> str:
        """The piece of an id."""
        ...

    def token(self, piece: str) -> int | None:
        """The id of a special token, or None. Ordinary pieces are never looked up by their text."""
        ...


class Dialect(Protocol):
    """How a family is asked, and how its answers are read."""

    languages: tuple[str, ...]
    """Languages the model knows."""
    Options: ClassVar[type]
    """An attrs class: what a user may ask, with defaults. Fields ``language``, ``target_language`` and ``task``
    are shown in results where they exist."""

    def resolve(self, wishes: Mapping[str, Any]) -> tuple[Any, tuple[Any, ...]]:
        """Options from what a user asked, with notices about what was assumed.

        Raises:
            OptionError: a value the model does not have, or wishes that contradict each other.
        """
        ...

    def prompt(self, options: Any, previous: Sequence[int] = ()) -> tuple[int, ...]:
        """Prompt ids; ``previous`` are ids of the text before."""
        ...

    def request(self, options: Any, frames: int, previous: Sequence[int] = ()) -> Request:
        """The request for a clip whose encoding has, alone, that many frames."""
        ...

    def read(self, hypothesis: Hypothesis, clock: Clock, options: Any) -> Passage:
        """Text and times of a hypothesis."""
        ...

    def timed(self, options: Any) -> Any:
        """Options for an answer that tells when each word is spoken; the same ones if every answer tells, or if the
        model's aligner does.

        Raises:
            OptionError: the model does not know, or not with these options.
        """
        ...

    def wordless(self, options: Any) -> frozenset[int]:
        """Token ids that no text begins with, such as the one that ends it; what may not come first where somebody
        surely speaks. Empty if the strategies of the family cannot leave a token out."""
        ...


class Aligner(Protocol):
    """Tells when the words of a text are spoken."""

    def __call__(self, waveforms: Sequence[np.ndarray], texts: Sequence[str]) -> Sequence[Sequence[Word]]:
        """The words of each text, in order, with times in seconds from the start of its waveform, inside it.

        Args:
            waveforms: (S,) float32 mono, at the rate of the model's frontend.
            texts: what is said in each.

        Returns:
            A row for each text. A word that cannot be placed is left out, and so are all if none can.
        """
        ...


class Segmenter(Protocol):
    """Cuts a recording into clips. Its options are its attrs fields."""

    @property
    def listens(self) -> bool:
        """Whether its clips tell where somebody speaks."""
        ...

    def split(self, blocks: Iterable[np.ndarray], rate: int, longest: float) -> Iterable[Clip]:
        """Clips of a recording, in order, each as soon as it is certain.

        Args:
            blocks: (S,) float32 mono, one after another; to be read as they are needed.
            rate: Hz.
            longest: seconds up to which the model was trained; may be infinite.
        """
        ...

    def part(self, left: Heard, right: Heard) -> tuple[Heard, Heard]:
        """Two neighbouring clips, each with what it alone contributes, where both have heard the same.

        ``left`` has been parted from the clip before it. Clips come without their samples.
        """
        ...


class Checkpoint(Protocol):
    """A model file or folder: data only, nothing in it is executed."""

    path: Path
    config: Mapping[str, Any]

    def tensors(self) -> Mapping[str, np.ndarray | Quantized]:
        """Named tensors, memory-mapped where their format allows it, read when asked for; matrices in few bits come
        as ``asrkit.quantize.Quantized``, and then the checkpoint has an attribute ``precision``."""
        ...

    def files(self) -> tuple[str, ...]:
        """Names of the other files in it."""
        ...

    def file(self, name: str) -> bytes:
        """The content of one of them."""
        ...
