import os
import pickle
import struct
import sys

import pytest

from asrkit.checkpoints import torch_pickle
from asrkit.checkpoints.torch_pickle import Storage, TensorRecord, read_state
from asrkit.errors import CheckpointError
from asrkit.testing.archives import PickledTensor, pickle_call, pickle_text, state_pickle

PLAIN = PickledTensor("FloatStorage", "0", 6, (2, 3), (3, 1))
NO_USE = "which a checkpoint has no use for; asrkit builds nothing but tensors"
WRITTEN = "with arguments that torch.save does not write"
REBUILD = "torch._utils._rebuild_tensor_v2"
STORAGE = b"(" + pickle_text("storage") + b"ctorch\nFloatStorage\n" + pickle_text("0") + pickle_text("cpu") + b"K\6tQ"
HOOKS = b"ccollections\nOrderedDict\n)R"


watched: list[str] = []
watching = False


def audit(event, arguments):
    if watching:
        watched.append(event)


sys.addaudithook(audit)


def refused(data, message):
    """And nothing is executed, imported, opened or unpickled: Python would report it to ``audit``."""
    global watching
    watched.clear()
    watching = True
    try:
        read_state(data, "'x.nemo'")
    except CheckpointError as error:
        found = str(error)
    else:
        found = "nothing"
    finally:
        watching = False
    assert (found, watched) == (message, [])


def rebuilt(*, storage=STORAGE, offset=b"K\0", shape=b"K\2K\3\x86", strides=b"K\3K\1\x86", last=b"\x89" + HOOKS):
    return state_pickle({"w": pickle_call(REBUILD, storage, offset, shape, strides, last)})


def test_tensors_come_in_order_with_all_that_the_file_states():
    data = state_pickle(
        {
            "b": PLAIN,
            "a": PickledTensor("HalfStorage", "7", 1 << 33, (3, 2), (1, 3), 70_000, location="cuda:0"),
            "scalar": PickledTensor("LongStorage", "2", 1, (), ()),
            "parameter": PickledTensor("BFloat16Storage", "3", 0, (0, 4), (4, 1), parameter=True),
        }
    )
    state = read_state(data, "'x'")
    assert list(state.items()) == [
        ("b", TensorRecord(Storage("F32", "0", 6), 0, (2, 3), (3, 1))),
        ("a", TensorRecord(Storage("F16", "7", 1 << 33), 70_000, (3, 2), (1, 3))),
        ("scalar", TensorRecord(Storage("I64", "2", 1), 0, (), ())),
        ("parameter", TensorRecord(Storage("BF16", "3", 0), 0, (0, 4), (4, 1))),
    ]


def test_the_helper_that_replaces_a_tensor_builds_a_sound_one_when_nothing_is_changed():
    assert read_state(rebuilt(), "'x'") == {"w": TensorRecord(Storage("F32", "0", 6), 0, (2, 3), (3, 1))}


def test_a_plain_dict_of_a_newer_protocol_is_read():
    data = (
        b"\x80\x04\x95" + bytes(8) + b"}\x94\x8c\x01w"
        b"\x8c\x0ctorch._utils\x94\x8c\x12_rebuild_tensor_v2\x94\x93\x94("
        + STORAGE
        + b"K\0K\6\x85K\1\x85\x89"
        + HOOKS
        + b"t\x94Rs."
    )
    assert read_state(data, "'x'") == {"w": TensorRecord(Storage("F32", "0", 6), 0, (6,), (1,))}


class Evil:
    def __reduce__(self):
        return os.system, ("false",)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_real_malicious_pickle_is_named_and_not_run(protocol):
    refused(pickle.dumps({"w": Evil()}, protocol), f"'x.nemo': data.pkl asks for '{os.name}.system', {NO_USE}")


