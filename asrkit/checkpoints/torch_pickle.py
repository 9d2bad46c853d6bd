"""Reads the ``data.pkl`` of a ``torch.save`` file with an interpreter that can only describe tensors.

Unpickling runs whatever a file names. This is not an unpickler: it knows two dozen opcodes, nine kinds of
value, and three functions which it performs itself; nothing is imported, looked up, called or given
attributes. Every other opcode or global is a named error. Only strings and numbers are ever compared, hashed
or printed, and nothing is walked, so structures that explode when they are stay harmless.

Source: the opcode descriptions of the standard library's ``pickletools``; ``torch/_utils.py``,
``_rebuild_tensor_v2`` and ``_rebuild_parameter``; ``torch/serialization.py``, ``persistent_id`` in ``_save``.
"""

from __future__ import annotations

import pickletools
from collections.abc import Mapping
from types import MappingProxyType

import attrs

from asrkit.errors import CheckpointError

__all__ = ["STORAGES", "Storage", "TensorRecord", "read_state"]

STORAGES: Mapping[str, str] = MappingProxyType(
    {
        "torch.DoubleStorage": "F64",
        "torch.FloatStorage": "F32",
        "torch.HalfStorage": "F16",
        "torch.BFloat16Storage": "BF16",
        "torch.LongStorage": "I64",
        "torch.IntStorage": "I32",
        "torch.ShortStorage": "I16",
        "torch.CharStorage": "I8",
        "torch.ByteStorage": "U8",
        "torch.BoolStorage": "BOOL",
    }
)
"""The storage classes a checkpoint may name, and their dtype as in ``mapped.DTYPES``."""

# Real files have 100 to 300 bytes and about 25 opcodes a tensor.
MAX_BYTES = 64 << 20
MAX_STEPS = 4_000_000
MAX_MEMO = 1_000_000
MAX_TENSORS = 100_000
MAX_DEPTH = 32
MAX_AXES = 32

_ORDERED, _TENSOR, _PARAMETER = (
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
)


_OPCODES = {opcode.code: opcode.name for opcode in pickletools.opcodes}


@attrs.frozen
class Storage:
    """A run of ``elements`` numbers of one dtype, in the zip entry ``data/<key>``."""

    dtype: str
    key: str
    elements: int