def test_the_watch_notices_a_pickle_that_runs():
    global watching
    watched.clear()
    watching = True
    try:
        assert pickle.loads(b"cbuiltins\neval\n(" + pickle_text("1 + 1") + b"tR.") == 2
    finally:
        watching = False
    assert {"pickle.find_class", "exec"} <= set(watched)


HOSTILE = {
    "GLOBAL": (b"cos\nsystem\n(" + pickle_text("false") + b"tR.", f"asks for 'os.system', {NO_USE}"),
    "STACK_GLOBAL": (
        pickle_text("builtins") + pickle_text("eval") + b"\x93" + pickle_text("1") + b"\x85R.",
        f"asks for 'builtins.eval', {NO_USE}",
    ),
    "dotted name": (b"ctorch\nFloatStorage.__init__\n.", f"asks for 'torch.FloatStorage.__init__', {NO_USE}"),
    "other torch function": (
        b"ctorch._utils\n_rebuild_device_tensor_from_numpy\n.",
        f"asks for 'torch._utils._rebuild_device_tensor_from_numpy', {NO_USE}",
    ),
    "INST": (
        b"(" + pickle_text("false") + b"ios\nsystem\n.",
        f"uses the pickle instruction 'INST', {NO_USE}",
    ),
    "OBJ": (b"(ccollections\nOrderedDict\no.", f"uses the pickle instruction 'OBJ', {NO_USE}"),
    "NEWOBJ": (b"ccollections\nOrderedDict\n)\x81.", f"uses the pickle instruction 'NEWOBJ', {NO_USE}"),
    "NEWOBJ_EX": (
        b"ccollections\nOrderedDict\n)}\x92.",
        f"uses the pickle instruction 'NEWOBJ_EX', {NO_USE}",
    ),
    "EXT1": (b"\x82\x01.", f"uses the pickle instruction 'EXT1', {NO_USE}"),
    "EXT2": (b"\x83\x01\x00.", f"uses the pickle instruction 'EXT2', {NO_USE}"),
    "EXT4": (b"\x84\x01\x00\x00\x00.", f"uses the pickle instruction 'EXT4', {NO_USE}"),
    "PERSID": (b"Pname\n.", f"uses the pickle instruction 'PERSID', {NO_USE}"),
    "BYTEARRAY8": (b"\x96" + bytes(8) + b".", f"uses the pickle instruction 'BYTEARRAY8', {NO_USE}"),
    "unknown instruction": (b"\xff.", rf"uses the pickle instruction b'\xff', {NO_USE}"),
    "REDUCE of a string": (
        pickle_text("os.system") + b")R.",
        "calls a string; asrkit builds nothing but tensors",
    ),
    "REDUCE of a storage class": (
        b"ctorch\nFloatStorage\n)R.",
        "calls the name 'torch.FloatStorage'; asrkit builds nothing but tensors",
    ),
    "BUILD on a tensor": (
        pickle_call(REBUILD, STORAGE, b"K\0))\x89", HOOKS) + b"}" + pickle_text("__class__") + b"K\1sb.",
        "sets attributes of a tensor; asrkit builds nothing but tensors",
    ),
    "BUILD on a global": (
        b"ccollections\nOrderedDict\n}" + pickle_text("a") + b"K\1sb.",
        "sets attributes of the name 'collections.OrderedDict'; asrkit builds nothing but tensors",
    ),
    "BUILD on a plain dict": (
        b"}}" + pickle_text("_metadata") + b"}sb.",
        "sets attributes of a mapping; asrkit builds nothing but tensors",
    ),
    "BUILD of something else": (
        HOOKS + b"}" + pickle_text("__dict__") + b"}sb.",
        "sets attributes of a mapping; asrkit builds nothing but tensors",
    ),
    "BUILD of a slot state": (
        HOOKS + b"N}\x86b.",
        "sets attributes of a mapping; asrkit builds nothing but tensors",
    ),
}


@pytest.mark.parametrize(("data", "message"), HOSTILE.values(), ids=HOSTILE)
def test_what_could_run_or_build_something_is_refused(data, message):
    refused(b"\x80\x02" + data, f"'x.nemo': data.pkl {message}")
    # The same as a tensor's value, deep inside an otherwise sound file.
    refused(state_pickle({"w": data.removesuffix(b".")}), f"'x.nemo': data.pkl {message}")


ODD_CALLS = {
    "negative offset": (
        rebuilt(offset=b"J" + struct.pack("<i", -1)),
        "describes a tensor with offset -1, shape (2, 3) and strides (3, 1)",
    ),
    "offset no number": (rebuilt(offset=b"\x88"), "gives a tensor a value of type 'bool' for an offset"),
    "fewer strides": (
        rebuilt(strides=b"K\1\x85"),
        "describes a tensor with offset 0, shape (2, 3) and strides (1,)",
    ),
    "negative stride": (
        rebuilt(strides=b"J" + struct.pack("<i", -3) + b"K\1\x86"),
        f"calls {REBUILD!r} {WRITTEN}",
    ),
    "negative size": (
        rebuilt(shape=b"J" + struct.pack("<i", -2) + b"K\3\x86"),
        f"calls {REBUILD!r} {WRITTEN}",
    ),
    "boolean size": (rebuilt(shape=b"\x88K\3\x86"), f"calls {REBUILD!r} {WRITTEN}"),
    "33 axes": (rebuilt(shape=b"(" + b"K\1" * 33 + b"t"), f"calls {REBUILD!r} {WRITTEN}"),
    "no storage": (rebuilt(storage=b"N"), f"calls {REBUILD!r} {WRITTEN}"),
    "hooks": (
        rebuilt(last=b"\x89" + HOOKS + pickle_text("a") + b"K\1s"),
        f"calls {REBUILD!r} {WRITTEN}",
    ),
    "negated": (
        rebuilt(last=b"\x89" + HOOKS + b"}" + pickle_text("neg") + b"\x88s"),
        f"calls {REBUILD!r} {WRITTEN}",
    ),
    "no arguments": (state_pickle({"w": pickle_call(REBUILD)}), f"calls {REBUILD!r} {WRITTEN}"),
    "parameter of nothing": (
        state_pickle({"w": pickle_call("torch._utils._rebuild_parameter", b"N\x88", HOOKS)}),
        f"calls 'torch._utils._rebuild_parameter' {WRITTEN}",
    ),
    "OrderedDict of something": (
        pickle_call("collections.OrderedDict", b"}") + b".",
        f"calls 'collections.OrderedDict' {WRITTEN}",
    ),
    "persistent id of a file": (
        b"(" + pickle_text("module") + pickle_text("x") + b"tQ.",
        "describes a storage in a way that torch.save does not",
    ),
    "storage of a function": (
        b"(" + pickle_text("storage") + b"ccollections\nOrderedDict\n" + 2 * pickle_text("0") + b"K\6tQ.",
        "describes a storage in a way that torch.save does not",
    ),
    "storage of negative length": (
        state_pickle({"w": PickledTensor("FloatStorage", "0", -1, (), ())}),
        "describes a storage in a way that torch.save does not",
    ),
    "quantised storage": (
        state_pickle({"w": PickledTensor("QInt8Storage", "0", 1, (), ())}),
        f"asks for 'torch.QInt8Storage', {NO_USE}",
    ),
}


@pytest.mark.parametrize(("data", "message"), ODD_CALLS.values(), ids=ODD_CALLS)
def test_tensors_that_torch_would_not_write_are_refused(data, message):
    refused(data, f"'x.nemo': data.pkl {message}")