@attrs.frozen
class TensorRecord:
    """A tensor as the file states it, unchecked; offset and strides count elements of the storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@attrs.frozen
class _Global:
    """A name from the file that is on the list; stands for itself and can do nothing."""

    name: str


class _Dict(dict[str, object]):
    """A dict being filled; ``ordered`` ones were made by naming OrderedDict."""

    ordered = False


def read_state(data: bytes, where: str) -> dict[str, TensorRecord]:
    """The tensors of a pickled state dict by name, in its order.

    ``_metadata`` (module versions that torch hangs onto a state dict) is read over.

    Args:
        data: The whole of ``data.pkl``.
        where: The file's name for messages.

    Raises:
        CheckpointError: it is damaged, asks for anything but tensors, or is not a mapping of names to
            tensors.
    """
    if len(data) > MAX_BYTES:
        raise CheckpointError(f"{where}: data.pkl has {len(data)} bytes; at most {MAX_BYTES} are read")
    machine = _Machine(data, where)
    state = machine.run()
    if not isinstance(state, _Dict):
        raise machine.fail(f"holds {_kind(state)}; asrkit reads a state dict, a mapping of names to tensors")
    if len(state) > MAX_TENSORS:
        raise machine.fail(f"names {len(state)} tensors; at most {MAX_TENSORS} are read")
    tensors = {}
    for name, value in state.items():
        if not isinstance(value, TensorRecord):
            raise machine.fail(
                f"holds {_kind(value)} under {name!r}; asrkit reads a state dict, a mapping of names to tensors"
            )
        tensors[name] = value
    return tensors


def _kind(value: object) -> str:
    """What a value is, for messages; never its content."""
    if isinstance(value, _Global):
        return f"the name {value.name!r}"
    words = {TensorRecord: "a tensor", Storage: "a storage", _Dict: "a mapping", str: "a string"}
    return words.get(type(value), f"a value of type {type(value).__name__!r}")


def _counts(value: object) -> tuple[int, ...] | None:
    """A tuple of non-negative integers, or None. ``bool`` is no integer here."""
    if not isinstance(value, tuple) or len(value) > MAX_AXES:
        return None
    return value if all(type(item) is int and item >= 0 for item in value) else None


class _Machine:
    """The pickle machine: a stack of values, marks that set aside the stack so far, and a memo."""

    def __init__(self, data: bytes, where: str) -> None:
        self.data, self.where, self.at = data, where, 0
        self.stack: list[object] = []
        self.marks: list[list[object]] = []
        self.memo: dict[int, object] = {}

    def fail(self, text: str) -> CheckpointError:
        return CheckpointError(f"{self.where}: data.pkl {text}")

    def run(self) -> object:
        for _ in range(MAX_STEPS):
            code = self.take(1)
            if code == b".":
                break
            self.step(code)
        else:
            raise self.fail(f"has more than {MAX_STEPS} instructions, which no checkpoint needs")
        if self.marks or len(self.stack) != 1 or self.at != len(self.data):
            raise self.fail("is damaged: something is left over at its end")
        return self.stack[0]

    def take(self, count: int) -> bytes:
        piece = self.data[self.at : self.at + count]
        if len(piece) < count:
            raise self.fail("is damaged: it ends too early")
        self.at += count
        return piece

    def number(self, count: int, signed: bool = False) -> int:
        return int.from_bytes(self.take(count), "little", signed=signed)

    def text(self, raw: bytes) -> str:
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise self.fail(f"holds the string {raw[:40]!r}, which is not UTF-8") from None

    def line(self) -> str:
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise self.fail("is damaged: it ends too early")
        return self.text(self.take(end + 1 - self.at)[:-1])

    def pop(self) -> object:
        if not self.stack:
            raise self.fail("is damaged: it takes a value where there is none")
        return self.stack.pop()

    def pop_mark(self) -> list[object]:
        if not self.marks:
            raise self.fail("is damaged: it closes what it never opened")
        items, self.stack = self.stack, self.marks.pop()
        return items

    def step(self, code: bytes) -> None:
        """Perform one instruction."""
        push = self.stack.append
        match code:
            case b"\x80":  # PROTO
                if self.number(1) > 5:
                    raise self.fail("is of a pickle protocol newer than 5")
            case b"\x95":  # FRAME: only a hint for buffering
                self.take(8)
            case b"(":  # MARK
                if len(self.marks) == MAX_DEPTH:
                    raise self.fail(f"is nested deeper than {MAX_DEPTH} levels, which no checkpoint needs")
                self.marks.append(self.stack)
                self.stack = []
            case b"N":
                push(None)
            case b"\x88":
                push(True)
            case b"\x89":
                push(False)
            case b"K":  # BININT1
                push(self.number(1))
            case b"M":  # BININT2
                push(self.number(2))
            case b"J":  # BININT
                push(self.number(4, signed=True))
            case b"\x8a":  # LONG1
                push(self.number(self.number(1), signed=True))
            case b"X":  # BINUNICODE
                push(self.text(self.take(self.number(4))))
            case b"\x8c":  # SHORT_BINUNICODE
                push(self.text(self.take(self.number(1))))
            case b"}":
                push(_Dict())
            case b")":
                push(())
            case b"\x85":  # TUPLE1
                push((self.pop(),))
            case b"\x86" | b"\x87":  # TUPLE2, TUPLE3
                last = [self.pop() for _ in range(code[0] - 0x84)]
                push(tuple(reversed(last)))
            case b"t":  # TUPLE
                items = self.pop_mark()
                self.stack.append(tuple(items))
            case b"q":  # BINPUT
                self.remember(self.number(1))
            case b"r":  # LONG_BINPUT
                self.remember(self.number(4))
            case b"\x94":  # MEMOIZE
                self.remember(len(self.memo))
            case b"h":  # BINGET
                push(self.recall(self.number(1)))
            case b"j":  # LONG_BINGET
                push(self.recall(self.number(4)))
            case b"c":  # GLOBAL
                module = self.line()
                push(self.named(module, self.line()))
            case b"\x93":  # STACK_GLOBAL
                name, of = self.pop(), self.pop()
                push(self.named(of, name))
            case b"Q":  # BINPERSID
                push(self.storage(self.pop()))
            case b"R":  # REDUCE
                arguments = self.pop()
                push(self.reduce(self.pop(), arguments))
            case b"b":  # BUILD
                state = self.pop()
                self.build(self.stack[-1] if self.stack else None, state)
            case b"s":  # SETITEM
                value, key = self.pop(), self.pop()
                self.fill([key, value])
            case b"u":  # SETITEMS
                self.fill(self.pop_mark())
            case _:
                known = _OPCODES.get(code.decode("latin-1"))
                raise self.fail(
                    f"uses the pickle instruction {known or code!r}, which a checkpoint "
                    "has no use for; asrkit builds nothing but tensors"
                )

    def remember(self, index: int) -> None:
        if len(self.memo) >= MAX_MEMO:
            raise self.fail(f"remembers more than {MAX_MEMO} values, which no checkpoint needs")
        value = self.pop()
        self.stack.append(value)
        self.memo[index] = value

    def recall(self, index: int) -> object:
        try:
            return self.memo[index]
        except KeyError:
            raise self.fail(f"is damaged: it recalls value {index}, which it never kept") from None

    def named(self, module: object, name: object) -> _Global:
        if not isinstance(module, str) or not isinstance(name, str):
            raise self.fail("is damaged: it names a global by something other than strings")
        full = f"{module}.{name}"
        if full not in STORAGES and full not in (_ORDERED, _TENSOR, _PARAMETER):
            raise self.fail(f"asks for {full!r}, which a checkpoint has no use for; asrkit builds nothing but tensors")
        return _Global(full)

    def storage(self, identity: object) -> Storage:
        """``("storage", class, key, location, elements)``. The location (``cuda:0``) is where it once was."""
        match identity:
            case ("storage", _Global(name=name), str(key), str(), int(elements)) if name in STORAGES:
                if type(elements) is int and elements >= 0:
                    return Storage(STORAGES[name], key, elements)
        raise self.fail("describes a storage in a way that torch.save does not")

    def reduce(self, function: object, arguments: object) -> object:
        """Perform one of the three functions on the list."""
        if not isinstance(function, _Global) or function.name in STORAGES:
            raise self.fail(f"calls {_kind(function)}; asrkit builds nothing but tensors")
        if function.name == _ORDERED and isinstance(arguments, tuple) and not arguments:
            made = _Dict()
            made.ordered = True
            return made
        if function.name == _TENSOR and isinstance(arguments, tuple):
            return self.tensor(*arguments) if 6 <= len(arguments) <= 7 else self.tensor()
        if function.name == _PARAMETER:
            match arguments:
                case (TensorRecord() as record, bool(), _Dict() as hooks) if not hooks:
                    return record
        raise self.fail(f"calls {function.name!r} with arguments that torch.save does not write")

    def tensor(
        self,
        storage: object = None,
        offset: object = None,
        shape: object = None,
        strides: object = None,
        gradient: object = None,
        hooks: object = None,
        marks: object = None,
    ) -> TensorRecord:
        """``_rebuild_tensor_v2``. ``marks`` could say "negated" or "conjugated", so it must be absent."""
        sizes, steps = _counts(shape), _counts(strides)
        plain = isinstance(gradient, bool) and isinstance(hooks, _Dict) and not hooks and marks is None
        if not isinstance(storage, Storage) or sizes is None or steps is None or not plain:
            raise self.fail(f"calls {_TENSOR!r} with arguments that torch.save does not write")
        if type(offset) is not int:
            raise self.fail(f"gives a tensor {_kind(offset)} for an offset")
        if offset < 0 or len(sizes) != len(steps):
            raise self.fail(f"describes a tensor with offset {offset}, shape {sizes} and strides {steps}")
        return TensorRecord(storage, offset, sizes, steps)

    def build(self, target: object, state: object) -> None:
        """Allowed for one thing: ``_metadata`` on an OrderedDict, which is dropped."""
        known = isinstance(state, _Dict) and list(state) == ["_metadata"] and isinstance(state["_metadata"], _Dict)
        if not isinstance(target, _Dict) or not target.ordered or not known:
            raise self.fail(f"sets attributes of {_kind(target)}; asrkit builds nothing but tensors")

    def fill(self, items: list[object]) -> None:
        target = self.stack[-1] if self.stack else None
        if not isinstance(target, _Dict) or len(items) % 2:
            raise self.fail("is damaged: it fills what is not a mapping")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str):
                raise self.fail(f"has {_kind(key)} for a name in a mapping; names are strings")
            if key in target:
                raise self.fail(f"names {key!r} twice")
            target[key] = value