STATE_DICT = "asrkit reads a state dict, a mapping of names to tensors"
DAMAGED = {
    "empty": (b"", "is damaged: it ends too early"),
    "no end": (state_pickle({"w": PLAIN})[:-1], "is damaged: it ends too early"),
    "half a string": (b"X\xff\0\0\0ab", "is damaged: it ends too early"),
    "half a name": (b"ctorch", "is damaged: it ends too early"),
    "something after the end": (state_pickle({}) + b"N", "is damaged: something is left over at its end"),
    "two values": (b"}}.", "is damaged: something is left over at its end"),
    "open mark": (b"(}.", "is damaged: something is left over at its end"),
    "empty stack": (b"\x85.", "is damaged: it takes a value where there is none"),
    "no mark": (b"t.", "is damaged: it closes what it never opened"),
    "unknown memo": (b"h\x05.", "is damaged: it recalls value 5, which it never kept"),
    "items of nothing": (b"N(" + pickle_text("a") + b"Nu.", "is damaged: it fills what is not a mapping"),
    "odd items": (b"}(" + pickle_text("a") + b"u.", "is damaged: it fills what is not a mapping"),
    "names no strings": (
        pickle_text("os") + b"N\x93.",
        "is damaged: it names a global by something other than strings",
    ),
    "module no string": (
        b"N" + pickle_text("system") + b"\x93.",
        "is damaged: it names a global by something other than strings",
    ),
    "not UTF-8": (b"X\1\0\0\0\xff.", r"holds the string b'\xff', which is not UTF-8"),
    "protocol 6": (b"\x80\x06}.", "is of a pickle protocol newer than 5"),
    "tuple for a name": (
        b"}K\1\x85Ns.",
        "has a value of type 'tuple' for a name in a mapping; names are strings",
    ),
    "doubled name": (
        b"}(" + (pickle_text("a") + b"N") * 2 + b"u.",
        "names 'a' twice",
    ),
    "no mapping": (b"K\1.", f"holds a value of type 'int'; {STATE_DICT}"),
    "one tensor": (
        pickle_call(REBUILD, STORAGE, b"K\0))\x89", HOOKS) + b".",
        f"holds a tensor; {STATE_DICT}",
    ),
    "whole checkpoint": (
        b"}" + pickle_text("state_dict") + b"}s.",
        f"holds a mapping under 'state_dict'; {STATE_DICT}",
    ),
}


@pytest.mark.parametrize(("data", "message"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_or_other_pickles_are_refused(data, message):
    refused(data, f"'x.nemo': data.pkl {message}")


def test_limits_are_kept(monkeypatch):
    data = state_pickle({"a": PLAIN, "b": PLAIN})
    refused(b"(" * 33 + b".", "'x.nemo': data.pkl is nested deeper than 32 levels, which no checkpoint needs")
    for limit, value, message in (
        ("MAX_BYTES", 100, f"has {len(data)} bytes; at most 100 are read"),
        ("MAX_STEPS", 20, "has more than 20 instructions, which no checkpoint needs"),
        ("MAX_MEMO", 1, "remembers more than 1 values, which no checkpoint needs"),
        ("MAX_TENSORS", 1, "names 2 tensors; at most 1 are read"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(torch_pickle, limit, value)
            refused(data, f"'x.nemo': data.pkl {message}")
    assert len(read_state(data, "'x'")) == 2


def test_bombs_do_not_go_off():
    doubling = b")q\0" + b"h\0\x86q\0" * 200  # 2**200 empty tuples, were they walked
    refused(
        b"}" + doubling + b"Ns.",
        "'x.nemo': data.pkl has a value of type 'tuple' for a name in a mapping; names are strings",
    )
    refused(rebuilt(offset=doubling), "'x.nemo': data.pkl gives a tensor a value of type 'tuple' for an offset")
    nested = b"K\1" + b"\x85" * 300_000
    refused(rebuilt(shape=nested), f"'x.nemo': data.pkl calls {REBUILD!r} {WRITTEN}")
    mappings = (b"}" + pickle_text("a")) * 100_000 + b"N" + b"s" * 100_000
    refused(mappings + b".", f"'x.nemo': data.pkl holds a mapping under 'a'; {STATE_DICT}")
